"""Selectors that decide: one answer for every input row, which keeps its columns and its id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lineal.components.base import MAIN, Workspace
from lineal.components.selectors.header import DECISION, Selector
from lineal.components.selectors.query import ALL_ROWS, RETRACTED, Session, beside, open_session, with_columns
from lineal.data.sql import quoted
from lineal.data.store import Rows
from lineal.errors import CheckFailure, DataError, DeclarationError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

DROPPED = "dropped"
DECIDED, ANSWERED = "lineal_decided", "lineal_answered"
"""The tables of what the query gives, and of that by position."""
POSITION = "position"
"""What a query decides by in place of `row_id` where rows may share an id."""
MOST_REASONS = 20


def decide(workspace: Workspace, selector: Selector, arguments: Mapping[str, Any]) -> None:
    """Runs a deciding query and writes kept and dropped rows in input order.

    Args:
        workspace: the running step.
        selector: the SQL file.
        arguments: its parameters.

    Raises:
        DeclarationError: the query is wrong, or does not decide every row exactly once.
        CheckFailure: no row is kept.
    """
    views = input_views(workspace, selector)
    with open_session(workspace, views, selector.optional, selector) as session:
        session.run(DECIDED, selector, arguments)
        given = _check_columns(session, selector)
        key = POSITION if POSITION in given else "row_id"
        require_row_ids(session, views, repeated=("rows",) if key == POSITION else ())
        session.create(ANSWERED, _answered(key, given))
        _check_conservation(session, selector, key)
        session.connection.execute(f"DROP TABLE {DECIDED}")
        add_retracted(session)
        count_decisions(workspace, session)
        require_kept(workspace, selector, workspace.counts["kept"])
        with workspace.progress(workspace.counts["in"], "rows") as progress:
            write_decided(
                workspace, session, _answers(selector, given), {MAIN: "kept", DROPPED: "dropped"}, progress
            )


def input_views(workspace: Workspace, selector: Selector) -> dict[str, Rows]:
    """Returns by view name the rows that a selector reads."""
    return {name: workspace.rows(name) for name in ("rows", *selector.inputs)}


def require_row_ids(session: Session, views: Mapping[str, Rows], repeated: Sequence[str] = ()) -> None:
    """Checks that every row of every input has an id of its own; where ids may be repeated, that it has one.

    Raises:
        DataError: two rows share an id, or one has none.
    """
    for name, rows in views.items():
        twice = session.fetch(
            f"SELECT row_id, count(*) FROM {quoted(name)} GROUP BY row_id "
            f"HAVING count(*) > 1{' AND false' if name in repeated else ''} OR row_id IS NULL ORDER BY row_id LIMIT 1"
        )
        if twice:
            shared, count = twice[0]
            keys = ", ".join(artifact.key for artifact in rows.artifacts)
            got = f"{count:,} rows have {'no id' if shared is None else f'id {shared!r}'}"
            raise DataError(
                f"input {name!r} ({keys}): {got} (sample_id, else prompt_id), but selection needs one of its own for each. "
                "Don't put artifacts together that hold the same rows"
            )


def add_retracted(session: Session) -> None:
    """Adds the retracted rows of `rows` to what was answered, as dropped for their reason."""
    retracted = (
        f"SELECT position, 'dropped' AS decision, reason FROM {ALL_ROWS} JOIN {RETRACTED} USING (row_id)"
    )
    session.connection.execute(f"INSERT INTO {ANSWERED} BY NAME {retracted}")


def count_decisions(workspace: Workspace, session: Session) -> None:
    """Adds in, kept, dropped and the commonest reasons to the step's counts."""
    found = session.fetch(
        f"SELECT decision, reason, count(*) FROM {ANSWERED} GROUP BY ALL ORDER BY count(*) DESC, reason NULLS LAST"
    )
    kept = sum(count for decision, _, count in found if decision == "kept")
    reasons = [(reason, count) for decision, reason, count in found if decision == "dropped"]
    total = sum(count for _, count in reasons)
    workspace.counts.update({"in": kept + total, "kept": kept, "dropped": total})
    workspace.counts.update({f"dropped: {reason}": count for reason, count in reasons[:MOST_REASONS]})
    if len(reasons) > MOST_REASONS:
        workspace.counts["dropped: other reasons"] = sum(count for _, count in reasons[MOST_REASONS:])


def require_kept(workspace: Workspace, selector: Selector, kept: int, what: str = "rows kept") -> None:
    """Refuses an empty result, unless no row came in or the selector says what emptiness means.

    Raises:
        CheckFailure: nothing was kept; says the reasons and where to look.
    """
    if kept or selector.empty or not workspace.counts["in"]:
        return
    source = workspace.inputs["rows"][0].key
    prefix = "dropped: "
    dropped = {
        name.removeprefix(prefix): count
        for name, count in workspace.counts.items()
        if name.startswith(prefix)
    }
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    raise CheckFailure(
        "not_empty",
        f"{source.partition('/')[0]}/{workspace.step}: 0 of {workspace.counts['in']:,} {what}"
        f"{f' ({reasons})' if reasons else ''}. Look at: lineal show {source} --limit 20",
    )


def _check_columns(session: Session, selector: Selector) -> dict[str, str]:
    """Checks the query's columns against the contract and returns them."""
    given = session.columns(DECIDED)
    needed = tuple(name for name in DECISION if name != "row_id" or POSITION not in given)
    allowed = (*DECISION, POSITION, "weight", *selector.adds)
    for name in (*needed, *selector.adds):
        if name not in given:
            raise DeclarationError(
                f"{selector.shown}: the query gives no column {name!r}; it gives {', '.join(given)}"
            )
    for name in given:
        if name not in allowed:
            fix = f"{did_you_mean(name, allowed)} Or declare it: '-- adds: {name}'"
            raise DeclarationError(
                f"{selector.shown}: the query gives a column {name!r} that the header doesn't name. {fix}"
            )
    return given


def _check_conservation(session: Session, selector: Selector, key: str) -> None:
    """Checks that every row of the query's input is kept or dropped exactly once, and dropped with a reason."""
    expected, decided = (session.fetch(f"SELECT count(*) FROM {table}")[0][0] for table in ("rows", DECIDED))
    if (
        session.fetch(f"SELECT count(*), count(position) FROM {ANSWERED}")[0] != (expected, expected)
        or decided != expected
    ):
        unknown, known = session.fetch(
            f"SELECT count(*) FILTER (r.{key} IS NULL), count(DISTINCT r.{key}) "
            f"FROM {DECIDED} d LEFT JOIN rows r ON d.{key} = r.{key}"
        )[0]
        raise DeclarationError(
            f"{selector.shown}: {expected:,} rows came in, but {decided:,} decisions came out: "
            f"{expected - known:,} rows have none, {decided - unknown - known:,} decisions are second ones, "
            f"{unknown:,} are of unknown rows. Give every {key} of 'rows' exactly one"
        )
    wrong = session.fetch(
        f"SELECT {key}, decision, reason FROM {DECIDED} WHERE decision IS NULL OR decision NOT IN ('kept', 'dropped') "
        f"OR (decision = 'dropped' AND coalesce(reason, '') = '') ORDER BY {key} LIMIT 1"
    )
    if wrong:
        row, decision, reason = wrong[0]
        raise DeclarationError(
            f"{selector.shown}: {key} {row!r} has decision {decision!r} and reason {reason!r}; "
            "expected 'kept', or 'dropped' with a reason"
        )


def write_decided(
    workspace: Workspace, session: Session, query: str, outputs: Mapping[str, str], progress: Any
) -> None:
    """Writes the input rows by their decisions, with the query's columns beside them.

    Args:
        workspace: the running step.
        session: where the query runs.
        query: decision, reason, weight and what else to add, for every row of `rows` by position.
        outputs: by output, the decision whose rows it gets.
        progress: advances by the rows looked at.
    """
    import pyarrow.compute as pc

    def tables() -> Iterator[Mapping[str, pa.Table]]:
        for table, answers in beside(session, workspace.rows("rows"), query):
            progress.advance(table.num_rows)
            rows = with_columns(table, answers)
            yield {
                output: rows.filter(pc.equal(answers["decision"], decision))
                for output, decision in outputs.items()
            }

    workspace.write_outputs(tables(), outputs)


def _answered(key: str, given: Mapping[str, str]) -> str:
    """Writes a query for the decision at each position, including rows without a decision and decisions without a row.

    Since keys differ, there are as many as rows, and as decisions, and none lacks a position, only where each row has one.
    """
    keys = ", ".join(name for name in ("row_id", POSITION) if name in given)
    texts = "d.decision::VARCHAR AS decision, d.reason::VARCHAR AS reason"
    lines = f"(SELECT row_id, position FROM rows) r FULL JOIN {DECIDED} d ON r.{key} = d.{key}"
    return f"SELECT r.position, d.* EXCLUDE ({keys}) REPLACE ({texts}) FROM {lines}"


def _answers(selector: Selector, given: Mapping[str, str]) -> str:
    weight = "coalesce(weight, 1)" if "weight" in given else "1"
    added = "".join(f", {quoted(name)}" for name in selector.adds)
    return f"SELECT decision, coalesce(reason, '') AS reason, {weight}::DOUBLE AS weight{added} FROM {ANSWERED} ORDER BY position"
