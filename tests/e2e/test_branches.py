"""Branches merged: nothing that either side has is made again, no stage or comment of anybody's own is lost."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml

from lineal.errors import ProjectError
from lineal.orchestrate.dvc_yaml import dvc_yaml_text, kept_text, stage_name, stage_of
from lineal.orchestrate.resolve import Sides, merged_lock, merged_yaml, sides_in
from lineal.step.status import Act

from .test_decisions import acts
from .toy_project import command, edit, make_project, plan_of, run_logs

EDITS = [
    ("samples: 2", "samples: 3"),
    ("size: 24", "size: 25"),
    ("size: 12", "size: 13"),
    ("max_per_prompt: 1", "max_per_prompt: 2"),
    ("rows: filtered, steps: 2", "rows: filtered, steps: 3"),
    ("rows: tasks.base, steps: 2", "rows: tasks.base, steps: 4"),
    ("prompts: tasks.test, max_tokens: 16", "prompts: tasks.test, max_tokens: 12"),
    ("size: 16", "size: 17"),
]
"""Each on a line of its own, but for two on one: git merges edits of different lines by itself, as we do here."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("branches") / "project")


def on(project, edits, rounds):
    """The project with some edits made; its plan."""
    pipeline = project / "pipelines" / "toy.yaml"
    before = pipeline.read_text()
    for old, new in edits:
        edit(pipeline, old, new)
    params = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(params.replace("rounds: 2", f"rounds: {rounds}"))
    plan = plan_of(project)
    return plan, (lambda: (pipeline.write_text(before), (project / "params.yaml").write_text(params)))


def entries(plan, project):
    """Returns the entries of `dvc.lock`, with digests that are a function of what each step is made from."""
    document = {
        name: yaml.safe_load((project / name).read_text()) for name in ("pipelines/toy.yaml", "params.yaml")
    }
    found, md5s = {}, {}
    for step in plan.steps.values():
        stage = stage_of(plan, step)
        params = {
            file: {key: value_at(document[file], key) for key in keys}
            for one in stage["params"]
            for file, keys in one.items()
        }
        deps = [
            {"path": path, "md5": md5s.get(path) or md5_of_file(project / path)}
            for path in stage.get("deps", [])
        ]
        made_from = json.dumps([stage["cmd"], params, deps], sort_keys=True)
        outs = [{"path": path, "md5": md5(f"{made_from} {path}") + ".dir"} for path in stage["outs"]]
        md5s |= {out["path"]: out["md5"] for out in outs}
        found[stage_name(step.key)] = {"cmd": stage["cmd"], "deps": deps, "params": params, "outs": outs}
    return found


def value_at(value, key):
    for part in key.split("."):
        value = value[part]
    return value


def md5(text):
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def md5_of_file(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def lock_text(stages):
    return dumps_yaml({"schema": "2.0", "stages": json.loads(json.dumps(stages))})


@pytest.mark.parametrize("seed", range(50))
def test_of_two_branches_every_record_that_the_merged_plan_asks_for_is_kept(project, seed):
    drawn = random.Random(seed)
    chosen = drawn.sample(EDITS, drawn.randint(1, 5))
    half = drawn.randint(0, len(chosen))
    rounds = [2, drawn.choice([1, 2, 3]), drawn.choice([2, 2, 3])]
    branches = [([], rounds[0]), (chosen[:half], rounds[1]), (chosen[half:], rounds[2])]
    locks, files, own = [], [], []
    for number, (edits, count) in enumerate(branches):
        plan, back = on(project, edits, count)
        locks.append(entries(plan, project))
        own.append(f"  own_{number}:  # of branch {number}\n    cmd: ./{number}\n" if number else "")
        above = f"  # why {number}\n"
        fresh = dvc_yaml_text(plan).replace(
            "  toy-start-checkpoint:\n", f"{own[-1]}{above}  toy-start-checkpoint:\n"
        )
        files.append(kept_text(plan, project / "dvc.yaml", fresh))
        back()
    merged, back = on(project, chosen, max(rounds))
    ideal = entries(merged, project)
    text = merged_lock(merged, Sides(*map(lock_text, locks)))
    found = yaml.safe_load(text)["stages"]
    for name, entry in ideal.items():
        if entry in (locks[1].get(name), locks[2].get(name)):
            assert found[name] == entry, name
    assert all(entry in (locks[1].get(name), locks[2].get(name)) for name, entry in found.items())
    shared = merged_yaml(merged, Sides(*files))
    assert all(one in shared for one in own) and all(f"# why {number}\n" in shared for number in (1, 2))
    assert yaml.safe_load(dvc_yaml_text(merged))["stages"].items() <= yaml.safe_load(shared)["stages"].items()
    back()


def test_both_branches_changing_ones_own_stage_is_left_to_a_person(project):
    plan = plan_of(project)
    texts = [f"stages:\n  own:\n    cmd: ./{word}\n" for word in ("old", "one", "other")]
    assert "cmd: ./one" in merged_yaml(plan, Sides(texts[0], texts[1], texts[0]))
    assert "cmd: ./other" in merged_yaml(plan, Sides(texts[0], texts[0], texts[2]))
    with pytest.raises(ProjectError, match="both branches changed own, which is your own"):
        merged_yaml(plan, Sides(*texts))


def test_sides_of_conflict_markers_are_the_files_that_they_came_from():
    text = "a\n<<<<<<< HEAD\nb\n||||||| 123\nc\n=======\nd\n>>>>>>> other\ne\n"
    assert sides_in(text) == Sides("a\nc\ne\n", "a\nb\ne\n", "a\nd\ne\n")
    assert sides_in(text.replace("||||||| 123\nc\n", "")) == Sides("", "a\nb\ne\n", "a\nd\ne\n")


def git(root, *arguments, status=0):
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr


@pytest.mark.parametrize("how", ["merge", "rebase", "markers"])
def test_a_merge_in_git_makes_nothing_again_that_either_branch_made(finished, how):
    root, pipeline = finished, finished / "pipelines" / "toy.yaml"
    (root / ".gitattributes").write_text("dvc.lock merge=binary\n")
    git(root, "add", "params.yaml", "pipelines", "dvc.yaml", "dvc.lock", ".gitattributes")
    git(root, "commit", "-qm", "start")
    git(root, "branch", "-M", "main")
    git(root, "checkout", "-qb", "other")
    edit(pipeline, "prompts: tasks.test, max_tokens: 16", "prompts: tasks.test, max_tokens: 12")
    command(root, "lineal", "run", "toy/round_01/evaluation")
    git(root, "commit", "-qam", "another evaluation")
    theirs = (root / "dvc.lock").read_text()
    git(root, "checkout", "-q", "main")
    edit(pipeline, "use: letter_sort, length: [4, 6], size: 24", "use: letter_sort, length: [4, 7], size: 24")
    command(root, "lineal", "run", "toy/tasks")
    git(root, "commit", "-qam", "other tasks")
    ours = (root / "dvc.lock").read_text()
    git(root, "rebase" if how == "rebase" else "merge", "other", status=1)
    if how == "markers":  # as a merge by lines leaves them, and somebody commits them
        (root / "dvc.lock").write_text(f"<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> other\n")
        git(root, "commit", "-qam", "merged, he thought")
        assert "lineal resolve. Then: git add dvc.lock" in command(root, "lineal", "status", status=1)
    before = run_logs(root)
    assert "dvc.lock merged" in command(root, "lineal", "resolve")
    git(root, "add", "dvc.lock", "dvc.yaml")
    if how != "markers":
        git(
            root,
            *(
                ["-c", "core.editor=true", "rebase", "--continue"]
                if how == "rebase"
                else ["commit", "-qm", "merged"]
            ),
        )
    found = acts(root)
    assert (
        not {"toy/tasks/train", "toy/start/checkpoint"} & found[Act.MAKE]
        and "toy/round_01/evaluation" in found[Act.MAKE]
    )
    stages = [yaml.safe_load(text)["stages"] for text in (ours, theirs, (root / "dvc.lock").read_text())]
    assert stages[2]["toy-tasks-train"] == stages[0]["toy-tasks-train"] != stages[1]["toy-tasks-train"]
    assert stages[2]["toy-round_01-evaluation"] == stages[1]["toy-round_01-evaluation"]
    command(root, "lineal", "run", "toy/tasks", "toy/start")
    assert run_logs(root) == before and "nothing to merge" in command(root, "lineal", "resolve")
