"""Work is made again if and only if its identity changed; `status`, `run --dry-run` and `run` agree."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml, loads_yaml

from lineal.components.generators.sample import Sample
from lineal.orchestrate.changed_bytes import ChangedBytes
from lineal.orchestrate.decision import decide
from lineal.orchestrate.dvc_lock import recorded_digests
from lineal.orchestrate.dvc_repo import DvcProject, StageOutcome
from lineal.step.status import Act, State

from .toy_project import UP_TO_DATE, command, edit, plan_of, run_logs, to_make


def acts(root) -> dict[Act, set[str]]:
    """By what a run has to do, the steps."""
    decided = decide(plan_of(root))
    return {
        act: {key for key, entry in decided.items() if entry.act is act} for act in Act if act is not Act.NONE
    }


def lose_the_cache(root):
    shutil.rmtree(root / ".dvc" / "cache")


def lose_lock_entries(root):
    lock = loads_yaml((root / "dvc.lock").read_text())
    lock["stages"] = {name: stage for name, stage in lock["stages"].items() if "round_01" not in name}
    (root / "dvc.lock").write_text(dumps_yaml(lock))


def lose_dvc_lock(root):
    (root / "dvc.lock").unlink()


def write_a_default_out(root):
    edit(root / "pipelines" / "toy.yaml", "samples: 2, ", "samples: 2, temperature: 1.0, ")
    edit(root / "pipelines" / "toy.yaml", "rows: filtered, ", "rows: filtered, precision: fp32, ")


def comment_in_sql(root):
    path = root / "pipelines" / "selectors" / "keep_correct.sql"
    lines = path.read_text().splitlines()
    words = ["-- summary: Other words." if line.startswith("-- summary:") else line for line in lines]
    path.write_text("\n\n".join(words) + "\n/* the end */ -- of it\n")


@pytest.mark.parametrize(
    "change", [lose_the_cache, lose_lock_entries, lose_dvc_lock, write_a_default_out, comment_in_sql]
)
def test_what_has_its_identity_and_bytes_is_recorded_again_and_not_made(finished, change):
    before, lock = run_logs(finished), yaml.safe_load((finished / "dvc.lock").read_text())
    change(finished)
    found = acts(finished)
    assert found[Act.RECORD] and not found[Act.MAKE] and not found[Act.RESTORE]
    said = command(finished, "lineal", "run", "--json")
    assert "recorded again, not rerun" in said and json.loads(said[said.index("{") :])["steps"] == []
    assert run_logs(finished) == before and UP_TO_DATE in command(finished, "dvc", "status")
    now = yaml.safe_load((finished / "dvc.lock").read_text())["stages"]
    assert {name: stage["outs"] for name, stage in now.items()} == {
        name: one["outs"] for name, one in lock["stages"].items()
    }
    assert not any(acts(finished).values())


def test_a_missing_artifact_that_the_cache_has_is_restored_and_nothing_follows(finished):
    before = run_logs(finished)
    for key in ("toy/round_01/generated", "toy/round_01/checkpoint"):
        shutil.rmtree(finished / "artifacts" / key)
    assert acts(finished) == {
        Act.RECORD: set(),
        Act.RESTORE: {"toy/round_01/generated", "toy/round_01/checkpoint"},
        Act.MAKE: set(),
    }
    said = command(finished, "lineal", "run", "--dry-run")
    assert (
        "would take from DVC's cache toy/round_01/checkpoint" in said
        and "0 steps would run, 2 would come from" in said
    )
    command(finished, "lineal", "run")
    assert run_logs(finished) == before and not any(acts(finished).values())


def test_a_damaged_artifact_whose_manifest_says_what_it_is_makes_no_follower_stale(finished):
    shutil.rmtree(finished / ".dvc" / "cache")
    (finished / "artifacts/toy/round_01/verified/part-00000.parquet").unlink()
    assert [step.key for step in to_make(plan_of(finished))] == ["toy/round_01/verified"]


def test_a_raised_version_is_told_by_a_dry_run_before_dvc_yaml_is_written(finished, monkeypatch):
    monkeypatch.setattr(Sample, "version", 2)
    plan = plan_of(finished)
    listed = {step.key for step in to_make(plan)}
    assert "toy/round_01/generated" in listed and "toy/start/checkpoint" not in listed
    assert (
        listed == {key for key, entry in decide(plan).items() if entry.state is not State.DONE}
        and len(listed) == 10
    )


def test_what_an_engine_made_up_is_stale_where_a_real_one_runs(finished):
    edit(finished / "params.yaml", "engine: fake", "engine: transformers")
    decided = decide(plan_of(finished))
    assert decided["toy/start/checkpoint"].reasons == ("made up by compute.engine: fake",)
    assert decided["toy/tasks/train"].state is State.DONE
    assert len(to_make(plan_of(finished))) == 11


def test_other_bytes_than_recorded_are_refused_until_they_are_accepted(finished):
    plan, key = plan_of(finished), "toy/round_02/evaluation"
    recorded = recorded_digests(plan)[key]
    edit(finished / "dvc.lock", recorded, "0" * 32 + ".dir")
    shutil.rmtree(finished / "artifacts" / key)
    shutil.rmtree(finished / ".dvc" / "cache")
    with pytest.raises(
        ChangedBytes,
        match=f"{key} was rerun and gave other bytes than .*recorded 0000.*, made {recorded}. Likely",
    ):
        DvcProject(finished).reproduce(plan, plan.step(key))
    assert recorded_digests(plan)[key] == "0" * 32 + ".dir"
    entry = decide(plan)[key]
    assert entry.act is Act.MAKE and "dvc.lock records another directory under this key" in entry.reasons[0]
    assert decide(plan, accept=True)[key].act is Act.RECORD
    assert "recorded again, not rerun: " in command(finished, "lineal", "run", key, "--accept-changes")
    assert recorded_digests(plan)[key] == recorded


def test_a_record_of_other_bytes_that_the_cache_has_is_brought_back(finished):
    """A colleague's checkpoint of the same work, say: the record counts, not what lies here."""
    plan, key = plan_of(finished), "toy/round_02/evaluation"
    directory = finished / "artifacts" / key
    recorded = recorded_digests(plan)[key]
    copy = finished / "copy"
    shutil.copytree(directory, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    assert DvcProject(finished).reproduce(plan, plan.step(key)).outcome is StageOutcome.UP_TO_DATE
    (copy / "manifest.json").chmod(0o644)
    (copy / "manifest.json").write_text(json.dumps({**manifest, "digest": "0" * 64}))
    shutil.rmtree(directory)
    copy.rename(directory)
    assert decide(plan)[key].act is Act.RESTORE
    assert DvcProject(finished).reproduce(plan, plan.step(key)).outcome is StageOutcome.RESTORED
    assert recorded_digests(plan)[key] == recorded and not any(acts(finished).values())
