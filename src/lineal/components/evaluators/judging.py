"""The common part of evaluators that sample: completions of all prompts, judged by a verifier with a limit on its errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import Columns, RowsRef, SamplerRef, Workspace, merged
from lineal.components.evaluators.base import PromptEvaluator
from lineal.components.generators.drawing import SAMPLE_COLUMNS, Draw, draw_rows, require_distinct_prompts
from lineal.components.generators.framing import Framing
from lineal.components.verifiers.base import written
from lineal.components.verifiers.embedded import columns_read, ready, refuse_errors
from lineal.components.verifiers.holding import VERIFIER, HoldsVerifier, judged_rows
from lineal.engines.factory import open_sampler
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class JudgedDraws(Framing, HoldsVerifier, PromptEvaluator):
    """Base of evaluators that draw completions of prompts and have a verifier judge them; the rows stay in the artifact.

    Attributes:
        model: the checkpoint to evaluate.
        prompts: prompt rows.
        held_out: see `PromptEvaluator`.
        verifier: see `HoldsVerifier`.
        max_tokens: the longest completion; a longer one is wrong.
        chat, system, template, examples, stop: see `Framing`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)
    sees: ClassVar[Columns] = ("prompts",)

    model: SamplerRef
    prompts: RowsRef
    max_tokens: Positive = 64

    def needs(self) -> dict[str, Columns]:
        needed = self.framing_needs()
        return {
            **super().needs(),
            **needed,
            "prompts": merged(needed["prompts"], columns_read(self._judge, SAMPLE_COLUMNS)),
        }

    def draw(
        self,
        workspace: Workspace,
        draw: Draw,
        columns: list[str],
        more: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    ) -> pa.Table:
        """Draws and judges completions of all prompts, shard by shard.

        Args:
            workspace: where the rows go.
            draw: how completions are drawn.
            columns: those of the result, besides the verdict, and the difficulty where there is one.
            more: adds columns to judged rows.

        Returns:
            these columns of all rows.

        Raises:
            CheckFailure: the verifier could not judge more than its limit.
        """
        prompts = workspace.rows("prompts")
        require_distinct_prompts(prompts, workspace.step)
        sampler, draw = open_sampler(workspace, "model"), self.framed(workspace, draw)

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            rows = draw_rows(workspace, sampler, table, [draw], progress.advance)
            with workspace.progress(rows.num_rows, "verdicts") as judged:
                return more(judged_rows(self._judge, rows, judged))

        with ready(self._judge, workspace, VERIFIER):
            out = workspace.map_rows(
                prompts, transform, draw.samples, "prompts" if draw.samples == 1 else "samples"
            )
        table = written(
            workspace, [*columns, "verdict", *(name for name in ("difficulty",) if name in prompts.columns)]
        )
        refuse_errors(workspace, self._judge, table["verdict"])
        workspace.counts.update({"in": prompts.count, "expected": prompts.count * draw.samples, "out": out})
        return table
