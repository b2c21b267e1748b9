"""A selector file: SQL under a typed comment header, so that the plan knows its settings and columns without running it.

    -- summary: Keep what the verifier accepts.
    -- source: arXiv:2312.06585, section 3
    -- needs: prompt_id, verdict
    -- optional: difficulty
    -- param max_per_prompt: integer = null  -- at most so many of a prompt's rows
    -- input replay: prompt_id, prompt  -- rows of another node, as a view of that name
    -- adds: rank

| line | meaning |
|---|---|
| `summary:` | one sentence; the only line that must be there |
| `source:` | the paper and section it follows |
| `needs:` | columns of `rows` that must be there |
| `optional:` | columns of any input that are null where they are missing |
| `param NAME: TYPE [in VALUES] [= DEFAULT]` | a setting, `$NAME` in the SQL; no default: must be set |
| `input NAME: COLUMNS` | a further setting that refers to rows, and the columns they must have; a view of that name |
| `adds:` | columns that a deciding query gives beside row_id, decision, reason, weight; kept and dropped rows get them |
| `makes rows:`, `makes prompts:` | the query makes new rows of these columns (`answer?`: where an input has it; `*`: see below) |
| `dropped:` | with `makes`: the reason of input rows that no new row was made from |
| `empty:` | what it means when no row comes out; without this line that is an error |
| `gives:` | of a measure (`pipelines/measures/`): the numbers that the query gives, first the one that stands for it |
| `better:` | of a measure: `higher` (where the line is missing), `lower`, or `neither` |
| `warns NUMBER:` | of a measure: when to warn about a number: `falls`, `falls 0.25`, `rises`, `below 0.05`, `above 1` |

A `*` among the columns that are made has new rows take over, from their first parents, what generators take over from a
prompt: its answer, difficulty, task and the like, and all columns of the user's own, as far as the query does not give them.

A setting is an integer, number, boolean or text. `in` bounds its values: a range with its ends (`number in 0..1`,
`integer in 1..`), or a list (`text in ucb, exp3`).

After `--` a text may follow on `param` and `input` lines. Comment lines without a colon after their first words are free text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from lineal.components.base import Columns
from lineal.components.generators.drawing import CARRIED, carried
from lineal.data.schema import COLUMNS
from lineal.errors import DeclarationError, did_you_mean

ParameterType = Literal["integer", "number", "boolean", "text"]
_PYTHON: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "text": (str,),
}

_LINE = re.compile(
    r"^--\s*(?P<key>[a-z]+)(?:[ \t]+(?P<name>[A-Za-z0-9_]+))?\s*:\s*(?P<value>.*?)(?:\s+--\s+(?P<text>.*))?$"
)
_RANGE = re.compile(r"^(-?\d+(?:\.\d+)?)?\.\.(-?\d+(?:\.\d+)?)?$")
_NAME = re.compile(r"^[a-z][a-z0-9_]*$")
_KEYS = (
    "summary",
    "source",
    "needs",
    "optional",
    "param",
    "input",
    "adds",
    "makes",
    "dropped",
    "empty",
    "gives",
    "better",
    "warns",
)
BETTER = ("higher", "lower", "neither")
_NAMED = ("param", "input", "makes", "warns")
RESERVED = frozenset(
    {"use", "rows", "sql", "each", "repeat", "per_round", "per_turn", "seed", "retractions", "warnings"}
)
OWN = frozenset({"row_id", "position"})
"""Columns that every view has; no row's."""
OURS = "lineal_"
"""What names of our own tables begin with."""
DECISION: Columns = ("row_id", "decision", "reason")


@dataclass(frozen=True)
class Allowed:
    """The values that a setting may have: a range with its ends, or a list.

    Attributes:
        text: as the header has it.
        low, high: the ends of a range; None: no end.
        listed: the values of a list; empty for a range.
    """

    text: str
    low: float | None = None
    high: float | None = None
    listed: tuple[str, ...] = ()

    def problem(self, value: Any) -> str | None:
        """Returns the problem of a value of the right type, if any."""
        if self.listed:
            return None if value in self.listed else f"must be one of {self.text}, got {value!r}"
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return None if inside else f"must be in {self.text}, got {value!r}"


@dataclass(frozen=True)
class Parameter:
    """One setting of a selector."""

    type: ParameterType
    required: bool
    default: Any = None
    text: str = ""
    allowed: Allowed | None = None

    def problem(self, value: Any) -> str | None:
        """Returns the problem of a value, if any."""
        if value is None and not self.required and self.default is None:
            return None
        fits = isinstance(value, _PYTHON[self.type]) and (
            self.type == "boolean" or not isinstance(value, bool)
        )
        if not fits or (isinstance(value, float) and not isfinite(value)):
            return f"must be {'an' if self.type == 'integer' else 'a'} {self.type}, got {value!r}"
        return self.allowed.problem(value) if self.allowed else None


@dataclass(frozen=True)
class Makes:
    """The output of a making query: `rows` get sample ids of their own, `prompts` are identified by prompt id.

    With `rest`, new rows take over further columns from their first parents.
    """

    kind: Literal["rows", "prompts"]
    required: Columns
    optional: Columns
    rest: bool = False

    def columns(self, available: Columns) -> Columns:
        """Returns the columns made when the inputs together have `available`."""
        named = (*self.required, *(name for name in self.optional if name in available))
        return (*named, *self.carried(available))

    def carried(self, available: Columns) -> Columns:
        """Returns the columns that new rows take from their first parents, since the query does not give them; see `CARRIED`."""
        named = (*self.required, *self.optional)
        texts = tuple(
            name
            for name, text in CARRIED.items()
            if name in available and text in named and name not in named
        )
        rest = (name for name in available if self.rest and carried(name) and name not in (*named, *CARRIED))
        return (*texts, *rest)


@dataclass(frozen=True)
class Selector:
    """One parsed selector file.

    Attributes:
        name: what `sql:` says.
        path: the file.
        shown: the file as messages name it.
        query: the file's text; its header is comments to DuckDB.
        summary, source, needs, optional, parameters, inputs, adds, makes, dropped, empty, gives, better, warns: see the module.
        texts: by input, the text behind its line.
    """

    name: str
    path: Path
    shown: str
    query: str
    summary: str
    source: str = ""
    needs: Columns = ()
    optional: Columns = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    inputs: Mapping[str, Columns] = field(default_factory=dict)
    adds: Columns = ()
    makes: Makes | None = None
    dropped: str = "nothing was made from it"
    empty: str = ""
    gives: Columns = ()
    better: str = "higher"
    warns: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Returns every parameter's value: the setting, or the default."""
        return {name: settings.get(name, parameter.default) for name, parameter in self.parameters.items()}


def read_selector(name: str, path: Path, shown: str) -> Selector:
    """Reads a selector file's header.

    Raises:
        DeclarationError: the header is wrong; names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{shown}: cannot be read as text: {error}") from error
    parts: dict[str, Any] = {"parameters": {}, "inputs": {}, "warns": {}, "texts": {}}
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("--"):
            break
        match = _LINE.match(line)
        if match is not None:
            _HeaderLine(f"{shown}:{number}", match).add_to(parts)
    if "summary" not in parts:
        raise DeclarationError(
            f"{shown}:1: the header has no '-- summary: ...' line; say in a sentence what it selects"
        )
    if parts.get("makes") and parts.get("adds"):
        raise DeclarationError(
            f"{shown}:1: 'adds' is for queries that decide; one that makes rows names all in 'makes'"
        )
    if always := [name for name in ("decision", "reason", "weight") if name in parts.get("adds", ())]:
        raise DeclarationError(
            f"{shown}:1: 'adds' names {', '.join(always)}, which a query that decides gives anyway. Leave it out there"
        )
    return Selector(name, path, shown, text, **parts)


@dataclass(frozen=True)
class _HeaderLine:
    where: str
    match: re.Match[str]

    def add_to(self, parts: dict[str, Any]) -> None:
        key, name, value = self.match["key"], self.match["name"], self.match["value"].strip()
        if key not in _KEYS:
            raise self.error(f"unknown header line {key!r}. {did_you_mean(key, _KEYS)}")
        if (name is not None) != (key in _NAMED):
            raise self.error(f"write {self._form(key)}")
        if key == "param":
            self._claim(parts, name)
            parts["parameters"][name] = self._parameter(value)
        elif key == "input":
            self._claim(parts, name)
            parts["inputs"][name] = self._columns(value)
            parts["texts"] |= {name: self.match["text"]} if self.match["text"] else {}
        elif key == "warns":
            if name in parts["warns"]:
                raise self.error(f"'warns {name}' occurs twice; put both into one line, separated by commas")
            parts["warns"][name] = value
        elif key in parts:
            raise self.error(f"{key!r} occurs twice; put both into one line")
        elif key == "makes":
            parts["makes"] = self._makes(name, value)
        else:
            parts[key] = (
                value if key in ("summary", "source", "dropped", "empty", "better") else self._columns(value)
            )
            if key == "optional":
                self._require_known(parts[key])
            if key == "better" and value not in BETTER:
                raise self.error(f"write '-- better: {BETTER[0]}', {BETTER[1]} or {BETTER[2]}, got {value!r}")

    def error(self, message: str) -> DeclarationError:
        return DeclarationError(f"{self.where}: {message}")

    def _form(self, key: str) -> str:
        forms = {
            "param": "param NAME: TYPE = DEFAULT",
            "input": "input NAME: COLUMNS",
            "makes": "makes rows: or makes prompts:",
            "warns": "warns NUMBER: falls",
        }
        return f"'-- {forms.get(key, key + ': ...')}'"

    def _claim(self, parts: Mapping[str, Any], name: str) -> None:
        if not _NAME.match(name) or name in RESERVED or name.startswith(OURS):
            raise self.error(
                f"{name!r} is no name for a setting: lower-case, and not {', '.join(sorted(RESERVED))} or {OURS}..."
            )
        if name in parts["parameters"] or name in parts["inputs"]:
            raise self.error(f"{name!r} occurs twice; rename one")

    def _columns(self, value: str) -> Columns:
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        for name in names:
            if not _NAME.match(name):
                raise self.error(f"{name!r} is no column name; separate lower-case names by commas")
        if len(set(names)) != len(names):
            raise self.error("names a column twice")
        return names

    def _require_known(self, columns: Columns) -> None:
        for name in columns:
            if name not in COLUMNS:
                raise self.error(f"optional column {name!r} has no known type. {did_you_mean(name, COLUMNS)}")

    def _makes(self, kind: str, value: str) -> Makes:
        if kind not in ("rows", "prompts"):
            raise self.error(f"write {self._form('makes')}")
        written = [part.strip() for part in value.split(",")]
        optional = tuple(part[:-1] for part in written if part.endswith("?"))
        names = self._columns(",".join(part.removesuffix("?") for part in written if part != "*"))
        if OWN & set(names):
            raise self.error(
                f"{', '.join(sorted(OWN & set(names)))}: every view has that for a row; take another name"
            )
        made = {"sample_id", "parents", "round"} & set(names)
        if made or "prompt" not in names or (kind == "prompts" and "prompt_id" not in names):
            raise self.error(
                "new rows have a prompt, and prompts a prompt_id; sample_id, parents and round come by themselves"
            )
        required = tuple(name for name in names if name not in optional)
        return Makes(kind, required, optional, "*" in written)  # type: ignore[arg-type]

    def _parameter(self, value: str) -> Parameter:
        declared, given, default = (part.strip() for part in value.partition("="))
        name, bounded, values = (part.strip() for part in declared.partition(" in "))
        if name not in _PYTHON:
            raise self.error(f"unknown type {name!r}. {did_you_mean(name, _PYTHON)}")
        allowed = self._allowed(name, values) if bounded else None
        value_if_unset = _literal(default) if given else None
        parameter = Parameter(name, not given, value_if_unset, self.match["text"] or "", allowed)  # type: ignore[arg-type]
        if not given:
            return parameter
        problem = parameter.problem(parameter.default)
        if problem is not None:
            raise self.error(f"default {default!r} {problem}")
        return parameter

    def _allowed(self, type_: str, values: str) -> Allowed:
        ends = _RANGE.match(values)
        if ends and type_ in ("integer", "number"):
            low, high = (float(end) if end else None for end in ends.groups())
            if values == ".." or (low is not None and high is not None and low > high):
                raise self.error(f"the range {values} holds no value, or every value; write 'in LOW..HIGH'")
            return Allowed(values, low, high)
        if type_ == "text" and values:
            return Allowed(values, listed=tuple(value.strip() for value in values.split(",")))
        raise self.error(
            f"write 'in LOW..HIGH' for a number and 'in A, B, C' for a text, got {type_!r} in {values!r}"
        )


def _literal(text: str) -> Any:
    """Parses a default."""
    words = {"null": None, "true": True, "false": False}
    if text in words:
        return words[text]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text.strip("'")
