"""What is said of every component: it is complete, its example parses, and the page says what the classes say."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest

from lineal.cli.components import _shown
from lineal.cli.main import run_command
from lineal.components.base import Role, Surroundings
from lineal.components.reference import ROLES, Setting, describe, examples
from lineal.components.reference_page import page
from lineal.components.registry import BUILT_IN, Registry
from lineal.components.verifiers.base import RowVerifier
from lineal.errors import MissingFile
from lineal.recipe.document import parse_document
from lineal.recipe.references import SettingReference, parse_reference

ROOT = Path(__file__).resolve().parents[2]
SURROUNDINGS = Surroundings(ROOT, ROOT / "pipelines")
REGISTRY = Registry()


def described(name):
    return describe(name, REGISTRY, SURROUNDINGS)


def setting(name, key):
    (found,) = [one for one in described(name).settings if one.name == key]
    return found


@pytest.mark.parametrize("name", BUILT_IN)
def test_example_of_each_component_is_a_correct_node(name):
    (node,) = parse_document(examples()[name], "examples.yaml").value.values()
    references = {key: parse_reference(value) for key, value in node.items() if isinstance(value, str)}
    values = {
        key: SettingReference(found) for key, found in references.items() if found is not None and found.part
    }
    with suppress(MissingFile):  # a user's own data
        REGISTRY.find(node["use"]).parse({**node, **values}, SURROUNDINGS)
    assert node["use"] == name


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_setting_has_a_meaning_and_a_value_in_words(name):
    found = described(name)
    assert [
        one.name
        for one in found.settings
        if not one.meaning or one.value == "any value" or "`Stop`" in one.meaning
    ] == []
    assert found.in_short and found.role in ROLES


def test_roles_all_have_a_heading():
    assert set(ROLES) == set(Role)


def test_setting_says_value_default_and_meaning():
    assert setting("sample", "samples") == Setting(
        "samples", "whole number, at least 1", "1", "completions per prompt (and temperature)."
    )
    assert setting("sample", "model").value == "reference to language model or served model"
    assert setting("sample", "prompts").value == "references to rows"
    assert setting("sft", "lora.rank").default == "required" and setting("sft", "lora").default == "unset"
    assert setting("sft", "schedule").value == "cosine, linear, constant, constant_with_warmup"


def test_setting_that_means_what_another_components_means_says_it():
    assert setting("judge", "max_tokens").meaning == setting("sample", "max_tokens").meaning != ""
    assert setting("sft", "lora.alpha").meaning.startswith("the adapter's rank")


def test_required_settings_stand_first_and_inner_ones_below_theirs():
    names = [one.name for one in described("sft").settings]
    assert names.index("rows") < names.index("steps") and names[names.index("lora") + 1] == "lora.rank"


def test_columns_of_the_example_are_told():
    found = described("exact_match")
    assert (found.needs, found.adds) == ({"rows": ("completion", "answer")}, ("verdict", "score", "detail"))


def test_page_says_what_the_classes_say():
    text = page([described(name) for name in sorted(BUILT_IN)])
    assert (ROOT / "docs" / "components.md").read_text(encoding="utf-8") == text.rstrip() + "\n", (
        "write it with --markdown"
    )


def test_command_lists_components_by_role(capsys):
    assert run_command(["components"]) == 0
    told = capsys.readouterr().out
    assert "Verifiers:\n" in told and "  exact_match " in told


def test_command_shows_one_component(capsys):
    assert run_command(["components", "choice"]) == 0
    told = capsys.readouterr().out
    assert (
        "  chosen: {use: choice, rows: generated}\n" in told
        and "  by: any, letter, text (default any)\n" in told
    )


def test_command_names_the_nearest_for_a_typo(capsys):
    assert run_command(["components", "exact_mach"]) == 2
    assert "Did you mean 'exact_match'?" in capsys.readouterr().err


def shown(capsys, *arguments):
    assert run_command(["-C", str(ROOT), "components", *arguments]) == 0
    return capsys.readouterr().out


def test_page_of_selectors_ends_with_the_shipped_ones(capsys):
    text = (ROOT / "docs" / "selectors.md").read_text(encoding="utf-8")
    assert text.endswith(f"\n\n{shown(capsys, 'select', '--markdown')}"), "write it with select --markdown"


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "most_against_least_voted",
            [
                "most_against_least_voted (selector)",
                "Needs in others: prompt_id, completion, voted, votes, vote_share",
                "  others: references to rows (required)",
                "      the draw that rejected samples come from; it may be `rows` itself",
                "  min_share: number in 0..1 (default 0.0)",
                "  name: {use: select, rows: NODE, sql: most_against_least_voted, others: NODE}",
            ],
        ),
        (
            "gain",
            [
                "gain (measure)",
                "  worth: number (default 0.005)",
                "      a gain that is worth a round; above 0",
            ],
        ),
        ("policies.self_refine", ["self_refine (policy)", "  model (required)", "  turns (default 4)"]),
        ("keep_correct", ["Adds: decision, reason, weight", "  deduplicate: true or false (default false)"]),
        ("demonstrations", ["demonstrations (generator)", "demonstrations (selector)"]),
    ],
)
def test_command_shows_a_selector_a_measure_and_a_policy(capsys, name, lines):
    told = shown(capsys, name).splitlines()
    assert [line for line in lines if line not in told] == []


def test_command_lists_the_files_of_select_and_measure(capsys):
    told = shown(capsys, "select")
    assert "\n  most_against_least_voted " in told and "docs/selectors.md" in told and "header.py" not in told
    assert "\n  gained " in shown(capsys, "measure")


class Counted(RowVerifier):
    """Passes short completions.

    Attributes:
        most: the most words.
    """

    reads: ClassVar[tuple[str, ...]] = ("completion", "persona")
    added: ClassVar[dict[str, str]] = {**RowVerifier.added, "words": "int64"}

    most: int = 9
    other: int = 1


def test_verifier_of_a_package_shows_the_columns_that_its_class_names():
    found = describe("counted", Registry({"counted": Counted}), SURROUNDINGS)
    assert (found.needs, found.adds) == (
        {"rows": ("completion", "persona")},
        ("verdict", "score", "detail", "words"),
    )
    lines = list(_shown(found))
    assert lines[lines.index("  most: whole number (default 9)") + 1] == "      the most words."
    assert not lines[-1].isspace() and "" not in lines[lines.index("Settings:") :]
