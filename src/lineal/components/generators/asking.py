"""The common part of a checkpoint's roles: it gets a text made of a row's columns, and its output is a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr, model_validator

from lineal.components.base import Columns, Surroundings, Workspace, merged
from lineal.components.generators.drawing import Draw, RowSampler, draw_rows
from lineal.components.generators.framing import SystemText
from lineal.components.generators.template import TEMPLATES, Template, read_template
from lineal.data.conversations import MESSAGE_COLUMNS, Conversation, Prompt, Turn, shown_prompt
from lineal.data.ids import row_id
from lineal.data.schema import arrow_type, row_key
from lineal.engines.sampling.saved_completions import SavedSampler

if TYPE_CHECKING:
    import pyarrow as pa


class Asker(RowSampler):
    """Base of what asks a checkpoint about rows.

    Attributes:
        model: the checkpoint that is asked.
        rows: the rows that it is asked about.
        template: what it is given for a row: a text with `{column}`s, or the name of a file in `pipelines/templates/`.
        samples: how often it is asked about each row.
        temperature, top_p, top_k, max_tokens, chat, stop: as for `sample`.
        system: a system turn before the template's text; it needs `chat: true`. The new rows then have `messages`.
    """

    template: str
    system: SystemText = None
    _template: Template = PrivateAttr()

    @model_validator(mode="after")
    def _system_needs_a_chat(self) -> Self:
        if self.system is not None and not self.chat:
            raise ValueError(
                "system needs chat: true; for a model without a chat template, write it into template"
            )
        return self

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        made._template = read_template(made.template, surroundings)
        return made

    def files(self) -> dict[str, Path]:
        path = self._template.path
        return {} if path is None else {f"{TEMPLATES}/{path.name}": path}

    def needs(self) -> dict[str, Columns]:
        return {"rows": self._template.columns}

    def ask(
        self,
        workspace: Workspace,
        sampler: SavedSampler,
        rows: pa.Table,
        advance: Callable[[int], None],
        own: bool = False,
    ) -> pa.Table:
        """Returns the checkpoint's output about some rows, `samples` rows for each, in their order.

        Args:
            workspace: the running step.
            sampler: the checkpoint.
            rows: the rows to ask about.
            advance: called with the number of finished completions.
            own: whether the new rows keep the prompt of the row, and what the checkpoint was given stands in `asked`; else
                that is their prompt.
        """
        import pyarrow as pa

        draw = Draw(self.sampling, self.samples, seed_by=workspace.place or None)
        if not own:
            asked = replace(draw, render=lambda row: self._given(row["prompt"]), adds=self._adds)
            return draw_rows(workspace, sampler, self._asked(rows), [asked], advance)
        draw = replace(draw, render=self._rendered, hinted=True, by=row_key(rows.column_names))
        drawn = draw_rows(workspace, sampler, rows, [draw], advance)
        given = [
            text for row in rows.to_pylist() for text in [shown_prompt(self._rendered(row))] * self.samples
        ]
        return drawn.append_column("asked", pa.array(given, arrow_type("asked")))

    @property
    def _adds(self) -> Columns:
        """Columns that asked rows have besides those of any sample."""
        return () if self.system is None else MESSAGE_COLUMNS

    def _given(self, text: str) -> Prompt:
        """Returns a template's text as the checkpoint gets it."""
        return (
            text if self.system is None else Conversation((Turn("system", self.system), Turn("user", text)))
        )

    def _rendered(self, row: Mapping[str, Any]) -> Prompt:
        return self._given(self._template.render(row))

    def _asked(self, rows: pa.Table) -> pa.Table:
        """Returns the rows under the prompts that the template makes of them, in place of the original prompts."""
        import pyarrow as pa

        rows = rows.drop_columns([name for name in MESSAGE_COLUMNS if name in rows.column_names])
        sources = rows.to_pylist()
        prompts = [self._template.render(row) for row in sources]
        key = row_key(rows.column_names)
        ids = [row_id("asked", row[key], prompt) for row, prompt in zip(sources, prompts, strict=True)]
        if key == "prompt_id":  # prompt rows: the new rows' parent is named by the id they had
            rows = rows.append_column("sample_id", rows["prompt_id"].cast(arrow_type("sample_id")))
        for name, values in (("prompt_id", ids), ("prompt", prompts)):
            column = pa.array(values, arrow_type(name))
            there = rows.column_names.index(name) if name in rows.column_names else None
            rows = rows.append_column(name, column) if there is None else rows.set_column(there, name, column)
        return rows


def asked_columns(rows: Columns) -> Columns:
    """Returns the columns of rows once they have a prompt."""
    return merged(tuple(name for name in rows if name not in MESSAGE_COLUMNS), ("prompt_id", "prompt"))
