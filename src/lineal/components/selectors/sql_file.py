"""A component that is fully described by an SQL file with a typed header: its settings, inputs, and needed columns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pydantic
from pydantic_core import InitErrorDetails, PydanticCustomError

import lineal
from lineal.components.base import Columns, Component, RowsRef, Surroundings
from lineal.components.selectors.canonical import selector_digest
from lineal.components.selectors.header import Selector, read_selector
from lineal.errors import did_you_mean
from lineal.recipe.references import Accepts, SettingReference


class SqlFile(Component):
    """Runs an SQL file over rows; see docs/selectors.md for the format of such a file.

    Class attributes:
        folder: where such files lie beside the pipelines.
        what: the word for such a file.

    Attributes:
        rows: what it reads.
        sql: the file's name, without `.sql`.

    The file's own settings and further inputs stand beside these.
    """

    folder: ClassVar[str]
    what: ClassVar[str]

    model_config = pydantic.ConfigDict(extra="allow")
    kinds: ClassVar[tuple[str, ...]] = ("sql",)

    rows: RowsRef
    sql: str
    _selector: Selector = pydantic.PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component, its settings checked against the file's header.

        Raises:
            pydantic.ValidationError: a setting is unknown, missing or of the wrong type.
            DeclarationError: the file's header is wrong.
            ValueError: there is no such file.
        """
        component = cls.model_validate(dict(settings))
        component._selector = find_sql(cls, component.sql, surroundings)
        component._check_settings()
        return component

    def resolved(self, values: Mapping[str, Any]) -> Self:
        """Returns the same selection with controllers' values filled in.

        Raises:
            pydantic.ValidationError: a value doesn't fit its setting.
        """
        component = self.model_copy(update=dict(values))
        component._check_settings()
        return component

    @property
    def _extra(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def _check_settings(self) -> None:
        selector, settings = self._selector, self._extra
        known = [*selector.parameters, *selector.inputs]
        problems = {}
        for name in settings.keys() - set(known):
            problems[name] = (
                f"{self.what} {selector.name!r} has no setting {name!r}. {did_you_mean(name, known)}"
            )
        for name, parameter in selector.parameters.items():
            value = settings.get(name, parameter.default)
            if name not in settings and parameter.required:
                problems[name] = (
                    f"{self.what} {selector.name!r} needs this setting ({parameter.text or parameter.type})"
                )
            elif not isinstance(value, SettingReference) and parameter.problem(value):
                problems[name] = f"{parameter.problem(value)}"
        for name in selector.inputs:
            if not _is_reference(settings.get(name)):
                text = f" ({selector.texts[name]})" if name in selector.texts else ""
                problems[name] = (
                    f"{self.what} {selector.name!r} needs rows here{text}: a node's name, or a list of names"
                )
        if problems:
            raise _validation_error({name: problems[name] for name in sorted(problems)}, settings)

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """Returns `rows`, and the further inputs of the file's header."""
        found = super().references()
        for name in self._selector.inputs:
            value = self._extra[name]
            found[name] = (value if isinstance(value, list) else [value], found["rows"][1])
        return found

    def identity(self) -> dict[str, Any]:
        """Returns the file's name and its settings, defaults filled in; its query enters by its digest."""
        return {"sql": self.sql, **self._selector.arguments(self._extra)}

    def files(self) -> dict[str, Path]:
        """Returns the SQL file."""
        return {f"{self.folder}/{self.sql}.sql": self._selector.path}

    def file_identity(self, path: Path) -> str:
        """Returns the digest of the query's canonical form: comments, blank lines and the summary decide no row."""
        return selector_digest(self._selector)

    def summary(self) -> str:
        """Returns the summary in the file's header."""
        return self._selector.summary

    def needs(self) -> dict[str, Columns]:
        """Returns the needed columns in the file's header."""
        return {"rows": self._selector.needs, **self._selector.inputs}


def find_sql(kind: type[SqlFile], name: str, surroundings: Surroundings) -> Selector:
    """Finds the file beside the project's pipelines, else the packaged one.

    Raises:
        ValueError: there is none of this name.
        DeclarationError: its header is wrong.
    """
    if name.isidentifier():
        for directory in _directories(kind, surroundings):
            path = directory / f"{name}.sql"
            if path.is_file():
                return read_selector(name, path, f"pipelines/{kind.folder}/{name}.sql")
    near = did_you_mean(name, sql_names(kind, surroundings))
    message = f"no {kind.what} file pipelines/{kind.folder}/{name}.sql. {near}"
    raise _validation_error({"sql": message}, {"sql": name})


def sql_names(kind: type[SqlFile], surroundings: Surroundings) -> set[str]:
    """Returns the names of the files beside the project's pipelines, and of the packaged ones."""
    paths = (path for directory in _directories(kind, surroundings) for path in directory.glob("*.sql"))
    return {path.stem for path in paths if path.stem.isidentifier()}


def _directories(kind: type[SqlFile], surroundings: Surroundings) -> tuple[Path, Path]:
    packaged = Path(lineal.__file__).parent / "_project" / "pipelines" / kind.folder
    return surroundings.pipeline_directory / kind.folder, packaged


def _is_reference(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    )


def _validation_error(problems: Mapping[str, str], settings: Mapping[str, Any]) -> pydantic.ValidationError:
    details = []
    for name, text in problems.items():
        problem = PydanticCustomError("selector", "{problem}", {"problem": text})
        details.append(InitErrorDetails(type=problem, loc=(name,), input=settings.get(name)))
    return pydantic.ValidationError.from_exception_data("select", details)
