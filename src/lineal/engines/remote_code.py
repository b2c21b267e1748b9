"""Checkpoints that bring Python code of their own: it never runs here."""

from __future__ import annotations


def loading_error(error: Exception) -> str:
    """Why something cannot be loaded; in place of transformers' advice to trust code out of a checkpoint, that none is run."""
    if "trust_remote_code" not in str(error):
        return str(error)
    return (
        "it needs Python code that it brings itself (auto_map in its configuration), and code out of a checkpoint is never run. "
        "Convert it to an architecture that transformers has, or choose another"
    )
