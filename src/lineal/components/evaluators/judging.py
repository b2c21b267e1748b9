"""What evaluators that sample share: draws of all prompts, judged by a verifier with a limit on its errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import PrivateAttr

from lineal.components.base import Columns, RowsRef, SamplerRef, Surroundings, Workspace, merged
from lineal.components.evaluators.base import Evaluator
from lineal.components.generators.drawing import SAMPLE_COLUMNS, Draw, draw_rows, require_distinct_prompts
from lineal.components.generators.framing import Framing
from lineal.components.verifiers.base import VERDICT, AddsColumns, written
from lineal.components.verifiers.embedded import columns_read, embedded_verifier, identity_of, ready, refuse_errors
from lineal.engines.factory import open_sampler
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

VERIFIER = "verifier"


class JudgedDraws(Framing, Evaluator):
    """Base of evaluators that draw completions of prompts and have a verifier judge them; the rows stay in the artifact.

    Attributes:
        model: the checkpoint to evaluate.
        prompts: held-out prompt rows.
        verifier: what judges: a verifier's name, or its settings with `use:`.
        max_tokens: the longest completion; a longer one is wrong.
        chat, system, template, examples, stop: see `Framing`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    prompts: RowsRef
    verifier: str | dict[str, Any] = "exact_match"
    max_tokens: Positive = 64
    _judge: AddsColumns = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = super().parse(settings, surroundings)
        made._judge = embedded_verifier(made.verifier, VERIFIER, surroundings, adds=VERDICT)
        return made

    def embedded(self) -> dict[str, AddsColumns]:
        """The verifier."""
        return {VERIFIER: self._judge}

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), VERIFIER: identity_of(self._judge)}

    def needs(self) -> dict[str, Columns]:
        needed = self.framing_needs()
        return {**super().needs(), **needed, "prompts": merged(needed["prompts"], columns_read(self._judge, SAMPLE_COLUMNS))}

    def draw(
        self, step: Workspace, draw: Draw, columns: list[str], more: Callable[[pa.Table], pa.Table] = lambda rows: rows
    ) -> pa.Table:
        """Draws and judges completions of all prompts, shard by shard.

        Args:
            step: where the rows go.
            draw: how completions are drawn.
            columns: those of the result, besides the verdict, and the difficulty where there is one.
            more: adds columns to judged rows.

        Returns:
            these columns of all rows.

        Raises:
            CheckFailure: the verifier could not judge more than its limit.
        """
        prompts = step.rows("prompts")
        require_distinct_prompts(prompts, step.step)
        sampler, draw = open_sampler(step, "model"), self.framed(step, draw)

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            rows = draw_rows(step, sampler, table, [draw], progress.advance)
            with step.progress(rows.num_rows, "verdicts") as judged:
                return more(judged_rows(self._judge, rows, judged))

        with ready(self._judge, step, VERIFIER):
            out = step.map_rows(prompts, transform, draw.samples, "prompts" if draw.samples == 1 else "samples")
        table = written(step, [*columns, "verdict", *(name for name in ("difficulty",) if name in prompts.columns)])
        refuse_errors(step, self._judge, table["verdict"])
        step.counts.update({"in": prompts.count, "expected": prompts.count * draw.samples, "out": out})
        return table


def judged_rows(judge: AddsColumns, rows: pa.Table, progress: Progress) -> pa.Table:
    """The rows with verdict, score and detail."""
    judged = judge.judge(rows, progress)
    for name in VERDICT:
        rows = rows.append_column(name, judged[name])
    return rows
