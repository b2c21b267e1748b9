"""Descriptions of components and their settings, read from their classes: `lineal components` and docs/components.md."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lineal.components.base import ROWS, Columns, Component, Role, Surroundings
from lineal.components.registry import Registry
from lineal.errors import LinealError
from lineal.recipe.document import parse_document
from lineal.recipe.references import Accepts, ArtifactKind, SettingReference, parse_reference

REQUIRED = "required"
FURTHER_ROWS = "references to rows"
"""The value of an SQL file's inputs."""
ROLES = {
    Role.SOURCE: "Sources",
    Role.MODEL: "Models that exist",
    Role.GENERATOR: "Generators",
    Role.VERIFIER: "Verifiers",
    Role.SELECTOR: "Selection",
    Role.TRAINER: "Trainers",
    Role.EVALUATOR: "Evaluators",
    Role.CONTROLLER: "Controllers",
}
_ATTRIBUTES = re.compile(r"^Attributes:\n(.*?)(?:\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
_AS_FOR = re.compile(r"as for `(\w+)`")
_BOUNDS = {
    annotated_types.Ge: ("ge", "at least"),
    annotated_types.Gt: ("gt", "above"),
    annotated_types.Le: ("le", "at most"),
    annotated_types.Lt: ("lt", "below"),
}
Marks = list[Any] | tuple[Any, ...]
"""What stands beside a type in `Annotated`."""
_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Setting:
    """One key of a node.

    Attributes:
        name: the key; one inside a mapping goes by its place, `lora.rank`.
        value: the accepted values, in words.
        default: as YAML writes it; 'required' where there is none, 'unset' where there is no value.
        meaning: the class's description of it.
    """

    name: str
    value: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Description:
    """A component, as its page shows it.

    Attributes:
        name: its name in `use:`.
        role: its part in a round.
        summary: its class's docstring without the settings, by paragraph.
        settings: those without a default first.
        example: one correct node; empty where none is known.
        needs: by input, the columns that the example needs.
        adds: the columns that the example adds to its rows.
        kind: 'selector', 'measure' or 'policy' of a file; empty for a component.
    """

    name: str
    role: Role
    summary: tuple[str, ...]
    settings: tuple[Setting, ...]
    example: str
    needs: Mapping[str, Columns]
    adds: Columns
    kind: str = ""

    @property
    def in_short(self) -> str:
        """The first sentence."""
        return self.summary[0].partition(". ")[0].rstrip(".")


def describe(name: str, registry: Registry, surroundings: Surroundings) -> Description:
    """Describes a component.

    Args:
        name: its name in `use:`.
        registry: where components are looked up.
        surroundings: where the example's files are looked for.

    Raises:
        KeyError: there is no such component; the message suggests one.
    """
    cls, example = registry.find(name), examples().get(name, "")
    settings = tuple(_with_meaning_of_another(one, registry) for one in _settings(cls, meanings_of(cls)))
    needs, adds = _columns(cls, example, surroundings)
    return Description(name, cls.role, paragraphs_of(cls), settings, example, needs, adds)


def examples() -> dict[str, str]:
    """Returns one correct node of every shipped component, as a line of YAML, by its name in `use:`."""
    lines = files("lineal.components").joinpath("examples.yaml").read_text(encoding="utf-8").splitlines()
    found = {re.search(r"use: (\w+)", line): line for line in lines if not line.startswith("#")}
    return {use[1]: line for use, line in found.items() if use is not None}


# -- docstrings ---------------------------------------------------------------------------------------------------------


def paragraphs_of(cls: type) -> tuple[str, ...]:
    """Returns the paragraphs of a class's docstring, without the settings; a list keeps its lines."""
    told = re.split(r"\n\s*\n", inspect.cleandoc(cls.__doc__ or ""))
    return tuple(
        text if "\n- " in f"\n{text}" else " ".join(text.split())
        for text in told
        if not text.startswith("Attributes:")
    )


def meanings_of(cls: type) -> dict[str, str]:
    """Returns the meaning of each setting from the class, or from the nearest base that says more than a reference."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for name, text in _attributes(base):
            if name not in found or not re.match(r"see `|as for (every|all)\b", text):
                found[name] = text
    return found


def _attributes(cls: type) -> Iterator[tuple[str, str]]:
    """Yields names and texts of the section 'Attributes' of a class's own docstring."""
    section = _ATTRIBUTES.search(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))
    entries = re.split(r"^ {4}(?=\S)", section[1], flags=re.MULTILINE) if section else []
    for entry in entries:
        names, colon, text = entry.partition(": ")
        if colon:
            yield from ((name.strip(), " ".join(text.split())) for name in names.split(","))


def _with_meaning_of_another(setting: Setting, registry: Registry) -> Setting:
    """Fills in the meaning of a setting that refers to another setting's."""
    other = _AS_FOR.match(setting.meaning)
    if other is None:
        return setting
    meaning = meanings_of(registry.find(other[1])).get(setting.name, "")
    rest = setting.meaning[other.end() :].lstrip(".; ")
    return Setting(
        setting.name, setting.value, setting.default, f"{meaning} {rest[:1].upper()}{rest[1:]}".strip()
    )


# -- settings -----------------------------------------------------------------------------------------------------------


def _settings(model: type[BaseModel], meanings: Mapping[str, str], place: str = "") -> Iterator[Setting]:
    """Yields a model's settings, and below each those of a mapping that it takes."""
    for field, info in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        name = info.alias or field
        if name == "use":
            continue
        yield Setting(
            f"{place}{name}",
            _in_words(info.annotation, info.metadata),
            _default(info),
            meanings.get(name, ""),
        )
        for inner in _models_in(info.annotation):
            yield from _settings(inner, meanings_of(inner), f"{place}{name}.")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return REQUIRED
    return default_text(info.get_default(call_default_factory=True, validated_data={}))


def default_text(value: Any) -> str:
    """Writes a default as YAML has it; 'unset' where it is no value."""
    if value is None:
        return "unset"
    return (
        value
        if isinstance(value, str) and value.isprintable() and value and value == value.strip()
        else json.dumps(value, ensure_ascii=False)
    )


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yields the mappings that a setting takes, in the order of its arms."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for arm in () if get_origin(annotation) is Literal else get_args(annotation):
        yield from _models_in(arm)


def _in_words(annotation: Any, marks: Marks = ()) -> str:
    """Describes the accepted values of a setting."""
    accepts = next((mark for mark in marks if isinstance(mark, Accepts)), None)
    if accepts is not None:
        return _reference_in_words(accepts)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "mapping"
    if get_origin(annotation) is not None:
        return _composed_in_words(get_origin(annotation), get_args(annotation), marks)
    return ", ".join([_PLAIN.get(annotation, "any value"), *_bounds(marks)])


def _composed_in_words(origin: Any, arms: tuple[Any, ...], marks: Marks) -> str:
    if origin is Annotated:
        return _in_words(arms[0], (*arms[1:], *marks))
    if origin is Literal:
        return ", ".join(map(str, arms))
    if origin is dict:
        return f"mapping of names to: {_in_words(arms[1])}"
    if origin in (list, tuple):
        return f"list of: {_in_words(arms[0])}"
    return " or ".join(dict.fromkeys(_in_words(arm, marks) for arm in arms if arm is not NoneType))


def _bounds(marks: Marks) -> Iterator[str]:
    for mark in marks:
        if type(mark) in _BOUNDS:
            attribute, words = _BOUNDS[type(mark)]
            yield f"{words} {getattr(mark, attribute):g}"
        elif isinstance(mark, annotated_types.MinLen) and mark.min_length == 1:
            yield "not empty"


def _reference_in_words(accepts: Accepts) -> str:
    heads = sorted(head.value for head in accepts.heads) if ArtifactKind.MODEL in accepts.kinds else []
    other = (
        accepts.kinds
        - {ArtifactKind.MODEL}
        - ({ArtifactKind.METRICS} if ArtifactKind.ROWS in accepts.kinds else set())
    )
    kinds = sorted("served model" if kind is ArtifactKind.SERVED else kind.value for kind in other)
    return f"reference{'s' if accepts.many else ''} to {' or '.join([*heads, *kinds])}"


# -- columns ------------------------------------------------------------------------------------------------------------


def _columns(
    cls: type[Component], example: str, surroundings: Surroundings
) -> tuple[Mapping[str, Columns], Columns]:
    """Returns the columns that an example needs, by input, and those that it adds; none where only a user's file says.

    A package's component has no example; a verifier's class names its columns.
    """
    if not example:
        reads, added = getattr(cls, "reads", ()), getattr(cls, "added", ())
        return ({ROWS: reads} if isinstance(reads, tuple) and reads else {}), tuple(added)
    try:
        component = cls.parse(_node(example), surroundings)
        needs = component.needs()
        given = {field: needs.get(field, ()) for field in component.references()}
        made = component.outputs(given)[""].columns
    except (LinealError, ValueError):
        return {}, ()
    there = {column for columns in needs.values() for column in columns}
    return {field: columns for field, columns in needs.items() if columns}, tuple(
        name for name in made if name not in there
    )


def _node(example: str) -> dict[str, Any]:
    """Returns the example's settings; values of other nodes become references, as the plan has them."""
    (node,) = parse_document(example, "examples.yaml").value.values()
    references = {key: parse_reference(value) for key, value in node.items() if isinstance(value, str)}
    return {
        **node,
        **{
            key: SettingReference(found)
            for key, found in references.items()
            if found is not None and found.part
        },
    }
