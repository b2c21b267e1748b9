"""`lineal label`: writes rows for people to label, and reads their labels back."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("key")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new .csv or .jsonl file to fill in.",
)
@click.option(
    "--take",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The filled-in file: check it and read its labels.",
)
@click.pass_obj
def label(directory: Path, key: str, output: Path | None, take: Path | None) -> None:
    """Write the rows that the `labels` step KEY labels to a file, or read the filled-in file back."""
    from lineal.plan import make_plan
    from lineal.recipe.project import find_root, open_project
    from lineal.step.labelling import labels_step, take_labels, write_to_label

    if (output is None) == (take is None):
        raise click.UsageError(
            "give one of -o FILE (write the rows to label) and --take FILE (take the labels)"
        )
    plan = make_plan(open_project(find_root(directory)), [key.partition("/")[0]])
    step, labels = labels_step(plan, key.strip("/"))
    if output is not None:
        count = write_to_label(plan, step, labels, output)
        click.echo(
            f"{output}: {count:,} rows. Fill in {', '.join(labels.mapping.values())}, then: lineal label {key} --take FILE"
        )
    if take is not None:
        count = take_labels(plan, step, labels, take)
        click.echo(f"{labels.path}: {count:,} labels. Commit the file, then: lineal run")
