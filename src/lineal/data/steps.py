"""A completion's steps: each with the separator that ends it, as `split_steps.sql` cuts them too."""

from __future__ import annotations

LINE_BREAK = "\n"


def steps_of(text: str, separator: str = LINE_BREAK) -> list[str]:
    """Splits a text into steps whose concatenation is the text; an empty text is one empty step."""
    parts = text.split(separator)
    last = parts.pop()
    steps = [part + separator for part in parts]
    return [*steps, last] if last or not steps else steps


def is_open(text: str, separator: str = LINE_BREAK) -> bool:
    """Tells whether a text continues: a separator ends it, where the model's end token would end a whole completion."""
    return text.endswith(separator)
