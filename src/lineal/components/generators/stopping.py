"""`stop`: texts that end a completion, wherever completions are drawn."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import MinLen
from pydantic import BeforeValidator, Field

from lineal.engines.text.stop_texts import StopTexts
from lineal.recipe.compute import Strict


class Stop(Strict):
    """Texts that end a completion besides the model's end token.

    Attributes:
        texts: any of them; the one that is complete first ends it.
        keep: whether the completion holds it. Its end then shows whether a stop text ended it.
    """

    texts: Annotated[list[Annotated[str, MinLen(1)]], MinLen(1)]
    keep: bool = False


def _spelled_out(value: Any) -> Any:
    texts = [value] if isinstance(value, str) else value
    return {"texts": texts} if isinstance(texts, list) else texts


StopSetting = Annotated[
    Stop | None, BeforeValidator(_spelled_out), Field(exclude_if=lambda value: value is None)
]
"""A text, a list of texts, or `Stop` in full; left out of the identity where nothing stops."""


def stop_texts(stop: Stop | None) -> StopTexts | None:
    """Returns the engines' stop texts."""
    return None if stop is None else StopTexts(tuple(stop.texts), stop.keep)
