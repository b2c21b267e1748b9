"""The setting `lora:` of trainers: a low-rank adapter instead of the full weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt
from pydantic import Field

from lineal.recipe.compute import Positive, Strict

if TYPE_CHECKING:
    from lineal.engines.training.settings import LoraSettings


class Lora(Strict):
    """A low-rank adapter (arXiv:2106.09685); the checkpoint stays an adapter over its base.

    Attributes:
        rank, alpha: the adapter's rank, and its scaling alpha / rank.
        dropout: dropout before the adapter.
        target_modules: the layers it sits on.
        quantize: '4bit' holds the base in 4-bit NormalFloat while the adapter learns (QLoRA, arXiv:2305.14314); the
            adapter is for the full base all the same. Left out of the identity where it is not set.
    """

    rank: Positive
    alpha: Annotated[int, Gt(0)]
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    target_modules: list[str] | Literal["all-linear"] = "all-linear"
    quantize: Literal["4bit"] | None = Field(default=None, exclude_if=lambda value: value is None)

    def shape(self) -> dict[str, Any]:
        """Returns the settings of an adapter that stay the same while it is trained."""
        layers = self.target_modules if isinstance(self.target_modules, str) else sorted(self.target_modules)
        return {"rank": self.rank, "alpha": self.alpha, "dropout": self.dropout, "target_modules": layers}

    def settings(self) -> LoraSettings:
        """Returns the settings as the engine takes them."""
        from lineal.engines.training.settings import LoraSettings

        modules = self.target_modules
        named = modules if isinstance(modules, str) else tuple(modules)
        return LoraSettings(self.rank, self.alpha, self.dropout, named, self.quantize)
