"""Writes docs/components.md from the classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lineal.components.base import ROWS
from lineal.components.reference import FURTHER_ROWS, REQUIRED, ROLES, Description, Setting

HEAD = """\
# Components

Everything that `use:` may name, by role: a correct node, the columns that it needs and adds, and every setting. References are
written as in [the language](language.md#references). `lineal components NAME` shows the same, also for components from other
packages. This page is written by `lineal components --markdown > docs/components.md`.
"""


def page(found: Iterable[Description]) -> str:
    """Writes the whole page."""
    known = list(found)
    by_heading = {heading: [one for one in known if one.role is role] for role, heading in ROLES.items()}
    index = [
        f"- {heading}: {', '.join(f'[{one.name}](#{one.name})' for one in there)}"
        for heading, there in by_heading.items()
    ]
    parts = [f"## {heading}\n\n" + "\n".join(map(_section, there)) for heading, there in by_heading.items()]
    return "\n".join([HEAD, *index, "", *parts])


FILES = """\
## Shipped selectors

`lineal components NAME` shows one: its columns, and the bounds and meaning of each setting. A setting without a default must be
given; (rows) marks references to further rows. `lineal components select --markdown` writes this list, the end of the page.

| selector | summary | settings |
|---|---|---|"""


def file_list(found: Iterable[Description]) -> str:
    """Writes the end of docs/selectors.md: a line for each file, with its settings beside `rows`."""
    lines = (
        f"| [`{one.name}`](../pipelines/selectors/{one.name}.sql) | {_cell(one.summary[0])} | {_cell(_in_line(one))} |"
        for one in found
    )
    return "\n".join([FILES, *lines])


def _in_line(one: Description) -> str:
    return ", ".join(f"`{setting.name}`{_value(setting)}" for setting in one.settings if setting.name != ROWS)


def _value(setting: Setting) -> str:
    if setting.value == FURTHER_ROWS:
        return " (rows)"
    return "" if setting.default == REQUIRED else f" = {setting.default}"


def _section(one: Description) -> str:
    return "\n".join(
        [
            f"### {one.name}\n",
            *(f"{text}\n" for text in one.summary),
            *_example(one),
            *_table(one.settings),
            "",
        ]
    )


def _example(one: Description) -> Iterator[str]:
    if one.example:
        yield f"```yaml\n{one.example}\n```\n"
    needs = [f"in `{field}`: {_names(columns)}" for field, columns in one.needs.items()]
    if needs:
        yield f"Needs {'; '.join(needs)}.\n"
    if one.adds:
        yield f"Adds {_names(one.adds)}.\n"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in columns)


def _table(settings: Iterable[Setting]) -> Iterator[str]:
    yield "| setting | value | default | meaning |"
    yield "|---|---|---|---|"
    for one in settings:
        yield (
            "| "
            + " | ".join(_cell(text) for text in (f"`{one.name}`", one.value, one.default, one.meaning))
            + " |"
        )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
