"""Makes an optimizer step's update the same however its examples are cut into forward passes and processes.

TRL's trainers on preferences take the mean over a forward pass, and then the mean of the means: examples of a smaller pass
weigh more, and so do tokens of a pass with fewer of them. Here each pass counts by its share of the whole step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Batch = Mapping[str, Any]
Count = Callable[[Batch], int]


@dataclass(frozen=True)
class Counts:
    """The number of a collated batch's examples, and of the tokens that a loss per token divides by."""

    examples: Count
    tokens: Count = lambda batch: 0


@dataclass(frozen=True)
class StepPart:
    """A forward pass as a part of its optimizer step.

    Attributes:
        real: its examples that count; those behind them fill up the last pass of an epoch among several processes.
        divisor: the divisor of its mean over its examples, so that the sum over all parts is the mean over the step.
        tokens: a further factor of its loss per token, so that the step's tokens weigh the same.
    """

    real: int
    divisor: float
    tokens: float


def with_whole_steps(trainer: Any, counts: Counts) -> Any:
    """Makes a class of TRL's trainers whose loss, a mean over the examples of a forward pass, becomes a mean over the step's."""

    class WholeSteps(trainer):  # type: ignore[misc]
        """Counts each forward pass by its share of the step."""

        loss_is_scaled_for_ga = True
        part: StepPart

        def get_batch_samples(self, *arguments: Any) -> Any:
            batches, items = super().get_batch_samples(*arguments)
            self._parts = iter(parts_of(batches, counts, self.accelerator))
            return batches, items

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **settings: Any) -> Any:
            self.part = next(self._parts)
            if self.part.real < counts.examples(inputs):
                model = _deaf(model, self.part.real, counts.examples(inputs))
            return super().compute_loss(model, inputs, *arguments, **settings) / self.part.divisor

    return WholeSteps


def parts_of(batches: Sequence[Batch], counts: Counts, accelerator: Any) -> list[StepPart]:
    """Returns the parts of an optimizer step that this process has."""
    examples, tokens = (
        [counts.examples(batch) for batch in batches],
        [counts.tokens(batch) for batch in batches],
    )
    real = real_examples(examples, accelerator)
    shares = zip(batches, examples, real, strict=True)
    told = sum(
        counts.tokens(batch) if own == count else counts.tokens(first(batch, own, count))
        for batch, count, own in shares
    )
    all_examples, all_tokens = _over_processes([sum(real), told], accelerator)
    divisors = [all_examples / (count * accelerator.num_processes) for count in examples]
    evening = [
        count / all_tokens * accelerator.num_processes * divisor if all_tokens else 1.0
        for count, divisor in zip(tokens, divisors, strict=True)
    ]
    return [StepPart(*part) for part in zip(real, divisors, evening, strict=True)]


def real_examples(examples: Sequence[int], accelerator: Any) -> list[int]:
    """Returns how many of each batch's examples count: the last batches of an epoch are filled up from its beginning."""
    state, last = accelerator.gradient_state, examples[-1]
    if accelerator.num_processes == 1 or not state.end_of_dataloader or state.remainder <= 0:
        return list(examples)
    return [*examples[:-1], min(max(state.remainder - accelerator.process_index * last, 0), last)]


def first(batch: Batch, kept: int, examples: int) -> dict[str, Any]:
    """Returns the first examples of a batch, whose tensors may hold them several times below each other (chosen, rejected)."""
    return {
        name: value.unflatten(0, (-1, examples))[:, :kept].flatten(0, 1)
        if hasattr(value, "unflatten")
        else value
        for name, value in batch.items()
    }


def _over_processes(numbers: Sequence[int], accelerator: Any) -> Iterator[int]:
    import torch

    if accelerator.num_processes == 1:
        return iter(numbers)
    return iter(accelerator.reduce(torch.tensor(numbers, device=accelerator.device), "sum").tolist())


def _deaf(model: Any, real: int, examples: int) -> Callable[..., Any]:
    """Wraps the model so that its outputs for examples after the first ones give no gradient."""

    def called(**call: Any) -> Any:
        outputs = model(**call)
        for name in ("log_probs", "logits"):
            found = getattr(outputs, name, None)
            if found is not None:
                whole = found.unflatten(0, (-1, examples)).clone()
                whole[:, real:] = whole[:, real:].detach()
                setattr(outputs, name, whole.flatten(0, 1))
        return outputs

    return called
