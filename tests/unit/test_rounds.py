"""What differs from round to round, and within one: settings that move, stages, and turns."""

import json
import shutil

import pytest

from lineal.data.store import Rows, open_artifact
from lineal.errors import DeclarationError
from lineal.orchestrate.dvc_yaml import stage_text
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step
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
    (root / "params.yaml").write_text(
        f"rounds: {rounds}\nactive: [toy]\ncompute: {{engine: fake}}\n{further}"
    )
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
    assert [one.temperature for one in drawn] == [
        1.0,
        type(drawn[0]).model_fields["temperature"].default,
        0.5,
        0.5,
    ]
    assert [one.max_tokens for one in drawn] == [16, 12, 12, 12]


def test_listed_ranges_of_a_task_set_are_lists_in_a_list(tmp_path):
    pipeline = changed(
        (
            "train: {use: letter_sort, length: [4, 6], size: 24}",
            "train: {use: letter_sort, size: 24, per_round: {length: [[2, 3], [4, 6]]}}",
        )
    )
    plan = planned(tmp_path, pipeline)
    assert [plan.step(f"toy/round_0{number}/tasks/train").component.length for number in (1, 2, 3)] == [
        (2, 3),
        (4, 6),
        (4, 6),
    ]


def test_listed_files_and_references_are_other_files_and_inputs(tmp_path):
    moves = "rows: [filtered, [filtered, previous.filtered], history.filtered], init: [start.checkpoint, previous.checkpoint]"
    pipeline = changed(
        (
            FILTERED,
            "{use: select, rows: verified, per_round: {sql: [keep_all, keep_correct], max_per_prompt: [null, 1]}}",
        ),
        (SFT, f"{{use: sft, steps: 2, per_round: {{{moves}}}}}"),
    )
    plan = planned(tmp_path, pipeline)
    selections = [plan.step(f"toy/round_0{number}/filtered").component for number in (1, 2, 3)]
    assert [one.identity() for one in selections] == [
        {"sql": "keep_all"},
        *[selections[1].identity()] * 2,
    ]
    assert (
        selections[1].identity()["sql"] == "keep_correct" and selections[1].identity()["max_per_prompt"] == 1
    )
    read = [plan.step(f"toy/round_0{number}/checkpoint").inputs for number in (1, 2, 3, 4)]
    assert [one["init"][0] for one in read] == [
        "toy/start/checkpoint",
        "toy/round_01/checkpoint",
        "toy/round_02/checkpoint",
        "toy/round_03/checkpoint",
    ]
    assert read[0]["rows"] == ("toy/round_01/filtered",)
    assert read[1]["rows"] == ("toy/round_02/filtered", "toy/round_01/filtered")
    assert read[3]["rows"] == tuple(f"toy/round_0{number}/filtered" for number in (1, 2, 3, 4))


def test_node_declared_above_what_only_a_later_round_needs_stands_after_it(tmp_path):
    early = SFT.replace("rows: filtered", "per_round: {rows: [tasks.base, filtered]}, target: answer")
    round_ = (
        TOY[TOY.index("round:") :]
        .replace(f"  checkpoint: {SFT}\n", "")
        .replace("round:\n", f"round:\n  checkpoint: {early}\n")
    )
    keys = list(planned(tmp_path, TOY[: TOY.index("round:")] + round_, rounds=2).steps)
    assert keys.index("toy/round_01/filtered") < keys.index("toy/round_01/checkpoint")


MOVES = [
    (
        "per_round: {}",
        r"toy\.yaml:\d+: round\.generated\.per_round: names no setting\. Give each setting a list",
    ),
    ("per_round: {step: 1}", r"round\.generated\.per_round: names no setting"),
    (
        "per_round: {temperature: []}",
        r"generated\.per_round\.temperature: got \[\], expected a list of two values or more",
    ),
    (
        "per_round: {temperature: [1.0]}",
        r"per_round\.temperature: got \[1\.0\], expected a list of two values or more",
    ),
    (
        "per_round: {temperature: 1.0}",
        r"per_round\.temperature: got 1\.0, expected a list .* and `step` to add each round",
    ),
    ("per_round: {temperature: [1.0, hot]}", r"per_round\.temperature.*: .*got 'hot'"),
    (
        "per_round: {max_tokens: [1, 1, 1, 1, 1, 0]}",
        r"toy\.yaml:\d+: round\.generated\.per_round\.max_tokens: .*got 0",
    ),
    (
        "per_round: {temprature: [1.0, 0.9]}",
        r"per_round\.temprature: unknown key .* Did you mean 'temperature'",
    ),
    ("per_round: {use: [sample, ask]}", r"per_round\.use: 'use' is the same in every round"),
    (
        "per_round: {model: [previous.checkpoint, previous.chekpoint]}",
        r"per_round\.model: 'previous\.chekpoint' .*checkpoint",
    ),
    (
        "temperature: 0.5, per_round: {temperature: [1.0, 0.9]}",
        r"round\.generated\.temperature: per_round sets 'temperature', so this value would never be used\. Change it there",
    ),
    (
        "per_round: {temperature: 1.0, step: 0.1, top_p: a}",
        r"per_round\.top_p: value 'a' and step 0\.1 don't fit",
    ),
]


@pytest.mark.parametrize(("moves", "message"), MOVES)
def test_setting_that_cannot_move_is_named_with_its_line(tmp_path, moves, message):
    node = GENERATED.replace("model: previous.checkpoint, ", "") if "model" in moves else GENERATED
    refused(
        tmp_path,
        changed(
            (GENERATED, node.replace("samples: 2", f"samples: 2, {moves}").replace(", max_tokens: 16", ""))
        ),
        message,
    )


def test_profile_may_move_a_setting_but_not_set_one_that_moves(tmp_path):
    moving = TOY + "profiles: {moves: {round: {generated: {per_round: {samples: [1, 3]}}}}}\n"
    plan = planned(tmp_path, moving, profile="moves")
    assert [plan.step(f"toy/round_0{number}/generated").component.samples for number in (1, 2)] == [1, 3]
    sets = changed((GENERATED, GENERATED.replace("samples: 2", "per_round: {samples: [2, 4]}")))
    sets += "profiles: {sets: {round: {generated: {samples: 3}}}}\n"
    refused(
        tmp_path, sets, r"profiles\.sets\.round\.generated\.samples: per_round sets 'samples'", profile="sets"
    )


# -- the number of rounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "own", "rounds"),
    [("paper", {}, 4), ("paper", {"rounds": 5}, 5), ("short", {}, 1), ("project", {}, 2)],
)
def test_rounds_are_the_methods_own_where_params_do_not_say_otherwise(tmp_path, profile, own, rounds):
    text = (
        TOY.replace("round:\n", "rounds: 4\nround:\n")
        + "profiles: {short: {rounds: 1}, project: {rounds: null}}\n"
    )
    plan = planned(tmp_path, text, rounds=2, profile=profile, pipelines={"toy": own})
    assert max(step.round for step in plan.steps.values()) == rounds


def test_rounds_that_are_no_number_are_named(tmp_path):
    refused(
        tmp_path,
        TOY.replace("round:\n", "rounds: many\nround:\n"),
        r"toy\.yaml:\d+: rounds: must be a number of rounds",
    )
    text = TOY + "profiles: {short: {rounds: 0}}\n"
    refused(
        tmp_path,
        text,
        r"profiles\.short\.rounds: must be a number of rounds from 1 on, got 0",
        profile="short",
    )


# -- stages -------------------------------------------------------------------------------------------------------------

STAGED = f"""\
{TOY[: TOY.index("round:")]}\
round:
  generated:  {GENERATED}
  verified:   {{use: exact_match, rows: generated}}
  filtered:   {FILTERED}
  checkpoint: {SFT}
  evaluation: {{use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}}
stages:
  warm_up:
    rounds: 2
    round:
      checkpoint: {{init: start.checkpoint, steps: null, epochs: 1}}
  main:
    round:
      pairs:      {{use: select, rows: history.verified, sql: correct_against_incorrect}}
      checkpoint: {{use: dpo, init: previous.checkpoint, reference: start.checkpoint, rows: pairs, steps: 3}}
      filtered:   null
"""


def labels(plan, number):
    return [step.label for step in plan.steps.values() if step.group == f"round_{number:02d}"]


def test_stages_follow_one_another_and_previous_goes_through_them(tmp_path):
    plan = planned(tmp_path, STAGED, rounds=2)
    assert labels(plan, 2) == ["generated", "verified", "filtered", "checkpoint", "evaluation"]
    assert (
        labels(plan, 3) == labels(plan, 4) == ["generated", "verified", "pairs", "checkpoint", "evaluation"]
    )
    assert labels(plan, 5) == []
    trained = [plan.step(f"toy/round_0{number}/checkpoint") for number in (1, 2, 3, 4)]
    assert [one.component.use for one in trained] == ["sft", "sft", "dpo", "dpo"]
    assert [one.inputs["init"][0].split("/")[1] for one in trained] == [
        "start",
        "start",
        "round_02",
        "round_03",
    ]
    assert (trained[0].component.epochs, trained[0].component.steps) == (1, None)
    assert plan.step("toy/round_03/generated").inputs["model"] == ("toy/round_02/checkpoint",)
    assert plan.step("toy/round_04/pairs").inputs["rows"] == tuple(
        f"toy/round_0{number}/verified" for number in (1, 2, 3, 4)
    )
    assert trained[2].paths == (("round", "checkpoint"), ("stages", "main", "round", "checkpoint"))


def test_references_from_a_later_stage_mean_the_last_round_that_has_the_node(tmp_path):
    finish = "finish:\n  last: {use: select, rows: [previous.filtered, history.filtered, previous.pairs], sql: keep_all}\n"
    main = "      pairs:      {use: select, rows: [history.verified, previous.filtered, history.filtered], "
    staged = STAGED.replace("      pairs:      {use: select, rows: history.verified, ", main) + finish
    plan = planned(tmp_path, staged, rounds=2)
    filtered = ("toy/round_01/filtered", "toy/round_02/filtered")
    assert plan.step("toy/round_04/pairs").inputs["rows"][4:] == (filtered[1], *filtered)
    assert plan.step("toy/finish/last").inputs["rows"] == (filtered[1], *filtered, "toy/round_04/pairs")


def test_moving_settings_count_the_rounds_of_where_they_are_written(tmp_path):
    staged = STAGED.replace(
        "samples: 2, max_tokens: 16", "samples: 2, per_round: {max_tokens: 10, step: 1}"
    ).replace("rows: pairs, steps: 3", "rows: pairs, per_round: {steps: [30, 20]}")
    plan = planned(tmp_path, staged, rounds=2)
    assert [plan.step(f"toy/round_0{n}/generated").component.max_tokens for n in (1, 2, 3, 4)] == [
        10,
        11,
        12,
        13,
    ]
    assert [plan.step(f"toy/round_0{n}/checkpoint").component.steps for n in (3, 4)] == [30, 20]


def test_profile_changes_a_stage_and_takes_one_away(tmp_path):
    profiles = """\
profiles:
  short: {stages: {warm_up: {rounds: 1, round: {checkpoint: {epochs: 2}}}, main: {rounds: 2}}}
  plain: {stages: {main: null, warm_up: {rounds: null}}}
"""
    plan = planned(tmp_path, STAGED + profiles, rounds=9, profile="short")
    assert labels(plan, 3) and not labels(plan, 4)
    assert plan.step("toy/round_01/checkpoint").component.epochs == 2
    plan = planned(tmp_path, STAGED + profiles, rounds=3, profile="plain")
    assert plan.step("toy/round_03/checkpoint").component.use == "sft" and not labels(plan, 4)


def test_stages_of_a_population_begin_with_the_one_model_of_the_stage_before(tmp_path):
    main = """\
  main:
    round:
      generated:  {each: agent, model: "previous.checkpoint[agent]"}
      verified:   {each: agent, rows: "generated[agent]"}
      filtered:   {each: agent, rows: "verified[agent]"}
      checkpoint: {each: agent, init: "previous.checkpoint[agent]", rows: "filtered[agent]"}
      evaluation: {each: agent, model: "checkpoint[agent]"}
      pool:       {use: select, rows: "history.pooled", sql: keep_all}
      pooled:     {use: select, rows: "filtered[*]", sql: keep_all}
"""
    staged = STAGED[: STAGED.index("  main:")] + main + "each: {agent: [a, b]}\n"
    plan = planned(tmp_path, staged, rounds=2)
    assert plan.step("toy/round_03/checkpoint/b").inputs["init"] == ("toy/round_02/checkpoint",)
    assert plan.step("toy/round_04/checkpoint/b").inputs["init"] == ("toy/round_03/checkpoint/b",)
    assert plan.step("toy/round_04/pool").inputs["rows"] == ("toy/round_03/pooled", "toy/round_04/pooled")


def test_stop_ends_the_last_stage_early_and_compares_with_the_stage_before(tmp_path):
    plan = planned(
        tmp_path, STAGED + "stop: {use: plateau, metric: evaluation.accuracy}\n", rounds=3, seeds="[0, 1]"
    )
    stops = [key for key in plan.steps if key.endswith("/stop") and key.startswith("toy/")]
    assert stops == [f"toy/round_0{number}/stop" for number in (3, 4, 5)]
    assert "toy__seed_1/round_05/stop" in plan.steps
    first = plan.step(stops[0])
    assert {key.split("/")[1] for key in first.inputs["nodes"]} == {
        "round_02",
        "round_03",
    } and "before" not in first.inputs
    assert first.settings_from["mark"] == ("toy/round_02/evaluation", "accuracy")
    waits = {
        step.group: step.stopped_by
        for step in plan.steps.values()
        if step.label == "checkpoint" and step.pipeline == "toy"
    }
    assert waits == {
        "start": None,
        "round_01": None,
        "round_02": None,
        "round_03": None,
        "round_04": stops[0],
        "round_05": stops[1],
        "best": stops[2],
    }


def test_best_round_may_be_the_last_of_the_stage_before(tmp_path):
    """`min_gain: 1` lets nothing count as a gain: the run stops after the first round that may."""
    stop = "stop: {use: plateau, metric: evaluation.accuracy, min_gain: 1.0}\n"
    plan = planned(tmp_path, STAGED.replace("rounds: 2", "rounds: 1") + stop, rounds=2)
    for key in plan.steps:
        run_step(plan, key)
    decided = json.loads((plan.project.root / "artifacts/toy/round_02/stop/settings.json").read_text())
    assert decided["stopped"] and decided["last_round"] == 2 and decided["best_round"] in (1, 2)
    best = f"round_0{decided['best_round']}/checkpoint"
    assert decided["artifacts"]["checkpoint"]["step"] == best
    stands = plan.project.root / "artifacts/toy/round_03/checkpoint"
    assert open_artifact("toy/round_03/checkpoint", stands).manifest.step == best
    assert (
        open_artifact("toy/best/pairs", plan.project.root / "artifacts/toy/best/pairs").manifest.step
        == "round_02/pairs"
    )


MISTAKES = [
    (
        "rounds: 2",
        "",
        r"toy\.yaml:\d+: stages\.main: warm_up and main say no number of rounds, but only one stage can",
    ),
    (
        "rounds: 2",
        "rounds: 0",
        r"toy\.yaml:\d+: stages\.warm_up\.rounds: must be a number of rounds from 1 on, got 0",
    ),
    (
        "rounds: 2",
        "rounds: two",
        r"stages\.warm_up\.rounds: must be a number of rounds from 1 on, got 'two'\. Leave it out in",
    ),
    ("rounds: 2", "runds: 2", r"stages\.warm_up\.runds: unknown key 'runds'\. Did you mean 'rounds'"),
    ("  main:\n", "  Main:\n", r"stages\.Main: a stage's name is a lower-case word"),
    ("use: dpo, ", "", r"stages\.main\.round\.checkpoint\.reference: unknown key 'reference'"),
    (
        "rows: pairs",
        "rows: filtered",
        r"stages\.main\.round\.checkpoint\.rows: 'filtered' names no node of stages\.main",
    ),
    (
        "history.verified",
        "previous.pairs",
        r"stages\.main\.round\.pairs\.rows: 'previous\.pairs' in round 3 means start\.pairs",
    ),
    (
        "filtered:   null",
        "filtered:   {rows: pears}",
        r"toy\.yaml:24: stages\.main\.round\.filtered\.rows: 'pears' names",
    ),
    ("stages:\n", "stages: {}\nx:\n", r"toy\.yaml:\d+: x: unknown key 'x'"),
    (
        "filtered:   null",
        "filterd:    null",
        r"toy\.yaml:24: .*\.filterd: null leaves a node out, and .*Did you mean 'filtered'",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_stage_that_cannot_be_is_named_with_its_line(tmp_path, old, new, message):
    assert old in STAGED
    refused(tmp_path, STAGED.replace(old, new), message)


def test_stages_without_a_stage_and_without_nodes_are_refused(tmp_path):
    refused(
        tmp_path,
        TOY + "stages: {}\n",
        r"toy\.yaml:\d+: stages: names no stage; write NAME: \{rounds: 2, round",
    )
    refused(tmp_path, TOY + "stages: [warm_up]\n", r"stages: must hold keys and values, got \['warm_up'\]")
    bare = TOY[: TOY.index("round:")] + "stages: {one: {rounds: 2}}\n"
    refused(
        tmp_path, bare, r"toy\.yaml:\d+: stages\.one: is missing or empty; a pipeline needs tasks and a round"
    )


def test_stages_of_params_name_the_keys_that_declare_a_step(tmp_path):
    plan = planned(tmp_path, STAGED)
    text = stage_text(plan, plan.step("toy/round_03/checkpoint"))
    assert "- round.checkpoint\n" in text and "- stages.main.round.checkpoint\n" in text


# -- turns --------------------------------------------------------------------------------------------------------------

REFINED = f"""\
{TOY[: TOY.index("round:")]}\
round:
  generated:  {GENERATED}
  refined:
    use: ask
    repeat: 3
    model: previous.checkpoint
    template: "{{prompt}}"
    row_prompt: own
    max_tokens: 16
    per_turn: {{rows: [generated, before.refined], temperature: [1.0, 0.5]}}
  verified:   {{use: exact_match, rows: refined}}
  filtered:   {{use: select, rows: verified, sql: keep_correct}}
  pool:       {{use: select, rows: [turns.refined, previous.refined, history.refined], sql: keep_all}}
  checkpoint: {SFT}
"""
FIRST = REFINED.replace(
    "  checkpoint: {use: pretrain",
    """\
  refined: {use: ask, model: checkpoint, rows: tasks.train, template: "{prompt}", row_prompt: own}
  checkpoint: {use: pretrain""",
)
DEBATE = f"""\
{TOY[: TOY.index("round:")]}\
each: {{agent: [a, b]}}
repeat: {{talk: 2}}
round:
  first: {{each: agent, use: sample, model: previous.checkpoint, prompts: tasks.train, seed_by: agent, max_tokens: 16}}
  revised:
    each: agent
    repeat: talk
    use: ask
    model: previous.checkpoint
    rows: "heard[agent]"
    template: "{{prompt}}"
    row_prompt: own
    max_tokens: 16
  heard:
    each: agent
    repeat: talk
    use: select
    sql: answers_of_others
    per_turn: {{rows: ["first[*]", "before.revised[*]"], own: ["first[agent]", "before.revised[agent]"]}}
  voted:      {{use: majority_vote, rows: "revised[*]"}}
  filtered:   {{use: select, rows: voted, sql: keep_correct}}
  checkpoint: {SFT}
"""


def test_node_is_repeated_turn_by_turn_and_read_after_its_last(tmp_path):
    plan = planned(tmp_path, FIRST, rounds=2)
    turns = [plan.step(f"toy/round_01/refined/turn_{turn}") for turn in (1, 2, 3)]
    assert [one.inputs["rows"][0] for one in turns] == ["toy/round_01/generated", turns[0].key, turns[1].key]
    assert [one.component.temperature for one in turns] == [1.0, 0.5, 0.5]
    assert plan.step("toy/round_01/verified").inputs["rows"] == (turns[2].key,)
    assert "toy/round_01/refined/turn_4" not in plan.steps and "toy/round_01/refined" not in plan.steps
    second = [f"toy/round_02/refined/turn_{turn}" for turn in (1, 2, 3)]
    pools = (*second, turns[2].key, "toy/start/refined", turns[2].key, second[2])
    assert plan.step("toy/round_02/pool").inputs["rows"] == pools
    assert "cmd: lineal step toy/round_01/refined/turn_2 " in stage_text(plan, turns[1])


def test_nodes_of_one_group_alternate_for_every_member_of_a_population(tmp_path):
    plan = planned(tmp_path, DEBATE, rounds=1)
    talk = [step.label for step in plan.steps.values() if "/turn_" in step.label]
    assert talk == [
        "heard/turn_1/a",
        "heard/turn_1/b",
        "revised/turn_1/a",
        "revised/turn_1/b",
        "heard/turn_2/a",
        "heard/turn_2/b",
        "revised/turn_2/a",
        "revised/turn_2/b",
    ]
    first, second = (plan.step(f"toy/round_01/heard/turn_{turn}/b").inputs for turn in (1, 2))
    assert first == {
        "rows": ("toy/round_01/first/a", "toy/round_01/first/b"),
        "own": ("toy/round_01/first/b",),
    }
    assert second["rows"] == ("toy/round_01/revised/turn_1/a", "toy/round_01/revised/turn_1/b")
    assert second["own"] == ("toy/round_01/revised/turn_1/b",)
    assert plan.step("toy/round_01/revised/turn_2/b").inputs["rows"] == ("toy/round_01/heard/turn_2/b",)
    assert plan.step("toy/round_01/voted").inputs["rows"] == (
        "toy/round_01/revised/turn_2/a",
        "toy/round_01/revised/turn_2/b",
    )


def test_turns_run_and_every_row_has_the_turn_before_as_parent(tmp_path):
    plan = planned(tmp_path, DEBATE, rounds=1)
    for one in plan.with_upstream([plan.step("toy/round_01/voted")]):
        run_step(plan, one.key)

    def rows(label):
        key = f"toy/round_01/{label}"
        return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()

    before, after = rows("heard/turn_2/a"), rows("revised/turn_2/a")
    assert len(after) == 24 and {row["parents"][0] for row in after} == {row["sample_id"] for row in before}
    assert {row["sample_id"] for row in rows("revised/turn_1/a")}.isdisjoint(
        row["sample_id"] for row in after
    )
    assert len(rows("voted")) == 48


def test_profile_changes_the_number_of_turns(tmp_path):
    plan = planned(tmp_path, DEBATE + "profiles: {short: {repeat: {talk: 1}}}\n", rounds=1, profile="short")
    assert plan.step("toy/round_01/voted").inputs["rows"] == (
        "toy/round_01/revised/turn_1/a",
        "toy/round_01/revised/turn_1/b",
    )


def test_profile_cannot_change_the_turns_of_a_group_that_is_not_there(tmp_path):
    text = DEBATE + "profiles: {laptop: {repeat: {tolk: 1}}}\n"
    with pytest.raises(
        DeclarationError, match=r"repeat\.tolk: a profile changes a group's turns, .* Did you mean 'talk'"
    ):
        planned(tmp_path, text, rounds=1, profile="laptop")


REPEATS = [
    (
        REFINED,
        "repeat: 3",
        "repeat: 0",
        r"toy\.yaml:\d+: round\.refined\.repeat: must be a number of turns from 1 on, got 0",
    ),
    (
        REFINED,
        "repeat: 3",
        "repeat: true",
        r"round\.refined\.repeat: must be a number of turns from 1 on, got True",
    ),
    (
        REFINED,
        "repeat: 3",
        "repeat: talks",
        r"round\.refined\.repeat: unknown group 'talks'\. .*repeat: \{talks: 3\}",
    ),
    (
        REFINED,
        "    repeat: 3\n",
        "",
        r"round\.refined\.per_turn: this node has one turn\. Give it repeat: N too",
    ),
    (
        REFINED,
        "[generated, before.refined]",
        "[generated, generated]",
        r"refined\.repeat: no turn of refined reads the one",
    ),
    (
        REFINED,
        "[generated, before.refined]",
        "[before.refined, generated]",
        r"per_turn\.rows: 'before\.refined': no turn comes before the first\. .*per_turn: \{rows: \[NODE, before\.refined\]\}",
    ),
    (
        REFINED,
        "rows: verified",
        "rows: before.refined",
        r"filtered\.rows: 'before\.refined': refined is not repeated together",
    ),
    (
        REFINED,
        "rows: verified",
        "rows: turns.verified",
        r"filtered\.rows: 'turns\.verified': verified is not repeated\. Give",
    ),
    (
        REFINED,
        "rows: verified",
        "rows: turns.verifeid",
        r"filtered\.rows: 'turns\.verifeid' names no node .* 'verified'",
    ),
    (
        REFINED,
        "size: 24}",
        "size: 24, repeat: 2}",
        r"tasks\.train\.repeat: 'train' is made once; only nodes of start, round",
    ),
    (
        REFINED,
        "rows: [generated",
        "row: [generated",
        r"toy\.yaml:\d+: round\.refined\.row: unknown key 'row'",
    ),
    (
        REFINED,
        "temperature: [1.0, 0.5]",
        "temperature: [1.0]",
        r"per_turn\.temperature: .*its values in turns 1, 2, 3",
    ),
    (
        DEBATE,
        "talk: 2",
        "talk: none",
        r"toy\.yaml:\d+: repeat\.talk: must be a number of turns from 1 on, got 'none'",
    ),
    (
        DEBATE,
        "    repeat: talk\n    use: ask",
        "    use: ask",
        r"heard\.repeat: no turn of heard reads the one before, so that",
    ),
]


@pytest.mark.parametrize(("pipeline", "old", "new", "message"), REPEATS)
def test_repetition_that_cannot_be_is_named_with_its_line(tmp_path, pipeline, old, new, message):
    assert old in pipeline
    refused(tmp_path, pipeline.replace(old, new).replace("previous.refined, ", ""), message)


def test_node_between_the_nodes_of_a_group_must_be_in_it(tmp_path):
    between = DEBATE.replace('rows: "heard[agent]"', 'rows: "noted[agent]"').replace(
        "  voted:", '  noted: {each: agent, use: select, rows: "heard[agent]", sql: keep_all}\n  voted:'
    )
    refused(
        tmp_path,
        between,
        r"the nodes need each other: .*noted.*what stands between nodes of one repeat needs the same",
    )
