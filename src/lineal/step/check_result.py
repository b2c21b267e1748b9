"""The result of a check of a step, and which checks stop the steps after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lineal.step.waiting import ARRIVED

BLOCKING = {
    "rows_conserved": "every input row is in the output, kept, or dropped with a reason",
    "not_empty": "there is at least one row, or none came in, or the selector says what that means",
    "verifier_errors": "the share of verifier errors is under the limit",
    ARRIVED: "the file that the step waits for is here",
    "no_test_prompt_in_training": "no prompt of an evaluation set, and no 13 of its words in a row, is in rows to train on",
}


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome on one artifact."""

    name: str
    passed: bool
    message: str
    values: Mapping[str, Any]

    @property
    def blocking(self) -> bool:
        """True if a failure stops the steps after it."""
        return self.name in BLOCKING
