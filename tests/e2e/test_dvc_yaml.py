"""`dvc.yaml` is shared: what lineal did not write into it stays, byte for byte."""

from __future__ import annotations

import random
import subprocess

import pytest
import yaml

from lineal.errors import ProjectError
from lineal.orchestrate.dvc_yaml import check_dvc_yaml, dvc_yaml_text, kept_text, write_dvc_yaml

from .toy_project import command, edit, make_project, plan_of

THEIRS = """\
# A team's own pipeline.
vars:
- splits: 3   # of the data

stages:
    # Reads the dump.
    prepare:   # by hand
        cmd: >
          python prepare.py
          --all
        deps: [prepare.py]
        outs:
          - data/prepared.csv:
              cache: false

    shards:
        foreach: [1, 2]
        do: {cmd: "python shard.py ${item}"}
params:
- settings.yaml
metrics:
  - scores.json   # theirs
plots:
  - losses:
      y: {losses.csv: loss}
# The end.
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("kept") / "project")


def kept(project, text):
    return kept_text(plan_of(project), project / "dvc.yaml", text)


def test_a_file_of_lineals_alone_is_what_the_plan_gives(project):
    fresh = dvc_yaml_text(plan_of(project))
    assert (
        kept(project, "")
        == kept(project, fresh)
        == kept(project, fresh.replace("artifacts/toy/tasks/test\n", "x\n", 1))
        == fresh
    )


def test_stages_keys_comments_and_order_of_others_stay(project):
    text, fresh = kept(project, THEIRS), yaml.safe_load(dvc_yaml_text(plan_of(project)))
    assert kept(project, text) == text
    theirs, both = yaml.safe_load(THEIRS), yaml.safe_load(text)
    assert both["stages"] == {**theirs["stages"], **fresh["stages"]}
    assert (
        both["metrics"] == theirs["metrics"] + fresh["metrics"]
        and both["plots"] == theirs["plots"] + fresh["plots"]
    )
    lines = iter(text.splitlines())
    assert all(line in lines for line in THEIRS.splitlines())  # each after the one before it


def test_a_stage_added_to_lineals_file_stays_where_it_is_when_rounds_go(project, tmp_path):
    fresh = dvc_yaml_text(plan_of(project))
    own = "  # mine\n  publish:\n    cmd: ./publish.sh  # at night\n"
    text = fresh.replace("  toy-round_02-generated:\n", f"{own}  # of round 2\n  toy-round_02-generated:\n")
    assert kept(project, text) == text
    edit(project / "params.yaml", "rounds: 2", "rounds: 1")
    fewer = kept(project, text)
    edit(project / "params.yaml", "rounds: 1", "rounds: 2")
    assert own in fewer and "# of round 2" in fewer and "toy-round_02-generated:" not in fewer
    assert yaml.safe_load(fewer)["stages"].keys() == {
        *yaml.safe_load(dvc_yaml_text(plan_of(project)))["stages"]
    } - {name for name in yaml.safe_load(fresh)["stages"] if "round_02" in name} | {"publish"}


@pytest.mark.parametrize("seed", range(20))
def test_random_stages_of_others_survive_random_plans(project, seed):
    drawn = random.Random(seed)
    text = kept(project, drawn.choice(["", THEIRS]))
    own: list[str] = []
    for number in range(6):
        lines = text.splitlines(keepends=True)
        keys = [
            place
            for place, line in enumerate(lines)
            if line.lstrip().startswith("toy-") and line.endswith(":\n")
        ]
        place = drawn.choice(keys)
        indent = len(lines[place]) - len(lines[place].lstrip())
        own.append(f"{' ' * indent}own_{number}:  # {number}\n{' ' * indent}  cmd: echo {number}\n")
        text = "".join([*lines[:place], f"{' ' * indent}# above {number}\n", own[-1], *lines[place:]])
        rounds = drawn.choice([1, 2, 3])
        (project / "params.yaml").write_text(
            (project / "params.yaml").read_text().replace("rounds: 2", f"rounds: {rounds}")
        )
        text = kept(project, text)
        assert kept(project, text) == text
        assert set(yaml.safe_load(dvc_yaml_text(plan_of(project)))["stages"]) <= set(
            yaml.safe_load(text)["stages"]
        )
        (project / "params.yaml").write_text(
            (project / "params.yaml").read_text().replace(f"rounds: {rounds}", "rounds: 2")
        )
        assert all(entry in text for entry in own) and all(
            f"# above {one}\n" in text for one in range(number + 1)
        )


def test_dvc_reads_what_is_written_and_its_own_stages_run(tmp_path):
    root = make_project(tmp_path / "project")
    (root / "dvc.yaml").write_text(
        'stages:\n  own:\n    cmd: "echo 1 > own.txt"\n    outs: [own.txt]  # small\n'
    )
    assert write_dvc_yaml(plan_of(root)) and not write_dvc_yaml(plan_of(root))
    check_dvc_yaml(plan_of(root))
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    command(root, "dvc", "repro", "own", "toy-tasks-test")
    assert set(yaml.safe_load((root / "dvc.lock").read_text())["stages"]) == {"own", "toy-tasks-test"}
    assert "own.txt]  # small\n" in (root / "dvc.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "stages:\n  toy-tasks-test:\n    cmd: mine\n",
            "stages: toy-tasks-test is your own, and a step of the plan",
        ),
        ("stages: {own: {cmd: x}}\n", "dvc.yaml:1: stages: write each entry on lines of its own"),
        ("stages:\n  own: [\n", "is not valid YAML"),
        ("stages:\n  own: {cmd: x}\n  own: {cmd: y}\n", "dvc.yaml:3: own occurs twice"),
        (
            "<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> other\n",
            "merge conflict. .*lineal resolve. Then: git add dvc.yaml",
        ),
    ],
)
def test_a_file_that_cannot_be_shared_is_refused_and_stays(project, text, said):
    with pytest.raises(ProjectError, match=said):
        kept(project, text)
