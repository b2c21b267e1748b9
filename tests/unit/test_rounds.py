"""What differs from round to round: settings that move."""

import shutil

import pytest

from lineal.errors import DeclarationError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.e2e.toy_project import ROOT, TOY

GENERATED = "{use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 16}"
FILTERED = "{use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}"
SFT = "{use: sft, init: previous.checkpoint, rows: filtered, steps: 2}"


def planned(path, pipeline, rounds=4, **params):
    """The plan of a pipeline `toy`; `params` are further lines of params.yaml."""
    root = path / "project"
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors", dirs_exist_ok=True)
    (root / "pipelines" / "toy.yaml").write_text(pipeline)
    further = "".join(f"{key}: {value}\n" for key, value in params.items())
    (root / "params.yaml").write_text(f"rounds: {rounds}\nactive: [toy]\ncompute: {{engine: fake}}\n{further}")
    return make_plan(open_project(root))


def changed(*replacements):
    pipeline = TOY
    for old, new in replacements:
        assert old in pipeline
        pipeline = pipeline.replace(old, new)
    return pipeline


def refused(path, pipeline, message, **params):
    with pytest.raises(DeclarationError, match=message):
        planned(path, pipeline, **params)


# -- settings that move -------------------------------------------------------------------------------------------------


def test_listed_settings_take_their_rounds_value_and_the_last_one_holds(tmp_path):
    moves = "per_round: {temperature: [1.0, null, 0.5], max_tokens: [16, 12]}"
    pipeline = changed((GENERATED, GENERATED.replace("max_tokens: 16", moves)))
    plan = planned(tmp_path, pipeline)
    drawn = [plan.step(f"toy/round_0{number}/generated").component for number in (1, 2, 3, 4)]
    assert [one.temperature for one in drawn] == [1.0, type(drawn[0]).model_fields["temperature"].default, 0.5, 0.5]
    assert [one.max_tokens for one in drawn] == [16, 12, 12, 12]


def test_listed_ranges_of_a_task_set_are_lists_in_a_list(tmp_path):
    pipeline = changed(("train: {use: letter_sort, length: [4, 6], size: 24}",
                        "train: {use: letter_sort, size: 24, per_round: {length: [[2, 3], [4, 6]]}}"))  # fmt: skip
    plan = planned(tmp_path, pipeline)
    assert [plan.step(f"toy/round_0{number}/tasks/train").component.length for number in (1, 2, 3)] == [(2, 3), (4, 6), (4, 6)]


def test_listed_files_and_references_are_other_files_and_inputs(tmp_path):
    moves = "rows: [filtered, [filtered, previous.filtered], history.filtered], init: [start.checkpoint, previous.checkpoint]"
    pipeline = changed(
        (FILTERED, "{use: select, rows: verified, per_round: {sql: [keep_all, keep_correct], max_per_prompt: [null, 1]}}"),
        (SFT, f"{{use: sft, steps: 2, per_round: {{{moves}}}}}"),
    )
    plan = planned(tmp_path, pipeline)
    selections = [plan.step(f"toy/round_0{number}/filtered").component for number in (1, 2, 3)]
    assert [one.identity() for one in selections] == [
        {"sql": "keep_all"}, *[selections[1].identity()] * 2,
    ]  # fmt: skip
    assert selections[1].identity()["sql"] == "keep_correct" and selections[1].identity()["max_per_prompt"] == 1
    read = [plan.step(f"toy/round_0{number}/checkpoint").inputs for number in (1, 2, 3, 4)]
    assert [one["init"][0] for one in read] == [
        "toy/start/checkpoint", "toy/round_01/checkpoint", "toy/round_02/checkpoint", "toy/round_03/checkpoint",
    ]  # fmt: skip
    assert read[0]["rows"] == ("toy/round_01/filtered",)
    assert read[1]["rows"] == ("toy/round_02/filtered", "toy/round_01/filtered")
    assert read[3]["rows"] == tuple(f"toy/round_0{number}/filtered" for number in (1, 2, 3, 4))


def test_node_declared_above_what_only_a_later_round_needs_stands_after_it(tmp_path):
    early = SFT.replace("rows: filtered", "per_round: {rows: [tasks.base, filtered]}, target: answer")
    round_ = (
        TOY[TOY.index("round:") :].replace(f"  checkpoint: {SFT}\n", "").replace("round:\n", f"round:\n  checkpoint: {early}\n")
    )
    keys = list(planned(tmp_path, TOY[: TOY.index("round:")] + round_, rounds=2).steps)
    assert keys.index("toy/round_01/filtered") < keys.index("toy/round_01/checkpoint")


MOVES = [
    ("per_round: {}", r"toy\.yaml:\d+: round\.generated\.per_round: names no setting\. Give each setting a list"),
    ("per_round: {step: 1}", r"round\.generated\.per_round: names no setting"),
    ("per_round: {temperature: []}", r"generated\.per_round\.temperature: got \[\], expected a list of two values or more"),
    ("per_round: {temperature: [1.0]}", r"per_round\.temperature: got \[1\.0\], expected a list of two values or more"),
    ("per_round: {temperature: 1.0}", r"per_round\.temperature: got 1\.0, expected a list .* and `step` to add each round"),
    ("per_round: {temperature: [1.0, hot]}", r"per_round\.temperature.*: .*got 'hot'"),
    ("per_round: {max_tokens: [1, 1, 1, 1, 1, 0]}", r"toy\.yaml:\d+: round\.generated\.per_round\.max_tokens: .*got 0"),
    ("per_round: {temprature: [1.0, 0.9]}", r"per_round\.temprature: unknown key .* Did you mean 'temperature'"),
    ("per_round: {use: [sample, ask]}", r"per_round\.use: 'use' is the same in every round"),
    ("per_round: {model: [previous.checkpoint, previous.chekpoint]}", r"per_round\.model: 'previous\.chekpoint' .*checkpoint"),
    ("per_round: {temperature: 1.0, step: 0.1, top_p: a}", r"per_round\.top_p: value 'a' and step 0\.1 don't fit"),
]  # fmt: skip


@pytest.mark.parametrize(("moves", "message"), MOVES)
def test_setting_that_cannot_move_is_named_with_its_line(tmp_path, moves, message):
    node = GENERATED.replace("model: previous.checkpoint, ", "") if "model" in moves else GENERATED
    refused(
        tmp_path,
        changed((GENERATED, node.replace("samples: 2", f"samples: 2, {moves}").replace(", max_tokens: 16", ""))),
        message,
    )
