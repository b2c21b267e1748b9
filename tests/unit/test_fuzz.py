"""Damaged declarations, records and rows, by fixed seeds: each is planned, answered or refused without a traceback."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
import yaml

from lineal.audit.catalog import read_catalog
from lineal.audit.query import matching_rows
from lineal.audit.verify import damage_of
from lineal.components.controllers.values import values_of
from lineal.components.evaluators.reading import read_evaluation
from lineal.data.manifest import MANIFEST, InputEntry, Manifest, content_digest, list_files
from lineal.data.store import Rows, open_artifact, write_rows
from lineal.errors import LinealError
from lineal.orchestrate.dvc_lock import locked_artifacts, named_files
from lineal.plan import make_plan
from lineal.recipe.document import parse_document
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from lineal.step.runlog import read_log
from tests.unit.mutations import mutated_bytes, mutated_text, mutated_value

ROOT = Path(__file__).parents[2]
TEXTS = {path.stem: path.read_text() for path in sorted((ROOT / "pipelines").glob("*.yaml"))}
PARAMS = """\
seed: 0
rounds: 2
profile: laptop
active: [NAME]
pipelines: {NAME: {seed: 1}}
compute: {engine: fake, workers: 1}
"""
WITH_POLICY = """\
method: Mine
summary: Samples by a policy.
tasks:
  train: {use: letter_sort, length: [4, 6], size: 24}
start:
  checkpoint: {use: model, path: models/base}
round:
  generated: {use: policies.NAME, model: start.checkpoint, prompts: tasks.train}
profiles: {laptop: null}
"""
RETRACTIONS = (
    "unit:\n  reason: no unit\n  date: '2026-11-21'\n  where: verdict = 'pass'\n  in: star/round_01\n"
)
RETRACTED = {
    "unit": {
        "of": {"where": "verdict = 'pass'", "in": "star/round_01"},
        "ids": [],
        "untouched": ["star/round_01/filtered"],
    }
}
ROUNDS = 60
"""How many files of each kind are damaged; the whole module takes some 20 processor seconds."""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz")
    for folder in ("pipelines", "policies"):
        shutil.copytree(ROOT / folder, root / folder)
    (root / "data").mkdir()
    for path in re.findall(r"path: (data/\S+\.jsonl)", "".join(TEXTS.values())):
        (root / path).touch()
    return root


def planned_or_refused(root: Path, name: str) -> bool:
    try:
        return bool(make_plan(open_project(root), [name]).steps)
    except LinealError as error:
        assert str(error)
        return False


def as_yaml(value, random):
    return yaml.safe_dump(mutated_value(value, random), sort_keys=False, allow_unicode=True)


@pytest.mark.parametrize("kind", ["structure", "text"])
def test_damaged_pipelines_are_planned_or_refused(shipped, kind):
    seeded, planned = random.Random(f"plan {kind}"), 0
    for _ in range(ROUNDS):
        name = seeded.choice(sorted(TEXTS))
        value = parse_document(TEXTS[name], name).value
        text = as_yaml(value, seeded) if kind == "structure" else mutated_text(TEXTS[name], seeded)
        (shipped / "params.yaml").write_text(PARAMS.replace("NAME", name))
        (shipped / "pipelines" / f"{name}.yaml").write_text(text, errors="surrogatepass")
        try:
            planned += planned_or_refused(shipped, name)
        finally:
            (shipped / "pipelines" / f"{name}.yaml").write_text(TEXTS[name])
    assert 0 < planned < ROUNDS


def test_damaged_policies_are_planned_or_refused(shipped):
    texts = {path.stem: path.read_text() for path in sorted((ROOT / "policies").glob("*.yaml"))}
    seeded, planned = random.Random("policies"), 0
    (shipped / "params.yaml").write_text(PARAMS.replace("NAME", "mine"))
    for _ in range(ROUNDS):
        name = seeded.choice(sorted(texts))
        (shipped / "pipelines" / "mine.yaml").write_text(WITH_POLICY.replace("NAME", name))
        (shipped / "policies" / f"{name}.yaml").write_text(
            as_yaml(parse_document(texts[name], name).value, seeded)
        )
        try:
            planned += planned_or_refused(shipped, "mine")
        finally:
            (shipped / "policies" / f"{name}.yaml").write_text(texts[name])
            (shipped / "pipelines" / "mine.yaml").unlink()
    assert 0 < planned < ROUNDS


@pytest.mark.parametrize("file", ["params.yaml", "retractions.yaml", "retracted.json"])
def test_damaged_files_of_the_project_are_read_or_refused(shipped, file):
    seeded, planned = random.Random(file), 0
    right = {
        "params.yaml": PARAMS.replace("NAME", "star"),
        "retractions.yaml": RETRACTIONS,
        "retracted.json": json.dumps(RETRACTED),
    }
    for name, text in right.items():
        (shipped / name).write_text(text)
    for turn in range(ROUNDS):
        text = as_yaml(yaml.safe_load(right[file]), seeded) if turn % 2 else mutated_text(right[file], seeded)
        (shipped / file).write_text(text, errors="surrogatepass")
        planned += planned_or_refused(shipped, "star")
    for name in ("retractions.yaml", "retracted.json"):
        (shipped / name).unlink()
    assert 0 < planned < ROUNDS


@pytest.mark.parametrize("file", ["dvc.lock", "dvc.yaml"])
def test_damaged_records_of_dvc_are_read_or_refused(tmp_path, file):
    seeded, sound = random.Random(file), 0
    right = {
        name: "\n".join((ROOT / name).read_text().splitlines()[:120]) + "\n"
        for name in ("dvc.lock", "dvc.yaml")
    }
    for turn in range(ROUNDS):
        for name, text in right.items():
            (tmp_path / name).write_text(text)
        damaged = (
            as_yaml(yaml.safe_load(right[file]), seeded).encode()
            if turn % 3
            else mutated_bytes(right[file].encode(), seeded)
        )
        (tmp_path / file).write_bytes(damaged)
        try:
            assert isinstance(locked_artifacts(tmp_path), dict) and isinstance(named_files(tmp_path), dict)
            sound += 1
        except LinealError as error:
            assert "dvc.lock" in str(error) or "dvc.yaml" in str(error)
    assert 0 < sound < ROUNDS


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A project's one artifact: rows, and the values that evaluators, controllers and run logs keep as JSON."""
    import pyarrow as pa

    root = tmp_path_factory.mktemp("rows")
    (root / "pipelines").mkdir()
    (root / "params.yaml").write_text("active: []\n")
    directory = root / "artifacts/p/round_01/x"
    ids = [f"{number:020x}" for number in range(2000)]
    counts = write_rows(directory, [pa.table({"sample_id": ids, "verdict": ["pass", "fail"] * 1000})])
    values = {"accuracy": 0.5, "by_difficulty": {"3": {"accuracy": 0.5, "count": 2}}, "curve": [1.0, 2.0]}
    details = {"headline": "accuracy", "intervals": {"accuracy": [0.4, 0.6]}, **values}
    kept = {
        "metrics.json": values,
        "details.json": details,
        "prompts.json": {"a": 0.5, "b": 1.0},
        "settings.json": values,
    }
    for name, value in kept.items():
        (directory / name).write_text(json.dumps(value))
    files = list_files(directory, counts)
    Manifest(
        step="round_01/x",
        kind=ArtifactKind.ROWS,
        component="sample",
        version=1,
        identity="0" * 64,
        settings={"samples": 2},
        seed=0,
        inputs={"rows": [InputEntry(step="tasks/train", digest="0" * 64)]},
        files_read={"a.sql": "0" * 64},
        counts={"out": 2000},
        columns={"sample_id": "string", "verdict": "string"},
        files=files,
        digest=content_digest(files),
    ).write(directory)
    log = root / "runs/p/round_01/x.json"
    log.parent.mkdir(parents=True)
    log.write_text(
        json.dumps(
            {"status": "done", "seconds": 1.5, "facts": {"tokens": 7, "seconds_by_phase": {"sample": 1.0}}}
        )
    )
    return root


def read_everything(root: Path) -> None:
    """Reads all of an artifact except its rows: manifest, values, run log, and its verification."""
    project, directory = open_project(root), root / "artifacts/p/round_01/x"
    read_log(project, "p/round_01/x").get("facts", {}).get("tokens")
    assert isinstance(read_evaluation(directory).by_prompt, dict)
    values_of(open_artifact("p/round_01/x", directory))
    damage_of(project, read_catalog(project).artifacts.values())


def read_rows(root: Path) -> None:
    made = open_artifact("p/round_01/x", root / "artifacts/p/round_01/x")
    Rows((made,)).read()
    matching_rows(made, "verdict = 'pass'", 3, open_project(root).params.compute)


@pytest.mark.parametrize(
    "file",
    [MANIFEST, "part-00000.parquet", "metrics.json", "details.json", "prompts.json", "settings.json", "runs"],
)
def test_damaged_artifacts_are_read_or_refused(artifact, tmp_path, file):
    seeded, root = random.Random(file), shutil.copytree(artifact, tmp_path / "copy")
    path = root / ("runs/p/round_01/x.json" if file == "runs" else f"artifacts/p/round_01/x/{file}")
    right, read = path.read_bytes(), 0
    for turn in range(ROUNDS):
        as_json = path.suffix == ".json" and turn % 3
        path.write_bytes(
            json.dumps(mutated_value(json.loads(right), seeded)).encode()
            if as_json
            else mutated_bytes(right, seeded)
        )
        try:
            read_everything(root)
            if file in (MANIFEST, "part-00000.parquet"):
                read_rows(root)
            read += 1
        except LinealError as error:
            assert "x" in str(error)
    assert read < ROUNDS or file == "runs"
