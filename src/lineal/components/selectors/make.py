"""Selectors that make: new rows, each with the ids of the rows it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace
from lineal.components.generators.drawing import CARRIED
from lineal.components.selectors.canonical import selector_digest
from lineal.components.selectors.decide import (
    ANSWERED,
    DROPPED,
    add_retracted,
    count_decisions,
    input_views,
    require_kept,
    require_row_ids,
    write_decided,
)
from lineal.components.selectors.header import Selector
from lineal.components.selectors.query import RETRACTED, Session, open_session
from lineal.data.ids import canonical_json, row_ids
from lineal.data.schema import COLUMNS, arrow_type
from lineal.data.sql import literal, quoted
from lineal.errors import DataError, DeclarationError

if TYPE_CHECKING:
    import pyarrow as pa

MADE = "lineal_made"
"""The table of the new rows. Our tables begin with `lineal_`, which no input may, and have aliases, for rows have any column."""
_MADE_BY_US = ("sample_id", "round")


def make(workspace: Workspace, selector: Selector, arguments: Mapping[str, Any], columns: Columns) -> None:
    """Runs a making query; writes its rows in the order of their first parents, and the input rows that made none.

    Args:
        workspace: the running step.
        selector: the SQL file.
        arguments: its parameters.
        columns: what the new rows have.

    Raises:
        DeclarationError: the query is wrong, or names parents that are not there.
        DataError: a value has no canonical form.
        CheckFailure: no row is made.
    """
    assert selector.makes is not None
    views = input_views(workspace, selector)
    carried = selector.makes.carried(columns)
    made = tuple(name for name in columns if name not in (*_MADE_BY_US, *carried))
    if "rowid" in columns:
        raise DeclarationError(
            f"{selector.shown}: new rows would have a column 'rowid', which is DuckDB's own. Rename it"
        )
    with open_session(workspace, views, selector.optional, selector) as session:
        require_row_ids(session, views)
        session.run(MADE, selector, arguments)
        _check_columns(session, selector, made)
        _carry(session, list(views), carried)
        _take_back(workspace, selector, session, made)
        _place(session, selector, list(views))
        _merge_shared(workspace, session, made)
        _check_distinct(session, selector, made)
        session.create(ANSWERED, _answered(selector))
        add_retracted(session)
        count_decisions(workspace, session)
        count = session.fetch(f"SELECT count(*) FROM {MADE}")[0][0]
        require_kept(workspace, selector, count, "rows gave a new one")
        workspace.counts["out"] = count
        with workspace.progress(count + workspace.counts["in"], "rows") as progress:
            tables = session.stream(_ordered(made, carried))
            workspace.write_rows(_with_ids(workspace, selector, tables, columns, progress))
            write_decided(workspace, session, _ANSWERS, {DROPPED: "dropped"}, progress)


def _ordered(made: Columns, carried: Columns) -> str:
    """Writes the query of the new rows, in order."""
    listed = ", ".join(f"m.{quoted(name)}" for name in (*made, *carried))
    order = ", ".join(f"m.{quoted(name)}" for name in made)
    return (
        f"SELECT {listed} FROM {MADE} m JOIN lineal_placed p ON m.rowid = p.number ORDER BY p.place, {order}"
    )


def _listed(columns: Columns) -> str:
    return ", ".join(quoted(name) for name in columns)


def _check_columns(session: Session, selector: Selector, made: Columns) -> None:
    """Checks the query's columns against `makes` and returns them."""
    assert selector.makes is not None
    given = session.columns(MADE)
    allowed = ("parents", *selector.makes.required, *selector.makes.optional)
    for name in made:
        if name not in given:
            raise DeclarationError(
                f"{selector.shown}: the query gives no column {name!r}; it gives {', '.join(given)}"
            )
    for name in given:
        if name not in allowed:
            raise DeclarationError(
                f"{selector.shown}: the query gives a column {name!r} that '-- makes' doesn't name"
            )
    if given["parents"] != "VARCHAR[]":
        message = f"'parents' must be a list of row_ids, got {given['parents']}; write [row_id] AS parents"
        raise DeclarationError(f"{selector.shown}: {message}")


def _carry(session: Session, views: list[str], carried: Columns) -> None:
    """Copies to new rows the columns of their first parents: those that belong to a text that they keep, and those of '*'."""
    if not carried:
        return
    names = tuple(dict.fromkeys((*carried, *(CARRIED[name] for name in carried if name in CARRIED))))
    parts = []
    for view in views:
        there = session.columns(quoted(view))
        listed = ", ".join(quoted(name) if name in there else f"NULL AS {quoted(name)}" for name in names)
        parts.append(f"SELECT row_id, {listed} FROM {quoted(view)}")
    firsts = ", ".join(f"any_value({quoted(name)}) AS {quoted(name)}" for name in names)
    session.create(
        "lineal_given", f"SELECT row_id, {firsts} FROM ({' UNION ALL '.join(parts)}) GROUP BY row_id"
    )
    session.connection.execute(f"ALTER TABLE {MADE} RENAME TO lineal_bare")
    values = ", ".join(f"{_taken_over(name)} AS {quoted(name)}" for name in carried)
    session.create(
        MADE, f"SELECT m.*, {values} FROM lineal_bare m LEFT JOIN lineal_given g ON m.parents[1] = g.row_id"
    )


def _taken_over(name: str) -> str:
    """Writes the SQL for a column of a row's first parent; one that belongs to a text, only where the new row has that text."""
    if name not in CARRIED:
        return f"g.{quoted(name)}"
    text = quoted(CARRIED[name])
    return f"CASE WHEN g.{text} = m.{text} THEN g.{quoted(name)} END"


def _place(session: Session, selector: Selector, views: list[str]) -> None:
    """Makes the table of places: where each new row's first parent is in the concatenated inputs."""
    parts = " UNION ALL ".join(
        f"SELECT row_id, {number} AS input, position FROM {quoted(name)}" for number, name in enumerate(views)
    )
    places = (
        f"SELECT row_id, min((input, position)) AS place, count(*) AS inputs FROM ({parts}) GROUP BY row_id"
    )
    session.create("lineal_places", places)
    orphans = session.fetch(
        f"SELECT count(*) FROM {MADE} WHERE NOT coalesce(list_bool_and([p IS NOT NULL FOR p IN parents]), false)"
    )[0][0]
    if orphans:
        raise DeclarationError(
            f"{selector.shown}: {orphans:,} new rows name no parents; list the row_ids each was made from"
        )
    unknown = session.fetch(
        f"SELECT parent FROM (SELECT unnest(parents) AS parent FROM {MADE}) m ANTI JOIN lineal_places p ON m.parent = p.row_id "
        "ORDER BY parent LIMIT 1"
    )
    if unknown:
        raise DeclarationError(
            f"{selector.shown}: parent {unknown[0][0]!r} is no row_id of {', '.join(views)}"
        )
    placed = (
        f"SELECT m.rowid AS number, p.place FROM {MADE} m JOIN lineal_places p ON m.parents[1] = p.row_id"
    )
    session.create("lineal_placed", placed)


def _merge_shared(workspace: Workspace, session: Session, made: Columns) -> None:
    """Merges rows that are equal because their parent is in several inputs, such as a replayed row among the new ones."""
    listed = ", ".join(f"m.{quoted(name)}" for name in made)
    shared = f"FROM {MADE} m JOIN lineal_places p ON m.parents[1] = p.row_id WHERE p.inputs > 1"
    turns = f"SELECT m.rowid AS number, row_number() OVER (PARTITION BY {listed} ORDER BY m.rowid) AS turn {shared}"
    if session.fetch("SELECT 1 FROM lineal_places WHERE inputs > 1 LIMIT 1"):
        session.create("lineal_again", f"SELECT number FROM ({turns}) WHERE turn > 1")
        session.connection.execute(f"DELETE FROM {MADE} WHERE rowid IN (SELECT number FROM lineal_again)")
        count = session.fetch("SELECT count(*) FROM lineal_again")[0][0]
        if count:
            workspace.counts["in several inputs"] = count


def _check_distinct(session: Session, selector: Selector, made: Columns) -> None:
    """Checks that new rows differ, and that prompts have ids of their own."""
    assert selector.makes is not None
    key = "prompt_id" if selector.makes.kind == "prompts" else _listed(made)
    twice = session.fetch(
        f"SELECT count(*), any_value(parents) FROM {MADE} GROUP BY {key} HAVING count(*) > 1 LIMIT 1"
    )
    if twice:
        what = "prompts share a prompt_id" if key == "prompt_id" else "new rows are the same"
        raise DeclarationError(
            f"{selector.shown}: {twice[0][0]:,} {what} (parents {', '.join(twice[0][1][:3])}); make each once"
        )
    if selector.makes.kind == "prompts" and session.fetch(
        f"SELECT 1 FROM {MADE} WHERE prompt_id IS NULL LIMIT 1"
    ):
        raise DeclarationError(f"{selector.shown}: a prompt has no prompt_id")


def _take_back(workspace: Workspace, selector: Selector, session: Session, made: Columns) -> None:
    """Removes retracted rows from the new ones; makes the table of their parents, with the reason."""
    assert selector.makes is not None
    run = session.connection.execute
    run("CREATE TEMP TABLE lineal_named (number BIGINT, row_id VARCHAR)")
    if workspace.retracted and selector.makes.kind == "prompts":
        run(f"INSERT INTO lineal_named SELECT rowid, prompt_id FROM {MADE}")
    elif workspace.retracted:
        digest, numbers, ids = selector_digest(selector), list[int](), list[str]()
        for table in session.stream(f"SELECT rowid AS lineal_number, {_listed(made)} FROM {MADE}"):
            numbers += table["lineal_number"].to_pylist()
            ids += _ids(table.drop_columns(["lineal_number"]), digest, workspace.step, selector)
        run("INSERT INTO lineal_named SELECT unnest($1), unnest($2)", [numbers, ids])
    session.create(
        "lineal_gone", f"SELECT n.number, r.reason FROM lineal_named n JOIN {RETRACTED} r USING (row_id)"
    )
    parents = (
        f"SELECT unnest(m.parents) AS parent, g.reason FROM {MADE} m JOIN lineal_gone g ON m.rowid = g.number"
    )
    session.create(
        "lineal_taken_back", f"SELECT parent, min(reason) AS reason FROM ({parents}) GROUP BY parent"
    )
    run(f"DELETE FROM {MADE} WHERE rowid IN (SELECT number FROM lineal_gone)")


def _answered(selector: Selector) -> str:
    return (
        "SELECT r.position, CASE WHEN p.parent IS NULL THEN 'dropped' ELSE 'kept' END AS decision, "
        f"CASE WHEN p.parent IS NULL THEN coalesce(t.reason, {literal(selector.dropped)}) ELSE {literal(selector.dropped)} END "
        f"AS reason FROM rows r LEFT JOIN (SELECT DISTINCT unnest(parents) AS parent FROM {MADE}) p ON r.row_id = p.parent "
        "LEFT JOIN lineal_taken_back t ON r.row_id = t.parent"
    )


_ANSWERS = f"SELECT decision, reason, 1::DOUBLE AS weight FROM {ANSWERED} ORDER BY position"


def _with_ids(
    workspace: Workspace, selector: Selector, tables: Iterator[pa.Table], columns: Columns, progress: Any
) -> Iterator[pa.Table]:
    """Adds the round and, for rows, ids made from the query's text, the step, the parents and the content."""
    import pyarrow as pa

    assert selector.makes is not None
    digest = selector_digest(selector)
    carried = list(selector.makes.carried(columns))
    for table in tables:
        progress.advance(table.num_rows)
        added: dict[str, pa.Array] = {
            "round": pa.array([workspace.round] * table.num_rows, arrow_type("round"))
        }
        if selector.makes.kind == "rows":
            ids = _ids(table.drop_columns(carried), digest, workspace.step, selector)
            added["sample_id"] = pa.array(ids, arrow_type("sample_id"))
        yield pa.table({name: added[name] if name in added else _conformed(table, name) for name in columns})


def _conformed(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table[name].cast(arrow_type(name)) if name in COLUMNS else table[name]


def _ids(table: pa.Table, digest: str, step: str, selector: Selector) -> list[str]:
    columns = {name: table[name].to_pylist() for name in table.column_names}
    parents = columns.pop("parents")
    try:
        return row_ids((digest, step), parents, columns)
    except TypeError:
        for row in table.drop_columns(["parents"]).to_pylist():
            _require_canonical(row, selector)
        raise


def _require_canonical(content: Mapping[str, Any], selector: Selector) -> None:
    try:
        canonical_json(content)
    except TypeError as error:
        raise DataError(f"{selector.shown}: a new row has no canonical form: {error}") from error
