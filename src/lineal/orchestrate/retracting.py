"""Retracts rows: from the artifacts affected to the stages that must be rerun."""

from __future__ import annotations

from dataclasses import replace

from lineal.audit.catalog import read_catalog
from lineal.audit.trace.retraction import Effect, find_rows, resolve
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.plan import Plan, make_plan
from lineal.recipe.document import parse_document
from lineal.recipe.project import Project, open_project
from lineal.recipe.retraction_files import parse_retractions, replace_text, with_entry, write_resolutions
from lineal.recipe.retractions import RETRACTIONS, Retraction


def retract(project: Project, name: str, entry: Retraction, dry: bool) -> Effect:
    """Adds a retraction to the project and makes the selections that lose rows by it stale.

    Args:
        project: the project.
        name: the retraction's name.
        entry: the retraction.
        dry: only say what it would touch.

    Raises:
        UsageError: it matches no row, its condition is none, or its name is taken; nothing is written then.
    """
    found = find_rows(read_catalog(project), entry, project)
    text = with_entry(project.root, name, entry)
    retractions = parse_retractions(parse_document(text, RETRACTIONS), project.retractions.resolved)
    resolved, effects = resolve(replace(project, retractions=retractions), {name: found})
    if not dry:
        replace_text(project.root / RETRACTIONS, text)
        write_resolutions(project.root, resolved)
        write_dvc_yaml(make_plan(open_project(project.root)))
    return next(effect for effect in effects if effect.name == name)


def settled_plan(project: Project, write: bool = True) -> Plan:
    """Returns the plan of the active pipelines, after comparing every retraction with the artifacts here.

    Args:
        project: the project.
        write: whether to write `retracted.json`.

    Raises:
        DeclarationError: a retraction that was written into the file by hand matches no row, or its condition is none.
    """
    resolved = resolve(project)[0]
    if write:
        write_resolutions(project.root, resolved)
        return make_plan(open_project(project.root))
    return make_plan(replace(project, retractions=replace(project.retractions, resolved=resolved)))
