"""The pass rate of judged rows, for controllers that move by it."""

from __future__ import annotations

from lineal.components.base import ROWS, Workspace
from lineal.components.selectors.query import open_session
from lineal.errors import DataError


def pass_rate(workspace: Workspace) -> float:
    """Returns the share of passes among the rows that have verdict pass or fail.

    Raises:
        DataError: none has.
    """
    query = (
        "SELECT count(*) FILTER (verdict = 'pass'), count(*) FILTER (verdict IN ('pass', 'fail')) FROM rows"
    )
    with open_session(workspace, {ROWS: workspace.rows(ROWS)}) as session:
        passes, judged = session.fetch(query)[0]
    if not judged:
        key = workspace.inputs[ROWS][0].key
        raise DataError(
            f"{workspace.step}: no row of {key} has verdict pass or fail, so the reward is unknown; see its verifier"
        )
    return float(passes / judged)
