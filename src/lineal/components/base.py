"""What every component is: frozen identity settings, the columns it needs and adds, and the function that runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import BaseModel, ValidatorFunctionWrapHandler, field_validator
from pydantic.fields import FieldInfo

from lineal.data.ids import file_digest
from lineal.data.workspace import MAIN, Workspace
from lineal.recipe.compute import Strict
from lineal.recipe.references import Accepts, ArtifactKind, Head, SettingReference

ManyReferences = str | list[str]

RowsRef = Annotated[ManyReferences, Accepts(frozenset({ArtifactKind.ROWS, ArtifactKind.METRICS}), many=True)]
"""Rows of one node, or of several put together. An evaluation's rows count too."""
LANGUAGE_MODEL = Accepts(frozenset({ArtifactKind.MODEL}))
REWARD_MODEL = Accepts(frozenset({ArtifactKind.MODEL}), heads=frozenset({Head.REWARD}))
ModelRef = Annotated[str, LANGUAGE_MODEL]
"""A model that writes, and can say how likely a text is."""
RewardRef = Annotated[str, REWARD_MODEL]
"""A model that gives one number for a completion."""
AnyModelRef = Annotated[str, Accepts(frozenset({ArtifactKind.MODEL}), heads=frozenset(Head))]
SAMPLER = Accepts(frozenset({ArtifactKind.MODEL, ArtifactKind.SERVED}))
SamplerRef = Annotated[str, SAMPLER]
"""What completions are drawn from: a checkpoint, or a model that only a server has."""
AnyModelsRef = Annotated[ManyReferences, Accepts(frozenset({ArtifactKind.MODEL}), many=True, heads=frozenset(Head))]
ValuesRef = Annotated[str, Accepts(frozenset({ArtifactKind.SETTINGS, ArtifactKind.METRICS}))]
ManyValuesRef = Annotated[ManyReferences, Accepts(frozenset({ArtifactKind.SETTINGS, ArtifactKind.METRICS}), many=True)]

Columns = tuple[str, ...]
ROWS = "rows"
"""The field of what a component, or a setting inside one, is about."""


class Role(StrEnum):
    """What a component does in a round."""

    SOURCE = "source"
    GENERATOR = "generator"
    VERIFIER = "verifier"
    SELECTOR = "selector"
    TRAINER = "trainer"
    EVALUATOR = "evaluator"
    CONTROLLER = "controller"
    MODEL = "model"


@dataclass(frozen=True)
class Output:
    """One artifact that a component writes.

    Attributes:
        kind: what it holds.
        columns: for rows, their columns.
        adapter_of: for an adapter, the field whose model it sits on; who reads the adapter reads that model too.
        head: what a model gives; None where that shows only when it is loaded.
        head_of: where a model is another one, or one of several, the field of those: it gives what they do, and is an adapter
            where they are.
        values: for settings and metrics, the names of the values; None where they show only when it is made.
    """

    kind: ArtifactKind
    columns: Columns = ()
    adapter_of: str | None = None
    head: Head | None = Head.LANGUAGE
    head_of: str | None = None
    values: Columns | None = None


@dataclass(frozen=True)
class Surroundings:
    """What a component may look at while it is parsed: the project's own files."""

    project: Path
    pipeline_directory: Path


@dataclass(frozen=True)
class Awaited:
    """A file that people or other programs write while a pipeline runs.

    Attributes:
        path: where it will be, relative to the project.
        here: whether it is there, or tracked by DVC.
        fix: what to do to get it, as a sentence.
    """

    path: str
    here: bool
    fix: str


class Component(Strict):
    """Base of all components. A subclass is one node's `use:` and its identity settings.

    Class attributes:
        role: what it does.
        version: raised whenever the same settings would give other bytes.
        loads_model: whether it needs torch (runs in a process of its own that has the imports done).
        kinds: words that Dagster shows beside the asset.
        rereads: settings that say how the step's saved work is read, not what it is: work saved under other values stays good.
        seeded: whether the run's seed decides bytes. Task sets and given models are the same for all seeds of a pipeline.
        headline: the figure that stands for an evaluator in plots, reports and checks; every evaluator names one.
        higher_is_better: whether the headline's fall is bad news; else its rise is.
    """

    role: ClassVar[Role]
    version: ClassVar[int] = 1
    loads_model: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ()
    rereads: ClassVar[frozenset[str]] = frozenset()
    seeded: ClassVar[bool] = True

    use: str

    @property
    def headline(self) -> str:
        """The figure that stands for an evaluator."""
        return ""

    @property
    def higher_is_better(self) -> bool:
        """Whether the headline's fall is bad news; else its rise is."""
        return True

    @field_validator("*", mode="wrap")
    @classmethod
    def _let_setting_references_pass(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        return value if isinstance(value, SettingReference) else handler(value)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component from a node's settings.

        Raises:
            pydantic.ValidationError: the settings don't fit.
            DeclarationError: a file that they name doesn't fit.
        """
        return cls.model_validate(dict(settings))

    def resolved(self, values: Mapping[str, Any]) -> Self:
        """The same component with the values that settings take from controllers filled in.

        Raises:
            pydantic.ValidationError: a value doesn't fit its setting.
        """
        checked = type(self).model_validate({**dict(self), **values})
        return self.model_copy(update={name: getattr(checked, name) for name in values})

    def embedded(self) -> Mapping[str, Component]:
        """By the place in this one's settings (`verifier`, `rewards.right`), the components inside it. They read its rows."""
        return {}

    def require_name(self, name: str) -> None:
        """Refuses the name of a node that must say what a setting leaves open.

        Raises:
            ValueError: it does not say it; names the setting.
        """

    def placed(self, round_number: int | None, seed: int) -> Self:
        """The component in a round, or outside the rounds (None), for settings that name the round or the seed.

        Raises:
            ValueError: a setting names the round where there is none, or must name it.
        """
        return self

    def awaited(self, key: str) -> Awaited | None:
        """The file that the step with this key waits for, where it may arrive after the run began; None for most."""
        return None

    def lacks(self) -> list[str]:
        """What is not here and the step will need, each with what to do: a package of an extra, a file that it names."""
        return []

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """By input field: the references as written, and what the field accepts.

        One inside a setting goes by its place, `rewards.right.scorer`; the `rows` of a setting by the setting's own.
        """
        found = {field: (texts, accepts) for field, _, texts, accepts in _written_in(self)}
        for place, component in self.embedded().items():
            found |= {f"{place}.{name}": entry for name, entry in component.references().items() if name != ROWS}
        return found

    def identity(self) -> dict[str, Any]:
        """The settings that decide the bytes; inputs enter by their digests instead."""
        return self.model_dump(mode="json", exclude=_excluded(self))

    def code_package(self) -> str:
        """The installed package, and its version, whose code decides rows beside the component's own: `pins 1.2`."""
        return ""

    def probed(self) -> dict[str, Columns]:
        """By output, columns of scores that stand beside `score` in its rows by `optimizer_step`, and rewarded nothing."""
        return {}

    def files(self) -> dict[str, Path]:
        """Project files that the component reads, by the name that the manifest gives them."""
        return {name: path for component in self.embedded().values() for name, path in component.files().items()}

    def file_identity(self, path: Path) -> str:
        """The digest that one of these files enters the identity with: that of its bytes, unless some decide nothing."""
        return file_digest(path)

    def summary(self) -> str:
        """What it does, in a paragraph."""
        return textwrap.dedent(type(self).__doc__ or "").strip().split("\n\n")[0]

    def empty_means(self) -> str:
        """What it means when rows came in and none came out; empty where that is an error."""
        return ""

    def needs(self) -> dict[str, Columns]:
        """By input field: columns that must be there."""
        return {
            f"{place}.{field}": columns
            for place, component in self.embedded().items()
            for field, columns in component.needs().items()
            if field != ROWS
        }

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """The artifacts it writes, given each input's columns; the main output's name is ''."""
        raise NotImplementedError

    def run(self, step: Workspace) -> None:
        """Does the step's work: reads `step`'s inputs, writes its outputs."""
        raise NotImplementedError


def _written_in(settings: BaseModel, place: Columns = ()) -> Iterator[tuple[str, Columns, list[str], Accepts]]:
    """The references in some settings and in settings inside them: input field, key, texts, and what the field accepts."""
    for name, info in type(settings).model_fields.items():
        accepts, value = _accepts(info), getattr(settings, name)
        if accepts is not None and value is not None:
            field = place if place and name == ROWS else (*place, name)
            yield ".".join(map(str, field)), (*place, name), value if isinstance(value, list) else [value], accepts
        elif isinstance(value, BaseModel):
            yield from _written_in(value, (*place, name))


def _excluded(component: Component) -> dict[str, Any]:
    """What of a component's settings is no identity, as pydantic wants to be told."""
    excluded: dict[str, Any] = dict.fromkeys((*component.references(), "use"), True)
    for _, key, _, _ in _written_in(component):
        inside = excluded
        for part in key[:-1]:
            inside[part] = inside[part] if isinstance(inside.get(part), dict) else {}
            inside = inside[part]
        inside[key[-1]] = True
    return excluded


def _accepts(info: FieldInfo) -> Accepts | None:
    """What a reference field accepts, also where it may be left out (`ModelRef | None`)."""
    arms = (arm for arm in get_args(info.annotation) if get_origin(arm) is Annotated)
    marks = [*info.metadata, *(mark for arm in arms for mark in arm.__metadata__)]
    return next((mark for mark in marks if isinstance(mark, Accepts)), None)


def missing_package(module: str, package: str, extra: str) -> list[str]:
    """A sentence for `lacks` where a module that an extra brings is not installed; empty where it is."""
    if find_spec(module) is not None:
        return []
    return [f"needs the package {package}, which is not installed. Run: pip install 'lineal[{extra}]'"]


def merged(*columns: Columns) -> Columns:
    """Column names put together, each once, in order."""
    return tuple(dict.fromkeys(name for group in columns for name in group))


__all__ = [
    "MAIN", "Awaited", "Columns", "Component", "ModelRef", "Output", "Role", "RowsRef", "SamplerRef", "Surroundings",
    "ValuesRef", "Workspace", "merged", "missing_package",
]  # fmt: skip
