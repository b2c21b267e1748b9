"""Rewrites tests that need a whole Python for the judge's sandbox (`sandbox/examiner.py`)."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from lineal.components.verifiers.whose import Names

ASSERTION, SAME = "_lineal_assertion", "_lineal_same"


@dataclass(frozen=True)
class Examination:
    """Tests as the judge's sandbox runs them.

    Attributes:
        text: Python, each assertion wrapped so that one that does not hold is counted and the next is looked at.
        texts: the assertions as they were written.
        names: what the program defines.
    """

    text: str
    texts: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def job(self) -> dict[str, object]:
        """The job of the judge's sandbox."""
        return {"tests": self.text, "names": self.names, "assertion": ASSERTION, "same": SAME}


def rewritten(tests: ast.Module, names: Names) -> Examination:
    """Rewrites the tests for the judge's sandbox.

    Raises:
        ValueError: they cannot be judged from outside the program.
    """
    wrapper = _Wrapper(names.program)
    body = [
        statement
        for statement in wrapper.visit(ast.parse(ast.unparse(tests))).body
        if not _is_future(statement)
    ]
    imports: list[ast.stmt] = [ast.Import([ast.alias(name)]) for name in sorted(names.modules)]
    text = ast.unparse(ast.fix_missing_locations(ast.Module([*imports, *names.given, *body], [])))
    return Examination(text, tuple(wrapper.texts), tuple(sorted(names.program)))


def _is_future(statement: ast.stmt) -> bool:
    """Tells whether it is `from __future__ import ...`, which must be first and changes nothing that is asserted."""
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


class _Wrapper(ast.NodeTransformer):
    """Turns `assert CONDITION` into `with assertion(NUMBER) as holds: holds(CONDITION)`, and `a is b` into a call."""

    def __init__(self, program: frozenset[str]) -> None:
        self._program = program
        self.texts: list[str] = []

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        if is_always_true(node):
            return ast.Pass()
        number = len(self.texts)
        self.texts.append(f"assert {ast.unparse(node.test)}")
        condition = self.visit(node.test)
        opened = ast.Call(ast.Name(ASSERTION, ast.Load()), [ast.Constant(number)], [])
        holds = f"{ASSERTION}_holds"
        call = ast.Call(ast.Name(holds, ast.Load()), [condition], [])
        return ast.With([ast.withitem(opened, ast.Name(holds, ast.Store()))], [ast.Expr(call)])

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if not any(isinstance(operation, ast.Is | ast.IsNot) for operation in node.ops):
            return node
        if len(node.ops) > 1:
            raise ValueError(f"write 'is' by itself, not in a chain: {ast.unparse(node)[:80]}")
        call = ast.Call(ast.Name(SAME, ast.Load()), [node.left, node.comparators[0]], [])
        return call if isinstance(node.ops[0], ast.Is) else ast.UnaryOp(ast.Not(), call)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        own = {
            part.id for part in ast.walk(node.type or ast.Pass()) if isinstance(part, ast.Name)
        } & self._program
        if own:
            raise ValueError(
                f"the tests catch {min(own)}, an exception of the program's, which stays in its sandbox"
            )
        return self.generic_visit(node)


def is_always_true(node: ast.Assert) -> bool:
    """Tells whether an assertion proves nothing: `assert True, "the tests run"`."""
    return isinstance(node.test, ast.Constant) and bool(node.test.value)
