"""`step_values`: the value of a step, from completions that continue it (Math-Shepherd, arXiv:2312.08935, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import MAIN, Columns, Output, Role, Workspace, merged
from lineal.components.generators.drawing import (
    SAMPLE_COLUMNS,
    Draw,
    RowSampler,
    begun,
    draw_rows,
    require_distinct,
    sampled_columns,
    written_by,
)
from lineal.components.verifiers.base import ERROR, PASS, VERDICT, written
from lineal.components.verifiers.embedded import columns_read, ready, refuse_errors
from lineal.components.verifiers.holding import VERIFIER, HoldsVerifier, judged_rows
from lineal.data.ids import row_id
from lineal.data.schema import arrow_type, row_key
from lineal.engines.factory import open_sampler
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress
    from lineal.engines.sampling.saved_completions import SavedSampler

ROLLOUTS = "rollouts"


class StepValues(HoldsVerifier, RowSampler):
    """Continues every step to the end `samples` times; `value` is the share of these completions that is right.

    Steps are rows with a `prefix`, as `split_steps` makes them; of rows without one the completion is the beginning. A row
    that is `terminal` is its own completion. Where no completion of a row could be judged, its value is null. Output `rollouts`:
    every completion, from the prompt on, with its verdict and the step as parent.

    Attributes:
        model: the checkpoint that continues the steps.
        rows: the steps.
        samples: completions from each.
        temperature, top_p, top_k, max_tokens, stop: as for `sample`; `max_tokens` counts what follows the step.
        chat: whether prompts pass through the tokenizer's chat template; the step is then inside the answer's turn.
        verifier: see `HoldsVerifier`. One that votes counts the completions of a step among each other.
    """

    role: ClassVar[Role] = Role.VERIFIER

    def needs(self) -> dict[str, Columns]:
        return {
            **super().needs(),
            "rows": merged(("prompt_id", "prompt", "completion"), columns_read(self._judge, SAMPLE_COLUMNS)),
        }

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the rows with their values, and the completions.

        Raises:
            ValueError: the rows have values already.
        """
        if "value" in inputs["rows"]:
            raise ValueError(
                "step_values: the rows have a column 'value' already. Give it rows without, such as those of split_steps"
            )
        return {
            MAIN: Output(ArtifactKind.ROWS, (*inputs["rows"], "value")),
            ROLLOUTS: Output(ArtifactKind.ROWS, merged(sampled_columns(inputs["rows"]), VERDICT)),
        }

    def run(self, workspace: Workspace) -> None:
        """Draws and judges completions shard by shard, then writes the values that they give."""
        rows = workspace.rows("rows")
        require_distinct(rows, row_key(rows.columns), workspace.step)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            drawn = self._completions(workspace, sampler, table, progress)
            with workspace.progress(drawn.num_rows, "verdicts") as judged:
                return self._judged(drawn, judged)

        with ready(self._judge, workspace, VERIFIER):
            out = workspace.map_rows(rows, transform, self.samples, "completions", ROLLOUTS)
        told = written(workspace, ["parents", "verdict"], ROLLOUTS)
        refuse_errors(workspace, self._judge, told["verdict"])
        workspace.write_rows(_valued(rows.slices(1 << 14), _values(told)))
        workspace.counts.update({"in": rows.count, "out": rows.count, ROLLOUTS: out})

    def _completions(
        self, workspace: Workspace, sampler: SavedSampler, rows: pa.Table, progress: Progress
    ) -> pa.Table:
        """Returns the completions of some steps from the prompt on, in the steps' order."""
        import pyarrow as pa

        ended = (
            rows["terminal"].fill_null(False).to_pylist()
            if "terminal" in rows.column_names
            else [False] * rows.num_rows
        )
        last = rows.filter(pa.array(ended, pa.bool_()))
        going = rows.filter(pa.array([not one for one in ended], pa.bool_()))
        key = row_key(rows.column_names)
        draw = Draw(
            self.sampling,
            self.samples,
            render=partial(begun, chat=self.chat),
            hinted=True,
            by=key,
            goes_on=True,
        )
        drawn = draw_rows(workspace, sampler, going, [draw], progress.advance)
        progress.advance(last.num_rows * self.samples)
        texts = [text for row in going.to_pylist() for text in [written_by(row)] * self.samples]
        whole = pa.array(
            [a + b for a, b in zip(texts, drawn["completion"].to_pylist(), strict=True)], pa.string()
        )
        drawn = _with(drawn, {"completion": whole, "hinted": pa.repeat(pa.scalar(False), drawn.num_rows)})
        return _in_order(
            pa.concat_tables([drawn, _as_completions(last, drawn.schema, workspace)]), rows[key].to_pylist()
        )

    def _judged(self, drawn: pa.Table, progress: Progress) -> pa.Table:
        """Returns the completions with verdicts; while they are judged, those of a step are those of a prompt."""
        import pyarrow as pa

        steps = pa.array([parents[0] for parents in drawn["parents"].to_pylist()], pa.string())
        judged = judged_rows(self._judge, _with(drawn, {"prompt_id": steps}), progress)
        return _with(judged, {"prompt_id": drawn["prompt_id"]})


def _with(table: pa.Table, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    """Returns the table with other values in some of its columns."""
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def _as_completions(ended: pa.Table, schema: pa.Schema, workspace: Workspace) -> pa.Table:
    """Returns terminal steps as completions drawn from them: nothing more."""
    import pyarrow as pa

    rows, key = ended.to_pylist(), row_key(ended.column_names)
    made = [
        {
            **{name: row[name] for name in schema.names if name in row},
            "completion": written_by(row),
            "sample_id": row_id("ended", row[key]),
            "parents": [row[key]],
            "finish_reason": "stop",
            "tokens": 0,
            "hinted": False,
            "sample_index": 0,
            "round": workspace.round,
        }
        for row in rows
    ]
    return pa.Table.from_pylist(made, schema=schema)


def _in_order(drawn: pa.Table, keys: list[str]) -> pa.Table:
    """Returns completions in the order of their steps."""
    place = {key: number for number, key in enumerate(keys)}
    parents = [place[parents[0]] for parents in drawn["parents"].to_pylist()]
    return drawn.take(sorted(range(drawn.num_rows), key=parents.__getitem__))


def _values(told: pa.Table) -> dict[str, float]:
    """Returns by step the share of its judged completions that is right."""
    counts: dict[str, list[int]] = {}
    for parents, verdict in zip(told["parents"].to_pylist(), told["verdict"].to_pylist(), strict=True):
        if verdict != ERROR:
            right, judged = counts.get(parents[0], (0, 0))
            counts[parents[0]] = [right + (verdict == PASS), judged + 1]
    return {key: right / judged for key, (right, judged) in counts.items()}


def _valued(slices: Iterator[tuple[int, int, pa.Table]], values: Mapping[str, float]) -> Iterator[pa.Table]:
    """Yields the rows with their values."""
    import pyarrow as pa

    for _, _, table in slices:
        keys = table[row_key(table.column_names)].to_pylist()
        yield table.append_column("value", pa.array([values.get(key) for key in keys], arrow_type("value")))
