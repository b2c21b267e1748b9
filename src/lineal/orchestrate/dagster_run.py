"""`lineal run`: steps through Dagster, run where `compute.executor` says; one line on the terminal for each."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from dagster._core.code_pointer import CustomPointer, ModuleCodePointer
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run_iterator
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

from lineal.errors import RunFailure
from lineal.orchestrate.dagster_assets import ACCEPTS, step_assets
from lineal.orchestrate.dagster_executors import executor_of, require_launcher
from lineal.orchestrate.dagster_keys import asset_keys, job_name, op_name
from lineal.orchestrate.dagster_killed import close_killed_runs, owner_tags
from lineal.orchestrate.dagster_metadata import OUTCOME
from lineal.orchestrate.dagster_storage import cheap_writes, share_databases
from lineal.orchestrate.instance import DAGSTER_HOME, use_project_instance
from lineal.orchestrate.ray_nodes import require_nodes
from lineal.orchestrate.terminal import Terminal
from lineal.plan import Plan, Step, make_plan
from lineal.recipe.project import open_project

if TYPE_CHECKING:
    from dagster_shared.error import SerializableErrorInfo

__all__ = ["materialize", "use_project_instance"]

SEVERAL_PIPELINES = "lineal_run"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Dagster's own messages go to the instance, where the UI shows them, and not to the terminal."""
_INTERRUPTS = (dg.DagsterExecutionInterruptedError.__name__, KeyboardInterrupt.__name__)
_worker = ExitStack()
"""Resources that a worker process keeps open as long as it lives."""


def materialize(plan: Plan, steps: Iterable[Step], accept: bool = False) -> dict[str, str]:
    """Materializes steps in the instance that `DAGSTER_HOME` names, each after what it needs.

    Args:
        plan: the plan, as it is on disk.
        steps: the steps to run, with what is stale above them.
        accept: whether other bytes may replace the record of the same work.

    Returns:
        by step key, the outcome.

    Raises:
        StepFailure: steps failed; each error was reported when it came, and the text has them all. What doesn't depend on
            them has been made.
        MachineError: the executor's package is missing, Dagster is not set up for it, or its cluster lacks what a step asks for.
        KeyboardInterrupt: a step was interrupted.
    """
    chosen = list(steps)
    with cheap_writes(), _open_instance() as instance:
        require_launcher(plan.project.params.compute, instance)
        require_nodes(plan, chosen, instance)
        close_killed_runs(instance)
        outcomes, failure = _follow(plan, chosen, _events(plan, chosen, instance, accept))
    if failure is not None:
        raise failure
    return outcomes


def _events(
    plan: Plan, chosen: list[Step], instance: dg.DagsterInstance, accept: bool
) -> Iterator[dg.DagsterEvent]:
    """Executes a run of the chosen steps and yields its events as they come, whichever process they come from."""
    pointer = CustomPointer(
        ModuleCodePointer(__name__, run_definitions.__name__),
        [str(plan.project.root), [step.key for step in chosen]],
        [],
    )
    repository = ReconstructableRepository(
        pointer, entry_point=[sys.executable, "-m", "dagster"]
    )  # PATH may lack `dagster`
    job = repository.get_reconstructable_job(_run_name(chosen))
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config=QUIET,
        job_code_origin=job.get_python_origin(),
        tags=owner_tags() | ({ACCEPTS: "true"} if accept else {}),
    )
    return execute_run_iterator(job, run, instance)


def run_definitions(root: str, keys: list[str]) -> dg.Definitions:
    """Defines the job of one `lineal run`; every process that works for the run defines it again.

    Args:
        root: the project's root.
        keys: the steps to run.
    """
    if multiprocessing.parent_process() is not None:
        _be_a_worker()
    plan = make_plan(open_project(Path(root)))
    chosen = [plan.step(key) for key in keys]
    executor = executor_of(plan)
    job = dg.define_asset_job(_run_name(chosen), selection=asset_keys(chosen), executor_def=executor)
    return dg.Definitions(step_assets(plan, chosen), jobs=[job], executor=executor)


def _run_name(chosen: list[Step]) -> str:
    """Returns the name of the pipeline's own job when the steps are of one pipeline."""
    pipelines = {step.pipeline for step in chosen}
    return job_name(pipelines.pop()) if len(pipelines) == 1 else SEVERAL_PIPELINES


def _be_a_worker() -> None:
    """Makes a worker of the multiprocess executor write cheaply, and end when `lineal run` is killed."""
    share_databases()
    _worker.enter_context(cheap_writes())
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _open_instance() -> dg.DagsterInstance:
    """Opens the instance that `DAGSTER_HOME` names, without its capture of output.

    The terminal shows what steps write, and the processes that capture it would answer a Ctrl-C with a traceback. Workers
    announce themselves there at level DEBUG, whatever the run's own loggers are told.
    """
    nothing = {
        "module": NoOpComputeLogManager.__module__,
        "class": NoOpComputeLogManager.__name__,
        "config": {},
    }
    quiet = {"python_log_level": "INFO"}
    reference = InstanceRef.from_dir(
        os.environ[DAGSTER_HOME], overrides={"compute_logs": nothing, "python_logs": quiet}
    )
    return dg.DagsterInstance.from_ref(reference)


def _follow(
    plan: Plan, chosen: list[Step], events: Iterator[dg.DagsterEvent]
) -> tuple[dict[str, str], BaseException | None]:
    """Reports each step's outcome.

    Returns:
        by step key, the outcome; and the steps' own errors, in the order of their failure, as one error; an interrupt as
        an interrupt; None if all went well.
    """
    from lineal.orchestrate.dvc_repo import StageOutcome

    terminal, by_op = Terminal(plan, len(chosen)), {op_name(step): step for step in chosen}
    outcomes: dict[str | None, str] = {}
    failures: list[str] = []
    success = interrupted = False
    for event in events:
        if event.is_step_materialization:
            outcomes[event.step_key] = str(event.materialization.metadata[OUTCOME].value)
        elif event.is_step_success:
            terminal.report(by_op[str(event.step_key)], StageOutcome(outcomes[event.step_key]))
        elif event.is_step_failure:
            failures.append(_message(by_op[str(event.step_key)], event))
            if not _is_interrupt(event):
                terminal.report_failure(failures[-1])
        elif event.is_run_failure and not failures:
            why = _cause(event.job_failure_data.error) or event.message
            failures.append(f"compute.executor: {plan.project.params.compute.executor}: {why}")
        interrupted = interrupted or _is_interrupt(event)
        success = success or event.is_job_success
    made = {by_op[op].key: outcome for op, outcome in outcomes.items() if op in by_op}
    if interrupted:
        return made, KeyboardInterrupt()
    return made, None if success else RunFailure("\n".join(failures), terminal.failed)


def _cause(error: SerializableErrorInfo | None) -> str | None:
    """Returns the error that Dagster's own ones were raised for."""
    while error is not None and error.cause is not None and str(error.cls_name).startswith("Dagster"):
        error = error.cause
    return None if error is None else error.message.strip()


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    data = event.event_specific_data
    error = getattr(data, "error", None) if event.is_step_failure or event.is_run_failure else None
    return event.event_type is dg.DagsterEventType.RUN_CANCELED or (
        error is not None and error.cls_name in _INTERRUPTS
    )


def _message(step: Step, event: dg.DagsterEvent) -> str:
    """Returns a step's own error; one that lineal does not word gets its type and the step's key."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return data.user_failure_data.description
    return f"{step.key}: {_cause(data.error) or event.message}"
