"""The result of a check of a step, and what a failure of it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Severity(Enum):
    """The consequence of a failed check."""

    STOPS = "stops"
    """The step publishes nothing, and the steps after it don't run."""
    ERROR = "error"
    """An existing artifact is wrong; nothing stops."""
    WARNING = "warning"
    """Somebody should look at it."""


@dataclass(frozen=True)
class CheckResult:
    """One check's outcome on one artifact."""

    name: str
    passed: bool
    message: str
    values: Mapping[str, Any]
    severity: Severity = Severity.WARNING

    @property
    def blocking(self) -> bool:
        """True if a failure stops the steps after it."""
        return self.severity is Severity.STOPS
