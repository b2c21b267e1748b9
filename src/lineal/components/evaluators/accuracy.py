"""`accuracy`: one greedy completion per held-out prompt, judged; overall and by difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import Columns, Output, Workspace, merged
from lineal.components.evaluators.judging import JudgedDraws
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.components.generators.drawing import Draw
from lineal.components.generators.stopping import stop_texts
from lineal.components.verifiers.base import ERROR, PASS, VERDICT
from lineal.data.estimates import mean
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


class Accuracy(JudgedDraws):
    """The share of prompts that greedy decoding solves; the judged rows stay in the artifact.

    Writes `accuracy`, `count`, and apart from them the `errors`: completions that could not be judged.
    """

    headline: ClassVar[str] = "accuracy"
    seeded: ClassVar[bool] = False  # decoding is greedy

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {
            "": self.metrics(
                "accuracy", "count", "errors", columns=merged(self.drawn_columns(inputs["prompts"]), VERDICT)
            )
        }

    def run(self, workspace: Workspace) -> None:
        """Decodes, judges, and writes rows and metrics."""
        settings = SamplingSettings(
            0.0, max_tokens=self.max_tokens, chat=self.chat, stop=stop_texts(self.stop)
        )
        rows = self.draw(workspace, Draw(settings, 1), ["prompt_id"])
        judged = judged_prompts(rows)
        write_evaluation(workspace, self.headline, judged, accuracy_of, errors=rows.num_rows - len(judged))


def judged_prompts(rows: pa.Table) -> list[Asked[bool]]:
    """Returns which prompts were solved; those that could not be judged are left out.

    Raises:
        DataError: none could be judged.
    """
    found = [
        Asked(row["prompt_id"], row.get("difficulty"), row["verdict"] == PASS)
        for row in rows.to_pylist()
        if row["verdict"] not in (ERROR, None)
    ]
    if not found:
        raise DataError(
            f"no accuracy: none of {rows.num_rows:,} rows has verdict pass or fail. Mend the verifier"
        )
    return found


def accuracy_of(solved: list[bool]) -> Numbers:
    """Returns the share of solved prompts, and how many were judged."""
    return {"accuracy": mean(list(map(float, solved))), "count": len(solved)}
