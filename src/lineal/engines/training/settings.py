"""Settings and rows of trainings: everything that decides their bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from lineal.data.conversations import Prompt
from lineal.engines.text.tokens import Answer
from lineal.errors import EngineError


@dataclass(frozen=True)
class Pace:
    """The share of the examples that a training draws from: competence-based (Platanios et al., 2019, arXiv:1903.09848).

    Attributes:
        start: the share at the first optimizer step.
        full: the share of the steps after which it is 1.
    """

    start: float
    full: float

    def share(self, step: int, steps: int) -> float:
        """Returns the share that an optimizer step, from 0, draws from."""
        reached = min(1.0, step / (self.full * steps))
        return min(1.0, sqrt(reached * (1 - self.start**2) + self.start**2))


@dataclass(frozen=True)
class LoraSettings:
    """A low-rank adapter (arXiv:2106.09685): rank r, scaling alpha / r, and the adapted layers.

    With `quantize` the base under it is held in 4-bit NormalFloat while the adapter learns (QLoRA, arXiv:2305.14314).
    """

    rank: int
    alpha: int
    dropout: float = 0.0
    target_modules: tuple[str, ...] | str = "all-linear"
    quantize: Literal["4bit"] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Everything that decides a training's bytes beside the data and the initial checkpoint.

    Attributes:
        steps: optimizer steps; exactly one of `steps` and `epochs` is given.
        epochs: passes over the examples.
        batch_size: examples per forward pass.
        gradient_accumulation: forward passes per optimizer step.
        schedule: learning-rate schedule by its transformers name ('cosine', 'linear', 'constant', ...).
        warmup: share of the steps over which the rate rises.
        warmup_steps: the number of these steps, in place of the share; it may exceed the training's.
        max_tokens: longest example allowed; None takes the model's own limit.
        precision: 'bf16' is mixed precision, the weights stay fp32 while training.
        threads: CPU threads, pinned because 1 and 2 threads give different bytes.
        lora: trains an adapter instead of the full model.
        chat: examples pass through the tokenizer's chat template.
        packing: supervised examples are put together into rows of `max_tokens`, and `batch_size` counts such rows.
        keep_optimizer: the optimizer's state is written beside the checkpoint, and continued where `init` has one.
        in_order: supervised examples are learnt in the order given, in every epoch; otherwise they are shuffled.
        pace: the growing share of them, from the first on, that each optimizer step draws from; with `in_order` and `steps`.

    Raises:
        EngineError: not exactly one of `steps` and `epochs`.
    """

    steps: int | None
    epochs: float | None
    batch_size: int
    learning_rate: float
    seed: int
    gradient_accumulation: int = 1
    schedule: str = "cosine"
    warmup: float = 0.0
    warmup_steps: int | None = None
    weight_decay: float = 0.0
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    max_tokens: int | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 2
    lora: LoraSettings | None = None
    chat: bool = False
    packing: bool = False
    keep_optimizer: bool = False
    in_order: bool = False
    pace: Pace | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise EngineError(
                f"training length: got steps={self.steps} and epochs={self.epochs}, expected exactly one. Remove one."
            )


@dataclass(frozen=True, slots=True)
class Example:
    """One row to learn: the completion, given the prompt; all rows have a weight, or none has.

    Without a completion the prompt is a whole conversation, and every turn of the assistant is learnt. `images` are digests of
    the pictures that stand before the text.
    """

    prompt: Prompt
    completion: Answer | None
    weight: float | None = None
    images: tuple[str, ...] = ()
