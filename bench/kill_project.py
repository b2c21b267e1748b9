"""The project that `bench/kills.py` kills runs of: one step of every kind per round, and what must hold when all is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from scratch import scratch_project

PIPELINE = """\
method: Kills
summary: Two rounds with a step of every kind.
tasks:
  base:  {{use: letter_sort, length: [2, 3], size: 16, split: train}}
  train: {{use: letter_sort, length: [4, 6], size: 24}}
  test:  {{use: letter_sort, length: [4, 6], size: 12}}
start:
  checkpoint: {{use: pretrain, rows: tasks.base, steps: 2{shape}}}
round:
  generated:  {{use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 16}}
  verified:   {{use: exact_match, rows: generated}}
  judged:     {{use: judge, model: previous.checkpoint, rows: verified, template: "+{{prompt}}{{completion}}:", name: judged,
               repeats: completion, threshold: 0.5, max_tokens: 16}}
  posed:      {{use: ask, model: previous.checkpoint, rows: tasks.train, template: "&{{prompt}}:", max_tokens: 16}}
  filtered:   {{use: select, rows: judged, {select}}}
  tuned:      {{use: sft, init: previous.checkpoint, rows: filtered, steps: 2, batch_size: 8}}
  checkpoint: {{use: grpo, init: tuned, prompts: tasks.train, rewards: {{right: exact_match}}, samples: 4, steps: 2,
               batch_size: 8, max_tokens: 16}}
  evaluation: {{use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}}
"""
PARAMS = "seed: 0\nrounds: 2\nactive: [kills]\ncompute: {{engine: {engine}, workers: 1, processes: {processes}, shard_rows: 4}}\n"
SHAPE = ", hidden_size: 32, layers: 1, heads: 2, intermediate_size: 64"
LEFTOVERS = (".*.partial", ".*.old", ".*.linking", "*.writing")


def make_project(root: Path, engine: str, processes: str) -> Path:
    """Writes the project; nothing has run in it."""
    from lineal.orchestrate.dvc_yaml import write_dvc_yaml
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    scratch_project(root)
    for path in (root / "pipelines").glob("*.yaml"):
        path.unlink()
    real = engine != "fake"
    select = "sql: keep_all" if real else "sql: keep_correct, max_per_prompt: 1"
    text = PIPELINE.format(shape=SHAPE if real else "", select=select)
    (root / "pipelines" / "kills.yaml").write_text(text, encoding="utf-8")
    (root / "params.yaml").write_text(PARAMS.format(engine=engine, processes=processes), encoding="utf-8")
    write_dvc_yaml(make_plan(open_project(root)))
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    subprocess.run([*git, "commit", "-qam", "a step of every kind"], cwd=root, check=True)
    return root


def copy_project(source: Path, target: Path) -> Path:
    """A copy with its DVC cache and Dagster instance."""
    shutil.copytree(source, target, symlinks=True)
    return target


def state_of(root: Path) -> dict[str, Any]:
    """Returns what an undisturbed project and a killed one must have in common: digests and rows by artifact."""
    from lineal.orchestrate.dvc_lock import recorded_digests
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    plan = make_plan(open_project(root))
    return {
        "digests": recorded_digests(plan),
        "rows": {key: _rows(root / "artifacts" / key) for key in plan.makers},
    }


def _rows(directory: Path) -> list[int]:
    """Counts an artifact's rows, and their different ids."""
    import pyarrow.parquet as pq

    from lineal.data.schema import row_key

    paths = sorted(directory.glob("*.parquet"))
    if not paths:
        return [0, 0]
    key = row_key(pq.read_schema(paths[0]).names)
    ids = [one for path in paths for one in pq.read_table(path, columns=[key])[key].to_pylist()]
    return [len(ids), len(set(ids))]


def faults(root: Path, expected: dict[str, Any]) -> list[str]:
    """Lists the faults of a project in which everything is made; `lineal sync` must have run."""
    found = state_of(root)
    wrong = [
        f"{what} of {key}"
        for what in expected
        for key in expected[what]
        if found[what].get(key) != expected[what][key]
    ]
    wrong += [f"rows doubled in {key}" for key, (rows, ids) in found["rows"].items() if rows != ids]
    wrong += [f"bytes: {line}" for line in _wrong_bytes(root)]
    wrong += [
        f"left over: {path.relative_to(root)}"
        for name in LEFTOVERS
        for path in (root / "artifacts").rglob(name)
    ]
    return wrong + _stale_locks(root) + _open_in_dagster(root)


def _wrong_bytes(root: Path) -> list[str]:
    from dvc.repo import Repo

    from lineal.data.manifest import verify_files
    from lineal.data.store import open_artifact
    from lineal.errors import ArtifactError
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    plan, wrong = make_plan(open_project(root)), []
    for key in plan.makers:
        try:
            artifact = open_artifact(key, root / "artifacts" / key)
            verify_files(artifact.directory, artifact.manifest, key)
        except ArtifactError as error:
            wrong.append(str(error))
    with Repo(root) as repo:
        return wrong + [f"stale: {stage}: {why}" for stage, why in repo.status().items()]


def _stale_locks(root: Path) -> list[str]:
    """Locks that are held though nothing runs, and entries of DVC's own list of paths in use."""
    held = []
    for path in [*root.rglob("*.lock"), root / ".dvc" / "tmp" / "lock"]:
        if path.name == "dvc.lock" or not path.is_file():
            continue
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.append(f"lock held: {path.relative_to(root)}")
    entries = dead_entries(root)
    return [*held, f"DVC's list of paths in use: {entries[:200]}"] if entries else held


def dead_entries(root: Path) -> str:
    """Returns the entries of DVC's list of paths in use, when nothing runs."""
    rwlock = root / ".dvc" / "tmp" / "rwlock"
    text = rwlock.read_text(encoding="utf-8") if rwlock.exists() else ""
    return text if text.strip() and any(json.loads(text).values()) else ""


def _open_in_dagster(root: Path) -> list[str]:
    """Runs that Dagster believes to be at work, and artifacts that it knows otherwise than DVC."""
    import dagster as dg

    from lineal.orchestrate.dagster_killed import OPEN, close_killed_runs
    from lineal.orchestrate.dagster_sync import outside_events
    from lineal.orchestrate.instance import use_project_instance
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    use_project_instance(root)
    with dg.DagsterInstance.get() as instance:
        close_killed_runs(instance, abandoned_seconds=0)  # as if five minutes had passed
        runs = [
            f"run {run.run_id} is {run.status.value}"
            for run in instance.get_runs(dg.RunsFilter(statuses=OPEN))
        ]
        unknown = list(outside_events(make_plan(open_project(root)), instance))
        return runs + [
            f"Dagster lacks {type(event).__name__} of {event.asset_key.to_user_string()}" for event in unknown
        ]


def reported_twice(root: Path) -> list[str]:
    """Assets that a killed and repeated `lineal sync` reported twice, or without their checks."""
    import dagster as dg

    from lineal.orchestrate.dagster_checks import check_specs
    from lineal.orchestrate.dagster_keys import asset_key
    from lineal.orchestrate.instance import use_project_instance
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    plan = make_plan(open_project(root))
    use_project_instance(root)
    with dg.DagsterInstance.get() as instance:
        keys = {key: asset_key(key) for key in plan.makers}
        counts = {
            key: len(instance.fetch_materializations(one, limit=100).records) for key, one in keys.items()
        }
        specs = [spec.key for step in plan.steps.values() for spec in check_specs(plan, step)]
        known = instance.event_log_storage.get_latest_asset_check_execution_by_key(specs)
    wrong = [f"{count} materializations of {key}" for key, count in counts.items() if count != 1]
    return wrong + [f"no evaluation of {spec.to_user_string()}" for spec in specs if spec not in known]


def remote_faults(remote: Path, cache: Path) -> list[str]:
    """Lists the objects of a cache that a DVC remote lacks, and those whose bytes don't match their name."""
    missing = [f"not pushed: {name}" for name in _objects(cache).keys() - _objects(remote).keys()]
    return missing + [f"remote object {name} holds other bytes" for name in half_written(remote)]


def half_written(remote: Path) -> dict[str, Path]:
    """The objects of a DVC remote whose bytes don't match their name, by name."""

    def digest(path: Path) -> str:
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()

    return {
        name: path for name, path in _objects(remote).items() if digest(path) != name.removesuffix(".dir")
    }


def _objects(root: Path) -> dict[str, Path]:
    return {
        f"{path.parent.name}{path.name}": path
        for path in (root / "files" / "md5").rglob("*")
        if path.is_file()
    }


def drop_push_index(root: Path) -> None:
    """Removes DVC's notes of what it has collected, as docs/kills.md says."""
    from dvc.repo import Repo

    Repo(str(root)).drop_data_index()


def kind_of_step(command: str) -> str:
    """The component that a `lineal step` command runs; '' for other commands."""
    words = command.split()
    if "--component" not in words or "step" not in words:
        return ""
    return words[words.index("--component") + 1].partition("@")[0]


def most_common(counts: Counter[str]) -> dict[str, int]:
    """The counts as JSON, largest first."""
    return dict(counts.most_common())
