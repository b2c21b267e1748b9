"""Checks whether a number of an evaluation gets worse over the rounds: by noise and by trend, not by a threshold alone.

A round is compared with every round before it, so that neither a loss at once, nor one that adds up, nor one after a peak is
missed; the level is divided by the number of comparisons. Numbers without an interval, and changes too slow to show
between any two rounds, are left to the trend over all rounds and over the later half of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineal.components.base import Role
from lineal.components.evaluators.base import Evaluator
from lineal.components.evaluators.reading import EvaluationNumbers, change_of, compare, read_evaluation
from lineal.components.evaluators.watch import Watch, check_name
from lineal.data.estimates import Comparison, Estimate
from lineal.data.store import Artifact
from lineal.data.trends import short_trend_of
from lineal.plan import Step
from lineal.step.check_result import CheckResult

HELD = "accuracy_held"
"""The check of an evaluation's headline."""
LEVEL = 0.05
"""The chance that a round that changed nothing differs from any earlier one."""
TREND = 0.01
"""The chance that a series without a trend shows one."""
FEWEST = 5
"""Rounds that can have a trend at this level: all of 4 rise by chance in 1 of 24 orders."""
HALVED = 11
"""From so many rounds on, the later half is tested separately, for a trend that turned. It then has 6 values; all of 5 rise by
chance in 1 of 120 orders, more often than half the level."""


@dataclass(frozen=True)
class Earlier:
    """The same evaluation of an earlier round.

    Attributes:
        key: its artifact.
        evaluation: its numbers.
    """

    key: str
    evaluation: EvaluationNumbers


def watches(step: Step) -> dict[str, Watch]:
    """Returns the warnings of a step's evaluation, by number."""
    return step.component.watched() if isinstance(step.component, Evaluator) else {}


def is_held(step: Step) -> bool:
    """Tells whether a step's headline is checked: one with a good direction and without a warning of its own about its moves."""
    component = step.component
    own = watches(step).get(component.headline)
    moves = own is not None and (own.falls is not None or own.rises is not None)
    return component.role is Role.EVALUATOR and component.higher_is_better is not None and not moves


def headline_held(step: Step, artifact: Artifact, earlier: Sequence[Earlier]) -> CheckResult:
    """Checks that the headline is not worse than before.

    Args:
        step: the evaluation's step.
        artifact: the evaluation.
        earlier: those of earlier rounds that are here, in their order.
    """
    headline, now = step.component.headline, read_evaluation(artifact.directory)
    if headline not in now.numbers:
        return CheckResult(HELD, True, f"{step.key} gives no {headline} in this round", {})
    found = moved(headline, now, earlier, -1 if step.component.higher_is_better else 1)
    return CheckResult(
        HELD, found.held, f"{step.key}: {found.message}", {"headline": headline, **found.values}
    )


def read_earlier(artifacts: Sequence[Artifact]) -> list[Earlier]:
    """Reads the evaluations of earlier rounds, in their order."""
    return [Earlier(artifact.key, read_evaluation(artifact.directory)) for artifact in artifacts]


def watched(
    step: Step, number: str, watch: Watch, artifact: Artifact, earlier: Sequence[Earlier]
) -> CheckResult:
    """Checks one number.

    Args:
        step: the evaluation's step.
        number: the number.
        watch: when to warn about it.
        artifact: the evaluation.
        earlier: those of earlier rounds that are here, in their order.
    """
    name, now = check_name(number), read_evaluation(artifact.directory)
    value = now.numbers.get(number)
    if value is None:
        unplanned = step.outputs[""].values is None
        fix = (
            f"; it gives {', '.join(sorted(now.numbers))}. Correct the name in warnings"
            if unplanned
            else " in this round"
        )
        return CheckResult(name, not unplanned, f"{step.key} gives no {number}{fix}", {})
    found = [
        *_levels(number, watch, now.estimates.get(number) or Estimate(value, value, value)),
        *(
            moved(number, now, earlier, -1 if word == "falls" else 1, share)
            for word in ("falls", "rises")
            if (share := getattr(watch, word)) is not None
        ),
    ]
    told = "; ".join(one.message for one in found)
    first = next((one for one in found if not one.held), found[0])
    return CheckResult(
        name, first.held, f"{step.key}: {told}", {**first.values, "number": number, "now": value}
    )


@dataclass(frozen=True)
class Found:
    """The result for one number: whether it held, the message, and the figures in it."""

    held: bool
    message: str
    values: Mapping[str, Any]


def _levels(number: str, watch: Watch, found: Estimate) -> Iterator[Found]:
    shown = f"{number} {found.value:.4g}" + (
        f" ({found.low:.4g} to {found.high:.4g})" if found.low < found.high else ""
    )
    for word, level, held in (
        ("below", watch.below, watch.below is None or found.high >= watch.below),
        ("above", watch.above, watch.above is None or found.low <= watch.above),
    ):
        if level is not None:
            yield Found(held, f"{shown} is {'not ' if held else ''}{word} {level:g}", {"level": level})


def moved(
    number: str, now: EvaluationNumbers, earlier: Sequence[Earlier], direction: int, share: float = 0.0
) -> Found:
    """Checks whether a number moved the wrong way.

    Args:
        number: the number.
        now: the evaluation.
        earlier: those before it.
        direction: -1 where a fall is bad news, 1 where a rise is.
        share: the share of its earlier value that it may lose or gain.
    """
    value, known = now.numbers[number], [one for one in earlier if number in one.evaluation.numbers]
    if not known:
        return Found(
            True, f"{number} {value:.4g}: no earlier round's is here to compare with", {"now": value}
        )
    allowed = [_allowed(one.evaluation.numbers[number], direction, share) for one in known]
    changes = [
        change_of(one.evaluation, now, number, factor) for one, factor in zip(known, allowed, strict=True)
    ]
    compared = [
        (one, found)
        for one, factor, change in zip(known, allowed, changes, strict=True)
        if (
            one is known[0] or one is known[-1] or (change or 0) * direction > 0
        )  # the others cannot be worse
        and (found := compare(one.evaluation, now, number, factor)) is not None
    ]
    level = LEVEL / max(1, sum(change is not None for change in changes))
    worse = [found for found in compared if worse_by(found[1], direction, level)]
    trend, drift = _trend(number, value, known, allowed, direction)
    clearest = min(worse, key=lambda pair: pair[1].chance, default=None)
    shown = _shown(known, compared, clearest)
    limit = f" (up to {share:.0%} of it is allowed)" if share else ""
    texts = [f"{number} {_told(number, one, now, found, level)}{limit}" for one, found in shown]
    if not compared:
        change = f"{number} {known[-1].evaluation.numbers[number]:.4g} -> {value:.4g} since {known[-1].key}"
        texts = [f"{change}; without intervals of both, only a trend over at least {FEWEST} rounds can tell"]
    first = clearest or (shown[0] if shown else None)
    numbers = {"now": value, **drift, **(comparison_values(first[1]) if first else {})}
    before = first[0] if first else known[-1]
    held = not worse and not trend
    return Found(
        held,
        "; ".join([*texts, *([trend] if trend else [])]),
        {"before": before.evaluation.numbers[number], **numbers},
    )


def _allowed(before: float, direction: int, share: float) -> float:
    """Returns the allowed value as a factor of the earlier one; a negative number rises towards 0."""
    return max(0.0, 1 + direction * share * (1 if before >= 0 else -1))


def worse_by(found: Comparison, direction: int, level: float) -> bool:
    """Tells whether a difference is in this direction and more than noise at a level."""
    return found.difference.value * direction > 0 and found.chance < level


def _shown(
    known: Sequence[Earlier],
    compared: Sequence[tuple[Earlier, Comparison]],
    clearest: tuple[Earlier, Comparison] | None,
) -> list[tuple[Earlier, Comparison]]:
    """Returns the comparisons with the round before and with the first, and the clearest of those that are worse."""
    ends = [pair for end in (known[-1], known[0]) for pair in compared if pair[0] is end]
    return list({id(pair[0]): pair for pair in [*ends, *([clearest] if clearest else [])]}.values())


def _told(number: str, one: Earlier, now: EvaluationNumbers, found: Comparison, level: float) -> str:
    before = one.evaluation.numbers[number]
    return f"{before:.4g} -> {now.numbers[number]:.4g} since {one.key}, {difference_told(found, level)}"


def difference_told(found: Comparison, level: float) -> str:
    """Describes a difference, and whether it is more than noise at a level."""
    change = found.difference
    word = "more than noise" if found.chance < level else "within noise"
    pairing = f"{found.prompts:,} prompts compared" if found.prompts else "not the same prompts"
    return f"a difference of {change.value:+.4g} ({change.low:+.4g} to {change.high:+.4g}; {pairing}): {word}"


def comparison_values(found: Comparison) -> dict[str, float]:
    """Returns a comparison's numbers, as a check shows them."""
    change = found.difference
    values = {"difference": change.value, "low": change.low, "high": change.high, "prompts": found.prompts}
    return values if found.p_value is None else {**values, "p_value": found.p_value}


def _trend(
    number: str, value: float, known: Sequence[Earlier], allowed: Sequence[float], direction: int
) -> tuple[str, dict[str, float]]:
    """Returns the message about a trend in the wrong direction, empty where there is none, and its p-value."""
    series = [direction * one.evaluation.numbers[number] for one in known]
    limits = [factor * one for factor, one in zip(allowed, series, strict=True)]
    series.append(direction * value)
    looks = [series, series[len(series) // 2 :]] if len(series) >= HALVED else [series]
    chances = [min(1.0, len(looks) * short_trend_of(look).rises) for look in looks]
    chance = min(chances)
    if chance >= TREND or series[-1] <= min(limits):
        return "", {"trend_p_value": chance}
    word = "falls" if direction < 0 else "rises"
    over = (
        f"{len(series)} rounds"
        if chances[0] < TREND
        else f"the later {len(looks[1])} of {len(series)} rounds"
    )
    return f"{number} {word} over {over} (p = {chance:.2g})", {"trend_p_value": chance}
