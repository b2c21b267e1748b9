"""The rows of one retraction in a session: those that it names, and their descendants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lineal.components.selectors.guard import check_query
from lineal.components.selectors.header import Selector
from lineal.components.selectors.query import Session
from lineal.data.schema import row_key
from lineal.data.sql import quoted
from lineal.data.store import Artifact
from lineal.errors import DeclarationError
from lineal.recipe.retractions import RETRACTIONS, RetractionRule

if TYPE_CHECKING:
    import duckdb


def retracted_rows(
    session: Session, artifacts: Mapping[str, Artifact], rule: RetractionRule, wanted: Sequence[str]
) -> list[str]:
    """Returns the ids of rows that a retraction takes away, in order.

    Args:
        session: a session with a view for each artifact.
        artifacts: by view, the artifacts, each after what it was made from.
        rule: the retraction.
        wanted: the views whose rows to return.

    Raises:
        DeclarationError: the condition may not run.
    """
    run = session.connection.execute
    require_steady(session.connection, rule)
    run("CREATE OR REPLACE TEMP TABLE retracted (id VARCHAR)")
    run("CREATE OR REPLACE TEMP TABLE latest (id VARCHAR)")
    if rule.ids:
        run("INSERT INTO retracted SELECT unnest($1)", [list(rule.ids)])
    for view, artifact in artifacts.items():
        parts = [*_matching(session, view, artifact, rule), *_made(view, artifact, "retracted")]
        if parts:
            _take(session, " UNION ALL ".join(parts))
            while session.fetch("SELECT 1 FROM latest LIMIT 1") and (
                inner := [*_made(view, artifact, "latest")]
            ):
                _take(session, *inner)  # rows of a tree: made from rows of the same artifact
    every = " UNION ALL ".join(f"SELECT row_id FROM {quoted(view)}" for view in wanted)
    sql = f"SELECT DISTINCT row_id FROM ({every}) SEMI JOIN retracted ON row_id = id ORDER BY row_id"
    return [row_id for (row_id,) in session.fetch(sql)]


def require_steady(connection: duckdb.DuckDBPyConnection, rule: RetractionRule) -> None:
    """Checks a retraction's condition as a selector's SQL.

    Raises:
        DeclarationError: it may not run.
    """
    if rule.where is not None:
        check_query(connection, Selector(rule.name, Path(), _shown(rule), _query("rows", rule), ""), ["rows"])


def _take(session: Session, rows: str) -> None:
    """Adds the ids of some rows to `retracted`, and leaves in `latest` those that were new."""
    run = session.connection.execute
    run(
        f"CREATE OR REPLACE TEMP TABLE latest AS SELECT DISTINCT row_id AS id FROM ({rows}) EXCEPT SELECT id FROM retracted"
    )
    run("INSERT INTO retracted SELECT id FROM latest")


def _made(view: str, artifact: Artifact, table: str) -> Iterator[str]:
    """Writes a query for the rows of an artifact that were made from those of a table."""
    if "parents" in artifact.manifest.columns:
        pairs = f"(SELECT row_id, unnest(parents) AS parent FROM {quoted(view)})"
        yield f"SELECT row_id FROM {pairs} SEMI JOIN {table} ON parent = id"


def _matching(session: Session, view: str, artifact: Artifact, rule: RetractionRule) -> Iterator[str]:
    """Writes a query for the rows of an artifact that fulfil the condition; nothing where they lack its columns."""
    import duckdb

    columns = list(artifact.manifest.columns)
    if not rule.asks(artifact.key) or row_key(columns) not in columns:
        return
    sql = _query(view, rule)
    try:
        session.connection.execute(f"EXPLAIN {sql}")
    except duckdb.BinderException:
        return
    except duckdb.Error as error:
        raise DeclarationError(f"{_shown(rule)}: {error} ({artifact.key})") from error
    yield sql


def _query(view: str, rule: RetractionRule) -> str:
    return f"SELECT row_id FROM {quoted(view)} AS rows WHERE (\n{rule.where}\n)"


def _shown(rule: RetractionRule) -> str:
    return f"{RETRACTIONS}: {rule.name}.where"
