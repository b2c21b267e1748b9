"""Materialization events that Dagster doesn't make itself, with the tags that its own carry."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_metadata import Metadata
from lineal.plan import Step
from lineal.step.runner import component_tag

DATA_VERSION = "dagster/data_version"


def materialization(
    step: Step, key: str, recorded: Mapping[str, str], metadata: Metadata
) -> dg.AssetMaterialization:
    """Makes the event of one of a step's artifacts.

    Args:
        step: the step that made it.
        key: the artifact's key.
        recorded: by artifact key, the MD5s that `dvc.lock` records; holds `key`.
        metadata: what Dagster shows of it.
    """
    pointers = {f"dagster/input_event_pointer/{_name(needed)}": "NULL" for needed in step.all_inputs()}
    return dg.AssetMaterialization(
        asset_key(key), metadata=metadata, tags={**pointers, **version_tags(step, recorded, key)}
    )


def version_tags(step: Step, recorded: Mapping[str, str], key: str) -> dict[str, str]:
    """Returns the tags by which Dagster tells whether an asset is stale, as its own materializations carry them."""
    inputs = {
        f"dagster/input_data_version/{_name(needed)}": recorded.get(needed, "")
        for needed in step.all_inputs()
    }
    return {
        DATA_VERSION: recorded[key],
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": component_tag(step.component),
        **inputs,
    }


def _name(artifact_key: str) -> str:
    return asset_key(artifact_key).to_user_string()
