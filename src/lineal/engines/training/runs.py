"""Episodes as token sequences to train on: no turn is read with another context than it was written in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lineal.engines.sampling.rollouts import PlayedTurn
from lineal.engines.text.tokens import encode_prompts

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass
class Run:
    """A sequence that a model read and wrote: turns each of which exactly continues the tokens before it.

    Attributes:
        prompt_ids: the first input.
        ids: what follows: the model's and the environment's texts in turn.
        learnt: 1 for tokens that it wrote, 0 for those of the environment.
        turns: the place of the turn in its episode that a token is of; the environment's are of the turn that follows.
    """

    prompt_ids: list[int]
    ids: list[int] = field(default_factory=list)
    learnt: list[int] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)

    def is_continued_by(self, given: Sequence[int]) -> bool:
        """Tells whether a prompt begins with all of this."""
        whole = [*self.prompt_ids, *self.ids]
        return list(given[: len(whole)]) == whole

    def add(self, turn: int, given: Sequence[int], written: Sequence[int], teaches: bool) -> None:
        """Adds the turn at a place, whose prompt continues this."""
        between = list(given[len(self.prompt_ids) + len(self.ids) :])
        self.ids += [*between, *written]
        self.learnt += [0] * len(between) + [int(teaches)] * len(written)
        self.turns += [turn] * (len(between) + len(written))


def runs_of(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[PlayedTurn], cut_teach: bool = True
) -> list[Run]:
    """Splits an episode into runs.

    A conversation of which the model sees everything is one run. Where the history is cut, or a template writes earlier
    turns in another way, a turn begins a new one.

    Args:
        tokenizer: of the model that played.
        turns: of the episode.
        cut_teach: whether truncated turns are learnt.
    """
    runs: list[Run] = []
    prompts = encode_prompts(tokenizer, [turn.given for turn in turns], chat=False)
    for place, (turn, given) in enumerate(zip(turns, prompts, strict=True)):
        if not runs or not runs[-1].is_continued_by(given):
            runs.append(Run(given))
        assert turn.completion.token_ids is not None
        runs[-1].add(
            place, given, turn.completion.token_ids, cut_teach or turn.completion.finish_reason == "stop"
        )
    return runs


def nothing(eos: int) -> Run:
    """Returns a run that teaches nothing, where there must be one."""
    return Run([eos], [eos], [0], [0])


def advantages_of(run: Run, of_turns: Sequence[float]) -> list[float]:
    """Returns the advantage of each token of a run: that of its turn."""
    return [of_turns[turn] for turn in run.turns]


def tensors_of(runs: Iterable[Run], pad_id: int, device: Any) -> dict[str, torch.Tensor]:
    """Returns runs as tensors (runs, tokens) by TRL's names: prompts padded on the left, the rest on the right."""
    own = list(runs)
    prompts, ids = [run.prompt_ids for run in own], [run.ids for run in own]
    made = {
        "prompt_ids": padded(prompts, pad_id, "left"),
        "prompt_mask": padded(_ones(prompts), 0, "left"),
        "completion_ids": padded(ids, pad_id, "right"),
        "completion_mask": padded(_ones(ids), 0, "right"),
        "tool_mask": padded([run.learnt for run in own], 0, "right"),
    }
    return {name: tensor.to(device) for name, tensor in made.items()}


def _ones(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[1] * len(row) for row in rows]


def padded(rows: Sequence[Sequence[float]], value: float, side: str) -> torch.Tensor:
    """Returns rows of numbers as one tensor, padded on one side."""
    import torch

    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(row) for row in rows], batch_first=True, padding_value=value, padding_side=side
    )
