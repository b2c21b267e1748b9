"""Checks of a step's result. Blocking ones stop publication; the others warn. Dagster shows them all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial

from lineal.components.base import Role
from lineal.components.evaluators.watch import Watch, check_name
from lineal.data.estimates import Figure, compared, ratio, unpaired
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.data.workspace import MAIN
from lineal.errors import CheckFailure, DataError
from lineal.plan import Plan, Step, artifact_key
from lineal.recipe.groups import group_after
from lineal.recipe.references import ArtifactKind
from lineal.step.check_result import CheckResult
from lineal.step.contamination import HeldOut, Match, described, held_out_prompts, stops, training_outputs
from lineal.step.judges import mixtures
from lineal.step.retraction import CHECK
from lineal.step.rewards import reward_held
from lineal.step.tainted import tainted_checkpoints, why_tainted
from lineal.step.waiting import ARRIVED
from lineal.step.watching import (
    HELD,
    LEVEL,
    Earlier,
    comparison_values,
    difference_told,
    headline_held,
    is_held,
    read_earlier,
    watched,
    watches,
    worse_by,
)

WARNING = {
    HELD: "the evaluation's headline is not worse than any earlier round's by more than noise, and has no such trend",
    "diversity_held": "distinct completions per sample are not down by over a quarter, and noise, on the previous or first round",
    "reward_held": "no probe falls over an online training while the reward does not, by Mann and Kendall's test at the 1% level",
    "one_judge": "scores that are put together were given by one judge: the same verifier, version and checkpoint",
}
DECLARED = "no warning that the evaluation declares for this number applies"
"""The description of a check that `warnings:` or a measure's file asks for."""
SERIOUS = {
    CHECK: "it was trained on no retracted row, and descends from no checkpoint that was; failed until it is made again",
}
"""Checks of severity error that stop nothing: they are about existing artifacts."""
NUMBERS = (HELD, "diversity_held", "reward_held")
"""The checks that compare numbers over rounds or optimizer steps."""
DIVERSITY_FALL = 0.25
LOOKS = 2
"""Rounds that a generation's diversity is compared with: the one before, and the first."""
MOST_SHOWN = 5
"""Contaminated rows that a check's message names."""
MOST_LETTERS = 120


def checks_of(plan: Plan, step: Step) -> list[str]:
    """Returns a step's checks, known before it runs; all except the one for held-out prompts are about its main artifact."""
    role, names = step.component.role, []
    if step.component.awaited(step.key) is not None:
        names.append(ARRIVED)
    if step.outputs[""].kind is ArtifactKind.ROWS:
        names.append("not_empty")
        if role is not Role.SOURCE:
            names.append("rows_conserved")
    if role is Role.VERIFIER:
        names.append("verifier_errors")
    if training_outputs(plan, step):
        names.append("no_test_prompt_in_training")
    if role is Role.SELECTOR and any(len(keys) > 1 for keys in step.inputs.values()):
        names.append("one_judge")
    if is_held(step) and _predecessor(plan, step) is not None:
        names.append(HELD)
    names += map(check_name, watches(step))
    if role is Role.GENERATOR and "completion" in step.outputs[""].columns and _predecessor(plan, step) is not None:
        names.append("diversity_held")
    if any(step.component.probed().values()):
        names.append("reward_held")
    if step.outputs[""].kind is ArtifactKind.MODEL and plan.project.retractions.declared:
        names.append(CHECK)
    return names


def run_checks(
    plan: Plan, step: Step, artifacts: Mapping[str, Artifact], chosen: Collection[str] | None = None
) -> list[CheckResult]:
    """Runs a step's checks on its artifacts by output name (published, or about to be).

    Args:
        plan: the plan.
        step: the step.
        artifacts: by output name, what it made.
        chosen: the checks to run; None: all.
    """
    earlier = cache(partial(_earlier_evaluations, plan, step))
    runners: dict[str, Callable[[Plan, Step, Artifact], CheckResult]] = {
        ARRIVED: _arrived,
        "not_empty": _not_empty,
        "rows_conserved": _rows_conserved,
        "verifier_errors": _verifier_errors,
        "no_test_prompt_in_training": lambda plan, step, _: _no_test_prompt(plan, step, artifacts),
        HELD: lambda _, step, artifact: headline_held(step, artifact, earlier()),
        "diversity_held": _diversity_held,
        "one_judge": _one_judge,
        "reward_held": lambda plan, step, _: reward_held(step, artifacts),
        CHECK: _no_retracted_rows,
    }
    for number, watch in watches(step).items():
        runners[check_name(number)] = partial(_watched, number, watch, earlier)
    names = [name for name in checks_of(plan, step) if chosen is None or name in chosen]
    return [runners[name](plan, step, artifacts[MAIN]) for name in names]


def require_blocking(results: list[CheckResult]) -> None:
    """Raises the first blocking failure.

    Raises:
        CheckFailure: with the check's name and message.
    """
    for result in results:
        if result.blocking and not result.passed:
            raise CheckFailure(result.name, result.message)


def _arrived(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    awaited = step.component.awaited(step.key)
    path = "" if awaited is None else awaited.path
    return CheckResult(ARRIVED, True, f"{step.key}: {path} was here", {"path": path})


def _not_empty(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    count, means = Rows((artifact,)).count, step.component.empty_means()
    legal = bool(means) or artifact.manifest.counts.get("in") == 0
    why = f": {means or 'none came in'}" if legal and not count else ""
    return CheckResult("not_empty", count > 0 or legal, f"{step.key} has {count:,} rows{why}", {"rows": count})


def _rows_conserved(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    counts = artifact.manifest.counts
    if "kept" in counts:
        got, expected, rule = counts["kept"] + counts.get("dropped", 0), counts["in"], "in = kept + dropped"
    else:
        got, expected, rule = Rows((artifact,)).count, counts.get("expected", counts.get("in", 0)), "in = out"
    message = f"{step.key}: {rule}: expected {expected:,}, got {got:,}"
    return CheckResult("rows_conserved", got == expected, message, {"expected": expected, "got": got})


def _verifier_errors(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    counts = artifact.manifest.counts
    errors, total = counts.get("error", 0), max(1, counts.get("in", 0))
    limit = float(artifact.manifest.settings.get("max_error_rate", 0.0))
    message = f"{step.key}: {errors:,} of {total:,} verdicts are errors (limit {limit:.1%})"
    return CheckResult("verifier_errors", errors / total <= limit, message, {"errors": errors, "limit": limit})


def _no_test_prompt(plan: Plan, step: Step, artifacts: Mapping[str, Artifact]) -> CheckResult:
    held_out = held_out_prompts(plan, step.pipeline)
    by_output = {output: _first_matches(plan, held_out, artifacts[output]) for output in training_outputs(plan, step)}
    found = [match for matches in by_output.values() for match in matches]
    shown = found[:MOST_SHOWN]
    where = ", ".join(artifact_key(step.key, output) for output, matches in by_output.items() if matches) or step.key
    message = f"{where}: {len(found):,} rows with a prompt of an evaluation set{''.join(map(_evidence, shown))}"
    values = {"rows": len(found), "n": plan.project.params.contamination.n, "evidence": [described(match) for match in shown]}
    return CheckResult("no_test_prompt_in_training", not found, message, values)


def require_no_test_prompt(plan: Plan, step: Step, inputs: Mapping[str, tuple[Artifact, ...]]) -> None:
    """Refuses rows to train on that hold a prompt of an evaluation set.

    The step that made them has looked too, but an evaluation set may have changed since.

    Raises:
        DataError: names the rows, and what they share with which prompt.
    """
    if step.component.role is not Role.TRAINER:
        return
    held_out = held_out_prompts(plan, step.pipeline)
    read = {one.key: one for artifacts in inputs.values() for one in artifacts}
    for artifact in read.values():
        if artifact.manifest.kind is ArtifactKind.ROWS:
            found = _first_matches(plan, held_out, artifact)
            if found:
                shown = "".join(map(_evidence, found[:MOST_SHOWN]))
                fix = "The set has changed since these rows were made. Correct it, or leave the rows out with a selector"
                raise DataError(f"{artifact.key}: {len(found):,} rows with a prompt of an evaluation set{shown}\n{fix}")


def _first_matches(plan: Plan, held_out: HeldOut, artifact: Artifact) -> list[Match]:
    """Returns the first overlap of each row of an artifact that has one which stops training."""
    found: dict[int, Match] = {}
    for match in held_out.matches(artifact):
        if stops(plan, match):
            found.setdefault(match.position, match)
    return list(found.values())


def _evidence(match: Match) -> str:
    shared = f": {match.ngram[:MOST_LETTERS]!a}" if match.ngram else ""
    return f"\n  {match.column} of {match.row} has {match.prompt} of {match.evaluation} ({match.rule}{shared})"


def _no_retracted_rows(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    return retraction_check(step, tainted_checkpoints(plan, [step]).get(step.key, {}))


def retraction_check(step: Step, marks: Mapping[str, str]) -> CheckResult:
    """Makes the check of a checkpoint that is tainted for these reasons, by retraction; without any it passed."""
    message = f"{step.key}: {why_tainted(marks) or 'descends from no retracted row'}"
    return CheckResult(CHECK, not marks, message, {"retractions": list(marks)})


def _one_judge(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    """Warns where a selection compares scores of different judges."""

    def inputs(one: Artifact) -> list[tuple[str, Artifact]]:
        planned = plan.steps.get(f"{step.pipeline}/{one.manifest.step}")
        keys = [(field, key) for field, keys in planned.inputs.items() for key in keys] if planned is not None else []
        places = ((field, key, plan.project.directory(key)) for field, key in keys)
        return [(field, open_artifact(key, place)) for field, key, place in places if (place / MANIFEST).exists()]

    mixed = mixtures(artifact, inputs)
    message = "; ".join(map(str, mixed)) or f"{step.key}: all scores that it puts together are of one judge"
    return CheckResult("one_judge", not mixed, message, {"judges": [str(judge) for one in mixed for judge in one.judges]})


def _predecessor(plan: Plan, step: Step) -> Step | None:
    """Returns the same node one round earlier; round 1 follows start."""
    if step.round == 0 or step.group == "finish":
        return None
    return _in_round(plan, step, step.round - 1)


def _in_round(plan: Plan, step: Step, number: int) -> Step | None:
    """Returns the same node in another round; 0 is the start."""
    return plan.steps.get(f"{step.pipeline}/{group_after(number)}/{step.label}")


def _earlier_artifacts(plan: Plan, step: Step, artifact: Artifact) -> list[Artifact]:
    """Returns the same node's artifacts of the previous and the first round: small falls add up to a large one."""
    first = next((number for number in range(step.round) if _in_round(plan, step, number) is not None), step.round)
    return _of_rounds(plan, step, dict.fromkeys((step.round - 1, first)), artifact.manifest.kind)


def _of_rounds(plan: Plan, step: Step, numbers: Iterable[int], kind: ArtifactKind) -> list[Artifact]:
    """Opens the same node's artifacts of these rounds, as far as they are here.

    A node may be of another kind at the start, such as settings where the rounds have an evaluation: that is left out.
    """
    planned = [one for number in numbers if (one := _in_round(plan, step, number)) is not None]
    places = [(one.key, plan.project.directory(one.key)) for one in planned]
    found = [open_artifact(key, place) for key, place in places if (place / MANIFEST).exists()]
    return [one for one in found if one.manifest.kind is kind]


def _earlier_evaluations(plan: Plan, step: Step) -> list[Earlier]:
    if _predecessor(plan, step) is None:
        return []
    return read_earlier(_of_rounds(plan, step, range(step.round), ArtifactKind.METRICS))


def _watched(
    number: str, watch: Watch, earlier: Callable[[], list[Earlier]], plan: Plan, step: Step, artifact: Artifact
) -> CheckResult:
    return watched(step, number, watch, artifact, earlier())


def warnings_of(plan: Plan, steps: Iterable[Step]) -> list[CheckResult]:
    """Returns the failed checks of numbers of existing evaluations, generations and trainings: what got worse.

    Raises:
        ArtifactError: an artifact cannot be read.
    """
    found: list[CheckResult] = []
    for step in steps:
        places = {output: (key, plan.project.directory(key)) for output, key in step.artifact_keys().items()}
        names = {*NUMBERS, *map(check_name, watches(step))} & set(checks_of(plan, step))
        if names and all((place / MANIFEST).exists() for _, place in places.values()):
            artifacts = {output: open_artifact(*place) for output, place in places.items()}
            found += [result for result in run_checks(plan, step, artifacts, names) if not result.passed]
    return found


def _all_held(name: str, found: list[CheckResult]) -> CheckResult:
    """Combines several comparisons into one result; its values are those of the first that failed, if any did."""
    told = next((one for one in found if not one.passed), found[0])
    return CheckResult(name, told.passed, "; ".join(one.message for one in found), told.values)


def _diversity_held(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    name, earlier = "diversity_held", _earlier_artifacts(plan, step, artifact)
    if not earlier:
        return CheckResult(name, True, f"{step.key}: no earlier round to compare with", {})
    return _all_held(name, [_still_diverse(step, artifact, before) for before in earlier])


def _still_diverse(step: Step, artifact: Artifact, before: Artifact) -> CheckResult:
    name = "diversity_held"
    old, new, least = _distinct_shares(before), _distinct_shares(artifact), 1 - DIVERSITY_FALL
    if old is None or new is None:
        return CheckResult(name, True, f"{step.key}: no samples to compare with those of {before.key}", {})
    earlier, now = (dict(zip(names, figure.by_prompt, strict=True)) for names, figure in (old, new))
    share, found = old[1].estimate, compared(earlier, now, least)
    if found is None:
        found = unpaired(share.times(least), new[1].estimate)
    changed = f"distinct completions per sample {share.value:.3f} -> {new[1].value:.3f} since {before.key}"
    values = {"before": share.value, "now": new[1].value, **comparison_values(found)}
    told = f"{step.key}: {changed}; to {least:g} of before: {difference_told(found, LEVEL / LOOKS)}"
    return CheckResult(name, not worse_by(found, -1, LEVEL / LOOKS), told, values)


def _distinct_shares(artifact: Artifact) -> tuple[list[str], Figure] | None:
    """Returns the prompts, and the share of distinct completions among their samples; None where there are none."""
    table = Rows((artifact,)).read(["prompt_id", "completion"])
    distinct = table.group_by(["prompt_id", "completion"]).aggregate([([], "count_all")])
    counted = distinct.group_by("prompt_id").aggregate([("count_all", "count"), ("count_all", "sum")]).sort_by("prompt_id")
    names, different, samples = (counted[name].to_pylist() for name in ("prompt_id", "count_all_count", "count_all_sum"))
    return (names, ratio(different, samples)) if names else None
