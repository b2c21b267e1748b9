"""Agreement of a judge with the truth, against counting by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.errors import DataError
from tests.unit.lab import Lab, evaluated

VERDICTS = st.sampled_from(["pass", "fail", "error"])


def measured(lab, triples, **columns):
    rows = [
        {
            "sample_id": str(i),
            "verdict": truth,
            "judge_verdict": judge,
            "judge_score": score,
            "difficulty": float(i % 2),
        }
        for i, (truth, judge, score) in enumerate(triples)
    ]
    made = lab.run(
        "agreement",
        "round_01/agreement",
        {"rows": lab.put("round_01/judged", rows)},
        judge="judge",
        **columns,
    )[""]
    return evaluated(made)


def test_agreement_counts_right_and_wrong_rows_apart(tmp_path):
    triples = [
        ("pass", "pass", 1.0),
        ("pass", "fail", 0.0),
        ("fail", "fail", 0.0),
        ("fail", "fail", 0.5),
        ("error", "pass", 1.0),
    ]
    found = measured(Lab(tmp_path), triples)
    expected = {
        "agreement": 0.75,
        "passed": 0.25,
        "right": 0.5,
        "count": 4,
        "errors": 1,
        "precision": 1.0,
        "gap": 0.5,
        "sensitivity": 0.5,
        "specificity": 1.0,
        "balanced": 0.75,
        "auc": (1 + 1 + 0.5 + 0) / 4,
    }
    assert expected.items() <= found.items()
    assert found["intervals"].keys() == expected.keys() - {"count", "errors"}
    assert (
        found["intervals"]["agreement"]
        == [found["low"], found["high"]]
        == [pytest.approx(0.3006, abs=1e-4), pytest.approx(0.9544, abs=1e-4)]
    )
    group = found["by_difficulty"]["1"]
    assert {name: group[name] for name in group if name not in ("low", "high")} == {
        "agreement": 0.5,
        "passed": 0.0,
        "right": 0.5,
        "count": 2,
        "sensitivity": 0.0,
        "specificity": 1.0,
        "balanced": 0.5,
    }


@settings(max_examples=25)
@given(st.lists(st.tuples(VERDICTS, VERDICTS, st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=30))
def test_agreement_is_what_pairs_counted_one_by_one_give(tmp_path_factory, triples):
    both = [entry for entry in triples if "error" not in entry[:2]]
    lab = Lab(tmp_path_factory.mktemp("lab"))
    if not both:
        with pytest.raises(DataError, match="has both verdicts"):
            measured(lab, triples)
        return
    found = measured(lab, triples)
    assert found["agreement"] == pytest.approx(sum(truth == judge for truth, judge, _ in both) / len(both))
    pairs = [(a[2], b[2]) for a in both for b in both if a[0] == "pass" and b[0] == "fail"]
    above = sum((a > b) + (a == b) / 2 for a, b in pairs)
    assert found.get("auc") == (pytest.approx(above / len(pairs)) if pairs else None)


def test_agreement_of_a_verifier_with_itself_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be two verifiers"):
        Lab(tmp_path).parse("agreement", {"rows": ()})
