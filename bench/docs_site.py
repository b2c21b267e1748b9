"""MkDocs hooks: links to the repository, titled code blocks, folders in `nav:`, and a search that works from the disk."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parents[1] / "docs"
LINK = re.compile(r"\[([^\]\n]+)\]\((\.\./[^)\s]+)\)")
SHIM = "https://unpkg.com/iframe-worker/shim"
"""What Material's offline plugin loads from the network, so that a page on the disk can be searched."""
TITLED = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replaces `folder/` in the navigation by the folder's pages."""
    config.nav = _with_folders(config.nav)
    return config


def on_page_markdown(markdown: str, /, *, page: Page, **_: Any) -> str:
    """Links to files outside of docs/ as HTML, and `lang path` behind a code fence as the block's title.

    The site is built into site/, beside docs/: a link out of docs/ leads to the same file from there.
    """
    place = DOCS / page.file.src_uri
    markdown = LINK.sub(lambda found: _outside(found, place), markdown)
    return TITLED.sub(r'```\1 title="\2"', markdown)


def on_post_page(output: str, /, **_: Any) -> str:
    """Puts a script of this repository in place of the one from the network."""
    script = Path(__file__).with_name("docs_search.js").read_text(encoding="utf-8")
    return output.replace(f'<script src="{SHIM}"></script>', f"<script>{script}</script>")


def _with_folders(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {name: _with_folders(below) for name, below in entry.items()}
    if isinstance(entry, list):
        return [_with_folders(below) for below in entry]
    return _pages(entry) if entry.endswith("/") else entry


def _pages(folder: str) -> list[str]:
    return sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / folder).glob("*.md"))


def _outside(found: re.Match[str], place: Path) -> str:
    text, link = found.groups()
    target = (place.parent / link.partition("#")[0]).resolve()
    if target.is_relative_to(DOCS):
        return found.group()
    if not target.exists():
        raise Abort(f"{place}: the link {link} leads to no file")
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return f'<a href="{link}">{shown}</a>'
