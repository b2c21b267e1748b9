"""`lineal plan` and `lineal status`: what a run would make, and what is there."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.cli.revision import opened_project, plan_to_look_at, rev_option

if TYPE_CHECKING:
    from lineal.plan import Plan


NO_PIPELINE = "no pipeline: params.yaml has none active"


@click.command()
@click.option(
    "--pipeline", "pipelines", multiple=True, help="A pipeline to plan, active or not; may be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--write", is_flag=True, help="Write dvc.yaml from the plan of the active pipelines.")
@click.option("--check", is_flag=True, help="Fail when dvc.yaml does not match the plan.")
@rev_option
@click.pass_obj
def plan(
    directory: Path, pipelines: tuple[str, ...], as_json: bool, write: bool, check: bool, rev: str | None
) -> None:
    """Print the unrolled steps, or write or check dvc.yaml."""
    from lineal.orchestrate.dvc_yaml import check_dvc_yaml, write_dvc_yaml
    from lineal.orchestrate.retracting import settled_plan
    from lineal.plan import make_plan

    if (write or check) and (pipelines or rev):
        raise click.UsageError(
            "dvc.yaml here always holds the active pipelines: --write and --check take no --pipeline or --rev"
        )
    project = opened_project(directory, rev)
    made = settled_plan(project) if write else make_plan(project, pipelines or None)
    if write:
        write_dvc_yaml(made)
        click.echo(f"dvc.yaml written: {len(made.steps)} stages")
    elif check:
        check_dvc_yaml(made)
        click.echo(f"dvc.yaml is current: {len(made.steps)} stages")
    elif as_json:
        steps = [
            {
                "key": step.key,
                "component": step.component.use,
                "version": step.component.version,
                "group": step.group,
                "inputs": {field: list(keys) for field, keys in step.inputs.items()},
                "outputs": {
                    key: str(step.outputs[output].kind) for output, key in step.artifact_keys().items()
                },
            }
            for step in made.steps.values()
        ]
        click.echo(json.dumps({"steps": steps}, indent=2))
    else:
        width = max(map(len, made.steps), default=0)
        for step in made.steps.values():
            click.echo(
                f"{step.key:<{width}}  {step.component.use:<14} <- {', '.join(step.all_inputs()) or 'nothing'}"
            )
        click.echo(f"{len(made.steps)} steps in {', '.join(made.pipelines) or NO_PIPELINE}")


@click.command()
@click.argument("selection", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--check", is_flag=True, help="Exit with status 1 when a step would run.")
@rev_option
@click.pass_obj
def status(directory: Path, selection: tuple[str, ...], as_json: bool, check: bool, rev: str | None) -> None:
    """Show for each step whether it is done, recorded but not here, stale (and exactly why) or missing."""
    from lineal.errors import CheckFailure

    with plan_to_look_at(opened_project(directory, rev)) as made:
        unfinished = _say_status(made, selection, as_json)
        if rev is None and not selection and not as_json:
            _say_leftovers(made)
    if check and unfinished:
        raise CheckFailure(
            "status", f"{unfinished} steps are not up to date. Bring them up to date: lineal run"
        )


def _say_status(made: Plan, selection: tuple[str, ...], as_json: bool) -> int:
    """Prints every step's state; returns how many steps a run would make or restore from the cache."""
    from lineal.orchestrate.decision import decide
    from lineal.step.status import Act, State

    chosen = {step.key for step in made.select(selection)} if selection else set(made.steps)
    found = [entry for entry in decide(made).values() if entry.key in chosen]
    unfinished = sum(entry.act in (Act.MAKE, Act.RESTORE) for entry in found)
    if as_json:
        fields = [
            {"key": e.key, "state": str(e.state), "reasons": list(e.reasons), "act": str(e.act)}
            for e in found
        ]
        click.echo(json.dumps(fields, indent=2))
        return unfinished
    width = max((len(entry.key) for entry in found), default=0)
    colours = {State.DONE: "green", State.RECORDED: "cyan", State.STALE: "yellow", State.MISSING: "red"}
    told = Counter(reason for entry in found if entry.state is State.DONE for reason in entry.reasons)
    notes = {
        reason: f"[{number}]" for number, reason in enumerate((one for one in told if told[one] > 1), start=1)
    }
    for entry in found:
        reasons = "; ".join(notes.get(reason, reason) for reason in entry.reasons)
        click.echo(
            f"{entry.key:<{width}}  {click.style(f'{entry.state:<8}', fg=colours[entry.state])}  {reasons}".rstrip()
        )
    for reason, number in notes.items():
        click.echo(f"{number} {reason}")
    loose = [entry for entry in found if entry.unrecorded]
    if loose:
        click.echo(
            f"{len(loose)} done that lineal run records again and does not rerun ({loose[0].key}: {loose[0].unrecorded})"
        )
    counts = {state: sum(entry.state == state for entry in found) for state in State}
    totals = ", ".join(
        f"{count} {state}" for state, count in counts.items() if count or state is not State.RECORDED
    )
    click.echo(f"{len(found)} steps: {totals}")
    return unfinished


def _say_leftovers(made: Plan) -> None:
    from lineal.orchestrate.pruning import leftovers_of

    found = leftovers_of(made.project)
    if found:
        rest = f" and {len(found) - 1} more" if len(found) > 1 else ""
        click.echo(
            f"left over, planned by no pipeline: {found[0]}{rest}. See and clear: lineal prune --dry-run"
        )
