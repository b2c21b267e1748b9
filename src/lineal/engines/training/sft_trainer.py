"""TRL's SFTTrainer set up for equal bytes: data already tokenised, nothing printed, reported or saved."""

from __future__ import annotations

from bisect import bisect_left, insort
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from lineal.engines.models.self_test import require_apart
from lineal.engines.training.example_order import in_this_order, places
from lineal.engines.training.optimizer_steps import with_own_steps
from lineal.engines.training.preference_losses import IGNORED_LABEL
from lineal.engines.training.processes import process_count
from lineal.engines.training.trainer_run import with_numbers, with_pictures
from lineal.engines.training.whole_steps import real_examples

if TYPE_CHECKING:
    import pyarrow as pa
    from trl.trainer.sft_trainer import SFTTrainer

    from lineal.engines.training.job import Loaded

JOINED_AT_ONCE = 1 << 12
LENGTH = "row_tokens"
"""A column: how many tokens a row has."""
SFT_ARGUMENTS: dict[str, Any] = {
    "packing": False,  # rows to be packed were packed before
    "dataset_kwargs": {"skip_prepare_dataset": True},  # 0.02 s instead of 2-2.6 s before the first step
}


def sft_trainer(loaded: Loaded, rows: pa.Table) -> Any:
    """Makes a trainer for `rows` of `input_ids` and `labels`, and `weight` where rows weigh differently.

    Packed rows also have `seq_lengths`, see `packed`; where the model sees pictures, rows name their pictures in `SHOWN`.

    Raises:
        EngineError: the rows are packed, and the model does not keep their examples apart.
    """
    import pyarrow.compute as pc
    from datasets import Dataset
    from datasets.table import InMemoryTable
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    settings, shared = loaded.settings, process_count() > 1
    rows = rows.append_column(LENGTH, pc.list_value_length(rows["input_ids"])) if shared else rows
    numbers = [name for name in ("weight", LENGTH) if name in rows.column_names]
    arguments = loaded.arguments() | SFT_ARGUMENTS
    own = _weighted_trainer() if "weight" in numbers else SFTTrainer
    own = in_this_order(own, places(rows.num_rows, settings)) if settings.in_order else own
    examples = Dataset(InMemoryTable(rows))
    trainer = with_own_steps(_shared_trainer(own) if shared else own, settings)(
        model=loaded.model,
        args=SFTConfig(
            **arguments, padding_free=settings.packing, remove_unused_columns=not (numbers or loaded.sight)
        ),
        train_dataset=examples,
        processing_class=loaded.tokenizer,
    )
    trainer.model_accepts_loss_kwargs = (
        True  # TRL's loss divides by the step's tokens, whatever the model's own takes
    )
    if settings.packing:
        require_apart(loaded.model, trainer.data_collator, examples)
    if numbers:
        trainer.data_collator = with_numbers(trainer.data_collator, numbers)
    if loaded.sight is not None:
        trainer.data_collator = with_pictures(trainer.data_collator, loaded.sight)
    return trainer


def row_lengths(rows: pa.Table) -> list[int]:
    """Returns the number of tokens of each row."""
    import pyarrow.compute as pc

    lengths: list[int] = pc.list_value_length(rows["input_ids"]).to_pylist()
    return lengths


def packed(rows: pa.Table, length: int) -> pa.Table:
    """Packs several examples each into rows of up to `length` tokens, with the examples' lengths as `seq_lengths`.

    The longest example comes first, each goes to the fullest row that still has room (best fit decreasing, as in
    arXiv:2404.10830), and equal ones keep their order. The model attends within each example only.
    """
    import pyarrow as pa

    sizes = row_lengths(rows)
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens free, bin), sorted
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        size = sizes[index]
        place = bisect_left(room, (size, 0))
        free, chosen = room.pop(place) if place < len(room) else (length, len(bins))
        if chosen == len(bins):
            bins.append([])
        bins[chosen].append(index)
        insort(room, (free - size, chosen))
    return pa.concat_tables(
        [_joined(rows, sizes, bins[at : at + JOINED_AT_ONCE]) for at in range(0, len(bins), JOINED_AT_ONCE)]
    )


def _joined(rows: pa.Table, sizes: list[int], bins: list[list[int]]) -> pa.Table:
    """Joins the examples of each bin into one row: their tokens and labels one after another."""
    import pyarrow as pa

    lengths = [[sizes[index] for index in chosen] for chosen in bins]
    ends = pa.array(list(accumulate(map(sum, lengths), initial=0)), pa.int32())
    taken = (
        rows.select(["input_ids", "labels"])
        .take([index for chosen in bins for index in chosen])
        .combine_chunks()
    )
    columns = {
        name: pa.ListArray.from_arrays(ends, taken[name].chunk(0).flatten()) for name in taken.column_names
    }
    return pa.table({**columns, "seq_lengths": pa.array(lengths, pa.list_(pa.int32()))})


def _shared_trainer(base: Any) -> Any:
    """Makes a trainer for several processes, whose rows have a `LENGTH`."""

    class SharedSFTTrainer(base):  # type: ignore[misc]
        """A trainer that does not learn the rows that fill up the last batches of an epoch."""

        def _get_num_items_in_batch(self, batches: list[dict[str, Any]], *arguments: Any) -> Any:
            lengths = [batch.pop(LENGTH).tolist() for batch in batches]
            count = real_examples(list(map(len, lengths)), self.accelerator)[-1]
            labels = batches[-1]["labels"]
            if self.padding_free:
                labels[:, sum(lengths[-1][:count]) :] = IGNORED_LABEL
            else:
                labels[count:] = IGNORED_LABEL
            return super()._get_num_items_in_batch(batches, *arguments)

    return SharedSFTTrainer


def _weighted_trainer() -> type[SFTTrainer]:
    from trl.trainer.sft_trainer import SFTTrainer

    class WeightedSFTTrainer(SFTTrainer):
        """A trainer whose loss is that of a row's tokens times the row's weight, divided by the batch's unweighted tokens."""

        def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **settings: Any) -> Any:
            weight = inputs.pop("weight")

            def weighted(**call: Any) -> Any:
                outputs = model(**call)
                outputs.log_probs = outputs.log_probs * weight[:, None]
                return outputs

            return super().compute_loss(weighted, inputs, *arguments, **settings)  # type: ignore[no-untyped-call]

    return WeightedSFTTrainer
