"""The common part of sources that draw a picture for every prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from lineal.components.base import Columns, Output, Workspace
from lineal.components.sources.base import PROMPT_COLUMNS, Row, SyntheticSource
from lineal.data.ids import row_id
from lineal.data.media import IMAGES, MEDIA, PACK
from lineal.data.pictures import Picture
from lineal.recipe.references import ArtifactKind

PICTURES = "pictures"
"""The pictures of a row on their way into the packs; no column."""
PACKS = Output(ArtifactKind.MEDIA, tuple(PACK))
"""The output in which a source keeps its pictures."""


class PicturedSource(SyntheticSource):
    """Prompts about pictures that the source draws.

    Two prompts about one picture are of one split, so that no test picture is trained on.
    """

    columns: ClassVar[Columns] = (*PROMPT_COLUMNS, IMAGES)

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the prompts, and the pictures."""
        return {**super().outputs(inputs), MEDIA: PACKS}

    def write(self, workspace: Workspace, rows: Iterable[Row]) -> None:
        """Writes the prompts, and beside them their pictures."""
        with workspace.packs() as packs:
            super().write(workspace, packed(packs, rows))

    def split_id(self, row: Row) -> str:
        return row_id(self.use, *row[IMAGES])

    def asked(self, picture: Picture, prompt: str, answer: str, difficulty: float) -> Row:
        """Returns the row of a prompt about a picture."""
        return {
            "prompt_id": row_id(self.use, picture.sha256, prompt, answer),
            "prompt": prompt,
            "answer": answer,
            "difficulty": difficulty,
            "task": self.use,
            IMAGES: [picture.sha256],
            PICTURES: [picture],
        }


def named_once(value: list[Any], one: str, several: str) -> list[Any]:
    """Refuses a list of what is drawn evenly that names something twice.

    Raises:
        ValueError: it does; says `one` and `several` for what it names.
    """
    if len(set(value)) < len(value):
        raise ValueError(f"names {one} twice; {several} are drawn evenly, so name each once")
    return value


def packed(packs: Any, rows: Iterable[Row]) -> Iterable[Row]:
    """Yields the rows without their pictures, which go into the packs."""
    for row in rows:
        packs.add(row.get(PICTURES) or ())
        yield {name: value for name, value in row.items() if name != PICTURES}
