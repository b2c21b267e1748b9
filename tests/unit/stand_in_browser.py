"""In place of a browser, for tests: it reads the few elements of `small_shop`, and gives what Chromium gives for them."""

from __future__ import annotations

from html.parser import HTMLParser
from threading import Lock
from urllib.parse import parse_qsl, urlencode, urlsplit

from lineal.components.playing.pages import page_of

ROLES = {
    "h1": "heading",
    "a": "link",
    "tr": "row",
    "td": "cell",
    "th": "columnheader",
    "p": "paragraph",
    "label": "LabelText",
    "button": "button",
}
INPUTS = {"search": "searchbox", "text": "textbox", "radio": "radio", "checkbox": "checkbox"}
EMPTY = {"input", "meta", "br"}


class Element:
    """An element, or a text (`tag` is None)."""

    def __init__(self, tag, given, above):
        self.tag, self.given, self.above, self.within, self.text = tag, dict(given), above, [], ""
        self.value, self.checked = self.given.get("value", ""), "checked" in self.given

    def all(self):
        yield self
        for one in self.within:
            yield from one.all()

    def said(self):
        return self.text + "".join(one.said() for one in self.within)

    def up(self, tag):
        return self if self.tag == tag or self.above is None else self.above.up(tag)


class Reader(HTMLParser):
    """Makes elements of a page."""

    def __init__(self, html):
        super().__init__()
        self.root = self.place = Element("html", {}, None)
        self.feed(html)

    def handle_starttag(self, tag, given):
        if tag == "html":
            return
        made = Element(tag, given, self.place)
        self.place.within.append(made)
        self.place = self.place if tag in EMPTY else made

    def handle_endtag(self, tag):
        if tag != "html":
            self.place = self.place.above

    def handle_data(self, text):
        made = Element(None, {}, self.place)
        made.text = text
        self.place.within.append(made)


class StandIn:
    """In place of `playing.browser.Browser`; `visits` are those that it was asked for."""

    def __init__(self):
        self.visits, self.lock = [], Lock()

    def __call__(self, visit):
        with self.lock:
            return self.done(visit)

    def done(self, visit):
        self.visits.append(visit)
        self.elements = list(Reader(visit["page"]).root.all())
        for act in visit["acts"]:
            element = self.elements[self.page().controls[act["control"]].element]
            request = self.act(element, act)
            if request is not None:
                return {"request": request}
        return self.page().plain()

    def close(self):
        """Ends nothing."""

    def act(self, element, act):
        if act["do"] != "click":
            element.value = act["text"]
        elif element.tag == "a":
            return asked("GET", element.given["href"])
        elif element.tag == "button":
            return self.sent(element.up("form"))
        elif element.given["type"] == "radio":
            for one in self.elements:
                if one.given.get("name") == element.given["name"]:
                    one.checked = one is element
        else:
            element.checked = not element.checked
        return None

    def sent(self, form):
        fields = [
            (one.given["name"], chosen(one))
            for one in form.all()
            if one.tag in ("input", "select")
            and (one.checked or one.given.get("type") not in ("radio", "checkbox"))
        ]
        method = form.given.get("method", "get").upper()
        return asked(method, f"{form.given['action']}?{urlencode(fields)}")

    def page(self):
        nodes = [self.node(number, element) for number, element in enumerate(self.elements)]
        return page_of(nodes)

    def node(self, number, element):
        role, name, value, states = self.told(element)
        within = [self.elements.index(one) for one in element.within]
        return {
            "nodeId": str(number),
            "ignored": role is None,
            "role": {"value": role},
            "name": {"value": name},
            "value": {"value": value},
            "properties": [{"name": state, "value": {"value": given}} for state, given in states.items()],
            "childIds": [] if element.tag == "title" else list(map(str, within)),
            "backendDOMNodeId": number,
        }

    def told(self, element):
        """Role (None: not in the tree), name, value and states."""
        if element.tag in (None, "title"):
            return ("StaticText" if element.tag is None else "hidden"), element.text, "", {}
        if element.tag == "select":
            return "combobox", label_of(element), chosen(element), {}
        if element.tag == "input" and element.given.get("type") != "hidden":
            role = INPUTS[element.given.get("type", "text")]
            ticked = {"checked": str(element.checked).lower()} if role in ("radio", "checkbox") else {}
            return role, label_of(element), "" if ticked else element.value, ticked
        return {**ROLES, "option": "option"}.get(element.tag), element.said(), "", {}


def label_of(element):
    texts = [one.text for one in element.up("label").within if one.tag is None]
    return element.given.get("aria-label") or " ".join(texts)


def chosen(element):
    if element.tag == "select" and not element.value:
        return element.within[0].said()
    return element.value or ("on" if element.checked else "")


def asked(method, address):
    url = urlsplit(address)
    return {
        "method": method,
        "path": url.path,
        "fields": [list(pair) for pair in parse_qsl(url.query, keep_blank_values=True)],
    }
