"""Synthetic sources: the same prompts for the same seed, a larger set begins with the smaller, splits never meet."""

import string

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.components.sources.base import SPLITS, in_split
from lineal.errors import DataError
from tests.unit.lab import Lab, rows_of


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def ids(artifact):
    return [row["prompt_id"] for row in rows_of(artifact)]


def test_letter_sort_rows_are_sorted_distinct_letters(lab):
    rows = rows_of(lab.run("letter_sort", "tasks/train", size=300, length=[2, 6])[""])
    assert lab.counts == {"out": 300}
    for row in rows:
        letters = row["prompt"].removesuffix("=")
        assert (
            "".join(sorted(letters)) == row["answer"]
            and len(set(letters)) == len(letters) == row["difficulty"]
        )
        assert set(letters) <= set(string.ascii_lowercase) and row["task"] == "letter_sort"
    assert {len(row["answer"]) for row in rows} == {2, 3, 4, 5, 6}
    assert len({row["prompt_id"] for row in rows}) == 300


@pytest.mark.parametrize(("reversed_", "read"), [(False, int), (True, lambda text: int(text[::-1]))])
def test_addition_answers_are_right(lab, reversed_, read):
    rows = rows_of(lab.run("addition", "tasks/train", size=200, digits=[1, 30], reversed=reversed_)[""])
    for row in rows:
        first, second = (read(part) for part in row["prompt"].removesuffix("=").split("+"))
        assert (
            first + second == read(row["answer"]) and len(str(first)) == len(str(second)) == row["difficulty"]
        )


def test_addition_with_more_digits_than_pythons_limit_is_refused(lab):
    with pytest.raises(pydantic.ValidationError, match="high <= 1000"):
        lab.parse("addition", size=1, digits=[1, 5000])


@pytest.mark.parametrize(
    ("use", "setting"),
    [
        ("letter_sort", {"length": [2, 6]}),
        ("addition", {"digits": [1, 3]}),
        ("drawings", {"shapes": [1, 2]}),
    ],
)
def test_synthetic_source_larger_size_keeps_the_smaller_as_its_beginning(lab, use, setting):
    small = ids(lab.run(use, "tasks/train", size=50, **setting)[""])
    assert ids(lab.run(use, "tasks/train", size=200, **setting)[""])[:50] == small


def test_synthetic_source_seed_and_step_change_the_prompts(tmp_path):
    def made(name, seed, step):
        return ids(Lab(tmp_path / name, seed=seed).run("letter_sort", step, size=50, length=[8, 8])[""])

    first = made("a", 0, "tasks/train")
    assert made("b", 0, "tasks/train") == first
    assert not set(made("c", 1, "tasks/train")) & set(first)
    assert not set(made("d", 0, "round_02/tasks/train")) & set(first)


def test_synthetic_source_splits_never_meet_whatever_the_seed(tmp_path):
    def made(seed, split):
        artifact = Lab(tmp_path / f"{seed}{split}", seed=seed).run(
            "letter_sort", f"tasks/{split}", size=60, length=[2, 3]
        )[""]
        return set(ids(artifact))

    sets = {(seed, split): made(seed, split) for seed in (0, 1) for split in SPLITS}
    for (_, split), prompts in sets.items():
        for (_, other), others in sets.items():
            assert split == other or not prompts & others


def test_synthetic_source_without_a_split_in_its_name_asks_for_one(lab):
    with pytest.raises(DataError, match=r"tasks/easy: which split .* Set split: train, dev or test"):
        lab.run("letter_sort", "tasks/easy", size=5, length=[2, 6])
    assert lab.run("letter_sort", "tasks/easy", size=5, length=[2, 6], split="test")


def test_letter_sort_too_large_for_its_space_is_refused_at_the_plan(lab):
    with pytest.raises(pydantic.ValidationError, match="size is 27, but only 26 strings"):
        lab.parse("letter_sort", size=27, length=[1, 1])


def test_letter_sort_too_large_for_its_split_says_how_many_there_are(lab):
    with pytest.raises(
        DataError,
        match=r"found (\d+) different prompts of split 'train' among the 26 that exist, but size is 26. "
        r"Lower size to \1, or widen the settings of letter_sort",
    ):
        lab.run("letter_sort", "tasks/train", size=26, length=[1, 1])


@pytest.mark.parametrize("length", [[0, 3], [5, 4], [1, 27], [3], 4, ["2", "3"]])
def test_letter_sort_impossible_range_is_refused(lab, length):
    with pytest.raises(pydantic.ValidationError):
        lab.parse("letter_sort", size=5, length=length)


@given(st.text())
def test_split_every_prompt_is_in_exactly_one(prompt_id):
    assert sum(in_split(prompt_id, split) for split in SPLITS) == 1
    assert in_split(prompt_id, None)


def test_split_shares_are_those_of_the_table():
    prompts = [f"prompt {number}" for number in range(20_000)]
    for split, (low, high) in SPLITS.items():
        assert abs(sum(in_split(prompt, split) for prompt in prompts) / 20_000 - (high - low)) < 0.01
