"""`sample`: K completions for every prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge
from pydantic import Field

from lineal.components.base import Columns, Component, Output, Role, RowsRef, SamplerRef, Workspace
from lineal.components.generators.drawing import Draw, draw_rows, require_distinct_prompts, sampled_columns
from lineal.data.conversations import Prompt, prompt_of, reworded
from lineal.engines.factory import open_sampler
from lineal.engines.sampling import SamplingSettings
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


KeepsIds = Annotated[bool, Field(exclude_if=lambda value: not value)]
"""Left out of the identity where nothing more is kept."""


class Sample(Component):
    """Samples completions.

    Attributes:
        model: the checkpoint that samples.
        prompts: prompt rows.
        samples: completions per prompt (and temperature).
        temperature: one, or several: then every prompt is sampled at each.
        top_p, top_k: nucleus and top-k filters; 1.0 and 0 are off.
        max_tokens: the longest completion; a longer one is recorded with finish_reason 'length'.
        chat: whether prompts pass through the tokenizer's chat template.
        hint: a column of the prompts; its text is put before the prompt, and the rows keep the prompt without it.
        seed_by: a word that enters the seeds, to make agents of one population differ.
        token_ids: keeps the ids of the drawn tokens; trainers learn these then, and don't encode the completions again.
    """

    role: ClassVar[Role] = Role.GENERATOR
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    prompts: RowsRef
    samples: Positive = 1
    temperature: float | list[float] = 1.0
    top_p: float = 1.0
    top_k: Annotated[int, Ge(0)] = 0
    max_tokens: Positive = 64
    chat: bool = False
    hint: str | None = None
    seed_by: str | None = None
    token_ids: KeepsIds = False

    def needs(self) -> dict[str, Columns]:
        return {"prompts": ("prompt_id", "prompt", *([self.hint] if self.hint else []))}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.ROWS, sampled_columns(inputs["prompts"], self._adds))}

    @property
    def _adds(self) -> Columns:
        return ("token_ids",) if self.token_ids else ()

    def _draws(self) -> list[Draw]:
        temperatures = self.temperature if isinstance(self.temperature, list) else [self.temperature]
        settings = [SamplingSettings(heat, self.top_p, self.top_k, self.max_tokens, self.chat) for heat in temperatures]
        return [
            Draw(
                each,
                self.samples,
                number * self.samples,
                self._render,
                self.hint is not None,
                seed_by=self.seed_by,
                adds=self._adds,
            )
            for number, each in enumerate(settings)
        ]

    def _render(self, row: Mapping[str, Any]) -> Prompt:
        hint = row[self.hint] or "" if self.hint else ""
        return reworded(prompt_of(row), lambda question: hint + question)

    def run(self, step: Workspace) -> None:
        """Draws `samples` rows per prompt, shard by shard."""
        prompts, draws = step.rows("prompts"), self._draws()
        require_distinct_prompts(prompts, step.step)
        sampler = open_sampler(step, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            return draw_rows(step, sampler, table, draws, progress.advance)

        per_prompt = sum(draw.samples for draw in draws)
        out = step.map_rows(prompts, transform, per_prompt, "samples")
        step.counts.update({"in": prompts.count, "expected": prompts.count * per_prompt, "out": out})
