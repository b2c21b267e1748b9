"""`small_shop`: a shop's website with lists, a search and a form for orders, a different one for each task."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from lineal.environments.website import Fields, Website, document, link, table

KINDS = {
    "fruit": ("apple", "cherry", "fig", "grape", "lemon", "mango", "peach", "pear", "plum", "quince"),
    "tools": ("axe", "brush", "drill", "file", "hammer", "knife", "ladder", "rake", "saw", "spade"),
    "toys": ("ball", "bear", "block", "doll", "drum", "kite", "puppet", "robot", "top", "train"),
}
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Joy")
COLOURS = ("blue", "green", "red", "white")
IN_A_KIND = 4
"""Items of each kind that a shop has."""
MOST = 9
"""The highest price and stock."""


class SmallShop(Website):
    """A shop's website, in a browser: `click[1]`, `type[2: text]`, `select[3: option]`, `back`. The first purchase or order ends
    the episode, and is right or wrong.

    Levels: 1 follows links to an item, 2 finds an item in a table, 3 searches for an item, 4 fills in the form for orders, 5
    fills it in with what a table on another page says.
    """

    def reset(
        self,
        *,
        seed: int,
        items: Sequence[Sequence[Any]],
        wanted: Mapping[str, Any],
        lists: bool = True,
        look: str = "",
    ) -> tuple[str, dict[str, Any]]:
        """Opens the shop.

        Args:
            seed: of nothing: an entry is a shop.
            items: name, kind, price and stock of each.
            wanted: what the right request holds: `item` of what is bought; all fields of an order.
            lists: whether there are lists of items, or the search alone.
            look: the list that the expert looks at before it orders.
        """
        self._items = {str(name): (str(kind), price, stock) for name, kind, price, stock in items}
        self._wanted = {name: str(value) for name, value in wanted.items()}
        self._lists, self._look = lists, look
        self._looked: set[str] = set()
        return self.visit("/")

    def page(self, method: str, path: str, fields: Fields) -> str:
        """Returns the page that answers a request; a purchase or an order ends the episode."""
        if method == "POST" and path in ("/buy", "/order"):
            return self._sold(fields)
        pages: dict[str, Callable[[Fields], str]] = {
            "/": self._home,
            "/list": self._list,
            "/search": self._found,
            "/item": self._item,
            "/order": self._order,
        }
        return pages.get(path, _missing)(fields)

    def _home(self, fields: Fields) -> str:
        kinds = dict.fromkeys(kind for kind, _, _ in self._items.values()) if self._lists else {}
        lists = " ".join(link(f"/list?kind={kind}", kind) for kind in kinds)
        search = '<form action="/search"><input type="search" name="words" aria-label="Words"><button>Search</button></form>'
        return document("Shop", lists + search + link("/order", "order"))

    def _list(self, fields: Fields) -> str:
        kind = fields.get("kind", "")
        self._looked.add(kind)
        names = [name for name, (own, _, _) in self._items.items() if own == kind]
        return document(kind, self._table(names) + link("/", "home"))

    def _found(self, fields: Fields) -> str:
        words = fields.get("words", "").casefold().split()
        names = [name for name in self._items if any(word in name for word in words)]
        found = self._table(names) if names else "<p>Nothing found.</p>"
        return document("Search", found + link("/", "home"))

    def _table(self, names: Sequence[str]) -> str:
        rows = [(link(f"/item?name={name}", name), *map(str, self._items[name][1:])) for name in names]
        return table(("name", "price", "stock"), rows)

    def _item(self, fields: Fields) -> str:
        name = fields.get("name", "")
        if name not in self._items:
            return _missing(fields)
        _, price, stock = self._items[name]
        held = f'<input type="hidden" name="item" value="{escape(name)}">'
        buy = f'<form method="post" action="/buy">{held}<button>buy</button></form>'
        return document(name, f"<p>Price {price}, stock {stock}</p>{buy}{link('/', 'home')}")

    def _order(self, fields: Fields) -> str:
        names = "".join(f"<option>{escape(name)}</option>" for name in self._items)
        colours = "".join(
            f'<label><input type="radio" name="colour" value="{colour}">{colour}</label>'
            for colour in COLOURS
        )
        form = (
            f'<label>name <input name="name"></label><label>number <input name="number"></label>'
            f'<label>item <select name="item">{names}</select></label>{colours}'
            f'<label><input type="checkbox" name="gift" value="yes">gift</label><button>send</button>'
        )
        return document("Order", f'<form method="post" action="/order">{form}</form>{link("/", "home")}')

    def _sold(self, fields: Fields) -> str:
        right = dict(fields) == self._wanted
        self.end(right)
        return document("Thank you" if right else "Sorry", f"<p>{'Right.' if right else 'Wrong.'}</p>")

    def expert(self) -> str:
        """Returns the next move towards what is wanted, from any page."""
        if "name" in self._wanted:
            return self._ordering()
        item = self._wanted["item"]
        if self.seen.startswith(f"heading {item}\n"):
            return self._click("button", "buy")
        if f"link {item}" in self.seen:
            return self._click("link", item)
        return self._click("link", "home") if self.path != "/" else self._towards(item)

    def _towards(self, item: str) -> str:
        """Returns the move from the first page to a list that holds an item."""
        if self._lists:
            return self._click("link", self._items[item][0])
        words = self.number("searchbox", "Words")
        typed = self.controls[words]["value"] == item
        return self._click("button", "Search") if typed else f"type[{words}: {item}]"

    def _ordering(self) -> str:
        if self.path == "/order":
            return self._filling()
        if self.path != "/":
            return self._click("link", "home")
        looks = self._look and self._look not in self._looked
        return self._click("link", self._look if looks else "order")

    def _filling(self) -> str:
        """Returns the move that fills in the next field of an order, or sends it."""
        wanted = self._wanted
        for role, name, value, move in (
            ("textbox", "name", wanted["name"], "type[{}: {}]"),
            ("textbox", "number", wanted["number"], "type[{}: {}]"),
            ("combobox", "item", wanted["item"], "select[{}: {}]"),
            ("radio", wanted["colour"], "on", "click[{}]"),
            ("checkbox", "gift", "on" if "gift" in wanted else "off", "click[{}]"),
        ):
            number = self.number(role, name)
            if self.controls[number]["value"] != value:
                return move.format(number, value)
        return self._click("button", "send")

    def _click(self, role: str, name: str) -> str:
        return f"click[{self.number(role, name)}]"

    @staticmethod
    def task(seed: int, level: int) -> dict[str, Any]:
        """Makes a shop, and something to buy or to order in it.

        Raises:
            ValueError: there is no such level.
        """
        if level not in _GOALS:
            raise ValueError(f"level is {level}, expected 1 to {len(_GOALS)}")
        draw = random.Random(seed)  # noqa: S311 - reproducible on purpose
        items = _items(draw)
        prompt, more = _GOALS[level](draw, items)
        return {"prompt": prompt, "entry": {"items": items, **more}}


Item = tuple[str, str, int, int]


def _missing(fields: Fields) -> str:
    return document("Not found", link("/", "home"))


def _items(draw: random.Random) -> list[Item]:
    """Draws items; no two of a kind have one price or stock."""
    made: list[Item] = []
    for kind, names in KINDS.items():
        prices, stocks = _shuffled(draw, range(1, MOST + 1)), _shuffled(draw, range(1, MOST + 1))
        made += [
            (name, kind, price, stock)
            for name, price, stock in zip(_shuffled(draw, names)[:IN_A_KIND], prices, stocks, strict=False)
        ]
    return made


def _shuffled(draw: random.Random, values: Sequence[Any]) -> list[Any]:
    return sorted(values, key=lambda _: draw.random())


def _one(draw: random.Random, values: Sequence[Any]) -> Any:
    return values[int(len(values) * draw.random())]


def _follow(draw: random.Random, items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    name, kind, *_ = _one(draw, items)
    return f"Buy: {name}, in the list {kind}.", {"wanted": {"item": name}}


def _find(draw: random.Random, items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    kind, (said, best) = _one(draw, list(KINDS)), _one(draw, (("lowest", min), ("highest", max)))
    name = best((item for item in items if item[1] == kind), key=lambda item: item[2])[0]
    return f"Buy the item in the list {kind} with the {said} price.", {"wanted": {"item": name}}


def _seek(draw: random.Random, items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    name = _one(draw, items)[0]
    return f"Search for {name} and buy it.", {"wanted": {"item": name}, "lists": False}


def _fill(draw: random.Random, items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    number = 1 + int(MOST * draw.random())
    asked, wanted = _order_of(draw, items, number)
    return f"Order {number} of {asked}", {"wanted": wanted}


def _look(draw: random.Random, items: Sequence[Item]) -> tuple[str, dict[str, Any]]:
    other, kind, _, stock = _one(draw, items)
    asked, wanted = _order_of(draw, items, stock)
    return f"Order as many as the list {kind} has of {other} in stock, of {asked}", {
        "wanted": wanted,
        "look": kind,
    }


def _order_of(draw: random.Random, items: Sequence[Item], number: int) -> tuple[str, dict[str, str]]:
    """Draws an order of this many; returns how it is asked for, and the fields of the right request."""
    item, colour, name, gift = (
        _one(draw, items)[0],
        _one(draw, COLOURS),
        _one(draw, NAMES),
        draw.random() < 1 / 2,
    )
    wanted = {
        "name": name,
        "number": str(number),
        "item": item,
        "colour": colour,
        **({"gift": "yes"} if gift else {}),
    }
    return f"{item}: colour {colour}, name {name}, {'a' if gift else 'no'} gift.", wanted


_GOALS = {1: _follow, 2: _find, 3: _seek, 4: _fill, 5: _look}
"""By level."""
