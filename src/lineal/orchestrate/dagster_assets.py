"""The plan as Dagster assets: each step is one op that brings its DVC stage up to date and reports the result.

Dagster reads the annotation of `context` as an object, so this module can't postpone its annotations.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from lineal.components.base import Output
from lineal.components.evaluators.base import may_be_trained_on
from lineal.data.store import open_artifact
from lineal.errors import LinealError, Waiting
from lineal.orchestrate.dagster_checks import check_results, check_specs, failed_check, waiting_result
from lineal.orchestrate.dagster_events import materialization
from lineal.orchestrate.dagster_executors import op_tags
from lineal.orchestrate.dagster_keys import asset_key, group_name, op_name
from lineal.orchestrate.dagster_metadata import artifact_metadata
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.orchestrate.dvc_yaml import stage_name
from lineal.orchestrate.preflight import require_ready_run, start_server, warn_of_again
from lineal.orchestrate.tail import ProgressFile
from lineal.plan import Plan, Step, artifact_key
from lineal.recipe.references import ArtifactKind
from lineal.recipe.seeds import declared_name
from lineal.step.handover import SOCKET
from lineal.step.runlog import progress_path
from lineal.step.runner import component_tag
from lineal.step.waiting import ARRIVED, require_arrived

if TYPE_CHECKING:
    from lineal.orchestrate.dvc_repo import DvcProject, Reproduction

POLL_SECONDS = 0.5
PID = "lineal/pid"
"""The tag by which `lineal run` names its process on its runs."""
LOOKED_AHEAD = "lineal/looked_ahead"
"""The tag of a run whose steps were checked before the first of them."""
ACCEPTS = "lineal/accept_changes"
"""The tag of a run in which other bytes may replace the record of the same work."""
OWNER = "team:lineal"
_SHOWN_FILES = {".sql", ".txt"}
_FILE_KINDS = {
    ArtifactKind.ROWS: "parquet",
    ArtifactKind.MEDIA: "parquet",
    ArtifactKind.MODEL: "huggingface",
    ArtifactKind.SERVED: "json",
    ArtifactKind.METRICS: "json",
    ArtifactKind.SETTINGS: "json",
}

Event = dg.MaterializeResult[None] | dg.AssetCheckResult


def step_assets(plan: Plan, steps: Iterable[Step]) -> list[dg.AssetsDefinition]:
    """Defines some or all steps of a plan as assets."""
    return [_step_asset(plan, step) for step in steps]


def _step_asset(plan: Plan, step: Step) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=op_name(step),
        specs=[_spec(plan, step, name, output) for name, output in step.outputs.items()],
        check_specs=check_specs(plan, step),
        can_subset=True,
        op_tags=op_tags(plan, step),
    )
    def make(context: dg.AssetExecutionContext) -> Iterator[Event]:
        yield from _make(context, plan, step)

    return make


def _spec(plan: Plan, step: Step, output: str, made: Output) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=asset_key(artifact_key(step.key, output)),
        deps=[asset_key(key) for key in step.all_inputs()],
        group_name=group_name(step),
        description=_description(plan, step, output),
        code_version=component_tag(step.component),
        kinds=set([*step.component.kinds, _FILE_KINDS[made.kind]][:3]),
        owners=[OWNER],
        tags={
            "lineal/pipeline": declared_name(step.pipeline),
            "lineal/round": str(step.round),
            "lineal/component": step.component.use,
            "lineal/seed": str(plan.seed_of(step)),
        },
        metadata={"lineal/step": step.key, "lineal/dvc_stage": stage_name(step.key)},
    )


def _description(plan: Plan, step: Step, output: str) -> str:
    header = plan.pipelines[step.pipeline].header
    part = f"Output `{output}` of `{step.key}`. " if output else ""
    paper = f" ({header.paper})" if header.paper else ""
    oracle = plan.oracles.get(step.key, "")
    part += f"Measures rows that were written with the truth in sight: {oracle}. " if oracle else ""
    part += "Its prompts may be in training rows. " if may_be_trained_on(step.component) else ""
    texts = "".join(map(_shown_file, step.component.files().values()))
    return f"{part}{step.component.summary()}\n\n{header.method}{paper}: {header.summary}{texts}"


def _shown_file(path: Path) -> str:
    """Returns an SQL file or a template as a block of Markdown; nothing for other files, such as data."""
    if path.suffix not in _SHOWN_FILES or not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace").replace("```", "'''")
    return f"\n\n`{path.name}`:\n\n```{path.suffix[1:]}\n{text.rstrip()}\n```"


@cache
def _dvc_project(root: Path) -> "DvcProject":
    from lineal.orchestrate.dvc_repo import DvcProject

    return DvcProject(root)


def _make(context: dg.AssetExecutionContext, plan: Plan, step: Step) -> Iterator[Event]:
    from lineal.orchestrate.dvc_repo import CheckedStepFailure

    try:
        require_arrived(step)
        _look_ahead(context, plan)
        yield from _results(context, plan, step, _reproduce(context, plan, step))
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
        _call_it_canceled(context)
        raise dg.DagsterExecutionInterruptedError(
            f"{step.key} was interrupted; what is finished is kept"
        ) from error
    except Waiting as error:
        if ARRIVED in {check.name for check in context.selected_asset_check_keys}:
            yield waiting_result(step, str(error))
        raise dg.Failure(str(error), allow_retries=False) from error
    except CheckedStepFailure as error:
        if error.check in {check.name for check in context.selected_asset_check_keys}:
            yield failed_check(step, error.check, str(error))
        raise dg.Failure(str(error), allow_retries=False) from error
    except LinealError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def _look_ahead(context: dg.AssetExecutionContext, plan: Plan) -> None:
    """Refuses a run that `lineal run` would refuse, at the first of its steps; the others find its tag on the run."""
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is None or LOOKED_AHEAD in run.tags or PID in run.tags:
        return
    chosen = {node.name for node in context.job_def.nodes}
    making, again = require_ready_run(plan, [step for step in plan.steps.values() if op_name(step) in chosen])
    if plan.project.params.compute.executor == "in_process" and (
        address := start_server(plan, making, os.getpid())
    ):
        os.environ[SOCKET] = address
    told = warn_of_again(again, "")
    if told:
        context.log.warning(told)
    context.instance.add_run_tags(run.run_id, {LOOKED_AHEAD: "true"})


def _call_it_canceled(context: dg.AssetExecutionContext) -> None:
    """Marks an interrupted run as one that a person stops; Dagster would call it failed."""
    if context.run.status is not dg.DagsterRunStatus.CANCELING:
        context.instance.report_run_canceling(context.run, "interrupted; what is finished is kept")


def _reproduce(context: dg.AssetExecutionContext, plan: Plan, step: Step) -> "Reproduction":
    """Runs the stage in a thread, so that this one can log its progress and receive an interrupt."""
    progress = ProgressFile(progress_path(plan.project, step.key))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            _dvc_project(plan.project.root).reproduce, plan, step, ACCEPTS in context.run.tags
        )
        try:
            while not future.done():
                wait([future], timeout=POLL_SECONDS)
                for line in progress.new_lines():
                    context.log.info(line)
        finally:
            _stop(step, future)
        return future.result()


def _stop(step: Step, future: "Future[Reproduction]") -> None:
    """Interrupts the step's process when this process leaves before it is done."""
    import psutil  # type: ignore[import-untyped]

    if future.done():
        return
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may have ended already: Ctrl-C reaches the whole group
            if process.environ().get("DVC_STAGE") == stage_name(step.key):
                process.send_signal(signal.SIGINT)


def _results(
    context: dg.AssetExecutionContext, plan: Plan, step: Step, made: "Reproduction"
) -> Iterator[Event]:
    """Yields the selected outputs' results. The stage made the others as well, so their events are logged beside them."""
    recorded = recorded_digests(plan, step)
    for output, key in step.artifact_keys().items():
        artifact = open_artifact(key, plan.project.directory(key))
        metadata = artifact_metadata(step, artifact, made.log if made.outcome.ran else {}, str(made.outcome))
        if asset_key(key) not in context.selected_asset_keys:
            context.log_event(materialization(step, key, recorded, metadata))
            continue
        checks = check_results(plan, step) if output == "" else []
        selected = {check.name for check in context.selected_asset_check_keys}
        yield dg.MaterializeResult(
            asset_key=asset_key(key),
            metadata=metadata,
            data_version=dg.DataVersion(made.digests[output]),
            check_results=[check for check in checks if check.check_name in selected],
        )
