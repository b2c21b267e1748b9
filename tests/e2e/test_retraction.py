"""A retraction the whole way, with real DVC and Dagster: exactly what is stale, marked, made again, clean."""

from __future__ import annotations

import dagster as dg
import pyarrow.parquet as pq
import yaml
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as Status

from lineal.audit.catalog import read_catalog
from lineal.audit.show.rounds import prove_round
from lineal.audit.show.rounds_text import as_text
from lineal.audit.trace.taint import taint
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_sync import sync
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.orchestrate.dvc_yaml import write_dvc_yaml
from lineal.orchestrate.retracting import settled_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.step.retraction import CHECK
from lineal.step.status import State, status_of

from .toy_project import UP_TO_DATE, command, plan_of, to_make

WHERE = "verdict = 'pass' AND completion LIKE 'a%' AND round = 2"
STALE = [f"toy/round_02/{name}" for name in ("filtered", "checkpoint", "evaluation")]


def outcome(key):
    """Returns Dagster's latest result of the check of a checkpoint."""
    check = dg.AssetCheckKey(asset_key(key), CHECK)
    with dg.DagsterInstance.get() as instance:
        record = instance.event_log_storage.get_latest_asset_check_execution_by_key([check]).get(check)
    return record.status if record else None


def not_done(root):
    return [status.key for status in status_of(plan_of(root)) if status.state is not State.DONE]


def page(root, key):
    project = open_project(root)
    return as_text(prove_round(project, read_catalog(project), key, verify=False, revision=None), 200)


def test_retraction_from_the_rows_to_clean_checkpoints(finished):
    before = recorded_digests(plan_of(finished))
    said = command(finished, "lineal", "retract", "--where", WHERE, "--reason", "their key leaked")
    assert "selections that lose rows (1): toy/round_02/filtered" in said
    assert "checkpoints that descend from them (1): toy/round_02/checkpoint" in said

    # exactly these are stale, whoever is asked
    plan = plan_of(finished)
    assert not_done(finished) == STALE
    assert [step.key for step in to_make(plan)] == STALE
    assert list(yaml.safe_load(command(finished, "dvc", "status", "--json"))) == ["toy-round_02-filtered"]
    dry = [line for line in command(finished, "dvc", "repro", "--dry").splitlines() if line.startswith("> ")]
    assert [line.partition("+")[0] for line in dry] == [
        "> lineal step toy/round_02/filtered --component select@1"
    ]

    # the checkpoint is marked, and the other is not
    assert outcome("toy/round_02/checkpoint") is Status.FAILED and outcome("toy/round_01/checkpoint") is None
    told = {status.key: " ".join(status.reasons) for status in status_of(plan)}
    assert "tainted by 'their_key_leaked': trained on" in told["toy/round_02/checkpoint"]
    assert "TAINTED     by 'their_key_leaked'" in page(finished, "toy/round_02")
    assert "TAINTED" not in page(finished, "toy/round_01")

    command(finished, "lineal", "run")
    assert not_done(finished) == [] and UP_TO_DATE in command(finished, "dvc", "status")
    assert outcome("toy/round_02/checkpoint") is Status.SUCCEEDED
    assert sync(plan) == [] and outcome("toy/round_01/checkpoint") is None
    found = taint(read_catalog(plan.project), WHERE, Compute(workers=1))
    assert found.rows and not found.checkpoints
    assert "toy/round_02/filtered" not in {one.key for one in found.touched}
    dropped = pq.read_table(
        finished / "artifacts/toy/round_02/filtered.dropped/part-00000.parquet"
    ).to_pylist()
    assert {
        row["reason"] for row in dropped if row["completion"].startswith("a") and row["verdict"] == "pass"
    } == {"retracted: their key leaked"}

    # taken back
    (finished / "retractions.yaml").unlink()
    output = command(finished, "lineal", "run")
    assert "nothing to do" not in output
    assert not_done(finished) == [] and UP_TO_DATE in command(finished, "dvc", "status")
    assert recorded_digests(plan_of(finished)) == before


def test_sync_marks_checkpoints_when_a_retraction_was_written_by_hand(finished):
    text = f'bad:\n  reason: wrong\n  date: 2026-11-21\n  where: "{WHERE}"\n'
    (finished / "retractions.yaml").write_text(text)
    write_dvc_yaml(settled_plan(open_project(finished)))
    plan = plan_of(finished)
    sync(plan)
    assert outcome("toy/round_02/checkpoint") is Status.FAILED
    command(finished, "dvc", "repro")
    sync(plan)
    assert outcome("toy/round_02/checkpoint") is Status.SUCCEEDED
