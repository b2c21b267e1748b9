"""`rollout`: a checkpoint plays episodes; every turn is a row, and every episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from lineal.components.base import MAIN, Columns, Output, Role, Workspace
from lineal.components.playing.model import ModelPlays
from lineal.components.playing.rows import EPISODES, episodes_in, turns_in
from lineal.components.playing.settings import Plays, broken_in
from lineal.components.verifiers.base import FAIL, PASS
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa


class PlaysToRows(Plays):
    """Base of components that play and keep all: turns as the main output, episodes beside them."""

    role: ClassVar[Role] = Role.GENERATOR

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        turns, episodes = self.played_columns(inputs["prompts"], self.keeps_ids, self.of_two)
        return {MAIN: Output(ArtifactKind.ROWS, turns), EPISODES: Output(ArtifactKind.ROWS, episodes)}

    def write(self, workspace: Workspace, played: Iterable[pa.Table]) -> None:
        """Writes both outputs, and counts.

        Raises:
            CheckFailure: too many environments were broken.
        """
        prompts, verdicts, errors = workspace.rows("prompts"), Counter[str](), Counter[str]()
        turns = self.played_columns(tuple(prompts.columns), self.keeps_ids, self.of_two)[0]

        def parts() -> Iterator[Mapping[str, pa.Table]]:
            for table in played:
                verdicts.update(table["verdict"].to_pylist())
                errors.update(broken_in(table))
                yield {MAIN: turns_in(table, turns), EPISODES: episodes_in(table)}

        out = workspace.write_outputs(parts(), [MAIN, EPISODES])
        workspace.counts.update(
            {"in": prompts.count, "expected": out[MAIN], "out": out[MAIN], EPISODES: out[EPISODES]}
        )
        workspace.counts.update({verdict: verdicts[verdict] for verdict in (PASS, FAIL)})
        self.refuse_errors(workspace, out[EPISODES], errors)


class Rollout(PlaysToRows, ModelPlays):
    """Plays episodes of every task with a checkpoint.

    A row of the main output is a turn: the model's input, its output, the action in it, the environment's answer;
    its parent is the turn before, or the task. `NODE.episodes` has a row for each episode, whose parents are what it began
    from and its last turn; its verdict is whether the goal was reached, its score the sum of the rewards. A broken environment
    is an error, never a lost game.

    Attributes:
        model, opponent, episodes, temperature, top_p, top_k, max_tokens, stop, token_ids: see `ModelPlays`.
        prompts, max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Plays`.
    """

    def run(self, workspace: Workspace) -> None:
        """Plays all episodes, slice by slice."""
        self.write(workspace, self.play_with_model(workspace))
