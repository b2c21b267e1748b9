"""`lineal contamination` and `lineal diff`: checks of what was made."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.cli.look import output_width, print_round
from lineal.cli.revision import opened_project, rev_option, revision_of, warn_of_missing
from lineal.errors import LinealError, UsageError

if TYPE_CHECKING:
    from lineal.audit.diff import NamedSide


@click.command()
@click.argument("selection", nargs=-1, metavar="[KEY|PIPELINE]...")
@click.option(
    "--n",
    type=click.IntRange(min=1),
    help="How many words in order are an overlap (default: params.yaml, else 13).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@rev_option
@click.pass_obj
def contamination(
    directory: Path, selection: tuple[str, ...], n: int | None, as_json: bool, rev: str | None
) -> None:
    """Search for evaluation prompts in generated rows and training rows; fail when training rows contain any."""
    from lineal.audit import contamination as looking
    from lineal.audit.catalog import read_catalog
    from lineal.plan import make_plan

    project = opened_project(directory, rev, tuple(word.strip("/") for word in selection if "/" in word))
    named = {word.partition("/")[0] for word in selection} & set(project.pipeline_names())
    plan = make_plan(project, [*project.active, *sorted(named - set(project.active))])
    steps = plan.select(selection) if selection else list(plan.steps.values())
    warn_of_missing(project, read_catalog(project), rev)
    report = looking.look_for_contamination(plan, steps, n)
    click.echo(
        json.dumps(looking.as_json(report), indent=2) if as_json else looking.as_text(report, output_width())
    )
    looking.require_clean_training(report)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the ids of all prompts that changed.")
@rev_option
@click.pass_obj
def diff(directory: Path, before: str, after: str, as_json: bool, rev: str | None) -> None:
    """Compare two rounds (star/round_01 star/round_02), artifacts or git revisions: settings, rows, decisions, prompts, metrics.

    A revision stands for everything in it (HEAD~1 HEAD); REV:KEY is a round or an artifact there (HEAD~1:star/round_02).
    """
    from lineal.audit import diff_text
    from lineal.audit.diff import compare, find_sides

    sides = [_asked(directory, word, rev) for word in (before, after)]
    found = compare(*find_sides(*sides), sides[1].project.params.compute)
    click.echo(
        json.dumps(diff_text.as_json(found), indent=2)
        if as_json
        else diff_text.as_text(found, output_width())
    )


def _asked(directory: Path, word: str, rev: str | None) -> NamedSide:
    """Resolves one word of `diff` and opens its project; a word that is no artifact's key may be a revision."""
    from lineal.audit.catalog import read_catalog
    from lineal.audit.diff import NamedSide

    named, colon, key = word.rpartition(":")
    at, key = (named or None) if colon else rev, key.strip("/")
    if not colon and rev is None and _is_revision(directory, word):
        at, key = word, ""
    project = opened_project(directory, at, (key,))
    catalog = read_catalog(project)
    warn_of_missing(project, catalog, at)
    return NamedSide(word, key, project, catalog)


def _is_revision(directory: Path, word: str) -> bool:
    """Tells whether a word names a commit, and neither a pipeline nor a pipeline's artifacts.

    Raises:
        UsageError: it is one word, as no artifact's key is, and names no commit either.
    """
    from lineal.orchestrate.revisions import commit_of
    from lineal.recipe.project import find_root, open_project

    root, pipeline = find_root(directory), word.partition("/")[0]
    if (root / "artifacts" / pipeline).exists() or (root / "pipelines" / f"{pipeline}.yaml").exists():
        return False
    try:
        return bool(commit_of(root, word))
    except LinealError as error:
        if "/" in word:
            return False
        near = get_close_matches(word, open_project(root).pipeline_names(), n=1)
        meant = f"Did you mean {near[0]!r}? " if near else ""
        raise UsageError(
            f"{word!r} is no round, artifact or pipeline. {meant}As a revision: {error}"
        ) from error


@click.command("round", hidden=True)
@click.argument("key", metavar="PIPELINE/round_02")
@click.option(
    "--verify", is_flag=True, help="Recompute digests and counts from the files; fail when one differs."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every digest in full.")
@rev_option
@click.pass_obj
def round_(directory: Path, key: str, verify: bool, as_json: bool, rev: str | None) -> None:
    """Show a round: the former name of `lineal show KEY`."""
    from lineal.audit.catalog import read_catalog

    click.echo(
        f"hint: `lineal round` goes away in the next release; use: lineal show {key}{' --verify' * verify}",
        err=True,
    )
    project = opened_project(directory, rev, (key.strip("/"),))
    catalog = read_catalog(project)
    warn_of_missing(project, catalog, rev)
    print_round(project, catalog, key, verify, revision_of(directory, rev), as_json)
