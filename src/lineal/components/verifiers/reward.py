"""`reward`: rows scored by a reward model."""

from __future__ import annotations

from lineal.components.base import RewardRef, Workspace
from lineal.components.verifiers.model_scores import ModelScores, Scores
from lineal.engines.factory import open_reward_model


class Reward(ModelScores):
    """Adds a reward model's number for each completion as `score`; `reward_model` trains one."""

    scorer: RewardRef

    def scores(self, workspace: Workspace) -> Scores:
        """Returns the reward model's numbers."""
        model = open_reward_model(workspace, "scorer")
        return lambda pairs, progress: model.score(pairs, self.chat, progress)
