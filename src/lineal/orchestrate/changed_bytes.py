"""Reruns that gave other bytes than `dvc.lock` records: the record is a claim, and is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from lineal.data.manifest import Manifest, read_manifest
from lineal.errors import StepFailure
from lineal.plan import Plan, Step
from lineal.step.runlog import read_log

Recorded = Mapping[str, tuple[str, Manifest | None]]
"""By artifact key, the recorded MD5 of its directory, and its manifest where that is known."""


class ChangedBytes(StepFailure):
    """A rerun gave other bytes than are recorded for the same work."""


def require_recorded_bytes(
    plan: Plan, step: Step, recorded: Recorded, md5_of: Callable[[str], str], log: Mapping[str, Any]
) -> None:
    """Compares a step's artifacts with the record of the same work.

    Args:
        plan: the plan.
        step: the step.
        recorded: the record; empty where there is none.
        md5_of: by artifact key, the MD5 of what was made.
        log: the step's run log before.

    Raises:
        ChangedBytes: they differ, though equal bytes are promised; says which, and the likely cause.
    """
    for key, (md5, old) in recorded.items():
        made, got = read_manifest(plan.project.directory(key), key), md5_of(key)
        same_content = old is not None and old.digest == made.digest
        if got == md5 or same_content or made.equal_bytes is False:
            continue
        cause = "; ".join(_causes(old, made, log, read_log(plan.project, step.key)))
        raise ChangedBytes(
            f"{key} was rerun and gave other bytes than dvc.lock records: recorded {md5}, made {got}. Likely cause: {cause}. "
            f"The record stays, and so does what was made. To record it: lineal run {step.key} --accept-changes. "
            f"To have the recorded bytes: dvc checkout or dvc pull artifacts/{key}"
        )


def _causes(
    old: Manifest | None, made: Manifest, before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[str]:
    found = False
    for name, was, here in (
        ("the component's source", before.get("source_digest"), now.get("source_digest")),
        ("the processor", before.get("machine"), now.get("machine")),
        ("what computed it", old and old.engine, made.engine),
    ):
        if was and was != here:
            found = True
            yield f"{name} is another ({was:.20} -> {here:.20})"
    packages = before.get("packages", {})
    changed = [
        f"{name} {packages[name]} -> {there}"
        for name, there in now.get("packages", {}).items()
        if packages.get(name, there) != there
    ]
    if changed:
        yield f"other packages ({', '.join(changed)})"
    elif not found:
        yield "other packages or another kind of processor than it was recorded with (docs/reproducibility.md)"
