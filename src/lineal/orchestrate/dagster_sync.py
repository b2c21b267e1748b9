"""Reports to Dagster what DVC made, checked out or pulled outside it: `dvc.lock` is the record of the artifacts here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
)

from lineal.data.digests import Digests
from lineal.data.manifest import verify_files
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError
from lineal.orchestrate.dagster_checks import check_results, check_specs, evaluation
from lineal.orchestrate.dagster_events import materialization, version_tags
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_killed import close_killed_runs
from lineal.orchestrate.dagster_metadata import artifact_metadata
from lineal.orchestrate.dagster_retractions import retraction_events
from lineal.orchestrate.dagster_storage import cheap_writes
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.plan import Plan, Step
from lineal.step.retraction import CHECK as RETRACTED
from lineal.step.runlog import read_log

MADE_OUTSIDE = "made outside Dagster"

OutsideEvent = dg.AssetMaterialization | dg.AssetCheckEvaluation


def sync(plan: Plan) -> list[str]:
    """Reports to Dagster every artifact whose record in `dvc.lock` differs from Dagster's latest materialization.

    Runs that were killed are closed on the way.

    Returns:
        the keys of the reported artifacts.
    """
    keys = {asset_key(key): key for key in plan.makers}
    reported = []
    with cheap_writes(), dg.DagsterInstance.get() as instance:
        close_killed_runs(instance)
        for event in outside_events(plan, instance):
            instance.report_runless_asset_event(event)
            if isinstance(event, dg.AssetMaterialization):
                reported.append(keys[event.asset_key])
    return reported


def outside_events(plan: Plan, instance: dg.DagsterInstance) -> Iterator[OutsideEvent]:
    """Yields the events that Dagster has missed; one query for all assets, and one for all checks.

    A rerun with the same bytes from other inputs is reported too, or Dagster would call the artifact stale.
    """
    recorded = recorded_digests(plan)
    latest = _latest_materializations(plan, instance)
    unchecked = _unchecked(plan, instance, latest)
    for step in plan.steps.values():
        # a kill may have come between the reports of a step's outputs: those that Dagster has are not reported again
        missed = [
            key
            for key in step.artifact_keys().values()
            if key in recorded and not _is_known(step, recorded, key, latest)
        ]
        if missed or step.key in unchecked:
            yield from _step_events(plan, step, recorded, missed)
    yield from retraction_events(plan, instance)


def known_tags(plan: Plan, instance: dg.DagsterInstance) -> dict[str, dict[str, str]]:
    """Returns by artifact key the tags of the asset's latest materialization; its data version is among them."""
    return {key: _tags_of(entry) for key, entry in _latest_materializations(plan, instance).items()}


def _latest_materializations(plan: Plan, instance: dg.DagsterInstance) -> dict[str, dg.EventLogEntry]:
    keys = {asset_key(key): key for key in plan.makers}
    entries = (
        (record.asset_entry, record.asset_entry.last_materialization)
        for record in instance.get_asset_records(list(keys))
    )
    return {keys[asset.asset_key]: entry for asset, entry in entries if entry is not None}


def _is_known(
    step: Step, recorded: Mapping[str, str], key: str, latest: Mapping[str, dg.EventLogEntry]
) -> bool:
    return version_tags(step, recorded, key).items() <= _tags_of(latest.get(key)).items()


def _tags_of(entry: dg.EventLogEntry | None) -> dict[str, str]:
    materialization = entry.asset_materialization if entry is not None else None
    return dict(materialization.tags or {}) if materialization is not None else {}


def _unchecked(plan: Plan, instance: dg.DagsterInstance, latest: Mapping[str, dg.EventLogEntry]) -> set[str]:
    """Returns steps of which Dagster knows the artifact and not all checks on it: a kill came between the two reports.

    The check on retracted rows is left out: its result can change after its step, and `retraction_events` follows it.
    """
    made = (step for step in plan.steps.values() if step.key in latest)
    specs = {
        spec.key: step.key for step in made for spec in check_specs(plan, step) if spec.name != RETRACTED
    }
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(specs))
    return {
        key for spec, key in specs.items() if not _evaluated_since(known.get(spec), latest[key].timestamp)
    }


def _evaluated_since(record: AssetCheckExecutionRecord | None, made: float) -> bool:
    ended = record is not None and record.status in COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    return ended and record is not None and record.event is not None and record.event.timestamp >= made


def _step_events(
    plan: Plan, step: Step, recorded: Mapping[str, str], missed: Collection[str]
) -> list[OutsideEvent]:
    """Returns the events of the artifacts of a step that Dagster has missed, and of the step's checks.

    There are none while its artifacts are not all here: `dvc pull` brings them, a run makes them.
    """
    log, digests = read_log(plan.project, step.key), Digests(plan.project.runs)
    events: list[OutsideEvent] = []
    try:
        for key in step.artifact_keys().values():
            artifact = open_artifact(key, plan.project.directory(key))
            verify_files(artifact.directory, artifact.manifest, key, digests)
            if key in missed:
                events.append(
                    materialization(step, key, recorded, artifact_metadata(step, artifact, log, MADE_OUTSIDE))
                )
        return [*events, *(evaluation(step, result) for result in check_results(plan, step))]
    except ArtifactError:
        return []
