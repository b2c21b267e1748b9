"""A text with `{column}`s that a row fills in, by replacement: a row's values are never read as a template themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lineal
from lineal.components.base import Columns, Surroundings
from lineal.data.schema import row_key
from lineal.errors import DataError, DeclarationError, did_you_mean

TEMPLATES = "templates"
PACKAGED = Path(lineal.__file__).parent / "_project" / "pipelines"
_PLACE = re.compile(r"\{([a-z][a-z0-9_]*)\}")


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Attributes:
        text: with a `{column}` wherever a row's value goes; other braces stand for themselves.
        path: the file that it was read from, if it was.
    """

    text: str
    path: Path | None = None

    @property
    def columns(self) -> Columns:
        """The columns that it fills in, each once."""
        return tuple(dict.fromkeys(_PLACE.findall(self.text)))

    def render(self, row: Mapping[str, Any]) -> str:
        """Renders the text for one row.

        Raises:
            DataError: the row has no value in one of the columns.
        """

        def value(place: re.Match[str]) -> str:
            if row[place[1]] is None:
                which = row.get(row_key(list(row)))
                raise DataError(
                    f"row {which} has no {place[1]!r} to put into the template. Leave such rows out with a selector"
                )
            return str(row[place[1]])

        return _PLACE.sub(value, self.text)


def read_template(written: str, surroundings: Surroundings) -> Template:
    """Reads the template that a setting holds or names.

    A text without any `{column}` would be the same for every row, so it is the name of a file beside the pipelines
    (or packaged): `additive_5` is `pipelines/templates/additive_5.txt`. The file's last line break does not count.

    Raises:
        ValueError: there is no such file.
        DeclarationError: the file cannot be read, or fills in no column.
    """
    if _PLACE.search(written):
        return Template(written)
    directories = (surroundings.pipeline_directory / TEMPLATES, PACKAGED / TEMPLATES)
    found = [path for directory in directories if (path := directory / f"{written}.txt").is_file()]
    shown = f"pipelines/{TEMPLATES}/{written}.txt"
    if not written.isidentifier() or not found:
        known = [path.stem for directory in directories for path in directory.glob("*.txt")]
        message = (
            f"template {written!r} has no {{column}} in it, and is no file in pipelines/{TEMPLATES}/ either"
        )
        raise ValueError(
            f"{message}. Write a text such as '{{prompt}}{{completion}}'. {did_you_mean(written, known)}"
        )
    try:
        text = found[0].read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{shown}: cannot be read as text: {error}") from error
    if not _PLACE.search(text):
        raise DeclarationError(
            f"{shown}: no {{column}} in it, so it would be the same for every row; write {{prompt}}, for one"
        )
    return Template(text, found[0])


def template_files(template: Template | None) -> dict[str, Path]:
    """Returns the file that a template was read from, by its name in a manifest."""
    path = None if template is None else template.path
    return {} if path is None else {f"{TEMPLATES}/{path.name}": path}
