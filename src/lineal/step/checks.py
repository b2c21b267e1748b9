"""Checks of a step's result. Blocking ones stop publication; the others warn. Dagster shows them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lineal.components.base import Role
from lineal.components.evaluators.reading import compare, read_evaluation
from lineal.data.estimates import Comparison, Estimate, Figure, compared, ratio, unpaired
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.data.workspace import MAIN
from lineal.errors import CheckFailure
from lineal.plan import Plan, Step, artifact_key
from lineal.recipe.groups import group_after
from lineal.recipe.references import ArtifactKind
from lineal.step.check_result import CheckResult
from lineal.step.contamination import Match, described, held_out_prompts, stops, training_outputs
from lineal.step.judges import mixtures
from lineal.step.retraction import CHECK
from lineal.step.rewards import reward_held
from lineal.step.tainted import tainted_checkpoints, why_tainted
from lineal.step.waiting import ARRIVED

WARNING = {
    "accuracy_held": "the evaluation's headline is not worse than the previous or the first round's by more than noise",
    "diversity_held": "distinct completions per sample are not down by over a quarter, and noise, on the previous or first round",
    "reward_held": "no probe falls over an online training while the reward does not, by Mann and Kendall's test at the 1% level",
    "one_judge": "scores that are put together were given by one judge: the same verifier, version and checkpoint",
}
SERIOUS = {
    CHECK: "it was trained on no retracted row, and descends from no checkpoint that was; failed until it is made again",
}
"""Checks of severity error that stop nothing: they are about what lies here already."""
DIVERSITY_FALL = 0.25
MOST_SHOWN = 5
"""Contaminated rows that a check's message names."""
MOST_LETTERS = 120


def checks_of(plan: Plan, step: Step) -> list[str]:
    """The checks that a step has, known before it runs; all but the one for held-out prompts are about its main artifact."""
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
    if role is Role.EVALUATOR and _predecessor(plan, step) is not None:
        names.append("accuracy_held")
    if role is Role.GENERATOR and "completion" in step.outputs[""].columns and _predecessor(plan, step) is not None:
        names.append("diversity_held")
    if any(step.component.probed().values()):
        names.append("reward_held")
    if step.outputs[""].kind is ArtifactKind.MODEL and plan.project.retractions.declared:
        names.append(CHECK)
    return names


def run_checks(plan: Plan, step: Step, artifacts: Mapping[str, Artifact]) -> list[CheckResult]:
    """Runs a step's checks on its artifacts by output name (published, or about to be)."""
    runners: dict[str, Callable[[Plan, Step, Artifact], CheckResult]] = {
        ARRIVED: _arrived,
        "not_empty": _not_empty,
        "rows_conserved": _rows_conserved,
        "verifier_errors": _verifier_errors,
        "no_test_prompt_in_training": lambda plan, step, _: _no_test_prompt(plan, step, artifacts),
        "accuracy_held": _accuracy_held,
        "diversity_held": _diversity_held,
        "one_judge": _one_judge,
        "reward_held": lambda plan, step, _: reward_held(step, artifacts),
        CHECK: _no_retracted_rows,
    }
    return [runners[name](plan, step, artifacts[MAIN]) for name in checks_of(plan, step)]


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
    held_out, found = held_out_prompts(plan, step.pipeline), dict[tuple[str, int], Match]()
    for output in training_outputs(plan, step):
        for match in held_out.matches(artifacts[output]):
            if stops(plan, match):
                found.setdefault((output, match.position), match)
    shown = list(found.values())[:MOST_SHOWN]
    where = ", ".join(artifact_key(step.key, output) for output in dict.fromkeys(output for output, _ in found)) or step.key
    message = f"{where}: {len(found):,} rows with a prompt of an evaluation set{''.join(map(_evidence, shown))}"
    values = {"rows": len(found), "n": plan.project.params.contamination.n, "evidence": [described(match) for match in shown]}
    return CheckResult("no_test_prompt_in_training", not found, message, values)


def _evidence(match: Match) -> str:
    shared = f": {match.ngram[:MOST_LETTERS]!a}" if match.ngram else ""
    return f"\n  {match.column} of {match.row} has {match.prompt} of {match.evaluation} ({match.rule}{shared})"


def _no_retracted_rows(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    return retraction_check(step, tainted_checkpoints(plan, [step]).get(step.key, {}))


def retraction_check(step: Step, marks: Mapping[str, str]) -> CheckResult:
    """The check of a checkpoint that is tainted for these reasons, by retraction; without any it passed."""
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
    """The same node one round earlier; round 1 follows start."""
    if step.round == 0 or step.group == "finish":
        return None
    return _in_round(plan, step, step.round - 1)


def _in_round(plan: Plan, step: Step, number: int) -> Step | None:
    """The same node in another round; 0 is the start."""
    return plan.steps.get(f"{step.pipeline}/{group_after(number)}/{step.label}")


def _earlier_artifacts(plan: Plan, step: Step, artifact: Artifact) -> list[Artifact]:
    """The same node's of the previous round and of the first, as far as they are here: small falls add up to a large one.

    A node may be of another kind at the start, such as settings where the rounds have an evaluation: that is left out.
    """
    before = _predecessor(plan, step)
    first = next((one for number in range(step.round) if (one := _in_round(plan, step, number)) is not None), None)
    keys = dict.fromkeys(one.key for one in (before, first) if one is not None)
    places = [(key, plan.project.directory(key)) for key in keys]
    found = [open_artifact(key, place) for key, place in places if (place / MANIFEST).exists()]
    return [one for one in found if one.manifest.kind is artifact.manifest.kind]


def _accuracy_held(plan: Plan, step: Step, artifact: Artifact) -> CheckResult:
    name, earlier = "accuracy_held", _earlier_artifacts(plan, step, artifact)
    if not earlier:
        return CheckResult(name, True, f"{step.key}: no earlier round's evaluation is here to compare with", {})
    return _all_held(name, [_not_worse(step, artifact, before) for before in earlier])


def _not_worse(step: Step, artifact: Artifact, earlier: Artifact) -> CheckResult:
    name, headline = "accuracy_held", step.component.headline
    before, now = read_evaluation(earlier.directory), read_evaluation(artifact.directory)
    found = compare(before, now)
    if found is None:
        why = f"cannot be compared: only one of {earlier.key} and this one has {headline!r} with an interval"
        return CheckResult(name, True, f"{step.key}: {why}", {})
    worse = found.fell if step.component.higher_is_better else found.rose
    old, new = before.numbers[headline], now.numbers[headline]
    message = f"{step.key}: {headline} {old:.4g} -> {new:.4g} since {earlier.key}, {_difference(found)}"
    return CheckResult(name, not worse, message, {"headline": headline, "before": old, "now": new, **_numbers(found)})


def _all_held(name: str, found: list[CheckResult]) -> CheckResult:
    """One result for several comparisons; its values are those of the first that failed, if any did."""
    told = next((one for one in found if not one.passed), found[0])
    return CheckResult(name, told.passed, "; ".join(one.message for one in found), told.values)


def _difference(found: Comparison) -> str:
    change = found.difference
    word = "within noise" if found.is_noise else "more than noise"
    pairing = f"{found.prompts:,} prompts compared" if found.prompts else "not the same prompts"
    return f"a difference of {change.value:+.4g} ({change.low:+.4g} to {change.high:+.4g}; {pairing}): {word}"


def _numbers(found: Comparison) -> dict[str, float]:
    change = found.difference
    values = {"difference": change.value, "low": change.low, "high": change.high, "prompts": found.prompts}
    return values if found.p_value is None else {**values, "p_value": found.p_value}


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
        lowered = Estimate(least * share.value, least * share.low, least * share.high)
        found = unpaired(lowered, new[1].estimate)
    changed = f"distinct completions per sample {share.value:.3f} -> {new[1].value:.3f} since {before.key}"
    values = {"before": share.value, "now": new[1].value, **_numbers(found)}
    return CheckResult(name, not found.fell, f"{step.key}: {changed}; to {least:g} of before: {_difference(found)}", values)


def _distinct_shares(artifact: Artifact) -> tuple[list[str], Figure] | None:
    """The prompts, and the share of distinct completions among their samples; None where there are none."""
    table = Rows((artifact,)).read(["prompt_id", "completion"])
    distinct = table.group_by(["prompt_id", "completion"]).aggregate([([], "count_all")])
    counted = distinct.group_by("prompt_id").aggregate([("count_all", "count"), ("count_all", "sum")]).sort_by("prompt_id")
    names, different, samples = (counted[name].to_pylist() for name in ("prompt_id", "count_all_count", "count_all_sum"))
    return (names, ratio(different, samples)) if names else None
