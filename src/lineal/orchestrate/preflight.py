"""Checks before the first step of `lineal run`, also for runs that others start: once per Dagster run or `dvc repro`."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lineal.data.records import lies_here
from lineal.errors import ArtifactError
from lineal.orchestrate.decision import decide
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.orchestrate.dvc_yaml import stage_name
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS
from lineal.step.forkserver import serve_beside
from lineal.step.handover import MARK, SOCKET, process_name
from lineal.step.preflight import require_ready
from lineal.step.status import Act, State

ALLOW_MISSING = "--allow-missing"
_SINGLE = {"-s", "--single-item"}


def require_ready_run(
    plan: Plan, chosen: Iterable[Step], remade: bool = True
) -> tuple[list[Step], list[str]]:
    """Refuses to run where something needed is missing, as `lineal run` does, for the chosen steps that are not done.

    Args:
        plan: the plan.
        chosen: the steps.
        remade: whether it reruns artifacts that are recorded and not here.

    Returns:
        the steps that will be made; and those of them that are up to date by their records.

    Raises:
        LinealError: the kind says what is missing; names the setting.
    """
    chosen, decided = list(chosen), decide(plan)
    again = [step for step in chosen if remade and decided[step.key].state is State.RECORDED]
    making = [step for step in chosen if step in again or decided[step.key].act is Act.MAKE]
    require_inputs(plan, making, {key for step in chosen for key in step.artifact_keys().values()})
    require_ready(plan, making)
    return making, [step.key for step in again]


def require_inputs(plan: Plan, steps: Iterable[Step], made: Collection[str] = ()) -> None:
    """Refuses to make steps whose inputs are not here; DVC would say of them only that there is no such file.

    Args:
        plan: the plan.
        steps: the steps to run.
        made: artifacts that are made before, or brought from DVC's cache.

    Raises:
        ArtifactError: names the step, the input, and what brings it.
    """
    recorded: Mapping[str, str] | None = None
    lacking: dict[str, str] = {}
    for step in steps:
        for key in step.all_inputs():
            if key not in made and not lies_here(plan.project, key):
                recorded = locked_artifacts(plan.project.root) if recorded is None else recorded
                lacking.setdefault(
                    key, f"{step.key} reads {key}, which is {_how_to_get(key, key in recorded)}"
                )
    if lacking:
        raise ArtifactError("\n".join(lacking.values()))


def _how_to_get(key: str, recorded: bool) -> str:
    if not recorded:
        return f"not here. Make it: lineal run {key}"
    return f"recorded, but not here. Bring it: lineal run --pull {key}, or make it again: lineal run --remake {key}"


def warn_of_again(keys: Sequence[str], others: str) -> str:
    """Returns the warning of a run that reruns recorded work; empty where it does not."""
    if not keys:
        return ""
    rest = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    bring = f"To bring what DVC's remote has instead: lineal run --pull{others}"
    return f"recorded, but not here, and made again: {keys[0]}{rest}. {bring}"


def start_server(plan: Plan, steps: Sequence[Step], process: int) -> str:
    """Starts a server that has the imports done for steps of a run that others started, like that of `lineal run`.

    Args:
        plan: the plan.
        steps: the steps that will run.
        process: the run's; the server ends with it.

    Returns:
        the server's address; empty where there is one, or none is wanted.
    """
    compute = plan.project.params.compute
    if SOCKET in os.environ or len(steps) < 2 or compute.executor in CLUSTERS or compute.processes != "fork":
        return ""
    return serve_beside(process, steps, compute.engine)


def require_ready_repro(plan: Plan) -> str:
    """Checks the same before the first step of a `dvc repro` or `dvc exp run`; its later steps skip the check.

    Args:
        plan: the plan of the active pipelines, as `dvc.yaml` holds it.

    Returns:
        the address of a server that was started for the steps; empty where none was.
    """
    found = _dvc_above()
    if found is None:
        return ""
    process, words = found
    mark = plan.project.runs / MARK
    if mark.is_file() and mark.read_text(encoding="utf-8").partition("\n")[0] == process:
        return ""
    making, again = require_ready_run(plan, asked_for(plan, words), ALLOW_MISSING not in words)
    told = warn_of_again(again, f"; to leave it where it is: dvc repro {ALLOW_MISSING}")
    if told:
        print(f"warning: {told}", file=sys.stderr)  # noqa: T201 - DVC shows what its stages print
    mark.parent.mkdir(parents=True, exist_ok=True)
    address = start_server(plan, making, int(process.partition(" ")[0]))
    mark.write_text(f"{process}\n{address}" if address else process, encoding="utf-8")
    return address


def asked_for(plan: Plan, words: Iterable[str]) -> list[Step]:
    """Returns the steps that a DVC command line brings up to date: those that it names and what they depend on, or all."""
    words = list(words)
    stages = {stage_name(step.key): step for step in plan.steps.values()}
    targets = [word.removeprefix("dvc.yaml:") for word in words if not word.startswith("-")]
    named = [step for name, step in stages.items() if any(fnmatchcase(name, target) for target in targets)]
    if not named:
        return list(plan.steps.values())
    return named if _SINGLE & set(words) else plan.with_upstream(named)


def _dvc_above() -> tuple[str, list[str]] | None:
    """Finds the DVC command that started this step, through a shell or not: its process's name, and the words after `dvc`."""
    process = os.getppid()
    for _ in range(3):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return None
        named = process_name(process)
        if named is None:
            return None
        place = next((place for place, word in enumerate(words[:4]) if Path(word).name == "dvc"), None)
        if place is not None:
            return named[0], words[place + 1 :]
        process = named[1]
    return None
