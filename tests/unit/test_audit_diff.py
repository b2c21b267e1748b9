"""`lineal diff`: equal to a plain comparison in Python, and readable."""

import json
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.audit.catalog import read_catalog
from lineal.audit.diff import DiffSide, NamedSide, compare, find_sides
from lineal.audit.diff_text import as_text
from lineal.cli.prove import diff
from lineal.errors import ArtifactError, UsageError
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from tests.unit.audit_project import made_project
from tests.unit.lab import Lab

COMPUTE = Compute(workers=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("diff")).project.root


def found_in(root, before, after):
    project = open_project(root)
    catalog = read_catalog(project)
    return compare(
        *find_sides(*(NamedSide(name, name.strip("/"), project, catalog) for name in (before, after))),
        COMPUTE,
    )


def rows_in(root, key):
    return pq.read_table(root / "artifacts" / key / "part-00000.parquet").to_pylist()


def solved(rows):
    found = {}
    for row in rows:
        found[row["prompt_id"]] = found.get(row["prompt_id"], False) or row["verdict"] == "pass"
    return found


VERDICTS, DECISIONS = st.sampled_from(["pass", "fail", "error"]), st.sampled_from(["kept", "dropped"])
ROW = st.tuples(st.integers(0, 6), st.integers(0, 3), VERDICTS, DECISIONS)
ROWS = st.lists(ROW, min_size=1, max_size=25, unique_by=lambda row: row[0])


def put(lab, name, rows, decided):
    made = [
        {"sample_id": f"s{i}", "prompt_id": f"p{p}", "verdict": v, **({"decision": d} if decided else {})}
        for i, p, v, d in rows
    ]
    if not decided:
        return {"x": lab.put(f"{name}/x", made)}
    parts = {
        "": [row for row in made if row["decision"] == "kept"],
        ".dropped": [row for row in made if row["decision"] == "dropped"],
    }
    return {
        f"x{part}": lab.put(f"{name}/x{part}", part_rows) for part, part_rows in parts.items() if part_rows
    }


@settings(max_examples=60)
@given(before=ROWS, after=ROWS)
def test_prompts_and_verdicts_are_those_of_plain_python(before, after, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    (found,) = compare(
        DiffSide("a", put(lab, "a", before, False)), DiffSide("b", put(lab, "b", after, False)), COMPUTE
    ).artifacts
    old, new = ({row[0]: row for row in rows} for rows in (before, after))
    changed = Counter((old[i][2], new[i][2]) for i in old.keys() & new.keys() if old[i][2] != new[i][2])
    if found.rows:
        assert (found.rows.added, found.rows.removed) == (
            len(new.keys() - old.keys()),
            len(old.keys() - new.keys()),
        )
        assert found.rows.verdicts == changed
    was, is_ = (
        solved([{"prompt_id": f"p{row[1]}", "verdict": row[2]} for row in rows]) for rows in (before, after)
    )
    words = {True: "solved", False: "unsolved", None: None}
    states = Counter((words[was.get(prompt)], words[is_.get(prompt)]) for prompt in was.keys() | is_.keys())
    assert found.prompts.counts == states
    assert set(found.prompts.lost) == {prompt for prompt in was if was[prompt] and is_.get(prompt) is False}
    assert set(found.prompts.gained) == {prompt for prompt in was if not was[prompt] and is_.get(prompt)}


@settings(max_examples=60)
@given(before=ROWS, after=ROWS)
def test_decisions_are_those_of_plain_python(before, after, tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    keeping = (0, 0, "pass", "kept")
    before, after = ([keeping, *(row for row in rows if row[0])] for rows in (before, after))
    sides = DiffSide("a", put(lab, "a", before, True)), DiffSide("b", put(lab, "b", after, True))
    found = compare(*sides, COMPUTE).artifacts[0]
    old, new = ({row[0]: row[3] for row in rows} for rows in (before, after))
    changed = Counter((old[i], new[i]) for i in old.keys() & new.keys() if old[i] != new[i])
    kept = [{i for i in side if side[i] == "kept"} for side in (old, new)]
    assert (dict(found.rows.decisions) if found.rows else {}) == changed
    if found.rows:
        assert (found.rows.added, found.rows.removed) == (len(kept[1] - kept[0]), len(kept[0] - kept[1]))
    assert found.prompts is None


def test_rows_that_share_an_id_are_counted_each(tmp_path):
    lab = Lab(tmp_path)
    sides = [
        DiffSide(
            name,
            {
                "rows": lab.put(
                    f"{name}/rows", [{"sample_id": i, "prompt_id": i, "completion": name} for i in ids]
                )
            },
        )
        for name, ids in (("a", "xxxy"), ("b", "xxz"))
    ]
    (found,) = compare(*sides, COMPUTE).artifacts
    assert (found.rows.added, found.rows.removed) == (1, 2)


def test_rounds_are_compared_node_by_node(root):
    found = found_in(root, "tiny/round_01", "tiny/round_02/")
    nodes = {one.label: one for one in found.artifacts}
    assert {"generated", "verified", "filtered", "mixed", "checkpoint", "evaluation"} <= set(nodes)
    assert "filtered.dropped" not in nodes
    was, is_ = (solved(rows_in(root, f"tiny/round_0{number}/evaluation")) for number in (1, 2))
    evaluation = nodes["evaluation"]
    assert set(evaluation.prompts.lost) == {prompt for prompt in was if was[prompt] and not is_[prompt]}
    assert evaluation.metrics["accuracy"] == (sum(was.values()) / 10, sum(is_.values()) / 10)
    assert nodes["generated"].rows.added == 60
    assert nodes["checkpoint"].rows is None


def test_selections_of_the_same_rows_differ_in_setting_and_decisions(root):
    (found,) = found_in(root, "tiny/round_01/filtered", "control/round_01/filtered").artifacts
    dropped = len(rows_in(root, "tiny/round_01/filtered.dropped"))
    assert found.settings["sql"] == ("right", "everything")
    assert found.rows.decisions == {("dropped", "kept"): dropped}
    assert (found.rows.added, found.rows.removed) == (dropped, 0)


def test_dropped_rows_alone_are_compared_as_rows(root):
    keys = "tiny/round_01/filtered.dropped", "tiny/round_02/filtered.dropped"
    (found,) = found_in(root, *keys).artifacts
    was, is_ = ({row["sample_id"] for row in rows_in(root, key)} for key in keys)
    assert was.isdisjoint(is_) and (found.rows.added, found.rows.removed) == (len(is_), len(was))


def test_a_revision_that_is_none_is_not_taken_for_an_artifact(root):
    with pytest.raises(
        UsageError, match=r"'HEAD~1' is no round, artifact or pipeline. As a revision: git rev-parse failed"
    ):
        CliRunner().invoke(diff, ["HEAD~1", "HEAD"], obj=root, catch_exceptions=False)


def test_an_artifact_and_itself_do_not_differ(root):
    (found,) = found_in(root, "tiny/round_01/verified", "control/round_01/verified").artifacts
    assert found.same_bytes
    assert found.rows is None
    assert found.settings == {}
    assert (found.prompts.lost, found.prompts.gained) == ((), ())


def test_artifacts_stand_in_the_order_of_their_making_and_equal_ones_in_one_line(root):
    found = found_in(root, "tiny/round_01", "control/round_01")
    labels = [one.label for one in found.artifacts]
    assert (
        labels.index("generated")
        < labels.index("verified")
        < labels.index("filtered")
        < labels.index("checkpoint")
    )
    lines = as_text(found, 200).splitlines()
    same = next(line for line in lines if line.startswith("the same bytes"))
    assert same == "the same bytes (3): generated, verified, mixed.dropped"
    assert not any(line.startswith("verified") for line in lines)


def test_nodes_of_one_round_alone_are_named(root):
    found = found_in(root, "tiny/start", "tiny/round_01")
    assert {"generated", "filtered"} <= set(found.only_after)
    assert found.only_before == ()


def test_command_prints_text_and_json(root):
    text = (
        CliRunner().invoke(diff, ["tiny/round_01", "tiny/round_02"], obj=root, catch_exceptions=False).output
    )
    assert "right -> wrong: " in text
    assert "accuracy" in text
    done = CliRunner().invoke(
        diff, ["tiny/round_01", "tiny/round_02", "--json"], obj=root, catch_exceptions=False
    )
    found = {one["label"]: one for one in json.loads(done.output)["artifacts"]}
    assert sum(state["count"] for state in found["evaluation"]["prompts"]["counts"]) == 10
    assert found["filtered"]["counts"]["in"] == {"before": 60, "after": 60}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("tiny/round_01", "tiny/round_02/verified", "is a round and tiny/round_02/verified is none"),
        ("tiny/round_01/verifyed", "tiny/round_01/verified", "Did you mean 'tiny/round_01/verified'"),
        ("nothing", "tiny/round_01", "is a round and nothing is none"),
        ("", "tiny/round_01", "Compare :tiny/round_01"),
    ],
)
def test_unknown_or_unequal_things_are_refused(root, before, after, message):
    with pytest.raises(UsageError, match=message):
        found_in(root, before, after)


def test_unreadable_rows_name_the_artifact(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "copy")
    path = copy / "artifacts/tiny/round_02/verified/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(ArtifactError, match="tiny/round_02/verified: its rows cannot be read"):
        found_in(copy, "tiny/round_01", "tiny/round_02")
