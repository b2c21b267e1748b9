"""Reads tests of a program: the calls to it, and the assertions about their values. The program never sees the second.

Most tests are assertions that a few operations of our own can work out. `assert sorted(pairs(3)) == [(1, 2)], "message"` becomes
the call `pairs(3)`, whose value comes back as plain data, and the condition `sorted(_) == [(1, 2)]`. All others run in a sandbox
of their own, where what the program defines stands for calls into its sandbox (`rewriting.py`).
"""

from __future__ import annotations

import ast
import builtins
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lineal.components.verifiers.conditions import FUNCTIONS, ITERATING, Slot, is_known, worked_out
from lineal.components.verifiers.rewriting import Examination, is_always_true, rewritten
from lineal.components.verifiers.whose import Names, checks, names_of

_BROKEN = (SyntaxError, TypeError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Assertion:
    """One test.

    Attributes:
        text: as it was written.
        calls: Python expressions to evaluate in the program's own names; those that begin with `*` are asked for their items.
        condition: what is asserted; `Slot` stands where a call stood.
    """

    text: str
    calls: tuple[str, ...]
    condition: ast.expr

    def holds(self, values: Sequence[Any]) -> bool:
        """Tells whether it is true of the calls' values.

        Raises:
            Exception: the condition cannot be worked out for such values.
        """
        return bool(worked_out(self.condition, values))


@dataclass(frozen=True)
class Tests:
    """A program's tests.

    Attributes:
        imports: the tests' own imports, which hold for the program too.
        assertions: what our own operations can work out.
        examination: or else, the tests for a sandbox of their own.
    """

    imports: str
    assertions: tuple[Assertion, ...] = ()
    examination: Examination | None = None


@lru_cache(maxsize=4096)
def read_tests(tests: str, prompt: str = "") -> Tests:
    """Reads a `tests` text: Python, or a JSON list of Python texts.

    Args:
        tests: the text.
        prompt: what the program was asked for.

    Raises:
        ValueError: it cannot be read, asserts nothing, or cannot be judged from outside the program.
    """
    try:
        listed = json.loads(tests) if tests.lstrip().startswith("[") else [tests]
        module = ast.Module([statement for text in listed for statement in ast.parse(text).body], [])
        return _read(module, prompt)
    except _BROKEN as error:
        raise ValueError(f"the tests cannot be read as Python: {type(error).__name__}") from error


def _read(module: ast.Module, prompt: str) -> Tests:
    if not any(isinstance(node, ast.Assert) and not is_always_true(node) for node in ast.walk(module)):
        raise ValueError("there are no assertions among the tests")
    _check_imports(module)
    _check_called(module)
    names = names_of(module, prompt)
    imports = "\n".join(
        ast.unparse(part) for part in module.body if isinstance(part, ast.Import | ast.ImportFrom)
    )
    try:
        taken = tuple(_taken_apart(test, names) for test in _asserted(module.body, names))
    except _NeedsPython:
        return Tests(imports, examination=rewritten(module, names))
    return Tests(imports, taken)


def _check_imports(module: ast.Module) -> None:
    for node in ast.walk(module):
        wanted: list[str] = []
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [node.module or "."] if [alias.name for alias in node.names] != ["*"] else ["*"]
        for name in wanted:
            if name.partition(".")[0] not in sys.stdlib_module_names:
                raise ValueError(
                    f"the tests import {name!r}; only modules of the standard library are there, by their names"
                )


def _check_called(module: ast.Module) -> None:
    called = {
        node.func.id
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "check" and "check" not in called:
            raise ValueError(
                "the tests define check and never call it; end them with check(NAME OF THE FUNCTION)"
            )


class _NeedsPython(Exception):
    """A test that only a whole Python can work out."""


def _asserted(statements: Sequence[ast.stmt], names: Names, called: str | None = None) -> Iterator[ast.expr]:
    """Yields the asserted expressions, with `candidate` called by its name.

    Raises:
        _NeedsPython: there are other statements.
    """
    calls = list(checks(ast.Module(list(statements), [])))
    checked = {
        call.func.id: argument.id
        for call in calls
        if isinstance(call.func, ast.Name) and isinstance(argument := call.args[0], ast.Name)
    }
    if len(checked) < len(calls):
        raise _NeedsPython
    for statement in statements:
        if isinstance(statement, ast.Assert):
            if not is_always_true(statement):
                yield _Renamed(called).visit(statement.test) if called else statement.test
        elif (
            isinstance(statement, ast.FunctionDef)
            and statement.name in checked
            and _takes_candidate(statement)
        ):
            if checked[statement.name] not in names.program:
                raise _NeedsPython
            yield from _asserted(statement.body, names, checked[statement.name])
        elif not _is_harmless(statement, checked):
            raise _NeedsPython


def _takes_candidate(function: ast.FunctionDef) -> bool:
    return [argument.arg for argument in function.args.args] == ["candidate"]


def _is_harmless(statement: ast.stmt, checked: dict[str, str]) -> bool:
    """Tells whether a statement may be ignored: it cannot change what is asserted."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = {alias.asname or alias.name: alias.name for alias in statement.names}
        return names.get("math", "math") == "math" and not set(names) & set(FUNCTIONS)
    if isinstance(statement, ast.Assign):
        return [ast.unparse(target) for target in statement.targets] == ["METADATA"]
    if isinstance(statement, ast.Expr):
        call = statement.value
        if isinstance(call, ast.Call):
            return isinstance(call.func, ast.Name) and call.func.id in checked
        return isinstance(call, ast.Constant)
    return isinstance(statement, ast.Pass)


class _Renamed(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._name, node.ctx) if node.id == "candidate" else node


class _Cut(ast.NodeTransformer):
    """Replaces the program's calls by slots."""

    def __init__(self, program: frozenset[str]) -> None:
        self.calls: list[str] = []
        self._program = program

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _is_asked(node, self._program):
            return self._slot(ast.unparse(node))
        if (
            ast.unparse(node.func) in ITERATING
            and len(node.args) == 1
            and _is_asked(node.args[0], self._program)
        ):
            node.args = [self._slot("*" + ast.unparse(node.args[0]))]
        return self.generic_visit(node)

    def _slot(self, call: str) -> Slot:
        self.calls.append(call)
        return Slot(len(self.calls) - 1)


_GIVEN = (
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Set,
    ast.Dict,
    ast.UnaryOp,
    ast.BinOp,
    ast.unaryop,
    ast.operator,
    ast.expr_context,
    ast.keyword,
)


def _is_asked(node: ast.AST, program: frozenset[str]) -> bool:
    """Tells whether an expression is a call of the program's whose arguments nothing can change: literals, and such calls.

    A method is the program's where the tests write a class: `Stack().size()`. What a function returns has only plain methods.
    """
    if not isinstance(node, ast.Call):
        return False
    base: ast.expr = node.func
    while isinstance(base, ast.Attribute) and isinstance(base.value, ast.Call):
        if not all(_is_given(part, program) for part in (*base.value.args, *base.value.keywords)):
            return False
        base = base.value.func
    named = isinstance(base, ast.Name) and base.id in program and (base is node.func or base.id[:1].isupper())
    return named and all(_is_given(part, program) for part in (*node.args, *node.keywords))


def _is_given(node: ast.AST, program: frozenset[str]) -> bool:
    if _is_asked(node, program):
        return True
    return isinstance(node, _GIVEN) and all(_is_given(part, program) for part in ast.iter_child_nodes(node))


def _taken_apart(test: ast.expr, names: Names) -> Assertion:
    """Splits an assertion into calls and a condition.

    Raises:
        _NeedsPython: it asserts more than our own operations can work out, or what is Python's own is the program's here.
    """
    cut = _Cut(names.program)
    condition = cut.visit(ast.parse(ast.unparse(test), mode="eval").body)
    if not cut.calls or names.program & {*FUNCTIONS, *dir(builtins)} or not is_known(condition):
        raise _NeedsPython
    return Assertion(f"assert {ast.unparse(test)}", tuple(cut.calls), condition)
