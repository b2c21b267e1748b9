"""`lineal show`, `lineal trace`, `lineal taint` and `lineal report`: reading what was made."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.cli.revision import (
    opened_project,
    plan_to_look_at,
    rev_option,
    revision_of,
    warn_of_damage,
    warn_of_missing,
)

if TYPE_CHECKING:
    from lineal.audit.catalog import Catalog
    from lineal.audit.query import Row
    from lineal.audit.trace.lineage import Graph
    from lineal.audit.trace.target import Target
    from lineal.data.store import Artifact
    from lineal.recipe.compute import Compute
    from lineal.recipe.project import Project

FORMATS = ("tree", "json", "dot", "mermaid")
UNCUT = 1_000_000
"""Width for output that goes to a file or a program: in effect, lines are never cut there."""


@click.command()
@click.argument("key")
@click.option(
    "--where",
    metavar="SQL",
    help="Only rows that fulfil this condition, as after WHERE: \"verdict = 'error'\".",
)
@click.option(
    "--limit", type=click.IntRange(min=0), default=10, show_default=True, help="How many rows to show."
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, with every column and every digest in full."
)
@click.option(
    "--rendered",
    "as_given",
    is_flag=True,
    help="Of samples: exactly what the model was given, and how many tokens.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Of a round: recompute digests and counts from the files; fail when one differs.",
)
@click.option(
    "--replay",
    is_flag=True,
    help="Of episodes: play them again; fail when an environment answers differently.",
)
@rev_option
@click.pass_obj
def show(
    directory: Path,
    key: str,
    where: str | None,
    limit: int,
    as_json: bool,
    as_given: bool,
    verify: bool,
    replay: bool,
    rev: str | None,
) -> None:
    """Show an artifact: its manifest in short, and its rows, values or files. Or a round: everything that made it.

    KEY is an artifact's (star/round_02/filtered) or a round's (star/round_02): base, init, data mix, seeds, verifiers,
    versions, counts and digests.
    """
    from lineal.audit.catalog import read_catalog
    from lineal.audit.keys import find_artifact
    from lineal.audit.show import artifact as showing
    from lineal.audit.show.rounds import is_round

    project = opened_project(directory, rev, (key.strip("/"),))
    catalog = read_catalog(project)
    if replay:
        if verify or as_given or where is not None:
            raise click.UsageError(
                "--replay plays every episode of KEY: leave out --where, --rendered and --verify"
            )
        _print_replay(project, catalog, key, as_json)
        return
    if verify or is_round(catalog, key):
        if where is not None or as_given:
            raise click.UsageError(
                f"--where and --rendered go with an artifact, such as {key}/NODE, and not with a round"
            )
        warn_of_missing(project, catalog, rev)
        print_round(project, catalog, key, verify, revision_of(directory, rev), as_json)
        return
    artifact = find_artifact(project, catalog, key)
    warn_of_damage(project, [artifact])
    shown = showing.look_at(catalog, artifact, where, limit, project.params.compute)
    if as_given:
        click.echo(_rendered(catalog, artifact, shown.rows, as_json))
        return
    click.echo(
        json.dumps(showing.as_json(shown), indent=2) if as_json else showing.as_text(shown, output_width())
    )


def _print_replay(project: Project, catalog: Catalog, key: str, as_json: bool) -> None:
    from lineal.audit.show import replay

    found = replay.replay(project, catalog, key)
    click.echo(json.dumps(replay.as_json(found), indent=2) if as_json else replay.as_text(found))
    replay.require_same(found)


def print_round(
    project: Project,
    catalog: Catalog,
    key: str,
    verify: bool,
    revision: tuple[str, bool] | None,
    as_json: bool,
) -> None:
    """Prints everything that made a round.

    Raises:
        CheckFailure: it was verified, and an artifact is not what it says.
    """
    from lineal.audit.show import rounds_text
    from lineal.audit.show.rounds import prove_round, require_verified

    proof = prove_round(project, catalog, key, verify, revision)
    click.echo(
        json.dumps(rounds_text.as_json(proof), indent=2)
        if as_json
        else rounds_text.as_text(proof, output_width())
    )
    require_verified(proof)


def _rendered(catalog: Catalog, artifact: Artifact, rows: list[Row], as_json: bool) -> str:
    from lineal.audit.show.rendered import rendered

    found = rendered(catalog, artifact, rows)
    if as_json:
        return json.dumps([each.as_json() for each in found], indent=2)
    return "\n\n".join(each.as_text() for each in found) or f"{artifact.key} has no rows to show"


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--forward", is_flag=True, help="Show what was made from it, instead of what it was made from.")
@click.option(
    "--samples",
    is_flag=True,
    help="Of a prompt: all samples of all rounds, and why each was kept or dropped.",
)
@click.option("--pipeline", help="The pipeline to look in first, where several hold the same row.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="tree", show_default=True, help="How to print it."
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@rev_option
@click.pass_obj
def trace(
    directory: Path,
    id_: str,
    forward: bool,
    samples: bool,
    pipeline: str | None,
    form: str,
    as_json: bool,
    rev: str | None,
) -> None:
    """Show where a row, prompt, artifact (by key) or checkpoint (by digest) came from.

    Ids and digests may be shortened to their first letters.
    """
    from lineal.audit.catalog import read_catalog
    from lineal.audit.trace.target import find_prompt, find_target

    form = "json" if as_json else form
    if samples and (forward or form not in ("tree", "json")):
        raise click.UsageError(
            "--samples goes with neither --forward nor --format dot or mermaid: it prints a table, or JSON"
        )
    project = opened_project(directory, rev, (id_.strip("/"),) if "/" in id_ else ())
    compute, catalog = project.params.compute, read_catalog(project)
    warn_of_missing(project, catalog, rev)
    target = (find_prompt if samples else find_target)(catalog, id_, compute)
    asked = _samples if samples else _forward if forward else _back
    click.echo(asked(form, catalog, target, compute, pipeline))


def _back(form: str, catalog: Catalog, target: Target, compute: Compute, pipeline: str | None) -> str:
    from lineal.audit.trace.backward import trace_back

    graph = trace_back(catalog, target, compute, pipeline)
    if form == "json":
        return json.dumps(graph.as_json(), indent=2)
    return graph.as_tree(output_width()) if form == "tree" else _drawn(form, graph)


def _forward(form: str, catalog: Catalog, target: Target, compute: Compute, pipeline: str | None) -> str:
    from lineal.audit.trace.diagrams import forward_graph
    from lineal.audit.trace.forward import forward_json, forward_text, trace_forward

    touched = trace_forward(catalog, target, compute, pipeline)
    if form == "json":
        return json.dumps(forward_json(touched), indent=2)
    return forward_text(touched, output_width()) if form == "tree" else _drawn(form, forward_graph(touched))


def _samples(form: str, catalog: Catalog, target: Target, compute: Compute, pipeline: str | None) -> str:
    from lineal.audit.show.prompt_samples import prompt_samples, samples_json, samples_text

    found = prompt_samples(catalog, target, compute, pipeline)
    return (
        json.dumps(samples_json(found), indent=2) if form == "json" else samples_text(found, output_width())
    )


def _drawn(form: str, graph: Graph) -> str:
    from lineal.audit.trace.diagrams import as_dot, as_mermaid

    return as_dot(graph) if form == "dot" else as_mermaid(graph)


@click.command()
@click.option(
    "--where", required=True, metavar="SQL", help="Which rows, as after WHERE: \"prompt_id = '...'\"."
)
@click.option(
    "--in",
    "key",
    metavar="KEY",
    help="Only rows of this artifact (default: of every one that has the columns).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@rev_option
@click.pass_obj
def taint(directory: Path, where: str, key: str | None, as_json: bool, rev: str | None) -> None:
    """Find every row and every checkpoint that descends from the rows that fulfil a condition."""
    from lineal.audit.catalog import read_catalog
    from lineal.audit.keys import find_artifact
    from lineal.audit.trace import taint as tainting

    project = opened_project(directory, rev)
    catalog = read_catalog(project)
    warn_of_missing(project, catalog, rev)
    within = find_artifact(project, catalog, key) if key is not None else None
    found = tainting.taint(catalog, where, project.params.compute, within)
    click.echo(
        json.dumps(tainting.taint_json(found), indent=2)
        if as_json
        else tainting.taint_text(found, output_width())
    )


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file (default: reports/index.html, with --rev reports/COMMIT.html).",
)
@rev_option
@click.pass_obj
def report(directory: Path, output: Path | None, rev: str | None) -> None:
    """Write one self-contained HTML page about the active pipelines."""
    from lineal.audit.catalog import read_catalog
    from lineal.audit.report import write_report
    from lineal.errors import UsageError
    from lineal.recipe.project import find_root

    project = opened_project(directory, rev)
    looked_at = revision_of(directory, rev)
    path = output or find_root(directory) / "reports" / (
        f"{looked_at[0][:12]}.html" if rev and looked_at else "index.html"
    )
    warn_of_missing(project, read_catalog(project), rev)
    with plan_to_look_at(project) as plan:
        if not plan.steps:
            raise UsageError(
                "no pipeline is active, so there is nothing to report. Name one in params.yaml: active: [NAME]"
            )
        write_report(plan, path, looked_at)
        click.echo(str(path))


def output_width() -> int:
    """Returns the width of an output line: the terminal's; nothing is cut for a file or a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else UNCUT
