"""A JSON schema of pipeline files and of `params.yaml`, for editors: completion, meanings and typos while one writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from lineal.components.reference import meanings_of, paragraphs_of
from lineal.components.registry import Registry
from lineal.recipe.nodes import NODE_KEYS, PER_ROUND, STOP, Section
from lineal.recipe.pipeline import PROFILES, Header
from lineal.recipe.policies import POLICIES
from lineal.recipe.project import Params
from lineal.recipe.repeat import PER_TURN, REPEAT
from lineal.recipe.stages import ROUNDS, STAGES

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"type": "string", "pattern": r"^[\w\[\]*.]+\.[\w.]+$"}
"""A setting may take its value from another node: `previous.tuned.temperature`."""
_ANY: dict[str, Any] = {}
_MAPPING = {"type": "object"}
_NODES = {"type": "object", "additionalProperties": {"$ref": "#/$defs/node"}}


class _WithMeanings(GenerateJsonSchema):
    """Adds the classes' descriptions to settings. One that is converted before it is checked takes anything."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        return {}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        described: dict[str, Any] = {**made, "description": "\n\n".join(paragraphs_of(schema["cls"]))}
        if "properties" in made:
            meanings = meanings_of(schema["cls"])
            described["properties"] = {
                name: {**value, "description": meanings[name]} if name in meanings else value
                for name, value in made["properties"].items()
            }
        return described


def pipeline_schema(registry: Registry) -> dict[str, Any]:
    """Returns the schema of a file in `pipelines/`, with the components that are installed here.

    What it lets pass the plan may still refuse: it doesn't look at references, at SQL, or at which settings are missing.
    """
    shapes = {name: _component(registry, name) for name in registry.names}
    texts = {name: {"type": "string", "description": text} for name, text in meanings_of(Header).items()}
    sections = {str(section): _NODES for section in Section}
    lasting = {
        ROUNDS: {"type": ["integer", "null"], "minimum": 1},
        REPEAT: _MAPPING,
        STOP: _MAPPING,
        STAGES: _ANY,
    }
    overrides = {
        "type": "object",
        "properties": {**dict.fromkeys(sections, _MAPPING), **lasting},
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "A pipeline of lineal",
        "type": "object",
        "properties": {
            **texts,
            "each": _MAPPING,
            **sections,
            **lasting,
            PROFILES: {"type": "object", "additionalProperties": overrides},
        },
        "required": ["method", "summary", str(Section.TASKS)],
        "additionalProperties": False,
        "$defs": {"node": _node(registry.names), **shapes},
    }


def params_schema() -> dict[str, Any]:
    """Returns the schema of `params.yaml`; further keys are allowed, since `others` may name them."""
    made: dict[str, Any] = Params.model_json_schema(schema_generator=_WithMeanings)
    return {"$schema": DIALECT, **made, "additionalProperties": True}


def _node(names: Iterable[str]) -> dict[str, Any]:
    """Returns the schema of a node, whose component decides its other keys, or whose policy's file does."""
    known = list(names)
    return {
        "type": "object",
        "required": ["use"],
        "properties": {"use": {"anyOf": [{"enum": known}, {"type": "string", "pattern": rf"^{POLICIES}\."}]}},
        "allOf": [
            {
                "if": {"properties": {"use": {"const": name}}, "required": ["use"]},
                "then": {"$ref": f"#/$defs/{name}"},
            }
            for name in known
        ],
    }


def _component(registry: Registry, name: str) -> dict[str, Any]:
    """Returns a component's settings and the keys of every node; inner mappings are inserted in their place."""
    made = registry.find(name).model_json_schema(schema_generator=_WithMeanings)
    inner = made.pop("$defs", {})
    made = _placed(made, inner)
    settings = {key: _or_reference(value) for key, value in made["properties"].items() if key != "use"}
    every = dict.fromkeys(NODE_KEYS, _ANY) | {PER_ROUND: _MAPPING, PER_TURN: _MAPPING}
    shape = {key: made[key] for key in ("description", "additionalProperties") if key in made}
    return {**shape, "properties": {**settings, **every}}


def _placed(schema: Any, inner: Mapping[str, Any]) -> Any:
    """Replaces the references of a schema into `inner` by their content."""
    if isinstance(schema, list):
        return [_placed(one, inner) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_placed(inner[schema["$ref"].rpartition("/")[2]], inner), **rest}
    return {
        key: _placed(value, inner)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }


def _or_reference(setting: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: setting[key] for key in ("description", "default") if key in setting}
    own = {key: value for key, value in setting.items() if key not in kept}
    return {**kept, "anyOf": [own, _REFERENCE]} if own else dict(kept)
