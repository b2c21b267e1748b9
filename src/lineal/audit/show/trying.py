"""`lineal try`: a selector, measure, verifier or template on a few rows, outside any pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from lineal.audit.show.artifact import Shown, rows_text, values_of_artifact, values_text
from lineal.components.base import MAIN, ROWS, Component, Role, Surroundings
from lineal.components.generators.template import TEMPLATES, Template, read_template
from lineal.components.registry import Registry
from lineal.components.selectors.select import Select
from lineal.components.selectors.sql_file import SqlFile, find_sql
from lineal.components.sources.files import ENDINGS, read_file, reader_of
from lineal.components.verifiers.base import ERROR, Verifier
from lineal.data.manifest import Manifest
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.data.workspace import Workspace, conform
from lineal.errors import DataError, DeclarationError, UsageError, did_you_mean
from lineal.recipe.document import Document, declaration_error
from lineal.recipe.project import PIPELINES, Project
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

FOLDERS = {"select": "selectors", "measure": "measures"}
"""By component, where its SQL files lie."""


@dataclass(frozen=True)
class Tried:
    """The result of trying a component on rows.

    Attributes:
        counts: as its manifest would have them.
        outputs: by output, the artifact; it goes away with the block.
        texts: of a template, its text for each row.
        warning: why a run would stop at this result; empty where it would not.
    """

    counts: Mapping[str, int]
    outputs: Mapping[str, Artifact]
    texts: tuple[str, ...] = ()
    warning: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns everything, for programs."""
        if self.texts:
            return {"texts": list(self.texts)}
        made = {
            name or "main": Rows((one,)).read().to_pylist()
            for name, one in self.outputs.items()
            if one.parquet_files()
        }
        values = {
            name: value for one in self.outputs.values() for name, value in values_of_artifact(one).items()
        }
        return {
            "counts": dict(self.counts),
            **made,
            **({"values": values} if values else {}),
            **self._warned(),
        }

    def _warned(self) -> dict[str, str]:
        return {"warning": self.warning} if self.warning else {}

    def as_text(self, width: int) -> str:
        """Formats the rows for a terminal."""
        if self.texts:
            return "\n".join(f"--- row {number}\n{text}" for number, text in enumerate(self.texts, start=1))
        lines = [", ".join(f"{count} {name}" for name, count in self.counts.items())]
        for name, artifact in self.outputs.items():
            count = Rows((artifact,)).count if artifact.parquet_files() else None
            rows = Rows((artifact,)).read().to_pylist() if count else []
            shown = Shown(artifact, (), values_of_artifact(artifact), count, rows)
            lines += [*values_text(shown), *(["", name or "rows", *rows_text(shown, width)] if count else [])]
        return "\n".join([*lines, *([f"\nwarning: {self.warning}"] if self.warning else [])])


@contextmanager
def tried(
    project: Project, name: str, files: Mapping[str, Path], settings: Mapping[str, Any]
) -> Iterator[Tried]:
    """Runs a component on rows of files.

    Args:
        project: the project, whose SQL files and templates are looked at first.
        name: of an SQL file in `pipelines/selectors` or `measures`, of a verifier, or of a file in `pipelines/templates`.
        files: by input field, the file with its rows.
        settings: the part's own.

    Raises:
        UsageError: no part, or several, have this name; or it needs a model, other rows, or columns that they lack.
        DeclarationError: the part or a setting is wrong.
        DataError: the rows cannot be used.
    """
    with TemporaryDirectory(prefix="lineal-try-") as place:
        part = _part(project, name, files, settings)
        tables = {field: _table(path) for field, path in files.items()}
        if isinstance(part, Template):
            _require_columns(name, ROWS, part.columns, tables[ROWS])
            yield Tried({}, {}, tuple(part.render(row) for row in tables[ROWS].to_pylist()))
        else:
            yield _run(project, name, part, tables, Path(place))


def _part(
    project: Project, name: str, files: Mapping[str, Path], settings: Mapping[str, Any]
) -> Component | Template:
    surroundings = Surroundings(project.root, project.root / PIPELINES)
    found = [use for use, folder in FOLDERS.items() if _file_of(surroundings, folder, f"{name}.sql")]
    found += [TEMPLATES] if _file_of(surroundings, TEMPLATES, f"{name}.txt") else []
    registry = Registry()
    found += [name] if registry.role_of(name) is Role.VERIFIER else []
    if len(found) != 1:
        raise UsageError(_ambiguous(registry, surroundings, name, found))
    if found[0] == TEMPLATES:
        return read_template(name, surroundings)
    given = {
        "use": found[0],
        **dict.fromkeys(files, ROWS),
        **_of_sql(registry, found[0], name, surroundings),
        **settings,
    }
    try:
        component = registry.find(found[0]).parse(given, surroundings)
    except ValidationError as error:
        told = declaration_error(Document("--set", given, {}), (), error, registry.find(found[0]))
        raise DeclarationError(str(told).replace("--set:1: ", "--set ")) from error
    except ValueError as error:
        raise DeclarationError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    return component


def _of_sql(registry: Registry, use: str, name: str, surroundings: Surroundings) -> dict[str, str]:
    """Returns the settings of a node for an SQL file: its name, and rows for each of its inputs."""
    kind = registry.find(use)
    if not issubclass(kind, SqlFile):
        return {}
    return {"sql": name, **dict.fromkeys(find_sql(kind, name, surroundings).inputs, ROWS)}


def _file_of(surroundings: Surroundings, folder: str, name: str) -> bool:
    return (surroundings.pipeline_directory / folder / name).is_file()


def _ambiguous(registry: Registry, surroundings: Surroundings, name: str, found: list[str]) -> str:
    if found:
        return f"{name!r} is {' and '.join(found)}. Rename one of them"
    stems = [
        path.stem
        for folder in (*FOLDERS.values(), TEMPLATES)
        for path in (surroundings.pipeline_directory / folder).glob("*.*")
    ]
    verifiers = [known for known in registry.names if registry.role_of(known) is Role.VERIFIER]
    places = f"no verifier, and no file in {PIPELINES}/ of {', '.join((*FOLDERS.values(), TEMPLATES))}"
    return f"{name!r} is {places}. {did_you_mean(name, [*stems, *verifiers])}"


def _table(path: Path) -> pa.Table:
    """Reads the rows of a file; rows without an id get the number of their place."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if reader_of(path.name) is None:
        raise UsageError(f"{path}: the name must end in {', '.join(ENDINGS)}")
    if path.suffix == ".parquet":
        table = pq.read_table(path)
    else:
        rows = [_plain(values) for _, values in read_file(path, str(path), ())]
        names = dict.fromkeys(name for row in rows for name in row)
        try:
            table = pa.table({name: [row.get(name) for row in rows] for name in names})
        except pa.ArrowException as error:
            raise DataError(f"{path}: a column holds values of two types: {error}") from error
    if not table.num_rows:
        raise DataError(f"{path}: no rows")
    return conform(_with_ids(table))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _with_ids(table: pa.Table) -> pa.Table:
    """Gives rows of one prompt one prompt id, in the order of first appearance."""
    if "prompt_id" not in table.column_names and "prompt" in table.column_names:
        places: dict[Any, str] = {}
        ids = [
            places.setdefault(prompt, f"prompt {len(places) + 1}") for prompt in table["prompt"].to_pylist()
        ]
        table = table.add_column(0, "prompt_id", [ids])
    if "sample_id" not in table.column_names and (
        "completion" in table.column_names or "prompt_id" not in table.column_names
    ):
        table = table.add_column(
            0, "sample_id", [[f"row {number}" for number in range(1, table.num_rows + 1)]]
        )
    return table


def _run(
    project: Project, name: str, component: Component, tables: Mapping[str, pa.Table], place: Path
) -> Tried:
    _require_rows_alone(name, component, tables)
    for field, columns in component.needs().items():
        _require_columns(name, field, columns, tables[field])
    inputs = {
        field: (_artifact(project, f"try/{field}", place / field, table),) for field, table in tables.items()
    }
    workspace = Workspace(
        project.root, "try", 1, project.params.seed, project.params.compute, inputs, place / "work", key="try"
    )
    workspace.partial.mkdir()
    try:
        made = component.outputs({field: Rows(artifacts).columns for field, artifacts in inputs.items()})
    except ValueError as error:
        raise UsageError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
    _lenient(component).run(workspace)
    outputs = {key: _published(workspace, key, output.kind) for key, output in made.items()}
    return Tried(workspace.counts, outputs, warning=_would_stop(component, workspace.counts, outputs))


def _lenient(component: Component) -> Component:
    """Returns the component without the limits at which its step fails: what it gives then is what somebody wants to see."""
    if isinstance(component, Verifier):
        return component.model_copy(update={"max_error_rate": 1.0})
    if isinstance(component, Select):
        selector, component = component._selector, component.model_copy()
        component._selector = replace(selector, empty=selector.empty or "it is tried")
    return component


def _would_stop(component: Component, counts: Mapping[str, int], outputs: Mapping[str, Artifact]) -> str:
    """Says why a run stops at such a result; empty where it does not."""
    if isinstance(component, Verifier) and counts[ERROR] > component.max_error_rate * counts["out"]:
        told = f"{counts[ERROR]:,} of {counts['out']:,} verdicts are errors"
        return f"{told}; a run stops above max_error_rate {component.max_error_rate:g}"
    if isinstance(component, Select) and not component.empty_means() and not Rows((outputs[MAIN],)).count:
        return "nothing is kept; a run stops at that, unless the selector's header has a line '-- empty: ...'"
    return ""


def _require_rows_alone(name: str, component: Component, tables: Mapping[str, pa.Table]) -> None:
    for field, (_, accepts) in component.references().items():
        if ArtifactKind.ROWS not in accepts.kinds:
            raise UsageError(
                f"{name} needs a model ({field}), which lineal try has none of. Try it in a pipeline of one round"
            )
        if field not in tables:
            raise UsageError(f"{name} needs the rows of {field}: --rows {field}=FILE")


def _require_columns(name: str, field: str, columns: tuple[str, ...], table: pa.Table) -> None:
    for column in columns:
        if column not in table.column_names:
            near = did_you_mean(column, table.column_names)
            raise UsageError(f"{name} needs a column {column!r} in {field}, and the file has none. {near}")


def _artifact(project: Project, key: str, place: Path, table: pa.Table) -> Artifact:
    place.mkdir()
    workspace = Workspace(project.root, key, 0, 0, project.params.compute, {}, place)
    workspace.write_rows([table])
    return _published(workspace, "", ArtifactKind.ROWS)


def _published(workspace: Workspace, output: str, kind: ArtifactKind) -> Artifact:
    def manifest(**parts: Any) -> Manifest:
        return Manifest(
            step=workspace.step,
            component="try",
            version=1,
            identity="try",
            settings={},
            seed=workspace.seed,
            inputs={},
            files_read={},
            counts=workspace.counts,
            **parts,
        )

    directory = workspace.directory(output)
    workspace.draft(output, manifest, kind).write(directory)
    return open_artifact("try", directory)
