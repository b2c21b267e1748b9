"""The schemas for editors: every shipped file fits, and what a person may mistype does not."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from lineal.cli.main import run_command
from lineal.components.base import Component
from lineal.components.registry import Registry
from lineal.components.schema import params_schema, pipeline_schema
from lineal.recipe.document import parse_document

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "pipelines").glob("*.yaml"))
PIPELINE = jsonschema.Draft202012Validator(pipeline_schema(Registry()))
PARAMS = jsonschema.Draft202012Validator(params_schema())
GOOD = parse_document((ROOT / "pipelines" / "rest_em.yaml").read_text(), "rest_em.yaml").value


def errors(document, validator=PIPELINE):
    return [error.message for error in validator.iter_errors(document)]


def is_closed(node):
    use = node.get("use")
    return use in Registry().names and Registry().find(use).model_config.get("extra") == "forbid"


def test_schemas_are_schemas():
    jsonschema.Draft202012Validator.check_schema(PIPELINE.schema)
    jsonschema.Draft202012Validator.check_schema(PARAMS.schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_pipelines_fit(path):
    assert errors(parse_document(path.read_text(encoding="utf-8"), path.name).value) == []


def test_shipped_params_fit():
    assert (
        errors(
            parse_document((ROOT / "params.yaml").read_text(encoding="utf-8"), "params.yaml").value, PARAMS
        )
        == []
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistyped_setting_of_shipped_pipelines_is_an_error(path):
    document = parse_document(path.read_text(encoding="utf-8"), path.name).value
    head = {"method": document["method"], "summary": document["summary"], "tasks": {}, "round": {}}
    tried = 0
    for section in ("tasks", "start", "round", "finish"):
        for name, node in document.get(section, {}).items():
            alone = head | {section: {name: node}}
            assert errors(alone) == []
            for key in [key for key in node if key != "use" and is_closed(node)]:
                wrong = {f"{one}x" if one == key else one: value for one, value in node.items()}
                assert errors(head | {section: {name: wrong}}), f"{section}.{name}.{key}x"
                tried += 1
    assert tried > 10


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"method": 3}, "string"),
        ({"sumary": "?"}, "sumary"),
        ({"rounds": 0}, "minimum"),
        ({"round": {"generated": {"use": "sampel"}}}, "sampel"),
        ({"round": {"generated": {"model": "previous.checkpoint"}}}, "use"),
        ({"round": {"generated": {"use": "sample", "samples": "four"}}}, "four"),
        ({"round": {"generated": {"use": "sample", "top_p": 2.0}}}, "2.0"),
        ({"profiles": {"laptop": {"rond": {}}}}, "rond"),
    ],
)
def test_what_a_person_may_mistype_is_an_error(change, word):
    (message,) = errors({**GOOD, **change})
    assert word in message


def test_values_of_other_nodes_and_short_forms_fit():
    node = {
        "use": "sample",
        "model": "previous.checkpoint",
        "prompts": "tasks.train",
        "temperature": "previous.tuned.temperature",
    }
    assert (
        errors({**GOOD, "round": {"generated": {**node, "stop": "\n", "per_round": {"samples": [4, 8]}}}})
        == []
    )


def test_settings_say_what_they_mean():
    samples = PIPELINE.schema["$defs"]["sample"]["properties"]["samples"]
    assert samples["description"] == "completions per prompt (and temperature)." and samples["default"] == 1


def test_components_of_other_packages_are_in_it():
    class Mine(Component):
        """Does nothing.

        Attributes:
            often: how often.
        """

        often: int

    found = pipeline_schema(Registry({"mine": Mine}))
    assert "mine" in found["$defs"]["node"]["properties"]["use"]["anyOf"][0]["enum"]
    assert found["$defs"]["mine"]["properties"]["often"]["description"] == "how often."


def test_command_prints_both(capsys):
    assert run_command(["schema", "params"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["rounds"]["default"] == 3
