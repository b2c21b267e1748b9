"""`pretrain`: a small decoder from scratch, with one token per character."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Self

from annotated_types import Gt
from pydantic import Field, model_validator

from lineal.components.base import Columns, Output, Workspace, missing_package
from lineal.components.trainers.base import LearningRate, SupervisedTrainer, Target
from lineal.data.ids import row_seed
from lineal.data.media import IMAGES
from lineal.engines.training.processes import process_index
from lineal.recipe.compute import Positive, Strict
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    from lineal.engines.models.vision_model import VisionShape

PATCHES = 8
"""Attention over a multiple of so many gives a row the same bits whatever its neighbours are (`engines/models/attention.py`)."""
PRINTABLE = "".join(chr(code) for code in range(32, 127))


class Vision(Strict):
    """The part of a model that sees. A picture becomes `(pixels / patch / merge)^2` tokens, and three around them.

    Attributes:
        pixels: on a picture's side; others are scaled to it.
        patch: pixels on the side of a patch.
        merge: patches on the side of a square that becomes one token.
        hidden_size, layers, heads, intermediate_size: the encoder's shape.
    """

    pixels: Positive = 32
    patch: Positive = 8
    merge: Positive = 1
    hidden_size: Positive = 64
    layers: Positive = 2
    heads: Positive = 2
    intermediate_size: Positive = 128

    @model_validator(mode="after")
    def _fits(self) -> Self:
        side = self.pixels // self.patch
        if self.pixels % self.patch or side % self.merge or side**2 % PATCHES:
            got = f"pixels {self.pixels}, patch {self.patch} and merge {self.merge}"
            raise ValueError(
                f"{got} don't fit: patches must fill the picture, squares of them too, and be a multiple of {PATCHES}"
            )
        if self.hidden_size % self.heads:
            raise ValueError(
                f"hidden_size is {self.hidden_size}, but must be a multiple of heads ({self.heads})"
            )
        return self

    def shape(self) -> VisionShape:
        """Returns the engine's form of it."""
        from lineal.engines.models.vision_model import VisionShape

        return VisionShape(**self.model_dump())


class Pretrain(SupervisedTrainer):
    """Makes and trains a Llama model from random weights, or with `vision` one that sees pictures (Idefics3, arXiv:2408.12637).

    Attributes:
        hidden_size, layers, heads, intermediate_size, rope_theta, tie_embeddings, max_positions: the model's shape.
        characters: the alphabet; each is one token. The default is printable ASCII, without the newline.
        vision: the part that sees pictures; rows with pictures need it.
    """

    target: Target = "answer"
    learning_rate: LearningRate = 3e-3
    hidden_size: Positive = 128
    layers: Positive = 2
    heads: Positive = 2
    intermediate_size: Positive = 320
    rope_theta: Annotated[float, Gt(0)] = 10_000.0
    tie_embeddings: bool = True
    max_positions: Positive = 256
    characters: str = PRINTABLE
    vision: Annotated[Vision | None, Field(exclude_if=lambda value: value is None)] = None

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if (
            isinstance(self.hidden_size, int)
            and isinstance(self.heads, int)
            and self.hidden_size % (2 * self.heads)
        ):
            raise ValueError(
                f"hidden_size is {self.hidden_size}, but must be a multiple of 2 * heads ({2 * self.heads})"
            )
        if isinstance(self.characters, str) and len(set(self.characters)) < max(1, len(self.characters)):
            raise ValueError("characters must name at least one, and each once")
        return self

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        if IMAGES in inputs["rows"] and self.vision is None:
            raise ValueError(
                "pretrain: the rows have pictures, which a model of texts does not see. Set vision: {pixels: 32}"
            )
        return {"": Output(ArtifactKind.MODEL)}

    def lacks(self) -> list[str]:
        return [
            *super().lacks(),
            *([] if self.vision is None else missing_package("PIL", "pillow", "vision")),
        ]

    def run(self, workspace: Workspace) -> None:
        """Initialises the model, then trains it on the rows."""
        from lineal.engines.training.job import Checkpoint
        from lineal.engines.training.train import ModelShape, initialise

        init = workspace.partial / f"init-{process_index()}"
        if workspace.compute.engine != "fake":
            shape = ModelShape(
                hidden_size=self.hidden_size,
                layers=self.layers,
                heads=self.heads,
                intermediate_size=self.intermediate_size,
                rope_theta=self.rope_theta,
                tie_embeddings=self.tie_embeddings,
                characters=self.characters,
                max_positions=self.max_positions,
                vision=None if self.vision is None else self.vision.shape(),
            )
            initialise(shape, row_seed(workspace.seed, workspace.step, "init") % 2**32, init)
        self.train(workspace, Checkpoint(init), self.training_settings(workspace, packing=self.packing))
