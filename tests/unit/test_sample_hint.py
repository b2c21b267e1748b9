"""A hint reaches the model and the seeds stay; the row keeps the prompt without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lineal.data.store import Artifact, Rows
from lineal.engines.fake import write_fake_checkpoint
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind
from tests.unit.lab import Lab

PROMPTS = [
    {"prompt_id": "1", "prompt": "ba=", "answer": "ab", "clue": "z"},
    {"prompt_id": "2", "prompt": "dc=", "answer": "cd", "clue": None},
]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, Compute(engine="fake", workers=1))


def checkpoint(lab: Lab) -> Artifact:
    workspace = lab._workspace("start/checkpoint", {})
    write_fake_checkpoint(workspace.directory(), "base")
    return lab._publish(workspace, "", ArtifactKind.MODEL)


def sampled(lab: Lab, **settings: object) -> list[dict[str, object]]:
    inputs = {"model": checkpoint(lab), "prompts": lab.put("tasks/train", PROMPTS)}
    made = lab.run("sample", "round_01/hinted", inputs, **settings)[""]
    return Rows((made,)).read(["prompt", "completion", "hinted"]).to_pylist()


def test_hint_is_seen_by_the_model_and_not_kept_in_the_prompt(lab: Lab):
    found = sampled(lab, hint="clue")
    assert [sorted(row["completion"]) for row in found] == [["a", "b", "z"], ["c", "d"]]
    assert [row["prompt"] for row in found] == ["ba=", "dc="]
    assert all(row["hinted"] for row in found)


def test_without_a_hint_nothing_is_put_before_the_prompt(lab: Lab):
    assert [sorted(row["completion"]) for row in sampled(lab)] == [["a", "b"], ["c", "d"]]


def test_hint_is_a_column_that_the_prompts_must_have(lab: Lab):
    assert lab.parse("sample", model="m", prompts="p", hint="clue").needs() == {
        "prompts": ("prompt_id", "prompt", "clue")
    }


def test_rationalize_may_tell_another_column_than_the_answer(lab: Lab):
    worked = [{"prompt_id": "1", "prompt": "ba=", "answer": "ab", "solution": "xz"}]
    inputs = {"model": checkpoint(lab), "prompts": lab.put("tasks/worked", worked)}
    made = lab.run("rationalize", "round_01/rationalized", inputs, hint="{solution}{prompt}")[""]
    (row,) = Rows((made,)).read().to_pylist()
    assert sorted(row["completion"]) == ["a", "b", "x", "z"] and (
        row["prompt"],
        row["answer"],
        row["hinted"],
    ) == (
        "ba=",
        "ab",
        True,
    )
    with pytest.raises(ValueError, match=r"must hold \{prompt\}, and \{answer\} or another column"):
        lab.parse("rationalize", model="m", prompts="p", hint="{prompt}")
