"""Websites as environments: what `small_shop` does, the seam to the browser, and Chromium, which gives what the stand-in does."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineal.components.playing import arena as arenas
from lineal.components.playing import browser as browsers
from lineal.components.playing import chromium
from lineal.components.playing.arena import Arena, Game
from lineal.components.playing.browser import Browser, PageFailure
from lineal.components.playing.pages import page_of
from lineal.components.sandbox.bubblewrap import require
from lineal.environments.registry import BUILT_IN
from lineal.environments.sessions import answer
from lineal.environments.small_shop import SmallShop
from lineal.errors import MachineError, SandboxError
from lineal.plan import make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.step.preflight import require_parts
from lineal.testing.environment import check_episodes
from tests.unit.lab import ROOT, Lab, rows_of
from tests.unit.stand_in_browser import StandIn

SHOP = BUILT_IN["small_shop"]
LEVELS = range(1, 6)


@pytest.fixture
def stand_in(monkeypatch):
    """Has games played in a stand-in for the browser."""
    made = StandIn()
    monkeypatch.setattr(arenas, "Browser", lambda: made)
    monkeypatch.setattr(chromium.shutil, "which", lambda name: f"/usr/bin/{name}")
    return made


class Played:
    """A website in this process, with a browser: a shop of a level, or another one with its entry."""

    def __init__(self, browser, level=1, seed=0, site=SmallShop, entry=None):
        self.shop, self.browser = site(), browser
        self.entry = entry or SmallShop.task(seed, level)["entry"]
        self.given = self._finished(self.shop.reset(seed=0, **self.entry))

    def __call__(self, text):
        self.given = self._finished(self.shop.step(text))
        return self.given[0]

    def _finished(self, given):
        while "browse" in given[-1]:
            given = self.shop.browsed(self.browser(given[-1]["browse"]))
        return given

    def by_expert(self):
        moves = []
        while not self.given[2]:
            moves.append(self.shop.expert())
            self(moves[-1])
            assert len(moves) <= 10, (moves, self.given)
        return moves


@pytest.mark.parametrize("level", LEVELS)
def test_expert_of_the_shop_wins_in_every_shop(level):
    for seed in range(20):
        played = Played(StandIn(), level, seed)
        moves = played.by_expert()
        assert played.given[1:] == (1.0, True, False, {"success": True}), (seed, moves)
    assert SmallShop.task(7, level) == SmallShop.task(7, level) != SmallShop.task(8, level)


def test_level_of_the_shop_is_one_of_five():
    with pytest.raises(ValueError, match="level is 6, expected 1 to 5"):
        SmallShop.task(0, 6)


def test_shop_is_seen_in_numbered_lines():
    played = Played(StandIn(), 4, 3)
    assert played.given[0] == (
        "Moves: click[1], type[2: text], select[3: option], back.\nheading Shop\n[1] link fruit\n[2] link tools\n"
        "[3] link toys\n[4] searchbox Words:\n[5] button Search\n[6] link order"
    )
    row, *_ = [line for line in played("click[1]").splitlines() if "[1]" in line]
    assert row.startswith("row [1] link ") and row.count(" | ") == 2
    played("back")
    assert "[1] textbox name:\n" in played("click[6]")
    assert "[1] textbox name: Ada Lovelace\n" in played("I write it. TYPE[1:  Ada   Lovelace ]")
    assert "[1] textbox name: Ben\n" in played("type[1: Ben]")
    options = played.shop.controls[3]["options"]
    assert f"[3] combobox item: {options[2]} (" in played(f"select[3: {options[2]}]")
    assert "[5] radio green: off\n[6] radio red: on\n" in [played("click[5]"), played("click[6]")][1]
    played("click[10]")
    assert "[1] textbox name: Ben\n" not in played("back"), "a page that was left is seen as it was opened"


@pytest.mark.parametrize(
    ("text", "invalid", "said"),
    [
        ("", "'' is no move", "Not a move. Moves: "),
        ("I go back to the list", "is no move", "Not a move. "),
        ("open[http://example.org]", "is no move", "Not a move. "),
        ("click[javascript:alert(1)]", "is no move", "Not a move. "),
        ("click[99]", r"There is no \[99\]", "There is no [99].\nheading Shop\n[1] link"),
        ("click[4]", r"\[4\] is a searchbox, and does not take click", "[4] is a searchbox"),
        (f"type[4: {'x' * 201}]", "takes at most 200 letters", "[4] takes at most 200 letters"),
        ("type[1: x]", r"\[1\] is a link, and does not take type", "[1] is a link"),
        ("select[4: x]", "does not take select", "[4] is a searchbox"),
        ("click[1] and then click[99999]", None, "heading fruit"),
        ("back", "there is no page to go back to", "This is the first page.\n"),
        ("click[2]\nclick[1]", None, "heading fruit"),
    ],
)
def test_only_moves_on_numbered_controls_can_be_made(text, invalid, said):
    played = Played(StandIn(), 1)
    assert played(text).startswith(said)
    _, reward, over, cut, info = played.given
    assert (reward, over, cut) == (0.0, False, False)
    assert ("invalid" not in info) if invalid is None else re.search(invalid, info["invalid"])


def test_option_that_is_not_there_cannot_be_selected():
    played = Played(StandIn(), 4)
    played("click[6]")
    assert played("select[3: <b>]").startswith("[3] has no such option.\nheading Order")


def test_shop_decides_what_is_right():
    played = Played(StandIn(), 1)
    shop, wanted = played.shop, played.entry["wanted"]["item"]
    other = next(name for name in shop._items if name != wanted)
    for path, fields, right in (
        ("/buy", {"item": other}, False),
        ("/buy", {}, False),
        ("/buy", {"item": wanted, "more": "1"}, False),
        ("/buy", {"item": wanted}, True),
    ):
        shop.visit("/")
        page = shop.page("POST", path, fields)
        assert ("Right." in page) is right is shop._ended
    shop.visit("/")
    for method, path, fields in (("GET", "/buy", {}), ("GET", "/no", {}), ("GET", "/item", {"name": "<b>"})):
        assert "Not found" in shop.page(method, path, fields) and shop._ended is None
    played = Played(StandIn(), 4)
    moves = played.by_expert()
    again = Played(StandIn(), 4)
    for move in [*moves[:-1], "type[2: 10]", moves[-1]]:
        again(move)
    assert again.given[:3] == ("heading Sorry\nWrong.", 0.0, True) and again.given[4] == {"success": False}


def test_website_of_the_docs_is_played_by_its_expert():
    page = (ROOT / "docs" / "environments.md").read_text()
    (source,) = [block.split("```")[0] for block in page.split("```python\n") if "class Guestbook" in block][
        :1
    ]
    names = {}
    exec(source, names)
    played = Played(StandIn(), site=names["Guestbook"], entry={"name": "A & B"})
    assert played.by_expert() == ["type[1: A & B]", "click[2]"]
    assert played.given[:3] == ("heading Thank you\nA & B", 1.0, True)


def node(number, role, name="", within=(), ignored=False, **states):
    """A node of an accessibility tree as the browser says it."""
    return {
        "nodeId": str(number),
        "ignored": ignored,
        "role": {"value": role},
        "name": {"value": name},
        "properties": [{"name": state, "value": {"value": value}} for state, value in states.items()],
        "childIds": list(map(str, within)),
        "backendDOMNodeId": number,
    }


def test_page_is_read_from_the_tree_in_its_order():
    page = page_of(
        [
            node(0, "RootWebArea", within=[1, 4, 6, 9, 99]),
            node(1, "heading", "A  link", [2, 3]),
            node(2, "StaticText", "A\n "),
            node(3, "link", "link"),
            node(4, "none", within=[5], ignored=True),
            node(5, "button", "go", disabled=True),
            node(6, "LabelText", within=[7, 8]),
            node(7, "StaticText", "Gift"),
            node(8, "checkbox", "Gift", checked="mixed"),
            node(9, "StaticText", "  "),
        ]
    )
    assert page.text == "heading A [1] link link\n[2] button go disabled\n[3] checkbox Gift: mixed"
    assert page.controls[2].disabled and page.controls[3].element == 8
    assert "element" not in page.plain()["controls"]["1"]


def test_episodes_in_a_browser_have_equal_bytes_whatever_is_played_beside_them(stand_in, tmp_path):
    made = []
    for workers in (1, 4):
        lab = Lab(tmp_path / str(workers), Compute(workers=workers))
        tasks = lab.run(
            "environment_tasks", "tasks/train", {}, environment="small_shop", level=[1, 5], size=6
        )[""]
        made.append(lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=12))
    assert rows_of(made[0][""]) == rows_of(made[1][""])
    assert {row["verdict"] for row in rows_of(made[0]["episodes"])} == {"pass"}
    assert check_episodes(rows_of(made[0][""])) == 6


def shop_in(arena, level=1):
    game = Game("game", SHOP, 0, SmallShop.task(0, level)["entry"])
    arena.begin({0: game})
    return game


def test_game_of_a_lost_process_is_played_again_without_the_browser(stand_in):
    with Arena([SHOP], 1, 10.0) as arena:
        game = shop_in(arena, 3)
        arena.move({0: (game, "type[1: axe]")})
        asked = len(stand_in.visits)
    with Arena([SHOP], 1, 10.0) as arena:  # whose process does not hold the game
        arena.move({0: (game, "click[2]")})
        assert game.problem is None and "heading Search" in game.seen
        assert len(stand_in.visits) == asked + 2, "what led to the present page is not shown again"
    with Arena([SHOP], 1, 10.0) as arena:
        game.outcomes[1] = [{**game.outcomes[1][0], "text": "another page"}]
        arena.move({0: (game, "back")})
    assert "the environment is not deterministic: move 1 gave observation" in game.problem


def test_game_that_is_lost_while_it_waits_for_its_first_page_begins_again():
    game = Game("lost", SHOP, 0, SmallShop.task(0, 1)["entry"])
    first = answer(game.begins())
    assert set(first) == {"browse"}
    answer(game.begins())
    seen = StandIn()(first["browse"])
    assert answer(game.asks("told", text="", outcomes=[seen]))["observation"].startswith("Moves: click[1]")
    with pytest.raises(TypeError, match="it asked for less when its move was made again"):
        answer(game.asks("told", text="", outcomes=[seen, seen]))
    answer(game.asks("end"))


def test_page_that_cannot_be_shown_is_an_error_and_no_lost_game(stand_in, monkeypatch):
    with Arena([SHOP], 1, 10.0) as arena:
        game = shop_in(arena)
        monkeypatch.setattr(StandIn, "__call__", lambda self, visit: refuse())
        arena.move({0: (game, "click[1]")})
    assert game.problem == "move 1: the page hangs" and len(game.answers) == 1


def test_environment_that_asks_without_end_is_an_error(stand_in, monkeypatch):
    asks = {"request": {"method": "GET", "path": "/", "fields": []}}
    monkeypatch.setattr(StandIn, "__call__", lambda self, visit: asks)
    with Arena([SHOP], 1, 10.0) as arena:
        assert shop_in(arena).problem == "reset: it asked for more than 8 things before it answered"


def refuse():
    raise PageFailure("the page hangs")


def test_missing_browser_is_told_before_a_run_and_before_a_step(monkeypatch, tmp_path):
    lab = Lab(tmp_path, Compute(workers=1))
    tasks = lab.run("environment_tasks", "tasks/train", {}, environment="small_shop", level=[1, 5], size=2)[
        ""
    ]
    monkeypatch.setattr(
        chromium.shutil, "which", lambda name: None if "chrom" in name else f"/usr/bin/{name}"
    )
    said = "plays 'small_shop', which needs chromium, which is not here. Install it: apt install chromium"
    with pytest.raises(MachineError, match=f"start/shown {said}"):
        lab.run("demonstrations", "start/shown", {"prompts": tasks}, max_turns=12)
    (tmp_path / "pipelines" / "toy.yaml").write_text(
        "method: Toy\nsummary: One.\n"
        "tasks: {train: {use: environment_tasks, environment: small_shop, level: [1, 2], size: 2}}\n"
        "start: {shown: {use: demonstrations, prompts: tasks.train, max_turns: 4}}\n"
        "round: {again: {use: render, rows: start.shown, prompt: '{completion}'}}\n"
    )
    (tmp_path / "params.yaml").write_text("seed: 0\nrounds: 1\nactive: [toy]\n")
    plan = make_plan(open_project(tmp_path))
    with pytest.raises(MachineError, match=f"toy/start/shown {said}"):
        require_parts(plan, [plan.step("toy/start/shown")])
    require_parts(plan, [plan.step("toy/tasks/train")])
    monkeypatch.setattr(chromium.shutil, "which", lambda name: None)
    with pytest.raises(MachineError, match="needs chromium.*; and needs bubblewrap, which is not here"):
        Browser()({"page": ""})


# From here on with Chromium.


@pytest.fixture(scope="module")
def real():
    """A browser with Chromium."""
    if chromium.lacking():
        pytest.skip("; ".join(chromium.lacking()))
    try:
        require()
    except SandboxError as error:
        pytest.skip(f"no namespaces here: {error}")
    made = Browser()
    yield made
    made.close()


@pytest.mark.parametrize("level", LEVELS)
def test_chromium_gives_what_the_stand_in_gives_and_the_expert_wins(real, level):
    played, other = Played(real, level, level), Played(StandIn(), level, level)
    assert played.by_expert() == other.by_expert()
    assert played.given[1:] == (1.0, True, False, {"success": True})
    visits = other.browser.visits
    assert [real(visit) for visit in visits] == [StandIn()(visit) for visit in visits]


def test_chromium_gives_the_same_in_any_order(real):
    other = Played(StandIn(), 4)
    other.by_expert()
    real._kept.clear()
    for visit in reversed(other.browser.visits):
        assert real(visit) == StandIn()(visit)


FORM = '<form action="/go"><label>a <input name="a" {}></label><button>go</button></form>'
PAGES = {
    "script": (
        "<script>document.title='x';document.body.innerHTML='run'</script><p onclick='x()'>text</p>",
        [],
        "text",
    ),
    "other site": ("<img src='http://example.org/x.png' alt=''><p>text</p>", [], "text"),
    "frame": ("<iframe src='/inner'></iframe><p>text</p>", [], "text"),
    "letters": (FORM, [{"do": "type", "control": 1, "text": "<b>é💥 & \"'"}], "[1] textbox a: <b>é💥 & \"'"),
    "again": (
        FORM,
        [{"do": "type", "control": 1, "text": "one"}, {"do": "type", "control": 1, "text": "two"}],
        "[1] textbox a: two",
    ),
    "emptied": (
        FORM.format("value=x"),
        [{"do": "type", "control": 1, "text": ""}],
        "[1] textbox a:\n[2] button go",
    ),
    "link within the page": ("<a href='#x'>x</a>", [{"do": "click", "control": 1}] * 2, "[1] link x"),
    "link to a program": ("<a href='MailTo:a@b'>x</a>", [{"do": "click", "control": 1}] * 2, "[1] link x"),
    "button without a form": ("<button>x</button>", [{"do": "click", "control": 1}] * 2, "[1] button x"),
    "button that sends nothing": (
        "<form action='/go'><input aria-label=a><button type=button>x</button></form>",
        [{"do": "click", "control": 2}],
        "[2] button x",
    ),
    "button that empties the form": (
        "<form action='/go'><input aria-label=a><button type=reset>x</button></form>",
        [{"do": "type", "control": 1, "text": "y"}, {"do": "click", "control": 2}],
        "[1] textbox a:\n[2] button x",
    ),
    "covered": (
        "<div style='height:3000px'></div><input type=checkbox aria-label=far>",
        [{"do": "click", "control": 1}],
        "[1] checkbox far: on",
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_chromium_shows_a_page_and_runs_none_of_its_scripts(real, name):
    html, acts, seen = PAGES[name]
    assert seen in real({"page": html, "acts": acts})["text"]


def test_chromium_sends_forms_as_they_are(real):
    click = {"do": "click", "control": 2}
    fields = {"method": "GET", "path": "/go", "fields": [["a", ""]]}
    assert real({"page": FORM.format("required"), "acts": [click]}) == {"request": fields}
    typed = {"do": "type", "control": 1, "text": "a+b&c=é"}
    posted = FORM.replace("<form", "<form method=post")
    assert real({"page": posted, "acts": [typed, click]})["request"] == {
        "method": "POST",
        "path": "/go",
        "fields": [["a", "a+b&c=é"]],
    }


@pytest.mark.parametrize(
    "html",
    [
        "<a href='/go'>x</a>",
        "<a href='?'><b>x</b></a>",
        "<form action='/go'><button>x</button></form>",
        "<form id=f action='/go'></form><button form=f>x</button>",
        "<form action='/go'><input type=submit value=x></form>",
    ],
)
def test_chromium_follows_whatever_leads_on(real, html):
    assert real({"page": html, "acts": [{"do": "click", "control": 1}]})["request"]["method"] == "GET"


BAD = {
    "its page has a meta http-equiv, by which it can move on": (
        "<meta a='>' HTTP-EQUIV=refresh content='0;url=/on'>",
        [],
    ),
    "it leads to 'http://127.0.0.1:1/', which is no page of the environment": (
        "<a href='http://127.0.0.1:1/'>x</a>",
        [{"do": "click", "control": 1}],
    ),
    "click on [2]: it is no control": ("<a href='/'>x</a>", [{"do": "click", "control": 2}]),
    "type on [1]: it is link x": ("<a href='/'>x</a>", [{"do": "type", "control": 1, "text": "y"}]),
    "run on [1]: it is link x": ("<a href='/'>x</a>", [{"do": "run", "control": 1}]),
    "click on [1]: it is button x disabled": (
        "<button disabled>x</button>",
        [{"do": "click", "control": 1}],
    ),
    "act 1 of 2 leaves the page": ("<a href='/'>x</a>", [{"do": "click", "control": 1}] * 2),
    "select 'y': it is none of the options": (
        "<select aria-label=s><option>x</select>",
        [{"do": "select", "control": 1, "text": "y"}],
    ),
    "it asked for": ("", [{"do": "click"}]),
    "its page has 262,145 letters, expected at most 262,144": ("x" * 262_145, []),
}


@pytest.mark.parametrize("said", BAD)
def test_chromium_does_nothing_else(real, said):
    html, acts = BAD[said]
    with pytest.raises(PageFailure) as failure:
        real({"page": html, "acts": acts})
    assert str(failure.value).startswith(said)


def below(pid):
    """Processes below one, itself not."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, new = set(), {pid}
    while new:
        new = {one for one, above in parents.items() if above in new} - found
        found |= new
    return found


def networks(processes):
    """Network namespaces of those that still run: a browser's helpers come and go."""
    found = set()
    for pid in processes:
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/{pid}/ns/net"))
    assert found, "no process was left to look at"
    return found


def require_gone(processes):
    """Checks that processes are gone, or soon will be."""
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in processes if Path(f"/proc/{pid}").exists()]


NOWHERE = "<form action='javascript:1'><button>waits for a request that never comes</button></form>"


def test_browser_that_hangs_or_dies_is_replaced_and_none_outlives_its_games(real, monkeypatch):
    with contextlib.closing(Browser()) as made:
        assert made({"page": "<p>1"})["text"] == "1"
        first = made._chromium._process
        processes = below(first.pid)
        assert len(processes) > 2
        assert os.readlink("/proc/self/ns/net") not in networks(processes), (
            "it has no network but a loopback device of its own"
        )
        os.killpg(first.pid, signal.SIGKILL)
        assert made({"page": "<p>2"})["text"] == "2"
        monkeypatch.setattr(browsers, "SECONDS", 0.5)
        second = made._chromium._process
        processes |= below(second.pid)
        for pid in below(second.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        with pytest.raises(PageFailure, match=r"the browser did not answer in time, twice \(0.5 s each\)"):
            made({"page": NOWHERE, "acts": [{"do": "click", "control": 1}]})
    require_gone(processes)


KILLED = """
import os
from lineal.components.playing.browser import Browser
from tests.unit.test_browser import below
browser = Browser()
browser({"page": ""})
print(*below(os.getpid()), flush=True)
os.kill(os.getpid(), 9)
"""


def test_browser_ends_with_a_step_that_is_killed(real):
    told = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    processes = list(map(int, told.stdout.split()))
    assert told.returncode == -signal.SIGKILL and len(processes) > 2
    require_gone(processes)
