"""Episodes of an online training: played by the model at that time, rewarded by their environments, and kept as rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from lineal.components.base import Columns, Workspace, merged
from lineal.components.playing.arena import Arena
from lineal.components.playing.episode import Episode
from lineal.components.playing.rows import EPISODES, episodes_in, table_of, turns_in, with_values_of_turns
from lineal.components.playing.settings import Playing, broken_in, environments_of
from lineal.components.playing.waves import DrawSource, ModelPlayer, play
from lineal.components.trainers.rollouts import ROLLOUTS
from lineal.components.trainers.turn_advantages import (
    Followed,
    Scale,
    TurnAdvantage,
    returns_from,
    turn_advantages,
)
from lineal.components.verifiers.base import ERROR, FAIL, PASS
from lineal.data.conversations import plain_values
from lineal.data.ids import digest_of
from lineal.data.schema import arrow_type, row_key
from lineal.data.shards import save_shard, saved_shards
from lineal.errors import CheckFailure, DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.sampling.rollouts import PlayedTurn
    from lineal.engines.sampling.room import Room
    from lineal.engines.sampling.sampler import SamplingSettings

LEARNT_COLUMNS: Columns = ("optimizer_step", "advantage")
"""Columns of a training's episodes beside those of `rollout`."""


class Rewarding(Playing):
    """Episodes instead of single completions, as `rollout` plays them.

    Attributes:
        reward: what an episode is worth: the sum of its rewards ('return'), or 1 if the goal is reached, else 0 ('success').
        turn_advantage: a turn's own advantage beside its episode's, see `TurnAdvantage`; without it, a turn has its episode's.
        max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Playing`.
    """

    reward: Literal["return", "success"] = "return"
    turn_advantage: Annotated[TurnAdvantage | None, Field(exclude_if=lambda value: value is None)] = None

    def learnt_columns(self, prompts: Columns, ids: bool) -> tuple[Columns, Columns]:
        """Returns the columns of turns and of episodes of a training."""
        turns, episodes = self.played_columns(prompts, ids)
        return merged(turns, LEARNT_COLUMNS), merged(episodes, LEARNT_COLUMNS)


EnvironmentSetting = Annotated[Rewarding | None, Field(exclude_if=lambda value: value is None)]
"""Left out of the identity where single completions are rewarded."""


class TrainingEpisodes:
    """Plays the episodes of a training, generation by generation, and keeps them.

    Args:
        workspace: where the rows go; each generation is saved as a shard, so that a resumed training finds the earlier ones.
        tasks: the task rows.
        how: they are played and rewarded.
        samples: episodes of a task in one generation.
        drawing: how turns are drawn.
        room: what fits into the model.
        provenance: what decides the turns beside the checkpoint; it enters their ids.
        ids: whether turns keep the ids of their tokens.
        scale: what advantages of turns are divided by.
    """

    def __init__(
        self,
        workspace: Workspace,
        tasks: pa.Table,
        how: Rewarding,
        samples: int,
        drawing: SamplingSettings,
        room: Room,
        provenance: str,
        ids: bool,
        scale: Scale = "group",
    ) -> None:
        self._scale: Scale = scale
        self._followed: list[list[Followed]] = []
        self._workspace, self._tasks, self._how, self._samples = workspace, tasks, how, samples
        self._drawing, self._room, self._provenance, self._ids = drawing, room, provenance, ids
        self._rules, self._key = how.rules(tuple(tasks.column_names)), row_key(tasks.column_names)
        self._places = environments_of(workspace)
        self._arena = Arena(self._places.values(), workspace.compute.worker_count, how.timeout)
        self._facts = {
            "temperature": drawing.temperature,
            "round": workspace.round,
            "checkpoint": workspace.model("init").digest,
        }
        self._last: tuple[int, pa.Table] = (0, tasks)
        self._shards = workspace.partial / ROLLOUTS
        self._shards.mkdir(exist_ok=True)

    def __enter__(self) -> TrainingEpisodes:
        self._arena.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._arena.__exit__(*error)

    def play(
        self, tasks: Sequence[tuple[int, int]], optimizer_step: int, policy: DrawSource
    ) -> list[list[PlayedTurn]]:
        """Plays a generation: an episode for each (place of the task, which of its episodes); a group's are adjacent."""
        from lineal.engines.sampling.rollouts import PlayedTurn

        own = self._tasks.take([place for place, _ in tasks[:: self._samples]])
        rows = [row for row in own.to_pylist() for _ in range(self._samples)]
        episodes = [
            self._how.episode(row, index, self._key, self._places, self._rules, self._provenance)
            for row, (_, index) in zip(rows, tasks, strict=True)
        ]
        player = ModelPlayer(policy, self._drawing, self._room, self._workspace)
        with self._workspace.timed("play"):
            play(episodes, self._arena, player, self._workspace.seed, self._workspace.step, lambda over: None)
        self._refuse_all_broken(episodes)
        self._followed = self._what_followed(episodes)
        self._last = (
            optimizer_step,
            table_of(episodes, own, self._samples, self._rules.chat, self._facts, self._provenance),
        )
        return [[PlayedTurn(turn.given, turn.completion) for turn in episode.made] for episode in episodes]

    def _what_followed(self, episodes: Sequence[Episode]) -> list[list[Followed]]:
        """Returns the turns of a generation's episodes with what followed them; none where turns have no advantages."""
        how = self._how.turn_advantage
        return (
            []
            if how is None
            else [self._turns(place // self._samples, own, how) for place, own in enumerate(episodes)]
        )

    def _turns(self, group: int, episode: Episode, how: TurnAdvantage) -> list[Followed]:
        inputs = (
            [digest_of(plain_values(turn.given)) for turn in episode.made] if how.beside == "input" else []
        )
        names: Sequence[object] = inputs or range(len(episode.made))
        broken, returns = episode.game.problem is not None, returns_from(self._rewards(episode), how.discount)
        return [
            Followed((group, name), None if broken else value)
            for name, value in zip(names, returns, strict=True)
        ]

    def _rewards(self, episode: Episode) -> list[float]:
        if self._how.reward == "return":
            return [turn.reward for turn in episode.made]
        return [0.0] * len(episode.made[1:]) + [float(episode.won)] * len(episode.made[:1])

    def by_turn(self, advantages: Sequence[float]) -> list[list[float]] | None:
        """Returns the advantages of each episode's turns: its own, and what the turn adds; None where turns have no own."""
        how = self._how.turn_advantage
        if how is None:
            return None
        own = turn_advantages(self._followed, self._scale)
        return [
            [one + how.weight * value for value in turns] for one, turns in zip(advantages, own, strict=True)
        ]

    def _refuse_all_broken(self, episodes: Sequence[Episode]) -> None:
        problems = [episode.game.problem for episode in episodes if episode.game.problem is not None]
        if len(problems) == len(episodes):
            said = f"{self._workspace.step}: the environment broke in all {len(episodes):,} episodes of a generation"
            raise CheckFailure(
                "environment_errors",
                f"{said}, the first time: {problems[0]}. Broken episodes are errors, not lost games",
            )

    def reward(self) -> list[float | None]:
        """Returns the reward of each episode of the last generation; None for a broken environment."""
        rows = self._last[1]
        if self._how.reward == "return":
            return rows["score"].to_pylist()  # type: ignore[no-any-return]
        return [
            None if verdict == ERROR else float(verdict == PASS) for verdict in rows["verdict"].to_pylist()
        ]

    def learned(self, advantages: Sequence[float]) -> None:
        """Saves the generation that was played last."""
        import pyarrow as pa

        optimizer_step, rows = self._last
        steps = pa.array([optimizer_step] * rows.num_rows, arrow_type("optimizer_step"))
        rows = rows.append_column("optimizer_step", steps)
        rows = rows.append_column("advantage", pa.array(advantages, arrow_type("advantage")))
        by_turn = self.by_turn(advantages)
        rows = rows if by_turn is None else with_values_of_turns(rows, "advantage", by_turn)
        save_shard(self._shards / f"{optimizer_step:012d}.parquet", rows)

    def write(self, expected: int) -> None:
        """Writes the turns as the output `rollouts` and the episodes beside them, and counts.

        Raises:
            DataError: there are not as many episodes as expected.
            CheckFailure: too many environments were broken.
        """
        verdicts, errors, played = Counter[str](), Counter[str](), set[str]()
        columns = self._how.learnt_columns(tuple(self._tasks.column_names), self._ids)[0]

        def parts() -> Iterator[Mapping[str, pa.Table]]:
            for table in saved_shards(self._shards):
                verdicts.update(table["verdict"].to_pylist())
                errors.update(broken_in(table))
                played.update(parents[0] for parents in table["parents"].to_pylist())
                yield {ROLLOUTS: turns_in(table, columns), EPISODES: episodes_in(table)}

        out = self._workspace.write_outputs(parts(), [ROLLOUTS, EPISODES])
        if out[EPISODES] != expected:
            said = f"{out[EPISODES]:,} episodes are here, but the training played {expected:,}. Run it again"
            raise DataError(f"{self._workspace.step}: {said}")
        counts = {EPISODES: expected, "unsampled": self._tasks.num_rows - len(played)}
        self._workspace.counts.update({"expected": out[ROLLOUTS], "out": out[ROLLOUTS], **counts})
        self._workspace.counts.update({verdict: verdicts[verdict] for verdict in (PASS, FAIL)})
        self._how.refuse_errors(self._workspace, expected, errors)

    def write_none(self) -> None:
        """Writes both outputs without a row, with every column."""
        none = table_of(
            [], self._tasks.slice(0, 0), self._samples, self._rules.chat, self._facts, self._provenance
        )
        self._last, self._followed = (0, none), []
        self.learned([])
        self.write(0)


def imagine(workspace: Workspace, episodes: TrainingEpisodes, tasks: int, samples: int) -> int:
    """Makes up a training's episodes for the fake engine: each task has one turn; returns how many there are."""
    from lineal.engines.fake import FakeSampler
    from lineal.engines.sampling.saved_completions import SavedSampler

    played = [(place, index) for place in range(tasks) for index in range(samples)]
    episodes.play(played, 0, SavedSampler(FakeSampler(), workspace.unsaved / "init.jsonl", {}))
    episodes.learned([0.0] * len(episodes.reward()))
    return len(played)
