"""One line on the terminal for each finished step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lineal.components.evaluators.reading import read_evaluation
from lineal.data.estimates import Estimate
from lineal.data.manifest import Manifest
from lineal.data.store import Artifact, open_artifact
from lineal.errors import number_of
from lineal.plan import Plan, Step
from lineal.recipe.references import ArtifactKind
from lineal.step.runlog import read_log

if TYPE_CHECKING:
    from lineal.orchestrate.dvc_repo import StageOutcome

_NUMBERS_SHOWN = 3


class Terminal:
    """Counts the finished steps of one run and prints a line for each."""

    def __init__(self, plan: Plan, total: int) -> None:
        self._plan, self._done, self._total = plan, 0, total
        self.failed = 0

    def report_failure(self, message: str) -> None:
        """Prints why a step failed, as soon as it did."""
        self.failed += 1
        sys.stderr.write(f"error: {message}\n")

    def report(self, step: Step, outcome: StageOutcome) -> None:
        """Prints a step's outcome: seconds where it ran, otherwise why it didn't have to, and its short counts."""
        self._done += 1
        width = len(str(self._total))
        artifact = open_artifact(step.key, self._plan.project.directory(step.key))
        log = read_log(self._plan.project, step.key) if outcome.ran else {}
        time = f"{log.get('seconds', 0.0):7.1f} s" if outcome.ran else f"{'-':>9}"
        stopped = log.get("facts", {}).get("stopped")
        note = "" if outcome == "done" else f" ({stopped or outcome})"
        line = f"[{self._done:>{width}}/{self._total}]{time}  {step.key:<40}  {summary(artifact)}{note}"
        sys.stderr.write(line.rstrip() + "\n")


def summary(artifact: Artifact) -> str:
    """Describes an artifact in a few words: rows kept, verdicts, or an evaluation's first numbers, its headline first."""
    if artifact.manifest.kind is ArtifactKind.METRICS:
        found = read_evaluation(artifact.directory)
        names = sorted(found.numbers, key=lambda name: name != found.headline)[:_NUMBERS_SHOWN]
        return ", ".join(
            f"{name} {found.numbers[name]:.3g}{_bounds(found.estimates.get(name))}" for name in names
        )
    return _counts(artifact.manifest)


def _bounds(estimate: Estimate | None) -> str:
    return "" if estimate is None else f" ({estimate.low:.3g}-{estimate.high:.3g})"


def _counts(manifest: Manifest) -> str:
    counts = manifest.counts
    if manifest.nothing_to_learn:
        return manifest.nothing_to_learn
    if "kept" in counts:
        return f"{counts['kept']:,} of {number_of(counts.get('in', 0), 'row')} kept"
    if "pass" in counts:
        said = [
            f"{counts[verdict]:,} {verdict}" for verdict in ("pass", "fail", "error") if counts.get(verdict)
        ]
        return ", ".join(said)
    rows = sum(entry.rows or 0 for entry in manifest.files.values())
    return number_of(rows, "row") if manifest.columns else ""
