"""`lineal schema`: the JSON schemas by which editors check pipelines and `params.yaml`."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("which", metavar="WHICH", type=click.Choice(["pipeline", "params"]))
def schema(which: str) -> None:
    """Print the JSON schema of pipeline files, or of params.yaml.

    WHICH is `pipeline` or `params`. Editors complete keys, show what they mean and mark typos by it. Components of installed
    packages are in it; what it lets pass `lineal plan` may still refuse.
    """
    from lineal.components.registry import Registry
    from lineal.components.schema import params_schema, pipeline_schema

    click.echo(json.dumps(params_schema() if which == "params" else pipeline_schema(Registry()), indent=1))
