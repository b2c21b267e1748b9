"""The digest of a component's source: a change without a new version is worth a warning."""

from __future__ import annotations

import ast
import hashlib
import inspect
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from lineal.components.base import Component


def source_digest(component: Component) -> str:
    """Returns the digest of the component's module, without comments and docstrings."""
    return _digest_of(inspect.getmodule(type(component)))


@cache
def _digest_of(module: ModuleType | None) -> str:
    return code_digest(inspect.getsource(module) if module else "")


def code_digest(text: str) -> str:
    """Returns a digest of Python source, the same whatever its comments, its docstrings and the layout of its lines."""
    code = ast.unparse(_WithoutTexts().visit(ast.parse(text)))
    return hashlib.sha256(code.encode()).hexdigest()


class _WithoutTexts(ast.NodeTransformer):
    """Replaces statements that are nothing but a text: docstrings of modules, classes, functions and attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if is_text else node
