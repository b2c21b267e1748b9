"""Two verifiers beside each other, one after another, and rows that a selection made: each told as what it is."""

from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.diff import DiffSide, compare
from lineal.audit.show.artifact import as_text as show_text
from lineal.audit.show.artifact import look_at
from lineal.audit.show.prompt_samples import prompt_samples, samples_text
from lineal.audit.show.rounds import prove_round
from lineal.audit.show.rounds_text import as_text
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.taint import taint
from lineal.audit.trace.target import Target, TargetKind
from lineal.audit.verify import problems_of
from lineal.recipe.compute import Compute
from tests.unit.audit_project import METHOD, run_all, write_project

COMPUTE = Compute(workers=1)
BESIDE = """
  again:      {use: exact_match, rows: generated, ignore_case: true}
  named:      {use: exact_match, rows: verified, name: second}
  voted:      {use: majority_vote, rows: verified, name: vote}
  rejudged:   {use: majority_vote, rows: filtered, name: vote}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    root = write_project(tmp_path_factory.mktemp("beside"), rounds=1)
    (root / "pipelines" / "tiny.yaml").write_text(METHOD % "right" + BESIDE.lstrip("\n"))
    (root / "params.yaml").write_text("rounds: 1\nactive: [tiny]\ncompute: {engine: fake, workers: 1}\n")
    return run_all(root)


def rows(plan, name):
    return pq.read_table(plan.project.directory(f"tiny/round_01/{name}") / "part-00000.parquet").to_pylist()


def test_trace_calls_every_verdict_one_where_verifiers_beside_each_other_agree(plan):
    sample = rows(plan, "filtered")[0]
    graph = trace_back(read_catalog(plan.project), Target(TargetKind.ROW, sample["sample_id"]), COMPUTE)
    told = {edge.target: (edge.relation, dict(edge.facts)) for edge in graph.below(graph.root)}
    assert told["tiny/round_01/verified"] == ("verdict", {"verdict": "pass", "score": 1.0})
    assert told["tiny/round_01/again"] == ("verdict", {"verdict": "pass", "score": 1.0})
    assert told["tiny/round_01/named"] == ("verdict", {"second_verdict": "pass", "second_score": 1.0})
    assert told["tiny/round_01/filtered"][1] == {"decision": "kept", "reason": "pass", "weight": 1.0}


def test_samples_list_the_verdict_of_each_verifier_where_they_agree(plan):
    prompt = rows(plan, "filtered")[0]["prompt_id"]
    found = prompt_samples(read_catalog(plan.project), Target(TargetKind.ROW, prompt), COMPUTE)
    sampled = [one for one in found.samples if one.made_in == "tiny/round_01/generated"]
    assert len(sampled) == 3
    for sample in sampled:
        judges = sorted((told["artifact"], told.get("by")) for told in sample.verdicts)
        assert [one for one in judges if one != ("tiny/round_01/rejudged", "vote")] == [
            ("tiny/round_01/again", None),
            ("tiny/round_01/named", "second"),
            ("tiny/round_01/verified", None),
            ("tiny/round_01/voted", "vote"),
        ]


def test_samples_say_of_rows_that_a_selection_made_from_what(plan):
    made = next(row for row in rows(plan, "mixed") if row["round"])
    found = prompt_samples(read_catalog(plan.project), Target(TargetKind.ROW, made["prompt_id"]), COMPUTE)
    text = samples_text(found, 300)
    group = text[text.index("round_01/mixed: ") :]
    assert f"made from {made['parents'][0]}" in group
    assert "not judged" not in group and "no selection saw it" not in group and "kept" not in group


VERDICTS = {
    "verified": "verdict",
    "again": "verdict",
    "named": "second_verdict",
    "voted": "vote_verdict",
    "rejudged": "vote_verdict",
}


def test_verify_finds_artifacts_sound_whose_verifier_names_its_columns(plan):
    catalog = read_catalog(plan.project)
    assert problems_of(plan.project, catalog, catalog.artifacts.values()) == {}


def test_verify_finds_wrong_counts_in_the_column_that_the_verifier_named(plan):
    catalog = read_catalog(plan.project)
    voted = catalog.artifacts["tiny/round_01/voted"]
    wrong = voted.manifest.counts | {"pass": voted.manifest.counts["pass"] + 1}
    edited = replace(voted, manifest=voted.manifest.model_copy(update={"counts": wrong}))
    assert f"its manifest counts {wrong['pass']:,}" in " ".join(
        problems_of(plan.project, catalog, [edited])[voted.key]
    )


@pytest.mark.parametrize(("name", "column"), VERDICTS.items())
def test_taint_counts_rows_by_the_verdict_of_the_artifact_itself(plan, name, column):
    found = taint(read_catalog(plan.project), "round = 1", COMPUTE)
    told = {one.key: dict(one.decisions) for one in found.touched}[f"tiny/round_01/{name}"]
    assert told == dict(Counter(row[column] for row in rows(plan, name)))


def test_diff_compares_the_verdicts_that_each_side_gave_itself(plan):
    catalog = read_catalog(plan.project)
    sides = [
        DiffSide(name, {"judged": catalog.artifacts[f"tiny/round_01/{name}"]})
        for name in ("verified", "voted")
    ]
    (found,) = compare(*sides, COMPUTE).artifacts
    pairs = Counter((row["verdict"], row["vote_verdict"]) for row in rows(plan, "voted"))
    assert found.rows.verdicts == {pair: count for pair, count in pairs.items() if pair[0] != pair[1]}
    states = Counter()
    for prompt in {row["prompt_id"] for row in rows(plan, "voted")}:
        own = [row for row in rows(plan, "voted") if row["prompt_id"] == prompt]
        states[
            tuple(
                "solved" if any(row[c] == "pass" for row in own) else "unsolved"
                for c in ("verdict", "vote_verdict")
            )
        ] += 1
    assert found.prompts.counts == states


def test_round_and_show_tell_the_verdict_that_a_verifier_named(plan):
    catalog = read_catalog(plan.project)
    told = as_text(prove_round(plan.project, catalog, "tiny/round_01", True, None), 200)
    assert "majority_vote@" in told and "tiny/round_01/voted" in told.partition("artifact ")[0]
    shown = look_at(catalog, catalog.artifacts["tiny/round_01/voted"], None, 3, COMPUTE)
    head = next(line for line in show_text(shown, 300).splitlines() if line.startswith("sample_id"))
    assert head.index("vote_verdict") < head.index("finish_reason")
