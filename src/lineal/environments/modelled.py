"""`modelled`: a model answers in an environment's place, as a learned world or a partner in a conversation. Needs no package."""

from __future__ import annotations

from typing import Any, ClassVar

AGENT, WORLD = "agent", "world"


class Modelled:
    """A game of two in which the opponent, a model, writes what the agent sees next.

    It answers the agent's moves as a partner in a conversation does: it is given each move, the first one below what the agent
    saw at the beginning. `history` therefore has to show it at least what it wrote last, so 2 or more. Its whole output, whatever
    `format` says of the agent's, is the agent's next observation.
    """

    model_plays: ClassVar[str] = AGENT

    def reset(self, *, seed: int, observation: str, goal: str = "") -> str:
        """Begins with what the agent sees first.

        Args:
            seed: not used: all that is drawn is drawn by the two models.
            observation: what the agent sees first.
            goal: a text that an observation holds once the goal is reached; without one the game never ends by itself.
        """
        self._before, self._goal = f"{observation}\n", goal
        self._mover = AGENT
        return observation

    @property
    def player(self) -> str:
        """The player who moves next."""
        return self._mover

    def step(self, text: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes the agent's move, or the world's answer to it."""
        if self._mover == AGENT:
            given, self._before, self._mover = f"{self._before}{text}", "", WORLD
            return given, 0.0, False, False, {}
        self._mover = AGENT
        won = bool(self._goal) and self._goal in text
        return text, float(won), won, False, {"rewards": {AGENT: float(won)}}
