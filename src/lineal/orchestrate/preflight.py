"""What `lineal run` looks at before its first step, for runs that others start: once for each Dagster run or `dvc repro`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from lineal.orchestrate.decision import decide
from lineal.orchestrate.dvc_yaml import stage_name
from lineal.plan import Plan, Step
from lineal.step.preflight import require_ready
from lineal.step.status import Act

MARK = ".preflight"
"""The file in `runs/` that names the DVC process whose run has been looked at."""
_SINGLE = {"-s", "--single-item"}


def require_ready_run(plan: Plan, chosen: Iterable[Step]) -> None:
    """Refuses what a run will need and is not here, as `lineal run` does: of the chosen steps, those that are not done.

    Raises:
        LinealError: of the kind of what is missing; names the setting.
    """
    decided = decide(plan)
    require_ready(plan, [step for step in chosen if decided[step.key].act is Act.MAKE])


def require_ready_repro(plan: Plan) -> None:
    """The same before the first step of a `dvc repro` or `dvc exp run`; its later steps find that it was done.

    Args:
        plan: the plan of the active pipelines, as `dvc.yaml` holds it.
    """
    found = _dvc_above()
    if found is None:
        return
    process, words = found
    mark = plan.project.runs / MARK
    if mark.is_file() and mark.read_text(encoding="utf-8") == process:
        return
    require_ready_run(plan, asked_for(plan, words))
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(process, encoding="utf-8")


def asked_for(plan: Plan, words: Iterable[str]) -> list[Step]:
    """The steps that a DVC command line will bring up to date: those that it names and what they are made from, or all."""
    words = list(words)
    stages = {stage_name(step.key): step for step in plan.steps.values()}
    targets = [word.removeprefix("dvc.yaml:") for word in words if not word.startswith("-")]
    named = [step for name, step in stages.items() if any(fnmatchcase(name, target) for target in targets)]
    if not named:
        return list(plan.steps.values())
    return named if _SINGLE & set(words) else plan.with_upstream(named)


def _dvc_above() -> tuple[str, list[str]] | None:
    """The DVC command that started this step, through a shell or not: a name of its process, and the words after `dvc`."""
    process = os.getppid()
    for _ in range(3):
        try:
            words = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")
            fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            return None
        place = next((place for place, word in enumerate(words[:4]) if Path(word).name == "dvc"), None)
        if place is not None:
            return f"{process} {fields[19]}", words[place + 1 :]
        process = int(fields[1])
    return None
