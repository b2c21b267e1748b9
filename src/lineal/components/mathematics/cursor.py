"""A place among the tokens of a text, and the ways to move it."""

from __future__ import annotations

from lineal.components.mathematics.tokens import Token, Unreadable


class Cursor:
    """A place among tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.place = 0

    def peek(self) -> str | None:
        return self.tokens[self.place].text if self.place < len(self.tokens) else None

    def token(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def next(self) -> Token:
        if self.place >= len(self.tokens):
            raise Unreadable("the text ends too early")
        self.place += 1
        return self.tokens[self.place - 1]

    def accept(self, *texts: str) -> str | None:
        token = self.token()
        if token is not None and token.kind != "text" and token.text in texts:
            self.place += 1
            return token.text
        return None

    def expect(self, *texts: str) -> str:
        found = self.accept(*texts)
        if found is None:
            raise Unreadable(f"expected {texts[0]}, got {self.peek()!r}")
        return found
