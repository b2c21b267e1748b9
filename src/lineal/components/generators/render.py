"""`render`: new rows whose texts templates make of other rows' columns. No model is asked.

A voted answer becomes the reference answer of its prompt, a document's title the prompt of an essay, what a checkpoint wrote
the prompt of a further task.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pydantic
from pydantic import PrivateAttr

from lineal.components.base import (
    MAIN,
    REFERENCES,
    Columns,
    Component,
    Output,
    Role,
    RowsRef,
    Surroundings,
    Workspace,
    merged,
)
from lineal.components.generators.drawing import CARRIED, carried, require_distinct
from lineal.components.generators.template import Template, read_template, template_files
from lineal.data.ids import canonical_json, row_id
from lineal.data.media import IMAGES
from lineal.data.schema import COLUMNS, arrow_schema, row_key
from lineal.errors import did_you_mean
from lineal.recipe.references import NAME, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

TEXTS = (
    "prompt",
    "asked",
    "answer",
    "task",
    "entry",
    "tests",
    "input",
    "options",
    "completion",
    "chosen",
    "rejected",
)
"""The known columns that a template may write; the others are ids, numbers, or what a component said of a row."""


NEAR = 0.85
"""How similar a column's name and a setting's must be to count as a typo: `seperator` and `separator` are."""


class Render(Component):
    """Makes one new row of each row: by column, a template of the old row's columns.

    A new row also has what its row says of the prompt, and columns of the user's own. A prompt that a template makes gets an
    id made of its text and its pictures alone, so equal prompts have equal ids.

    Attributes:
        rows: what to make rows of.

    Every other setting is a column and its template: `{use: render, rows: voted, answer: "{voted}"}`.
    """

    model_config = pydantic.ConfigDict(extra="allow")
    role: ClassVar[Role] = Role.GENERATOR
    told_apart: ClassVar[Columns] = ("rows",)

    rows: RowsRef
    _templates: Mapping[str, Template] = PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component, its templates read.

        Raises:
            ValueError: there is no template, or one is of a column that a template cannot write.
            DeclarationError: a template's file cannot be read.
        """
        made = cls.model_validate(dict(settings))
        texts = made.model_extra or {}
        if not texts:
            raise ValueError(
                "render has no template. Write COLUMN: TEXT for what the new rows hold, such as answer: '{voted}'"
            )
        for name, text in texts.items():
            _require_column(name, text)
            near = get_close_matches(name, cls.model_fields, n=1, cutoff=NEAR) if name not in COLUMNS else []
            if near:
                fix = f"Did you mean {near[0]!r}? For a column take another name"
                raise ValueError(f"{name}: all but a letter of the setting {near[0]!r}. {fix}")
        made._templates = {name: read_template(text, surroundings) for name, text in texts.items()}
        return made

    def files(self) -> dict[str, Path]:
        """Returns the templates' files, if they are in any."""
        return {
            name: path
            for template in self._templates.values()
            for name, path in template_files(template).items()
        }

    @property
    def _changed(self) -> Columns:
        """The columns that may hold another text than before."""
        return tuple(name for name, template in self._templates.items() if template.text != f"{{{name}}}")

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that the templates fill in, and the prompt unless they make one."""
        prompt = () if "prompt" in self._changed else ("prompt_id", "prompt")
        return {"rows": merged(*(template.columns for template in self._templates.values()), prompt)}

    def told(self) -> dict[str, Columns]:
        """Returns the columns that the templates fill in, but for those of references."""
        texts = (template.columns for name, template in self._templates.items() if name not in REFERENCES)
        return {"rows": merged(*texts)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {
            MAIN: Output(
                ArtifactKind.ROWS, merged(("sample_id", "parents"), self._columns(inputs["rows"]), ("round",))
            )
        }

    def _columns(self, rows: Columns) -> Columns:
        """Returns the new rows' columns, except those of every derived row."""
        kept = tuple(name for name in rows if (carried(name) or name in CARRIED) and self._stays(name))
        return merged(kept, ("prompt_id", "prompt"), tuple(self._templates))

    def _stays(self, name: str) -> bool:
        text = CARRIED.get(name) if name != IMAGES else None  # another question about the same pictures
        there = text == "prompt" or text in self._templates
        return text is None or (there and text not in self._changed)

    def run(self, workspace: Workspace) -> None:
        """Fills the templates in, shard by shard."""
        rows = workspace.rows("rows")
        require_distinct(rows, row_key(rows.columns), workspace.step)

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            progress.advance(table.num_rows)
            return self._rendered(workspace, table)

        workspace.counts.update({"in": rows.count, "out": workspace.map_rows(rows, transform)})

    def _rendered(self, workspace: Workspace, table: pa.Table) -> pa.Table:
        import pyarrow as pa

        columns = self.outputs({"rows": tuple(table.column_names)})[MAIN].columns
        key = row_key(table.column_names)
        made = [self._row(workspace, row, key) for row in table.to_pylist()]
        own = [
            table.schema.field(name)
            for name in columns
            if name not in COLUMNS and name not in self._templates
        ]
        texts = [pa.field(name, pa.string()) for name in self._templates if name not in COLUMNS]
        fields = {
            field.name: field
            for field in [*arrow_schema(tuple(name for name in columns if name in COLUMNS)), *own, *texts]
        }
        return pa.Table.from_pylist(made, schema=pa.schema([fields[name] for name in columns]))

    def _row(self, workspace: Workspace, row: Mapping[str, Any], key: str) -> dict[str, Any]:
        texts = {name: template.render(row) for name, template in self._templates.items()}
        prompt = (
            {"prompt_id": row_id("rendered", texts["prompt"], *(row.get(IMAGES) or ()))}
            if "prompt" in self._changed
            else {}
        )
        made = {
            "sample_id": row_id("rendered", workspace.step, row[key], canonical_json(texts)),
            "parents": [row[key]],
        }
        return {**row, **prompt, **texts, **made, "round": workspace.round}


def _require_column(name: str, text: Any) -> None:
    """Refuses a setting that is no column with a template.

    Raises:
        ValueError: the name is no column's, or none of a column that templates write; or it has no text.
    """
    if name not in TEXTS and (name in COLUMNS or not NAME.match(name) or name in ("row_id", "position")):
        fix = f"{did_you_mean(name, TEXTS)} Or take a lower-case name of your own"
        raise ValueError(f"render: {name!r} is no column that a template can write. {fix}")
    if not isinstance(text, str):
        raise ValueError(
            f"render: {name} must be a text with {{column}}s, or the name of a file in pipelines/templates/"
        )
