"""The pictures that a data set's values hold or name: bytes, `datasets`' `struct<bytes, path>`, or files of one directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lineal.data.ids import digest_of, file_digest
from lineal.data.pictures import Picture, checked_picture
from lineal.data.tracked import tracked
from lineal.errors import DataError, MissingFile, did_you_mean

_ADDRESS = re.compile(r"^(?:[a-z][a-z0-9+.-]*:)?//|^data:", re.IGNORECASE)
_NAME_IT = "Name the directory that the paths start from: pictures: data/pictures"


class PictureFiles:
    """Reads pictures from values.

    Args:
        directory: where paths start from; None where values may hold no path.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def read(self, where: str, value: Any) -> list[Picture]:
        """Returns the pictures of one row, in order.

        Args:
            where: the row and column, for messages.
            value: one picture, or a list of them.

        Raises:
            DataError: a value is no picture, or one that is refused.
        """
        values = value if isinstance(value, list) else [value]
        places = (
            [where]
            if len(values) == 1
            else [f"{where}, picture {number}" for number in range(1, len(values) + 1)]
        )
        return [self._checked(place, one) for place, one in zip(places, values, strict=True)]

    def _checked(self, where: str, value: Any) -> Picture:
        named = f"{where} ({value})" if isinstance(value, str) else where
        return checked_picture(named, self._bytes(where, value))

    def _bytes(self, where: str, value: Any) -> bytes:
        if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            return value
        if isinstance(value, str) and value:
            return self._file(where, value)
        expected = "expected a path, bytes, or both as {bytes, path}"
        raise DataError(
            f"{where} holds {ascii(value)[:80]}, {expected}. Correct it, or allow rows without: optional: [images]"
        )

    def _file(self, where: str, name: str) -> bytes:
        if _ADDRESS.match(name):
            raise DataError(
                f"{where} is the address {name!r}, expected a file: what is there may change. Download it first"
            )
        if self._directory is None:
            raise DataError(f"{where} names the file {name!r}, but not where it is. {_NAME_IT}")
        path = Path(os.path.normpath(self._directory / name))
        if not path.is_relative_to(self._directory):
            raise DataError(
                f"{where}: {name!r} leads out of {self._directory.name}/. Put the picture inside it"
            )
        try:
            return path.read_bytes()
        except OSError as error:
            near = (
                did_you_mean(path.name, [one.name for one in path.parent.iterdir()])
                if path.parent.is_dir()
                else ""
            )
            raise DataError(f"{where}: {name!r} cannot be read: {error.strerror}. {near}".rstrip()) from error


def directory_inside(project: Path, name: str) -> Path:
    """Returns a directory of pictures, which must be inside the project.

    Raises:
        ValueError: it is outside, or is no directory.
        MissingFile: it is not there.
    """
    root = os.path.normpath(project.absolute())
    full = Path(os.path.normpath(os.path.join(root, name)))  # noqa: PTH118 - lexical: a link into DVC's cache is fine
    if Path(name).is_absolute() or not full.is_relative_to(root) or full == Path(root):
        raise ValueError(
            f"pictures {name!r} is not a directory inside the project; put the pictures there (dvc add keeps them out of git)"
        )
    if full.exists() and not full.is_dir():
        raise ValueError(f"pictures {name!r} is a file; name the directory that the paths start from")
    if not full.exists() and not tracked(project, full):
        raise MissingFile(f"pictures {name!r}: no such directory in the project")
    return full


def digest_of_directory(directory: Path) -> str:
    """Returns the digest of a directory's files: their names and bytes; hidden ones decide nothing."""
    return digest_of([[name, file_digest(path)] for name, path in _files(directory)])


def _files(directory: Path) -> Iterator[tuple[str, Path]]:
    for folder, inner, names in os.walk(directory, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder) / name
            yield path.relative_to(directory).as_posix(), path
