"""The pages as text: each has its place in mkdocs.yml's navigation, and what they show exists. Nothing is built or run here."""

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from lineal.cli.main import lineal
from lineal.components.registry import Registry
from lineal.recipe.policies import read_policy

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
    assert sorted(placed) == sorted(DOCS.rglob("*.md")), (
        "add the page to nav in mkdocs.yml, and to docs/index.md"
    )


FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`\s;&])lineal ((?:--?\w\S* )*)(\w+)((?: [^`\n;&|#]*)?)", re.MULTILINE)
POLICIES = {f"policies.{path.stem}": path for path in (ROOT / "policies").glob("*.yaml")}
ON_EVERY_NODE = {"use", "each", "repeat", "per_round", "per_turn"}
WORDS = sorted({ROOT / "README.md", *DOCS.glob("*.md")} - {DOCS / "components.md"})
"""Pages that people write; what writes components.md has tests of its own."""


def nodes_in(value):
    """Every mapping with a `use:`, wherever it stands; those of rewards without the weight that `rewards:` gives them."""
    if isinstance(value, dict):
        if "rewards" in value:
            value = {**value, "rewards": [without_weight(reward) for reward in value["rewards"].values()]}
        found = [value] if "use" in value else []
        return [*found, *(node for below in value.values() for node in nodes_in(below))]
    return [node for below in value for node in nodes_in(below)] if isinstance(value, list) else []


def without_weight(reward):
    return {key: reward[key] for key in reward if key != "weight"} if isinstance(reward, dict) else reward


def blocks(page, language):
    return [dedent(text) for _, found, text in FENCE.findall(page.read_text()) if found == language]


def unknown_settings(node, registry):
    """The keys of a node that its component, or its policy, does not have; none for a component of the page's own package."""
    if node["use"] in POLICIES:
        return set(node) - set(read_policy(POLICIES[node["use"]]).known) - ON_EVERY_NODE
    if node["use"] not in registry.names:
        return set()
    component = registry.find(node["use"])
    known = {info.alias or name for name, info in component.model_fields.items()}
    return set() if component.model_config["extra"] == "allow" else set(node) - known - ON_EVERY_NODE


@pytest.mark.parametrize("page", WORDS, ids=lambda page: page.stem)
def test_yaml_blocks_name_components_and_settings_that_exist(page):
    registry = Registry()
    own = set(re.findall(r"^(\w+) = \"acme_lineal_words", page.read_text(), re.MULTILINE))
    for text in blocks(page, "yaml"):
        for node in nodes_in(yaml.safe_load(text)):
            assert node["use"] in {*registry.names, *POLICIES, *own}, (
                f"{page.name}: no component {node['use']!r}"
            )
            assert not unknown_settings(node, registry), f"{page.name}: {node['use']} has no such setting"


@pytest.mark.parametrize("page", WORDS, ids=lambda page: page.stem)
def test_commands_and_their_options_exist(page):
    for _, name, rest in COMMAND.findall(page.read_text()):
        if name not in lineal.commands:
            continue
        known = {
            option for each in lineal.commands[name].params for option in (*each.opts, *each.secondary_opts)
        }
        used = set(re.findall(r"(?<!\S)\[?(--[a-z][\w-]*)", rest))
        assert used <= known | {"--help"}, f"{page.name}: lineal {name} has no {used - known}"
