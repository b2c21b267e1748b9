"""The common part of generators: prompt rows in, one row per sample out, with ids, seeds and the checkpoint's digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import model_validator

from lineal.components.base import ROWS, Columns, RowsRef, SamplerRef, Workspace, merged
from lineal.components.generators.draws import StoppedDraws
from lineal.components.generators.temperatures import require_different_draws
from lineal.data.conversations import (
    MESSAGE_COLUMNS,
    Conversation,
    Prompt,
    Turn,
    plain_values,
    prompt_of,
    require_answerable,
)
from lineal.data.ids import canonical_json, digest_of, id_of_list, seed_of_list
from lineal.data.media import IMAGES
from lineal.data.schema import COLUMNS, arrow_schema, row_key
from lineal.data.store import Rows
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.errors import DataError
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

PROMPT_PARTS = (
    "prompt_id",
    "prompt",
    *MESSAGE_COLUMNS,
    IMAGES,
    "answer",
    "difficulty",
    "task",
    "entry",
    "tests",
    "input",
    "options",
)
CARRIED = {**dict.fromkeys((*MESSAGE_COLUMNS, IMAGES), "prompt"), "token_ids": "completion"}
"""Columns that belong to a text: a new row keeps them when it keeps its first parent's text, and else has none."""
SAMPLE_COLUMNS = (
    "sample_id",
    "parents",
    "completion",
    "finish_reason",
    "tokens",
    "logprob",
    "temperature",
    "hinted",
    "round",
    "sample_index",
    "seed",
    "checkpoint",
)


def sampled_columns(prompts: Columns, adds: Columns = ()) -> Columns:
    """Returns the columns of samples drawn for prompt rows: the prompt's, any of the user's own, the sample's.

    `adds` are those that the draws add, see `Draw`.
    """
    return merged(tuple(name for name in prompts if carried(name)), SAMPLE_COLUMNS, adds)


def carried(column: str) -> bool:
    """Tells whether a prompt row's column is copied to its samples."""
    return column in PROMPT_PARTS or column not in COLUMNS


class RowSampler(StoppedDraws):
    """Base of components that sample for every row of an artifact, at one temperature.

    Attributes:
        model: the checkpoint that samples.
        rows: the rows that it samples for.
        samples: completions for each.
        temperature, top_p, top_k, max_tokens, chat, stop: see `StoppedDraws`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)
    sees: ClassVar[Columns] = (ROWS,)

    model: SamplerRef
    rows: RowsRef
    samples: Positive = 1

    @model_validator(mode="after")
    def _draws_differ(self) -> Self:
        require_different_draws(self.samples, self.temperature)
        return self


@dataclass(frozen=True)
class Draw:
    """One way to draw samples for a prompt row.

    Attributes:
        settings: the sampling settings.
        samples: samples per prompt.
        first_index: `sample_index` of the first.
        render: what the model is given for a prompt row. The sample's row holds it, a text as `prompt` and a conversation as
            `messages` and `tools`, so that a trainer learns from what was sampled.
        hinted: whether a hint is in what the model is given; the sample's row then keeps the prompt row's own prompt.
        adds: columns that samples have and the prompt rows may lack: `messages` and `tools` where `render` makes conversations
            of texts, `token_ids` where the drawn ids are to be kept.
        goes_on: whether a conversation may end with the beginning of an answer, which the model then continues.
        shown: for a prompt row, the ids of the rows that stand before it as worked examples: parents of its samples, too.
        framed: whether `render` puts something around the prompt; what it makes then enters the samples' ids.
        seed_by: a word that enters the seeds.
        by: the column that tells the rows apart; it enters seeds and ids.
    """

    settings: SamplingSettings
    samples: int
    first_index: int = 0
    render: Callable[[Mapping[str, Any]], Prompt] = prompt_of
    hinted: bool = False
    seed_by: str | None = None
    by: str = "prompt_id"
    adds: Columns = ()
    framed: bool = False
    goes_on: bool = False
    shown: Callable[[Mapping[str, Any]], list[str]] = lambda row: []

    @property
    def indices(self) -> range:
        """The samples' `sample_index`es."""
        return range(self.first_index, self.first_index + self.samples)


def begun(row: Mapping[str, Any], chat: bool) -> Prompt:
    """Returns the input for continuing a row's completion, before which a step's `prefix` is added.

    Raises:
        DataError: the row has no completion.
    """
    if row["completion"] is None:
        raise DataError(
            f"row {row[row_key(list(row))]} has no completion to continue. Leave such rows out with a selector"
        )
    prompt, text = prompt_of(row), written_by(row)
    if isinstance(prompt, str) and not chat:
        return prompt + text
    talk = Conversation((Turn("user", prompt),)) if isinstance(prompt, str) else prompt
    return talk.going_on(text)


def written_by(row: Mapping[str, Any]) -> str:
    """Returns the text after a row's prompt: the completion, of a step also the `prefix` before it."""
    return f"{row.get('prefix') or ''}{row['completion']}"


def require_distinct_prompts(rows: Rows, key: str) -> None:
    """Refuses a prompt that occurs twice: its samples would have the same ids.

    Raises:
        DataError: names the first repeated prompt id.
    """
    require_distinct(rows, "prompt_id", key)


def require_distinct(rows: Rows, column: str, key: str) -> None:
    """Refuses two rows that share their identifying column: what is drawn for them would have the same ids.

    Raises:
        DataError: names the first repeated value, or says that a row has none.
    """
    import pyarrow.compute as pc

    kind = column.removesuffix("_id")
    counts = pc.value_counts(rows.read([column])[column])
    problems = pc.or_(pc.is_null(pc.struct_field(counts, 0)), pc.greater(pc.struct_field(counts, 1), 1))
    for entry in counts.filter(problems)[:1].to_pylist():
        if entry["values"] is None:
            fix = "Don't put artifacts with and without it together"
            raise DataError(f"{key}: {entry['counts']:,} of the rows have no {column}. {fix}")
        fix = f"Deduplicate the {kind}s with a selector first"
        raise DataError(
            f"{key}: {kind} {entry['values']} stands {entry['counts']} times among the {kind}s. {fix}"
        )


def draw_rows(
    workspace: Workspace,
    sampler: SavedSampler,
    prompts: pa.Table,
    draws: list[Draw],
    advance: Callable[[int], None],
) -> pa.Table:
    """Draws the samples of some prompt rows, in the order prompt, sample index."""
    import pyarrow as pa

    adds = merged(*(draw.adds for draw in draws))
    columns = sampled_columns(tuple(prompts.column_names), adds)
    known = tuple(name for name in columns if name in COLUMNS)
    schema = pa.schema(
        [*arrow_schema(known), *(prompts.schema.field(name) for name in columns if name not in COLUMNS)]
    )
    drawn = pa.concat_tables(
        [_draw_one(workspace, sampler, prompts, draw, schema, advance) for draw in draws]
    )
    return (
        drawn
        if len(draws) == 1
        else drawn.take(_by_prompt(prompts.num_rows, [draw.samples for draw in draws]))
    )


def _by_prompt(prompts: int, samples: list[int]) -> list[int]:
    """Returns the order that puts the rows of several draws, one draw after another, into the order prompt, draw, sample."""
    starts = [prompts * sum(samples[:draw]) for draw in range(len(samples))]
    return [
        start + prompt * count + sample
        for prompt in range(prompts)
        for start, count in zip(starts, samples, strict=True)
        for sample in range(count)
    ]


class _Columns(dict[str, list[Any]]):
    """A table's columns in Python, each converted at its first use: rows may have a thousand that are not read."""

    def __init__(self, table: pa.Table) -> None:
        super().__init__()
        self.table = table
        self.names = set(table.column_names)

    def __missing__(self, name: str) -> list[Any]:
        if name not in self.names:
            raise KeyError(name)
        values: list[Any] = self.table[name].to_pylist()
        self[name] = values
        return values


@dataclass(frozen=True, slots=True)
class _Row(Mapping[str, Any]):
    """One row of a table."""

    columns: _Columns
    place: int

    def __getitem__(self, name: str) -> Any:
        return self.columns[name][self.place]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns.table.column_names)

    def __len__(self) -> int:
        return len(self.columns.table.column_names)


def _draw_one(
    workspace: Workspace,
    sampler: SavedSampler,
    prompts: pa.Table,
    draw: Draw,
    schema: pa.Schema,
    advance: Callable[[int], None],
) -> pa.Table:
    """Makes the rows of one draw, prompt by prompt."""
    columns = _Columns(prompts)
    sources = [_Row(columns, place) for place in range(prompts.num_rows)]
    given = [draw.render(row) for row in sources]
    for prompt in () if draw.goes_on else given:
        require_answerable(prompt)
    names = columns[draw.by] if sources else []
    seeds = _seeds(workspace, draw, names)
    images = workspace.shown(prompts)
    asked = zip(given, seeds, images, strict=True)
    requests = [Request(prompt, seed, shown) for prompt, own, shown in asked for seed in own]
    with workspace.timed("sample"):
        completions = sampler.sample(requests, draw.settings, advance)
    workspace.facts["tokens"] = workspace.facts.get("tokens", 0) + sum(
        completion.tokens for completion in completions
    )
    checkpoint = workspace.model("model").digest
    values = _told(completions) | {
        "sample_id": _ids(checkpoint, draw, names, seeds, given, images),
        "sample_index": list(draw.indices) * len(sources),
        "seed": [seed for own in seeds for seed in own],
    }
    key = columns[row_key(prompts.column_names)] if sources else []
    by_prompt = {"parents": [[own, *draw.shown(row)] for own, row in zip(key, sources, strict=True)]}
    by_prompt |= {} if draw.hinted else _as_columns(given, columns)
    facts = {
        "temperature": draw.settings.temperature,
        "hinted": draw.hinted,
        "round": workspace.round,
        "checkpoint": checkpoint,
    }
    return _table(schema, prompts, draw.samples, values, by_prompt, facts)


def _table(
    schema: pa.Schema,
    prompts: pa.Table,
    samples: int,
    values: Mapping[str, list[Any]],
    by_prompt: Mapping[str, list[Any]],
    facts: Mapping[str, Any],
) -> pa.Table:
    """Builds a table from values per sample, per prompt and of all; other columns are the prompts' and stay in Arrow."""
    import pyarrow as pa

    count = prompts.num_rows * samples
    places = pa.array([place for place in range(prompts.num_rows) for _ in range(samples)], pa.int64())

    def column(field: pa.Field) -> pa.Array | pa.ChunkedArray:
        if field.name in values:
            return pa.array(values[field.name], field.type)
        if field.name in facts:
            return pa.repeat(pa.scalar(facts[field.name], field.type), count)
        if field.name in by_prompt:
            return pa.array(by_prompt[field.name], field.type).take(places)
        there = field.name in prompts.column_names
        return prompts[field.name].take(places).cast(field.type) if there else pa.nulls(count, field.type)

    return pa.table([column(field) for field in schema], schema=schema)


def _seeds(workspace: Workspace, draw: Draw, names: Sequence[str]) -> list[list[int]]:
    """Returns the seeds of each prompt's samples: `row_seed` of the run's, step, prompt, index and the draw's own word."""
    start = f"{canonical_json(workspace.seed)},{canonical_json(workspace.step)}"
    word = "" if draw.seed_by is None else f",{canonical_json(draw.seed_by)}"
    ends = [f"{index}{word}" for index in draw.indices]
    return [[seed_of_list((start, name, end)) for end in ends] for name in map(canonical_json, names)]


def _ids(
    checkpoint: str,
    draw: Draw,
    names: Sequence[str],
    seeds: list[list[int]],
    given: Sequence[Prompt],
    images: Sequence[tuple[str, ...]],
) -> list[str]:
    """Returns the samples' ids: `row_id` of checkpoint, prompt, index, settings, seed, `_more`, and digests of pictures."""
    start = canonical_json(checkpoint)
    settings = canonical_json(digest_of([draw.settings.described(), draw.hinted]))
    found = []
    for name, own, prompt, shown in zip(map(canonical_json, names), seeds, given, images, strict=True):
        front, more = (
            f"{start},{name}",
            [canonical_json(part) for part in (*_more(prompt, draw.framed), *shown)],
        )
        for index, seed in zip(draw.indices, own, strict=True):
            found.append(id_of_list((front, f"{index},{settings},{seed}", *more)))
    return found


def _as_columns(given: Sequence[Prompt], columns: _Columns) -> dict[str, list[Any]]:
    """Returns the models' inputs by prompt, as rows hold them: a text as `prompt`, a conversation as `messages` and `tools`."""
    found: dict[str, list[Any]] = {
        "prompt": [one if isinstance(one, str) else None for one in given],
        "messages": [None if isinstance(one, str) else one.for_rows() for one in given],
        "tools": [None if isinstance(one, str) else one.tools for one in given],
    }
    texts = [isinstance(one, str) for one in given]
    if all(texts):
        return {"prompt": found["prompt"]}
    for (
        name,
        made,
    ) in found.items():  # where a row was given the other of text and conversation, it keeps what it had
        before = columns[name] if name in columns.names else [None] * len(given)
        found[name] = [
            new if text == (name == "prompt") else old
            for new, old, text in zip(made, before, texts, strict=True)
        ]
    return found


def _more(prompt: Prompt, framed: bool) -> list[str]:
    """Returns what enters a sample's id beside the prompt row's id, which does not cover all of a conversation or a frame."""
    return [] if isinstance(prompt, str) and not framed else [digest_of(plain_values(prompt))]


def _told(completions: Sequence[Completion]) -> dict[str, list[Any]]:
    """Returns the values of completions, by column."""
    return {
        "completion": [one.text for one in completions],
        "finish_reason": [one.finish_reason for one in completions],
        "tokens": [one.tokens for one in completions],
        "logprob": [one.logprob for one in completions],
        "token_ids": [one.token_ids for one in completions],
    }
