"""`ends`: whether an end token follows a completion that is learnt or scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MinLen
from pydantic import BeforeValidator, Field

from lineal.recipe.compute import Strict

if TYPE_CHECKING:
    from lineal.engines.text.tokens import Answer


class Unless(Strict):
    """Completions end, except those that continue.

    Attributes:
        unless: a completion that ends with one of these texts continues, such as one that was sampled up to a stop text.
    """

    unless: Annotated[list[Annotated[str, MinLen(1)]], MinLen(1)]


def _spelled_out(value: Any) -> Any:
    one = value.get("unless") if isinstance(value, dict) else None
    return {**value, "unless": [one]} if isinstance(one, str) else value


Ends = bool | Unless
EndsSetting = Annotated[Ends, BeforeValidator(_spelled_out), Field(exclude_if=lambda value: value is True)]
"""Left out of the identity where every completion ends."""


def answers_with_ends(texts: Sequence[str], ends: Ends) -> list[Answer]:
    """Returns completions as the engines take them: those that continue are open."""
    from lineal.engines.text.tokens import Open

    return [text if _ends(text, ends) else Open(text) for text in texts]


def _ends(text: str, ends: Ends) -> bool:
    return ends if isinstance(ends, bool) else not text.endswith(tuple(ends.unless))
