"""`sample`: K completions for every prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lineal.components.base import Columns, Output, Role, RowsRef, SamplerRef, Workspace, merged
from lineal.components.generators.drawing import Draw, draw_rows, require_distinct_prompts, sampled_columns
from lineal.components.generators.framing import Framing
from lineal.components.generators.stopping import stop_texts
from lineal.components.generators.temperatures import Temperatures, TopK, TopP, require_different_draws
from lineal.data.conversations import Prompt, prompt_of, reworded, shown_prompt
from lineal.engines.factory import open_sampler
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


KeepsIds = Annotated[bool, Field(exclude_if=lambda value: not value)]
"""Left out of the identity where nothing more is kept."""


class Sample(Framing):
    """Samples completions.

    Attributes:
        model: the checkpoint that samples.
        prompts: prompt rows.
        samples: completions per prompt (and temperature).
        temperature: one, or several: then every prompt is sampled at each.
        top_p, top_k: nucleus and top-k filters; 1.0 and 0 are off.
        max_tokens: the longest completion; a longer one is recorded with finish_reason 'length'.
        chat, system, template, examples, stop: see `Framing`.
        row_prompt: what the rows keep where something stands around the prompts. 'asked': what the model was given. 'own':
            the prompt rows' own prompts, to train without the examples, say; such rows count as hinted, and what the model
            was given is in the column `asked`, a conversation as JSON.
        hint: a column of the prompts; its text is put before the prompt, and the rows keep the prompt without it.
        seed_by: a word that enters the seeds, to make agents of one population differ.
        token_ids: keeps the ids of the drawn tokens; trainers learn these then, and don't encode the completions again.
    """

    role: ClassVar[Role] = Role.GENERATOR
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)
    sees: ClassVar[Columns] = ("prompts",)

    model: SamplerRef
    prompts: RowsRef
    samples: Positive = 1
    temperature: Temperatures = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    max_tokens: Positive = 64
    row_prompt: Annotated[Literal["asked", "own"], Field(exclude_if=lambda value: value == "asked")] = "asked"
    hint: str | None = None
    seed_by: str | None = None
    token_ids: KeepsIds = False

    @model_validator(mode="after")
    def _draws_differ(self) -> Self:
        require_different_draws(self.samples, self.temperature)
        return self

    @model_validator(mode="after")
    def _one_frame(self) -> Self:
        if self.hint is not None and self.frames:
            raise ValueError(
                "hint and system, template or examples exclude each other; set system and template in the source"
            )
        if self.row_prompt == "own" and not self.frames:
            raise ValueError(
                "row_prompt: own is about system, template and examples, of which none is set; leave it out"
            )
        return self

    def needs(self) -> dict[str, Columns]:
        needed = self.framing_needs()
        return {**needed, "prompts": merged(needed["prompts"], (self.hint,) if self.hint else ())}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        if self.row_prompt == "own":
            return {"": Output(ArtifactKind.ROWS, (*sampled_columns(inputs["prompts"], self._ids), "asked"))}
        return {"": Output(ArtifactKind.ROWS, merged(self.drawn_columns(inputs["prompts"]), self._ids))}

    @property
    def _ids(self) -> Columns:
        return ("token_ids",) if self.token_ids else ()

    def _draws(self, workspace: Workspace) -> list[Draw]:
        temperatures = self.temperature if isinstance(self.temperature, list) else [self.temperature]
        stop = stop_texts(self.stop)
        settings = [
            SamplingSettings(heat, self.top_p, self.top_k, self.max_tokens, self.chat, stop)
            for heat in temperatures
        ]
        draw = Draw(settings[0], self.samples, render=self._render, adds=self._ids, seed_by=self.seed_by)
        hidden = self.hint is not None or self.row_prompt == "own"
        framed = replace(self.framed(workspace, draw), hinted=hidden)
        framed = replace(framed, adds=self._ids) if hidden else framed
        return [
            replace(framed, settings=each, first_index=number * self.samples)
            for number, each in enumerate(settings)
        ]

    def _render(self, row: Mapping[str, Any]) -> Prompt:
        hint = row[self.hint] or "" if self.hint else ""
        return reworded(prompt_of(row), lambda question: hint + question)

    def run(self, workspace: Workspace) -> None:
        """Draws `samples` rows per prompt, shard by shard."""
        prompts, draws = workspace.rows("prompts"), self._draws(workspace)
        require_distinct_prompts(prompts, workspace.step)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            drawn = draw_rows(workspace, sampler, table, draws, progress.advance)
            return drawn if self.row_prompt == "asked" else _with_asked(drawn, table, draws)

        per_prompt = sum(draw.samples for draw in draws)
        out = workspace.map_rows(prompts, transform, per_prompt, "samples")
        workspace.counts.update({"in": prompts.count, "expected": prompts.count * per_prompt, "out": out})


def _with_asked(drawn: pa.Table, prompts: pa.Table, draws: Sequence[Draw]) -> pa.Table:
    """Adds the model's input to each drawn row, a conversation as JSON."""
    import pyarrow as pa

    per_prompt = sum(draw.samples for draw in draws)
    texts = [
        text for row in prompts.to_pylist() for text in [shown_prompt(draws[0].render(row))] * per_prompt
    ]
    return drawn.append_column("asked", pa.array(texts, pa.string()))
