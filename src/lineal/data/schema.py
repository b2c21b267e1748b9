"""The columns that rows may have: one name, one type, one meaning, everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MESSAGES_TYPE = "list<struct<role: string, content: string, tool_calls: string, name: string>>"

COLUMNS: dict[str, tuple[str, str]] = {
    "prompt_id": ("string", "id of the prompt, from its source and its text"),
    "sample_id": ("string", "id of the sample, from checkpoint, prompt, index, settings and seed"),
    "parents": ("list<string>", "ids of the rows this row was made from"),
    "prompt": ("string", "what the model is given"),
    "messages": (
        MESSAGES_TYPE,
        "the conversation that the model is given; `prompt` is then its short form for people and ids",
    ),
    "tools": ("string", "the tool schemas that the chat template is given, as JSON"),
    "images": (
        "list<string>",
        "SHA-256 of the pictures that the prompt is about, in order; the source's `media` has their bytes",
    ),
    "asked": ("string", "what the model was given, where that is not the prompt"),
    "answer": ("string", "the reference answer"),
    "difficulty": ("double", "the source's own measure of difficulty"),
    "task": ("string", "the task's name"),
    "entry": ("string", "the task's own record as JSON, for its scorer"),
    "environment_package": (
        "string",
        "the installed package whose environment the task is of, and its version",
    ),
    "tests": ("string", "assertions that a program must fulfil: Python, or a JSON list of it"),
    "input": ("string", "what a program reads from its standard input"),
    "options": ("string", "the options of a multiple-choice prompt: a JSON list of texts"),
    "completion": ("string", "what the model wrote, or the text to learn"),
    "chosen": ("string", "the preferred completion of a pair"),
    "rejected": ("string", "the other completion of a pair"),
    "label": ("bool", "whether the completion is desirable (KTO)"),
    "finish_reason": (
        "string",
        "'stop' at the end token or a stop text, 'length' when cut at the limit, 'content_filter' when a server held it back; "
        "of an episode: 'done', 'turn_limit', 'context', 'unparsable' or 'environment_error'",
    ),
    "episode_id": ("string", "of a turn, the episode that it belongs to"),
    "turn": ("int64", "of a turn, its number in the episode, from 1"),
    "action": ("string", "the move that was read in the completion; null where there was none"),
    "player": ("string", "whose turn or episode it is, by the name in a game of two"),
    "seat": ("string", "in a game of two, 'model' or 'opponent'"),
    "observation": ("string", "what the environment answered"),
    "reward": ("double", "the environment's reward for the move"),
    "done": ("bool", "whether the episode ended with this turn"),
    "invalid": ("string", "why the move could not be read; null where it could"),
    "past": ("string", "what is needed to take the episode up behind this turn, as JSON"),
    "turns": ("int64", "of an episode, its turns"),
    "return": ("double", "of an episode, the sum of its rewards"),
    "invalid_actions": ("int64", "of an episode, its turns without a move that could be read"),
    "token_ids": (
        "list<int32>",
        "ids of the completion's tokens as they were sampled, the end token included; null where a stop text ends inside one",
    ),
    "chosen_token_ids": ("list<int32>", "the same of the preferred completion of a pair"),
    "rejected_token_ids": ("list<int32>", "the same of the other completion of a pair"),
    "tokens": ("int64", "tokens of the completion, the end token included"),
    "logprob": ("double", "sum of the completion's token log-probabilities at temperature 1"),
    "temperature": ("double", "sampling temperature"),
    "outside": (
        "bool",
        "whether a rollout joined its group from outside and was not drawn by the model in training",
    ),
    "replaced": (
        "bool",
        "whether another group took this rollout's place in its training, since its own teaches nothing",
    ),
    "hinted": ("bool", "whether a hint stood in the prompt when it was sampled"),
    "round": ("int64", "the round that made the row"),
    "sample_index": ("int64", "which of the prompt's samples this is"),
    "seed": ("uint64", "seed of the sample's noise"),
    "checkpoint": ("string", "digest of the checkpoint that sampled it"),
    "optimizer_step": (
        "int64",
        "for a rollout, the optimizer steps that the checkpoint had taken in training when it sampled",
    ),
    "advantage": ("double", "for a rollout, how much better than its group its training took it to be"),
    "step_index": ("int64", "for a step of a completion, its place among the steps, from 0 on"),
    "prefix": ("string", "for a step, what stands before it behind the prompt"),
    "terminal": ("bool", "whether a step is a completion's last one, so that nothing continues it"),
    "value": (
        "double",
        "how good a step, or a choice, is estimated to be: for a step, the share of completions from it that are right",
    ),
    "depth": ("int64", "for a node of a tree, how many steps lead to it from the prompt"),
    "visits": ("int64", "for a node of a tree, how many nodes of its subtree have a score, itself included"),
    "prior": ("double", "for a node of a tree, the share of its parent's draws that gave it"),
    "best": ("bool", "for a node of a tree, whether it stands on the way to the search's answer"),
    "spent": ("int64", "for a node of a tree, the tokens drawn to find and to score it"),
    "step_scores": (
        "list<double>",
        "for a completion, what a process reward model says of each of its steps, from 0 to 1",
    ),
    "verdict": ("string", "'pass', 'fail' or 'error'"),
    "score": ("double", "the verifier's score"),
    "detail": ("string", "why the verdict is what it is"),
    "output": ("string", "what a program that came to its end wrote to its standard output"),
    "voted": ("string", "the answer that took part in the vote"),
    "votes": ("int64", "samples of the prompt with the same answer"),
    "vote_share": ("double", "votes divided by the prompt's samples"),
    "vote_margin": ("double", "share of the leading answer minus share of the second"),
    "decision": ("string", "'kept' or 'dropped'"),
    "reason": ("string", "why selection decided so"),
    "weight": ("double", "weight in training"),
}
"""Name to (Arrow type, meaning). A selector's SQL may add columns of its own beside these."""


TYPES = frozenset(kind for kind, _ in COLUMNS.values())
"""The words for types that a component may give to columns of its own."""


def types_of(*columns: str) -> dict[str, str]:
    """Returns the types of known columns, as `COLUMNS` writes them."""
    return {column: COLUMNS[column][0] for column in columns}


def arrow_type(column: str) -> pa.DataType:
    """Returns the Arrow type of a known column."""
    return arrow_types()[COLUMNS[column][0]]


def arrow_types() -> dict[str, pa.DataType]:
    """Returns every type that a column may have, by its word in `COLUMNS`."""
    import pyarrow as pa

    text = pa.string()
    return {
        "string": text,
        "double": pa.float64(),
        "int64": pa.int64(),
        "uint64": pa.uint64(),
        "bool": pa.bool_(),
        "list<string>": pa.list_(text),
        "list<int32>": pa.list_(pa.int32()),
        "list<double>": pa.list_(pa.float64()),
        MESSAGES_TYPE: pa.list_(pa.struct({"role": text, "content": text, "tool_calls": text, "name": text})),
    }


def arrow_schema(columns: tuple[str, ...]) -> pa.Schema:
    """Returns the Arrow schema of known columns, in the given order."""
    import pyarrow as pa

    return pa.schema([pa.field(column, arrow_type(column)) for column in columns])


def row_key(columns: tuple[str, ...] | list[str]) -> str:
    """Returns the column that identifies a row: `sample_id` where there is one, else `prompt_id`."""
    return "sample_id" if "sample_id" in columns else "prompt_id"
