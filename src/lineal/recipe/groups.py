"""The middle part of step keys: `tasks`, `start`, `round_02`, `finish`."""

from __future__ import annotations


def round_group(round_number: int) -> str:
    """Returns a round's name in the keys of its steps: `round_02`."""
    return f"round_{round_number:02d}"


def group_after(round_number: int) -> str:
    """Returns the group of the nodes after so many rounds: the round's, and before the first one start's."""
    return round_group(round_number) if round_number else "start"
