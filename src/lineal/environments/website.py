"""Websites as environments: what a model does is done in a browser, and the requests that come of it are answered here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

MOST_TYPED = 200
"""Letters that a model may type at once."""
MOVES = "Moves: click[1], type[2: text], select[3: option], back."
ROLES = {
    "click": ("link", "button", "checkbox", "radio"),
    "type": ("textbox", "searchbox", "spinbutton"),
    "select": ("combobox",),
}
"""By move what takes it."""
_MOVE = re.compile(
    r"^[ \t]*(back)[ \t.]*$|\b(click)\[\s*(\d{1,4})\s*\]|\b(type|select)\[\s*(\d{1,4})\s*:([^\]\n]*)\]",
    re.IGNORECASE | re.MULTILINE,
)
Given = tuple[str, float, bool, bool, dict[str, Any]]
Fields = Mapping[str, str]


class Website:
    """Base of environments that are websites. A subclass has `reset`, which ends with `return self.visit("/")`, and `page`.

    The model sees a page's accessibility tree, with numbers before what it can click or fill in. Its last move counts:
    `click[1]`, `type[2: text]`, `select[3: option]`, or `back`. The browser that does it gets pages alone, no address from
    outside and no script. Whether a goal is reached is decided where requests are answered, in `page`, by `self.end`.

    Attributes:
        path: of the page that is seen.
        seen: its lines.
        controls: what can be clicked or filled in there, by number: role, name, value, options, disabled.
    """

    path, seen = "", ""

    def page(self, method: str, path: str, fields: Fields) -> str:
        """Returns the page, HTML, that answers a request. Texts of tasks and models are escaped (`html.escape`)."""
        raise NotImplementedError

    def visit(self, path: str) -> tuple[str, dict[str, Any]]:
        """Begins at a page."""
        self._ended: bool | None = None
        self._said = f"{MOVES}\n"
        self._pages: list[tuple[str, str, list[dict[str, Any]]]] = []
        self.controls: dict[int, dict[str, Any]] = {}
        self._open("GET", path, {})
        return "", self._browse()

    def end(self, success: bool) -> None:
        """Ends the episode with the page that answers this request."""
        self._ended = success

    def step(self, text: str) -> Given:
        """Has a move done in the browser, or answers one that cannot be done."""
        moves = list(_MOVE.finditer(text))
        if not moves:
            return self._refused(f"{text!r:.20} is no move", f"Not a move. {MOVES}")
        back, click, clicked, fill, filled, typed = moves[-1].groups()
        if back:
            return self._back()
        act = {"do": (click or fill).lower(), "control": int(clicked or filled)}
        return self._act(act if click else {**act, "text": _typed(typed)})

    def browsed(self, seen: Mapping[str, Any]) -> Given:
        """Answers with the page as the browser sees it; or, where the move led to a request, with the page that answers it."""
        if "request" in seen:
            asked = seen["request"]
            self._open(asked["method"], asked["path"], dict(asked["fields"]))
            return "", 0.0, False, False, self._browse()
        self.controls = {int(number): control for number, control in seen["controls"].items()}
        self._said, said, self.seen = "", self._said, seen["text"]
        over = self._ended is not None
        return (
            said + self.seen,
            float(self._ended is True),
            over,
            False,
            {"success": self._ended} if over else {},
        )

    def number(self, role: str, name: str) -> int:
        """Returns the number of a control of the page, for experts.

        Raises:
            LookupError: there is none.
        """
        for number, control in self.controls.items():
            if (control["role"], control["name"]) == (role, name):
                return number
        raise LookupError(f"the page {self.path} has no {role} {name!r}")

    def _open(self, method: str, path: str, fields: Fields) -> None:
        """Answers a request with a page, in which nothing is done yet."""
        html = self.page(method, path, fields)
        self.path = path
        self._pages.append((path, html, []))

    def _browse(self) -> dict[str, Any]:
        _, html, acts = self._pages[-1]
        return {"browse": {"page": html, "acts": acts}}

    def _act(self, act: dict[str, Any]) -> Given:
        problem = self._problem(act)
        if problem:
            return self._refused(problem, f"{problem}.")
        path, html, before = self._pages[-1]
        acts = [one for one in before if "text" not in one or one["control"] != act["control"]]
        if self.controls[act["control"]]["role"] not in ("link", "button"):  # those leave the page
            self._pages[-1] = path, html, [*acts, act]
        return "", 0.0, False, False, {"browse": {"page": html, "acts": [*acts, act]}}

    def _problem(self, act: Mapping[str, Any]) -> str:
        """Returns the reason for which a move cannot be done; empty where it can."""
        control = self.controls.get(act["control"])
        if control is None:
            return f"There is no [{act['control']}]"
        if control["role"] not in ROLES[act["do"]]:
            return f"[{act['control']}] is a {control['role']}, and does not take {act['do']}"
        if control["disabled"]:
            return f"[{act['control']}] is disabled"
        if act["do"] == "select" and act["text"] not in control["options"]:
            return f"[{act['control']}] has no such option"
        if len(act.get("text", "")) > MOST_TYPED:
            return f"[{act['control']}] takes at most {MOST_TYPED} letters"
        return ""

    def _back(self) -> Given:
        """Goes to the page before, as it was when it was opened."""
        if len(self._pages) == 1:
            return self._refused("there is no page to go back to", "This is the first page.")
        self._pages.pop()
        path, html, _ = self._pages[-1]
        self.path, self._pages[-1] = path, (path, html, [])
        return "", 0.0, False, False, self._browse()

    def _refused(self, why: str, said: str) -> Given:
        return f"{said}\n{self.seen}", 0.0, False, False, {"invalid": why}


def _typed(text: str) -> str:
    """Returns the letters of a text that can be seen, in one line."""
    return " ".join("".join(filter(str.isprintable, text)).split())


def link(path: str, name: str) -> str:
    """Writes a link."""
    return f'<a href="{escape(path)}">{escape(name)}</a>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Writes a table; the cells are HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def document(title: str, body: str) -> str:
    """Writes a page with a heading."""
    name = escape(title)
    return f'<!doctype html><html lang="en"><title>{name}</title><h1>{name}</h1>{body}</html>'
