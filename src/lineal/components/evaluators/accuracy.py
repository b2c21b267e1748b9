"""`accuracy`: one greedy completion per held-out prompt, judged; overall and by difficulty."""

from __future__ import annotations

from collections.abc import Mapping

from lineal.components.base import Columns, Output, Workspace, merged
from lineal.components.evaluators.judging import JudgedDraws
from lineal.components.evaluators.metrics import accuracy_metrics, write_metrics
from lineal.components.generators.drawing import Draw
from lineal.components.verifiers.base import VERDICT
from lineal.engines.sampling import SamplingSettings
from lineal.recipe.references import ArtifactKind


class Accuracy(JudgedDraws):
    """The share of prompts that greedy decoding solves; the judged rows stay in the artifact."""

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.METRICS, merged(self.drawn_columns(inputs["prompts"]), VERDICT))}

    def run(self, step: Workspace) -> None:
        """Decodes, judges, and writes rows and metrics."""
        draw = Draw(SamplingSettings(0.0, max_tokens=self.max_tokens, chat=self.chat), 1)
        write_metrics(step, accuracy_metrics(self.draw(step, draw, [])))
