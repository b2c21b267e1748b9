"""The middle part of step keys: `tasks`, `start`, `round_02`, `finish`."""

from __future__ import annotations


def round_group(round_number: int) -> str:
    """A round in the keys of its steps: `round_02`."""
    return f"round_{round_number:02d}"


def group_after(round_number: int) -> str:
    """Where the nodes are that stand after so many rounds: the round's, and before the first one those of start."""
    return round_group(round_number) if round_number else "start"
