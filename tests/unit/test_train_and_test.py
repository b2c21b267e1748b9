"""A training of its own for every row: the score is what the trained model answers."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lineal.data.manifest import INIT
from lineal.errors import CheckFailure, DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_selector_decide import reasons, select
from tests.unit.tiny_models import put_model, tiny_model

EDITS = [
    {"sample_id": name, "prompt_id": name[0], "prompt": f"{name[0]}=", "completion": "x", "topic": name[0]}
    for name in ("a0", "a1", "b0", "b1")
]
LESSONS = [
    {"parents": [owner], "prompt_id": owner[0], "prompt": f"{owner[0]}=", "completion": text}
    for owner, text in (("a0", "q"), ("a1", "z"), ("b0", "k"))
]
QUESTIONS = [
    {"prompt_id": "qa", "prompt": "a=", "answer": "q", "topic": "a"},
    {"prompt_id": "qb", "prompt": "b=", "answer": "k", "topic": "b"},
]
TRAIN = {
    "use": "sft",
    "init": "start.checkpoint",
    "rows": "lessons",
    "steps": 16,
    "batch_size": 1,
    "learning_rate": 2e-2,
    "threads": 1,
}
TEST = {"use": "accuracy", "prompts": "questions", "max_tokens": 2}


class Trials:
    """One step's inputs, and the step run on them."""

    def __init__(self, lab, edits=EDITS, lessons=LESSONS, questions=QUESTIONS):
        model = put_model(lab, "start/checkpoint", tiny_model(lab.path / "model"))
        self.lab = lab
        self.inputs = {
            "rows": lab.put("round_01/edits", edits),
            f"train.{INIT}": model,
            "train.rows": lab.put("round_01/lessons", lessons),
            "test.model": model,
            "test.prompts": lab.put("start/questions", questions),
        }

    def run(self, **settings):
        told = {"train": TRAIN, "test": TEST, "tested_by": "topic", **settings}
        return rows_of(self.lab.run("train_and_test", "round_01/tried", self.inputs, **told)[""])


@pytest.fixture
def fake(tmp_path):
    return Lab(tmp_path, Compute(engine="fake", workers=1))


@pytest.mark.model
def test_rows_are_scored_by_what_their_own_training_taught(tmp_path):
    lab = Lab(tmp_path)
    told = Trials(lab).run()
    assert [
        (row["sample_id"], row["verdict"], row["score"], row["before"], row["detail"]) for row in told
    ] == [
        ("a0", "pass", 1.0, 0.0, None),
        ("a1", "fail", 0.0, 0.0, None),
        ("b0", "pass", 1.0, 0.0, None),
        ("b1", "fail", 0.0, 0.0, "nothing to train on"),
    ]
    assert (
        [row["completion"] for row in told] == ["x"] * 4 and lab.counts["pass"] == 2 and lab.counts["in"] == 4
    )


@pytest.mark.model
def test_a_killed_step_goes_on_after_the_last_finished_training(tmp_path):
    lab = Lab(tmp_path)
    trials = Trials(lab)
    component = lab.parse("train_and_test", {"rows": None}, train=TRAIN, test=TEST, tested_by="topic")
    inputs = {name: (artifact,) for name, artifact in trials.inputs.items()}
    step = lab._workspace("round_01/tried", inputs)
    component.run(step)
    whole = [path.read_bytes() for path in sorted(step.directory().glob("*.parquet"))]
    assert step.facts["trainings"] == 4, "that of each row with lessons, and the checkpoint's own test"
    assert not list((step.partial / "nested").rglob("*.safetensors")), "no trained model is kept"
    saved = step.partial / "tried.jsonl"
    saved.write_bytes(saved.read_bytes()[:-3])  # cut in its last line
    step.facts.clear()
    component.run(step)
    assert step.facts["trainings"] == 1
    assert [path.read_bytes() for path in sorted(step.directory().glob("*.parquet"))] == whole


@pytest.mark.model
def test_adapters_are_tested_on_their_base_and_a_training_that_fails_is_an_error_of_its_row(tmp_path):
    pytest.importorskip("peft")
    lessons = [*LESSONS[:1], {**LESSONS[1], "completion": "not of its alphabet: 7"}]
    trials = Trials(Lab(tmp_path), EDITS[:2], lessons)
    settings = {**TRAIN, "steps": 1, "lora": {"rank": 2, "alpha": 4}}
    trained, failed = trials.run(train=settings, repeats=2, max_error_rate=0.5)
    assert trained["score"] == trained["before"] == 0.0
    assert (failed["verdict"], failed["score"]) == ("error", None) and "7" in failed["detail"]
    with pytest.raises(CheckFailure, match="1 of 2 verdicts are errors"):
        trials.run(train=settings)


def test_all_prompts_test_every_row_where_no_column_says_which(fake):
    told = Trials(fake).run(tested_by=None, repeats=2)
    assert {row["score"] for row in told} <= {0.0, 0.5, 1.0} and len({row["before"] for row in told}) == 1


def test_rows_whose_prompts_cannot_be_judged_are_errors_and_no_rows_are_none(fake):
    unjudged = [QUESTIONS[0], {**QUESTIONS[1], "answer": None}]
    test = {**TEST, "verifier": {"use": "exact_match", "max_error_rate": 1.0}}
    told = Trials(fake, questions=unjudged).run(test=test, max_error_rate=0.5)
    assert [row["verdict"] == "error" for row in told] == [False, False, True, True] and told[2][
        "before"
    ] is None
    nothing = pa.Table.from_pylist(EDITS).slice(0, 0)
    assert Trials(fake, edits=nothing, lessons=pa.Table.from_pylist(LESSONS).slice(0, 0)).run() == []


@pytest.mark.parametrize(
    ("given", "settings", "message"),
    [
        (
            {"lessons": [{**LESSONS[0], "parents": ["c9"]}]},
            {},
            "row 1 of p/round_01/lessons has no row of p/round_01/edits",
        ),
        ({"questions": QUESTIONS[:1]}, {}, "no prompt of p/start/questions has topic 'b', which a row has"),
        ({}, {"repeats": 3, "max_trainings": 11}, "got 4 rows x 3 trainings, expected at most 11"),
        ({"edits": [EDITS[0], EDITS[0]]}, {}, "sample a0 stands 2 times"),
    ],
)
def test_rows_that_do_not_belong_together_are_refused(fake, given, settings, message):
    with pytest.raises(DataError, match=message):
        Trials(fake, **given).run(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"train": {"use": "pretrain", "rows": "lessons", "steps": 1}},
            "'pretrain' starts from no checkpoint",
        ),
        ({"train": {"use": "sample"}}, "train: got 'sample', expected a trainer such as 'sft'"),
        ({"train": {**TRAIN, "stepz": 1}}, r"train\.stepz\n  unknown key 'stepz'. Did you mean 'steps'"),
        ({"train": {"use": "sfd"}}, "train: unknown component 'sfd'. Did you mean 'sft'"),
        (
            {"test": {**TEST, "model": "checkpoint"}},
            "test.model: the trained model is tested here; leave it out",
        ),
        (
            {"test": {"use": "pass_at_k", "rows": "x", "k": [1]}},
            "test: got 'pass_at_k', expected an evaluator of one answer for a prompt, such as 'accuracy'",
        ),
        ({"train": {"rows": "x"}}, "train: has no use; write use: and a trainer such as 'sft'"),
    ],
)
def test_trainers_and_evaluators_that_do_not_fit_are_refused(fake, settings, message):
    with pytest.raises(ValueError, match=message):
        fake.parse("train_and_test", rows="edits", **{"train": TRAIN, "test": TEST, **settings})


def test_its_inputs_are_those_of_the_parts_inside_and_its_identity_names_no_artifact(fake):
    made = fake.parse("train_and_test", rows="edits", train=TRAIN, test=TEST)
    texts = {field: texts for field, (texts, _) in made.references().items()}
    assert texts == {
        "rows": ["edits"],
        "train.init": ["start.checkpoint"],
        "train.rows": ["lessons"],
        "test.model": ["start.checkpoint"],
        "test.prompts": ["questions"],
    }
    assert made.identity()["train"]["steps"] == 16 and not {"init", "rows"} & made.identity()["train"].keys()
    assert "model" not in made.identity()["test"] and made.needs()["train.rows"] == (
        "parents",
        "prompt",
        "completion",
    )


# -- what SEAL is made of -----------------------------------------------------------------------------------------------


def test_letter_facts_self_edits_hold_the_passages_facts_as_notes_and_questions(fake):
    rows = rows_of(fake.run("letter_facts", "tasks/train", facts=3, size=400)[""])
    assert len({row["topic"] for row in rows}) == 400
    styles = [row["answer"].count("?") for row in rows]
    for row in rows:
        facts = row["prompt"][1:-1].split(",")
        assert len({fact[0] for fact in facts}) == 3 and "".join(facts) == row["topic"]
        assert [part.replace("?", "") for part in row["answer"].split(";")] == facts
    assert 0.33 < sum(styles) / 1200 < 0.43 and styles.count(0) > styles.count(3) > styles.count(
        1
    ) > styles.count(2)


def test_fact_questions_ask_for_every_fact_without_the_passage(fake):
    passage = {"prompt_id": "p", "prompt": "[ak,cm]", "answer": "ak;c?m", "topic": "akcm"}
    made, _ = select(fake, [passage], "fact_questions")
    asked = sorted((row["prompt"], row["answer"], row["topic"], row["parents"]) for row in made)
    assert asked == [("a?", "k", "akcm", ["p"]), ("c?", "m", "akcm", ["p"])]


def test_lines_are_texts_of_their_own_beside_the_prompt_where_it_is_asked_for(fake):
    rows = [
        {
            "sample_id": str(place),
            "prompt_id": "p",
            "prompt": "passage",
            "completion": text,
            "finish_reason": end,
            "topic": "t",
        }
        for place, (text, end) in enumerate(
            [("one\n\n two", "stop"), (" \n", "stop"), ("cut", "length"), (None, "stop")]
        )
    ]
    made, dropped = select(fake, rows, "lines")
    texts = sorted(
        (row["part"], row["prompt"], row["completion"], row["topic"], row["parents"]) for row in made
    )
    assert texts == [(1, "", "one", "t", ["0"]), (2, "", " two", "t", ["0"])]
    assert reasons(dropped) == dict.fromkeys("123", "no part in it")
    beside, _ = select(fake, rows[:2], "lines", with_prompt=True)
    assert sorted(row["completion"] for row in beside) == [" two", "one", "passage", "passage"]
    by_mark, _ = select(fake, rows[:1], "lines", separator=" ")
    assert sorted(row["completion"] for row in by_mark) == ["one\n\n", "two"]
