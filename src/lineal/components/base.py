"""The base of all components: frozen identity settings, the columns it needs and adds, and the function that runs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

from pydantic import BaseModel, ValidationError, ValidatorFunctionWrapHandler, field_validator
from pydantic.fields import FieldInfo

from lineal.data.ids import file_digest
from lineal.data.workspace import MAIN, Workspace
from lineal.recipe.compute import Strict
from lineal.recipe.document import expectation_of
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
"""A model that completions are drawn from: a checkpoint, or a model that only a server has."""
AnyModelsRef = Annotated[
    ManyReferences, Accepts(frozenset({ArtifactKind.MODEL}), many=True, heads=frozenset(Head))
]
ValuesRef = Annotated[str, Accepts(frozenset({ArtifactKind.SETTINGS, ArtifactKind.METRICS}))]
ManyValuesRef = Annotated[
    ManyReferences, Accepts(frozenset({ArtifactKind.SETTINGS, ArtifactKind.METRICS}), many=True)
]

Columns = tuple[str, ...]
REFERENCES = frozenset({"answer", "tests", "entry"})
"""Columns that say what is right; no model is shown them but by a template."""
ROWS = "rows"
"""The field of what a component, or a setting inside one, is about."""


class Role(StrEnum):
    """The part that a component plays in a round."""

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
        head: the output of a model; None where it is known only after loading.
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
    """The project's own files, which a component may read while it is parsed."""

    project: Path
    pipeline_directory: Path


@dataclass(frozen=True)
class Awaited:
    """A file that people or other programs write while a pipeline runs.

    Attributes:
        path: where it will be, relative to the project.
        here: whether it is there, or tracked by DVC.
        fix: how to get it, as a sentence.
    """

    path: str
    here: bool
    fix: str


def misfit(error: ValidationError, values: Mapping[str, Any]) -> tuple[str, str]:
    """Returns which of some values does not fit its setting, by the setting's name, and why."""
    problem = error.errors()[0]
    setting = next((str(part) for part in problem["loc"] if str(part) in values), next(iter(values)))
    return setting, expectation_of(problem)


class Component(Strict):
    """Base of all components. A subclass is one node's `use:` and its identity settings.

    Class attributes:
        role: what it does.
        version: raised whenever the same settings would give other bytes.
        loads_model: whether it needs torch (runs in a process of its own that has the imports done).
        kinds: words that Dagster shows beside the asset.
        rereads: settings that say how the step's saved work is read, not what it is: work saved under other values stays valid.
        seeded: whether the run's seed decides bytes. Task sets and given models are the same for all seeds of a pipeline.
        sees: input fields whose rows' pictures its model is shown; the plan adds the artifacts that hold them.
        told_apart: input fields whose rows are told apart by one column: all their artifacts have a `sample_id`, or none has.
        headline: the figure that stands for an evaluator in plots, reports and checks; every evaluator names one.
        higher_is_better: whether a higher headline is better, or a lower one (False); None: neither.
    """

    role: ClassVar[Role]
    version: ClassVar[int] = 1
    loads_model: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ()
    rereads: ClassVar[frozenset[str]] = frozenset()
    seeded: ClassVar[bool] = True
    sees: ClassVar[Columns] = ()
    told_apart: ClassVar[Columns] = ()

    use: str

    @property
    def headline(self) -> str:
        """The figure that stands for an evaluator."""
        return ""

    @property
    def higher_is_better(self) -> bool | None:
        """True if a higher headline is better, False if a lower one is; None if neither says anything."""
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
        """Returns the same component with the values that settings take from controllers filled in.

        Raises:
            pydantic.ValidationError: a value doesn't fit its setting.
        """
        checked = type(self).model_validate({**dict(self), **values})
        return self.model_copy(update={name: getattr(checked, name) for name in values})

    def embedded(self) -> Mapping[str, Component]:
        """Returns the components inside this one by place in its settings (`verifier`, `rewards.right`). They read its rows."""
        return {}

    def require_name(self, name: str) -> None:
        """Refuses the name of a node that must say what a setting leaves open.

        Raises:
            ValueError: it does not say it; names the setting.
        """

    def placed(self, round_number: int | None, seed: int) -> Self:
        """Returns the component in a round, or outside the rounds (None), for settings that name the round or the seed.

        Raises:
            ValueError: a setting names the round where there is none, or must name it.
        """
        return self

    def awaited(self, key: str) -> Awaited | None:
        """Returns the file that the step with this key waits for, where it may arrive after the run began; None for most."""
        return None

    def foreknown(self, value: str) -> Any:
        """Returns a value that this controller gives, where its own settings say it before it has run; None: they don't."""
        return None

    def hides_pictures(self) -> str | None:
        """Names the setting under which its model cannot be shown the pictures of its rows; None where none does."""
        return None

    def lacks(self) -> list[str]:
        """Lists what the step needs and is not here, each with the fix: a package of an extra, a file that it names."""
        return []

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """Returns by input field the references as written, and what the field accepts.

        One inside a setting goes by its place, `rewards.right.scorer`; the `rows` of a setting by the setting's own.
        """
        found = {field: (texts, accepts) for field, _, texts, accepts in _written_in(self)}
        for place, component in self.embedded().items():
            found |= {
                f"{place}.{name}": entry for name, entry in component.references().items() if name != ROWS
            }
        return found

    def identity(self) -> dict[str, Any]:
        """Returns the settings that decide the bytes; inputs enter by their digests instead."""
        return self.model_dump(mode="json", exclude=_excluded(self))

    def code_package(self) -> str:
        """The installed package, and its version, whose code decides rows beside the component's own: `pins 1.2`."""
        return ""

    def probed(self) -> dict[str, Columns]:
        """Returns by output the columns of scores beside `score` in its rows by `optimizer_step` that rewarded nothing."""
        return {}

    def files(self) -> dict[str, Path]:
        """Returns the project files that the component reads, by their names in the manifest."""
        return {
            name: path for component in self.embedded().values() for name, path in component.files().items()
        }

    def file_identity(self, path: Path) -> str:
        """Returns the digest with which one of these files enters the identity: that of its bytes, unless some decide nothing."""
        return file_digest(path)

    def summary(self) -> str:
        """Describes the component in a paragraph."""
        return textwrap.dedent(type(self).__doc__ or "").strip().split("\n\n")[0]

    def empty_means(self) -> str:
        """Explains an empty output for non-empty input; empty where that is an error."""
        return ""

    def needs(self) -> dict[str, Columns]:
        """Returns by input field the columns that must be there."""
        return {
            f"{place}.{field}": columns
            for place, component in self.embedded().items()
            for field, columns in component.needs().items()
            if field != ROWS
        }

    def told(self) -> dict[str, Columns]:
        """Returns the columns of `needs` that what it makes may tell a model: all but those that become references."""
        return self.needs()

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns the artifacts it writes, given each input's columns; the main output's name is ''."""
        raise NotImplementedError

    def run(self, workspace: Workspace) -> None:
        """Does the step's work: reads `step`'s inputs and writes its outputs."""
        raise NotImplementedError


def _written_in(
    settings: BaseModel, place: Columns = ()
) -> Iterator[tuple[str, Columns, list[str], Accepts]]:
    """Yields the references in some settings and in settings inside them: input field, key, texts, and what the field accepts."""
    for name, info in type(settings).model_fields.items():
        accepts, value = _accepts(info), getattr(settings, name)
        if accepts is not None and value is not None:
            field = place if place and name == ROWS else (*place, name)
            yield (
                ".".join(map(str, field)),
                (*place, name),
                value if isinstance(value, list) else [value],
                accepts,
            )
        elif isinstance(value, BaseModel):
            yield from _written_in(value, (*place, name))


def _excluded(component: Component) -> dict[str, Any]:
    """Returns the settings of a component that are no identity, in pydantic's form."""
    excluded: dict[str, Any] = dict.fromkeys((*component.references(), "use"), True)
    for _, key, _, _ in _written_in(component):
        inside = excluded
        for part in key[:-1]:
            inside[part] = inside[part] if isinstance(inside.get(part), dict) else {}
            inside = inside[part]
        inside[key[-1]] = True
    return excluded


def _accepts(info: FieldInfo) -> Accepts | None:
    """Returns what a reference field accepts, also where it may be left out (`ModelRef | None`)."""
    arms = (arm for arm in get_args(info.annotation) if get_origin(arm) is Annotated)
    marks = [*info.metadata, *(mark for arm in arms for mark in arm.__metadata__)]
    return next((mark for mark in marks if isinstance(mark, Accepts)), None)


def missing_package(module: str, package: str, extra: str) -> list[str]:
    """Writes a sentence for `lacks` where a module that an extra brings is not installed; empty where it is."""
    if find_spec(module) is not None:
        return []
    return [f"needs the package {package}, which is not installed. Run: pip install 'lineal[{extra}]'"]


def merged(*columns: Columns) -> Columns:
    """Merges column names, each once, in order."""
    return tuple(dict.fromkeys(name for group in columns for name in group))


__all__ = [
    "MAIN",
    "Awaited",
    "Columns",
    "Component",
    "ModelRef",
    "Output",
    "Role",
    "RowsRef",
    "SamplerRef",
    "Surroundings",
    "ValuesRef",
    "Workspace",
    "merged",
    "missing_package",
]
