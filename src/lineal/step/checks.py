"""All checks of a step's result: when each applies, what it looks at, and what a failure does. Dagster shows them all."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

from lineal.components.base import Role
from lineal.components.evaluators.watch import Watch, check_name
from lineal.data.manifest import MANIFEST
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.data.workspace import MAIN
from lineal.errors import CheckFailure, number_of
from lineal.plan import Plan, Step
from lineal.recipe.groups import group_after
from lineal.recipe.references import ArtifactKind
from lineal.step import diversity, unseen
from lineal.step.check_result import CheckResult, Severity
from lineal.step.contamination import training_outputs
from lineal.step.judges import mixtures
from lineal.step.retraction import CHECK as NO_RETRACTED_ROWS
from lineal.step.rewards import reward_held
from lineal.step.tainted import tainted_checkpoints, why_tainted
from lineal.step.waiting import ARRIVED
from lineal.step.watching import HELD, Earlier, headline_held, is_held, read_earlier, watched, watches


@dataclass(frozen=True)
class CheckedStep:
    """The things that a check looks at.

    Attributes:
        plan: the plan.
        step: the step.
        artifacts: by output name, what it made: published, or about to be.
    """

    plan: Plan
    step: Step
    artifacts: Mapping[str, Artifact]

    @property
    def main(self) -> Artifact:
        """The step's main artifact."""
        return self.artifacts[MAIN]

    @cached_property
    def earlier_evaluations(self) -> list[Earlier]:
        """The same node's evaluations of all earlier rounds."""
        if predecessor(self.plan, self.step) is None:
            return []
        return read_earlier(_of_rounds(self.plan, self.step, range(self.step.round), ArtifactKind.METRICS))

    @property
    def earlier_generations(self) -> list[Artifact]:
        """The same node's artifacts of the previous and the first round: small falls add up to a large one."""
        plan, step = self.plan, self.step
        first = next(
            (number for number in range(step.round) if _in_round(plan, step, number) is not None), step.round
        )
        return _of_rounds(plan, step, dict.fromkeys((step.round - 1, first)), self.main.manifest.kind)


@dataclass(frozen=True)
class Check:
    """A check of a step's result.

    Attributes:
        name: its name in Dagster, and in messages.
        severity: what a failure does.
        description: what holds if it passes.
        applies: tells from the plan whether a step has it.
        run: looks at what the step made.
        compares: whether it compares numbers over rounds or optimizer steps, and may so fail long after the step ran.
    """

    name: str
    severity: Severity
    description: str
    applies: Callable[[Plan, Step], bool]
    run: Callable[[CheckedStep], CheckResult]
    compares: bool = False


def checks_of(plan: Plan, step: Step) -> list[Check]:
    """Returns a step's checks, known before it runs; all except the one for held-out prompts are about its main artifact."""
    every = [*CHECKS, *(_declared(number, watch) for number, watch in watches(step).items())]
    return [check for check in every if check.applies(plan, step)]


def run_checks(
    plan: Plan, step: Step, artifacts: Mapping[str, Artifact], chosen: Collection[Check] | None = None
) -> list[CheckResult]:
    """Runs a step's checks on its artifacts by output name (published, or about to be).

    Args:
        plan: the plan.
        step: the step.
        artifacts: by output name, what it made.
        chosen: the checks to run; None: all that it has.
    """
    made = CheckedStep(plan, step, artifacts)
    checks = checks_of(plan, step) if chosen is None else chosen
    return [replace(check.run(made), severity=check.severity) for check in checks]


def require_blocking(results: list[CheckResult]) -> None:
    """Raises the first blocking failure.

    Raises:
        CheckFailure: with the check's name and message.
    """
    for result in results:
        if result.blocking and not result.passed:
            raise CheckFailure(result.name, result.message)


def warnings_of(plan: Plan, steps: Iterable[Step]) -> list[CheckResult]:
    """Returns the failed checks of numbers of existing evaluations, generations and trainings: what got worse.

    Raises:
        ArtifactError: an artifact cannot be read.
    """
    found: list[CheckResult] = []
    for step in steps:
        places = {output: (key, plan.project.directory(key)) for output, key in step.artifact_keys().items()}
        checks = [check for check in checks_of(plan, step) if check.compares]
        if checks and all((place / MANIFEST).exists() for _, place in places.values()):
            artifacts = {output: open_artifact(*place) for output, place in places.items()}
            found += [result for result in run_checks(plan, step, artifacts, checks) if not result.passed]
    return found


def predecessor(plan: Plan, step: Step) -> Step | None:
    """Returns the same node one round earlier; round 1 follows start."""
    if step.round == 0 or step.group == "finish":
        return None
    return _in_round(plan, step, step.round - 1)


def _in_round(plan: Plan, step: Step, number: int) -> Step | None:
    """Returns the same node in another round; 0 is the start."""
    return plan.steps.get(f"{step.pipeline}/{group_after(number)}/{step.label}")


def _of_rounds(plan: Plan, step: Step, numbers: Iterable[int], kind: ArtifactKind) -> list[Artifact]:
    """Opens the same node's artifacts of these rounds, as far as they are here.

    A node may be of another kind at the start, such as settings where the rounds have an evaluation: that is left out.
    """
    planned = [one for number in numbers if (one := _in_round(plan, step, number)) is not None]
    places = [(one.key, plan.project.directory(one.key)) for one in planned]
    found = [open_artifact(key, place) for key, place in places if (place / MANIFEST).exists()]
    return [one for one in found if one.manifest.kind is kind]


def _is_rows(step: Step) -> bool:
    return step.outputs[MAIN].kind is ArtifactKind.ROWS


def _puts_together(step: Step) -> bool:
    return step.component.role is Role.SELECTOR and any(len(keys) > 1 for keys in step.inputs.values())


def _samples_again(plan: Plan, step: Step) -> bool:
    generates = step.component.role is Role.GENERATOR and "completion" in step.outputs[MAIN].columns
    return generates and predecessor(plan, step) is not None


def _arrived(made: CheckedStep) -> CheckResult:
    awaited = made.step.component.awaited(made.step.key)
    path = "" if awaited is None else awaited.path
    return CheckResult(ARRIVED, True, f"{made.step.key}: {path} was here", {"path": path})


def _not_empty(made: CheckedStep) -> CheckResult:
    count, means = Rows((made.main,)).count, made.step.component.empty_means()
    legal = bool(means) or made.main.manifest.counts.get("in") == 0
    why = f": {means or 'none came in'}" if legal and not count else ""
    return CheckResult(
        "not_empty",
        count > 0 or legal,
        f"{made.step.key} has {number_of(count, 'row')}{why}",
        {"rows": count},
    )


def _rows_conserved(made: CheckedStep) -> CheckResult:
    counts = made.main.manifest.counts
    if "kept" in counts:
        got, expected, rule = counts["kept"] + counts.get("dropped", 0), counts["in"], "in = kept + dropped"
    else:
        got, expected, rule = (
            Rows((made.main,)).count,
            counts.get("expected", counts.get("in", 0)),
            "in = out",
        )
    message = f"{made.step.key}: {rule}: expected {expected:,}, got {got:,}"
    return CheckResult("rows_conserved", got == expected, message, {"expected": expected, "got": got})


def _verifier_errors(made: CheckedStep) -> CheckResult:
    counts = made.main.manifest.counts
    errors, total = counts.get("error", 0), max(1, counts.get("in", 0))
    limit = float(made.main.manifest.settings.get("max_error_rate", 0.0))
    message = f"{made.step.key}: {errors:,} of {total:,} verdicts are errors (limit {limit:.1%})"
    return CheckResult(
        "verifier_errors", errors / total <= limit, message, {"errors": errors, "limit": limit}
    )


def _one_judge(made: CheckedStep) -> CheckResult:
    """Warns where a selection compares scores of different judges."""
    plan, step = made.plan, made.step

    def inputs(one: Artifact) -> list[tuple[str, Artifact]]:
        planned = plan.steps.get(f"{step.pipeline}/{one.manifest.step}")
        keys = (
            [(field, key) for field, keys in planned.inputs.items() for key in keys]
            if planned is not None
            else []
        )
        places = ((field, key, plan.project.directory(key)) for field, key in keys)
        return [
            (field, open_artifact(key, place)) for field, key, place in places if (place / MANIFEST).exists()
        ]

    mixed = mixtures(made.main, inputs)
    message = "; ".join(map(str, mixed)) or f"{step.key}: all scores that it puts together are of one judge"
    return CheckResult(
        "one_judge", not mixed, message, {"judges": [str(judge) for one in mixed for judge in one.judges]}
    )


def _no_retracted_rows(made: CheckedStep) -> CheckResult:
    return retraction_check(made.step, tainted_checkpoints(made.plan, [made.step]).get(made.step.key, {}))


def retraction_check(step: Step, marks: Mapping[str, str]) -> CheckResult:
    """Makes the check of a checkpoint that is tainted for these reasons, by retraction; without any it passed."""
    message = f"{step.key}: {why_tainted(marks) or 'descends from no retracted row'}"
    return CheckResult(NO_RETRACTED_ROWS, not marks, message, {"retractions": list(marks)}, Severity.ERROR)


def _declared(number: str, watch: Watch) -> Check:
    """Makes the check that `warnings:` or a measure's file asks for."""
    return Check(
        check_name(number),
        Severity.WARNING,
        "no warning that the evaluation declares for this number applies",
        applies=lambda plan, step: True,
        run=partial(_watched, number, watch),
        compares=True,
    )


def _watched(number: str, watch: Watch, made: CheckedStep) -> CheckResult:
    return watched(made.step, number, watch, made.main, made.earlier_evaluations)


CHECKS = (
    Check(
        ARRIVED,
        Severity.STOPS,
        "the file that the step waits for is here",
        applies=lambda plan, step: step.component.awaited(step.key) is not None,
        run=_arrived,
    ),
    Check(
        "not_empty",
        Severity.STOPS,
        "there is at least one row, or none came in, or the selector says what that means",
        applies=lambda plan, step: _is_rows(step),
        run=_not_empty,
    ),
    Check(
        "rows_conserved",
        Severity.STOPS,
        "every input row is in the output, kept, or dropped with a reason",
        applies=lambda plan, step: _is_rows(step) and step.component.role is not Role.SOURCE,
        run=_rows_conserved,
    ),
    Check(
        "verifier_errors",
        Severity.STOPS,
        "the share of verifier errors is under the limit",
        applies=lambda plan, step: step.component.role is Role.VERIFIER,
        run=_verifier_errors,
    ),
    Check(
        unseen.NAME,
        Severity.STOPS,
        "no prompt of an evaluation set, and no 13 of its words in a row, is in rows to train on",
        applies=lambda plan, step: bool(training_outputs(plan, step)),
        run=lambda made: unseen.no_test_prompt(made.plan, made.step, made.artifacts),
    ),
    Check(
        "one_judge",
        Severity.WARNING,
        "scores that are put together were given by one judge: the same verifier, version and checkpoint",
        applies=lambda plan, step: _puts_together(step),
        run=_one_judge,
    ),
    Check(
        HELD,
        Severity.WARNING,
        "the evaluation's headline is not worse than any earlier round's by more than noise, and has no such trend",
        applies=lambda plan, step: is_held(step) and predecessor(plan, step) is not None,
        run=lambda made: headline_held(made.step, made.main, made.earlier_evaluations),
        compares=True,
    ),
    Check(
        diversity.NAME,
        Severity.WARNING,
        "distinct completions per sample are not down by over a quarter, and noise, on the previous or first round",
        applies=_samples_again,
        run=lambda made: diversity.diversity_held(made.step, made.main, made.earlier_generations),
        compares=True,
    ),
    Check(
        "reward_held",
        Severity.WARNING,
        "no probe falls over an online training while the reward does not, by Mann and Kendall's test at the 1% level",
        applies=lambda plan, step: any(step.component.probed().values()),
        run=lambda made: reward_held(made.step, made.artifacts),
        compares=True,
    ),
    Check(
        NO_RETRACTED_ROWS,
        Severity.ERROR,
        "it was trained on no retracted row, and descends from no checkpoint that was; failed until it is made again",
        applies=lambda plan, step: (
            step.outputs[MAIN].kind is ArtifactKind.MODEL and bool(plan.project.retractions.declared)
        ),
        run=_no_retracted_rows,
    ),
)
"""All checks but those of numbers for which an evaluation declares its own warnings."""
