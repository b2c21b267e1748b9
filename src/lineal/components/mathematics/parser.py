"""Mathematical text to a tree, by recursive descent: numbers, formulas, relations, lists, sets, intervals, matrices."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial

from lineal.components.mathematics.atoms import (
    CONSTANTS,
    FUNCTIONS,
    GREEK,
    TWO_ARGUMENTS,
    literal,
    named_words,
    with_thousands,
)
from lineal.components.mathematics.cursor import Cursor
from lineal.components.mathematics.nodes import ELLIPSIS, INFINITY, REALS, Expression, number
from lineal.components.mathematics.signs import (
    DELIMITED,
    DOTS,
    ENDS,
    FRACTIONS,
    OVER,
    RELATIONS,
    SEPARATORS,
    TIMES,
)
from lineal.components.mathematics.tokens import Token, TooLarge, Unreadable, tokens_of

MOST_DEPTH = 40


def parse(text: str, thousands: bool = True) -> Expression:
    """Parses a text into a tree.

    Args:
        text: LaTeX or plain, without dollar signs.
        thousands: whether `1,000` outside brackets is one number.

    Raises:
        Unreadable: this reader does not know such a text.
    """
    tokens = named_words(tokens_of(text))
    parser = _Parser(with_thousands(tokens) if thousands else tokens)
    try:
        tree = parser.statement()
    except RecursionError as error:
        raise TooLarge("too deeply nested") from error
    if parser.peek() is not None:
        raise Unreadable(f"{parser.peek()!r} stands in an unexpected place")
    return tree


class _Parser(Cursor):
    """Reads tokens from left to right."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0
        self.bars = 0

    def statement(self) -> Expression:
        """Parses relations with commas or words such as 'and' between them: a list where there are several."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise TooLarge("too deeply nested")
        items, several = [self.relation()], False
        while self.separators():
            several = True
            items.append(self.relation())
        self.depth -= 1
        return Expression("list", tuple(items)) if several else items[0]

    def separators(self) -> bool:
        began = self.place
        while (token := self.token()) is not None and (
            (token.kind != "text" and token.text in SEPARATORS)
            or (token.kind in ("text", "name") and token.text.strip(" ,").lower() in ("and", "or"))
        ):
            self.place += 1
        return self.place > began

    def relation(self) -> Expression:
        signs, items = [], [self.ratio()]
        while (sign := self.accept(*RELATIONS)) is not None:
            signs.append(RELATIONS[sign])
            items.append(self.ratio())
        return Expression("relation", (tuple(signs), *items)) if signs else items[0]

    def ratio(self) -> Expression:
        items = [self.union()]
        while self.accept(":"):
            items.append(self.union())
        return Expression("ratio", tuple(items)) if len(items) > 1 else items[0]

    def union(self) -> Expression:
        items = [self.sum()]
        while self.accept(r"\cup"):
            items.append(self.sum())
        return Expression("union", tuple(items)) if len(items) > 1 else items[0]

    def sum(self) -> Expression:
        sign = self.accept("-", "+", r"\pm", r"\mp")
        total = self.term()
        if sign == "-":
            total = Expression("neg", (total,))
        elif sign in (r"\pm", r"\mp"):
            total = Expression(sign[1:], (number(0), total))
        while (sign := self.accept("+", "-", r"\pm", r"\mp")) is not None:
            if (negative := self.accept("-", "+")) is not None and sign not in "+-":
                raise Unreadable("two signs in a row")
            term = self.term()
            term = Expression("neg", (term,)) if negative == "-" else term
            total = Expression({"+": "add", "-": "sub"}.get(sign, sign[1:]), (total, term))
        return total

    def term(self) -> Expression:
        product = self.factor()
        while True:
            if self.accept(*TIMES):
                product = Expression("mul", (product, self.factor()))
            elif self.accept(*OVER):
                product = Expression("div", (product, self.factor()))
            elif self.accept(r"\bmod", "mod"):
                product = Expression("mod", (product, self.factor()))
            elif self.starts_factor(product):
                product = Expression("mul", (product, self.power()))
            else:
                return product

    def starts_factor(self, before: Expression) -> bool:
        """Tells whether a factor follows without a sign of multiplication."""
        token = self.token()
        if (
            token is None
            or token.kind == "text"
            or token.text in ENDS
            or token.text.startswith(r"\end{")
            or token.text in "+-!%.'^_"
            or token.text in DOTS
        ):
            return False
        if token.text == "|":
            return self.bars == 0
        if token.kind == "number" and before.op == "number":
            raise Unreadable("two numbers side by side")
        return token.text not in (r"\pm", r"\mp", "and", "or", r"\cup", r"\mid")

    def factor(self) -> Expression:
        """Parses a factor after an operator, which may have a sign of its own."""
        if self.accept("-"):
            return Expression("neg", (self.factor(),))
        return self.factor() if self.accept("+") else self.power()

    def power(self) -> Expression:
        base = self.postfix(self.primary())
        if self.accept("^", "**") is None:
            return base
        if self.degrees():
            return self.postfix(Expression("degrees", (base,)))
        return self.postfix(Expression("pow", (base, self.exponent())))

    def degrees(self) -> bool:
        """Tells whether the exponent is the degree sign."""
        texts = tuple(token.text for token in self.tokens[self.place : self.place + 3])
        length = 1 if texts[:1] == (r"\circ",) else 3 if texts == ("{", r"\circ", "}") else 0
        self.place += length
        return length > 0

    def exponent(self) -> Expression:
        if self.accept("-"):
            return Expression("neg", (self.exponent(),))
        return self.until("}") if self.accept("{") else self.power()

    def postfix(self, node: Expression) -> Expression:
        while (sign := self.accept("!", "%", r"\%", r"\degree")) is not None:
            node = Expression({"!": "factorial", r"\degree": "degrees"}.get(sign, "percent"), (node,))
        return node

    def until(self, *ends: str) -> Expression:
        found = self.statement()
        self.expect(*ends)
        return found

    def primary(self) -> Expression:
        token = self.next()
        if token.kind in ("number", "text", "letter"):
            return {"number": self.number, "text": self.quoted, "letter": self.letter}[token.kind](token)
        return self.sign(token)

    def letter(self, token: Token) -> Expression:
        return self.symbol(token.text)

    def sign(self, token: Token) -> Expression:
        """Parses a factor that begins with a command, a bracket or a name."""
        if token.text in FUNCTIONS or token.text.lstrip("\\") in FUNCTIONS:
            return self.function(token.text.lstrip("\\"))
        reader = _READERS.get(token.text)
        if reader is not None:
            return reader(self)
        if token.text in CONSTANTS:
            return CONSTANTS[token.text]
        if token.kind == "command" and re.fullmatch(r"\\[A-Za-z]+", token.text) and token.text[1:] in GREEK:
            return self.symbol(token.text)
        raise Unreadable(f"unknown: {token.text!r}")

    def quoted(self, token: Token) -> Expression:
        """Parses the content of \\text{...}, where it is one letter or a number: `\\mathrm{e}`, `\\text{13}`."""
        inside = token.text.strip(" ()")
        if re.fullmatch(r"[A-Za-z]", inside):
            return self.symbol(inside)
        if re.fullmatch(r"\d+(\.\d+)?", inside):
            return literal(inside)
        if inside in FUNCTIONS:
            return self.function(inside)
        raise Unreadable("text within a formula")

    def number(self, token: Token) -> Expression:
        if self.peek() == r"\overline" and "." in token.text:
            return self.repeating(token.text)
        if self.accept("_"):
            return Expression("based", (token.text, self.subscript()))
        whole = literal(token.text)
        return self.mixed(whole) if token.text.isdigit() else whole

    def mixed(self, whole: Expression) -> Expression:
        """Parses `2\\frac{1}{2}` and `2 1/2`: a proper fraction right after a whole number is added."""
        began, following = self.place, self.token()
        part: Expression | None = None
        if following is not None and following.text in FRACTIONS:
            self.place += 1
            part = self.fraction()
        elif following is not None and following.kind == "number" and following.spaced:
            texts = [token.text for token in self.tokens[began : began + 3]]
            if len(texts) == 3 and texts[1] == "/" and texts[0].isdigit() and texts[2].isdigit():
                self.place += 3
                part = Expression("div", (literal(texts[0]), literal(texts[2])))
        if (
            part is not None
            and all(arg.op == "number" for arg in part.args)
            and 0 < part.args[0].args[0] < part.args[1].args[0]
        ):
            return Expression("add", (whole, part))
        self.place = began
        return whole

    def repeating(self, text: str) -> Expression:
        self.expect(r"\overline")
        self.expect("{")
        period = self.next().text
        self.expect("}")
        if not period.isdigit():
            raise Unreadable("a period that is no number")
        whole, _, decimals = text.partition(".")
        value = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(decimals)) + Fraction(
            f"{whole or 0}.{decimals or 0}"
        )
        return number(value)

    def symbol(self, name: str) -> Expression:
        if self.accept("_"):
            name += "_" + self.subscript()
        while self.accept("'", r"\prime"):
            name += "'"
        return CONSTANTS.get(name) or Expression("symbol", (name,))

    def subscript(self) -> str:
        if not self.accept("{"):
            return self.single().text
        texts = []
        while not self.accept("}"):
            texts.append(self.next().text)
        return "".join(texts)

    def single(self) -> Token:
        """Parses one digit or one other token, as LaTeX takes an argument without braces."""
        token = self.next()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self.place -= 1
            self.tokens[self.place] = replace(token, text=token.text[1:], spaced=False)
            return replace(token, text=token.text[0])
        return token

    def argument(self) -> Expression:
        """Parses a LaTeX argument: braces, or one digit, letter or command."""
        if self.accept("{"):
            return self.until("}")
        token = self.token()
        return literal(self.single().text) if token is not None and token.kind == "number" else self.primary()

    def fraction(self) -> Expression:
        return Expression("div", (self.argument(), self.argument()))

    def binomial(self) -> Expression:
        return Expression("call", ("binom", self.argument(), self.argument()))

    def root(self) -> Expression:
        degree = self.until("]") if self.accept("[") else number(2)
        radicand = (
            self.until("}") if self.accept("{") else self.until(")") if self.accept("(") else self.primary()
        )
        return Expression("root", (radicand, degree))

    def function(self, name: str) -> Expression:
        base = self.argument_of_log() if name == "log" and self.accept("_") else None
        power = self.exponent() if self.accept("^") else None
        arguments = self.function_arguments(name)
        if power == Expression("neg", (number(1),)) and f"arc{name}" in FUNCTIONS:
            return Expression("call", (f"arc{name}", *arguments))
        call = Expression("call", (name, *arguments, *((base,) if base is not None else ())))
        return call if power is None else Expression("pow", (call, power))

    def argument_of_log(self) -> Expression:
        return self.until("}") if self.accept("{") else self.argument()

    def function_arguments(self, name: str) -> tuple[Expression, ...]:
        opened = self.accept("(", "{", "[")
        if opened:
            inside = self.until({"(": ")", "{": "}", "[": "]"}[opened])
            return inside.args if inside.op == "list" and name in TWO_ARGUMENTS else (inside,)
        product = self.power()
        while (
            self.starts_factor(product)
            and (self.peek() or "").lstrip("\\") not in FUNCTIONS
            and self.peek() not in ("(", "[")
        ):
            product = Expression("mul", (product, self.power()))
        return (product,)

    def bracketed(self, opened: str) -> Expression:
        """Parses parentheses or brackets: a group around one formula, else a pair, a tuple or an interval."""
        outer, self.bars = self.bars, 0
        inside = self.statement()
        closed = self.expect(")", "]")
        self.bars = outer
        if inside.op == "list":
            return _sequence(opened, closed, inside.args)
        if (opened, closed) not in (("(", ")"), ("[", "]")):
            raise Unreadable("brackets that don't match")
        return inside

    def braces(self) -> Expression:
        """Parses plain braces, which only group; a list in them may be meant as a set."""
        return Expression("set") if self.accept("}") else self.until("}")

    def set(self) -> Expression:
        if self.accept(r"\}"):
            return Expression("set")
        inside = self.until(r"\}")
        return Expression("set", inside.args if inside.op == "list" else (inside,))

    def delimited(self, opened: str) -> Expression:
        closed, name = DELIMITED[opened]
        self.bars += opened == "|"
        inside = self.sum()
        self.bars -= opened == "|"
        self.expect(closed)
        return Expression("call", (name, inside))

    def series(self, name: str) -> Expression:
        """Parses a sum or product over whole numbers, with its limits in either order."""
        limits: dict[str, Expression] = {}
        while (mark := self.accept("_", "^")) is not None:
            limits[mark] = self.argument()
        start = limits.get("_")
        if start is None or "^" not in limits or start.op != "relation" or start.args[0] != ("=",):
            raise Unreadable("a sum without limits")
        return Expression(name, (start.args[1], start.args[2], limits["^"], self.term()))

    def matrix(self) -> Expression:
        rows: list[tuple[Expression, ...]] = []
        while not (self.peek() or "").startswith(r"\end"):
            cells = [self.sum()]
            while self.accept("&"):
                cells.append(self.sum())
            rows.append(tuple(cells))
            if not self.accept(r"\\"):
                break
        if not self.next().text.startswith(r"\end"):
            raise Unreadable("a matrix without an end")
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix of unequal rows")
        return Expression("matrix", tuple(Expression("row", row) for row in rows))

    def array(self) -> Expression:
        self.expect("{")
        while not self.accept("}"):
            self.next()
        return self.matrix()

    def blackboard(self) -> Expression:
        self.expect("{")
        name = self.next().text
        self.expect("}")
        if name != "R":
            raise Unreadable("a set of numbers")
        return REALS


def _sequence(opened: str, closed: str, items: tuple[Expression, ...]) -> Expression:
    if (opened, closed) == ("(", ")") and not any(
        item in (INFINITY, Expression("neg", (INFINITY,))) for item in items
    ):
        return Expression("tuple", items)
    if len(items) != 2:
        if (opened, closed) == ("[", "]"):
            return Expression("tuple", items)
        raise Unreadable("an interval of other than two ends")
    return Expression("interval", (opened, closed, *items))


_READERS: dict[str, Callable[[_Parser], Expression]] = {
    **dict.fromkeys(FRACTIONS, _Parser.fraction),
    **dict.fromkeys((r"\sqrt", "sqrt"), _Parser.root),
    **dict.fromkeys((r"\binom", r"\dbinom", r"\tbinom"), _Parser.binomial),
    **dict.fromkeys(DOTS, lambda parser: ELLIPSIS),
    **dict.fromkeys((r"\emptyset", r"\varnothing"), lambda parser: Expression("set")),
    **{opened: partial(_Parser.bracketed, opened=opened) for opened in ("(", "[")},
    **{opened: partial(_Parser.delimited, opened=opened) for opened in DELIMITED},
    **{rf"\{name}": partial(_Parser.series, name=name) for name in ("sum", "prod")},
    **{rf"\begin{{{kind}matrix}}": _Parser.matrix for kind in ("", "p", "b", "v", "B", "small")},
    r"\begin{array}": _Parser.array,
    "{": _Parser.braces,
    r"\{": _Parser.set,
    r"\mathbb": _Parser.blackboard,
}
