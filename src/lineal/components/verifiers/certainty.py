"""`certainty`: rows scored by how sure a language model is of their completions; no label, judge or vote.

Self-certainty ranks samples in arXiv:2502.18581 and is an online reward in Intuitor, arXiv:2505.19590; the negative entropy in
arXiv:2505.15134; the probability in RLSC, arXiv:2506.06395.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp
from typing import TYPE_CHECKING, Literal

from lineal.components.base import Workspace
from lineal.components.verifiers.model_scores import ModelScores, Scores
from lineal.engines.factory import open_likelihood

if TYPE_CHECKING:
    from lineal.engines.sampling.scoring import Pair


class Certainty(ModelScores):
    """Adds how sure a model is of each completion, including its end, as `score`.

    Attributes:
        measure: 'self_certainty', how far what the model says of each next token is from knowing nothing, KL(uniform, model);
            'negative_entropy', minus the entropy of that; both are means over the tokens. 'probability' is that of the whole
            completion.
    """

    measure: Literal["self_certainty", "negative_entropy", "probability"] = "self_certainty"

    def scores(self, workspace: Workspace) -> Scores:
        """Returns the model's certainty."""
        model = open_likelihood(workspace, "scorer")

        def scores(pairs: Sequence[Pair], progress: Callable[[int], None]) -> list[float]:
            if self.measure == "probability":
                return [exp(found.logprob) for found in model.score(pairs, self.chat, progress)]
            certain = self.measure == "self_certainty"
            return [
                one.divergence if certain else -one.entropy
                for one in model.certainty(pairs, self.chat, progress)
            ]

        return scores
