"""Files that steps wait for, in Dagster: a check that warns until the file is here, and a sensor that starts the step then."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import dagster as dg

from lineal.orchestrate.dagster_checks import evaluation, waiting_result
from lineal.orchestrate.dagster_keys import asset_key, job_name
from lineal.plan import Plan, Step
from lineal.step.waiting import ARRIVED, held_up, why_waiting


def report_waiting(plan: Plan) -> int:
    """Reports to the current instance a failed check for each step whose file is missing; returns how many are new."""
    waiting = {
        dg.AssetCheckKey(asset_key(step.key), ARRIVED): (step, why)
        for step in plan.steps.values()
        if (why := why_waiting(step))
    }
    with dg.DagsterInstance.get() as instance:
        known = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(waiting))
        new = [key for key, (_, why) in waiting.items() if _said(known.get(key)) != why]
        for key in new:
            instance.report_runless_asset_event(evaluation(waiting[key][0], waiting_result(*waiting[key])))
    return len(new)


def _said(record: object) -> str | None:
    event = getattr(record, "event", None)
    evaluated = event.asset_check_evaluation if event is not None else None
    return None if evaluated is None else evaluated.description


def arrivals(plan: Plan) -> Iterator[dg.RunRequest]:
    """Yields a run for each new file: its step, and the following steps that don't wait for another file."""
    ready, _ = held_up(plan, plan.steps.values())
    able = {step.key for step in ready}
    for step in ready:
        awaited = step.component.awaited(step.key)
        if awaited is None or plan.project.directory(step.key).exists() or not _inputs_are_here(plan, step):
            continue
        following = [each for each in _downstream(plan, step) if each.key in able]
        keys = [asset_key(key) for each in following for key in each.artifact_keys().values()]
        digest = sha256(
            "".join(map(step.component.file_identity, step.component.files().values())).encode()
        ).hexdigest()
        yield dg.RunRequest(
            run_key=f"{step.key}@{digest[:16]}", job_name=job_name(step.pipeline), asset_selection=keys
        )


def _inputs_are_here(plan: Plan, step: Step) -> bool:
    return all(plan.project.directory(key).exists() for key in step.all_inputs())


def _downstream(plan: Plan, step: Step) -> list[Step]:
    """Returns a step and all that is made from it, in the plan's order."""
    found = {step.key}
    for each in plan.steps.values():
        if any(before.key in found for before in plan.upstream(each)):
            found.add(each.key)
    return [each for each in plan.steps.values() if each.key in found]
