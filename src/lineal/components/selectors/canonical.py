"""The canonical form of a selector: the part of its text that decides rows, so that a comment makes nothing stale.

The form is our own and not DuckDB's serialized tree, which another version of DuckDB writes otherwise: every selection would be
stale after an upgrade. It is lexical. Two texts with one form are one query; two forms may still mean the same.
"""

from __future__ import annotations

import re
from dataclasses import asdict

from lineal.components.selectors.header import Selector
from lineal.components.selectors.named_before import KEY_DIGITS, NAMED_BEFORE
from lineal.data.ids import digest_of

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|--[^\r\n]*)
    |(?P<comment>/\*)
    |(?P<string>[eE]'(?:[^'\\]|\\.|'')*'|[xXbB]?'(?:[^']|'')*'|\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    |"(?:[^"]|"")*"
    |(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?
    |\$?\w+
    |[-+*/<>=~!@\#%^&|`?:]+?(?=--|/\*|[^-+*/<>=~!@\#%^&|`?:]|$)
    |.
    """,
    re.VERBOSE | re.DOTALL,
)


def tokens(query: str) -> list[str]:
    """Splits the query into tokens: comments and white space are left out, strings and quoted names stay unchanged.

    Strings on lines of their own are one string to SQL, so a line break between two of them stays.
    """
    found: list[str] = []
    place, broken, last_was_string = 0, False, False
    while place < len(query):
        match = _TOKEN.match(query, place)
        assert match is not None  # the last alternative takes any character
        place = match.end() if match["comment"] is None else _end_of_comment(query, match.end())
        if match["space"] is not None or match["comment"] is not None:
            broken = broken or "\n" in query[match.start() : place] or "\r" in query[match.start() : place]
            continue
        is_string = match["string"] is not None
        found += ["\n"] if broken and is_string and last_was_string else []
        found.append(match[0])
        broken, last_was_string = False, is_string
    while found and found[-1] == ";":
        found.pop()
    return found


def _end_of_comment(query: str, place: int) -> int:
    """Returns the end of a block comment, which may contain others."""
    depth = 1
    for match in re.compile(r"/\*|\*/").finditer(query, place):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(query)


def selector_digest(selector: Selector) -> str:
    """Returns a selector's digest for identities and the ids of new rows: that of its canonical form.

    What a parameter's value is stands in the settings; `summary`, `source`, `needs` and all free text decide no row. The files
    that came with lineal while whole files were digested keep the digest that they had, and so do rows made with them.
    """
    digest = _canonical_digest(selector)
    return NAMED_BEFORE.get(digest[:KEY_DIGITS], digest)


def _canonical_digest(selector: Selector) -> str:
    makes = None if selector.makes is None else asdict(selector.makes)
    return digest_of(
        {
            "query": tokens(selector.query),
            "optional": selector.optional,
            "adds": selector.adds,
            "makes": makes,
            "parameters": {name: parameter.type for name, parameter in selector.parameters.items()},
            "inputs": selector.inputs,
            "dropped": selector.dropped,
            "empty": selector.empty,
            **({"gives": selector.gives} if selector.gives else {}),
        }
    )
