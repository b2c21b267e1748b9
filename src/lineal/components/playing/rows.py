"""Episodes as rows. While a step runs, a row is a whole episode with its turns inside; at its end the two are separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, merged
from lineal.components.generators.drawing import SAMPLE_COLUMNS, carried
from lineal.components.playing.episode import DONE, FAILED, Episode, NewTurn
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT
from lineal.data.conversations import plain_values
from lineal.data.ids import digest_of, row_id
from lineal.data.schema import arrow_type

if TYPE_CHECKING:
    import pyarrow as pa

EPISODES = "episodes"
"""The output that has a row for each episode."""
INSIDE = "inside"
"""While a step runs, the column with the turns of an episode."""
TURN_COLUMNS: Columns = (
    *SAMPLE_COLUMNS,
    "token_ids",
    "episode_id",
    "turn",
    "action",
    "observation",
    "reward",
    "done",
    "invalid",
    "past",
    "weight",
)
OF_TWO: Columns = ("player", "seat")
"""Further columns of rows of a game of two."""
EPISODE_COLUMNS: Columns = (
    "sample_id",
    "parents",
    "completion",
    "turns",
    "return",
    "finish_reason",
    "invalid_actions",
    *VERDICT,
    "tokens",
    "temperature",
    "round",
    "sample_index",
    "checkpoint",
)


def turn_columns(prompts: Columns, chat: bool, ids: bool, of_two: bool = False) -> Columns:
    """Returns the columns of turns of tasks with these columns."""
    own = (*(name for name in TURN_COLUMNS if ids or name != "token_ids"), *(OF_TWO if of_two else ()))
    return merged(_kept(prompts, chat), ("messages",) if chat else (), own)


def episode_columns(prompts: Columns, chat: bool, of_two: bool = False) -> Columns:
    """Returns the columns of these tasks' episodes; a conversation is whole in `messages`, a text in two columns."""
    own = (
        *(name for name in EPISODE_COLUMNS if not chat or name != "completion"),
        *(OF_TWO if of_two else ()),
    )
    return merged(_kept(prompts, chat), ("messages",) if chat else (), own)


def _kept(prompts: Columns, chat: bool) -> Columns:
    return tuple(name for name in prompts if carried(name) and (chat or name != "tools"))


def table_of(
    episodes: Sequence[Episode],
    tasks: pa.Table,
    per_task: int,
    chat: bool,
    facts: Mapping[str, Any],
    provenance: str,
    of_two: bool = False,
) -> pa.Table:
    """Makes a table of episodes with their turns inside, in the order of the tasks.

    Args:
        episodes: played to their ends.
        tasks: their rows.
        per_task: how many of each.
        chat: whether the model was given conversations.
        facts: values of all rows.
        provenance: what decides turns beside their inputs; it enters their ids.
        of_two: whether they are the sides of games of two.
    """
    import pyarrow as pa

    places = pa.array([place for place in range(tasks.num_rows) for _ in range(per_task)], pa.int64())
    own = [_episode_row(episode, chat, facts, provenance) for episode in episodes]
    columns = {name: tasks[name].take(places) for name in _kept(tuple(tasks.column_names), chat)}
    for name in ("prompt", *(("messages",) if chat else ()), *EPISODE_COLUMNS, *(OF_TWO if of_two else ())):
        if name != "completion" or not chat:
            columns[name] = pa.array([row[name] for row in own], arrow_type(name))
    inside = pa.list_(pa.struct([(name, arrow_type(name)) for name in ("prompt", "messages", *TURN_COLUMNS)]))
    return pa.table({**columns, INSIDE: pa.array([row[INSIDE] for row in own], inside)})


def episodes_in(table: pa.Table) -> pa.Table:
    """Returns the rows of the episodes."""
    return table.drop_columns([INSIDE])


def turns_in(table: pa.Table, columns: Columns) -> pa.Table:
    """Returns the rows of the turns; values that a turn lacks are the episode's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = table[INSIDE].combine_chunks()
    places, turns = pc.list_parent_indices(inside), pc.list_flatten(inside)
    own = {field.name: pc.struct_field(turns, field.name) for field in turns.type}
    return pa.table({name: own[name] if name in own else table[name].take(places) for name in columns})


def with_values_of_turns(table: pa.Table, name: str, values: Sequence[Sequence[Any]]) -> pa.Table:
    """Adds a column to the turns inside a table of episodes; `values` are those of each episode's turns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    inside = table[INSIDE].combine_chunks()
    turns = pc.list_flatten(inside)
    fields = {field.name: pc.struct_field(turns, field.name) for field in turns.type}
    fields[name] = pa.array([value for own in values for value in own], arrow_type(name))
    made = pa.ListArray.from_arrays(
        inside.offsets, pa.StructArray.from_arrays([*fields.values()], names=[*fields])
    )
    return table.set_column(table.column_names.index(INSIDE), INSIDE, made)


def _episode_row(episode: Episode, chat: bool, facts: Mapping[str, Any], provenance: str) -> dict[str, Any]:
    turns = _turn_rows(episode, chat, facts, provenance)
    verdict, detail = _judged(episode)
    prompt = episode.past.goal if chat or not episode.made else episode.made[0].given
    return {
        **facts,
        **episode.facts,
        "prompt": prompt,
        "messages": _whole(episode) if chat else None,
        "completion": episode.transcript(),
        "sample_id": episode.name,
        "parents": [episode.key, *(row["sample_id"] for row in turns[-1:])],
        "turns": episode.turns,
        "return": episode.total,
        "finish_reason": episode.finish,
        "invalid_actions": episode.invalid,
        "verdict": verdict,
        "score": None if verdict == ERROR else episode.total,
        "detail": detail,
        "tokens": sum(turn.completion.tokens for turn in episode.made),
        "sample_index": episode.index,
        INSIDE: turns,
    }


def _judged(episode: Episode) -> tuple[str, str | None]:
    if episode.finish == FAILED:
        return ERROR, episode.game.problem
    if episode.won:
        return PASS, None
    return (
        FAIL,
        "the game is over"
        if episode.finish == DONE
        else f"ended by {episode.finish} after {episode.turns} turns",
    )


def _whole(episode: Episode) -> list[dict[str, Any]] | None:
    """Returns the conversation up to the model's last turn, which is what there is to learn."""
    given = episode.given(whole=True)
    assert not isinstance(given, str)
    turns = given.for_rows()
    while turns and turns[-1]["role"] != "assistant":
        turns.pop()
    return turns or given.for_rows()


def _turn_rows(
    episode: Episode, chat: bool, facts: Mapping[str, Any], provenance: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for place, turn in enumerate(episode.made):
        last = place == len(episode.made) - 1
        parents = [rows[-1]["sample_id"] if rows else episode.key]
        own = _turn_row(episode, turn, episode.before + place + 1, chat, provenance)
        rows.append({**facts, **episode.facts, **own, "parents": parents, "done": last})
    return rows


def _turn_row(episode: Episode, turn: NewTurn, number: int, chat: bool, provenance: str) -> dict[str, Any]:
    completion, given = turn.completion, turn.given
    made_from = digest_of(plain_values(given))
    return {
        "prompt": episode.past.goal if chat else given,
        "messages": None if isinstance(given, str) else given.for_rows(),
        "sample_id": row_id(provenance, episode.key, episode.index, number, str(turn.seed), made_from),
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": completion.tokens,
        "logprob": completion.logprob,
        "token_ids": completion.token_ids,
        "sample_index": episode.index,
        "seed": turn.seed,
        "episode_id": episode.name,
        "turn": number,
        "action": turn.action,
        "observation": turn.observation,
        "reward": turn.reward,
        "invalid": turn.invalid,
        "past": turn.past,
        "weight": 1.0 / len(episode.made),
        "hinted": False,
    }
