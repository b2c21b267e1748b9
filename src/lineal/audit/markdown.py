"""Markdown of text that models and users wrote: shown literally, never as mark-up."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lineal.audit.terminal import printable, show_value

_MARKS = re.compile(r"([\\`*_{}\[\]()#|~!$:@]|(?<=www)\.)", re.IGNORECASE)


def prose(text: str) -> str:
    """Escapes text for a paragraph or a cell: no mark-up, no HTML, no link, one line."""
    return _MARKS.sub(r"\\\1", html.escape(printable(" ".join(text.split())), quote=False))


def code(text: str) -> str:
    """Puts text into a code span that may also stand in a table."""
    safe = printable(text)
    fence = "`" * (max(map(len, re.findall("`+", safe)), default=0) + 1)
    padded = f" {safe} " if safe.startswith("`") or safe.endswith("`") or not safe.strip() else safe
    return fence + padded.replace("|", r"\|") + fence


def settings(values: Mapping[str, Any]) -> str:
    """Writes settings as code spans; those that nobody set are left out."""
    return (
        ", ".join(code(f"{name}={show_value(value)}") for name, value in values.items() if value is not None)
        or "none"
    )


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Writes a table whose cells are Markdown already; nothing without rows."""
    if not rows:
        return []
    lines = [names, ["---"] * len(names), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Writes a heading and the lines under it; nothing without lines."""
    return [f"## {title}", "", *lines, *([] if lines[-1] == "" else [""])] if lines else []
