"""`pretrain`: a small decoder from scratch, with one token per character."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from annotated_types import Gt
from pydantic import model_validator

from lineal.components.base import Columns, Output, Workspace
from lineal.components.trainers.base import LearningRate, SupervisedTrainer, Target
from lineal.data.ids import row_seed
from lineal.engines.processes import process_index
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

PRINTABLE = "".join(chr(code) for code in range(32, 127))


class Pretrain(SupervisedTrainer):
    """Makes and trains a Llama model from random weights.

    Attributes:
        hidden_size, layers, heads, intermediate_size, rope_theta, tie_embeddings, max_positions: the model's shape.
        characters: the alphabet; each is one token.
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

    @model_validator(mode="after")
    def _shape_is_possible(self) -> Self:
        if isinstance(self.hidden_size, int) and isinstance(self.heads, int) and self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size is {self.hidden_size}, but must be a multiple of 2 * heads ({2 * self.heads})")
        if isinstance(self.characters, str) and len(set(self.characters)) < max(1, len(self.characters)):
            raise ValueError("characters must name at least one, and each once")
        return self

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.MODEL)}

    def run(self, step: Workspace) -> None:
        """Initialises the model, then trains it on the rows."""
        from lineal.engines.training import ModelShape, initialise

        init = step.partial / f"init-{process_index()}"
        if step.compute.engine != "fake":
            shape = ModelShape(
                hidden_size=self.hidden_size, layers=self.layers, heads=self.heads, intermediate_size=self.intermediate_size,
                rope_theta=self.rope_theta, tie_embeddings=self.tie_embeddings, characters=self.characters,
                max_positions=self.max_positions,
            )  # fmt: skip
            initialise(shape, row_seed(step.seed, step.step, "init") % 2**32, init)
        self.train(step, init, self.training_settings(step, packing=self.packing))
