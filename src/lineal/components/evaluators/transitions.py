"""`transitions`: each evaluation prompt's change from one checkpoint to the next; right to wrong is forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lineal.components.base import MAIN, Columns, Output, RowsRef, Workspace
from lineal.components.evaluators.base import Evaluator, by_prompt
from lineal.components.evaluators.metrics import Numbers, write_evaluation
from lineal.components.selectors.query import Session, open_session
from lineal.data.estimates import mean
from lineal.errors import DataError

_PAIRS = """
    SELECT prompt_id, NULL, b.verdict = 'pass', a.verdict = 'pass' FROM before b JOIN after a USING (prompt_id)
    WHERE a.verdict IN ('pass', 'fail') AND b.verdict IN ('pass', 'fail')
"""


_WORDS = {True: "right", False: "wrong"}


class Transitions(Evaluator):
    """Writes the shares `right_to_wrong`, `wrong_to_right`, `right_to_right` and `wrong_to_wrong` of the prompts.

    Attributes:
        before, after: two evaluations of the same prompts, one row for each prompt: `previous.evaluation`, `evaluation`.
    """

    headline: ClassVar[str] = "right_to_wrong"
    higher_is_better: ClassVar[bool] = False

    before: RowsRef
    after: RowsRef

    def needs(self) -> dict[str, Columns]:
        return {"before": ("prompt_id", "verdict"), "after": ("prompt_id", "verdict")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {
            MAIN: self.metrics(
                "prompts", *(f"{one}_to_{other}" for one in _WORDS.values() for other in _WORDS.values())
            )
        }

    def run(self, workspace: Workspace) -> None:
        """Compares prompt by prompt."""
        with open_session(workspace, {name: workspace.rows(name) for name in ("before", "after")}) as session:
            for name in ("before", "after"):
                self._require_one_each(workspace, session, name)
            pairs = by_prompt(session, _PAIRS)
        if not pairs:
            keys = " and ".join(workspace.inputs[name][0].key for name in ("before", "after"))
            raise DataError(
                f"{workspace.step}: {keys} have no prompt in common that both judged; evaluate on the same task set"
            )
        write_evaluation(workspace, self.headline, pairs, _shares)

    def _require_one_each(self, workspace: Workspace, session: Session, name: str) -> None:
        twice = session.fetch(
            f"SELECT prompt_id, count(*) FROM {name} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
        )
        if twice:
            key = workspace.inputs[name][0].key
            raise DataError(
                f"{workspace.step}: {key} has {twice[0][1]} rows of prompt {twice[0][0]}; expected one, as from accuracy"
            )


def _shares(pairs: list[tuple[bool, bool]]) -> Numbers:
    return {
        "prompts": len(pairs),
        **{
            f"{_WORDS[before]}_to_{_WORDS[after]}": mean([float(pair == (before, after)) for pair in pairs])
            for before in (True, False)
            for after in (True, False)
        },
    }
