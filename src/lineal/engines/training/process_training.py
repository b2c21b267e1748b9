"""Training of process reward models: a reward model learns, at the end of each step, how good the step is.

TRL 1.16 has no trainer for that. Labels are shares, so that those of Monte Carlo count as they are: the loss is the
cross-entropy with the label (Math-Shepherd, arXiv:2312.08935, equation 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from lineal.data.conversations import Prompt
from lineal.data.steps import steps_of
from lineal.engines.models.checkpoints import load_reward_model
from lineal.engines.sampling.step_scoring import all_positions, encode_steps
from lineal.engines.training.job import Loaded, TrainingJob
from lineal.engines.training.optimizer_steps import with_own_steps
from lineal.engines.training.preference_trainers import PreparedRows
from lineal.engines.training.train import TrainingReport, longest_row, refuse_lengths, run_training
from lineal.engines.training.whole_steps import Counts, with_whole_steps

NO_LABEL = float("nan")


@dataclass(frozen=True)
class Rated:
    """A prompt, the text after it up to the end of a step, and how good that step is, from 0 to 1."""

    prompt: Prompt
    text: str
    value: float


@dataclass(frozen=True)
class Chain:
    """A text and the known values of its steps, by the step's place."""

    prompt: Prompt
    text: str
    values: Mapping[int, float]


def chains_of(rows: Sequence[Rated], separator: str) -> list[Chain]:
    """Joins rated steps into texts that hold as many of them as possible, so that a text is read once and not once per step.

    A step counts once: where it stands in several texts, as in a tree, in the first of them; rated several times, by the mean.
    """
    values: dict[tuple[Prompt, str], list[float]] = {}
    for row in rows:
        values.setdefault((row.prompt, row.text), []).append(row.value)
    inner = {(prompt, begun) for prompt, text in values for begun in _beginnings(text, separator)[:-1]}
    waiting, chains = dict(values), []
    for prompt, text in values:
        if (prompt, text) not in inner:
            places = enumerate(_beginnings(text, separator))
            found = {
                place: waiting.pop((prompt, begun)) for place, begun in places if (prompt, begun) in waiting
            }
            chains.append(Chain(prompt, text, {place: fsum(own) / len(own) for place, own in found.items()}))
    return chains


def _beginnings(text: str, separator: str) -> list[str]:
    """Returns the text up to the end of each of its steps."""
    steps = steps_of(text, separator)
    return ["".join(steps[: place + 1]) for place in range(len(steps))]


def train_process_reward(job: TrainingJob, rows: Sequence[Rated], separator: str) -> TrainingReport:
    """Trains a model that rates each step at its end; a language model gets a new head.

    Args:
        job: starts from a full language model or reward model; its settings have no adapter, and a batch counts texts, see
            `chains_of`.
        rows: rated steps.
        separator: what ends a step.

    Raises:
        EngineError: as `train_reward_model`, or the architecture's head does not read every token.
    """
    import torch

    settings, tokenizer = job.settings, job.tokenizer()

    def load(checkpoint: Path, *_: Any) -> Any:
        return load_reward_model(checkpoint, torch.float32, int(tokenizer.pad_token_id or 0))

    def prepare(model: Any, scratch: Path) -> Any:
        chains = chains_of(rows, separator)
        marked = encode_steps(
            tokenizer, [(chain.prompt, chain.text) for chain in chains], separator, settings.chat
        )
        prepared = [
            {"input_ids": prompt + written, "labels": _labels(len(prompt) + len(written), ends, chain.values)}
            for (prompt, written, ends), chain in zip(marked, chains, strict=True)
        ]
        lengths = [len(prompt) + len(written) for prompt, written, _ in marked]
        refuse_lengths(lengths, longest_row(model, settings))
        return _trainer(job.loaded(model, tokenizer, scratch), prepared)

    return run_training(job, prepare, len(rows), load)


def _labels(tokens: int, ends: Sequence[int], values: Mapping[int, float]) -> list[float]:
    """Returns by token the value of the step that ends there."""
    labels = [NO_LABEL] * tokens
    for place, value in values.items():
        labels[ends[place]] = value
    return labels


def _collated(pad_id: int, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Collates a batch, padded on the right."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, filling: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(
            [[*row[name], *[filling] * (longest - len(row[name]))] for row in rows], dtype=dtype
        )

    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    return {
        "input_ids": padded("input_ids", pad_id, torch.long),
        "attention_mask": torch.tensor(mask),
        "labels": padded("labels", NO_LABEL, torch.float32),
    }


def _trainer(loaded: Loaded, rows: list[dict[str, Any]]) -> Any:
    """Makes TRL's reward trainer with a loss at every step's end."""
    from datasets import Dataset
    from torch.nn.functional import binary_cross_entropy_with_logits
    from trl.trainer.reward_config import RewardConfig
    from trl.trainer.reward_trainer import RewardTrainer

    class ProcessRewardTrainer(PreparedRows, RewardTrainer):
        """A trainer with a loss of lineal's."""

        part: Any

        def compute_loss(self, model: Any, inputs: dict[str, Any], *_: Any, **__: Any) -> Any:
            labels = inputs.pop("labels")
            labels[self.part.real :] = NO_LABEL
            known = ~labels.isnan()
            with all_positions(self.model) as positions:
                model(**inputs, use_cache=False)
                scores, wanted = positions()[known].float(), labels[known]
            self._tell(int(inputs["attention_mask"].sum()), ((scores > 0) == (wanted >= 0.5)).float())
            return (
                binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
                / max(len(wanted), 1)
                * self.part.tokens
            )

        def _tell(self, tokens: int, right: Any) -> None:
            self._total_train_tokens += int(self.accelerator.gather(right.new_tensor(tokens)).sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
            self._metrics["train"]["accuracy"].append(right.mean().item() if len(right) else 0.0)

    def step_ends(batch: Mapping[str, Any]) -> int:
        return int((~batch["labels"].isnan()).sum())

    counts = Counts(lambda batch: len(batch["input_ids"]), step_ends)
    return with_own_steps(with_whole_steps(ProcessRewardTrainer, counts), loaded.settings)(
        model=loaded.model,
        args=RewardConfig(**loaded.arguments(), remove_unused_columns=False),
        train_dataset=Dataset.from_list(rows),
        data_collator=lambda rows: _collated(loaded.tokenizer.pad_token_id, rows),
        processing_class=loaded.tokenizer,
    )
