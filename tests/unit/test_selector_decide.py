"""Selection by deciding: every row exactly once kept or dropped, and loud errors when the SQL does otherwise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.errors import CheckFailure, DataError, DeclarationError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of, samples

VERDICTS = st.dictionaries(st.sampled_from("abcd"), st.text("pfe", min_size=1, max_size=5), min_size=1)
HEADER = "-- summary: A test.\n"


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def select(lab, rows, sql, **settings):
    inputs = rows if isinstance(rows, dict) else {"rows": rows}
    put = {
        name: lab.put(f"round_01/{name}", value) if isinstance(value, list) else value
        for name, value in inputs.items()
    }
    made = lab.run("select", "round_01/filtered", put, sql=sql, **settings)
    return rows_of(made[""]), rows_of(made["dropped"])


def ids(rows):
    return [row["sample_id"] for row in rows]


def reasons(rows):
    return {row["sample_id"]: row["reason"] for row in rows}


def require_conserved(lab, given, kept, dropped):
    assert sorted(ids(kept) + ids(dropped)) == sorted(ids(given)) and len(set(ids(given))) == len(given)
    order = {name: place for place, name in enumerate(ids(given))}
    for part in (kept, dropped):
        assert [order[name] for name in ids(part)] == sorted(order[name] for name in ids(part))
        assert all(
            row["completion"] == next(g for g in given if g["sample_id"] == row["sample_id"])["completion"]
            for row in part
        )
    assert all(row["reason"] for row in dropped)
    assert lab.counts["in"] == lab.counts["kept"] + lab.counts["dropped"] == len(given)
    assert (
        sum(count for name, count in lab.counts.items() if name.startswith("dropped: "))
        == lab.counts["dropped"]
        == len(dropped)
    )


DECIDING = [
    ("keep_all", {}),
    ("keep_correct", {"max_per_prompt": 2, "deduplicate": True}),
    ("length_filter", {"min_share": 0.5}),
    ("deduplicate", {}),
    ("pass_rate_band", {"low": 0.1, "high": 0.9}),
    ("top_up", {"passes": 2}),
    ("sample_rows", {"count": 3}),
    ("nearest_difficulty", {"target": 2.0, "count": 3}),
    ("vote_margin", {"min_share": 0.5, "max_per_prompt": 1}),
]


@settings(max_examples=15)
@pytest.mark.parametrize(("sql", "arguments"), DECIDING)
@given(verdicts=VERDICTS, data=st.data())
def test_select_conserves_rows(tmp_path_factory, sql, arguments, verdicts, data):
    lab = Lab(tmp_path_factory.mktemp("lab"))
    texts = st.sampled_from(["", "x", "xx", "xxxx"])
    shares = st.sampled_from([0.0, 0.25, 0.5, 1.0])
    rows = samples(
        verdicts,
        completion=lambda p, i: data.draw(texts),
        vote_share=lambda p, i: data.draw(shares),
        vote_margin=lambda p, i: 0.5,
    )
    try:
        kept, dropped = select(lab, rows, sql, **arguments)
    except CheckFailure as error:
        assert error.check == "not_empty" and lab.counts["dropped"] == len(rows)
    else:
        require_conserved(lab, rows, kept, dropped)


def test_keep_correct_keeps_passes_and_says_why_not_others(lab):
    kept, dropped = select(lab, samples({"a": "pfe", "b": "pp"}), "keep_correct")
    assert ids(kept) == ["a-0", "b-0", "b-1"] and reasons(dropped) == {"a-1": "fail", "a-2": "error"}
    assert {row["decision"] for row in kept} == {"kept"} and {row["weight"] for row in kept} == {1.0}


@given(VERDICTS, st.integers(1, 3))
@settings(max_examples=20)
def test_keep_correct_keeps_as_many_as_it_may(tmp_path_factory, verdicts, most):
    expected = {
        prompt: min(most, letters.count("p")) for prompt, letters in verdicts.items() if "p" in letters
    }
    if not expected:
        return
    kept, _ = select(
        Lab(tmp_path_factory.mktemp("lab")), samples(verdicts), "keep_correct", max_per_prompt=most
    )
    assert {prompt: sum(row["prompt_id"] == prompt for row in kept) for prompt in expected} == expected
    assert {row["verdict"] for row in kept} == {"pass"}


def test_keep_correct_draws_by_seed(tmp_path):
    verdicts = {f"p{number}": "pppp" for number in range(20)}

    def drawn(name, seed):
        return ids(
            select(Lab(tmp_path / name, seed=seed), samples(verdicts), "keep_correct", max_per_prompt=1)[0]
        )

    assert drawn("a", 0) == drawn("b", 0) != drawn("c", 1)


def test_keep_correct_deduplicates_equal_completions_of_a_prompt(lab):
    rows = samples({"a": "ppf", "b": "p"}, completion=lambda prompt, index: "same")
    kept, dropped = select(lab, rows, "keep_correct", deduplicate=True)
    assert ids(kept) == ["a-0", "b-0"] and reasons(dropped) == {
        "a-1": "same completion kept already",
        "a-2": "fail",
    }


def test_length_filter_measures_against_the_longest_of_the_same_difficulty(lab):
    lengths = {"a": [10, 4], "b": [2, 1]}
    rows = samples(
        {"a": "pp", "b": "pp"},
        completion=lambda p, i: "x" * lengths[p][i],
        difficulty=lambda p, i: {"a": 9.0, "b": 1.0}[p],
    )
    kept, dropped = select(lab, rows, "length_filter", min_share=0.5, max_characters=9)
    assert ids(kept) == ["b-0", "b-1"] and reasons(dropped) == {"a-0": "too long", "a-1": "too short"}
    kept, dropped = select(lab, rows, "length_filter", max_shortfall=0)
    assert ids(kept) == ["a-0", "b-0"] and set(reasons(dropped).values()) == {"too short"}


def test_pass_rate_band_keeps_prompts_in_between(lab):
    kept, dropped = select(lab, samples({"a": "pp", "b": "pf", "c": "ff", "d": "e"}), "pass_rate_band")
    assert ids(kept) == ["b-0", "b-1"]
    assert set(reasons(dropped).values()) == {"too easy", "too hard", "only errors"}


def test_nearest_difficulty_keeps_the_nearest(lab):
    rows = [
        {"prompt_id": f"p{i}", "prompt": "?", "answer": "a", "difficulty": d}
        for i, d in enumerate([1.0, 5.0, 3.0, None, 3.2])
    ]
    kept, dropped = select(lab, rows, "nearest_difficulty", target=3.0, count=2)
    assert [row["prompt_id"] for row in kept] == ["p2", "p4"]
    assert [row["reason"] for row in dropped] == [
        "too far from the target",
        "too far from the target",
        "no difficulty",
    ]


def test_vote_margin_keeps_clear_votes(lab):
    shares = {"a": 0.75, "b": 0.5}
    rows = samples(
        {"a": "ppf", "b": "ppf"}, vote_share=lambda p, i: shares[p], vote_margin=lambda p, i: shares[p] - 0.25
    )
    kept, dropped = select(lab, rows, "vote_margin", min_share=0.6, max_per_prompt=1)
    assert len(kept) == 1 and kept[0]["prompt_id"] == "a"
    assert set(reasons(dropped).values()) == {
        "over max_per_prompt",
        "not the winning answer",
        "share too small",
    }


def test_select_nothing_kept_says_the_reasons_and_where_to_look(lab):
    rows = samples({"a": "ff", "b": "e"})
    with pytest.raises(CheckFailure) as caught:
        select(lab, rows, "keep_correct")
    assert caught.value.check == "not_empty"
    expected = "p/round_01/filtered: 0 of 3 rows kept (2 fail, 1 error). Look at: lineal show p/round_01/rows --limit 20"
    assert str(caught.value) == expected


def test_select_reads_several_artifacts_with_different_columns(lab):
    first = lab.put("round_01/first", samples({"a": "pf"}))
    second = lab.put("round_02/second", samples({"b": "pf"}, hinted=lambda prompt, index: True))
    kept, dropped = select(lab, {"rows": (first, second)}, "keep_correct")
    assert [(row["sample_id"], row["hinted"]) for row in kept] == [("a-0", None), ("b-0", True)]
    assert ids(dropped) == ["a-1", "b-1"]


def test_select_again_overwrites_the_earlier_decision(lab):
    first = lab.run(
        "select",
        "round_01/once",
        {"rows": lab.put("round_01/rows", samples({"a": "ppf"}))},
        sql="keep_correct",
    )[""]
    kept, dropped = select(lab, {"rows": first}, "keep_correct", max_per_prompt=1)
    assert len(kept) == 1 and set(reasons(dropped).values()) == {"over max_per_prompt"}


def test_select_of_rows_that_share_an_id_names_it(lab):
    one = lab.put("round_01/one", samples({"a": "p"}))
    with pytest.raises(
        DataError, match=r"input 'rows' \(p/round_01/one, p/round_01/one\): 2 rows have id 'a-0'"
    ):
        select(lab, {"rows": (one, one)}, "keep_all")


def test_a_pool_with_repeated_prompts_is_deduplicated_and_then_sampled(tmp_path):
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    pool = [{"prompt_id": name, "prompt": f"{name}=", "answer": name} for name in "abacb"]
    once = lab.run(
        "select", "round_01/once", {"rows": lab.put("round_01/pool", pool)}, sql="first_of_each_prompt"
    )
    assert [row["prompt_id"] for row in rows_of(once[""])] == ["a", "b", "c"]
    assert [row["prompt_id"] for row in rows_of(once["dropped"])] == ["a", "b"]
    assert lab.counts["in"] == 5 and lab.counts["kept"] == 3 and lab.counts["dropped"] == 2
    inputs = {"model": lab.put("start/model", pool[:1]), "prompts": once[""]}
    assert [row["parents"] for row in rows_of(lab.run("sample", "round_01/x", inputs)[""])] == [
        ["a"],
        ["b"],
        ["c"],
    ]


def test_retracted_repeats_are_all_dropped(lab):
    lab.retracted = {"a": "retracted: wrong"}
    pool = [{"prompt_id": name, "prompt": f"{name}="} for name in "abacb"]
    made = lab.run(
        "select", "round_01/once", {"rows": lab.put("round_01/pool", pool)}, sql="first_of_each_prompt"
    )
    assert [row["prompt_id"] for row in rows_of(made[""])] == ["b", "c"]
    assert [(row["prompt_id"], row["reason"]) for row in rows_of(made["dropped"])] == [
        ("a", "retracted: wrong"),
        ("a", "retracted: wrong"),
        ("b", "its prompt is kept already"),
    ]


def test_query_that_decides_a_position_twice_is_named(lab):
    lab.selector("twice", HEADER + "SELECT 0 AS position, 'kept' AS decision, '' AS reason FROM rows")
    with pytest.raises(
        DeclarationError, match="2 rows have none, 2 decisions are second ones.*every position of 'rows'"
    ):
        select(lab, samples({"a": "pff"}), "twice")


@pytest.mark.parametrize(("one", "other"), [([1], 1.5), ({"k": 1}, 1.5)])
def test_rows_whose_columns_do_not_fit_together_say_so_and_nothing_of_memory(lab, one, other):
    rows = tuple(
        lab.put(f"round_01/{name}", [{**samples({name: "p"})[0], "own": own}])
        for name, own in (("a", one), ("b", other))
    )
    with pytest.raises(DataError, match="rows of .*own|rows of rows together") as caught:
        lab.run("select", "round_01/x", {"rows": rows}, sql="keep_all")
    assert "memory" not in str(caught.value)


def test_rows_that_need_more_memory_than_there_is_say_so(tmp_path):
    lab = Lab(tmp_path, Compute(workers=1, memory_limit="10MB"))
    lab.selector("big", HEADER + LARGE)
    with pytest.raises(
        DataError, match=r"gave up on its rows \(memory_limit 10MB.*Raise compute.memory_limit"
    ):
        select(lab, samples({"a": "p"}), "big")


LARGE = """SELECT row_id, 'kept' AS decision, left(string_agg(md5(n::VARCHAR), '' ORDER BY n, position), 1) AS reason
FROM rows, range(1000000) AS t(n) GROUP BY row_id
"""


def test_select_lies_in_a_directory_with_wildcards(tmp_path):
    kept, _ = select(Lab(tmp_path / "a[b]*c?'d"), samples({"a": "p"}), "keep_correct")
    assert ids(kept) == ["a-0"]


def test_select_bytes_do_not_depend_on_threads_or_memory(tmp_path):
    # sums of floats round by the order of rows: the guard puts such a query on one thread
    text = HEADER + (
        "-- needs: prompt_id\n-- adds: total\n"
        "SELECT row_id, 'kept' AS decision, 'sum' AS reason, total FROM rows JOIN "
        "(SELECT prompt_id, sum(score * 0.1) + avg(score) AS total FROM rows GROUP BY prompt_id) USING (prompt_id)"
    )
    rows = [
        {
            "sample_id": f"s{i}",
            "prompt_id": f"p{i % 7}",
            "prompt": "?",
            "completion": "c",
            "score": (i * 7919 % 1000) / 997,
        }
        for i in range(150_000)
    ]
    digests = set()
    for number, compute in enumerate(
        (Compute(workers=1), Compute(workers=4), Compute(workers=4, memory_limit="300MB"))
    ):
        lab = Lab(tmp_path / str(number), compute)
        lab.selector("sums", text)
        made = lab.run("select", "round_01/filtered", {"rows": lab.put("round_01/rows", rows)}, sql="sums")
        digests.add(made[""].digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    "endless",
    [
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
        "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c WHERE a.range + b.range = c.range * 3 + 1",
    ],
)
def test_decisions_a_query_without_an_end_is_ended(tmp_path, endless):
    lab = Lab(tmp_path, Compute(workers=1, query_seconds=0.2))
    lab.selector(
        "endless", f"{HEADER}SELECT row_id, 'kept' AS decision, '' AS reason FROM rows WHERE ({endless}) > 0"
    )
    message = r"pipelines/selectors/endless\.sql: the query was ended after 0\.2 s\. A recursion without an end, or a join"
    with pytest.raises(DeclarationError, match=message):
        select(lab, samples({"a": "p"}), "endless")


BROKEN = [
    (
        "SELECT row_id, 'kept' AS decision, '' AS reason FROM rows WHERE verdict = 'pass'",
        "3 rows came in, but 1 decisions came out: 2 rows have none",
    ),
    (
        "SELECT row_id, 'kept' AS decision, '' AS reason FROM rows, range(2)",
        "6 decisions came out: 0 rows have none, 3 decisions are second",
    ),
    (
        "SELECT row_id || 'x' AS row_id, 'kept' AS decision, '' AS reason FROM rows",
        "3 rows have none, 0 decisions are second ones, 3 are of unknown rows",
    ),
    (
        "SELECT min(row_id) OVER () AS row_id, 'kept' AS decision, '' AS reason FROM rows",
        "3 decisions came out: 2 rows have none, 2 decisions are second ones, 0 are of unknown rows",
    ),
    (
        "SELECT nullif(row_id, min(row_id) OVER ()) AS row_id, 'kept' AS decision, '' AS reason FROM rows",
        "3 decisions came out: 1 rows have none, 0 decisions are second ones, 1 are of unknown rows",
    ),
    ("SELECT row_id, 'keep' AS decision, '' AS reason FROM rows", "row_id 'a-0' has decision 'keep'"),
    (
        "SELECT row_id, 'dropped' AS decision, NULL AS reason FROM rows",
        "expected 'kept', or 'dropped' with a reason",
    ),
    ("SELECT row_id, 'kept' AS decision FROM rows", "gives no column 'reason'"),
    (
        "SELECT row_id, 'kept' AS decision, '' AS reason, 1 AS wieght FROM rows",
        "'wieght' that the header doesn't name. Did you mean 'weight'",
    ),
    (
        "SELECT row_id, 'kept' AS decision, '' AS reason FROM rows WHERE nothing = 1",
        'Binder Error: .*"nothing"',
    ),
]


@pytest.mark.parametrize(("query", "message"), BROKEN)
def test_select_query_that_breaks_the_contract_is_named(lab, query, message):
    lab.selector("broken", HEADER + query)
    with pytest.raises(DeclarationError, match=r"pipelines/selectors/broken\.sql: (.|\n)*" + message):
        select(lab, samples({"a": "pfe"}), "broken")


def test_select_weights_reach_the_rows(lab):
    lab.selector(
        "weighted",
        HEADER + "SELECT row_id, 'kept' AS decision, '' AS reason, position / 2 AS weight FROM rows",
    )
    kept, _ = select(lab, samples({"a": "pfe"}), "weighted")
    assert [row["weight"] for row in kept] == [0.0, 0.5, 1.0]
