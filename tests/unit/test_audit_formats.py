"""`lineal trace` in its formats: diagrams that hold any text, and the table of a prompt's samples."""

import json
import re

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.audit.trace.diagrams import as_dot, as_mermaid
from lineal.audit.trace.lineage import Graph, LineageNode
from lineal.cli.look import trace
from lineal.errors import UsageError
from tests.unit.audit_project import made_project

HOSTILE = 'a"]; b -->|x| <script>alert(1)</script> \\ #quot; \n end\x1b[31m'


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("formats"))


def rows(plan, key):
    return pq.read_table(plan.project.directory(key) / "part-00000.parquet").to_pylist()


def run(plan, *arguments):
    return CliRunner().invoke(trace, arguments, obj=plan.project.root, catch_exceptions=False)


def hostile_graph():
    graph = Graph("root")
    graph.add(LineageNode("root", "sample", HOSTILE, {"completion": HOSTILE}))
    graph.add(LineageNode("other", "rows", "p/x", {}))
    graph.connect("root", HOSTILE, "other", reason=HOSTILE)
    return graph


@pytest.mark.parametrize("direction", [[], ["--forward"]])
def test_diagrams_hold_every_node_and_edge_of_the_json(plan, direction):
    row = rows(plan, "tiny/round_02/filtered")[0]["sample_id"]
    found = json.loads(run(plan, row, *direction, "--format", "json").output)
    edges = found["edges"] if not direction else [part for one in found for part in one["through"]]
    nodes = found["nodes"] if not direction else found
    dot, mermaid = (run(plan, row, *direction, "--format", form).output for form in ("dot", "mermaid"))
    assert len(re.findall(r"^  n\d+ \[label=", dot, re.MULTILINE)) == len(nodes)
    assert len(re.findall(r"^  n\d+ -> n\d+ ", dot, re.MULTILINE)) == len(edges)
    assert len(re.findall(r"^  n\d+ -->\|", mermaid, re.MULTILINE)) == len(edges)
    assert len(mermaid.splitlines()) == 1 + len(nodes) + len(edges)


def test_json_flag_is_the_json_format(plan):
    row = rows(plan, "tiny/round_01/filtered")[0]["sample_id"]
    assert run(plan, row, "--json").output == run(plan, row, "--format", "json").output


def test_dot_quotes_whatever_a_model_wrote():
    dot = as_dot(hostile_graph())
    strings = re.findall(r'"(?:[^"\\]|\\.)*"', dot)
    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", dot).replace(" -> ", " ")
    assert len(strings) == 4
    assert not set(outside) & set("<>#\x1b\\")
    assert len(dot.splitlines()) == 7


def test_mermaid_leaves_no_syntax_in_labels():
    text = as_mermaid(hostile_graph())
    labels = re.findall(r'"([^"]*)"', text)
    assert len(labels) == 3
    assert all(not set(re.sub(r"#\d+;|<br/>", "", label)) & set("<>#&;|[](){}\\`") for label in labels)
    assert len(text.splitlines()) == 4


def test_samples_tell_every_verdict_and_decision_of_every_round(plan):
    prompt = rows(plan, "tiny/tasks/train")[0]["prompt_id"]
    found = json.loads(run(plan, prompt, "--samples", "--json").output)
    expected = [
        row
        for number in (1, 2)
        for row in rows(plan, f"tiny/round_0{number}/verified")
        if row["prompt_id"] == prompt
    ]
    own = [sample for sample in found["samples"] if sample["made_in"].endswith("generated")]
    assert [sample["sample_id"] for sample in own] == [row["sample_id"] for row in expected]
    for sample, row in zip(own, expected, strict=True):
        group = f"tiny/round_0{row['round']}"
        assert [(told["artifact"], told["verdict"]) for told in sample["verdicts"]] == [
            (f"{group}/verified", row["verdict"])
        ]
        kept = row["verdict"] == "pass"
        decided = (f"{group}/filtered", "kept") if kept else (f"{group}/filtered.dropped", "dropped")
        first = sample["decisions"][0]
        assert (first["artifact"], first["decision"]) == decided
        assert first["reason"] == row["verdict"]


def test_samples_table_gives_reasons(plan):
    dropped = rows(plan, "tiny/round_01/filtered.dropped")[0]
    text = run(plan, dropped["prompt_id"][:12], "--samples").output
    (line,) = [line for line in text.splitlines() if dropped["sample_id"] in line]
    assert f"dropped by round_01/filtered: {dropped['reason']}" in line
    assert "round_02/generated: 3 samples" in text


def test_samples_in_another_pipeline_are_its_own(plan):
    prompt = rows(plan, "tiny/tasks/train")[0]["prompt_id"]
    found = json.loads(run(plan, prompt, "--samples", "--pipeline", "control", "--json").output)
    assert found["pipeline"] == "control"
    own = [sample for sample in found["samples"] if sample["made_in"].endswith("generated")]
    assert [sample["decisions"][0]["decision"] for sample in own] == ["kept"] * 6


def test_samples_of_what_is_no_prompt_are_refused(plan):
    row = rows(plan, "tiny/round_01/filtered")[0]["sample_id"]
    with pytest.raises(UsageError, match="is no prompt"):
        run(plan, row, "--samples")
    with pytest.raises(UsageError, match="is no prompt"):
        run(plan, "tiny/start/checkpoint", "--samples")
    assert run(plan, row, "--samples", "--format", "dot").exit_code == 2
