"""The walk from some rows, or an artifact, over everything that was made from it.

Of most artifacts all rows are touched or few: a touched checkpoint touches every row that it samples. So a set of rows is
either a whole artifact, which is only noted, or a list of ids in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog, Link, pipeline_of
from lineal.audit.query import fetched
from lineal.audit.trace.row_location import has_ids, id_column, repeats_input, row_inputs
from lineal.data.progress import progress_of
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact, Rows
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import duckdb

MOST_IDS = 100
WHOLLY = (ArtifactKind.MODEL, ArtifactKind.SERVED, ArtifactKind.SETTINGS)
"""Inputs of these kinds touch every row that a step makes; rows touch only the rows made from them."""


@dataclass(frozen=True)
class Touched:
    """One artifact that descends from the traced thing, wholly or in part.

    Attributes:
        key: the artifact.
        kind: rows, model, served, metrics or settings.
        digest: its content's.
        total: its rows; None when it has none.
        made: rows that are the traced rows, or were made from them through `parents`.
        influenced: further rows that a touched checkpoint (or controller) sampled, judged or set, or rows made from such.
        ids: some of the `made` rows.
        decisions: the `made` rows by verdict or decision.
        through: by input field, the touched artifacts that it was made from, and how many touched rows of each.
        here: whether its rows are here; else which of them are touched is not known.
    """

    key: str
    kind: str
    digest: str
    total: int | None
    made: int
    influenced: int
    ids: tuple[str, ...]
    decisions: Mapping[str, int]
    through: tuple[tuple[str, str, int], ...]
    here: bool = True

    @property
    def rows(self) -> int:
        """All touched rows."""
        return self.made + self.influenced


HELD, BORN = "made_held", "made_born"
"""Tables that a walk keeps on request: (place, id), the made rows that an artifact holds by its place in `Walk.places`; and
(id, parent), which of them was made from which."""


class _Ids:
    """One kind of touched rows: artifacts of which all rows are, and the ids of others in a table."""

    def __init__(self, name: str, opened: duckdb.DuckDBPyConnection) -> None:
        self._opened, self._table, self.hits, self.born = opened, name, f"{name}_hits", f"{name}_latest_born"
        self._filled = False
        self.whole: set[str] = set()
        opened.execute(f"CREATE TEMP TABLE {name} (id VARCHAR)")

    def add(self, table: str) -> None:
        """Adds the ids of another table."""
        self._opened.execute(
            f"INSERT INTO {self._table} SELECT id FROM {table} EXCEPT SELECT id FROM {self._table}"
        )
        self._filled = True

    def spread(self, artifact: Artifact, inputs: list[Artifact], by_id: bool, by_parents: bool) -> int:
        """Puts an artifact's touched rows into `hits` as (id, judged) and their ids into the table; returns their number."""
        parts = [f"SELECT id FROM {self._table}"] if self._filled else []
        wholes = [one for one in inputs if one.key in self.whole]
        parts += [
            f"SELECT {quoted(id_column(one))} AS id FROM {parquet(one.parquet_files())}" for one in wholes
        ]
        if not parts:
            return 0
        known, rows = f"({' UNION ALL '.join(parts)}) known", rows_sql(artifact)
        found = (
            [f"SELECT id, judged FROM {rows} lines SEMI JOIN {known} ON lines.id = known.id"] if by_id else []
        )
        if by_parents:
            lines = f"(SELECT id, judged, unnest(parents) AS parent FROM {rows}) lines"
            born = f"SELECT lines.* FROM {lines} SEMI JOIN {known} ON lines.parent = known.id"
            fetched(self._opened, f"CREATE OR REPLACE TEMP TABLE {self.born} AS {born}", [artifact, *wholes])
            found.append(f"SELECT id, judged FROM {self.born}")
        sql = found[0] if not by_parents else f"SELECT DISTINCT * FROM ({' UNION ALL '.join(found)})"
        fetched(self._opened, f"CREATE OR REPLACE TEMP TABLE {self.hits} AS {sql}", [artifact, *wholes])
        count = number(self._opened, f"SELECT count(*) FROM {self.hits}")
        if by_parents and 0 < count < Rows((artifact,)).count:
            count += self._descend(artifact)
        if count:
            self.add(self.hits)
        return count

    def _descend(self, artifact: Artifact) -> int:
        """Adds to `hits` the rows that were made from rows in it, generation by generation; returns how many."""
        latest, fresh, found = f"{self.hits}_latest", f"{self.hits}_fresh", 0
        self._opened.execute(f"CREATE OR REPLACE TEMP TABLE {latest} AS SELECT id FROM {self.hits}")
        lines = f"(SELECT id, judged, unnest(parents) AS parent FROM {rows_sql(artifact)}) lines"
        children = f"CREATE OR REPLACE TEMP TABLE {fresh}_born AS FROM {lines} SEMI JOIN {latest} ON parent = {latest}.id"
        while self._has_children(artifact, latest):
            fetched(self._opened, children, artifact)
            self._opened.execute(f"INSERT INTO {self.born} FROM {fresh}_born")
            born = f"(SELECT DISTINCT id, judged FROM {fresh}_born)"
            self._opened.execute(
                f"CREATE OR REPLACE TEMP TABLE {fresh} AS FROM {born} born ANTI JOIN {self.hits} USING (id)"
            )
            self._opened.execute(f"INSERT INTO {self.hits} FROM {fresh}")
            self._opened.execute(f"CREATE OR REPLACE TEMP TABLE {latest} AS SELECT id FROM {fresh}")
            found += number(self._opened, f"SELECT count(*) FROM {fresh}")
        return found

    def _has_children(self, artifact: Artifact, table: str) -> bool:
        """Tells whether rows were made from others of the same artifact; reads one column, since mostly none were."""
        parents = f"(SELECT unnest(parents) AS parent FROM {parquet(artifact.parquet_files())})"
        sql = f"SELECT 1 FROM {parents} SEMI JOIN {table} known ON parent = known.id LIMIT 1"
        return bool(fetched(self._opened, sql, artifact))


class Walk:
    """Visits artifacts in order and remembers which rows of each are touched; good for one walk.

    Args:
        catalog: the project's artifacts.
        opened: a connection; its tables are the walk's own.
        pipeline: only this pipeline's artifacts; default: all.
        keeps: fill the tables `HELD` and `BORN`.
    """

    def __init__(
        self,
        catalog: Catalog,
        opened: duckdb.DuckDBPyConnection,
        pipeline: str | None = None,
        keeps: bool = False,
    ) -> None:
        self._catalog, self._opened, self._pipeline = catalog, opened, pipeline
        self._made, self._influenced = _Ids("made", opened), _Ids("influenced", opened)
        self._starts: set[str] = set()
        self._target: str | None = None
        self._touched: dict[str, Touched] = {}
        self._keeps = keeps
        self.places: dict[str, int] = {}
        if keeps:
            opened.execute(f"CREATE TEMP TABLE {HELD} (place INTEGER, id VARCHAR)")
            opened.execute(f"CREATE TEMP TABLE {BORN} (id VARCHAR, parent VARCHAR)")

    def from_artifact(self, key: str) -> list[Touched]:
        """Finds what was made from an artifact, itself first.

        Raises:
            ArtifactError: rows cannot be read.
        """
        self._target = key
        return self._over([key])

    def from_rows(self, table: str, held_in: Iterable[Artifact]) -> list[Touched]:
        """Finds what was made from the rows whose ids are in a table's column `id`, the artifacts that hold them first.

        Raises:
            ArtifactError: rows cannot be read.
        """
        self._made.add(table)
        self._starts = {artifact.key for artifact in held_in}
        return self._over(self._starts)

    def _over(self, keys: Iterable[str]) -> list[Touched]:
        found = self._catalog.downstream(keys)
        with progress_of("what was made from it:", len(found), "artifacts") as progress:
            for artifact in found:
                if self._pipeline is None or pipeline_of(artifact.key) == self._pipeline:
                    self._visit(artifact)
                progress.advance()
        return list(self._touched.values())

    def _visit(self, artifact: Artifact) -> None:
        """Adds an artifact to the touched ones if some of it came from the target."""
        is_target, rows = artifact.key == self._target, has_ids(artifact)
        through = tuple(
            self._through(link) for link in self._catalog.links(artifact) if self._is_touched(link)
        )
        made, influenced = self._spread(artifact, through) if rows else (0, 0)
        total = Rows((artifact,)).count if artifact.manifest.columns else None
        made = total or 0 if is_target else made
        if not (is_target or made or influenced or (through and not rows)):
            return
        ids, decisions = self._examples(artifact) if made and not is_target else ((), {})
        self._touched[artifact.key] = Touched(
            artifact.key,
            str(artifact.manifest.kind),
            artifact.digest,
            total,
            made,
            influenced,
            ids,
            decisions,
            through,
            artifact.here or total is None or is_target,
        )

    def _is_touched(self, link: Link) -> bool:
        return link.artifact is not None and link.artifact.key in self._touched

    def _through(self, link: Link) -> tuple[str, str, int]:
        assert link.artifact is not None
        return link.field, link.artifact.key, self._touched[link.artifact.key].rows

    def _spread(self, artifact: Artifact, through: tuple[tuple[str, str, int], ...]) -> tuple[int, int]:
        """Touches an artifact's rows; counts those made from the target, and those otherwise influenced."""
        total, inputs = Rows((artifact,)).count, row_inputs(self._catalog, artifact)
        if artifact.key == self._target or self._are_whole(artifact, inputs, self._made):
            self._made.whole.add(artifact.key)
        if any(
            self._catalog.artifacts[key].manifest.kind in WHOLLY for _, key, _ in through
        ) or self._are_whole(artifact, inputs, self._influenced):
            self._influenced.whole.add(artifact.key)
        if artifact.key in self._made.whole:
            return total, 0
        made = self._rows_of(self._made, artifact, inputs)
        if artifact.key in self._influenced.whole:
            return made, total - made
        if not self._rows_of(self._influenced, artifact, inputs):
            return made, 0
        rest = (
            f"{self._influenced.hits} ANTI JOIN {self._made.hits} USING (id)"
            if made
            else self._influenced.hits
        )
        return made, number(self._opened, f"SELECT count(*) FROM {rest}")

    def _are_whole(self, artifact: Artifact, inputs: list[Artifact], ids: _Ids) -> bool:
        """Tells whether every row of everything that an artifact's rows were made from is touched."""
        complete = all(link.artifact is not None for link in self._catalog.links(artifact))
        return complete and bool(inputs) and all(one.key in ids.whole for one in inputs)

    def _rows_of(self, ids: _Ids, artifact: Artifact, inputs: list[Artifact]) -> int:
        """Touches the rows that are, or were made from, touched ones; what only passes rows on makes none."""
        passes = repeats_input(self._catalog, artifact)
        shares = any(id_column(one) == id_column(artifact) for one in inputs)
        by_parents = "parents" in artifact.manifest.columns and not passes
        by_id = not by_parents or shares or not inputs or artifact.key in self._starts
        count = ids.spread(artifact, inputs, by_id, by_parents)
        if count and self._keeps and ids is self._made:
            self._keep(artifact, by_parents)
        return count

    def _keep(self, artifact: Artifact, by_parents: bool) -> None:
        """Puts the made rows of an artifact, as its visit found them, into the tables that stay."""
        place = self.places.setdefault(artifact.key, len(self.places))
        self._opened.execute(f"INSERT INTO {HELD} SELECT {place}, id FROM {self._made.hits}")
        if by_parents:
            self._opened.execute(f"INSERT INTO {BORN} SELECT DISTINCT id, parent FROM {self._made.born}")

    def _examples(self, artifact: Artifact) -> tuple[tuple[str, ...], dict[str, int]]:
        """Returns some ids of an artifact's made rows, and their number by verdict or decision."""
        rows = rows_sql(artifact) if artifact.key in self._made.whole else self._made.hits
        ids = fetched(self._opened, f"SELECT id FROM {rows} ORDER BY id LIMIT {MOST_IDS}", artifact)
        sql = f"SELECT judged, count(*) FROM {rows} WHERE judged IS NOT NULL GROUP BY 1 ORDER BY 1"
        return tuple(row[0] for row in ids), {
            str(name): int(count) for name, count in fetched(self._opened, sql, artifact)
        }


def number(opened: duckdb.DuckDBPyConnection, sql: str) -> int:
    """Returns the one number that a query over lineal's own tables gives."""
    return int(opened.execute(sql).fetchall()[0][0])


def rows_sql(artifact: Artifact) -> str:
    """Writes a query for an artifact's rows as (id, verdict or decision, parents)."""
    columns, manifest = artifact.manifest.columns, artifact.manifest
    told = (manifest.column("verdict"),) if "pass" in manifest.counts else ("decision", "verdict")
    judged = next((quoted(name) for name in told if name in columns), "NULL")
    parents = ", parents" if "parents" in columns else ""
    source = parquet(artifact.parquet_files())
    return f"(SELECT {quoted(id_column(artifact))} AS id, {judged}::VARCHAR AS judged{parents} FROM {source})"
