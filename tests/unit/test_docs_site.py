"""mkdocs.yml: every page of docs/ has its place in the navigation, and every place a page. Nothing is built here."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose one Python object is no concern here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def entries(nav):
    if isinstance(nav, str):
        return [nav]
    below = nav.values() if isinstance(nav, dict) else nav
    return [entry for part in below for entry in entries(part)]


def pages(entry):
    return sorted((DOCS / entry).glob("*.md")) if entry.endswith("/") else [DOCS / entry]


def test_navigation_has_every_page_once():
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]  # noqa: S506  a safe loader
    placed = [path for entry in entries(nav) for path in pages(entry)]
    assert len(placed) > 80
    assert len(placed) == len(set(placed)), "a page has two places in mkdocs.yml's nav"
    assert sorted(placed) == sorted(DOCS.rglob("*.md")), "add the page to nav in mkdocs.yml, and to docs/index.md"
