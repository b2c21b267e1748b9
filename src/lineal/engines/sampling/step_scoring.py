"""A reward model's number at the end of every step of a completion, in one forward pass.

A process reward model is a reward model (`checkpoints.load_reward_model`) whose head is read at each step's last token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lineal.data.conversations import Conversation, Prompt
from lineal.data.steps import is_open, steps_of
from lineal.engines.sampling.scoring import RewardScorer, finite_reward, scored
from lineal.engines.text.tokens import Open, as_asked, encode_pairs
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

Written = tuple[Prompt, str]
"""A prompt, and the text after it: a completion or the beginning of one."""
Marked = tuple[list[int], list[int], list[int]]
"""Token ids of a prompt and of the text after it, and where in all of these each step ends."""


def encode_steps(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Written], separator: str, chat: bool
) -> list[Marked]:
    """Encodes texts step by step, and returns the place of each step's last token.

    Steps are encoded as they meet when the model samples them one after another: no token spans their border. An end follows
    a text that no separator ends, and belongs to its last step.

    Raises:
        EngineError: as `encode_pairs`.
    """
    pairs = [pair for prompt, text in rows for pair in _pairs(as_asked(prompt, chat), text, separator)]
    encoded = iter(encode_pairs(tokenizer, pairs, chat))
    return [_marked([next(encoded) for _ in steps_of(text, separator)]) for _, text in rows]


def _pairs(prompt: Prompt, text: str, separator: str) -> Iterator[tuple[Prompt, Open | str]]:
    """Pairs each step with the text before it."""
    steps, begun = steps_of(text, separator), ""
    for place, step in enumerate(steps):
        ends = place == len(steps) - 1 and not is_open(text, separator)
        yield _behind(prompt, begun), step if ends else Open(step)
        begun += step


def _behind(prompt: Prompt, begun: str) -> Prompt:
    if isinstance(prompt, Conversation):
        return prompt.going_on(begun) if begun else prompt
    return prompt + begun


def _marked(steps: Sequence[tuple[list[int], list[int]]]) -> Marked:
    prompt, written, ends = steps[0][0], list[int](), list[int]()
    for _, own in steps:
        written += own
        ends.append(len(prompt) + len(written) - 1)
    return prompt, written, ends


@contextmanager
def all_positions(model: Any) -> Iterator[Callable[[], torch.Tensor]]:
    """Makes a reward model's head give its number at every token.

    Gives:
        a function that returns the numbers of the last forward pass, (batch, tokens).

    Raises:
        EngineError: the model's head is not one that reads every token.
    """
    head = getattr(model, "score", None)
    if head is None:
        raise EngineError(
            f"{model.name_or_path}: {model.config.model_type} has no head that reads every token, expected one, as Llama's and "
            "Qwen's reward models have. Start from a model of another architecture."
        )
    told: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda module, given, output: told.__setitem__(slice(None), [output]))
    try:
        yield lambda: told[0][..., 0]
    finally:
        handle.remove()


class StepScorer(RewardScorer):
    """A process reward model held in memory; it is loaded as any reward model."""

    def score_steps(
        self,
        rows: Sequence[Written],
        separator: str,
        chat: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Returns for each row how likely each of its steps is to be good, from 0 to 1.

        Raises:
            EngineError: as `score`.
        """
        marked = encode_steps(self._tokenizer, rows, separator, chat)
        with all_positions(self._model) as positions:

            def read(_: Any, indices: Sequence[int]) -> list[list[float]]:
                told = positions()
                return [
                    self._shares(told[row, marked[index][2]].tolist()) for row, index in enumerate(indices)
                ]

            return scored(self._model, self._pad_id, [one[:2] for one in marked], read, progress)

    def _shares(self, logits: Sequence[float]) -> list[float]:
        return [_share(finite_reward(logit, str(self._model.name_or_path))) for logit in logits]


def _share(logit: float) -> float:
    """Computes the logistic function, without overflow."""
    small = math.exp(-abs(logit))
    return 1 / (1 + small) if logit >= 0 else small / (1 + small)
