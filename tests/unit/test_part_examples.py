"""Papers' parts as nodes of a few lines: each example of tests/parts runs and gives what the paper's part must give."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter

import pytest
import yaml

from lineal.data.store import open_artifact
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step
from tests.unit.endpoint_server import answered, endpoint_server
from tests.unit.lab import ROOT, evaluated, rows_of

FOLDER = ROOT / "tests" / "parts"
FILES = {path.name: yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(FOLDER.glob("*.yaml"))}  # noqa: S506
EXAMPLES = {name: example for examples in FILES.values() for name, example in examples.items()}
CHECKPOINT = {"use": "pretrain", "rows": "tasks.base", "steps": 1}
REWARD_MODEL = {"use": "reward_model", "init": "checkpoint", "rows": "tasks.preferred", "steps": 1}
SILENT = "nothing was planted for this prompt"
SHARED = {
    "base": {"use": "letter_sort", "length": [2, 4], "size": 24, "split": "train"},
    "preferred": [{"prompt": "cab=", "chosen": "abc", "rejected": "cba"}],
}


class Script:
    """What the examples' models say: to the first pattern that a prompt has, its replies in turn."""

    def __init__(self, examples):
        self.lines = {
            f"{name}-{model}": replies
            for name, example in examples.items()
            for model, replies in example.get("says", {}).items()
        }
        self.asked = Counter()

    def __call__(self, body):
        prompt = (
            "\n".join(turn["content"] for turn in body["messages"]) if "messages" in body else body["prompt"]
        )
        replies = next(
            (
                found
                for pattern, found in self.lines[body["model"]].items()
                if re.search(pattern, prompt, re.DOTALL)
            ),
            SILENT,
        )
        turns = self.asked[body["model"], prompt] = self.asked[body["model"], prompt] + 1
        return answered(
            body, prompt, replies[(turns - 1) % len(replies)] if isinstance(replies, list) else replies
        )


def pipeline_of(name, example, root):
    """An example as a pipeline: its planted rows are files, its models are served."""
    planted = {
        task: rows
        for task, rows in SHARED.items()
        if f"tasks.{task}" in json.dumps([example, models_of(example)])
    }
    planted |= example.get("tasks", {})
    served = {
        model: {"use": "served_model", "name": f"{name}-{model}", "revision": "1"}
        for model in example.get("says", {})
    }
    written = {
        "method": name,
        "summary": example["shows"],
        "rounds": example.get("rounds", 1),
        "tasks": {task: placed(root, f"{name}_{task}", rows) for task, rows in planted.items()},
        "start": models_of(example) | served | example.get("start", {}),
    }
    return written | {key: example[key] for key in ("round", "repeat", "each", "stages") if key in example}


def models_of(example):
    """The checkpoints that an example names; one that it doesn't name would only take time."""
    named = json.dumps(example)
    scorer = "start.reward_model" in named
    return ({"checkpoint": CHECKPOINT} if scorer or "checkpoint" in named else {}) | (
        {"reward_model": REWARD_MODEL} if scorer else {}
    )


def placed(root, name, rows):
    """Planted rows as a file, and the node that reads them; a node is itself."""
    if isinstance(rows, dict):
        return rows
    (root / "data").mkdir(exist_ok=True)
    (root / "data" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"use": "dataset", "path": f"data/{name}.jsonl", "columns": {column: column for column in rows[0]}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("*.yaml"))
    for name, example in EXAMPLES.items():
        (root / "pipelines" / f"{name.lower()}.yaml").write_text(
            yaml.safe_dump(pipeline_of(name, example, root), sort_keys=False)
        )
        for kind in ("selectors", "measures"):
            for file, text in example.get(kind, {}).items():
                (root / "pipelines" / kind / f"{file}.sql").write_text(text)
    with endpoint_server(Script(EXAMPLES)) as server:
        server.models = None
        compute = {
            "engine": "fake",
            "workers": 1,
            "endpoints": {"default": {"url": server.url, "keep_stop": True}},
        }
        active = [name.lower() for name in EXAMPLES]
        (root / "params.yaml").write_text(json.dumps({"rounds": 1, "active": active, "compute": compute}))
        yield open_project(root)


def table(artifact, columns):
    """The rows' values in these columns, sorted; of parents their number."""
    return sorted(
        (
            tuple(len(row[name]) if name == "parents" else value(row[name]) for name in columns)
            for row in rows_of(artifact)
        ),
        key=repr,
    )


def value(found):
    return round(found, 3) if isinstance(found, float) else found


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_what_the_papers_part_must_give(project, name):
    example, pipeline = EXAMPLES[name], name.lower()
    plan = make_plan(project, [pipeline])
    for key in plan.steps:
        run_step(plan, key)
    last = f"round_{example.get('rounds', 1):02}"
    for node, fields in example.get("reads", {}).items():
        inputs = plan.step(f"{pipeline}/{last}/{node}").inputs
        assert {field: inputs[field] for field in fields} == {
            field: (f"{pipeline}/{key}",) for field, key in fields.items()
        }
    for node, expected in example["gives"].items():
        key = f"{pipeline}/{node}" if node.startswith(("round_", "start/")) else f"{pipeline}/{last}/{node}"
        artifact = open_artifact(key, project.directory(key))
        if all(isinstance(values, list) for values in expected.values()):
            wanted = sorted(
                zip(*([value(one) for one in values] for values in expected.values()), strict=True), key=repr
            )
            assert table(artifact, list(expected)) == wanted, node
        else:
            assert {metric: value(evaluated(artifact)[metric]) for metric in expected} == expected, node
