"""The common part of trainers: hyperparameters as identity settings, rows without gaps, and the run under the step's progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import isfinite, nan
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt, Le, Lt
from pydantic import Field, model_validator

from lineal.components.base import Columns, Component, Role, RowsRef, Workspace, merged, missing_package
from lineal.components.trainers.ends import Ends, EndsSetting, answers_with_ends
from lineal.components.trainers.warmup import Warmup, WarmupSteps
from lineal.data.conversations import MESSAGE_COLUMNS, prompts_of
from lineal.data.curves import thinned, write_curve
from lineal.data.ids import row_seed
from lineal.data.links import link_file
from lineal.data.manifest import INIT, TAUGHT
from lineal.data.media import IMAGES
from lineal.data.progress import say
from lineal.engines.in_process import base_of
from lineal.errors import DataError
from lineal.recipe.compute import Positive, Strict

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.text.tokens import Answer
    from lineal.engines.training.execution import Execution
    from lineal.engines.training.job import Checkpoint, TrainingJob
    from lineal.engines.training.settings import Example, LoraSettings, TrainingSettings
    from lineal.engines.training.train import TrainingReport

START = "start"
EQUAL = "equal"
"""In a training's counts: pairs that were left out, since their sides are equal."""
IDS_OF = {"completion": "token_ids", "chosen": "chosen_token_ids", "rejected": "rejected_token_ids"}
"""By a column of texts, the ids that it was sampled as."""
AS_SAMPLED: Columns = (*MESSAGE_COLUMNS, IMAGES, *IDS_OF.values())
LearningRate = Annotated[float, Gt(0), Le(1)]
"""AdamW moves a weight by about this much a step."""
Weight = Annotated[str | None, Field(exclude_if=lambda value: value is None)]
"""A column of numbers, such as the rows' weights; left out of the identity where none is named."""
Target = Literal["completion", "answer", "messages"]
Packing = Annotated[bool, Field(exclude_if=lambda value: not value)]
"""Left out of the identity where nothing is packed."""
Order = Annotated[str | None, Field(exclude_if=lambda value: value is None)]
"""A column of numbers; left out of the identity where examples are shuffled."""
KeepOptimizer = Annotated[bool, Field(exclude_if=lambda value: not value)]
"""Left out of the identity where it is not kept."""


class Pacing(Strict):
    """A competence-based curriculum (arXiv:1903.09848): the share grows with the root of the steps.

    Attributes:
        start: the share of the examples, the smallest in `order` first, that the first optimizer step draws from.
        full: the share of the steps after which all examples are drawn from.
    """

    start: Annotated[float, Gt(0), Le(1)] = 0.1
    full: Annotated[float, Gt(0), Le(1)] = 0.5


class Trainer(Component):
    """Base of the trainers.

    Class attributes:
        shares_training: whether several processes can do its work together (`compute.accelerate`).
        learns_from: the field of the rows that it learns from.

    Attributes:
        steps, epochs: how long; exactly one is given.
        batch_size: examples per forward pass; identity, since it decides the gradient.
        gradient_accumulation: forward passes per optimizer step.
        learning_rate, schedule, weight_decay, beta2, max_grad_norm: AdamW and its schedule.
        warmup: the share of the steps over which the rate rises, or `{steps: 100}`, a number of them. The first rate is above 0.
        max_tokens: the longest example; a longer one is an error, never cut.
        precision: 'fp32' or mixed 'bf16'.
        threads: CPU threads, pinned, since another number gives other bytes.
        chat: whether examples pass through the tokenizer's chat template.
        keep_optimizer: whether AdamW's state is kept beside the checkpoint, and continued where `init` has one. Otherwise every
            training begins with none.
    """

    role: ClassVar[Role] = Role.TRAINER
    version: ClassVar[int] = 2
    loads_model: ClassVar[bool] = True
    shares_training: ClassVar[bool] = True
    learns_from: ClassVar[str] = "rows"
    kinds: ClassVar[tuple[str, ...]] = ("pytorch", "huggingface")

    steps: Positive | None = None
    epochs: Annotated[float, Gt(0)] | None = None
    batch_size: Positive = 64
    gradient_accumulation: Positive = 1
    learning_rate: LearningRate = 1e-3
    schedule: Literal["cosine", "linear", "constant", "constant_with_warmup"] = "cosine"
    warmup: Warmup = 0.05
    weight_decay: Annotated[float, Ge(0), Le(1)] = 0.01
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.99
    max_grad_norm: Annotated[float, Gt(0)] = 1.0
    max_tokens: Positive | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: Positive = 2
    chat: bool = False
    keep_optimizer: KeepOptimizer = False

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self

    @model_validator(mode="after")
    def _warms_up(self) -> Self:
        """Refuses a warm-up for a constant rate; the default is none there."""
        if self.schedule == "constant" and self.warmup not in (0, type(self).model_fields["warmup"].default):
            raise ValueError(
                "warmup: schedule constant has none. Write schedule: constant_with_warmup, or take warmup away"
            )
        return self

    def hides_pictures(self) -> str | None:
        return "chat" if self.chat else None

    def has_nothing_to_learn(self, workspace: Workspace) -> bool:
        """Tells whether no row came in, though there is a checkpoint to start from."""
        return (
            INIT in workspace.inputs
            and self.learns_from in workspace.inputs
            and workspace.rows(self.learns_from).count == 0
        )

    def keep_init(self, workspace: Workspace) -> None:
        """Links the initial checkpoint into the main output, unchanged, when there are no rows to learn.

        Raises:
            DataError: that checkpoint is older than the round before, so that what was learnt since would be lost.
        """
        init = workspace.model(INIT)
        if workspace.round > 1 and init.key.split("/")[1] == START:
            was = f"{workspace.step}: 0 rows to train on, and init {init.key} stands before round 1"
            fix = "Look at what selection dropped; with init: previous.NODE the round before would stand here"
            raise DataError(f"{was}: it would undo the rounds since. {fix}")
        for name in init.manifest.files:
            target = workspace.directory() / name
            target.parent.mkdir(parents=True, exist_ok=True)
            link_file(init.directory / name, target)
        workspace.counts["in"] = 0

    def lacks(self) -> list[str]:
        """Lists the missing packages of `lora:`, for trainers that have it."""
        lora = getattr(self, "lora", None)
        if lora is None:
            return []
        quantized = missing_package("bitsandbytes", "bitsandbytes", "qlora") if lora.quantize else []
        return missing_package("peft", "peft", "lora") + quantized

    def training_settings(
        self, workspace: Workspace, lora: LoraSettings | None = None, packing: bool = False
    ) -> TrainingSettings:
        """Returns the engine's settings, with the seed derived from the run's."""
        from lineal.engines.training.settings import TrainingSettings

        return TrainingSettings(
            steps=self.steps,
            epochs=self.epochs,
            batch_size=self.batch_size,
            gradient_accumulation=self.gradient_accumulation,
            learning_rate=self.learning_rate,
            schedule=self.schedule,
            **self._warmup(),
            weight_decay=self.weight_decay,
            beta2=self.beta2,
            max_grad_norm=self.max_grad_norm,
            max_tokens=self.max_tokens,
            precision=self.precision,
            threads=self.threads,
            seed=row_seed(workspace.seed, workspace.step, "train") % 2**32,
            lora=lora,
            chat=self.chat,
            packing=packing,
            keep_optimizer=self.keep_optimizer,
        )

    def _warmup(self) -> dict[str, Any]:
        if isinstance(self.warmup, WarmupSteps):
            return {"warmup_steps": self.warmup.steps}
        return {"warmup": self.warmup}

    def execution(self, workspace: Workspace) -> Execution:
        """Returns the execution settings of the training, from `compute:`."""
        from lineal.engines.training.execution import Execution

        compute = workspace.compute
        return Execution(
            saves=workspace.partial / "training",
            save_seconds=compute.save_seconds,
            device=compute.device,
            recompute_activations=compute.gradient_checkpointing,
            report_to=tuple(compute.report_to),
            run_name=workspace.key,
            reports=workspace.progress_file and workspace.progress_file.with_suffix(""),
        )

    def learn(
        self,
        workspace: Workspace,
        rows: int,
        init: Checkpoint,
        settings: TrainingSettings,
        train: Callable[[TrainingJob], TrainingReport],
    ) -> None:
        """Trains into the main output under the step's progress; the fake engine writes a stand-in instead."""
        from lineal.engines.training.job import TrainingJob

        workspace.counts["in"] = rows + workspace.counts.get(EQUAL, 0)
        if workspace.compute.engine == "fake":
            _fake(workspace)
            return
        with workspace.progress(0, "steps") as progress, workspace.timed("train"):
            reached = 0

            def advance(done: int, total: int, figures: dict[str, Any]) -> None:
                nonlocal reached
                progress.total = total
                progress.advance(done - reached, f"loss {figures.get('loss', 0.0):.3f}")
                reached = done

            pictures = workspace.pictures() if self.sees else None
            report = train(
                TrainingJob(
                    init, settings, workspace.directory(), advance, self.execution(workspace), pictures
                )
            )
        workspace.facts.update(
            tokens=report.tokens,
            steps=report.steps,
            loss=report.final_loss,
            curve=thinned(report.curve),
            figures=dict(report.figures),
        )
        if workspace.progress_file is not None:
            write_curve(report.curve, workspace.progress_file)
        if report.resumed_at:
            workspace.facts["resumed_at_step"] = report.resumed_at
        if report.kept_step is not None:
            workspace.counts |= {"best_step": report.kept_step, "steps": report.steps}
        if report.unchanged:
            why = (
                "no step was better than the checkpoint" if report.kept_step == 0 else "every gradient was 0"
            )
            say(f"warning: {workspace.step}: {why}: the rows taught nothing", workspace.progress_file)
            workspace.counts[TAUGHT] = 0


class SupervisedTrainer(Trainer):
    """Base of the trainers that learn completions.

    Attributes:
        rows: rows with a prompt and the target; those of several nodes are put together in the order given.
        target: the column to learn. 'messages' are whole conversations, of which every turn of the assistant is learnt.
        weight: a column that the loss of a row's tokens is multiplied by; the sum is still divided by the batch's tokens.
        packing: puts examples together into rows of `max_tokens`, without padding; `batch_size` counts such rows. Other
            bytes, so identity.
        ends: whether an end follows each completion: true, false, or `{unless: TEXTS}`, see `Unless`. Completions with
            `token_ids` are learnt as they were sampled.
        order: a column of numbers; every epoch learns the smallest first. Null: shuffled, in another order every epoch.
        pace: every optimizer step draws its examples evenly from a growing share of them, the smallest in `order` first.
    """

    sees: ClassVar[Columns] = ("rows",)

    rows: RowsRef
    target: Target = "completion"
    weight: Weight = None
    packing: Packing = False
    ends: EndsSetting = True
    order: Order = None
    pace: Annotated[Pacing | None, Field(exclude_if=lambda value: value is None)] = None

    @model_validator(mode="after")
    def _order_fits(self) -> Self:
        if self.order and self.packing:
            raise ValueError(
                "packing and order exclude each other: a packed row holds examples from all over the order"
            )
        if self.pace and not (self.order and self.steps):
            raise ValueError(
                "pace needs order, the column that says which examples come first, and steps in place of epochs"
            )
        return self

    @model_validator(mode="after")
    def _packed_rows_weigh_the_same(self) -> Self:
        if self.packing and self.weight:
            raise ValueError(
                "packing and weight exclude each other: a packed row holds examples of different weights"
            )
        return self

    @model_validator(mode="after")
    def _turns_end(self) -> Self:
        if self.target == "messages" and self.ends is not True:
            raise ValueError(
                "ends is about single completions, but target: messages learns whole turns, which end; leave it out"
            )
        return self

    def hides_pictures(self) -> str | None:
        return "packing" if self.packing else super().hides_pictures()

    def needs(self) -> dict[str, Columns]:
        learnt = ("messages",) if self.target == "messages" else ("prompt", self.target)
        return {"rows": (*learnt, *(name for name in (self.weight, self.order) if name))}

    def training_settings(
        self, workspace: Workspace, lora: LoraSettings | None = None, packing: bool = False
    ) -> TrainingSettings:
        from lineal.engines.training.settings import Pace

        pace = Pace(self.pace.start, self.pace.full) if self.pace else None
        return replace(
            super().training_settings(workspace, lora, packing), in_order=self.order is not None, pace=pace
        )

    def train(self, workspace: Workspace, init: Checkpoint, settings: TrainingSettings) -> None:
        """Trains `init` on the rows and writes the checkpoint as the main output."""
        from lineal.engines.training.train import train_sft

        examples = self._examples(workspace)
        self.learn(workspace, len(examples), init, settings, lambda job: train_sft(job, examples))

    def _examples(self, workspace: Workspace) -> list[Example]:
        from lineal.engines.training.settings import Example

        table = complete_rows(workspace, self.needs()["rows"])
        targets = (
            [None] * table.num_rows
            if self.target == "messages"
            else answers_of(table, self.target, self.ends)
        )
        rows = zip(
            prompts_of(table), targets, weights_of(table, self.weight), workspace.shown(table), strict=True
        )
        examples = [Example(prompt, target, weight, images) for prompt, target, weight, images in rows]
        if self.order is None:
            return examples
        ranks = weights_of(table, self.order)
        return [
            examples[place] for place in sorted(range(len(examples)), key=lambda place: ranks[place] or 0.0)
        ]


def checkpoint_in(workspace: Workspace, field: str) -> Checkpoint:
    """Returns the checkpoint of an input field, with its base where it is an adapter."""
    from lineal.engines.training.job import Checkpoint

    return Checkpoint(workspace.model(field).directory, base_of(workspace, field))


def complete_rows(workspace: Workspace, columns: Columns) -> pa.Table:
    """Returns the rows to train on, with these columns and, where they have them, the model's inputs and drawn ids.

    Raises:
        DataError: there are none, or a value is missing.
    """
    rows = workspace.rows("rows")
    table = rows.read(merged(columns, tuple(name for name in AS_SAMPLED if name in rows.columns)))
    if table.num_rows == 0:
        raise DataError(f"{workspace.step}: 0 rows to train on. Look at what selection dropped")
    for name in columns:
        if table[name].null_count:
            raise DataError(
                f"{workspace.step}: {table[name].null_count:,} of {table.num_rows:,} rows have no {name!r}"
            )
    return table


def answers_of(table: pa.Table, column: str = "completion", ends: Ends = True) -> list[Answer]:
    """Returns the answers to learn; a completion with token ids beside it (`IDS_OF`) is learnt as it was sampled."""
    from lineal.engines.text.tokens import Sampled

    texts: list[str] = table[column].to_pylist()
    answers = answers_with_ends(texts, ends)
    if IDS_OF.get(column) not in table.column_names:
        return answers
    ids = table[IDS_OF[column]].to_pylist()
    return [
        answer if own is None else Sampled(text, tuple(own))
        for answer, text, own in zip(answers, texts, ids, strict=True)
    ]


def weights_of(table: pa.Table, column: str | None) -> list[float | None]:
    """Returns the rows' weights; None for each where no column is named.

    Raises:
        DataError: a value is no finite number.
    """
    if column is None:
        return [None] * table.num_rows
    values = table[column].to_pylist()
    numbers = [_number(value) for value in values]
    wrong = [place for place, number in enumerate(numbers) if not isfinite(number)]
    if wrong:
        message = f"{len(wrong):,} of {len(values):,} rows have no finite number in {column!r}"
        first = f"the first of them (row {wrong[0] + 1}) {values[wrong[0]]!r}"
        raise DataError(f"{message}, {first}. Mend the column, or drop such rows before")
    return list(numbers)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return nan


def _fake(workspace: Workspace) -> None:
    from lineal.engines.fake import write_fake_checkpoint

    digests = [artifact.digest for artifacts in workspace.inputs.values() for artifact in artifacts]
    write_fake_checkpoint(workspace.directory(), workspace.step, str(workspace.seed), *digests)
    workspace.made_with = "fake"
