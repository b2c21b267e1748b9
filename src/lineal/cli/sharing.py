"""`lineal init` and `lineal export`: projects and artifacts for others."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lineal.cli.revision import opened_project, rev_option, warn_of_damage, warn_of_missing

if TYPE_CHECKING:
    from lineal.orchestrate.entering import Entered


@click.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--pipeline", metavar="NAME", help="The only active pipeline (default: ReST-EM and its control)."
)
def init(target: Path, pipeline: str | None) -> None:
    """Make a new project in DIR; existing files in DIR are not overwritten."""
    import shlex

    from lineal.orchestrate.entering import enter
    from lineal.orchestrate.new_project import create_project

    if target.is_dir() and any(target.iterdir()):
        entered = enter(target, pipeline)
        _say_what_changed(entered)
        stages = entered.stages
    else:
        stages = create_project(target, pipeline)
    click.echo(f"{target}: a project with {stages} steps in dvc.yaml")
    click.echo("Next:")
    click.echo(f"  cd {shlex.quote(str(target))} && git add . && git commit -m 'New project'")
    click.echo("  lineal run")


def _say_what_changed(entered: Entered) -> None:
    """Lists changed files; of a new directory only its name."""
    counts = Counter(file.partition("/")[0] if "/" in file else file for file in entered.added)
    added = [
        f"{name}/ ({count} files)" if name not in entered.added else name for name, count in counts.items()
    ]
    for said, files in (
        ("added", added),
        ("lines added to", entered.extended),
        ("yours, kept as they are", entered.kept),
    ):
        if files:
            click.echo(f"{said}: {', '.join(files)}")


@click.command()
@click.argument("key")
@click.argument("target", metavar="DEST", type=click.Path(path_type=Path))
@rev_option
@click.pass_obj
def export(directory: Path, key: str, target: Path, rev: str | None) -> None:
    """Write the artifact KEY into DEST, which must be new or empty, for use without lineal.

    Rows load with `datasets.load_dataset(DEST)` and have a dataset card and Croissant metadata. Checkpoints load with
    AutoModelForCausalLM and have a model card.
    """
    from lineal.audit.catalog import read_catalog
    from lineal.audit.export.write import export_artifact
    from lineal.audit.keys import find_artifact

    project = opened_project(directory, rev, (key.strip("/"),))
    catalog = read_catalog(project)
    artifact = find_artifact(project, catalog, key)
    export_artifact(project, catalog, artifact, target)
    warn_of_damage(project, catalog.upstream(artifact))
    click.echo(f"{target}: {artifact.key} {artifact.digest[:12]}")


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="A new file, one event a line."
)
@click.option("--url", help="An HTTP endpoint that accepts OpenLineage events.")
@click.option("--namespace", default="lineal", show_default=True, help="The namespace of jobs and datasets.")
@rev_option
@click.pass_obj
def openlineage(
    directory: Path, output: Path | None, url: str | None, namespace: str, rev: str | None
) -> None:
    """Send what was made as OpenLineage events, to a file or to an endpoint."""
    from lineal.audit.catalog import read_catalog
    from lineal.audit.export.openlineage import send_events, to_endpoint, to_file

    if (output is None) == (url is None):
        raise click.UsageError("give one of -o FILE and --url URL")
    if output is not None and output.exists():
        raise click.UsageError(f"{output} is there already; name a new file")
    project = opened_project(directory, rev)
    client = to_endpoint(url) if url is not None else to_file(output or Path())
    catalog = read_catalog(project)
    warn_of_missing(project, catalog, rev)
    count = send_events(project, catalog, client, namespace)
    click.echo(f"{count} events sent to {url or output}")
