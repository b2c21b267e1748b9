"""`lineal accept`: artifacts of an older component version count as up to date."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("tag", metavar="COMPONENT@VERSION")
@click.option(
    "--reason", required=True, help="Why this work is accepted, in one line; `lineal status` shows it."
)
@click.pass_obj
def accept(directory: Path, tag: str, reason: str) -> None:
    """Accept artifacts that an older version of a component made as up to date, instead of rerunning them.

    Manifests still say which version made them. The new version makes everything from now on.
    """
    from lineal.audit.catalog import read_catalog
    from lineal.cli.revision import opened_project
    from lineal.components.registry import Registry
    from lineal.errors import UsageError
    from lineal.recipe.accepted import ACCEPTED
    from lineal.recipe.accepted import accept as add

    name, _, written = tag.partition("@")
    try:
        now = Registry().find(name).version
    except KeyError as error:
        raise UsageError(str(error.args[0])) from error
    if not written.isdecimal() or not 1 <= int(written) < now:
        raise UsageError(
            f"{tag}: expected an older version than {name}@{now}, which is what runs, such as {name}@{max(1, now - 1)}"
        )
    project = opened_project(directory, None)
    add(project.root, name, int(written), reason)
    made = [one.manifest for one in read_catalog(project).artifacts.values()]
    count = sum((manifest.component, manifest.version) == (name, int(written)) for manifest in made)
    click.echo(
        f"{ACCEPTED}: {count} artifacts of {tag} are accepted beside {name}@{now}. Commit it, then: lineal run"
    )
