"""Converts a data set's values into rows; an unusable value is refused by file, row and column."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from json.encoder import encode_basestring
from typing import Any, Literal

from lineal.components.base import Columns
from lineal.components.sources.base import Row
from lineal.components.sources.chats import ChatReader, reply, reply_text
from lineal.components.sources.files import Located
from lineal.components.sources.picture_files import PictureFiles
from lineal.components.sources.pictured import PICTURES
from lineal.components.sources.values import RECORDS, checked_text, kind_of, known_value, own_value
from lineal.components.verifiers.base import extracted
from lineal.data.conversations import Conversation, Turn
from lineal.data.ids import canonical_json, id_of_list, row_id
from lineal.data.media import IMAGES
from lineal.data.pictures import Picture
from lineal.data.schema import COLUMNS
from lineal.errors import DataError, did_you_mean

LastTurn = Literal["completion", "answer", "keep"]
PAIR = ("chosen", "rejected")
CHATS = ("messages", "tools")
BATCH_ROWS = 1 << 12  # of one run of the regular expressions
DATASET = encode_basestring("dataset")
FIRST_LOOK = 1 << 16
"""After so many rows, and whenever there are twice as many, ids that came twice are looked for."""


@dataclass(frozen=True)
class RowShape:
    """The composition of a data set's rows; the settings of `Dataset` have the same names.

    Attributes:
        origin: the file's name for messages.
        mapping: our column to the file's.
        last_turn: what becomes of the assistant's turn at the end of a conversation.
        extract: by column, the expression whose first group is its value.
        optional: columns that may have no value.
        fills_nulls: whether the format fills absent keys of objects with null.
        has_header: whether the format names its columns once for all rows.
    """

    origin: str
    mapping: Mapping[str, str]
    last_turn: LastTurn | None
    extract: Mapping[str, str]
    optional: frozenset[str]
    fills_nulls: bool
    has_header: bool = False

    @property
    def own(self) -> Columns:
        """The columns of the user's own."""
        return tuple(name for name in self.mapping if name not in COLUMNS)

    @property
    def shares_a_prompt(self) -> bool:
        """True if the prompt is the common beginning of two conversations, chosen and rejected."""
        return set(PAIR) <= self.mapping.keys() and not {"prompt", "messages"} & self.mapping.keys()

    @property
    def columns(self) -> Columns:
        """The columns of the rows: known ones in the schema's order, then the user's own."""
        made = {*self.mapping, "prompt_id", "prompt"}
        made |= {"messages"} if self.shares_a_prompt else set()
        made |= {self.last_turn} if self.last_turn in ("completion", "answer") else set()
        return (*(name for name in COLUMNS if name in made), *self.own)


def own_kinds(shape: RowShape, located: Iterable[Located]) -> dict[str, str]:
    """Returns the kind of values of each column of the user's own: one kind, but whole numbers may be among others.

    Raises:
        DataError: a column holds values of different kinds, or of one that rows cannot hold.
    """
    found: dict[str, tuple[str, str]] = {}
    for place, values in located:
        for name in shape.own:
            value = values.get(shape.mapping[name])
            if value is None:
                continue
            kind, (first, where) = kind_of(value), found.get(name, (kind_of(value), place))
            if kind not in ("text", "truth", "integer", "number", "record"):
                message = f"is a {kind}, which rows don't hold. Write it as text"
                raise DataError(f"{shape.origin}: {place}, column {shape.mapping[name]!r} {message}")
            if {kind, first} == {"integer", "number"}:
                kind = first = "number"
            if kind != first:
                message = f"holds {kind} here but {first} in {where}; make all of one type"
                raise DataError(f"{shape.origin}: {place}, column {shape.mapping[name]!r} {message}")
            found[name] = (kind, where)
    return {name: found[name][0] if name in found else "text" for name in shape.own}


class RowReader:
    """Turns a file's values into rows.

    Args:
        shape: what the rows are made of.
        kinds: by column of the user's own, what its values are.
        located: reads the values, from the beginning each time.
        pictures: reads pictures.
    """

    def __init__(
        self,
        shape: RowShape,
        kinds: Mapping[str, str],
        located: Callable[[], Iterable[Located]],
        pictures: PictureFiles | None = None,
    ) -> None:
        self._shape, self._kinds, self._located = shape, kinds, located
        self._pictures = pictures or PictureFiles(None)
        self._chats = ChatReader(shape.fills_nulls)
        self._types: dict[str, tuple[str, str]] = {}
        self._texts: set[str] = set()
        """Columns of texts, of which a text has come already: another one needs little looking at."""
        self._mapping, self._shares_a_prompt = tuple(shape.mapping.items()), shape.shares_a_prompt
        self._hashes = array("q")
        """Of the ids so far, 8 bytes each: the ids themselves would take 150 MB a million."""
        self._look_at = FIRST_LOOK
        self._present: set[str] = set()
        self._extractions = {name: _Extraction(pattern) for name, pattern in shape.extract.items()}
        for name in self._extractions:
            if kinds.get(name, "text") != "text":
                raise DataError(
                    f"{shape.origin}: extract reads texts, but column {shape.mapping[name]!r} holds a {kinds[name]}"
                )

    def rows(self) -> Iterator[Row]:
        """Yields the rows, in order; those with pictures hold them as `PICTURES`, and their digests as the column `images`."""
        for _, row in self._identified():
            self._hashes.append(hash(row["prompt_id"]))
            if len(self._hashes) == self._look_at:
                self._look_at *= 2
                self._require_distinct()
            yield row

    def _identified(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields places and rows, each with its id."""
        made = ((place, self._row(place, values)) for place, values in self._located())
        for place, row in self._extracted(made) if self._extractions else made:
            if "prompt_id" not in row:
                row["prompt_id"] = _prompt_id(row)
            yield place, row

    def finish(self) -> None:
        """Checks what only all rows together show.

        Raises:
            DataError: two rows have one id, an optional column is in no row, or an expression misses rows that need a value.
        """
        self._require_distinct()
        for name in self._shape.optional - self._present - {self._shape.last_turn}:
            if self._hashes:
                theirs = self._shape.mapping[name]
                raise DataError(
                    f"{self._shape.origin}: column {theirs!r} (for {name}) has no value in any row. Correct its name"
                )
        for name, extraction in self._extractions.items():
            extraction.finish(self._shape.origin, name, name in self._shape.optional)

    def _row(self, place: str, values: Mapping[str, Any]) -> dict[str, Any]:
        try:
            row: dict[str, Any] = {}
            for name, theirs in self._mapping:
                value = values.get(theirs)
                plain = type(value) is str and name in self._texts and value.isascii() and "\0" not in value
                row[name] = value if plain else self._value(place, name, theirs, values)
            if row.get(IMAGES):
                pictures: list[Picture] = row[IMAGES]
                row |= {PICTURES: pictures, IMAGES: [picture.sha256 for picture in pictures]}
            if self._shares_a_prompt:
                self._share_prompt(f"{self._shape.origin}: {place}", row)
            if "messages" in row:
                self._place_turns(f"{self._shape.origin}: {place}", row)
        except RecursionError as error:
            raise DataError(f"{self._shape.origin}: {place} nests too deep") from error
        if not row["prompt"] or row["prompt"].isspace():
            raise DataError(
                f"{self._shape.origin}: {place}: the prompt is empty, expected a text. Leave the row out"
            )
        return row

    # -- values -----------------------------------------------------------------------------------------------------

    def _value(self, place: str, name: str, theirs: str, values: Mapping[str, Any]) -> Any:
        value = values.get(theirs)
        if name in self._texts and type(value) is str:
            return checked_text(f"{self._shape.origin}: {place}, column {theirs!r}", value)
        found = self._checked(place, name, theirs, values)
        if type(value) is str and found is value and name not in CHATS:
            self._texts.add(name)
        return found

    def _checked(self, place: str, name: str, theirs: str, values: Mapping[str, Any]) -> Any:
        where, value = f"{self._shape.origin}: {place}, column {theirs!r}", values.get(theirs)
        if theirs not in values and name not in self._shape.optional:
            there = [str(key) for key in values]
            if self._shape.has_header:
                file = place.rpartition(": ")[0]
                raise DataError(
                    f"{self._shape.origin}: {f'{file}: ' if file else ''}{_no_column(name, theirs, there)}"
                )
            raise DataError(f"{where} (for {name}) is missing. {did_you_mean(theirs, there)}")
        if value is None:
            if name in self._shape.optional:
                return None
            fix = f"Leave the row out, or allow it: optional: [{name}]"
            raise DataError(f"{where} (for {name}) is null; every row needs a value. {fix}")
        self._present.add(name)
        if name in self._kinds:
            return own_value(where, self._kinds[name], value)
        self._require_one_type(where, place, name, value)
        return self._known(where, name, value)

    def _known(self, where: str, name: str, value: Any) -> Any:
        if name == IMAGES:
            return self._pictures.read(where, value)
        if name == "tools":
            return self._chats.tools(where, value)
        if name == "messages" or (name in PAIR and self._shares_a_prompt):
            return self._chats.turns(where, value)
        if name in ("completion", *PAIR) and isinstance(value, list):
            return reply(where, self._chats.turns(where, value))
        return known_value(where, name, value)

    def _require_one_type(self, where: str, place: str, name: str, value: Any) -> None:
        kind = "number" if kind_of(value) == "integer" else kind_of(value)
        first, there = self._types.setdefault(name, (kind, place))
        if kind != first and name not in (*CHATS, *RECORDS, IMAGES):
            raise DataError(f"{where} is a {kind} here but a {first} in {there}; make all of one type")

    # -- conversations ----------------------------------------------------------------------------------------------

    def _share_prompt(self, where: str, row: dict[str, Any]) -> None:
        """Makes the common turns of chosen and rejected the conversation, and the last turn of each the pair."""
        chosen, rejected = row["chosen"], row["rejected"]
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        row["messages"] = chosen[:shared]
        for name in PAIR:
            row[name] = reply(
                f"{where}, {name} after the {shared} turns that both begin with", row[name][shared:]
            )

    def _place_turns(self, where: str, row: dict[str, Any]) -> None:
        """Puts turns into the row as the column holds them, with what `last_turn` takes from them, and their short form."""
        turns: tuple[Turn, ...] = row["messages"]
        last = self._shape.last_turn
        if last in ("completion", "answer"):
            if turns[-1].role != "assistant":
                got = f"last_turn: {last} takes the assistant's turn off the end, but the last is of the role {turns[-1].role}"
                raise DataError(f"{where}: {got}. Leave the row out, or last_turn")
            row[last] = reply_text(where, turns[-1])
            turns = turns[:-1]
        if last != "keep" and (not turns or turns[-1].role not in ("user", "tool")):
            raise DataError(f"{where}: {_no_prompt(turns)}")
        if last == "keep" and turns[-1].role != "assistant":
            raise DataError(
                f"{where}: last_turn: keep is for conversations that end with the assistant, got {turns[-1].role}"
            )
        row["messages"] = Conversation(turns).for_rows()
        row.setdefault("prompt", Conversation(turns).question)

    # -- expressions ------------------------------------------------------------------------------------------------

    def _extracted(self, made: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
        while batch := list(islice(made, BATCH_ROWS)):
            for name, extraction in self._extractions.items():
                for (place, row), value in zip(batch, extraction.values(name, batch), strict=True):
                    row[name] = value
                    if name == "prompt" and value is not None and not value.strip():
                        raise DataError(
                            f"{self._shape.origin}: {place}: extract leaves nothing of the prompt"
                        )
            yield from batch

    # -- ids --------------------------------------------------------------------------------------------------------

    def _require_distinct(self) -> None:
        """Finds duplicate ids: among the hashes, and where two are equal, in the file again."""
        shared, first = _repeated(self._hashes), dict[str, str]()
        for place, row in islice(self._again(), len(self._hashes)) if shared else ():
            row_id = row["prompt_id"]
            if hash(row_id) in shared and first.setdefault(row_id, place) != place:
                own = "prompt_id" in self._shape.mapping
                fix = (
                    "Give each its own"
                    if own
                    else "Remove one, or name an id column: columns: {prompt_id: ...}"
                )
                raise DataError(
                    f"{self._shape.origin}: {place} has the same prompt id as {first[row_id]} ({row_id!r}). {fix}"
                )

    def _again(self) -> Iterator[tuple[str, dict[str, Any]]]:
        return RowReader(self._shape, self._kinds, self._located, self._pictures)._identified()


def _repeated(hashes: array[int]) -> set[int]:
    """Returns the numbers that occur in it more than once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    in_order = pa.array(memoryview(hashes)).sort() if len(hashes) > 1 else pa.array([], pa.int64())
    before, after = in_order.slice(0, max(0, len(in_order) - 1)), in_order.slice(1)
    return set(after.filter(pc.equal(before, after)).to_pylist())


def _no_column(name: str, theirs: str, there: list[str]) -> str:
    return f"columns: {{{name}: {theirs}}} names no column of the file. {did_you_mean(theirs, there)}"


class _Extraction:
    """One column's expression, and the rows that it misses."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._matched = self._missed = 0
        self._example = ""

    def values(self, name: str, batch: list[tuple[str, dict[str, Any]]]) -> list[str | None]:
        import duckdb
        import pyarrow as pa

        texts = [row[name] for _, row in batch]
        try:
            values: list[str | None] = extracted(
                pa.chunked_array([pa.array(texts, pa.string())]), self._pattern
            ).to_pylist()
        except duckdb.Error as error:
            raise DataError(f"extract for {name}: {self._pattern!r} is no RE2 expression: {error}") from error
        for (place, _), text, value in zip(batch, texts, values, strict=True):
            if value is None and text is not None:
                self._missed += 1
                self._example = self._example or f"{place}: {text[-120:]!a}"
        self._matched += sum(value is not None for value in values)
        return values

    def finish(self, origin: str, name: str, optional: bool) -> None:
        if not self._missed or (optional and self._matched):
            return
        total = self._missed + self._matched
        got = f"extract for {name}, {self._pattern!r}, matches {self._matched:,} of {total:,} rows"
        fix = f"Correct it{f', or allow rows without: optional: [{name}]' if self._matched else ''}"
        raise DataError(f"{origin}: {got}; the first that it misses ends, in {self._example}. {fix}")


def _prompt_id(row: Mapping[str, Any]) -> str:
    """Makes an id of the text and the pictures; a conversation's is of all its turns and of what is to be learned from it."""
    told = str(row.get("answer") or row.get("completion") or "")
    pictures: list[str] = row.get(IMAGES) or []
    if "messages" not in row and pictures:
        return row_id("dataset", row["prompt"], told, pictures)
    if "messages" not in row:
        return id_of_list((DATASET, encode_basestring(row["prompt"]), encode_basestring(told)))
    pair = [row.get(name) or "" for name in PAIR]
    return row_id("dataset", canonical_json(row["messages"]), row.get("tools") or "", told, *pair, *pictures)


def _no_prompt(turns: tuple[Turn, ...]) -> str:
    if turns and turns[-1].role == "assistant":
        choices = "last_turn: completion (or answer) makes its last turn a column, last_turn: keep leaves it whole for training"
        return f"the conversation ends with the assistant, but a prompt ends with user or tool. {choices}"
    got = f"it ends with {turns[-1].role}" if turns else "there is none"
    return f"a prompt must end with a turn of user or tool, but {got}. Leave the row out"
