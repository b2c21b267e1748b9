"""Selection that makes rows: parents, ids, order, and what nothing was made from."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.data.schema import COLUMNS
from lineal.errors import CheckFailure, DeclarationError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of, samples
from tests.unit.test_selector_decide import HEADER, ids, select


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def prompts(count):
    return [
        {"prompt_id": f"q{i}", "prompt": f"q{i}=", "answer": f"a{i}", "difficulty": 1.0} for i in range(count)
    ]


def test_with_replay_adds_a_fraction_of_the_rows(lab):
    made, dropped = select(
        lab,
        {"rows": samples({"a": "pppp", "b": "pppp"}), "replay": prompts(50)},
        "with_replay",
        fraction=0.25,
    )
    assert [row["parents"] for row in made[:8]] == [
        [name] for name in ids(samples({"a": "pppp", "b": "pppp"}))
    ]
    assert len(made) == 10 and dropped == [] and lab.counts == {"in": 8, "kept": 8, "dropped": 0, "out": 10}
    for row in made[8:]:
        assert (
            row["parents"] == [row["prompt_id"]]
            and row["completion"] == row["answer"] == "a" + row["prompt_id"][1:]
        )
    assert len({row["sample_id"] for row in made}) == 10 and {row["round"] for row in made} == {1}


def test_with_replay_draws_others_for_another_seed(tmp_path):
    def drawn(name, seed):
        lab = Lab(tmp_path / name, seed=seed)
        made, _ = select(
            lab, {"rows": samples({"a": "pppp"}), "replay": prompts(40)}, "with_replay", fraction=1.0
        )
        return [row["prompt_id"] for row in made[4:]]

    assert drawn("a", 0) == drawn("b", 0) != drawn("c", 1)


def test_with_replay_takes_a_row_that_is_in_both_inputs_once(lab):
    rows = samples({"a": "pp", "b": "pp"})
    made, dropped = select(lab, {"rows": rows, "replay": rows[:3]}, "with_replay", fraction=1.0)
    assert [row["parents"] for row in made] == [[name] for name in ids(rows)] and dropped == []
    assert lab.counts == {"in": 4, "kept": 4, "dropped": 0, "out": 4, "in several inputs": 3}
    assert len({row["sample_id"] for row in made}) == 4


def test_with_replay_writes_an_answer_only_where_an_input_has_one(lab):
    component = lab.parse("select", {"rows": (), "replay": ()}, sql="with_replay")
    bare, full = ("prompt_id", "prompt", "completion"), ("prompt_id", "prompt", "answer")
    assert component.outputs({"rows": bare, "replay": bare})[""].columns == (
        "sample_id",
        "parents",
        *bare,
        "round",
    )
    assert "answer" in component.outputs({"rows": bare, "replay": full})[""].columns
    text = [{"sample_id": "s", "prompt_id": "p", "prompt": "?", "completion": "c"}]
    made, _ = select(
        lab,
        {"rows": text, "replay": [{**text[0], "sample_id": "t", "prompt_id": "r"}]},
        "with_replay",
        fraction=1.0,
    )
    assert [row["completion"] for row in made] == ["c", "c"] and "answer" not in made[0]


def test_made_ids_change_with_step_parents_and_content(lab):
    rows = {
        "rows": lab.put("round_01/rows", samples({"a": "pp"})),
        "replay": lab.put("tasks/base", prompts(4)),
    }
    made = [
        ids(rows_of(lab.run("select", step, rows, sql="with_replay")[""]))
        for step in ("round_01/x", "round_02/x", "round_01/x")
    ]
    assert made[0] == made[2] and not set(made[0]) & set(made[1])


def test_prompts_without_pass_are_prompts_again(lab):
    rows = samples({"a": "ff", "b": "pf", "c": "ef"}, task=lambda p, i: "letters")
    rows = [{**row, "solution": "own"} for row in rows]
    made, dropped = select(lab, rows, "prompts_without_pass")
    assert (
        [row["prompt_id"] for row in made] == ["a", "c"]
        and "sample_id" not in made[0]
        and "entry" not in made[0]
    )
    assert made[0]["parents"] == ["a-0", "a-1"] and made[0]["answer"] == "a" and made[0]["task"] == "letters"
    assert made[0]["solution"] == "own" and "completion" not in made[0]
    assert ids(dropped) == ["b-0", "b-1"] and {row["reason"] for row in dropped} == {"its prompt was solved"}
    assert {row["decision"] for row in dropped} == {"dropped"}


def test_pairs_hold_a_right_and_a_wrong_completion(lab):
    made, dropped = select(
        lab, samples({"a": "ppff", "b": "pp", "c": "pf"}), "correct_against_incorrect", pairs_per_prompt=2
    )
    words = {row["completion"]: row["verdict"] for row in samples({"a": "ppff", "b": "pp", "c": "pf"})}
    assert [row["prompt_id"] for row in made] == ["a", "a", "c"]
    assert {(words[row["chosen"]], words[row["rejected"]]) for row in made} == {("pass", "fail")}
    assert ids(dropped) == ["b-0", "b-1"]
    used = [parent for row in made for parent in row["parents"]]
    assert len(set(used)) == len(used)


def test_best_against_worst_takes_the_extremes(lab):
    scores = {"a": [0.1, 0.9, 0.5], "b": [0.4, 0.4, 0.4]}
    rows = samples({"a": "fff", "b": "fff"}, score=lambda p, i: scores[p][i])
    (pair,), _ = select(lab, rows, "best_against_worst")
    assert pair["parents"] == ["a-1", "a-0"]


def test_best_against_worst_with_length_control_prefers_short_winners_and_long_losers(lab):
    scores, lengths = [1.0, 0.95, 0.05, 0.0], [50, 10, 40, 5]
    rows = samples({"a": "ffff"}, score=lambda p, i: scores[i], completion=lambda p, i: "x" * lengths[i])
    (pair,), _ = select(lab, rows, "best_against_worst", length_control=0.1)
    assert pair["parents"] == ["a-1", "a-2"]


MAKING = ["prompts_without_pass", "correct_against_incorrect", "best_against_worst"]


@settings(max_examples=15)
@pytest.mark.parametrize("sql", MAKING)
@given(verdicts=st.dictionaries(st.sampled_from("abcd"), st.text("pfe", min_size=1, max_size=5), min_size=1))
def test_made_rows_and_dropped_ones_account_for_every_input(tmp_path_factory, sql, verdicts):
    lab, rows = Lab(tmp_path_factory.mktemp("lab")), samples(verdicts)
    try:
        made, dropped = select(lab, rows, sql)
    except CheckFailure as error:
        assert error.check == "not_empty"
        return
    parents = {parent for row in made for parent in row["parents"]}
    assert parents | set(ids(dropped)) == set(ids(rows)) and not parents & set(ids(dropped))
    assert lab.counts["in"] == lab.counts["kept"] + lab.counts["dropped"] and lab.counts["out"] == len(made)


def test_made_rows_come_in_the_order_of_their_parents_whatever_the_threads(tmp_path):
    verdicts = {f"p{i}": "pf" for i in range(400)}
    digests = set()
    for workers in (1, 4):
        lab = Lab(tmp_path / str(workers), Compute(workers=workers))
        made = lab.run(
            "select",
            "round_01/x",
            {"rows": lab.put("round_01/rows", samples(verdicts))},
            sql="correct_against_incorrect",
        )
        assert [row["prompt_id"] for row in rows_of(made[""])] == list(verdicts)
        digests.add(made[""].digest)
    assert len(digests) == 1


MAKES = HEADER + "-- makes rows: prompt_id, prompt\n"
BROKEN = [
    (
        MAKES + "SELECT ['nobody'] AS parents, prompt_id, prompt FROM rows",
        "parent 'nobody' is no row_id of rows",
    ),
    (MAKES + "SELECT []::VARCHAR[] AS parents, prompt_id, prompt FROM rows", "3 new rows name no parents"),
    (MAKES + "SELECT [NULL, row_id] AS parents, prompt_id, prompt FROM rows", "3 new rows name no parents"),
    (
        MAKES + "SELECT row_id AS parents, prompt_id, prompt FROM rows",
        "'parents' must be a list of row_ids, got VARCHAR",
    ),
    (MAKES + "SELECT [row_id] AS parents, prompt FROM rows", "gives no column 'prompt_id'"),
    (
        MAKES + "SELECT [row_id] AS parents, prompt_id, prompt, 1 AS more FROM rows",
        "column 'more' that '-- makes' doesn't name",
    ),
    (
        MAKES + "SELECT ['a-0'] AS parents, 'x' AS prompt_id, 'y' AS prompt FROM rows",
        "3 new rows are the same",
    ),
    (
        HEADER
        + "-- makes prompts: prompt_id, prompt\nSELECT [row_id] AS parents, prompt_id, prompt FROM rows",
        "3 prompts share a prompt_id",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_made_rows_that_break_the_contract_are_named(lab, text, message):
    lab.selector("broken", text)
    with pytest.raises(DeclarationError, match=r"pipelines/selectors/broken\.sql: .*" + message):
        select(lab, samples({"a": "pfe"}), "broken")


# -- columns that new rows take over ------------------------------------------------------------------------------------

POSED = HEADER + "-- makes prompts: prompt_id, prompt, *\n"


def test_a_star_has_new_rows_take_over_what_generators_do(lab):
    lab.selector(
        "posed",
        POSED + "SELECT [row_id] AS parents, 'q-' || row_id AS prompt_id, completion AS prompt FROM rows",
    )
    rows = samples({"a": "pf"}, persona=lambda p, i: f"pirate {i}", task=lambda p, i: "talk")
    made, _ = select(lab, rows, "posed")
    assert [(row["persona"], row["task"], row["answer"]) for row in made] == [
        ("pirate 0", "talk", "a"),
        ("pirate 1", "talk", "a"),
    ]
    assert made[0].keys() == {
        "parents",
        "prompt_id",
        "prompt",
        "persona",
        "task",
        "answer",
        "difficulty",
        "round",
    }


def test_a_star_takes_from_the_first_parent_and_not_what_the_query_gives(lab):
    query = (
        "SELECT list(row_id ORDER BY position DESC) AS parents, prompt_id, prompt_id AS prompt, 'own' AS task"
    )
    lab.selector(
        "posed", HEADER + f"-- makes rows: prompt_id, prompt, task, *\n{query} FROM rows GROUP BY prompt_id"
    )
    rows = samples({"a": "pf", "b": "p"}, note=lambda p, i: f"{p}{i}", task=lambda p, i: "given")
    made, _ = select(lab, rows, "posed")
    assert [(row["note"], row["task"]) for row in made] == [
        ("a1", "own"),
        ("b0", "own"),
    ] and "verdict" not in made[0]


def test_a_star_takes_columns_that_only_one_input_has(lab):
    both = "SELECT [row_id] AS parents, prompt_id, prompt FROM rows UNION ALL SELECT [row_id], prompt_id, prompt FROM more"
    lab.selector("posed", HEADER + "-- input more: prompt\n-- makes rows: prompt_id, prompt, *\n" + both)
    made, _ = select(lab, {"rows": samples({"a": "p"}), "more": [{**prompts(1)[0], "count": 3}]}, "posed")
    assert [(row["prompt_id"], row["count"]) for row in made] == [("a", None), ("q0", 3)]


# -- names of the user's own that are ours, too -------------------------------------------------------------------------

WORDS = (
    "place",
    "number",
    "reason",
    "parent",
    "parents_",
    "inputs",
    "turn",
    "made",
    "named",
    "gone",
    "taken_back",
    "bare",
    "given",
    "places",
    "placed",
    "again",
    "answered",
    "decided",
    "age",
    "random",
    "current_date",
)


@pytest.mark.parametrize("retracted", [False, True])
def test_columns_of_new_rows_may_have_any_name(lab, retracted):
    words = [word for word in WORDS if word not in COLUMNS]
    listed = ", ".join(f'rows."{word}"' for word in words)
    head = HEADER + f"-- makes rows: prompt_id, prompt, {', '.join(words)}\n"
    lab.selector("words", head + f"SELECT [row_id] AS parents, prompt_id, prompt, {listed} FROM rows")
    rows = samples({"a": "pf"}, **{word: lambda p, i: f"{i}" for word in words})
    whole, _ = select(lab, rows, "words")
    lab.retracted = {whole[0]["sample_id"]: "retracted: wrong"} if retracted else {}
    made, dropped = select(lab, rows, "words")
    assert [tuple(row[word] for word in words) for row in made] == [
        (str(i),) * len(words) for i in ([1] if retracted else [0, 1])
    ]
    assert [row["reason"] for row in dropped] == (["retracted: wrong"] if retracted else [])


def test_inputs_may_have_any_name(lab):
    head = (
        "".join(f"-- input {word}: prompt\n" for word in WORDS) + "-- makes prompts: prompt_id, prompt, *\n"
    )
    parts = [f"SELECT [row_id] AS parents, prompt_id, prompt FROM {name}" for name in ("rows", *WORDS)]
    lab.selector("words", HEADER + head + " UNION ALL ".join(parts))
    lab.retracted = {"made-0": "retracted: wrong"}
    further = {
        word: [{"prompt_id": f"{word}-{place}", "prompt": "q"} for place in range(2)] for word in WORDS
    }
    made, _ = select(lab, {"rows": samples({"a": "p"}), **further}, "words")
    assert [row["prompt_id"] for row in made] == [
        "a",
        *(f"{word}-{i}" for word in WORDS for i in (0, 1) if (word, i) != ("made", 0)),
    ]


def test_column_that_is_duckdbs_own_is_refused(lab):
    lab.selector(
        "words",
        HEADER + "-- makes rows: prompt, rowid\nSELECT [row_id] AS parents, prompt, 1 AS rowid FROM rows",
    )
    with pytest.raises(DeclarationError, match="a column 'rowid', which is DuckDB's own"):
        select(lab, samples({"a": "p"}), "words")
