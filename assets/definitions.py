"""The definitions for `dagster dev` and `dg`: the plan's steps as assets, a job for each pipeline, and the DVC sensor."""

from pathlib import Path

from lineal.orchestrate.dagster_definitions import definitions

defs = definitions(Path(__file__).resolve().parents[1])
