"""Names of steps and artifacts in Dagster."""

from __future__ import annotations

import re
from collections.abc import Iterable

import dagster as dg

from lineal.plan import Step


def asset_key(artifact_key: str) -> dg.AssetKey:
    """Writes `rest_em/round_01/filtered.dropped` as `[rest_em, round_01, filtered, dropped]`: Dagster splits keys at dots."""
    return dg.AssetKey(artifact_key.replace(".", "/").split("/"))


def op_name(step: Step) -> str:
    """Returns the name of a step's op: Dagster allows letters, digits and `_`."""
    return _word(step.key.replace("/", "__"))


def group_name(step: Step) -> str:
    """Returns the group of a round: `rest_em_round_01`."""
    return _word(f"{step.pipeline}_{step.group}")


def job_name(pipeline: str) -> str:
    """Returns the name of the job that makes a pipeline."""
    return _word(pipeline)


def _word(text: str) -> str:
    """Replaces everything that Dagster doesn't allow in a name by `_`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", text)


def asset_keys(steps: Iterable[Step]) -> list[dg.AssetKey]:
    """Returns the asset keys of the steps' artifacts."""
    return [asset_key(key) for step in steps for key in step.artifact_keys().values()]
