"""`lineal trace` on a real small project: backwards to the base, forwards to every checkpoint, ids and prefixes."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.show.prompt_samples import prompt_samples
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.forward import forward_json, forward_text, trace_forward
from lineal.audit.trace.target import Target, TargetKind, find_target
from lineal.errors import ArtifactError, UsageError
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from tests.unit.audit_project import made_project

COMPUTE = Compute(workers=1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("trace"))


@pytest.fixture(scope="module")
def catalog(plan):
    return read_catalog(plan.project)


def rows(plan, key):
    return pq.read_table(plan.project.directory(key) / "part-00000.parquet").to_pylist()


def relations(graph, node_id):
    return {edge.relation: edge for edge in graph.below(node_id)}


def back(catalog, text, pipeline=None):
    return trace_back(catalog, find_target(catalog, text, COMPUTE), COMPUTE, pipeline)


def test_trace_sample_tells_decision_verdict_sample_prompt_and_checkpoint(plan, catalog):
    row = rows(plan, "tiny/round_02/filtered")[0]
    graph = back(catalog, row["sample_id"])
    found = relations(graph, graph.root)
    assert set(found) == {"decision", "verdict", "sample", "prompt", "model"}
    assert found["decision"].target == "tiny/round_02/filtered"
    assert found["decision"].facts == {"decision": "kept", "reason": "pass", "weight": 1.0}
    assert found["verdict"].facts == {"verdict": "pass", "score": 1.0}
    sample = {name: row[name] for name in ("sample_index", "seed", "temperature")}
    assert sample.items() <= found["sample"].facts.items()
    assert graph.nodes[found["prompt"].target].facts["prompt"] == row["prompt"]
    assert relations(graph, f"row:{row['prompt_id']}")["made"].target == "tiny/tasks/train"
    assert found["model"].target == "tiny/round_01/checkpoint"
    assert graph.nodes["tiny/round_01/checkpoint"].facts["digest"] == row["checkpoint"]


def test_trace_sample_of_an_evaluation_tells_its_verdict(plan, catalog):
    row = rows(plan, "tiny/round_02/evaluation")[0]
    told = {name: row[name] for name in ("verdict", "score", "detail") if row[name] is not None}
    graph = back(catalog, row["sample_id"])
    assert (
        told["verdict"] in ("pass", "fail")
        and told.items() <= relations(graph, graph.root)["sample"].facts.items()
    )
    found = prompt_samples(catalog, find_target(catalog, row["prompt_id"], COMPUTE), COMPUTE)
    (sample,) = (one for one in found.samples if one.made_in == "tiny/round_02/evaluation")
    assert [verdict["verdict"] for verdict in sample.verdicts] == [row["verdict"]]


def test_trace_dropped_sample_tells_the_reason(plan, catalog):
    row = rows(plan, "tiny/round_01/filtered.dropped")[0]
    graph = back(catalog, row["sample_id"])
    found = relations(graph, graph.root)["decision"]
    assert (found.target, found.facts["decision"], found.facts["reason"]) == (
        "tiny/round_01/filtered.dropped",
        "dropped",
        "fail",
    )


def test_trace_reaches_the_base_and_counts_training_rows_by_who_sampled_them(plan, catalog):
    graph = back(catalog, "tiny/round_02/checkpoint")
    assert relations(graph, "tiny/round_02/checkpoint")["init"].target == "tiny/round_01/checkpoint"
    assert relations(graph, "tiny/round_01/checkpoint")["init"].target == "tiny/start/checkpoint"
    assert relations(graph, "tiny/start/checkpoint")["rows"].target == "tiny/tasks/base"
    kept = [len(rows(plan, f"tiny/round_0{number}/filtered")) for number in (1, 2)]
    mix = [
        (part["rows"], part["round"], part["sampled_by"])
        for part in graph.nodes["tiny/round_02/mixed"].facts["mix"]
    ]
    assert mix == [
        (kept[1], 2, "tiny/round_01/checkpoint"),
        (kept[0], 1, "tiny/start/checkpoint"),
        (10, None, None),
    ]


def test_trace_row_made_from_a_sample_goes_on_to_the_sample(plan, catalog):
    made = rows(plan, "tiny/round_02/mixed")[0]
    graph = back(catalog, made["sample_id"])
    (parent,) = made["parents"]
    assert relations(graph, graph.root)["made from"].target == f"row:{parent}"
    assert relations(graph, f"row:{parent}")["decision"].target == "tiny/round_01/filtered"


def test_trace_prompt_goes_back_to_its_task_set(plan, catalog):
    prompt = rows(plan, "tiny/tasks/train")[0]
    graph = back(catalog, prompt["prompt_id"])
    assert graph.nodes[graph.root].kind == "prompt"
    assert [(edge.relation, edge.target) for edge in graph.below(graph.root)] == [
        ("made", "tiny/tasks/train")
    ]


def test_trace_shared_row_names_the_pipeline_that_was_asked_for(plan, catalog):
    row = rows(plan, "tiny/round_01/generated")[0]
    assert row == rows(plan, "control/round_01/generated")[0]
    own = relations(back(catalog, row["sample_id"]), f"row:{row['sample_id']}")
    other = relations(back(catalog, row["sample_id"], "control"), f"row:{row['sample_id']}")
    assert own["model"].target == "tiny/start/checkpoint"
    assert other["model"].target == "control/start/checkpoint"
    assert other["decision"].target == "control/round_01/filtered"


def test_trace_checkpoint_digest_may_be_cut_and_means_the_first_of_equal_ones(catalog):
    digest = catalog.artifacts["control/start/checkpoint"].digest
    assert find_target(catalog, digest[:12], COMPUTE) == Target(TargetKind.ARTIFACT, "tiny/start/checkpoint")


def test_trace_row_prefix_is_enough_and_an_ambiguous_one_lists_candidates(plan, catalog):
    ids = sorted(
        {row["sample_id"] for key in ("round_01", "round_02") for row in rows(plan, f"tiny/{key}/generated")}
    )
    assert find_target(catalog, ids[0][:12], COMPUTE).name == ids[0]
    with pytest.raises(UsageError, match="too short"):
        find_target(catalog, ids[0][:2], COMPUTE)


def test_target_that_begins_several_ids_lists_them(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    path = root / "artifacts/tiny/tasks/train/part-00000.parquet"
    table = pq.read_table(path)
    ids = ["abcd1", "abcd2", "abcd", *table["prompt_id"].to_pylist()[3:]]
    path.unlink()
    pq.write_table(table.set_column(0, "prompt_id", [ids]), path)
    catalog = read_catalog(open_project(root), "tiny")
    with pytest.raises(UsageError, match="'abc' is ambiguous; it begins abcd, abcd1, abcd2"):
        find_target(catalog, "abc", COMPUTE)
    assert find_target(catalog, "abcd", COMPUTE).name == "abcd"


def test_unknown_id_names_the_nearest_and_unknown_key_too(plan, catalog):
    known = rows(plan, "tiny/tasks/train")[0]["prompt_id"]
    wrong = "zz" + known[2:14]
    with pytest.raises(UsageError, match=f"begins with {wrong!r}. Nearest ids: .*{known}"):
        find_target(catalog, wrong, COMPUTE)
    with pytest.raises(UsageError, match="Did you mean 'tiny/round_01/mixed'"):
        find_target(catalog, "tiny/round_01/mixd", COMPUTE)


def test_trace_to_an_artifact_that_is_gone_says_so(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    shutil.rmtree(root / "artifacts/tiny/start/checkpoint")
    catalog = read_catalog(open_project(root), "tiny")
    graph = back(catalog, "tiny/round_01/checkpoint")
    missing = graph.nodes[relations(graph, "tiny/round_01/checkpoint")["init"].target]
    assert (missing.kind, missing.name) == ("missing", "start/checkpoint")
    assert "no artifact here has these bytes" in graph.as_tree(200)


@pytest.mark.parametrize("step", ["generated", "verified"])
def test_trace_truncated_shard_names_the_artifact(plan, tmp_path, step):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    shard = root / f"artifacts/tiny/round_01/{step}/part-00000.parquet"
    row = rows(plan, "tiny/round_01/generated")[0]["sample_id"]
    text = shard.read_bytes()[:100]
    shard.unlink()
    shard.write_bytes(text)
    catalog = read_catalog(open_project(root))
    with pytest.raises(ArtifactError, match=f"tiny/round_01/{step}: its rows cannot be read"):
        back(catalog, row)


def test_tree_spells_everything_out_once_within_the_width(plan, catalog):
    row = rows(plan, "tiny/round_02/filtered")[0]
    tree = back(catalog, row["sample_id"]).as_tree(100)
    lines = tree.splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("tiny/start/checkpoint" in line and "@" in line for line in lines) == 1
    assert "(spelled out above)" in tree
    assert "sampled by tiny/start/checkpoint in round 1" in tree


def test_graph_json_has_a_node_for_every_edge(plan, catalog):
    found = json.loads(json.dumps(back(catalog, "tiny/round_02/evaluation").as_json()))
    ids = {node["id"] for node in found["nodes"]}
    assert {end for edge in found["edges"] for end in (edge["from"], edge["to"])} <= ids
    assert found["root"] in ids


def test_forward_from_a_prompt_counts_its_samples_decisions_and_checkpoints(plan, catalog):
    prompt = rows(plan, "tiny/tasks/train")[0]["prompt_id"]
    found = {one.key: one for one in trace_forward(catalog, Target(TargetKind.ROW, prompt), COMPUTE, "tiny")}
    mine = [row for row in rows(plan, "tiny/round_01/verified") if row["prompt_id"] == prompt]
    passed = [row for row in mine if row["verdict"] == "pass"]
    assert found["tiny/round_01/verified"].made == 3
    assert sum(found["tiny/round_01/verified"].decisions.values()) == 3
    assert set(found["tiny/round_01/generated"].ids) == {row["sample_id"] for row in mine}
    kept = found.get("tiny/round_01/filtered")
    assert (kept.made if kept else 0) == len(passed)
    assert all(one.key.startswith("tiny/") for one in found.values())
    assert "tiny/tasks/base" not in found


def test_forward_from_a_dropped_sample_reaches_no_checkpoint(plan, catalog):
    dropped = rows(plan, "tiny/round_02/filtered.dropped")[0]["sample_id"]
    found = trace_forward(catalog, Target(TargetKind.ROW, dropped), COMPUTE, "tiny")
    assert [one.key for one in found] == [
        "tiny/round_02/generated",
        "tiny/round_02/verified",
        "tiny/round_02/filtered.dropped",
    ]


def test_forward_from_a_checkpoint_reaches_samples_and_later_checkpoints(plan, catalog):
    found = {
        one.key: one
        for one in trace_forward(catalog, Target(TargetKind.ARTIFACT, "tiny/round_01/checkpoint"), COMPUTE)
    }
    generated = found["tiny/round_02/generated"]
    assert (generated.total, generated.influenced) == (60, 60)
    later = found["tiny/round_02/checkpoint"]
    kept = found["tiny/round_02/filtered"].influenced
    assert later.through == (("init", "tiny/round_01/checkpoint", 0), ("rows", "tiny/round_02/mixed", kept))
    assert not any(key.startswith("control/") for key in found)


def test_forward_text_and_json_say_the_same(plan, catalog):
    found = trace_forward(catalog, Target(TargetKind.ARTIFACT, "tiny/start/checkpoint"), COMPUTE)
    text = forward_text(found, 200)
    for entry in json.loads(json.dumps(forward_json(found))):
        assert entry["key"].partition("/")[2] in text
    assert "CHECKPOINT @" in text
