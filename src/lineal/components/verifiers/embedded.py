"""Verifiers inside other components: an evaluator has its draws judged, an online trainer has its samples rewarded.

Any verifier that can judge a table of rows can stand there. It reads the rows that are judged; further inputs, such as the
checkpoint that judges, are references in its settings, and the plan knows them by their place: `rewards.right.scorer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from lineal.components.base import ROWS, Columns, Component, Surroundings, Workspace
from lineal.components.registry import Registry
from lineal.components.verifiers.base import ERROR, AddsColumns, Verifier
from lineal.data.store import Artifact
from lineal.errors import CheckFailure, did_you_mean
from lineal.recipe.document import words_of
from lineal.recipe.references import SELF, Head

if TYPE_CHECKING:
    import pyarrow as pa


NAME = "name"


def embedded_verifier(
    declared: str | Mapping[str, Any],
    setting: str,
    surroundings: Surroundings,
    name: str = "",
    adds: Columns = ("score",),
    beside: Columns = (),
) -> AddsColumns:
    """Makes the verifier that a component's setting names.

    Args:
        declared: a verifier's name, or its settings with `use:`.
        setting: the setting's own name, for messages.
        surroundings: the project's files.
        name: put before the names of the columns that the verifier adds.
        adds: columns that it must add.
        beside: what may stand among its settings and is not its own, for messages.

    Raises:
        ValueError: it is unknown, cannot judge inside another component, or adds other columns.
        pydantic.ValidationError: its settings don't fit.
    """
    settings = {"use": declared} if isinstance(declared, str) else dict(declared)
    found = class_inside(settings, setting, "a verifier such as 'exact_match'")
    if not issubclass(found, AddsColumns) or not found.judges_tables():
        fix = "Take one that judges given rows, such as 'exact_match', or give it a node of its own"
        raise ValueError(f"{setting}: {settings['use']!r} does not judge inside another component. {fix}")
    if ROWS in settings:
        raise ValueError(f"{setting}.{ROWS}: the rows are what is judged here; leave it out")
    if NAME in settings:
        raise ValueError(
            f"{setting}.{NAME}: the columns that it adds have their names from here already; leave it out"
        )
    with placed(setting, found, beside):
        made = found.parse(
            {**settings, ROWS: "completions", **({"name": name} if name else {})}, surroundings
        )
    missing = [column for column in adds if column not in made.added]
    if missing:
        raise ValueError(
            f"{setting}: {made.use!r} gives no {' and no '.join(missing)}. Take one that does, such as 'exact_match'"
        )
    return made


def class_inside(settings: Mapping[str, Any], setting: str, example: str) -> type[Component]:
    """Returns the class of the component that a setting declares.

    Raises:
        ValueError: the setting has no `use`, or an unknown one.
    """
    if "use" not in settings:
        raise ValueError(f"{setting}: has no use; write use: and {example}")
    try:
        return Registry().find(str(settings["use"]))
    except KeyError as error:
        raise ValueError(f"{setting}: {error.args[0]}") from None


@contextmanager
def placed(setting: str, model: type[Component], beside: Columns = ()) -> Iterator[None]:
    """Makes problems of an embedded component's settings name their place in the settings around it."""
    try:
        yield
    except ValidationError as error:
        found = [
            _moved(setting, (*model.model_fields, *beside), problem)
            for problem in sorted(error.errors(), key=_is_missing)
        ]
        raise ValidationError.from_exception_data(setting, found) from error


def _is_missing(problem: Any) -> bool:
    """Tells whether a problem is a missing setting; a misspelt one says more, so it comes first."""
    return bool(problem["type"] == "missing")


def _moved(setting: str, known: Columns, problem: Any) -> InitErrorDetails:
    """Returns a problem with its place in the settings around it, in self-contained words."""
    key = str(problem["loc"][-1]) if problem["loc"] else ""
    text = words_of(problem)
    if problem["type"] == "extra_forbidden":
        text = f"unknown key {key!r}. {did_you_mean(key, known)}"
    elif problem["type"] == "missing":
        text = "is missing"
    words = PydanticCustomError("embedded", "{text}", {"text": text})
    return InitErrorDetails(type=words, loc=(*setting.split("."), *problem["loc"]), input=problem["input"])


@contextmanager
def ready(
    judge: AddsColumns,
    workspace: Workspace,
    place: str,
    live: Mapping[str, tuple[Artifact, Any]] | None = None,
) -> Iterator[None]:
    """Opens what an embedded verifier needs to judge; it sees the inputs under its place as its own.

    Args:
        judge: the verifier.
        workspace: the running step.
        place: where the verifier stands in its settings.
        live: see `Workspace.inside`.
    """
    with workspace.inside(place, live) as inner, judge.ready(inner):
        yield


def live_fields(judge: AddsColumns) -> tuple[str, ...]:
    """Returns the inputs of an embedded verifier that are the model in training."""
    return tuple(field for field, (texts, _) in judge.references().items() if texts == [SELF])


def require_that_it_writes(judge: AddsColumns, setting: str) -> None:
    """Checks that an input for the model in training takes a language model.

    Raises:
        ValueError: the verifier wants another model there.
    """
    for field in live_fields(judge):
        heads = judge.references()[field][1].heads
        if Head.LANGUAGE not in heads:
            wanted = " or ".join(sorted(head.value for head in heads))
            got = f"{SELF!r} is the model in training, which {Head.LANGUAGE.gives}"
            raise ValueError(f"{setting}.{field}: {got}, but {judge.use!r} needs a {wanted}")


def identity_of(judge: AddsColumns) -> dict[str, Any]:
    """Returns the parts of an embedded verifier that decide the bytes, except its inputs that are artifacts."""
    own = {"use": judge.use, "version": judge.version, **judge.identity()}
    return {**own, SELF: list(live_fields(judge))} if live_fields(judge) else own


def columns_read(judge: AddsColumns, drawn: Columns) -> Columns:
    """Returns the columns of the prompts that an embedded verifier reads, given the columns that a draw adds."""
    return tuple(name for name in judge.needs()[ROWS] if name not in drawn)


def error_limit(judge: AddsColumns) -> float:
    """Returns the share of errors above which the step fails; one that gives scores alone has no errors."""
    return judge.max_error_rate if isinstance(judge, Verifier) else 0.0


def refuse_errors(workspace: Workspace, judge: AddsColumns, verdicts: pa.ChunkedArray) -> None:
    """Counts the verdicts that are errors.

    Raises:
        CheckFailure: they are more than the verifier's limit.
    """
    import pyarrow.compute as pc

    errors = pc.sum(pc.equal(verdicts, ERROR)).as_py() or 0
    workspace.counts["error"] = errors
    if errors > error_limit(judge) * len(verdicts):
        raise too_many_errors(workspace, judge, errors, len(verdicts))


def too_many_errors(
    workspace: Workspace, judge: AddsColumns, errors: int, judged: int, example: str = ""
) -> CheckFailure:
    """Makes the failure of a step whose embedded verifier could not judge too many completions."""
    said = f", such as: {example}" if example else ""
    message = f"{workspace.step}: {judge.use} could not judge {errors:,} of {judged:,} completions{said}"
    return CheckFailure(
        "verifier_errors", f"{message} (limit {error_limit(judge):.0%}); they are no wrong answers"
    )
