"""`lineal run`, `lineal step`, `lineal sync` and `lineal ui`: making artifacts."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

RUN = "LINEAL_RUN"
"""The environment variable that `lineal run` sets for its steps: they leave it to the run to report their errors."""

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lineal.plan import Plan, Step
    from lineal.recipe.project import Project
    from lineal.step.status import Act, StepStatus


@click.command(hidden=True)
@click.argument("key")
@click.option(
    "--component",
    help="NAME@VERSION (and +RETRACTIONS) that dvc.yaml expects; a difference means dvc.yaml is stale.",
)
@click.pass_obj
def step(directory: Path, key: str, component: str | None) -> None:
    """Run one step's code. This is what the DVC stages call."""
    from lineal.orchestrate.dvc_lock import require_current
    from lineal.plan import make_plan
    from lineal.recipe.project import find_root, open_project
    from lineal.step.runner import run_step

    project = open_project(find_root(directory))
    plan = make_plan(project, [key.partition("/")[0]])
    under_dvc = "DVC_STAGE" in os.environ
    if under_dvc:
        require_current(plan, plan.step(key))
        if RUN not in os.environ:
            _begin_repro(project, ["step", key, *(["--component", component] if component else [])])
    status = run_step(plan, key, component)
    if not under_dvc:  # DVC and `lineal run` say it themselves
        click.echo(f"{key}: {status}", err=True)


def _begin_repro(project: Project, arguments: list[str]) -> None:
    """Looks ahead at the first step of a `dvc repro`, and has it run in the server that it and the others then have."""
    from lineal.orchestrate.preflight import require_ready_repro
    from lineal.plan import make_plan
    from lineal.step.handover import SOCKET, run_in_server

    address = require_ready_repro(make_plan(project))
    if not address:
        return
    os.environ[SOCKET] = address
    status = run_in_server(arguments)
    if status is not None:
        raise SystemExit(status)


@click.command()
@click.argument("selection", nargs=-1)
@click.option(
    "--dry-run", is_flag=True, help="Check the SQL of the steps that would run, and list them; run none."
)
@click.option(
    "--accept-changes",
    "accept",
    is_flag=True,
    help="Record the new bytes of reruns that differ from the record.",
)
@click.option(
    "--pull", "pulls", is_flag=True, help="First download what is recorded but not here from DVC's remote."
)
@click.option("--remake", is_flag=True, help="Rerun the steps of SELECTION that are recorded but not here.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print JSON: the steps that ran (or would run), and the outcome of each.",
)
@click.pass_obj
def run(
    directory: Path,
    selection: tuple[str, ...],
    dry_run: bool,
    accept: bool,
    pulls: bool,
    remake: bool,
    as_json: bool,
) -> None:
    """Bring SELECTION (keys, prefixes or globs; default: everything) up to date, through Dagster and DVC.

    What dvc.lock records and is not here counts as up to date, unless something that is to be made reads it.

    Exit status 3: all was made but what waits for a file that people or other programs write.
    """
    from lineal.orchestrate.decision import decide, to_do
    from lineal.orchestrate.dvc_yaml import write_dvc_yaml
    from lineal.orchestrate.retracting import settled_plan
    from lineal.recipe.project import find_root, open_project
    from lineal.step.status import Act
    from lineal.step.waiting import held_up, waiting_for

    project = open_project(find_root(directory))
    plan = settled_plan(project, write=not dry_run)
    if not dry_run and write_dvc_yaml(plan):
        click.echo(f"dvc.yaml written: {len(plan.steps)} stages", err=as_json)
    chosen = plan.select(selection) if selection else list(plan.steps.values())
    decided = decide(plan, accept)
    acts = to_do(plan, decided, chosen, remake)
    if pulls and not dry_run and _pull(plan, decided, chosen, acts[Act.MAKE]):
        decided = decide(plan, accept)
        acts = to_do(plan, decided, chosen, remake)
    _warn_of_outdated(plan, decided, chosen)
    wanted = (*acts[Act.RESTORE], *acts[Act.MAKE])
    ready, waiting = held_up(plan, [step for step in plan.steps.values() if step in wanted])
    _say_what_could_be_pulled(decided, acts[Act.MAKE])
    outcomes = _checked(plan, ready) if dry_run else _brought_up_to_date(project, plan, acts, ready, accept)
    if as_json:
        said = {
            "selected": len(chosen),
            "dry_run": dry_run,
            "steps": [_fields(item, acts, outcomes) for item in ready],
            "recorded": [item.key for item in acts[Act.RECORD]],
            "waiting": [item.key for item in waiting],
        }
        click.echo(json.dumps(said, indent=2))
    elif dry_run:
        _say_what_would_run(acts, ready, len(chosen))
    elif ready:
        _say_what_came_out(plan, ready)
    elif not waiting:
        click.echo(f"nothing to do: {len(chosen)} steps are up to date{_elsewhere(decided, chosen)}")
    if not dry_run:
        _write_records(project)
    if waiting and not dry_run:
        _tell_dagster(project, plan)
    if waiting:
        raise waiting_for(waiting)


def _fields(step: Step, acts: Mapping[Act, list[Step]], outcomes: Mapping[str, str]) -> dict[str, str | None]:
    """Returns a step as `--json` tells it."""
    act = str(_act(acts, step))
    return {"key": step.key, "component": step.component.use, "act": act, "outcome": outcomes.get(step.key)}


def _checked(plan: Plan, steps: list[Step]) -> dict[str, str]:
    """Checks what does not depend on the machine: the steps' SQL. Returns no outcomes."""
    from lineal.step.preflight import require_sql

    require_sql(plan, steps)
    return {}


def _brought_up_to_date(
    project: Project, plan: Plan, acts: Mapping[Act, list[Step]], ready: list[Step], accept: bool
) -> dict[str, str]:
    """Records and makes what is to be recorded and made; returns the outcomes by step key."""
    from lineal.step.status import Act

    _record(plan, acts[Act.RECORD], accept)
    return _materialize(project, plan, ready, accept) if ready else {}


def _record(plan: Plan, steps: list[Step], accept: bool) -> None:
    """Records finished work that `dvc.lock` or DVC's cache lost, or whose entry is written differently now; reruns none of it."""
    if not steps:
        return
    from lineal.orchestrate.dvc_repo import DvcProject

    project = DvcProject(plan.project.root)
    for step in steps:
        project.reproduce(plan, step, accept)
    count = f"{len(steps)} finished step{'s' if len(steps) > 1 else ''}"
    click.echo(
        f"recorded again, not rerun: {count} that dvc.lock or DVC's cache did not have as they are", err=True
    )


def _pull(plan: Plan, decided: Mapping[str, StepStatus], chosen: list[Step], making: list[Step]) -> bool:
    """Pulls recorded artifacts that are not here into DVC's cache, and data that steps read; returns whether there were any."""
    from lineal.orchestrate.pulling import pull, pull_data, wanted_data, wanted_from_remote

    root = plan.project.root.absolute()
    data = wanted_data(plan, (*chosen, *making))
    lost = pull_data(root, data) if data else []
    _say_what_came(
        "data files", len(data), [f"{file.relative_to(root).as_posix()}. {data[file]}" for file in lost]
    )
    wanted = wanted_from_remote(plan, decided, chosen, making)
    lacking = pull(root, wanted) if wanted else []
    _say_what_came(
        "artifacts", len(wanted), [f"{key}. Make it again: lineal run --remake {key}" for key in lacking]
    )
    return bool(wanted or data)


def _say_what_came(what: str, wanted: int, lacking: list[str]) -> None:
    """Says how many missing artifacts a remote gave, and the first that it lacks, with the fix."""
    if wanted:
        click.echo(f"pulled: {wanted - len(lacking)} of {wanted} {what} that were not here", err=True)
    if lacking:
        more = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
        click.echo(f"warning: not on DVC's remote{more}: {lacking[0]}", err=True)


def _say_what_could_be_pulled(decided: Mapping[str, StepStatus], making: list[Step]) -> None:
    """Warns before recorded artifacts are made again that they could be pulled instead."""
    from lineal.step.status import State

    again = [step.key for step in making if decided[step.key].state is State.RECORDED]
    if again:
        rest = f" and {len(again) - 1} more" if len(again) > 1 else ""
        click.echo(
            f"recorded, not here, and needed: {again[0]}{rest}. lineal run --pull downloads what the remote has",
            err=True,
        )


def _warn_of_outdated(plan: Plan, decided: Mapping[str, StepStatus], chosen: list[Step]) -> None:
    """Warns that an outdated stage of the user's own is not run here: its code is not known."""
    for step in plan.with_upstream(chosen):
        if decided[step.key].outdated:
            click.echo(f"warning: {step.key}: {decided[step.key].outdated}", err=True)


def _elsewhere(decided: Mapping[str, StepStatus], chosen: list[Step]) -> str:
    from lineal.step.status import State

    count = sum(decided[step.key].state is State.RECORDED for step in chosen)
    return (
        f", {count} of them recorded and not here: lineal run --pull brings them, --remake makes them again"
        if count
        else ""
    )


def _write_records(project: Project) -> None:
    """Writes missing records of artifacts, also of those made outside lineal."""
    from lineal.orchestrate.dvc_lock import locked_artifacts
    from lineal.orchestrate.recording import write_records

    write_records(project, locked_artifacts(project.root))


def _act(acts: Mapping[Act, list[Step]], step: Step) -> Act:
    return next(act for act, steps in acts.items() if step in steps)


def _say_what_would_run(acts: Mapping[Act, list[Step]], ready: list[Step], chosen: int) -> None:
    from lineal.step.status import Act

    words = {Act.MAKE: "would run", Act.RESTORE: "would take from DVC's cache"}
    counts = {act: [step for step in ready if step in acts[act]] for act in words}
    for step in ready:
        click.echo(f"{words[_act(acts, step)]} {step.key} ({step.component.use})")
    more = f", {len(counts[Act.RESTORE])} would come from DVC's cache" if counts[Act.RESTORE] else ""
    again = f", {len(acts[Act.RECORD])} would be recorded again" if acts[Act.RECORD] else ""
    selected = f"{chosen} selected step{'s' if chosen != 1 else ''} and what {'they are' if chosen != 1 else 'it is'} made from"
    click.echo(f"{len(counts[Act.MAKE])} steps would run{more}{again}, to bring {selected} up to date")


def _materialize(project: Project, plan: Plan, stale: list[Step], accept: bool) -> dict[str, str]:
    """Makes the steps; two runs of one pipeline would stop each other half-way, so the second stops here.

    Returns:
        by step key, the outcome.
    """
    from lineal.data.workspace import step_lock
    from lineal.step.preflight import require_ready

    require_ready(plan, stale)
    with contextlib.ExitStack() as stack:
        for pipeline in sorted({step.pipeline for step in stale}):
            stack.enter_context(step_lock(project.runs / f".{pipeline}.lock", pipeline))
        stack.enter_context(_server(project, stale))  # its imports are done while Dagster's are
        from lineal.orchestrate.dagster_run import materialize, use_project_instance

        use_project_instance(project.root)
        os.environ[RUN] = "1"
        try:
            return materialize(plan, stale, accept)
        finally:
            del os.environ[RUN]


def _tell_dagster(project: Project, plan: Plan) -> None:
    """Shows in Dagster which assets wait for a file."""
    from lineal.orchestrate.dagster_arrivals import report_waiting
    from lineal.orchestrate.dagster_run import use_project_instance

    use_project_instance(project.root)
    report_waiting(plan)


def _say_what_came_out(plan: Plan, ran: list[Step]) -> None:
    """Prints the accuracy of every round and what got worse, and suggests what to do next."""
    from lineal.audit.summary import render_accuracy_table, summarise
    from lineal.components.base import Role
    from lineal.data.manifest import MADE_UP
    from lineal.step.checks import warnings_of

    table = render_accuracy_table(summarise(plan))
    if table:
        made_up = ", made up by engine: fake" if plan.project.params.compute.engine == MADE_UP else ""
        click.echo(f"\nevaluations per round (round 0 is before the first){made_up}\n{table}")
    for found in warnings_of(plan, ran):
        click.echo(f"warning: {found.message}", err=True)
    first = next(iter(plan.pipelines))
    learned = [
        key
        for step in plan.steps.values()
        if step.pipeline == first and step.component.role is Role.TRAINER
        for key in step.inputs.get("rows", step.inputs.get("prompts", ()))
    ]
    sampled = [key for key in learned if "sample_id" in plan.output(key).columns]
    row = _first_row(plan, (sampled or learned)[-1]) if learned else None
    click.echo("\nNext:")
    click.echo("  lineal report" + " " * 24 + "the rounds as one page")
    click.echo("  lineal ui" + " " * 28 + "the same in Dagster, to inspect and rematerialize")
    if row is not None:
        click.echo(f"  lineal trace {row:<24} where that training row came from")


def _first_row(plan: Plan, key: str) -> str | None:
    """Returns the id of an artifact's first row, as an example to trace."""
    from lineal.data.schema import row_key
    from lineal.data.store import Rows, open_artifact
    from lineal.errors import ArtifactError

    try:
        rows = Rows((open_artifact(key, plan.project.directory(key)),))
        ids = rows.read([row_key(rows.columns)]).column(0)
    except ArtifactError:
        return None
    return str(ids[0]) if len(ids) else None


def _planned(project: Project) -> list[Step]:
    """Returns the steps of the active pipelines; none where their files are wrong, which Dagster's page then shows."""
    from lineal.errors import LinealError
    from lineal.plan import make_plan

    try:
        return list(make_plan(project).steps.values())
    except LinealError:
        return []


def _server(project: Project, steps: Iterable[Step]) -> contextlib.AbstractContextManager[None]:
    """Starts a fork server for steps, where they run on this machine and use one."""
    from lineal.recipe.compute import CLUSTERS
    from lineal.step.forkserver import fork_server

    compute = project.params.compute
    here = compute.executor not in CLUSTERS
    return (
        fork_server(steps, compute.engine)
        if here and compute.processes == "fork"
        else contextlib.nullcontext()
    )


@click.command()
@click.pass_obj
def sync(directory: Path) -> None:
    """Report to Dagster what `dvc repro` made outside it."""
    from lineal.orchestrate.dagster_run import use_project_instance
    from lineal.orchestrate.dagster_sync import sync as report
    from lineal.plan import make_plan
    from lineal.recipe.project import find_root, open_project

    project = open_project(find_root(directory))
    use_project_instance(project.root)
    _write_records(project)
    reported = report(make_plan(project))
    click.echo(f"{len(reported)} materializations reported to Dagster")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=3000, show_default=True)
@click.pass_obj
def ui(directory: Path, host: str, port: int) -> None:
    """Open the Dagster UI on this project."""
    import signal
    import subprocess

    from lineal.errors import MachineError
    from lineal.orchestrate.dagster_run import use_project_instance
    from lineal.recipe.project import find_root, open_project

    project = open_project(find_root(directory))
    use_project_instance(project.root)
    dagster = Path(sys.executable).with_name("dagster")
    click.echo(f"Dagster UI on http://{host}:{port}/asset-groups  (Ctrl-C stops it)")
    command = [str(dagster), "dev", "--host", host, "--port", str(port)]
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # `&` in a script makes it ignored, also by Dagster's processes
    with _server(project, _planned(project)), subprocess.Popen(command, cwd=project.root) as process:  # noqa: S603
        # A Ctrl-C at a terminal reaches Dagster by itself, a signal to this process alone does not.
        signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGINT))
        try:
            process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
    if process.returncode > 0:
        raise MachineError(
            f"dagster dev ended with status {process.returncode}; its last lines above say why"
        )
