"""Skill rows: every format is what docs/tasks.md says, answers are true, mistakes are wrong and balanced, splits never meet."""

import random
from string import ascii_lowercase

import pydantic
import pytest
import yaml

from lineal.components.sources.base import SPLITS, in_split
from lineal.components.sources.letter_mistakes import mistaken
from lineal.components.sources.letter_roles import ROLES
from lineal.components.sources.letter_sort import sort_problem_id
from tests.unit.lab import ROOT, Lab, rows_of


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def made(lab, skill, length=(2, 6), size=400, step="tasks/train"):
    return rows_of(lab.run("letter_skills", step, size=size, skills=[skill], length=list(length))[""])


def parts(row, tag):
    """The letters asked about, the sorted letters, and what stands between the prompt and the colon."""
    asked, _, rest = row["prompt"].removeprefix(tag).partition("=")
    assert (
        row["prompt"].startswith(tag) and set(asked) <= set(ascii_lowercase) and len(set(asked)) == len(asked)
    )
    return asked, "".join(sorted(asked)), rest.removesuffix(":")


def share(flags):
    flags = list(flags)
    return sum(flags) / len(flags)


def test_judge_says_whether_the_answer_is_right_half_of_the_time(lab):
    rows = made(lab, "judge")
    for row in rows:
        _, right, given = parts(row, "?")
        assert row["answer"] == ("y" if given == right else "n")
    assert 0.4 < share(row["answer"] == "y" for row in rows) < 0.6
    assert {row["task"] for row in rows} == {"letter_skills.judge"}


def test_grade_counts_the_right_beginning_and_gives_five_to_right_answers_only(lab):
    rows = made(lab, "grade")
    for row in rows:
        _, right, given = parts(row, "#")
        beginning = next((n for n in range(len(right)) if given[n : n + 1] != right[n]), len(right))
        assert row["answer"] == ("5" if given == right else str(min(4, 5 * beginning // len(right))))
    assert {row["answer"] for row in rows} == set("012345")


def test_compare_names_the_right_one_of_two_answers_in_both_orders(lab):
    rows = made(lab, "compare")
    for row in rows:
        _, right, given = parts(row, "<")
        answers = given.split("|")
        assert answers[int(row["answer"]) - 1] == right and answers.count(right) == 1
    assert 0.4 < share(row["answer"] == "1" for row in rows) < 0.6


def test_meta_names_the_true_one_of_two_verdicts(lab):
    rows = made(lab, "meta")
    for row in rows:
        _, right, rest = parts({"prompt": row["prompt"].removeprefix("<")}, "?")
        given, _, verdicts = rest.partition(":")
        assert verdicts.split("|")[int(row["answer"]) - 1] == ("y" if given == right else "n")
        assert sorted(verdicts) == ["n", "y", "|"]


def test_critique_shows_the_first_mistake_and_what_should_stand_there(lab):
    for row in made(lab, "critique"):
        _, right, given = parts(row, "!")
        if row["answer"] == f"{right}.":
            assert given == right
            continue
        beginning, _, letter = row["answer"].partition("!")
        assert right.startswith(beginning + letter) and given.startswith(beginning) and given != right
        assert given[len(beginning) : len(beginning) + 1] != letter


def test_refine_answers_right_with_and_without_a_critique(lab):
    rows = made(lab, "refine")
    for row in rows:
        _, right, given = parts(row, "+")
        assert row["answer"] == right
        assert given.count("|") <= 1 and ("|" not in given or given[-1] == "." or "!" in given)
    assert 0.4 < share("|" in row["prompt"] for row in rows) < 0.6


def test_debate_shows_two_or_three_answers(lab):
    rows = made(lab, "debate")
    for row in rows:
        _, right, given = parts(row, "+")
        assert row["answer"] == right and len(given.split("|")) in {2, 3}


def test_hinted_gives_the_first_letters_away(lab):
    for row in made(lab, "hinted"):
        hint, _, prompt = row["prompt"].removeprefix("(").partition(")")
        assert (
            row["answer"] == "".join(sorted(prompt.removesuffix("=")))
            and hint
            and row["answer"].startswith(hint)
        )


def test_follow_up_is_read_off_the_given_answer(lab):
    for row in made(lab, "follow_up"):
        _, right, rest = parts(row, "@")
        given, _, letter = rest.partition("|")
        assert given == right and (right + ".")[right.index(letter) + 1] == row["answer"]


def test_refuse_takes_back_beginnings_that_end_in_their_first_mistake(lab):
    rows = made(lab, "refuse")
    for row in rows:
        _, right, given = parts(row, "")
        assert row["answer"] == ("" if given == right else "~")
        assert given == right or (right.startswith(given[:-1]) and not right.startswith(given))
    assert 0.4 < share(row["answer"] == "~" for row in rows) < 0.6


def test_easier_leaves_letters_out_in_their_order(lab):
    for row in made(lab, "easier"):
        asked, _, _ = parts(row, "-")
        kept = row["answer"].removesuffix("=")
        assert (
            kept
            and row["answer"].endswith("=")
            and [letter for letter in asked if letter in kept] == list(kept)
        )


def test_pose_gives_another_problem_as_long(lab):
    for row in made(lab, "pose"):
        asked, _, _ = parts(row, "&")
        posed = row["answer"].removesuffix("=")
        assert len(set(posed)) == len(posed) == len(asked)


def test_slow_sorts_without_the_first_letter_first(lab):
    for row in made(lab, "slow"):
        asked, right, _ = parts(row, "/")
        assert row["answer"] == f"{''.join(sorted(asked[1:]))}>{right}"


def test_split_and_merge_are_halves_and_what_their_answers_come_to(lab):
    for row in made(lab, "split", length=(1, 6)):
        asked, _, _ = parts(row, "%")
        halves = [half.removesuffix("=") for half in row["answer"].split("|")]
        assert (
            "".join(halves) == asked
            and len(halves) == min(2, len(asked))
            and len(halves[0]) - len(halves[-1]) in {0, 1}
        )
    for row in made(lab, "merge"):
        halves = row["prompt"].removeprefix("*").removesuffix(":").split("|")
        assert all(half == "".join(sorted(half)) for half in halves) and row["answer"] == "".join(
            sorted("".join(halves))
        )


def test_question_and_read_find_both_halves_of_a_document(lab):
    for row in made(lab, "question"):
        asked, right, answer = parts(row, "$")
        assert answer == right and row["answer"] == f"{asked}="
    for row in made(lab, "read"):
        asked, right, rest = parts(row, "$")
        assert rest == f"{right}|{asked}=" and row["answer"] == right


def test_weigh_shows_the_right_step_and_a_wrong_one_and_asks_for_the_right_one(lab):
    rows = made(lab, "weigh")
    for row in rows:
        problem, given = row["prompt"].removeprefix("+/").removesuffix(":").split("=")
        first = "".join(sorted(problem[1:])) + ">"
        begun = row["answer"] == "".join(sorted(problem)) and len(problem) > 1
        assert row["answer"] in (first, "".join(sorted(problem))) and given.startswith(first if begun else "")
        steps = given.removeprefix(first if begun else "").split("|")
        assert len(set(steps)) == 2 and row["answer"] in steps
    assert 0.3 < share(row["answer"].endswith(">") for row in rows) < 0.6


def test_skills_come_in_equal_shares_with_the_length_as_difficulty(lab):
    skills = list(ROLES)
    rows = rows_of(
        lab.run("letter_skills", "tasks/train", size=130 * len(skills), skills=skills, length=[4, 6])[""]
    )
    counts = [sum(row["task"] == f"letter_skills.{skill}" for row in rows) for skill in skills]
    assert max(counts) - min(counts) < 30
    assert {row["difficulty"] for row in rows} == {4.0, 5.0, 6.0}


def test_skill_rows_are_of_the_split_of_the_problem_in_them(lab):
    for split in SPLITS:
        for row in made(lab, "judge", size=60, step=f"tasks/{split}"):
            asked, right, _ = parts(row, "?")
            assert in_split(sort_problem_id(f"{asked}=", right), split)


def test_skill_rows_larger_size_keeps_the_smaller_as_its_beginning(lab):
    small = made(lab, "critique", size=50)
    assert made(lab, "critique", size=120)[:50] == small


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"skills": []}, "at least 1 item"),
        ({"skills": ["judge", "judge"]}, "a skill occurs twice"),
        ({"skills": ["jugde"]}, "Did you mean 'judge'"),
        ({"skills": ["judge"], "length": [5, 4]}, "high <= 26"),
    ],
)
def test_letter_skills_wrong_settings_are_refused(lab, settings, match):
    with pytest.raises(pydantic.ValidationError, match=match):
        lab.parse("letter_skills", **{"size": 5, "length": [2, 6], **settings})


@pytest.mark.parametrize("length", [1, 2, 6, 26])
def test_mistaken_answers_are_never_right_and_mostly_lack_a_letter(length):
    draw, answer = random.Random(0), ascii_lowercase[:length]
    wrong = [mistaken(draw, answer) for _ in range(500)]
    assert answer not in wrong and "" not in wrong
    if length > 2:
        assert 0.65 < share(len(one) < length for one in wrong) < 0.9
        assert any(len(one) == length for one in wrong) and any(len(one) > length for one in wrong)


def test_every_skill_stands_in_the_table_of_formats():
    table = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert [skill for skill in ROLES if f"| `{skill}` |" not in table] == []


def test_recipe_that_the_documentation_shows_is_valid_and_fills_its_steps(lab):
    text = (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    recipe = yaml.safe_load(text)
    rows = sum(lab.parse(node.pop("use"), **node).size for node in recipe["tasks"].values())
    node = recipe["start"]["checkpoint"]
    trainer = lab.parse(node.pop("use"), **node)
    assert trainer.rows == [f"tasks.{name}" for name in recipe["tasks"]]
    assert trainer.steps * trainer.batch_size == rows


def test_simplified_problems_keep_the_letters_and_their_answer(lab):
    for row in made(lab, "simplify"):
        state, _, _ = row["prompt"].removeprefix("^").partition("=")
        left, _, told = state.partition("|")
        after, _, more = row["answer"].removesuffix("=").partition("|")
        letters = "".join(sorted(left + told))
        assert letters.endswith(told) and letters.endswith(more) and len(more) == len(told) + 1
        assert after == left.replace(max(left), "")
    for row in made(lab, "guess"):
        left, _, told = row["prompt"].removesuffix("=").partition("|")
        assert told and "".join(sorted(left)) + told == row["answer"]
    assert all(row["answer"] in row["prompt"] and len(row["answer"]) == 1 for row in made(lab, "clarify"))


def test_rubric_is_the_number_of_letters_and_revisions_by_it_have_so_many(lab):
    assert all(int(row["answer"]) == len(row["prompt"]) - len(",=:") for row in made(lab, "rubric"))
    for row in made(lab, "by_rubric"):
        _, right, rest = parts(row, "+")
        assert row["answer"] == right and int(rest.partition("|")[2]) == len(right)
