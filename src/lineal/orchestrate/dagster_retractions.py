"""Tells Dagster which checkpoints are tainted by retracted rows, without making anything."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from lineal.orchestrate.dagster_checks import evaluation, retraction_result
from lineal.orchestrate.dagster_keys import asset_key
from lineal.plan import Plan, Step
from lineal.step.checks import checks_of
from lineal.step.retraction import CHECK
from lineal.step.tainted import tainted_checkpoints


def report_tainted(plan: Plan) -> int:
    """Reports changed results of the check on retracted rows to the current instance; returns how many."""
    with dg.DagsterInstance.get() as instance:
        events = list(retraction_events(plan, instance))
        for event in events:
            instance.report_runless_asset_event(event)
    return len(events)


def retraction_events(plan: Plan, instance: dg.DagsterInstance) -> Iterator[dg.AssetCheckEvaluation]:
    """Makes an evaluation for each checkpoint whose latest one in Dagster differs; a first one only if it fails."""
    checked = {
        _check_key(step): step
        for step in plan.steps.values()
        if CHECK in [check.name for check in checks_of(plan, step)]
    }
    if not checked:
        return
    marks = tainted_checkpoints(plan)
    known = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checked))
    for key, step in checked.items():
        passed, record = step.key not in marks, known.get(key)
        before = record is None or record.status is AssetCheckExecutionRecordStatus.SUCCEEDED
        if passed != before:
            yield evaluation(step, retraction_result(step, marks.get(step.key, {})))


def _check_key(step: Step) -> dg.AssetCheckKey:
    return dg.AssetCheckKey(asset_key(step.key), CHECK)
