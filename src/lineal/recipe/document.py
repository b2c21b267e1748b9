"""YAML files as plain values that remember the line of every key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

from lineal.errors import DeclarationError, did_you_mean, joined

KeyPath = tuple[str | int, ...]
_SECRET = re.compile(
    r"(\w*[-_])?(api)?key|((access|api|auth)[-_]?)?token|secret|password|auth(orization)?|headers?", re.I
)
PYDANTIC_TYPES = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Problems that pydantic words itself; lineal's already say what they got."""

_EXPECTED = {
    "a whole number": ("int_type", "int_parsing", "int_from_float"),
    "a number": ("float_type", "float_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
    "a text": ("string_type",),
    "a list": ("list_type", "tuple_type"),
    "a mapping": ("dict_type", "mapping_type", "model_type", "dataclass_type"),
    "at least {ge}": ("greater_than_equal",),
    "more than {gt}": ("greater_than",),
    "at most {le}": ("less_than_equal",),
    "less than {lt}": ("less_than",),
}
"""What is expected, by the types of pydantic's problems."""
_WORDS = {kind: words for words, kinds in _EXPECTED.items() for kind in kinds}

_NUMBERS = frozenset({"int_type", "float_type", "int_parsing", "float_parsing", "greater_than", "bool_type"})
_VALUE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
"""How a value of a node is written."""
_MOST_REPEATED = 10_000
"""Values that aliases (`*name`) may repeat: ten lines of aliases of aliases would be 10**10 values."""
_MOST_DEEP, _MOST_MARKS = 100, 5000
_DATE = re.compile(r"\d{4}-\d\d-\d\d([Tt\s].*)?")

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser is 8 times faster


class StrictLoader(_Loader):  # type: ignore[misc, valid-type]
    """YAML with the surprises of version 1.1 removed: `no` is a string, `1e-3` a number, `010` no octal."""

    refuses_dates = False

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.open: list[yaml.Node] = []
        self.met: set[int] = set()
        self.repeated = 0


StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", list("tf")),
    ("int", r"^[-+]?(0|[1-9]\d*)$", list("-+0123456789")),
    ("float", r"^[-+]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][-+]?\d+)?$", list("-+.0123456789")),
):
    StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


@dataclass(frozen=True)
class Document:
    """One parsed YAML file.

    Attributes:
        name: the file's path as messages show it.
        value: plain dicts, lists and scalars.
        lines: the 1-based line of every key and list item, by key path.
        places: of a policy's file in use, the pipeline's keys that give the values of some of its keys.
        used_by: of a policy's file in use, the pipeline's node that uses it.
    """

    name: str
    value: Any
    lines: Mapping[KeyPath, int]
    places: Mapping[KeyPath, tuple[Document, KeyPath]] = field(default_factory=dict)
    used_by: str = ""

    def error(self, path: KeyPath, message: str) -> DeclarationError:
        """Makes an error that names file, line and key; the line is that of the nearest key that exists."""
        for stop in range(len(path), 0, -1):
            if path[:stop] in self.places:
                document, start = self.places[path[:stop]]
                return document.error(
                    (*start, *path[stop:]), f"{message} (it is {'.'.join(map(str, path))} of {self.name})"
                )
        message = f"{message} (used by {self.used_by})" if self.used_by else message
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        line = self.lines.get(known, 1)
        key = ".".join(str(part) for part in path)
        return DeclarationError(f"{self.name}:{line}: {key + ': ' if key else ''}{message}")


def read_document(path: Path, name: str | None = None, dvc_reads: bool = False) -> Document:
    """Reads one YAML file.

    Args:
        path: the file.
        name: what messages call it.
        dvc_reads: whether DVC reads its values too, so that a date without quotes would be another value there.

    Raises:
        DeclarationError: the file is missing, is not YAML, or names a key twice.
    """
    shown = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DeclarationError(f"{shown}: no such file") from None
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{shown}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    return parse_document(text, shown, dvc_reads)


def parse_document(text: str, name: str, dvc_reads: bool = False) -> Document:
    """Parses YAML text; see `read_document`."""
    _check_depth(text, name)
    loader = StrictLoader(text)
    loader.refuses_dates = dvc_reads
    lines: dict[KeyPath, int] = {}
    try:
        node = loader.get_single_node()
        value = {} if node is None else _value_of(loader, node, (), lines, name)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise DeclarationError(
            f"{name}:{line}: not valid YAML: {getattr(error, 'problem', error)}"
        ) from error
    finally:
        loader.dispose()
    return Document(name, value, lines)


def mapping_at(document: Document, path: KeyPath, value: Any) -> Mapping[str, Any]:
    """Returns a value that must be a mapping; nothing is an empty one.

    Raises:
        DeclarationError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise document.error(path, f"must hold keys and values, got {value!r}")
    return value


def count_at(document: Document, path: KeyPath, value: Any, of: str, fix: str = "") -> int:
    """Returns a value that must be a positive whole number.

    Raises:
        DeclarationError: it is something else; says what there must be a number `of`.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise document.error(path, f"must be a number of {of} from 1 on, got {value!r}{fix and '. '}{fix}")
    return value


def refuse_unknown(document: Document, path: KeyPath, value: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuses a key that is not known.

    Raises:
        DeclarationError: names the first.
    """
    for key in value:
        if key not in known:
            raise document.error((*path, key), f"unknown key {key!r}. {did_you_mean(key, known)}")


def _check_depth(text: str, name: str) -> None:
    """Refuses text so deep that the C parser, which recurses, would crash; only text with that many marks can be."""
    if sum(map(text.count, "[{-?:")) < _MOST_MARKS:
        return
    depth = 0
    with suppress(yaml.YAMLError):  # the parser itself reports it
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MOST_DEEP:
                raise _too_deep(f"{name}:{event.start_mark.line + 1 if event.start_mark else 1}")


def _too_deep(where: str) -> DeclarationError:
    return DeclarationError(f"{where}: values are nested more than {_MOST_DEEP} deep; write them flatter")


def _value_of(loader: Any, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    with _bounded(loader, node, name):
        return _plain_value_of(loader, node, path, lines, name)


@contextmanager
def _bounded(loader: Any, node: yaml.Node, name: str) -> Iterator[None]:
    """Refuses aliases that would make a value large, or part of itself."""
    where = f"{name}:{node.start_mark.line + 1}"
    loader.repeated += id(node) in loader.met
    if loader.repeated > _MOST_REPEATED:
        raise DeclarationError(
            f"{where}: aliases repeat more than {_MOST_REPEATED:,} values; write fewer of them"
        )
    if any(node is above for above in loader.open):
        raise DeclarationError(
            f"{where}: an alias stands inside the value that it names; write the value out"
        )
    if len(loader.open) > _MOST_DEEP:
        raise _too_deep(where)
    loader.met.add(id(node))
    loader.open.append(node)
    yield
    loader.open.pop()


def _plain_value_of(loader: Any, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str) -> Any:
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise DeclarationError(
            f"{name}:{node.start_mark.line + 1}: the tag {node.tag!r} is refused; write a plain value"
        )
    if isinstance(node, yaml.MappingNode):
        return _mapping_of(loader, node, path, lines, name)
    if isinstance(node, yaml.SequenceNode):
        return [_value_of(loader, item, (*path, index), lines, name) for index, item in enumerate(node.value)]
    plain = isinstance(node, yaml.ScalarNode) and not node.style
    if loader.refuses_dates and plain and _DATE.fullmatch(node.value):
        key = ".".join(map(str, path))
        fix = f'DVC, which reads this file too, takes it for a date. Write "{node.value}", in quotes'
        raise DeclarationError(
            f"{name}:{node.start_mark.line + 1}: {key}: got {node.value}, expected text. {fix}"
        )
    return _scalar_of(loader, node, name)


def _scalar_of(loader: Any, node: yaml.Node, name: str) -> Any:
    try:
        return loader.construct_object(node)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:  # `!!int x`
        tag, line = node.tag.rpartition(":")[2], node.start_mark.line + 1
        raise DeclarationError(
            f"{name}:{line}: {node.value!r:.80} is no {tag}; write a plain value"
        ) from error


def _mapping_of(
    loader: Any, node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int], name: str
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if _is_merge(key_node):
            merged = {**_merged_of(loader, value_node, path, lines, name), **merged}
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if _is_merge(key_node):
            continue
        line = key_node.start_mark.line + 1
        key = _scalar_of(loader, key_node, name) if isinstance(key_node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            raise DeclarationError(f"{name}:{line}: a key must be a plain word, got {key!r}")
        if key in mapping:
            first = lines[(*path, key)]
            raise DeclarationError(f"{name}:{line}: {key!r} occurs twice (first at line {first}); delete one")
        lines[(*path, key)] = line
        mapping[key] = _value_of(loader, value_node, (*path, key), lines, name)
    return {**merged, **mapping}


def _is_merge(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style


def _merged_of(
    loader: Any, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], name: str
) -> dict[str, Any]:
    """Returns the values of a merge key (`<<: *name`, or a list of them); of several the first wins."""
    found: dict[str, Any] = {}
    for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
        if not isinstance(one, yaml.MappingNode):
            line = one.start_mark.line + 1
            raise DeclarationError(
                f"{name}:{line}: '<<' takes keys and values from elsewhere: <<: *name, or <<: [*a, *b]"
            )
        found = {**_value_of(loader, one, path, lines, name), **found}
    return found


def _keys_of(document: Document, path: KeyPath, location: tuple[str | int, ...]) -> KeyPath:
    """Returns the place of a problem without pydantic's names for the arms of a union: existing keys, and the last one."""
    found: KeyPath = ()
    for place, part in enumerate(location):
        if (*path, *found, part) in document.lines or (place == len(location) - 1 and "-" not in str(part)):
            found = (*found, part)
    return found


def _fields_at(model: Any, location: tuple[str | int, ...]) -> list[str]:
    """Returns the fields of the model that a location inside a model's values belongs to."""
    kind = model
    while True:
        owner = next(
            (arm for arm in _arms(kind) if isinstance(arm, type) and issubclass(arm, BaseModel)), None
        )
        step = next(
            (place for place, part in enumerate(location) if owner and part in owner.model_fields), None
        )
        if owner is None or step is None:
            return [] if owner is None else list(owner.model_fields)
        kind, location = owner.model_fields[str(location[step])].annotation, location[step + 1 :]


def _arms(kind: Any) -> Iterator[Any]:
    """Yields a type, and the types that it is composed of."""
    yield kind
    for part in get_args(kind):
        yield from _arms(part)


def declaration_error(
    document: Document,
    path: KeyPath,
    error: ValidationError,
    model: type[BaseModel],
    others: Iterable[str] = (),
) -> DeclarationError:
    """Turns the problems of a validation, one for each key, into an error that names file, line and key of each.

    Args:
        document: the file.
        path: where the validated value stands in it.
        error: the problems.
        model: what the value was validated as.
        others: keys that are known beside the model's fields.
    """
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    problems = [problem for problem in problems if not _is_misspelt(problem, problems)]
    by_key: dict[object, Any] = {}
    for problem in problems:  # the arms of a union complain one by one
        by_key.setdefault(problem["loc"][:1], problem)
    errors = [_problem(document, path, problem, model, others) for problem in by_key.values()]
    return joined(errors)


def _is_misspelt(missing: Any, problems: Iterable[Any]) -> bool:
    """Tells whether a missing setting is there under a misspelt name, which has an error of its own."""
    if missing["type"] != "missing":
        return False
    place, name = missing["loc"][:-1], str(missing["loc"][-1])
    return any(
        problem["type"] == "extra_forbidden"
        and problem["loc"][:-1] == place
        and get_close_matches(str(problem["loc"][-1]), [name])
        for problem in problems
    )


def _problem(
    document: Document, path: KeyPath, first: Any, model: type[BaseModel], others: Iterable[str]
) -> DeclarationError:
    where = (*path, *_keys_of(document, path, first["loc"]))
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        known = (
            [*model.model_fields, *others] if len(first["loc"]) == 1 else _fields_at(model, first["loc"][:-1])
        )
        return document.error(
            where, f"unknown key {key!r}. {_secret_hint(where) or did_you_mean(key, known)}"
        )
    if first["type"] == "missing":
        given = first["input"] if isinstance(first["input"], Mapping) else {}
        others = [
            str(key) for key in given if key not in model.model_fields
        ]  # a model may take other keys as names of columns
        near = get_close_matches(str(first["loc"][-1]), others, n=1)
        slip = f", and {near[0]!r} is no setting. Did you mean {first['loc'][-1]!r}?" if near else ""
        return document.error(where, f"is missing{slip}")
    if first["type"] in _NUMBERS and isinstance(first["input"], str) and _VALUE.fullmatch(first["input"]):
        got = (
            f"got {first['input']!r}, which is no number, and no value of a node that is declared here either"
        )
        return document.error(where, f"{got}. Correct its name, or write a number")
    return document.error(where, words_of(first))


def words_of(problem: Mapping[str, Any]) -> str:
    """Says what a setting got and what was expected: a problem of pydantic in lineal's words, a validator's in its own."""
    if problem["type"] not in PYDANTIC_TYPES:
        return expectation_of(problem)
    return f"got {problem['input']!r}, {expectation_of(problem)}"


def expectation_of(problem: Mapping[str, Any]) -> str:
    """Says what was expected in place of a value, or what a validator says about it."""
    text = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] not in PYDANTIC_TYPES:
        return text
    words = _WORDS.get(problem["type"], "").format(**problem.get("ctx", {}))
    return f"expected {words or text.removeprefix('Input should be ')}"


def _secret_hint(where: KeyPath) -> str:
    """Returns what to do instead, where someone wrote down a server's key."""
    if "endpoints" not in where or not _SECRET.fullmatch(str(where[-1])):
        return ""
    return "A key does not belong in a file: put it into an environment variable, and its name here: key_variable: NAME"
