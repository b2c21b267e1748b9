"""A few episodes, as a person reads them turn by turn, and the turns that training examples came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineal.audit.query import Row, fetched, fetched_records
from lineal.components.base import Role
from lineal.data.manifest import MANIFEST
from lineal.data.schema import row_key
from lineal.data.sql import literal, parquet, quoted
from lineal.data.store import Artifact, open_artifact
from lineal.plan import Plan, Step

if TYPE_CHECKING:
    import duckdb

MOST_PER_VERDICT, MOST_EXAMPLES, MOST_TURNS = 2, 3, 60
"""Episodes of each verdict and examples of each trainer, those with the lowest ids; turns of an episode, the first ones."""
TURN = ("sample_id", "episode_id", "turn", "action", "completion", "observation", "reward", "invalid")
EPISODE = ("sample_id", "prompt", "turns", "return", "finish_reason", "verdict", "detail")
"""The columns by which the artifacts are known."""


@dataclass(frozen=True)
class ShownTurn:
    """One turn.

    Attributes:
        row_id: its id.
        facts: the columns of `TURN`, and `advantage` where it was trained on online.
        same_as: an earlier turn after which the player saw the same; None where there is none.
        learnt: keys of the artifacts in which a trainer was given it.
    """

    row_id: str
    facts: Row
    same_as: int | None
    learnt: tuple[str, ...]


@dataclass(frozen=True)
class ShownEpisode:
    """One episode.

    Attributes:
        key: the artifact that holds it.
        facts: the columns of `EPISODE`, `player` and `seat` in a game of two.
        given: what the player was given first.
        turns: the first turns that were played there.
        left_out: how many turns are not here.
    """

    key: str
    facts: Row
    given: str
    turns: tuple[ShownTurn, ...]
    left_out: int

    @property
    def before(self) -> int:
        """Turns of the episode that it was taken up behind."""
        return int(self.facts["turns"]) - len(self.turns) - self.left_out


@dataclass(frozen=True)
class TrainedRow:
    """A row that a trainer was given.

    Attributes:
        key: its artifact.
        trainer: the step.
        row_id: its id.
        turns: the turns that it came from, by id with their numbers.
    """

    key: str
    trainer: str
    row_id: str
    turns: Mapping[str, int]


@dataclass(frozen=True)
class PlayedEpisodes:
    """Episodes of one artifact.

    Attributes:
        key: the artifact of the turns.
        count: how many episodes there are.
        episodes: a few of them, each once.
        examples: a few training examples that came from its turns.
    """

    key: str
    count: int
    episodes: tuple[ShownEpisode, ...]
    examples: tuple[TrainedRow, ...]


def played_in(plan: Plan, pipeline: str, opened: duckdb.DuckDBPyConnection) -> list[PlayedEpisodes]:
    """Returns what was played in the latest round that has it, for each step that plays.

    Raises:
        ArtifactError: rows cannot be read.
    """
    found = {
        step.label: (step, turns, episodes) for step, turns, episodes in _playing(plan, pipeline)
    }  # later rounds last
    return [_Reader(plan, step, turns, episodes, opened).read() for step, turns, episodes in found.values()]


def _playing(plan: Plan, pipeline: str) -> Iterator[tuple[Step, Artifact, Artifact]]:
    for step in plan.steps.values():
        made = [one for key in step.artifact_keys().values() if (one := _rows_at(plan, key)) is not None]
        turns = [one for one in made if _has(one, TURN) and "decision" not in one.manifest.columns]
        episodes = [one for one in made if _has(one, EPISODE)]
        if step.pipeline == pipeline and turns and episodes:
            yield step, turns[0], episodes[0]


def _rows_at(plan: Plan, key: str) -> Artifact | None:
    """Opens an artifact; None where none is made there, or where it has no rows."""
    directory = plan.project.directory(key)
    artifact = open_artifact(key, directory) if (directory / MANIFEST).exists() else None
    return artifact if artifact is not None and artifact.parquet_files() else None


def _has(artifact: Artifact, columns: tuple[str, ...]) -> bool:
    return set(columns) <= artifact.manifest.columns.keys()


class _Reader:
    """Reads the episodes of one step."""

    def __init__(
        self, plan: Plan, step: Step, turns: Artifact, episodes: Artifact, opened: duckdb.DuckDBPyConnection
    ) -> None:
        self._turns, self._episodes, self._opened = turns, episodes, opened
        self._given = list(_given(plan, step))

    def read(self) -> PlayedEpisodes:
        """Returns the episodes with the lowest ids, and those that examples came from."""
        examples = [example for trainer, rows in self._given for example in self._examples(trainer, rows)]
        wanted = ", ".join(literal(turn) for example in examples for turn in example.turns) or "NULL"
        held = f"SELECT episode_id FROM {_source(self._turns)} WHERE sample_id IN ({wanted})"
        lowest = f"SELECT unnest(min(sample_id, {MOST_PER_VERDICT})) FROM {_source(self._episodes)} GROUP BY verdict"
        both = (self._turns, self._episodes)
        chosen = [name for (name,) in fetched(self._opened, f"{held} UNION {lowest} ORDER BY 1", both)]
        count = fetched(self._opened, f"SELECT count(*) FROM {_source(self._episodes)}", self._episodes)[0][0]
        return PlayedEpisodes(self._turns.key, int(count), tuple(self._shown(chosen)), tuple(examples))

    def _examples(self, trainer: str, rows: Artifact) -> list[TrainedRow]:
        """Returns the training rows with the lowest ids that came from turns here."""
        sql = f"""WITH {self._links(rows)}
            SELECT row_id, list(turn_id ORDER BY turn, turn_id), list(turn ORDER BY turn, turn_id)
            FROM links GROUP BY row_id ORDER BY row_id LIMIT {MOST_EXAMPLES}"""
        found = fetched(self._opened, sql, (rows, self._turns))
        return [
            TrainedRow(rows.key, trainer, row_id, dict(zip(ids, turns, strict=True)))
            for row_id, ids, turns in found
        ]

    def _links(self, rows: Artifact) -> str:
        """Writes `links`: by row of an artifact the turns that it is, or was made from."""
        own = quoted(row_key(list(rows.manifest.columns)))
        made_from = "parents" if "parents" in rows.manifest.columns else "[]::VARCHAR[]"
        return (
            f"here AS (SELECT sample_id AS turn_id, turn FROM {_source(self._turns)}), "
            f"given AS (SELECT {own} AS row_id, {made_from} AS made_from FROM {_source(rows)}), "
            "links AS (SELECT row_id, turn_id, turn FROM (SELECT row_id, unnest(CASE WHEN row_id IN (SELECT turn_id FROM here) "
            "THEN [row_id] ELSE made_from END) AS turn_id FROM given) JOIN here USING (turn_id))"
        )

    def _shown(self, names: list[str]) -> Iterator[ShownEpisode]:
        wanted = ", ".join(map(literal, names)) or "NULL"
        learnt = self._learnt(wanted)
        turns: dict[str, list[Row]] = {name: [] for name in names}
        columns, source = self._columns(self._turns, TURN), _source(self._turns)
        sql = f"SELECT {columns} FROM {source} WHERE episode_id IN ({wanted}) ORDER BY turn"
        for row in fetched_records(self._opened, sql, self._turns):
            turns[row["episode_id"]].append(row)
        sql = f"SELECT {self._columns(self._episodes, EPISODE)} FROM {_source(self._episodes)} WHERE sample_id IN ({wanted})"
        for row in fetched_records(self._opened, sql + " ORDER BY verdict, sample_id", self._episodes):
            own = turns[row["sample_id"]]
            shown = tuple(_turn(own, place, learnt) for place in range(min(len(own), MOST_TURNS)))
            yield ShownEpisode(
                self._episodes.key, row, _first(own, row), shown, max(0, len(own) - MOST_TURNS)
            )

    def _learnt(self, wanted: str) -> dict[str, tuple[str, ...]]:
        """Returns by turn of some episodes the keys of the artifacts in which a trainer was given it."""
        found: dict[str, tuple[str, ...]] = {}
        for _, rows in self._given:
            sql = f"WITH {self._links(rows)} SELECT DISTINCT turn_id FROM links WHERE turn_id IN "
            sql += f"(SELECT sample_id FROM {_source(self._turns)} WHERE episode_id IN ({wanted}))"
            for (turn,) in fetched(self._opened, sql, (rows, self._turns)):
                found[turn] = tuple(dict.fromkeys((*found.get(turn, ()), rows.key)))
        return found

    @staticmethod
    def _columns(artifact: Artifact, columns: tuple[str, ...]) -> str:
        has = artifact.manifest.columns
        also = ("player", "seat", "advantage", *(("prompt", "messages") if columns is TURN else ()))
        listed = (quoted(name) if name in has else f"NULL AS {quoted(name)}" for name in (*columns, *also))
        return ", ".join(listed)


def _given(plan: Plan, step: Step) -> Iterator[tuple[str, Artifact]]:
    """Yields the rows that the trainers of a step's round were given, with the trainer's key."""
    for other in plan.steps.values():
        if (
            other.pipeline == step.pipeline
            and other.group == step.group
            and other.component.role is Role.TRAINER
        ):
            for key in (key for keys in other.inputs.values() for key in keys):
                rows = _rows_at(plan, key)
                if rows is not None:
                    yield other.key, rows


def _source(artifact: Artifact) -> str:
    return parquet(artifact.parquet_files())


def _turn(rows: list[Row], place: int, learnt: Mapping[str, tuple[str, ...]]) -> ShownTurn:
    row = rows[place]
    same = next((one["turn"] for one in rows[:place] if one["observation"] == row["observation"]), None)
    return ShownTurn(row["sample_id"], row, same, learnt.get(row["sample_id"], ()))


def _first(turns: list[Row], episode: Row) -> str:
    """Returns what the player was given at the first turn that was played here."""
    given: Any = turns[0] if turns else episode
    talk = given.get("messages")
    return str(talk[-1]["content"] if talk else given["prompt"])
