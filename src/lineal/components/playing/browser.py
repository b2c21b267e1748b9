"""Pages that environments ask for: shown in one browser, with clicks and keys, and the accessibility tree as the answer.

An outcome is a function of the page and of what is done in it: every visit is a page with all acts so far, and begins with the
page as it was given. So a browser that hangs or dies is replaced, and no game feels which others are played beside it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from lineal.components.playing.chromium import BrowserGone, Chromium, PageFailure
from lineal.components.playing.pages import Control, WebPage, page_of
from lineal.data.ids import digest_of
from lineal.environments.website import ROLES

SECONDS = 20.0
"""How long a visit may take; then it is tried once more, in a new browser."""
MOST_LETTERS = 1 << 18
"""Of a page."""
MOST_KEPT = 1_024
"""Outcomes that are kept: episodes of one task often ask for the same."""
ORIGIN = "http://site.invalid"
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
_LEADS_ON = (
    "a[href]:not([href^='#'], [href^='mailto:' i], [href^='tel:' i], [href^='javascript:' i], [download])",
    "form :is(button, input):not([type=button], [type=reset])",
    ":is(button, input)[form]:not([type=button], [type=reset])",
)
"""What leads to a request when it is clicked. Without scripts other buttons do nothing, and other links stay on the page."""
_CONTROL = 2
"""The debugging protocol's number for the key Ctrl."""


class RefusedAct(PageFailure):
    """Says why an act is not done; the browser is as before."""


class Browser:
    """Shows pages; the browser starts with the first one."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._chromium: Chromium | None = None
        self._kept: dict[str, dict[str, Any]] = {}

    def __call__(self, visit: Mapping[str, Any]) -> dict[str, Any]:
        """Shows a page (`page`, HTML) and does `acts` in it, each {do: click, type or select, control: number, text}.

        Returns:
            what is then seen (`text`, `controls`), or the `request` that the last act led to: its method, path and fields.

        Raises:
            PageFailure: an act cannot be done, or the page hangs.
            MachineError: no browser starts here.
        """
        html, acts = _read(visit)
        key = digest_of([html, acts])
        with self._lock:
            if key not in self._kept:
                outcome = self._tried(html, acts)
                while len(self._kept) >= MOST_KEPT:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = outcome
            return self._kept[key]

    def close(self) -> None:
        """Ends the browser."""
        with self._lock:
            if self._chromium is not None:
                self._chromium.close()
                self._chromium = None

    def _tried(self, html: str, acts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        try:
            return self._once(html, acts)
        except BrowserGone:
            pass
        try:
            return self._once(html, acts)
        except BrowserGone as error:
            raise PageFailure(f"{error}, twice ({SECONDS:g} s each)") from error

    def _once(self, html: str, acts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Does a visit; after one that failed, the next one gets a new browser."""
        try:
            return self._done(html, acts)
        except RefusedAct:
            raise
        except PageFailure:
            self._end()
            raise

    def _end(self) -> None:
        if self._chromium is not None:
            self._chromium.close()
            self._chromium = None

    def _done(self, html: str, acts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Shows a page from its beginning and does all acts."""
        if self._chromium is None:
            self._chromium = Chromium()
            self._chromium.deadline = time.monotonic() + SECONDS
            _open_site(self._chromium)
        self._chromium.deadline = time.monotonic() + SECONDS
        shown = _Shown(self._chromium, html)
        for place, act in enumerate(acts):
            request = shown.act(act)
            if request is not None:
                if place < len(acts) - 1:
                    raise RefusedAct(f"act {place + 1} of {len(acts)} leaves the page")
                return {"request": request}
        return shown.seen().plain()


def _open_site(chromium: Chromium) -> None:
    """Loads an empty page of the site, whose address and policy all pages have."""
    chromium.expects = True
    chromium.post("Page.navigate", url=f"{ORIGIN}/")
    paused = chromium.event("Fetch.requestPaused")["params"]
    chromium.send(
        "Fetch.fulfillRequest",
        requestId=paused["requestId"],
        responseCode=200,
        responseHeaders=[{"name": name, "value": value} for name, value in _HEADERS.items()],
        body="",
    )
    chromium.event("Page.loadEventFired")


class _Shown:
    """A page in the browser, from its beginning to what it leads to.

    Args:
        chromium: the browser.
        html: the page. Its forms are sent as they are filled in: what is right, the environment says.
    """

    def __init__(self, chromium: Chromium, html: str) -> None:
        self._chromium, chromium.expects = chromium, False
        chromium.forget()
        frame = chromium.send("Page.getFrameTree")["frameTree"]["frame"]
        if frame["url"] != f"{ORIGIN}/":
            raise BrowserGone(f"the browser left the site for {frame['url']!r:.80}")
        chromium.send("Page.setDocumentContent", frameId=frame["id"], html=html)
        self._root = chromium.send("DOM.getDocument", depth=0)["root"]["nodeId"]
        if self._found("meta[http-equiv]"):
            raise PageFailure("its page has a meta http-equiv, by which it can move on. Leave it out")
        for form in self._found("form"):
            chromium.send("DOM.setAttributeValue", nodeId=form, name="novalidate", value="")
        self._first = self.seen()

    def _found(self, selector: str) -> list[int]:
        """Returns the browser's numbers of the elements that a selector names."""
        found = self._chromium.send("DOM.querySelectorAll", nodeId=self._root, selector=selector)
        return list(found["nodeIds"])

    def seen(self) -> WebPage:
        """Returns what is seen now."""
        return page_of(self._chromium.send("Accessibility.getFullAXTree")["nodes"])

    def act(self, act: Mapping[str, Any]) -> dict[str, Any] | None:
        """Does something with a control; returns the request that it led to, if it did."""
        control = self._control(act)
        self._chromium.expects = act["do"] == "click" and self._leads_on(control)
        if act["do"] == "click":
            self._click(control)
            return self._request() if self._chromium.expects else None
        self._chromium.send("DOM.focus", backendNodeId=control.element)
        (self._type if act["do"] == "type" else self._select)(control, str(act.get("text", "")))
        return None

    def _leads_on(self, control: Control) -> bool:
        """Tells whether a click on a control leads to a request."""
        if control.role not in ("link", "button"):
            return False
        found = self._chromium.send("DOM.pushNodesByBackendIdsToFrontend", backendNodeIds=[control.element])
        return found["nodeIds"][0] in self._found(", ".join(_LEADS_ON))

    def _control(self, act: Mapping[str, Any]) -> Control:
        """Returns the control of an act that it takes.

        Raises:
            RefusedAct: there is none with this number, or it doesn't take such an act.
        """
        roles = ROLES.get(act["do"], ())
        control = self._first.controls.get(act["control"])
        if control is None or control.disabled or control.role not in roles:
            named = "no control" if control is None else str(control)
            raise RefusedAct(
                f"{act['do']!s:.20} on [{act['control']!s:.20}]: it is {named}, expected one of {list(roles)}"
            )
        return control

    def _click(self, control: Control) -> None:
        element = {"backendNodeId": control.element}
        self._chromium.send("DOM.scrollIntoViewIfNeeded", **element)
        quads = self._chromium.send("DOM.getContentQuads", **element)["quads"]
        if not quads:
            raise PageFailure(f"click on {control!s:.80}: it takes no room in the page")
        corners = quads[0]
        place = {"x": sum(corners[::2]) / 4, "y": sum(corners[1::2]) / 4, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._chromium.send("Input.dispatchMouseEvent", type=kind, **place)

    def _type(self, control: Control, text: str) -> None:
        """Types a text in place of what is there."""
        self._key("a", 65, modifiers=_CONTROL, commands=["selectAll"])
        self._key("Delete", 46, commands=["delete"])
        self._chromium.send("Input.insertText", text=text)

    def _select(self, control: Control, text: str) -> None:
        """Goes to an option by the keyboard, from the first one.

        Raises:
            RefusedAct: there is no such option.
        """
        if text not in control.options:
            raise RefusedAct(f"select {text!r:.80}: it is none of the options of {control!s:.200}")
        self._key("Home", 36)
        for _ in range(control.options.index(text)):
            self._key("ArrowDown", 40)

    def _key(self, key: str, code: int, **more: Any) -> None:
        known = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self._chromium.send("Input.dispatchKeyEvent", type="rawKeyDown", **known, **more)
        self._chromium.send("Input.dispatchKeyEvent", type="keyUp", **known)

    def _request(self) -> dict[str, Any]:
        """Waits for the request for another page, which the browser is not given.

        Raises:
            RefusedAct: it is for a page of another site.
        """
        paused = self._chromium.event("Fetch.requestPaused")["params"]
        self._chromium.send("Fetch.failRequest", requestId=paused["requestId"], errorReason="Aborted")
        return _request_of(paused["request"])


def _request_of(request: Mapping[str, Any]) -> dict[str, Any]:
    url = urlsplit(request["url"])
    if f"{url.scheme}://{url.netloc}" != ORIGIN:
        raise RefusedAct(f"it leads to {request['url']!r:.80}, which is no page of the environment")
    posted = request["method"] == "POST"
    sent = request.get("postData", "") if posted else url.query
    return {
        "method": request["method"],
        "path": url.path,
        "fields": [list(pair) for pair in parse_qsl(sent, keep_blank_values=True)],
    }


def _read(visit: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Reads a visit.

    Raises:
        PageFailure: it is none.
    """
    html, acts = visit.get("page"), visit.get("acts", [])
    if not isinstance(html, str) or not isinstance(acts, list) or not all(map(_is_act, acts)):
        raise PageFailure(f"it asked for {visit!r:.120}, expected page (HTML) and acts (do, control, text)")
    if len(html) > MOST_LETTERS:
        raise PageFailure(f"its page has {len(html):,} letters, expected at most {MOST_LETTERS:,}")
    return html, acts


def _is_act(act: Any) -> bool:
    return isinstance(act, dict) and {"do", "control"} <= act.keys() <= {"do", "control", "text"}
