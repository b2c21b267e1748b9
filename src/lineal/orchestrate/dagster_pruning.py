"""Clears a project's Dagster instance of assets that no pipeline plans, and of runs of which nothing is shown any more."""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES

from lineal.orchestrate.dagster_keys import asset_key


def clear(leftovers: Iterable[str]) -> tuple[int, int]:
    """Wipes the assets of leftovers, and deletes finished runs that made no asset's latest materialization.

    Returns:
        how many assets, and how many runs, were deleted.
    """
    with dg.DagsterInstance.get() as instance:
        known = set(instance.all_asset_keys())
        gone = [key for key in map(asset_key, leftovers) if key in known]
        if gone:
            instance.wipe_assets(gone)
        shown = {
            record.asset_entry.last_materialization.run_id
            for record in instance.get_asset_records(list(instance.all_asset_keys()))
            if record.asset_entry.last_materialization is not None
        }
        runs = instance.get_runs(dg.RunsFilter(statuses=list(FINISHED_STATUSES)))
        old = [run.run_id for run in runs if run.run_id not in shown]
        for run_id in old:
            instance.delete_run(run_id)
    return len(gone), len(old)
