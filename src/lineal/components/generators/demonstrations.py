"""`demonstrations`: the environments' own experts play, and their moves are rows to learn from."""

from __future__ import annotations

from collections.abc import Sequence

from lineal.components.base import Workspace
from lineal.components.generators.rollout import PlaysToRows
from lineal.components.playing.arena import Arena
from lineal.components.playing.episode import Episode
from lineal.components.playing.waves import ExpertPlayer, Player


class Demonstrations(PlaysToRows):
    """Plays one episode of every task with the expert of its environment; rows are those of `rollout`, without a checkpoint.

    Its return is the best that is possible, where the expert is the best player.

    Attributes:
        prompts, max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Plays`.
    """

    def run(self, workspace: Workspace) -> None:
        """Plays all episodes, slice by slice."""

        def player(arena: Arena, episodes: Sequence[Episode]) -> Player:
            return ExpertPlayer(arena, episodes, "<action>{}</action>" if self.format == "tag" else "{}")

        facts = {"temperature": None, "round": workspace.round, "checkpoint": None}
        self.write(
            workspace, self.play_all(workspace, 1, player, self.provenance("expert", {}, workspace), facts)
        )
