"""A completion's steps: each with the separator that ends it, as `split_steps.sql` cuts them too."""

from __future__ import annotations

LINE_BREAK = "\n"


def steps_of(text: str, separator: str = LINE_BREAK) -> list[str]:
    """The steps of a text, which put one behind the other are the text; an empty text is one empty step."""
    parts = text.split(separator)
    last = parts.pop()
    steps = [part + separator for part in parts]
    return [*steps, last] if last or not steps else steps


def is_open(text: str, separator: str = LINE_BREAK) -> bool:
    """Whether a text goes on: a separator ends it, where the model's end token would end a whole completion."""
    return text.endswith(separator)
