"""A test of a loaded model: whether it gives the same logits for a text step by step, after padding, as at once.

Sampling goes step by step, scoring and training read the text at once. Where the two differ, because a model's memory is not
what it is taken for or because it looks ahead, samples are not the model's own and their likelihoods are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lineal.engines.models.checkpoints import vocabulary_of
from lineal.engines.models.loading_errors import foreign_errors, loading_error
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch

PROMPT, FOLLOWING, PADDED = 3, 4, 8
"""Tokens of the text: those that are read at once and those that follow step by step; the prompt is padded to a length."""
LONGEST_PART = (
    64  # tokens of an example that is compared: logits of 2 x 64 tokens take 80 MB at 150,000 entries
)
EXACT, NEAR, ROUGH = (5e-4, 1e-5), (1e-2, 1e-4), (0.3, 0.02)
"""How far two readings may be apart, as shares of the logits' spread and of the largest one, which says how they are rounded.

In fp32 on a CPU, in fp32 on a GPU, whose convolutions round more, and in types that round at three digits. A model without memory
is off by about its spread, Zamba 2 in fp32 by 0.0007 of it and more with every token. The bounds of a GPU and of bf16 leave room;
they were not measured on one. A model that knows nothing yet of a token may have hardly any spread beside large logits.
"""
ANOTHER = "Take a model that writes from left to right and keeps its memory as transformers' usual caches do."


def require_same_stepwise(
    model: Any, stepwise: Callable[[tuple[int, ...], tuple[int, ...], int], torch.Tensor]
) -> None:
    """Compares a model's reading of a few tokens step by step with that of all at once.

    Args:
        model: in evaluation mode; `name_or_path` is its checkpoint.
        stepwise: the logits of the decode loop for a prompt, tokens that follow it and a padded length.

    Raises:
        EngineError: they differ, are not finite, or the model cannot be read in one of the ways.
    """
    text = _text(model, PROMPT + FOLLOWING)
    try:
        whole = at_once(model, text)[PROMPT - 1 :]
        steps = stepwise(text[:PROMPT], text[PROMPT:], PADDED)
    except foreign_errors() as error:
        raise EngineError(
            f"{_named(model)} cannot be read token by token: {loading_error(error)}. {ANOTHER}"
        ) from error
    require_equal(model, steps, whole, "does not say the same of a text token by token as at once")


def require_causal(model: Any) -> None:
    """Checks that a model's output for a token does not depend on later tokens.

    Raises:
        EngineError: it does.
    """
    if any(parameter.is_meta for parameter in model.parameters()):  # another process has the weights
        return
    text, training = _text(model, PROMPT + FOLLOWING), model.training
    model.eval()
    try:
        whole, prompt = at_once(model, text)[:PROMPT], at_once(model, text[:PROMPT])
    except foreign_errors() as error:
        raise EngineError(f"{_named(model)} cannot read a text: {loading_error(error)}. {ANOTHER}") from error
    finally:
        model.train(training)
    require_equal(model, prompt, whole, "says other things of a text when more follows")


def require_apart(
    model: Any, collate: Callable[[list[dict[str, Any]]], dict[str, Any]], rows: Iterable[dict[str, Any]]
) -> None:
    """Checks that the model attends to neither of two examples of a packed row from the other.

    Args:
        model: on the device where it trains.
        collate: makes a batch of packed rows, as the trainer gets it.
        rows: packed, with `seq_lengths`.

    Raises:
        EngineError: it does, or cannot read packed rows at all.
    """
    import torch

    row = next((row for row in rows if len(row["seq_lengths"]) > 1), None)
    if row is None or any(parameter.is_meta for parameter in model.parameters()):
        return
    first, second = (tuple(part[:LONGEST_PART]) for part in _parts(row)[:2])
    both = {
        "input_ids": [*first, *second],
        "labels": [*first, *second],
        "seq_lengths": [len(first), len(second)],
    }
    batch = {name: _moved(value, model.device) for name, value in collate([both]).items() if name != "labels"}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            packed = model(**batch, use_cache=False).logits[0].float()
        apart = [at_once(model, part) for part in (first, second)]
    except foreign_errors() as error:
        raise EngineError(
            f"packing: {_named(model)} cannot read packed rows: {loading_error(error)}. Set packing: false."
        ) from error
    finally:
        model.train(training)
    for part, alone in zip(packed.split([len(first), len(second)]), apart, strict=True):
        require_equal(model, part, alone, "reads packed examples through each other", "Set packing: false.")


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if hasattr(value, "to") else value


def _parts(row: dict[str, Any]) -> list[list[int]]:
    ends = list(accumulate(row["seq_lengths"], initial=0))
    return [row["input_ids"][start:end] for start, end in pairwise(ends)]


def at_once(model: Any, text: tuple[int, ...]) -> torch.Tensor:
    """Returns logits (tokens, vocabulary) of one text, fp32."""
    import torch

    ids = torch.tensor([text], device=model.device)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return cast("torch.Tensor", logits[0].float())


def require_equal(
    model: Any, got: torch.Tensor, expected: torch.Tensor, fault: str, fix: str = ANOTHER
) -> None:
    """Compares logits (tokens, vocabulary).

    Raises:
        EngineError: they are apart, or not finite; `fault` says what that means.
    """
    import torch

    if not bool(expected.isfinite().all()):
        raise EngineError(
            f"{_named(model)} gives logits that are not finite, expected numbers. Take an earlier checkpoint."
        )
    full = all(part.dtype == torch.float32 for part in model.parameters())
    share, rounding = ROUGH if not full else EXACT if model.device.type == "cpu" else NEAR
    apart = (got - expected).square().mean(-1).sqrt()
    spread = expected.std(-1)
    if bool((apart > share * spread + rounding * expected.abs().amax(-1)).any()):
        off = (apart / spread.clamp(min=1e-30)).max().item()
        raise EngineError(f"{_named(model)} {fault}: its logits are off by {off:.0%} of their spread. {fix}")


def _named(model: Any) -> str:
    return f"{Path(model.name_or_path)}: {model.config.model_type}"


def _text(model: Any, tokens: int) -> tuple[int, ...]:
    """Returns ids from all over the vocabulary: the first and the last ones are often special."""
    size = vocabulary_of(model.config) or 2
    return tuple(size * (place + 1) // (tokens + 1) for place in range(tokens))
