"""Assigns the names in a program's tests: to the program, Python, the tests themselves, or the prompt.

Only calls of what the prompt asks for may be answered by the program. If it also computed the expected values, it could
answer zero twice.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_BUILT_IN = frozenset(dir(builtins))
_NAMED = r"\b(?:def|class)\s+{0}\b|\b{0}\s*\(|([`'\"]){0}\b"
"""Words in a prompt by which it names something to write, rather than use."""


@dataclass(frozen=True)
class Names:
    """The names that tests use without defining them.

    Attributes:
        program: the program's.
        modules: modules of the standard library.
        given: what the prompt defines or imports for the tests to use: whole helper functions, say.
    """

    program: frozenset[str]
    modules: frozenset[str]
    given: tuple[ast.stmt, ...]


def names_of(tests: ast.Module, prompt: str) -> Names:
    """Separates the names in a program's tests.

    Raises:
        ValueError: the tests call nothing of the program, or it cannot be told what is the program's.
    """
    free = _free(ast.unparse(tests))
    modules = {name for name in free if name in sys.stdlib_module_names and _is_only_a_base(tests, name)}
    asked = {call.args[0].id for call in checks(tests) if isinstance(call.args[0], ast.Name)}
    asked &= free | _BUILT_IN
    given = _given(prompt, free - asked)
    rest = free - modules - _BUILT_IN - asked - _bound(given)
    if not asked and len(_outermost(tests, rest)) == 1:
        asked, rest = rest, set()
    unknown = sorted(name for name in rest if not re.search(_NAMED.format(re.escape(name)), prompt))
    if unknown:
        fix = f"Define it there, or have the prompt say that the program must, as `{unknown[-1]}` or {unknown[-1]}(...)"
        raise ValueError(
            f"the tests use {' and '.join(unknown)}, which neither they define nor the prompt names. {fix}"
        )
    program = asked | rest or _one_built_in(tests)
    return Names(frozenset(program), frozenset(modules), tuple(given))


def checks(tests: ast.Module) -> Iterator[ast.Call]:
    """Yields the calls `check(name)` of functions that the tests define."""
    defined = {statement.name for statement in tests.body if isinstance(statement, ast.FunctionDef)}
    for statement in tests.body:
        call = statement.value if isinstance(statement, ast.Expr) else None
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in defined
            and len(call.args) == 1
        ):
            yield call


def _free(text: str) -> set[str]:
    """Returns names that a module uses and does not define."""
    top = symtable.symtable(text, "tests", "exec")
    bound = {
        symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()
    }
    return set(_used(top)) - bound


def _used(scope: symtable.SymbolTable) -> Iterator[str]:
    """Yields names that a scope, or one inside it, takes from the module or from Python."""
    for symbol in scope.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or scope.get_type() == "module"):
            yield symbol.get_name()
    for child in scope.get_children():
        yield from _used(child)


def _is_only_a_base(tests: ast.Module, name: str) -> bool:
    """Tells whether a name only ever comes before a dot, as `math` in `math.sqrt`."""
    bases = {id(node.value) for node in ast.walk(tests) if isinstance(node, ast.Attribute)}
    uses = [node for node in ast.walk(tests) if isinstance(node, ast.Name) and node.id == name]
    return all(id(node) in bases for node in uses)


def _outermost(node: ast.AST, names: set[str]) -> set[str]:
    """Returns the names that are used outside the arguments of another's call: `f` of `f(Pair(1, 2)) == 3`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
        return {node.func.id}
    own = {node.id} & names if isinstance(node, ast.Name) else set()
    return own.union(*(_outermost(child, names) for child in ast.iter_child_nodes(node)))


def _given(prompt: str, wanted: set[str]) -> list[ast.stmt]:
    """Returns a prompt's imports and whole functions, if it is Python and the tests need any; its last function is the task."""
    try:
        statements = ast.parse(prompt).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    functions = [statement for statement in statements if isinstance(statement, ast.FunctionDef)]
    given: list[ast.stmt] = [
        statement for statement in statements if isinstance(statement, ast.Import | ast.ImportFrom)
    ]
    given += [function for function in functions[:-1] if not _is_open(function)]
    return given if _bound(given) & wanted else []


def _is_open(function: ast.FunctionDef) -> bool:
    """Tells whether a function has nothing but a docstring, so that it is to be written."""
    return all(
        isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in function.body
    )


def _bound(statements: Iterable[ast.stmt]) -> set[str]:
    found: set[str] = set()
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.FunctionDef):
            found.add(statement.name)
    return found


def _one_built_in(tests: ast.Module) -> set[str]:
    """Returns the built-in name that a program redefines, where the tests call nothing else: `assert sum(10, 15) == 6`.

    Raises:
        ValueError: they call none, or several.
    """
    calls = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
    called = {func.id for func in calls if isinstance(func, ast.Name) and func.id in _BUILT_IN}
    if len(called) == 1:
        return called
    several = f": {', '.join(sorted(called))} are Python's own" if called else ""
    raise ValueError(f"the tests call nothing of the program{several}")
