"""A diff as text for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lineal.audit.diff import ArtifactDiff, Change, Diff, PromptChanges, RowChanges
from lineal.audit.terminal import cut, printable, shown, table
from lineal.data.estimates import Comparison

MOST_IDS = 8


def as_json(diff: Diff) -> dict[str, Any]:
    """Returns the diff for programs."""
    return {
        "before": diff.before,
        "after": diff.after,
        "only_before": list(diff.only_before),
        "only_after": list(diff.only_after),
        "unknown": list(diff.unknown),
        "artifacts": [_artifact_json(one) for one in diff.artifacts],
    }


def _artifact_json(one: ArtifactDiff) -> dict[str, Any]:
    named = {name: _changes_json(getattr(one, name)) for name in ("settings", "counts", "metrics")}
    rows, prompts = one.rows, one.prompts
    return {
        "label": one.label,
        "before": one.before,
        "after": one.after,
        "same_bytes": one.same_bytes,
        **named,
        "absent": list(one.absent),
        "comparison": one.comparison and {"headline": one.headline, **_comparison_json(one.comparison)},
        "rows": rows
        and {
            "added": rows.added,
            "removed": rows.removed,
            "decisions": _states_json(rows.decisions),
            "verdicts": _states_json(rows.verdicts),
        },
        "prompts": prompts
        and {
            "counts": _states_json(prompts.counts),
            "right_to_wrong": list(prompts.lost),
            "wrong_to_right": list(prompts.gained),
            "comparison": prompts.comparison and _comparison_json(prompts.comparison),
        },
    }


def _comparison_json(found: Comparison) -> dict[str, Any]:
    change = found.difference
    return {
        "difference": change.value,
        "low": change.low,
        "high": change.high,
        "p_value": found.p_value,
        "prompts": found.prompts,
    }


def _changes_json(changes: Mapping[str, Change]) -> dict[str, Any]:
    return {name: {"before": old, "after": new} for name, (old, new) in changes.items()}


def _states_json(states: Mapping[Change, int]) -> list[dict[str, Any]]:
    return [{"before": old, "after": new, "count": count} for (old, new), count in states.items()]


def as_text(diff: Diff, width: int) -> str:
    """Formats the diff for people."""
    lines = [f"{diff.before} -> {diff.after}"]
    for one in diff.artifacts:
        lines += [] if _unchanged(one) else ["", *_artifact_text(one)]
    unchanged = [one.label for one in diff.artifacts if _unchanged(one)]
    lines += ["", f"the same bytes ({len(unchanged)}): {', '.join(unchanged)}"] if unchanged else []
    for name, labels in ((diff.before, diff.only_before), (diff.after, diff.only_after)):
        lines += ["", f"only in {name}: {', '.join(labels)}"] if labels else []
    if diff.unknown:
        lines += [
            "",
            f"recorded, but not here, so unknown: {', '.join(diff.unknown)}. Bring them: lineal run --pull",
        ]
    return "\n".join(cut(line, width) for line in lines)


def _unchanged(one: ArtifactDiff) -> bool:
    return one.same_bytes and not one.settings


def _artifact_text(one: ArtifactDiff) -> Iterator[str]:
    yield f"{one.label}  {'the same bytes' if one.same_bytes else 'differ'}"
    counts = {
        f"{name} rows": (old, new)
        for name, (old, new) in one.counts.items()
        if old != new and not one.same_bytes
    }
    numbers = {**one.settings, **counts, **one.metrics}
    if numbers:
        cells = [
            [printable(name), _number(old), _number(new), _difference(old, new)]
            for name, (old, new) in numbers.items()
        ]
        yield from (f"  {line}" for line in table(["", "before", "after", "change"], cells))
    if one.comparison and not one.same_bytes:
        yield f"  {printable(one.headline)}: {comparison_text(one.comparison)}"
    if one.absent:
        yield f"  rows: unknown, since {', '.join(one.absent)} {'are' if len(one.absent) > 1 else 'is'} not here"
    if one.rows:
        yield from _rows_text(one.rows)
    if one.prompts:
        yield from _prompts_text(one.prompts)


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown(value, 40)


def _difference(old: Any, new: Any) -> str:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (old, new))
    return f"{new - old:+,.4g}" if numbers and new != old else ""


def _rows_text(rows: RowChanges) -> Iterator[str]:
    yield f"  rows: {rows.added:,} added, {rows.removed:,} removed"
    for name, states in (("decision", rows.decisions), ("verdict", rows.verdicts)):
        for (old, new), count in states.items():
            yield f"  {name} changed: {count:,} {printable(old)} -> {printable(new)}"


def _prompts_text(prompts: PromptChanges) -> Iterator[str]:
    solved = [
        sum(count for change, count in prompts.counts.items() if change[side] == "solved") for side in (0, 1)
    ]
    totals = [sum(count for change, count in prompts.counts.items() if change[side]) for side in (0, 1)]
    yield f"  prompts solved: {solved[0]:,} of {totals[0]:,} -> {solved[1]:,} of {totals[1]:,}"
    if prompts.comparison and (prompts.lost or prompts.gained):
        yield f"  prompts solved: {comparison_text(prompts.comparison)}"
    for name, ids in (("right -> wrong", prompts.lost), ("wrong -> right", prompts.gained)):
        more = f", and {len(ids) - MOST_IDS:,} more" if len(ids) > MOST_IDS else ""
        yield f"  {name}: {len(ids):,}  {', '.join(map(printable, ids[:MOST_IDS]))}{more}".rstrip()


def comparison_text(found: Comparison) -> str:
    """Formats a difference with its interval, and whether it is more than noise: `+0.12 (+0.06 to +0.18, p 0.0002): rose`."""
    change = found.difference
    p_value = "" if found.p_value is None else f", p {found.p_value:.2g}"
    paired = f"{found.prompts:,} prompts" if found.prompts else "not the same prompts"
    word = "within noise" if found.is_noise else "fell" if found.fell else "rose"
    return f"{change.value:+.4g} ({change.low:+.4g} to {change.high:+.4g}{p_value}, {paired}): {word}"
