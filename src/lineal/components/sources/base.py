"""The common part of sources: prompts drawn from a stream, identified by id, split by id, written in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import pydantic

from lineal.components.base import MAIN, Columns, Component, Output, Role, Surroundings, Workspace, merged
from lineal.components.generators.framing import SystemText, TemplateName, with_system
from lineal.components.generators.template import Template, read_template, template_files
from lineal.data.conversations import Conversation, Turn, prompt_of, reworded
from lineal.data.ids import row_id
from lineal.data.schema import COLUMNS, arrow_schema
from lineal.errors import DataError, did_you_mean
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

Split = Literal["train", "dev", "test"]
SPLITS: dict[str, tuple[float, float]] = {"test": (0.0, 0.1), "dev": (0.1, 0.2), "train": (0.2, 1.0)}
"""The part of [0, 1) that each split's prompt ids hash to: every set of a split holds out the same prompts."""

_SET_SPLIT = "Set split: train, dev or test, so that no test prompt is trained on"

PROMPT_COLUMNS: Columns = ("prompt_id", "prompt", "answer", "difficulty", "task")
BATCH_ROWS = 1 << 14

Row = Mapping[str, Any]


def split_position(prompt_id: str) -> float:
    """Returns a prompt's place in [0, 1): a function of its id alone."""
    return int(row_id("split", prompt_id)[:13], 16) / float(16**13)


def in_split(prompt_id: str, split: str | None) -> bool:
    """Tells whether a prompt belongs to a split; every prompt belongs to None."""
    if split is None:
        return True
    low, high = SPLITS[split]
    return low <= split_position(prompt_id) < high


class Source(Component):
    """Prompts. Two sets of the same split may share prompts; sets of different splits never do.

    Attributes:
        split: which split's prompts.
        system: a system turn; each row then has the conversation of this and the prompt as `messages`.
        template: what a prompt becomes: a text with `{column}`s, or the name of a file in `pipelines/templates/`. Ids and
            splits are those of the prompt without it.
    """

    role: ClassVar[Role] = Role.SOURCE
    seeded: ClassVar[bool] = False  # the first seed's, so that all seeds are asked the same
    columns: ClassVar[Columns] = PROMPT_COLUMNS

    split: Split | None = None
    system: SystemText = None
    template: TemplateName = None
    _template: Template | None = pydantic.PrivateAttr(default=None)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component.

        Raises:
            pydantic.ValidationError: the settings don't fit.
            ValueError: the template cannot be read, or names a column that the rows don't have.
        """
        made = cls.model_validate(dict(settings))
        if made.template is not None:
            made._template = read_template(made.template, surroundings)
            for name in made._template.columns:
                if name not in made.made_columns:
                    raise ValueError(
                        f"template: the rows have no column {name!r}. {did_you_mean(name, made.made_columns)}"
                    )
        return made

    def files(self) -> dict[str, Path]:
        """Returns the template's file, if it is in one."""
        return template_files(self._template)

    @property
    def made_columns(self) -> Columns:
        """The columns of the rows before system and template are put around their prompts."""
        return self.columns

    @property
    def written_columns(self) -> Columns:
        """The columns of the rows as they are written."""
        return merged(self.made_columns, () if self.system is None else ("messages",))

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns one artifact of prompts."""
        return {MAIN: Output(ArtifactKind.ROWS, self.written_columns)}

    @property
    def frames(self) -> bool:
        """True if the prompts have a frame."""
        return not (self.system is None and self._template is None)

    def framed(self, row: Row) -> Row:
        """Returns the row with its prompt in the template and after the system turn.

        A text stays the column `prompt`; a conversation is in `messages`, and the prompt beside it stays as it was: the
        short form for people.

        Raises:
            DataError: a conversation has a system turn already.
        """
        if not self.frames:
            return row
        prompt, template = prompt_of(row), self._template
        if template is not None:
            prompt = reworded(prompt, lambda text: template.render({**row, "prompt": text}))
        if isinstance(prompt, str) and self.system is None:
            return {**row, "prompt": prompt}
        turns = (Turn("user", prompt),) if isinstance(prompt, str) else prompt.turns
        if self.system is not None:
            turns = with_system(self.system, turns, f"prompt {row['prompt_id']}")
        return {**row, "messages": Conversation(turns).for_rows()}


class SyntheticSource(Source):
    """Prompts without end, of which the first `size` different ones of the split are taken.

    A larger `size` keeps the smaller one's prompts as its beginning. Without `split`, a set that is called train, dev
    or test belongs to the split of that name.

    Class attributes:
        made: the word for what it makes.
    """

    made: ClassVar[str] = "prompts"

    size: Positive

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields prompts without end, the same for every `size`; they may repeat."""
        raise NotImplementedError

    def split_id(self, row: Row) -> str:
        """Returns the id that decides a candidate's split."""
        prompt_id: str = row["prompt_id"]
        return prompt_id

    def space(self) -> int | None:
        """Returns how many different prompts exist, where that is known."""
        return None

    def require_name(self, name: str) -> None:
        """Requires a split's name of a set without `split`."""
        if self.split is None and name not in SPLITS:
            raise ValueError(f"split is missing, and the name {name!r} does not say it. {_SET_SPLIT}")

    def run(self, workspace: Workspace) -> None:
        """Writes the prompts."""
        with workspace.progress(self.size, "prompts") as progress:
            self.write(workspace, self._rows(workspace, progress))

    def write(self, workspace: Workspace, rows: Iterable[Row]) -> None:
        """Writes the chosen prompts."""
        workspace.counts.update(
            out=workspace.write_rows(tables(map(self.framed, rows), self.written_columns))
        )

    def _rows(self, workspace: Workspace, progress: Any) -> Iterator[Row]:
        split = self.split or split_of_name(workspace.step)
        low, high = SPLITS[split]
        seen: set[str] = set()
        misses = 0
        for row in self.candidates(workspace):
            if row["prompt_id"] in seen or not in_split(self.split_id(row), split):
                misses += 1
                if misses > 1000 + 30 * (len(seen) + 1) / (
                    high - low
                ):  # a remaining one of n is missed with e^-30
                    raise self._exhausted(workspace, split, len(seen))
                continue
            seen.add(row["prompt_id"])
            misses = 0
            progress.advance()
            yield row
            if len(seen) == self.size:
                return

    def _exhausted(self, workspace: Workspace, split: str, found: int) -> DataError:
        space = self.space()
        among = "" if space is None else f" among the {space:,} that exist"
        fix = self.more_variety()
        return DataError(
            f"{workspace.step}: found {found:,} different {self.made} of split {split!r}{among}, but size is {self.size:,}. "
            f"{f'Lower size to {found}, or {fix}' if found else fix[0].upper() + fix[1:]}"
        )

    def more_variety(self) -> str:
        """Says what makes more different prompts, for the error that there are too few."""
        return f"widen the settings of {self.use}"


def split_of_name(step: str) -> str:
    """Returns the split of a task set's own name: `round_01/tasks/train` is train.

    Raises:
        DataError: the name is no split.
    """
    parts = step.split("/")
    name = parts[parts.index("tasks") + 1] if "tasks" in parts[:-1] else parts[-1]
    if name not in get_args(Split):
        raise DataError(
            f"{step}: which split are its prompts of? The name {name!r} does not say it. {_SET_SPLIT}"
        )
    return name


def tables(rows: Iterable[Row], columns: Columns) -> Iterator[pa.Table]:
    """Yields rows as Arrow tables; columns that only their source knows are texts."""
    import pyarrow as pa

    known = arrow_schema(tuple(name for name in columns if name in COLUMNS))
    fields: list[Any] = [
        known.field(name) if name in COLUMNS else pa.field(name, pa.string()) for name in columns
    ]
    yield from tables_of(rows, pa.schema(fields))


def counted(tables: Iterable[pa.Table], progress: Progress) -> Iterator[pa.Table]:
    """Yields the tables and counts their rows as progress."""
    for table in tables:
        progress.advance(table.num_rows)
        yield table


def tables_of(rows: Iterable[Row], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yields rows as Arrow tables of bounded size; no rows give one empty table."""
    import pyarrow as pa

    iterator = iter(rows)
    batch = list(islice(iterator, BATCH_ROWS))
    while True:
        yield pa.Table.from_pylist(batch, schema=schema)
        batch = list(islice(iterator, BATCH_ROWS))
        if not batch:
            return
