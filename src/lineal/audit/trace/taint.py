"""`lineal taint`: the rows that fulfil a condition, wherever they are, and everything that descends from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog
from lineal.audit.keys import NOTHING, require_here
from lineal.audit.query import connection, fetched, first_lines, of_its_files, require_condition, unreadable
from lineal.audit.terminal import cut
from lineal.audit.trace.descendants import Touched, Walk, number
from lineal.audit.trace.forward import forward_json, forward_text
from lineal.audit.trace.row_location import has_ids, id_column, row_artifacts, row_inputs, twins
from lineal.data.sql import lock, parquet, quoted
from lineal.data.store import Artifact
from lineal.errors import UsageError, number_of
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


@dataclass(frozen=True)
class Tainted:
    """The rows that a condition matches, and what descends from them.

    Attributes:
        where: the condition.
        searched: keys of the artifacts whose columns it fits; all rows of these were looked at.
        passed_over: keys of artifacts that lack a column which it names.
        matched: by key, how many rows fulfil it; artifacts without any are left out.
        rows: distinct rows that fulfil it.
        touched: the artifacts that hold matching rows, or rows or checkpoints made from them, in the order of their making.
    """

    where: str
    searched: tuple[str, ...]
    passed_over: tuple[str, ...]
    matched: Mapping[str, int]
    rows: int
    touched: tuple[Touched, ...]

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """The keys of the checkpoints that descend from the matching rows."""
        return tuple(one.key for one in self.touched if one.kind == ArtifactKind.MODEL)


def taint(catalog: Catalog, where: str, compute: Compute, within: Artifact | None = None) -> Tainted:
    """Finds everything that descends from the rows that fulfil a condition.

    The condition sees one artifact's rows at a time and nothing else: no file, no network, no second statement.

    Args:
        catalog: the project's artifacts.
        where: a condition, as after WHERE.
        compute: DuckDB's limits.
        within: only this artifact's rows are asked; default: those of every artifact that has the columns.

    Raises:
        UsageError: it is no condition, or no artifact's rows have its columns, or there are no rows.
        ArtifactError: rows cannot be read.
    """
    if within is not None and not has_ids(require_here(within)):
        raise UsageError(f"{within.key} holds no rows with an id; --in takes an artifact that does")
    asked = row_artifacts(catalog.artifacts.values()) if within is None else [within]
    if not asked:
        raise UsageError(f"no artifact here has rows, so that nothing can be said of any. {NOTHING}")
    return descent(catalog, matching(asked, where, compute), compute)


@dataclass(frozen=True)
class Matches:
    """Rows to look for descendants of.

    Attributes:
        where: what they have in common.
        searched, passed_over, counts: see `Tainted`; `counts` is its `matched`.
        ids: a table of (id, place): which row, and where.
        places: by key, the place in `ids` of an artifact that has some, or that was asked for ids; equal ones share theirs.
    """

    where: str
    searched: tuple[str, ...]
    passed_over: tuple[str, ...]
    counts: Mapping[str, int]
    ids: pa.Table
    places: Mapping[str, int]


def matching(artifacts: list[Artifact], where: str, compute: Compute) -> Matches:
    """Finds the rows of some artifacts that fulfil a condition; see `taint`."""
    search = _Search(artifacts, where)
    with connection(compute) as locked:
        search.run(locked)
    return Matches(
        where,
        tuple(search.searched),
        tuple(search.passed_over),
        search.counts,
        search.matches(),
        search.places,
    )


def descent(catalog: Catalog, matches: Matches, compute: Compute) -> Tainted:
    """Finds everything that descends from some rows.

    Raises:
        ArtifactError: rows cannot be read.
    """
    with connection(compute) as opened:
        return walked(Walk(catalog, opened), catalog, opened, matches, ())


def walked(
    walk: Walk,
    catalog: Catalog,
    opened: duckdb.DuckDBPyConnection,
    matches: Matches,
    more: Iterable[Artifact],
) -> Tainted:
    """Has a walk go over everything that descends from some rows; leaves their ids in the table `matched`.

    Args:
        walk: the walk.
        catalog: the project's artifacts.
        opened: the walk's connection.
        matches: the rows.
        more: artifacts to begin at besides those in which the rows match.
    """
    holding = [catalog.artifacts[key] for key in matches.counts]
    opened.register("matches", matches.ids)
    opened.execute("CREATE TABLE matched AS SELECT DISTINCT id FROM matches")
    rows = number(opened, "SELECT count(*) FROM matched")
    starts = {one.key: one for one in (*_with_same_rows(catalog, holding), *more)}
    touched = walk.from_rows("matched", starts.values()) if rows else []
    return Tainted(matches.where, matches.searched, matches.passed_over, matches.counts, rows, tuple(touched))


class _Search:
    """Queries artifacts for the rows that fulfil a user's condition, over a connection that can reach nothing else."""

    def __init__(self, artifacts: list[Artifact], where: str) -> None:
        self._artifacts, self._where = artifacts, where
        self._condition = f"\nWHERE (\n{where}\n)"
        self._found: list[pa.Table] = []
        self.searched: list[str] = []
        self.passed_over: list[str] = []
        self.counts: dict[str, int] = {}
        self.places: dict[str, int] = {}

    def run(self, opened: duckdb.DuckDBPyConnection) -> None:
        """Fills in what was searched and found; artifacts with the same bytes are read once."""
        twins_of: dict[str, list[Artifact]] = {}
        for artifact in self._artifacts:
            twins_of.setdefault(artifact.digest, []).append(artifact)
        views = {f"rows_{place}": group for place, group in enumerate(twins_of.values())}
        for view, (artifact, *_) in views.items():
            fetched(opened, f"CREATE VIEW {view} AS FROM {parquet(artifact.parquet_files())}", artifact)
        lock(opened, (path for (artifact, *_) in views.values() for path in artifact.parquet_files()))
        require_condition(opened, self._condition)
        refusals = [refusal for view, group in views.items() if (refusal := self._ask(opened, view, group))]
        if not self.searched and refusals:
            raise UsageError(f"--where {self._where!r}: {refusals[0]}\n  {self._columns()}")

    def _ask(self, opened: duckdb.DuckDBPyConnection, view: str, group: list[Artifact]) -> str | None:
        """Adds one artifact's matching rows; gives DuckDB's reason if its columns are not those of the condition."""
        import duckdb

        keys, (artifact, *_) = [one.key for one in group], group
        sql = f"SELECT {quoted(id_column(artifact))}::VARCHAR AS id FROM {view} AS rows{self._condition}"
        try:
            opened.execute(f"EXPLAIN {sql}")
        except duckdb.BinderException as error:
            self.passed_over += keys
            return first_lines(error)
        except duckdb.Error as error:
            raise self._refused(artifact, error) from error
        self.searched += keys
        try:
            found = opened.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise self._refused(artifact, error) from error
        if found.num_rows:
            self.counts |= dict.fromkeys(keys, found.num_rows)
            self.places |= dict.fromkeys(keys, len(self._found))
            self._found.append(found)
        return None

    def _refused(self, artifact: Artifact, error: duckdb.Error) -> Exception:
        """Returns the error for the user's mistake, or for a file that cannot be read."""
        if of_its_files(artifact, error):
            return unreadable(artifact, error)
        return UsageError(f"--where {self._where!r}: {first_lines(error)} ({artifact.key})")

    def _columns(self) -> str:
        names = dict.fromkeys(name for artifact in self._artifacts for name in artifact.manifest.columns)
        return f"columns here: {', '.join(names)}"

    def matches(self) -> pa.Table:
        """Returns the ids that were found, each with its place."""
        import pyarrow as pa

        found = enumerate(self._found)
        placed = [
            one.append_column("place", pa.repeat(pa.scalar(place, pa.int32()), len(one)))
            for place, one in found
        ]
        return pa.concat_tables(
            [pa.schema([("id", pa.string()), ("place", pa.int32())]).empty_table(), *placed]
        )


def _with_same_rows(catalog: Catalog, artifacts: list[Artifact]) -> list[Artifact]:
    """Returns artifacts, and ancestors (of any pipeline) that may hold the same rows, so that trainers on these are found too."""
    found = {artifact.key: artifact for artifact in twins(catalog, artifacts)}
    waiting = list(found.values())
    while waiting:
        artifact = waiting.pop()
        above = [one for one in row_inputs(catalog, artifact) if id_column(one) == id_column(artifact)]
        fresh = [one for one in twins(catalog, above) if one.key not in found]
        found |= {one.key: one for one in fresh}
        waiting += fresh
    return list(found.values())


def taint_json(tainted: Tainted) -> dict[str, Any]:
    """Returns the findings for programs."""
    return {
        "where": tainted.where,
        "rows": tainted.rows,
        "matched": dict(tainted.matched),
        "searched": list(tainted.searched),
        "passed_over": list(tainted.passed_over),
        "checkpoints": list(tainted.checkpoints),
        "touched": forward_json(list(tainted.touched)),
    }


def taint_text(tainted: Tainted, width: int) -> str:
    """Formats the findings for people."""
    asked = f"{len(tainted.searched)} artifacts searched"
    if tainted.passed_over:
        asked += f"; {len(tainted.passed_over)} lack its columns"
    if not tainted.rows:
        return f"no row matches: {asked}"
    lines = [
        f"{number_of(tainted.rows, 'row')} match in {len(tainted.matched)} artifacts ({asked})",
        f"{len(tainted.touched)} artifacts are touched; checkpoints among them: {len(tainted.checkpoints)}",
    ]
    if not tainted.checkpoints:
        lines.append(
            "no checkpoint descends from them: nothing was trained on them, or on what was made from them"
        )
    return "\n".join([*(cut(line, width) for line in lines), forward_text(list(tainted.touched), width)])
