"""`rationalize`: STaR's second chance. Unsolved prompts are sampled again with the answer as a hint.

The row keeps the prompt without the hint, so what a trainer reads never holds it (arXiv:2203.14465, section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import field_validator, model_validator

from lineal.components.base import Columns, Component, Output, Role, RowsRef, SamplerRef, Workspace, merged
from lineal.components.generators.drawing import Draw, draw_rows, require_distinct_prompts, sampled_columns
from lineal.components.generators.stopping import StopSetting, stop_texts
from lineal.components.generators.temperatures import Temperature, require_different_draws
from lineal.components.generators.template import Template
from lineal.data.conversations import Prompt, prompt_of, reworded
from lineal.engines.factory import open_sampler
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress


class Rationalize(Component):
    """Samples with the reference answer as a hint.

    Attributes:
        model: the checkpoint that samples.
        prompts: prompt rows with what the hint tells, mostly the answer: those that the model did not solve by itself.
        hint: what the model is given; {prompt} and {answer}, or another column that tells it such as {solution}, are filled in.
        samples, temperature, max_tokens, chat, stop: as for `sample`; STaR decodes greedily, one rationale each.
    """

    role: ClassVar[Role] = Role.GENERATOR
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    prompts: RowsRef
    hint: str = "{prompt} ({answer})"
    samples: Positive = 1
    temperature: Temperature = 0.0
    max_tokens: Positive = 64
    chat: bool = False
    stop: StopSetting = None

    @model_validator(mode="after")
    def _draws_differ(self) -> Self:
        require_different_draws(self.samples, self.temperature)
        return self

    @field_validator("hint")
    @classmethod
    def _hint_holds_both(cls, hint: str) -> str:
        columns = {*Template(hint).columns}
        if "prompt" not in columns or columns == {"prompt"}:
            raise ValueError("hint must hold {prompt}, and {answer} or another column that tells it")
        return hint

    def _render(self, row: Mapping[str, Any]) -> Prompt:
        return reworded(
            prompt_of(row), lambda question: Template(self.hint).render({**row, "prompt": question})
        )

    def needs(self) -> dict[str, Columns]:
        return {"prompts": merged(("prompt_id", "prompt"), Template(self.hint).columns)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.ROWS, sampled_columns(inputs["prompts"]))}

    def run(self, workspace: Workspace) -> None:
        """Draws `samples` hinted rows per prompt, shard by shard."""
        prompts = workspace.rows("prompts")
        require_distinct_prompts(prompts, workspace.step)
        settings = SamplingSettings(
            self.temperature, max_tokens=self.max_tokens, chat=self.chat, stop=stop_texts(self.stop)
        )
        draw = Draw(settings, self.samples, render=self._render, hinted=True)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            return draw_rows(workspace, sampler, table, [draw], progress.advance)

        out = workspace.map_rows(prompts, transform, self.samples, "samples")
        workspace.counts.update({"in": prompts.count, "expected": prompts.count * self.samples, "out": out})
