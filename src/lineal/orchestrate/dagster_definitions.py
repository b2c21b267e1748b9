"""The Dagster definitions: the assets of the active pipelines, one job for each, and the sensor that watches `dvc.lock`."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from lineal.orchestrate.dagster_arrivals import arrivals
from lineal.orchestrate.dagster_assets import step_assets
from lineal.orchestrate.dagster_executors import executor_of
from lineal.orchestrate.dagster_keys import asset_keys, job_name
from lineal.orchestrate.dagster_killed import close_killed_runs
from lineal.orchestrate.dagster_storage import share_databases
from lineal.orchestrate.dagster_sync import outside_events
from lineal.plan import Plan, make_plan
from lineal.recipe.project import open_project

SENSOR_SECONDS = 30


def definitions(root: Path) -> dg.Definitions:
    """Builds the project's Dagster definitions.

    Raises:
        DeclarationError: a pipeline cannot be planned; names file, line and key.
        MachineError: the executor's package is not installed.
    """
    share_databases()
    plan = make_plan(open_project(root))
    return dg.Definitions(
        assets=step_assets(plan, plan.steps.values()),
        jobs=[_job(plan, name) for name in plan.pipelines],
        sensors=[_sensor(root), *_arrivals(root, plan)],
        executor=executor_of(plan),
    )


def _job(plan: Plan, pipeline: str) -> dg.UnresolvedAssetJobDefinition:
    steps = plan.with_upstream(step for step in plan.steps.values() if step.pipeline == pipeline)
    header = plan.pipelines[pipeline].header
    return dg.define_asset_job(
        job_name(pipeline), selection=asset_keys(steps), description=f"{header.method}: {header.summary}"
    )


def _sensor(root: Path) -> dg.SensorDefinition:
    @dg.sensor(
        name="made_by_dvc",
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports to Dagster what `dvc repro`, `dvc checkout` or `dvc pull` brought, and closes killed runs.",
    )
    def made_by_dvc(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        close_killed_runs(context.instance)
        events = list(outside_events(make_plan(open_project(root)), context.instance))
        return (
            dg.SensorResult(asset_events=events)
            if events
            else dg.SkipReason("Dagster knows everything that dvc.lock records")
        )

    return made_by_dvc


def _arrivals(root: Path, plan: Plan) -> list[dg.SensorDefinition]:
    """Makes a sensor that starts waiting steps when their file arrives, for projects with any; a person turns it on."""
    if not any(step.component.awaited(step.key) for step in plan.steps.values()):
        return []

    @dg.sensor(
        name="awaited_files",
        minimum_interval_seconds=SENSOR_SECONDS,
        jobs=[_job(plan, name) for name in plan.pipelines],
        description="Makes the assets that wait for a file, such as people's labels, when it is there.",
    )
    def awaited_files(context: dg.SensorEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        return list(arrivals(make_plan(open_project(root)))) or dg.SkipReason(
            "no file that a step waits for has arrived"
        )

    return [awaited_files]
