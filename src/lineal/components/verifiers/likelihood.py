"""`likelihood`: rows scored by how likely a language model finds their completions.

A model trained with DPO on right against wrong completions is a verifier in this way (V-STaR, arXiv:2402.06457, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lineal.components.base import ModelRef, Workspace
from lineal.components.verifiers.model_scores import ModelScores, Scores
from lineal.engines.factory import open_likelihood
from lineal.engines.sampling.protocols import LikelihoodSource

if TYPE_CHECKING:
    from lineal.engines.sampling.scoring import Pair


class Likelihood(ModelScores):
    """The log-probability of each completion, eos included.

    Attributes:
        reference: a model whose log-probability is subtracted: DPO's implicit reward over beta (arXiv:2305.18290, equation 5).
        per_token: whether log-probabilities are divided by the completion's tokens.
    """

    reference: ModelRef | None = None
    per_token: bool = False

    def scores(self, workspace: Workspace) -> Scores:
        """Returns the model's log-probabilities, the reference's subtracted."""
        scorer = open_likelihood(workspace, "scorer")
        reference = open_likelihood(workspace, "reference") if self.reference else None
        return likelihood_scores(scorer, reference, self.per_token, self.chat)


def likelihood_scores(
    model: LikelihoodSource, reference: LikelihoodSource | None, per_token: bool, chat: bool
) -> Scores:
    """Computes scores by one model's likelihoods, or by one's over another's."""

    def scores(pairs: Sequence[Pair], progress: Callable[[int], None]) -> list[float]:
        found = model.score(pairs, chat, progress)
        under = [other.logprob for other in reference.score(pairs, chat)] if reference else [0.0] * len(found)
        totals = [own.logprob - base for own, base in zip(found, under, strict=True)]
        return [total / own.tokens if per_token else total for total, own in zip(totals, found, strict=True)]

    return scores
