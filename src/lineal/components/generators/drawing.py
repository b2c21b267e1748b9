"""What all generators share: prompt rows in, one row per sample out, with ids, seeds and the checkpoint's digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from annotated_types import Ge

from lineal.components.base import Columns, Component, RowsRef, SamplerRef, Workspace, merged
from lineal.components.generators.stopping import StopSetting, stop_texts
from lineal.data.conversations import MESSAGE_COLUMNS, Prompt, plain_values, prompt_of, require_answerable
from lineal.data.ids import digest_of, row_id, row_seed
from lineal.data.schema import COLUMNS, arrow_schema, row_key
from lineal.data.store import Rows
from lineal.engines.journal import SavedSampler
from lineal.engines.sampling import Completion, Request, SamplingSettings
from lineal.errors import DataError
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa

PROMPT_COLUMNS = ("prompt_id", "prompt", *MESSAGE_COLUMNS, "answer", "difficulty", "task", "entry", "tests", "input", "options")
CARRIED = {**dict.fromkeys(MESSAGE_COLUMNS, "prompt"), "token_ids": "completion"}
"""What belongs to a text: a new row that keeps its first parent's text keeps this too, and has none where the text is another."""
SAMPLE_COLUMNS = (
    "sample_id", "parents", "completion", "finish_reason", "tokens", "logprob", "temperature", "hinted", "round",
    "sample_index", "seed", "checkpoint",
)  # fmt: skip


def sampled_columns(prompts: Columns, adds: Columns = ()) -> Columns:
    """The columns of samples drawn for prompt rows with these columns: the prompt's, any of the user's own, the sample's.

    `adds` are those that the draws add, see `Draw`.
    """
    return merged(tuple(name for name in prompts if carried(name)), SAMPLE_COLUMNS, adds)


def carried(column: str) -> bool:
    """Whether a prompt row's column goes on to its samples."""
    return column in PROMPT_COLUMNS or column not in COLUMNS


class RowSampler(Component):
    """Base of what samples for every row of an artifact, at one temperature.

    Attributes:
        model: the checkpoint that samples.
        rows: the rows that it samples for.
        samples: completions for each.
        temperature, top_p, top_k, max_tokens, chat, stop: as for `sample`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    rows: RowsRef
    samples: Positive = 1
    temperature: Annotated[float, Ge(0)] = 1.0
    top_p: float = 1.0
    top_k: Annotated[int, Ge(0)] = 0
    max_tokens: Positive = 64
    chat: bool = False
    stop: StopSetting = None

    @property
    def sampling(self) -> SamplingSettings:
        """How the engine is to draw."""
        return SamplingSettings(self.temperature, self.top_p, self.top_k, self.max_tokens, self.chat, stop_texts(self.stop))


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
        goes_on: whether a conversation may end with the beginning of an answer, which the model then goes on from.
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


def require_distinct_prompts(rows: Rows, key: str) -> None:
    """Raises when a prompt stands twice: its samples would have the same ids.

    Raises:
        DataError: names the first repeated prompt id.
    """
    require_distinct(rows, "prompt_id", key)


def require_distinct(rows: Rows, column: str, key: str) -> None:
    """Raises when two rows share what tells rows apart: what is drawn for them would have the same ids.

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
        raise DataError(f"{key}: {kind} {entry['values']} stands {entry['counts']} times among the {kind}s. {fix}")


def draw_rows(
    step: Workspace, sampler: SavedSampler, prompts: pa.Table, draws: list[Draw], advance: Callable[[int], None]
) -> pa.Table:
    """The samples of some prompt rows, in the order prompt, sample index."""
    import pyarrow as pa

    checkpoint = step.model("model").digest
    per_draw = [_draw_one(step, sampler, prompts, draw, checkpoint, advance) for draw in draws]
    rows = [row for group in zip(*per_draw, strict=True) for samples in group for row in samples]
    extra = [name for name in prompts.column_names if carried(name) and name not in COLUMNS]
    adds = merged(*(draw.adds for draw in draws))
    known = tuple(name for name in sampled_columns(tuple(prompts.column_names), adds) if name in COLUMNS)
    schema = pa.schema([*arrow_schema(known), *(prompts.schema.field(name) for name in extra)])
    return pa.Table.from_pylist(rows, schema=schema)


def _draw_one(
    step: Workspace, sampler: SavedSampler, prompts: pa.Table, draw: Draw, checkpoint: str, advance: Callable[[int], None]
) -> list[list[dict[str, Any]]]:
    """By prompt, the rows of one draw."""
    sources = prompts.to_pylist()
    indices = range(draw.first_index, draw.first_index + draw.samples)
    own_word = [] if draw.seed_by is None else [draw.seed_by]
    seeds = [[row_seed(step.seed, step.step, row[draw.by], index, *own_word) for index in indices] for row in sources]
    given = [draw.render(row) for row in sources]
    for prompt in () if draw.goes_on else given:
        require_answerable(prompt)
    requests = [Request(prompt, seed) for prompt, own in zip(given, seeds, strict=True) for seed in own]
    with step.timed("sample"):
        completions = iter(sampler.sample(requests, draw.settings, advance))
    settings = digest_of([draw.settings.described(), draw.hinted])
    key = row_key(prompts.column_names)
    found = []
    for row, prompt, own in zip(sources, given, seeds, strict=True):
        base = {name: value for name, value in row.items() if carried(name)} | ({} if draw.hinted else _as_columns(prompt)) | {
            "parents": [row[key], *draw.shown(row)], "temperature": draw.settings.temperature, "hinted": draw.hinted,
            "round": step.round, "checkpoint": checkpoint,
        }  # fmt: skip
        found.append([
            base | _sample(next(completions), (row[draw.by], index, settings, seed, *_more(prompt, draw.framed)), checkpoint)
            for index, seed in zip(indices, own, strict=True)
        ])  # fmt: skip
    step.facts["tokens"] = step.facts.get("tokens", 0) + sum(r["tokens"] for rows in found for r in rows)
    return found


def _as_columns(prompt: Prompt) -> dict[str, Any]:
    """What a model was given, as a row holds it."""
    return {"prompt": prompt} if isinstance(prompt, str) else {"messages": prompt.for_rows(), "tools": prompt.tools}


def _more(prompt: Prompt, framed: bool) -> list[str]:
    """What enters a sample's id beside the prompt row's id, which does not say all that a conversation or a frame holds."""
    return [] if isinstance(prompt, str) and not framed else [digest_of(plain_values(prompt))]


def _sample(completion: Completion, which: tuple[Any, ...], checkpoint: str) -> dict[str, Any]:
    _, index, _, seed, *_ = which
    return {
        "sample_id": row_id(checkpoint, *which),
        "completion": completion.text,
        "finish_reason": completion.finish_reason,
        "tokens": completion.tokens,
        "logprob": completion.logprob,
        "token_ids": completion.token_ids,
        "sample_index": index,
        "seed": seed,
    }
