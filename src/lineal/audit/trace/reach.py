"""The reach of a new retraction: one walk over all descendants of its rows serves every selection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineal.audit.catalog import Catalog
from lineal.audit.query import connection, fetched
from lineal.audit.trace.descendants import BORN, HELD, Walk, number
from lineal.audit.trace.row_location import ids_sql, row_artifacts, sources
from lineal.audit.trace.taint import Matches, Tainted, walked
from lineal.components.selectors.retracted import require_steady
from lineal.data.store import Artifact
from lineal.recipe.compute import Compute
from lineal.recipe.retractions import RetractionRule

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Reach:
    """The retracted rows of every artifact.

    Attributes:
        tainted: the matching rows and all that descends from them.
    """

    tainted: Tainted
    _walk: Walk
    _matches: Matches
    _opened: duckdb.DuckDBPyConnection

    def count(self, keys: Sequence[str]) -> int:
        """Counts the distinct rows of some artifacts that match, or were made from rows that do."""
        held = self._held(keys)
        return number(self._opened, f"SELECT count(DISTINCT id) FROM {held}") if held else 0

    def beyond(self, keys: Sequence[str], above: Sequence[str], rule: RetractionRule | None) -> set[str]:
        """Counts matching ancestors of some rows that a rule does not find from there, although they affect some of the rows.

        Args:
            keys: the artifacts that hold the rows.
            above: these, and those that their rows come from.
            rule: the retraction as the reader's pipeline applies it; None where it does not.

        Raises:
            DeclarationError: its condition may not run.
        """
        self._follow(above, rule)
        sql = f"SELECT 1 FROM {self._held(keys)} ANTI JOIN followed USING (id) LIMIT 1"
        if not self._opened.execute(sql).fetchall():
            return set()
        found = f"SELECT DISTINCT id FROM {self._held(above)} SEMI JOIN matched USING (id) ANTI JOIN followed USING (id)"
        return {row_id for (row_id,) in self._opened.execute(found).fetchall()}

    def _held(self, keys: Sequence[str]) -> str:
        """Writes a query for the `made` rows of some artifacts; empty where there are none."""
        places = [str(place) for key in keys if (place := self._walk.places.get(key)) is not None]
        return f"(SELECT id FROM {HELD} WHERE place IN ({', '.join(places)}))" if places else ""

    def _follow(self, above: Sequence[str], rule: RetractionRule | None) -> None:
        """Puts into the table `followed` the rows that a rule itself finds there, and those made from them."""
        places = [
            str(self._matches.places[key])
            for key in above
            if key in self._matches.places and rule and rule.asks(key)
        ]
        if rule is not None:
            require_steady(self._opened, rule)
        self._opened.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE followed AS WITH RECURSIVE found AS (
                SELECT id FROM matches WHERE place IN ({", ".join(places or ["NULL"])})
                UNION SELECT unnest($1::VARCHAR[])
                UNION SELECT born.id FROM {BORN} born JOIN found ON born.parent = found.id)
            FROM found""",
            [list(rule.ids) if rule is not None else []],
        )


@contextmanager
def reach_of(catalog: Catalog, matches: Matches, compute: Compute) -> Iterator[Reach]:
    """Walks over all descendants of some rows; the result can be queried inside the context.

    Raises:
        ArtifactError: rows cannot be read.
    """
    with connection(compute) as opened:
        walk = Walk(catalog, opened, keeps=True)
        more = [*_elsewhere(catalog, matches, opened), *_cut_off(catalog)]
        yield Reach(walked(walk, catalog, opened, matches, more), walk, matches, opened)


def _elsewhere(catalog: Catalog, matches: Matches, opened: duckdb.DuckDBPyConnection) -> list[Artifact]:
    """Returns other artifacts in which the rows begin: ones outside the search, or where they do not fulfil the condition."""
    others = [one for one in sources(catalog) if one.key not in matches.places]
    if not others:
        return []
    opened.register("wanted", matches.ids)
    found = fetched(
        opened, f"SELECT DISTINCT file FROM ({ids_sql(others)}) SEMI JOIN wanted USING (id)", others
    )
    files = {file for (file,) in found}
    digests = {one.digest for one in others if not files.isdisjoint(map(str, one.parquet_files()))}
    return [one for one in catalog.artifacts.values() if one.digest in digests]


def _cut_off(catalog: Catalog) -> list[Artifact]:
    """Returns artifacts with rows some of whose parents are no longer here, so that their ancestors cannot be followed."""
    every = row_artifacts(catalog.artifacts.values())
    return [one for one in every if any(link.artifact is None for link in catalog.links(one))]
