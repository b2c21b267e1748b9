"""Training with TRL: same data, settings and seed give the same bytes. The frame of all trainings, and supervised ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.models.checkpoints import (
    positions_of,
    stored_dtype,
    vocabulary_of,
    write_adapter,
    write_full_model,
)
from lineal.engines.models.unchanged import unchanged
from lineal.engines.models.vision_model import (
    VisionShape,
    processor_of,
    vision_language_model,
    with_picture_tokens,
)
from lineal.engines.text.tokens import character_tokenizer, copy_tokenizer, load_tokenizer
from lineal.engines.text.vocabulary import require_vocabulary
from lineal.engines.training.execution import Execution
from lineal.engines.training.finite import require_finite_weights
from lineal.engines.training.hardware import require_hardware
from lineal.engines.training.job import TrainingJob
from lineal.engines.training.optimizer_state import optimizer_restorer, write_optimizer
from lineal.engines.training.processes import is_sharded, use_own_device
from lineal.engines.training.reporting import reporting
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.sft_rows import tokenised
from lineal.engines.training.sft_trainer import packed, row_lengths, sft_trainer
from lineal.engines.training.trainable_model import trainable_model
from lineal.engines.training.trainer_run import run_trainer
from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerBase

SHOWN = ("grad_norm", "learning_rate")
"""The figures of a step that its training shows beside loss and tokens."""
IGNORED_LABEL = -100  # torch's cross entropy leaves these positions out


@dataclass(frozen=True)
class ModelShape:
    """The shape of a Llama model with one token per character of `characters`; with `vision` it sees pictures (Idefics3)."""

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    rope_theta: float
    tie_embeddings: bool
    characters: str
    max_positions: int
    vision: VisionShape | None = None


@dataclass(frozen=True)
class TrainingReport:
    """The result of a training.

    Attributes:
        steps: optimizer steps taken.
        tokens: tokens that went through the model, padding left out.
        examples: distinct rows given.
        truncated: always 0; a longer example is an error, never cut.
        final_loss: the last step's loss per completion token.
        loss_curve: the loss of each step.
        figures: further figures of the last step, such as the share of pairs that it ranks correctly.
        resumed_at: the step after which this process continued from a killed one's checkpoint; 0 where there was none.
        curve: by 'loss', 'grad_norm', 'learning_rate' and 'tokens', the values of each step.
        unchanged: whether the weights are still those of the beginning: every gradient was 0, or no step was better.
        kept_step: the optimizer steps that the weights were trained, where not those of the last step were kept.
    """

    steps: int
    tokens: int
    examples: int
    truncated: int
    final_loss: float
    loss_curve: tuple[float, ...]
    figures: Mapping[str, float]
    resumed_at: int = 0
    curve: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    unchanged: bool = False
    kept_step: int | None = None


def initialise(shape: ModelShape, seed: int, output: Path) -> None:
    """Writes a random model with a character tokenizer; the bytes depend on `shape` and `seed` alone.

    Raises:
        EngineError: the shape is impossible, or `characters` repeats one.
    """
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = character_tokenizer(shape.characters)
    if shape.vision is not None:
        tokenizer = with_picture_tokens(tokenizer)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = _llama_config(shape, tokenizer)
        sees = shape.vision
        model = LlamaForCausalLM(config) if sees is None else vision_language_model(config, tokenizer, sees)
    output.mkdir(parents=True, exist_ok=True)
    (tokenizer if sees is None else processor_of(tokenizer, sees)).save_pretrained(str(output))
    write_full_model(model, output)


def train_sft(job: TrainingJob, examples: Sequence[Example]) -> TrainingReport:
    """Fine-tunes a checkpoint on the completions of `examples`, in an order that is part of the identity.

    A full model gives a full model in its own floating-point type. With `settings.lora` a full model gives an
    adapter, and an adapter is trained on. The loss is on completion tokens and their eos only.

    Raises:
        EngineError: no examples, examples too long or with unknown characters, or the checkpoint does not fit the settings.
    """
    settings = job.settings
    if settings.packing and any(row.weight is not None for row in examples):
        raise EngineError(
            "packing: got rows with weights, expected none: a packed row holds several. Remove packing or weight."
        )
    tokenizer, sight = job.tokenizer(), job.sight()
    if settings.packing and sight is not None:
        raise EngineError(
            "packing: got rows with pictures, expected texts: a packed row cannot show them. Remove packing."
        )

    def prepare(model: Any, scratch: Path) -> Any:
        limit = longest_row(model, settings)
        rows = tokenised(tokenizer, examples, settings.chat, job.execution.run_name or "training", sight)
        refuse_lengths(row_lengths(rows), limit)
        if settings.packing:
            rows = packed(rows, _packed_length(limit))
        return sft_trainer(job.loaded(model, tokenizer, scratch, sight), rows)

    return run_training(job, prepare, len(examples))


def run_training(
    job: TrainingJob,
    prepare: Callable[[Any, Path], Any],
    examples: int,
    load: Callable[[Path, Path | None, TrainingSettings], Any] | None = None,
) -> TrainingReport:
    """Runs any training: pinned threads, one seed, a scratch directory, and the checkpoint at the end.

    Args:
        job: the training. With `execution.saves` it continues from the last save of an equal one that was killed.
        prepare: makes the trainer for a loaded model and its scratch directory.
        examples: how many rows there are, for the report.
        load: loads the model to train; the default loads a language model, with an adapter where the settings say so.

    Raises:
        EngineError: the checkpoint does not fit the settings or this machine, `prepare` refuses the rows, or nothing was
            learnt from gradients that were there.
    """
    import torch

    init, base, settings, execution = job.init.directory, job.init.base, job.settings, job.execution
    use_own_device()
    require_hardware(base or init, settings, execution)
    with _pinned_threads(settings.threads), torch.random.fork_rng(), reporting(execution):
        torch.manual_seed(settings.seed)
        model = (load or trainable_model)(init, base, settings)
        require_vocabulary(load_tokenizer(init), vocabulary_of(model.config), init)
        with _scratch(execution, job.output) as scratch:
            trainer = prepare(model, scratch)
            if settings.keep_optimizer:
                trainer.add_callback(optimizer_restorer(trainer, init))
            logs, resumed_at = run_trainer(trainer, job.progress, execution)
        _write(trainer, model, job)
        if settings.keep_optimizer:
            write_optimizer(trainer, job.output)
    kept = getattr(trainer, "kept_step", None)
    same = trainer.accelerator.is_main_process and unchanged(init, job.output, logs[:kept])
    return replace(_report(logs, examples, resumed_at), unchanged=same, kept_step=kept)


def _report(logs: Sequence[Mapping[str, float]], examples: int, resumed_at: int) -> TrainingReport:
    curve = tuple(log["loss"] for log in logs)
    return TrainingReport(
        steps=len(logs),
        tokens=int(logs[-1]["num_tokens"]),
        examples=examples,
        truncated=0,
        final_loss=curve[-1],
        loss_curve=curve,
        figures={name: value for name, value in logs[-1].items() if name not in ("loss", "num_tokens")},
        resumed_at=resumed_at,
        curve={
            "loss": curve,
            **{name: tuple(log[name] for log in logs) for name in SHOWN if name in logs[0]},
            "tokens": _per_step(logs),
        },
    )


def _per_step(logs: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
    """Returns the tokens of each step; the trainer counts them from the first one on."""
    until = [int(log["num_tokens"]) for log in logs]
    return tuple(now - before for before, now in pairwise([0, *until]))


@contextmanager
def _scratch(execution: Execution, output: Path) -> Iterator[Path]:
    """Opens the trainer's own directory: that of the saves, which outlives the process, or a temporary one."""
    if execution.saves is not None:
        execution.saves.mkdir(parents=True, exist_ok=True)
        yield execution.saves
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".trainer-") as scratch:
        yield Path(scratch)


def _llama_config(shape: ModelShape, tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    from transformers import LlamaConfig

    if shape.heads < 1 or shape.hidden_size % (2 * shape.heads):
        raise EngineError(
            f"model shape: got hidden_size {shape.hidden_size} with {shape.heads} heads, expected an even number "
            "of dimensions per head. Choose hidden_size as a multiple of 2 * heads."
        )
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        intermediate_size=shape.intermediate_size,
        max_position_embeddings=shape.max_positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=shape.tie_embeddings,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )


@contextmanager
def _pinned_threads(threads: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def longest_row(model: Any, settings: TrainingSettings) -> int | None:
    """Returns how many tokens an example may have: `max_tokens`, or the model's positions if fewer; None: any number."""
    limits = [limit for limit in (positions_of(model.config), settings.max_tokens) if limit]
    return min(limits, default=None)


def refuse_lengths(lengths: Sequence[int], limit: int | None) -> None:
    """Checks that there are examples, and that none exceeds `longest_row`.

    Raises:
        EngineError: there are none, or some are too long.
    """
    if not lengths:
        raise EngineError(
            "training: got 0 examples, expected at least 1. Look at what the selection dropped."
        )
    too_long = 0 if limit is None else sum(length > limit for length in lengths)
    if too_long:
        raise EngineError(
            f"training: {too_long} of {len(lengths)} examples are longer than {limit} tokens, the longest "
            f"{max(lengths)}, expected none: nothing is cut. Raise max_tokens, if the model has more positions, "
            "or drop these rows before."
        )


def _packed_length(limit: int | None) -> int:
    if limit is None:
        raise EngineError(
            "packing: got a model without a limit of positions, expected a length of rows. Set max_tokens."
        )
    return limit


def _write(trainer: Any, model: Any, job: TrainingJob) -> None:
    """Writes the checkpoint; where processes hold parts of the weights, all send theirs and the main one writes."""
    accelerator, init, output = trainer.accelerator, job.init.directory, job.output
    weights = accelerator.get_state_dict(trainer.model_wrapped) if is_sharded(accelerator) else None
    if not accelerator.is_main_process:
        return
    if job.settings.lora is not None:
        require_finite_weights(
            (name, weight) for name, weight in model.named_parameters() if weight.requires_grad
        )
        write_adapter(model, output, weights)
    elif weights is None:
        stored = model.to(stored_dtype(init))
        require_finite_weights(stored.named_parameters())
        write_full_model(stored, output)
    else:
        parts = {name: part.to(stored_dtype(init)) for name, part in weights.items()}
        require_finite_weights(parts.items())
        write_full_model(model, output, parts)
    copy_tokenizer(init, output)
