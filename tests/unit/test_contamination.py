"""Overlap with evaluation prompts: nothing planted is missed, nothing is claimed that is not there."""

import json
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.audit.contamination import look_for_contamination
from lineal.audit.summary import render_accuracy_table, summarise
from lineal.cli.prove import contamination
from lineal.data.conversations import Conversation, Turn
from lineal.data.normal_text import LEADING, TRAILING, has_core, normalised
from lineal.data.overlap import EvaluationPrompt, OverlapIndex, OverlapRule
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError, CheckFailure, DataError, UsageError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.checks import run_checks
from lineal.step.contamination import HeldOut, evaluation_sets, held_out_prompts
from lineal.step.runner import run_step
from tests.unit.audit_project import made_project, write_project
from tests.unit.lab import Lab

LETTERS = "aAbBıİẞßﬁſéÉ漢0=?.\x00-Σσς"
WORDS = st.text(LETTERS, min_size=1, max_size=3)
GAPS = st.sampled_from([" ", "  ", "\n", "\t ", "\u3000", "\xa0\n"])
RECASED = st.sampled_from([str, str.upper, str.lower, str.casefold, str.swapcase])


def texts(fewest=1, most=12):
    return st.lists(WORDS, min_size=fewest, max_size=most)


@st.composite
def planted(draw):
    """Evaluation prompts, rows, and which row holds a disguised copy of which prompt."""
    prompts = [" ".join(words) for words in draw(st.lists(texts(), min_size=1, max_size=25))]
    rows, copies = [" ".join(words) for words in draw(st.lists(texts(0), max_size=6))], []
    for place in draw(st.lists(st.integers(0, len(prompts) - 1), min_size=1, max_size=4)):
        copy = draw(RECASED)(prompts[place]).split()
        if copy and has_core(normalised(copy[0])):
            copy[0] = draw(st.text(LEADING, max_size=2)) + copy[0]
        if copy and has_core(normalised(copy[-1])):
            copy[-1] += draw(st.text(TRAILING, max_size=2))
        words = [*draw(texts(0, 4)), *copy, *draw(texts(0, 4))]
        gaps = draw(st.lists(GAPS, min_size=len(words), max_size=len(words)))
        copies.append((len(rows), place))
        rows.append("".join(gap + word for gap, word in zip(gaps, words, strict=True)))
    return prompts, rows, copies


def index_of(prompts, n):
    return OverlapIndex(
        (EvaluationPrompt("p/tasks/test", str(place), text) for place, text in enumerate(prompts)), n
    )


def found_by(index, rows):
    return {
        (overlap.place, int(prompt.prompt_id)): overlap
        for overlap in index.overlaps(rows)
        for prompt in index.prompts[overlap.owner]
    }


@settings(max_examples=300)
@given(planted(), st.integers(1, 6))
def test_no_disguised_copy_is_missed(case, n):
    prompts, rows, copies = case
    found = found_by(index_of(prompts, n), rows)
    for row, place in copies:
        if normalised(prompts[place]):
            assert found[row, place].rule in (OverlapRule.EXACT, OverlapRule.EMBEDDED)


def holds(words, copy):
    """Tells whether some words contain others consecutively: the first may have punctuation before it, the last after it."""
    for run in (words[i : i + len(copy)] for i in range(len(words) - len(copy) + 1)):
        first, last = run[0], run[-1]
        if has_core(copy[0]):
            first = first[
                len(first) - len(first.lstrip(LEADING)) - len(copy[0]) + len(copy[0].lstrip(LEADING)) :
            ]
        if len(copy) == 1:
            last = first
        if has_core(copy[-1]):
            last = last[: len(last.rstrip(TRAILING)) + len(copy[-1]) - len(copy[-1].rstrip(TRAILING))]
        if [*([first] if len(copy) > 1 else []), *run[1:-1], last] == list(copy):
            return True
    return False


def naive(prompts, rows, n):
    """The rule by plain Python: {(row, prompt): rule}."""
    evaluation = sorted({normalised(text) for text in prompts} - {""})
    grams = {
        text: {tuple(text.split()[i : i + n]) for i in range(len(text.split()) - n + 1)}
        for text in evaluation
    }
    long = {text: grams[text] if len(text.split()) > n else set() for text in evaluation}
    limit = min(10, max(1, len(evaluation) // 10))
    telling = {
        text: {g for g in long[text] if sum(g in other for other in long.values()) <= limit}
        for text in evaluation
    }
    rules = {}
    for row, text in enumerate(map(normalised, rows)):
        for place, prompt in enumerate(map(normalised, prompts)):
            if prompt and prompt == text:
                rules[row, place] = OverlapRule.EXACT
            elif prompt and holds(text.split(), prompt.split()):
                rules[row, place] = OverlapRule.EMBEDDED
            elif prompt and any(holds(text.split(), gram) for gram in telling[prompt]):
                rules[row, place] = OverlapRule.NGRAM
    return rules


SMALL = st.lists(
    st.lists(st.sampled_from("abc") | st.text("ab(,*=", min_size=1, max_size=4), max_size=7).map(" ".join),
    max_size=14,
)


@settings(max_examples=400)
@given(SMALL, SMALL, st.integers(1, 4))
def test_overlaps_are_those_of_plain_python(prompts, rows, n):
    found = found_by(index_of(prompts, n), rows)
    assert {pair: overlap.rule for pair, overlap in found.items()} == naive(prompts, rows, n)
    for (row, place), overlap in found.items():
        assert overlap.ngram in normalised(rows[row])
        assert f" {overlap.ngram} " in f" {normalised(prompts[place])} "


@pytest.mark.parametrize(
    "text",
    ["(2+3),", "so: **2+3**.", "\u201c2+3\u201d!", "is 2+3?", "\uff082+3\uff09", "[[2+3]]: 5", "a\n`2+3`"],
)
def test_prompt_with_punctuation_around_it_is_found(text):
    (found,) = found_by(index_of(["2+3"], 13), [text]).values()
    assert (found.rule, found.ngram) == (OverlapRule.EMBEDDED, "2+3")


@pytest.mark.parametrize(
    "text",
    [
        "7*2+3",
        "12+3",
        "2+34",
        "2+3.5",
        "-2+3",
        "(2+3)*4",
        "2+3=5",
        "2 +3",
        "edcba",
        "dcbae",
        "e-dcba",
        "dc-ba",
        "dcba(e)",
    ],
)
def test_prompt_with_letters_digits_or_operators_around_it_is_another_text(text):
    assert not found_by(index_of(["2+3", "dcba"], 13), [text])


def test_punctuation_of_the_prompt_itself_must_be_there():
    found = found_by(index_of(["(a)", "is it so?"], 13), ["a", "((a)),", "a)", "so is it so", '"Is it so?"'])
    assert set(found) == {(1, 0), (4, 1)}


def test_equal_hashes_of_unequal_words_are_no_overlap(monkeypatch):
    monkeypatch.setattr(
        "lineal.data.normal_text._BASE", 1
    )  # then a hash is the sum of the letters: anagrams are equal
    monkeypatch.setattr("lineal.data.normal_text._INVERSE", 1)
    found = found_by(index_of(["ab cd", "ba cd", "x"], 2), ["ba dc", "dc ab cd", "ab dc ba cd"])
    assert set(found) == {(1, 0), (2, 1)}


def test_template_that_prompts_share_proves_nothing_but_whole_prompts_do():
    template = "answer the following question and put only the final number behind four hash marks"
    prompts = [f"{template} {number}" for number in range(40)]
    found = found_by(index_of(prompts, 13), [f"{template} 77", f"{template} 7", f"so: {prompts[3]} yes"])
    assert {pair: overlap.rule for pair, overlap in found.items()} == {
        (1, 7): OverlapRule.EXACT,
        (2, 3): OverlapRule.EMBEDDED,
    }


def test_normalised_text_is_one_for_all_cases_of_a_letter():
    import sys

    for code in range(sys.maxunicode + 1):
        letter = chr(code)
        if not 0xD800 <= code < 0xE000 and not letter.isascii():
            assert normalised(letter.upper()) == normalised(letter.lower()) == normalised(letter)


def test_prompt_in_an_earlier_turn_of_a_conversation_is_found(tmp_path):
    turns = (Turn("user", "q5 ="), Turn("assistant", "7"), Turn("user", "more"), Turn("assistant", "", "[]"))
    row = {"prompt_id": "a", "prompt": "more", "messages": Conversation(turns).for_rows()}
    held_out = HeldOut([EvaluationPrompt("p/tasks/test", "t", "q5 =")], 13)
    found = list(
        held_out.matches(Lab(tmp_path).put("tasks/train", [row, row | {"prompt_id": "b", "messages": None}]))
    )
    assert [(match.row, match.column, match.rule) for match in found] == [
        ("a", "messages", OverlapRule.EMBEDDED)
    ]


def test_rows_are_named_with_column_and_evidence_whatever_the_batches(tmp_path, monkeypatch):
    lab = Lab(tmp_path)
    rows = [
        {
            "sample_id": f"s{i}",
            "prompt_id": f"p{i}",
            "prompt": f"q{i} =",
            "completion": "so  Q5 = is 7" if i % 3 == 0 else None,
        }
        for i in range(20)
    ]
    artifact = lab.put("round_01/filtered", rows)
    held_out = HeldOut(
        [EvaluationPrompt("p/tasks/test", "t", "q5 ="), EvaluationPrompt("p/tasks/test", "p2", "other")], 13
    )
    found = list(held_out.matches(artifact))
    assert [(m.row, m.column, str(m.rule)) for m in found if m.column == "prompt"] == [
        ("s2", "prompt", "prompt_id"),
        ("s5", "prompt", "exact"),
    ]
    assert [m.row for m in found if m.column == "completion"] == [f"s{i}" for i in range(0, 20, 3)]
    monkeypatch.setattr("lineal.step.contamination.BATCH_ROWS", 3)
    assert list(held_out.matches(artifact)) == found


def test_goal_of_a_game_is_no_overlap_in_rows_of_other_games(tmp_path):
    rows = [
        {"sample_id": name, "prompt_id": name, "prompt": f"buy a pear\n{name}", "entry": entry}
        for name, entry in (("same", '{"shop":1}'), ("other", '{"shop":2}'), ("unknown", None))
    ]
    played = Lab(tmp_path).put("round_01/played", rows)
    for entry, found in (('{"shop":1}', ["same", "unknown"]), (None, ["same", "other", "unknown"])):
        held_out = HeldOut([EvaluationPrompt("p/tasks/test", "t", "buy a pear", entry=entry)], 13)
        assert [match.row for match in held_out.matches(played)] == found


@pytest.mark.parametrize(("task", "entry"), [("nim", "{}"), ("letter_sort", None), (None, None)])
def test_entry_is_a_game_where_the_task_is_an_environments(root, task, entry):
    def name_it(rows):
        for row in rows:
            row.update(task=task, entry="{}")

    plant(root, "tiny/tasks/test", name_it, ["task", "entry"])
    held_out = held_out_prompts(make_plan(open_project(root)), "tiny")
    assert {prompt.entry for prompt in held_out.prompts if prompt.key == "tiny/tasks/test"} == {entry}


@pytest.mark.parametrize(
    ("seen", "held_out"),
    [
        ([], {"tiny/tasks/test"}),
        (["tasks.train, held_out: false"], {"tiny/tasks/test"}),
        (["tasks.test, held_out: false"], {"tiny/tasks/test"}),  # the other evaluator holds it out
        (["tasks.test, held_out: false"] * 2, set()),
        (["tasks.train"], {"tiny/tasks/test", "tiny/tasks/train"}),
    ],
)
def test_set_is_held_out_unless_all_its_evaluators_say_that_training_sees_it(tmp_path, seen, held_out):
    root = write_project(tmp_path)
    path, evaluation = root / "pipelines/tiny.yaml", "prompts: tasks.test"
    text = path.read_text()
    if len(seen) == 2:
        text = text.replace(evaluation, f"prompts: {seen[0]}")
    elif seen:
        text += f"  seen: {{use: accuracy, model: checkpoint, prompts: {seen[0]}}}\n"
    path.write_text(text)
    assert {step.key for step in evaluation_sets(make_plan(open_project(root)), "tiny")} == held_out


def test_whether_prompts_are_held_out_is_no_part_of_the_identity(tmp_path):
    root, identities = write_project(tmp_path), []
    path, key = root / "pipelines/tiny.yaml", "tiny/round_02/evaluation"
    for text in (path.read_text(), path.read_text().replace("tasks.test}", "tasks.test, held_out: false}")):
        path.write_text(text)
        plan = make_plan(open_project(root))
        identities.append(plan.step(key).component.identity())
    assert identities[0] == identities[1]
    assert "evaluation (seen)" in render_accuracy_table(summarise(plan))


# -- the project -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("contamination")).project.root


@pytest.fixture
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "copy")


def plant(root, key, change, added=()):
    """Changes an artifact's rows as text in place; `added` are the names of further text columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = root / "artifacts" / key / "part-00000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    schema = pa.unify_schemas([table.schema, pa.schema([(name, pa.string()) for name in added])])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)


def prompts_of(root, key):
    import pyarrow.parquet as pq

    return pq.read_table(root / "artifacts" / key / "part-00000.parquet").to_pylist()


def run(root, *arguments):
    return CliRunner().invoke(contamination, arguments, obj=root)


def test_set_that_is_about_to_be_replaced_holds_nothing_out(root):
    path = root / "pipelines/tiny.yaml"
    found = {prompt.key for prompt in held_out_prompts(make_plan(open_project(root)), "tiny").prompts}
    assert found == {"tiny/tasks/test"}
    path.write_text(path.read_text().replace("length: [5, 9], size: 10", "length: [5, 8], size: 10"))
    assert not held_out_prompts(make_plan(open_project(root)), "tiny").prompts


def test_clean_project_passes_and_every_generated_and_training_artifact_was_looked_at(root):
    plan = make_plan(open_project(root))
    report = look_for_contamination(plan, list(plan.steps.values()))
    looked = {found.key: found.training for found in report.artifacts if found.key.startswith("tiny/")}
    assert looked == {
        "tiny/tasks/base": True,
        "tiny/round_01/generated": False,
        "tiny/round_01/mixed": True,
        "tiny/round_02/generated": False,
        "tiny/round_02/mixed": True,
    }
    assert report.evaluations == {"tiny/tasks/test": 10, "control/tasks/test": 10}
    assert not report.contaminated
    assert run(root).exit_code == 0


def test_planted_prompt_is_named_and_fails(root):
    test = prompts_of(root, "tiny/tasks/test")[4]
    plant(
        root,
        "tiny/round_02/mixed",
        lambda rows: rows[3].update(completion=f"as in\n{test['prompt'].upper()}  it is"),
    )
    done = run(root, "tiny/round_02", "--json")
    assert isinstance(done.exception, CheckFailure)
    assert "tiny/round_02/mixed (1 of " in str(done.exception)
    (found,) = [entry for entry in json.loads(done.stdout)["artifacts"] if entry["overlapping"]]
    (match,) = found["matches"]
    assert (found["key"], found["training"], found["rules"]) == ("tiny/round_02/mixed", True, {"embedded": 1})
    assert (match["prompt"], match["evaluation"], match["column"]) == (
        test["prompt_id"],
        "tiny/tasks/test",
        "completion",
    )
    assert match["ngram"] == normalised(test["prompt"])
    assert test["prompt_id"] in run(root, "tiny").stdout


def test_overlap_in_generated_rows_alone_is_shown_and_does_not_fail(root):
    test = prompts_of(root, "tiny/tasks/test")[0]
    plant(root, "tiny/round_01/generated", lambda rows: rows[0].update(completion=test["prompt"]))
    done = run(root, "tiny/round_01/generated")
    assert done.exit_code == 0
    assert "exact=1" in done.stdout


def test_ngrams_stop_unless_params_say_otherwise(root):
    words = [f"word{number}" for number in range(30)]
    plant(root, "tiny/tasks/test", lambda rows: rows[0].update(prompt=" ".join(words)))
    plant(root, "tiny/round_01/mixed", lambda rows: rows[0].update(completion=" ".join(words[5:18])))
    assert isinstance(run(root, "tiny").exception, CheckFailure)
    assert run(root, "tiny", "--n", "14").exit_code == 0
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text() + "contamination: {stops: prompts}\n"
    )
    done = run(root, "tiny")
    assert done.exit_code == 0
    assert "ngram=1" in done.stdout


def check_of(plan, key):
    step = plan.step(key)
    artifacts = {
        output: open_artifact(name, plan.project.directory(name))
        for output, name in step.artifact_keys().items()
    }
    return next(
        found for found in run_checks(plan, step, artifacts) if found.name == "no_test_prompt_in_training"
    )


def test_rows_of_a_second_output_that_a_trainer_reads_are_looked_through(root):
    pipeline = root / "pipelines" / "tiny.yaml"
    pipeline.write_text(pipeline.read_text().replace("rows: mixed, steps", "rows: filtered.dropped, steps"))
    test = prompts_of(root, "tiny/tasks/test")[2]
    plant(root, "tiny/round_01/filtered.dropped", lambda rows: rows[1].update(completion=test["prompt"]))
    plan = make_plan(open_project(root))
    assert (
        "tiny/round_01/filtered.dropped: 1 rows with a prompt"
        in check_of(plan, "tiny/round_01/filtered").message
    )
    assert check_of(plan, "tiny/round_02/filtered").passed
    done = run(root, "tiny")
    assert "tiny/round_01/filtered.dropped (1 of " in str(done.exception)


def test_check_tells_the_evidence(root):
    plan = make_plan(open_project(root))
    test = prompts_of(root, "tiny/tasks/test")[2]
    plant(root, "tiny/round_01/mixed", lambda rows: rows[1].update(completion=f"{test['prompt']} \x1b[31m"))
    result = check_of(plan, "tiny/round_01/mixed")
    assert not result.passed
    assert result.blocking
    assert "1 rows with a prompt of an evaluation set" in result.message
    assert result.values["evidence"][0]["prompt"] == test["prompt_id"] in result.message
    assert "\x1b" not in result.message


def test_trainer_looks_again_since_the_evaluation_set_may_have_changed(root):
    plan = make_plan(open_project(root))
    run_step(plan, "tiny/round_02/checkpoint")
    trained = prompts_of(root, "tiny/round_02/mixed")[2]
    plant(root, "tiny/tasks/test", lambda rows: rows[0].update(prompt=trained["prompt"]))
    with pytest.raises(
        DataError, match=r"tiny/round_02/mixed: \d+ rows with a prompt of an evaluation set\n"
    ) as error:
        run_step(plan, "tiny/round_02/checkpoint")
    assert trained["sample_id"] in str(
        error.value
    ) and "The set has changed since these rows were made" in str(error.value)


def test_nothing_to_look_through_is_said(root):
    with pytest.raises(UsageError, match="tiny/round_01/evaluation: no generated rows"):
        CliRunner().invoke(contamination, ["tiny/round_01/evaluation"], obj=root, catch_exceptions=False)


def test_unreadable_rows_name_artifact_and_fix(root):
    path = root / "artifacts/tiny/round_01/mixed/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ArtifactError, match=r"tiny/round_01/mixed: .*lineal run tiny/round_01/mixed"):
        CliRunner().invoke(contamination, ["tiny"], obj=root, catch_exceptions=False)
