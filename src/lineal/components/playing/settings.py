"""The common part of components that play: their settings, the tasks, and the way from task rows to rows of episodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from annotated_types import Gt
from pydantic import PrivateAttr
from pydantic import Strict as ExactType

from lineal.components.base import Columns, Component, RowsRef, Surroundings, Workspace, merged
from lineal.components.generators.drawing import carried, require_distinct
from lineal.components.generators.framing import SystemText
from lineal.components.generators.template import Template, read_template, template_files
from lineal.components.playing.arena import Arena, Game
from lineal.components.playing.described import described
from lineal.components.playing.episode import Episode, Format, Past, PlayerSide, Rules, Unparsable
from lineal.components.playing.matches import MODEL, OPPONENT, Match, play_matches
from lineal.components.playing.rows import episode_columns, table_of, turn_columns
from lineal.components.playing.waves import Player, play
from lineal.components.verifiers.base import ERROR, Share
from lineal.data.ids import digest_of, row_id
from lineal.data.schema import row_key
from lineal.environments.registry import location_of
from lineal.errors import CheckFailure, DataError, MachineError
from lineal.recipe.compute import Positive, Strict

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

OBSERVATION = "observation"


class Playing(Strict):
    """Settings by which episodes are played.

    Attributes:
        max_turns: after how many turns an episode is ended, those before it was taken up included.
        history: of how many turns, the present one included, the model sees the observation and what it wrote; or 'all'.
        template: what the first turn that the model sees becomes, a text with `{column}`s and `{observation}`, or the name of a
            file in `pipelines/templates/`.
        system: a system turn; it needs a conversation.
        chat: whether episodes are conversations for the tokenizer's chat template, and not one growing text.
        format: where in a completion the action is: all of it ('text'), or the last `<action>...</action>` ('tag').
        unparsable: what follows an action that cannot be read: the environment's answer goes to the model ('answer'), or the
            episode ends ('end').
        timeout: seconds of processor time for one answer of an environment.
        max_error_rate: the share of episodes with a broken environment above which the step fails.
    """

    max_turns: Positive
    history: Literal["all"] | Positive = "all"
    template: str = "{prompt}\n{observation}"
    system: SystemText = None
    chat: bool = False
    format: Format = "text"
    unparsable: Unparsable = "answer"
    timeout: Annotated[float, Gt(0.0), ExactType(False)] = 10.0
    max_error_rate: Share = 0.05
    _template: Template = PrivateAttr()

    def read_template(self, surroundings: Surroundings) -> None:
        """Reads the template, once the settings are there.

        Raises:
            ValueError: it does not show what the environment said.
        """
        self._template = read_template(self.template, surroundings)
        if OBSERVATION not in self._template.columns:
            raise ValueError("template: must hold {observation}, which is what the environment said")

    def template_files(self) -> dict[str, Path]:
        """Returns the template's file, where it is one."""
        return template_files(self._template)

    def task_columns(self) -> Columns:
        """Returns the columns that task rows must have."""
        filled = tuple(name for name in self._template.columns if name != OBSERVATION)
        return merged(("prompt_id", "prompt", "task"), filled)

    def played_columns(self, prompts: Columns, ids: bool, of_two: bool = False) -> tuple[Columns, Columns]:
        """Returns the columns of turns, with the ids of their tokens or without, and of episodes.

        Raises:
            ValueError: a system turn where nothing makes conversations.
        """
        chat = self.talks(prompts)
        if self.system is not None and not chat:
            raise ValueError(
                "system needs a conversation, but the tasks are texts and chat is off. Write it into template"
            )
        return turn_columns(prompts, chat, ids, of_two), episode_columns(prompts, chat, of_two)

    def talks(self, prompts: Columns) -> bool:
        """Tells whether the model gets conversations."""
        return self.chat or "messages" in prompts

    def rules(self, prompts: Columns) -> Rules:
        """Returns the rules of the episodes."""
        history = None if self.history == "all" else self.history
        return Rules(
            self._template,
            self.system,
            self.talks(prompts),
            history,
            self.max_turns,
            self.format,
            self.unparsable,
        )

    def episode(
        self,
        row: Mapping[str, Any],
        index: int,
        key: str,
        places: Mapping[str, str],
        rules: Rules,
        provenance: str,
    ) -> Episode:
        """Makes an episode of a task's row, or after a turn's; `key` is the row's id, `places` are those of the environments."""
        name = row_id("episode", provenance, row[key], index)
        past = Past.of(row, rules)
        return Episode(row, index, row[key], name, game_of(row, name, places, past.goal), rules, past)

    def match(
        self,
        row: Mapping[str, Any],
        index: int,
        key: str,
        places: Mapping[str, str],
        rules: Rules,
        provenance: str,
    ) -> Match:
        """Makes a game of two of a task's row; see `episode`.

        Raises:
            DataError: the row is a turn, whose past is that of one side.
        """
        if row.get("past") is not None:
            raise DataError(
                "prompts: got rows of turns, expected tasks: a game of two cannot be taken up inside. Give tasks"
            )
        game = game_of(row, row_id("match", provenance, row[key], index), places, Past.of(row, rules).goal)
        model_plays = described(row["task"]).model_plays
        by_seat = {MODEL: rules, OPPONENT: rules if model_plays is None else replace(rules, format="text")}

        def side(seat: str) -> PlayerSide:
            name = row_id("episode", provenance, row[key], index, seat)
            return PlayerSide(row, index, row[key], name, game, by_seat[seat], Past.of(row, rules))

        return Match(game, {seat: side(seat) for seat in (MODEL, OPPONENT)}, model_plays)

    def provenance(self, checkpoint: str, sampling: Mapping[str, Any], workspace: Workspace) -> str:
        """Returns the digest of what decides turns beside their inputs."""
        rules = {
            name: getattr(self, name)
            for name in ("max_turns", "history", "template", "system", "format", "unparsable")
        }
        return digest_of([checkpoint, dict(sampling), rules, workspace.seed, workspace.step])

    def refuse_errors(self, workspace: Workspace, episodes: int, errors: Mapping[str, int]) -> None:
        """Checks that not too many environments were broken.

        Raises:
            CheckFailure: they were; says the commonest problem.
        """
        broken = sum(errors.values())
        workspace.counts[ERROR] = broken
        if broken > self.max_error_rate * episodes:
            most = min(errors, key=lambda detail: (-errors[detail], detail))
            raise CheckFailure(
                "environment_errors",
                f"{workspace.step}: the environment broke in {broken:,} of {episodes:,} episodes, above max_error_rate "
                f"{self.max_error_rate:g}; the commonest problem, {errors[most]:,} times: {most}. "
                "Broken episodes are errors, not lost games",
            )


class Plays(Playing, Component):
    """Base of the components that play.

    Attributes:
        prompts: task rows (`task` names the environment, `entry` holds the game), or rows of turns, whose episodes are taken up
            behind that turn.
        max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Playing`.
    """

    prompts: RowsRef

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        made.read_template(surroundings)
        return made

    def files(self) -> dict[str, Path]:
        return {**super().files(), **self.template_files()}

    def needs(self) -> dict[str, Columns]:
        return {**super().needs(), "prompts": self.task_columns()}

    @property
    def keeps_ids(self) -> bool:
        """True if turns have the ids of their tokens."""
        return False

    @property
    def of_two(self) -> bool:
        """True if games of two are played."""
        return False

    def play_all(
        self,
        workspace: Workspace,
        per_task: int,
        player: Callable[[Arena, Sequence[Episode]], Player],
        provenance: str,
        facts: Mapping[str, Any],
    ) -> Iterator[pa.Table]:
        """Plays `per_task` episodes of every task, slice by slice; yields them with their turns inside.

        Args:
            workspace: the running step.
            per_task: episodes of each task.
            player: makes the moves of some episodes.
            provenance: what decides completions beside prompts and seeds; it enters the ids.
            facts: values of all rows.
        """

        def transform(table: pa.Table, field: Field, progress: Progress) -> pa.Table:
            rows = ((row, index) for row in table.to_pylist() for index in range(per_task))
            episodes = [
                self.episode(row, index, field.key, field.places, field.rules, provenance)
                for row, index in rows
            ]
            play(
                episodes,
                field.arena,
                player(field.arena, episodes),
                workspace.seed,
                workspace.step,
                progress.advance,
            )
            return table_of(episodes, table, per_task, field.rules.chat, facts, provenance)

        yield from self._slices(workspace, per_task, transform)

    def play_all_matches(
        self,
        workspace: Workspace,
        per_task: int,
        players: Mapping[str, Player],
        provenance: str,
        facts: Mapping[str, Mapping[str, Any]],
    ) -> Iterator[pa.Table]:
        """Plays `per_task` games of two of every task; yields both sides' episodes.

        Args:
            step, per_task, provenance: as for `play_all`.
            players: by seat.
            facts: by seat, values of its rows.
        """

        def transform(table: pa.Table, field: Field, progress: Progress) -> pa.Table:
            rows = ((row, index) for row in table.to_pylist() for index in range(per_task))
            matches = [
                self.match(row, index, field.key, field.places, field.rules, provenance)
                for row, index in rows
            ]
            play_matches(matches, field.arena, players, workspace.seed, workspace.step, progress.advance)
            sides = [side for match in matches for side in match.named(facts)]
            return table_of(sides, table, 2 * per_task, field.rules.chat, {}, provenance, of_two=True)

        yield from self._slices(workspace, 2 * per_task, transform)

    def _slices(
        self, workspace: Workspace, per_task: int, transform: Callable[[pa.Table, Field, Progress], pa.Table]
    ) -> Iterator[pa.Table]:
        tasks = workspace.rows("prompts")
        key, rules = row_key(tasks.columns), self.rules(tuple(tasks.columns))
        require_distinct(tasks, key, workspace.step)
        places = environments_of(workspace)
        with Arena(places.values(), workspace.compute.worker_count, self.timeout) as arena:
            field = Field(arena, key, places, rules)
            yield from workspace.map_slices(
                tasks, lambda table, progress: transform(table, field, progress), per_task, "episodes"
            )


@dataclass(frozen=True)
class Field:
    """The setup of games: the processes, the key of the tasks, the places of the environments, and the rules."""

    arena: Arena
    key: str
    places: Mapping[str, str]
    rules: Rules


def broken_in(episodes: pa.Table) -> list[str]:
    """Returns the problems of the episodes whose environment broke."""
    said = zip(episodes["verdict"].to_pylist(), episodes["detail"].to_pylist(), strict=True)
    return [detail for verdict, detail in said if verdict == ERROR]


def environments_of(workspace: Workspace) -> dict[str, str]:
    """Returns the places of the classes of the environments that the tasks name.

    Raises:
        DataError: a task names none, or one that is not known here or cannot be loaded.
        MachineError: one is played in a browser, and there is none here.
    """
    found: dict[str, str] = {}
    for name in workspace.rows("prompts").read(["task"])["task"].unique().to_pylist():
        where = f"{workspace.step}: the column 'task' of {workspace.inputs['prompts'][0].key}"
        if name is None:
            raise DataError(
                f"{where} is null in some rows, expected the name of an environment. Leave such rows out"
            )
        try:
            lacks = described(name).lacking()
            found[name] = location_of(name)
        except KeyError as error:
            raise DataError(f"{where} names an {error.args[0]}") from error
        except DataError as error:
            raise DataError(f"{workspace.step}: {error}") from error
        if lacks:
            raise MachineError(f"{workspace.step} plays {name!r}, which {'; it '.join(lacks)}")
    return found


def game_of(row: Mapping[str, Any], session: str, places: Mapping[str, str], goal: str) -> Game:
    """Makes the game of a task's row, or of a turn's; `goal` is the task's own prompt."""
    entry = _entry(row)
    given = {**_own_columns(row), **entry, "prompt": goal}
    return Game(session, places[row["task"]], seed_of(row, given), given, entry=tuple(entry))


def _own_columns(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the columns of a row for `reset`: prompt, answer, columns of the user's own."""
    hidden = ("entry", "messages", "tools", "task")
    return {name: value for name, value in row.items() if carried(name) and name not in hidden}


def _entry(row: Mapping[str, Any]) -> dict[str, Any]:
    """Reads a row's entry.

    Raises:
        DataError: it is no JSON object.
    """
    if row.get("entry") is None:
        return {}
    try:
        entry = json.loads(row["entry"])
    except ValueError as error:
        raise DataError(f"row {row['prompt_id']}: entry is no JSON: {error}") from error
    if not isinstance(entry, dict):
        raise DataError(f"row {row['prompt_id']}: entry is {row['entry']:.60}, expected a JSON object")
    return entry


def seed_of(row: Mapping[str, Any], task: dict[str, Any]) -> int:
    """Returns the seed of a row's game: its entry's, else one of its prompt id: all episodes of a task are the same game."""
    seed = task.pop("seed", None)
    return (
        seed
        if isinstance(seed, int) and not isinstance(seed, bool)
        else int(row_id("environment", row["prompt_id"])[:8], 16)
    )
