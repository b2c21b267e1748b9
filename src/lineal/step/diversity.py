"""The check that a generation's samples are not less diverse than those of earlier rounds."""

from __future__ import annotations

from collections.abc import Sequence

from lineal.data.estimates import Figure, compared, ratio, unpaired
from lineal.data.store import Artifact, Rows
from lineal.plan import Step
from lineal.step.check_result import CheckResult
from lineal.step.watching import LEVEL, comparison_values, difference_told, worse_by

NAME = "diversity_held"
FALL = 0.25
"""A fall by less than this share is no warning, however sure it is."""
LOOKS = 2
"""Rounds that a generation's diversity is compared with: the one before, and the first."""


def diversity_held(step: Step, artifact: Artifact, earlier: Sequence[Artifact]) -> CheckResult:
    """Compares the distinct completions per sample with those of each earlier artifact; warns of the first fall."""
    if not earlier:
        return CheckResult(NAME, True, f"{step.key}: no earlier round to compare with", {})
    found = [_still_diverse(step, artifact, before) for before in earlier]
    told = [one for one in found if not one.passed] or found
    return CheckResult(NAME, told[0].passed, "; ".join(one.message for one in told), told[0].values)


def _still_diverse(step: Step, artifact: Artifact, before: Artifact) -> CheckResult:
    old, new, least = _distinct_shares(before), _distinct_shares(artifact), 1 - FALL
    if old is None or new is None:
        return CheckResult(NAME, True, f"{step.key}: no samples to compare with those of {before.key}", {})
    earlier, now = (dict(zip(names, figure.by_prompt, strict=True)) for names, figure in (old, new))
    share, found = old[1].estimate, compared(earlier, now, least)
    if found is None:
        found = unpaired(share.times(least), new[1].estimate)
    changed = f"distinct completions per sample {share.value:.3f} -> {new[1].value:.3f} since {before.key}"
    values = {"before": share.value, "now": new[1].value, **comparison_values(found)}
    told = f"{step.key}: {changed}; against {least:g} times as many, {difference_told(found, LEVEL / LOOKS)}"
    return CheckResult(NAME, not worse_by(found, -1, LEVEL / LOOKS), told, values)


def _distinct_shares(artifact: Artifact) -> tuple[list[str], Figure] | None:
    """Returns the prompts, and the share of distinct completions among their samples; None where there are none."""
    table = Rows((artifact,)).read(["prompt_id", "completion"])
    distinct = table.group_by(["prompt_id", "completion"]).aggregate([([], "count_all")])
    counted = (
        distinct.group_by("prompt_id")
        .aggregate([("count_all", "count"), ("count_all", "sum")])
        .sort_by("prompt_id")
    )
    names, different, samples = (
        counted[name].to_pylist() for name in ("prompt_id", "count_all_count", "count_all_sum")
    )
    return (names, ratio(different, samples)) if names else None
