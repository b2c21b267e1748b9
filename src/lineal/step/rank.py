"""One of the processes that share a training: does what the step would do alone, and the main one tells the step.

Started by `lineal.step.launch`; on further machines by the same command with their own `--machine_rank`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lineal.engines.training.processes import is_main_process, process_count, process_index
from lineal.errors import LinealError, ProjectError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.identity import identify
from lineal.step.launch import DIRECTORY, RESULT
from lineal.step.parent_watch import stop_with_launcher
from lineal.step.runner import open_inputs, partial_of, resolved, workspace_of
from lineal.step.sharing import SETTING, sharing_of


def run_rank(root: Path, key: str) -> None:
    """Runs the component of the running step; the main process leaves counts and facts for it.

    Raises:
        ProjectError: the plan changed since the step began, or other processes run than were requested.
    """
    plan = make_plan(open_project(root), [key.partition("/")[0]])
    step = plan.step(key)
    inputs = open_inputs(plan, step, verify=False)
    component = resolved(plan, step)
    identity = identify(step, component, plan.seed_of(step), inputs)
    if (partial_of(plan, step) / "identity").read_text(encoding="utf-8") != identity.of_saved_work(
        component.rereads
    ):
        raise ProjectError(f"{key}: its settings or inputs changed while it ran. Run it again")
    workspace = workspace_of(plan, step, identity, inputs)
    asked = sharing_of(workspace.project, workspace.compute)
    if process_count() != asked.processes:
        raise ProjectError(
            f"{SETTING} (params.yaml): got {process_count()} running processes, expected {asked.processes}. "
            "Look whether its configuration names a distributed_type that starts them on this machine"
        )
    if not is_main_process():
        workspace.progress_file = None
    component.run(workspace)
    if is_main_process():
        result = {"counts": workspace.counts, "facts": workspace.facts}
        (workspace.partial / DIRECTORY / RESULT).write_text(json.dumps(result), encoding="utf-8")


def main() -> None:
    """Runs `PROJECT KEY` of the command line; an error of lineal's is left where the step looks for it."""
    root, key = Path(sys.argv[1]), sys.argv[2]
    stop_with_launcher()
    try:
        run_rank(root, key)
    except LinealError as error:
        target = open_project(root).directory(key)
        told = target.with_name(f".{target.name}.partial") / DIRECTORY
        (told / f"error-{process_index():05d}").write_text(str(error), encoding="utf-8")
        sys.exit(1)


if __name__ == "__main__":
    main()
