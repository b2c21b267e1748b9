"""`--rev GITREV`: how a command that reads takes a revision.

@rev_option
def command(directory, rev, ...):
    project = opened_project(directory, rev)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lineal.audit.catalog import Catalog
    from lineal.data.store import Artifact
    from lineal.errors import DeclarationError
    from lineal.plan import Plan
    from lineal.recipe.project import Project

MOST_WARNINGS = 10
rev_option = click.option(
    "--rev", metavar="GITREV", help="As of this git revision, through DVC's cache; nothing is checked out."
)


def opened_project(directory: Path, rev: str | None, wanted: tuple[str, ...] = ()) -> Project:
    """Opens the project at or above a directory: its present state, or until the command ends its state at a revision.

    Artifacts and files of prompts or weights that are missing are named on stderr; `wanted` artifacts (or rounds of them) are
    fetched, or told by their records, or are an error.
    """
    from lineal.data.records import is_known
    from lineal.orchestrate.recording import with_records
    from lineal.recipe.project import find_root, open_project

    root = find_root(directory)
    if rev is None:
        return with_records(open_project(root))
    from lineal.orchestrate.revisions import fetch_hint, project_at

    view = click.get_current_context().with_resource(project_at(root, rev, wanted))
    project = with_records(view.project)
    asked = [key for key in view.missing if key in wanted]
    for key in asked:
        click.echo(
            f"warning: {key} at {rev} is told by its record: {view.missing[key]}. {fetch_hint([key])}",
            err=True,
        )
    missing = [key for key in view.missing if key not in asked]
    if missing:
        first = next((key for key in missing if not is_known(project, key)), missing[0])
        rest = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        click.echo(f"warning: not in DVC's cache at {rev}: {first}{rest}. {fetch_hint([first])}", err=True)
    if view.absent:
        lacking = "is neither in git nor in DVC's cache, nor here with the bytes that dvc.lock recorded"
        click.echo(
            f"warning: at {rev} {', '.join(view.absent)} {lacking}; what reads it cannot be planned, or looks stale",
            err=True,
        )
    return project


@contextmanager
def plan_to_look_at(project: Project) -> Iterator[Plan]:
    """The active pipelines that can be planned; the others' errors follow what the block prints.

    Raises:
        DeclarationError: some could not be planned; raised before the block where none could.
    """
    from lineal.errors import DeclarationError
    from lineal.plan import plan_what_can_be

    plan, refused = plan_what_can_be(project)
    if plan.pipelines or not refused:
        yield plan
    if refused:
        raise DeclarationError("\n".join(_left_out(project, name, error) for name, error in refused.items()))


def _left_out(project: Project, name: str, error: DeclarationError) -> str:
    made = sum(1 for _ in (project.artifacts / name).rglob("manifest.json"))
    kept = f". Its {made} artifacts can still be read: lineal show, lineal trace" if made else ""
    return f"{name} is left out: {error}{kept}"


def warn_of_damage(project: Project, artifacts: Iterable[Artifact]) -> None:
    """Names on stderr the damaged artifacts, and those that DVC's cache could not restore."""
    from lineal.audit.verify import damage_of

    damage = damage_of(project, artifacts)
    for key, problems in list(damage.wrong.items())[:MOST_WARNINGS]:
        click.echo(f"warning: {key}: {'; '.join(problems)}", err=True)
    if len(damage.wrong) > MOST_WARNINGS:
        click.echo(
            f"warning: {len(damage.wrong) - MOST_WARNINGS} more are wrong, see: lineal status", err=True
        )
    if damage.uncached:
        (key, why), *more = damage.uncached.items()
        rest = f", and {len(more)} more artifacts like it" if more else ""
        fix = "Nothing but the files here has these bytes: store them: dvc commit, or bring them: dvc fetch"
        click.echo(f"warning: {key}: {why}{rest}. {fix}", err=True)


def warn_of_missing(project: Project, catalog: Catalog, rev: str | None) -> None:
    """Names on stderr what an answer over the whole project has to leave out: damaged artifacts, and those that were not pulled.

    Once in a command for a project and revision.
    """
    warned = click.get_current_context().meta.setdefault(__name__, set())
    if (project.root, rev) in warned:
        return
    warned.add((project.root, rev))
    warn_of_damage(project, catalog.artifacts.values())
    for problem in catalog.problems:
        click.echo(f"warning: {problem}", err=True)
    rows = [one.key for one in catalog.artifacts.values() if one.manifest.columns and not one.here]
    absent = [*sorted(catalog.unknown), *rows] if rev is None else rows
    if absent:
        rest = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        hint = f"lineal run --pull {absent[0]}" + (", or all: lineal run --pull" if rest else "")
        click.echo(
            f"warning: not here, though dvc.lock records it: {absent[0]}{rest}. Bring it: {hint}", err=True
        )


def revision_of(directory: Path, rev: str | None) -> tuple[str, bool] | None:
    """Returns the commit that a command reads, and whether tracked files differ from it; None outside a repository."""
    from lineal.audit.show.rounds import git_revision
    from lineal.recipe.project import find_root

    if rev is None:
        return git_revision(find_root(directory))
    from lineal.orchestrate.revisions import commit_of

    return commit_of(find_root(directory), rev), False
