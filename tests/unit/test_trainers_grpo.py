"""`grpo`: verifiers as rewards, every sampled completion a row, the same bytes for the same settings."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pyarrow as pa
import pydantic
import pytest

from lineal.components.trainers.rollouts import Rollouts
from lineal.components.verifiers.embedded import embedded_verifier
from lineal.data.progress import Progress
from lineal.data.store import Artifact, Rows
from lineal.engines.text.tokens import decode_completions, load_tokenizer
from lineal.errors import CheckFailure, DataError, EngineError
from lineal.recipe.compute import Compute
from tests.unit.lab import ROOT, Lab, rows_of
from tests.unit.tiny_models import in_order, put_model, tiny_model, weights, words

SHORT: dict[str, Any] = {
    "rewards": {"right": "exact_match"},
    "steps": 3,
    "samples": 4,
    "batch_size": 32,
    "max_tokens": 3,
    "learning_rate": 1e-3,
    "threads": 1,
}
PROMPTS = [
    {
        "prompt_id": f"p{index}",
        "prompt": f"{word}=",
        "answer": in_order(word),
        "difficulty": float(len(word)),
        "set": "own",
    }
    for index, word in enumerate(dict.fromkeys(words(14)))
]
UNANSWERED = [{**row, "answer": ""} for row in PROMPTS]
ENDS = {"use": "exact_match", "extract": "^()", "weight": 0.5}
"""Passes whatever ends before the limit, where the answer is empty; a random model does so now and then."""
EMPTY = pa.schema([(name, pa.string()) for name in ("prompt_id", "prompt", "answer")]).empty_table()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def inputs_of(lab: Lab, checkpoint: Path, prompts: list[dict[str, Any]] = PROMPTS) -> dict[str, Artifact]:
    return {
        "prompts": lab.put("tasks/train", prompts),
        "init": put_model(lab, "start/checkpoint", checkpoint),
    }


def groups(rows: list[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Rollouts by prompt and turn."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["prompt_id"], row["sample_index"] // SHORT["samples"]), []).append(row)
    return found


@pytest.mark.model
def test_grpo_keeps_every_sampled_completion_as_a_row_with_its_reward(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    rewards = {"ends": ENDS, "exact": "exact_match"}
    made = lab.run("grpo", "round_02/checkpoint", inputs, 2, **{**SHORT, "rewards": rewards})
    rows = rows_of(made["rollouts"])
    assert len(rows) == len({row["sample_id"] for row in rows}) == 3 * 32
    assert lab.counts == {
        "in": 14,
        "expected": 96,
        "out": 96,
        "unsampled": 0,
        "error": 0,
        "pass": sum(row["verdict"] == "pass" for row in rows),
        "fail": sum(row["verdict"] == "fail" for row in rows),
    }
    of = {row["prompt_id"]: row for row in UNANSWERED}
    for row in rows:
        prompt = of[row["prompt_id"]]
        assert row["parents"] == [row["prompt_id"]] and {name: row[name] for name in prompt} == prompt
        assert (row["checkpoint"], row["round"], row["temperature"]) == (inputs["init"].digest, 2, 1.0)
        assert row["tokens"] >= len(row["completion"]) + (
            row["finish_reason"] == "stop"
        )  # one may be no letter
        assert row["score"] == 0.5 * row["ends_score"] + row["exact_score"]
        assert (row["verdict"] == "pass") == (row["ends_verdict"] == row["exact_verdict"] == "pass")
    assert [row["optimizer_step"] for row in rows] == [0] * 32 + [1] * 32 + [2] * 32
    assert max(row["score"] for row in rows) > 0
    for group in groups(rows).values():
        scores = [row["score"] for row in group]
        assert len(group) == 4 and [row["sample_index"] % 4 for row in group] == [0, 1, 2, 3]
        wanted = [(score - mean(scores)) / (stdev(scores) + 1e-4) for score in scores]
        assert [row["advantage"] for row in group] == pytest.approx(wanted, abs=1e-4)
    assert weights(made[""].directory) != weights(checkpoint)


@pytest.mark.model
def test_rollouts_keep_the_ids_that_were_drawn_where_they_are_asked_for(lab: Lab, checkpoint: Path) -> None:
    inputs, settings = inputs_of(lab, checkpoint), {**SHORT, "steps": 2}
    plain, kept = (
        lab.run("grpo", f"round_01/{ids}", inputs, 1, **settings, token_ids=ids) for ids in (False, True)
    )
    rows, tokenizer = rows_of(kept["rollouts"]), load_tokenizer(checkpoint)
    assert decode_completions(tokenizer, [row["token_ids"] for row in rows]) == [
        row["completion"] for row in rows
    ]
    assert [len(row["token_ids"]) for row in rows] == [row["tokens"] for row in rows]
    assert "token_ids" not in Rows((plain["rollouts"],)).columns
    learnt = lab.run(
        "sft", "round_01/learnt", {"rows": kept["rollouts"], "init": inputs["init"]}, steps=2, threads=1
    )[""]
    assert weights(learnt.directory) != weights(checkpoint)


@pytest.mark.model
def test_rollouts_hold_no_ids_without_a_token(lab: Lab, checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    from transformers import AutoModelForCausalLM

    padded, tokenizer = shutil.copytree(checkpoint, tmp_path / "padded"), load_tokenizer(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(str(checkpoint))
    model.resize_token_embeddings(len(tokenizer) + 100, mean_resizing=False)
    model.save_pretrained(str(padded))
    made = lab.run(
        "grpo", "round_01/padded", inputs_of(lab, padded), 1, **{**SHORT, "steps": 1}, token_ids=True
    )
    assert max(token for row in rows_of(made["rollouts"]) for token in row["token_ids"]) < len(tokenizer)


@pytest.mark.model
def test_rewards_are_what_the_verifier_says_of_the_rows_anew(lab: Lab, checkpoint: Path) -> None:
    settings = {**SHORT, "rewards": {"ends": ENDS}}
    made = lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, UNANSWERED), **settings)[
        "rollouts"
    ]
    rows = Rows((made,)).read()
    judge = embedded_verifier({"use": "exact_match", "extract": "^()"}, "verifier", lab.surroundings)
    anew = judge.judge(
        rows.drop_columns(["verdict", "score", "detail"]), Progress("", rows.num_rows, "rows", None)
    )
    assert anew["verdict"].to_pylist() == rows["verdict"].to_pylist()
    assert {"pass", "fail"} == set(anew["verdict"].to_pylist())
    assert [0.5 * score for score in anew["score"].to_pylist()] == rows["score"].to_pylist()


@pytest.mark.model
def test_prompts_take_turns_evenly_over_the_end_of_an_epoch(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint)
    rows = rows_of(
        lab.run("grpo", "round_01/checkpoint", inputs, **{**SHORT, "batch_size": 24, "steps": 5})["rollouts"]
    )
    turns = [(row["prompt_id"], row["sample_index"] // 4) for row in rows[::4]]
    assert len(turns) == len(set(turns)) == 30
    assert {prompt for prompt, turn in turns if turn == 0} == {row["prompt_id"] for row in PROMPTS}
    assert [turn for _, turn in turns] == [0] * 14 + [1] * 14 + [2] * 2
    assert [prompt for prompt, _ in turns[:14]] != [prompt for prompt, _ in turns[14:28]]
    few = rows_of(
        lab.run("grpo", "round_01/checkpoint", inputs, **{**SHORT, "batch_size": 8, "steps": 2})["rollouts"]
    )
    assert len(few) == 16 and lab.counts["unsampled"] == 10
    whole = rows_of(
        lab.run(
            "grpo", "round_01/checkpoint", inputs, **{**SHORT, "batch_size": 24, "steps": None, "epochs": 1.0}
        )["rollouts"]
    )
    assert len(whole) == 3 * 24 and lab.counts["unsampled"] == 0


@pytest.mark.model
def test_one_generation_serves_several_updates(lab: Lab, checkpoint: Path) -> None:
    shared = {
        "updates_per_generation": 2,
        "iterations": 2,
        "gradient_accumulation": 2,
        "batch_size": 8,
        "steps": 6,
    }
    made = lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint), **{**SHORT, **shared})
    rows = rows_of(made["rollouts"])
    assert [row["optimizer_step"] for row in rows] == [0] * 32 + [4] * 32


def test_parents_are_the_ids_of_the_prompts_rows(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    prompts = lab.put("tasks/posed", [{**row, "sample_id": f"s{index}"} for index, row in enumerate(PROMPTS)])
    rows = rows_of(
        lab.run("grpo", "round_01/checkpoint", {"prompts": prompts, "init": prompts}, **SHORT)["rollouts"]
    )
    assert {(row["prompt_id"], *row["parents"]) for row in rows} == {
        (f"p{index}", f"s{index}") for index in range(14)
    }


@pytest.mark.model
def test_settings_of_the_loss_change_the_weights_and_not_the_first_draws(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    base = {**SHORT, "rewards": {"ends": ENDS}, "iterations": 3, "learning_rate": 1e-2}
    variants = {
        "dapo": {},
        "beta": {"beta": 0.5},
        "dr_grpo": {"loss": "dr_grpo"},
        "none": {"scale_rewards": "none"},
        "clip": {"epsilon": 0.01},
        "gspo": {"loss": "grpo", "importance_sampling_level": "sequence"},
    }
    found, drawn = {}, set()
    for name, settings in variants.items():
        made = lab.run("grpo", "round_01/checkpoint", inputs, **{**base, **settings})
        found[name] = weights(made[""].directory)
        drawn.add(tuple(row["completion"] for row in rows_of(made["rollouts"])))
    assert len(set(found.values())) == len(found)
    assert len(drawn) == 1


@pytest.mark.model
def test_grpo_learns_what_is_rewarded(lab: Lab, checkpoint: Path) -> None:
    settings = {**SHORT, "rewards": {"ends": ENDS}, "steps": 32, "learning_rate": 1e-2}
    made = lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, UNANSWERED), **settings)[
        "rollouts"
    ]
    passed = [row["verdict"] == "pass" for row in rows_of(made)]
    assert mean(passed[:64]) < 0.25 and mean(passed[-64:]) > 0.5


PROGRAM = """
import sys
from pathlib import Path
from tests.unit.lab import Lab
from tests.unit.test_trainers_grpo import UNANSWERED, ENDS, SHORT, inputs_of
lab = Lab(Path(sys.argv[1]))
inputs = inputs_of(lab, Path(sys.argv[2]), UNANSWERED)
made = lab.run("grpo", "round_01/checkpoint", inputs, **{**SHORT, "rewards": {"a": ENDS}})
print(made[""].digest, made["rollouts"].digest)
"""


@pytest.mark.model
def test_grpo_makes_the_same_bytes_in_another_process(tmp_path: Path, checkpoint: Path) -> None:
    lab = Lab(tmp_path / "here")
    made = lab.run(
        "grpo",
        "round_01/checkpoint",
        inputs_of(lab, checkpoint, UNANSWERED),
        **{**SHORT, "rewards": {"a": ENDS}},
    )
    other = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "there", checkpoint],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert other.stdout.split() == [made[""].digest, made["rollouts"].digest]
    again = Lab(tmp_path / "seed", seed=1)
    different = again.run(
        "grpo",
        "round_01/checkpoint",
        inputs_of(again, checkpoint, UNANSWERED),
        **{**SHORT, "rewards": {"a": ENDS}},
    )
    assert different["rollouts"].digest != made["rollouts"].digest


@pytest.mark.model
def test_rollout_that_cannot_be_judged_is_an_error_and_teaches_nothing(lab: Lab, checkpoint: Path) -> None:
    prompts = [
        {**row, "answer": None if index == 3 else row["answer"]} for index, row in enumerate(UNANSWERED)
    ]
    tolerant = {**ENDS, "max_error_rate": 0.2}
    settings = {**SHORT, "rewards": {"ends": tolerant}, "steps": 4, "batch_size": 28}
    inputs = inputs_of(lab, checkpoint, prompts)
    broken = [
        row
        for row in rows_of(lab.run("grpo", "round_01/checkpoint", inputs, **settings)["rollouts"])
        if row["answer"] is None
    ]
    assert lab.counts["error"] == len(broken) == 8
    for row in broken:
        assert (row["verdict"], row["score"], row["advantage"]) == ("error", None, 0.0)
        assert row["detail"] == "the row has no answer"
    with pytest.raises(
        CheckFailure,
        match=r"exact_match could not judge \d+ of 112 completions.*the row has no answer.*limit 5%",
    ):
        lab.run("grpo", "round_01/checkpoint", inputs, **{**settings, "rewards": {"ends": ENDS}})


@pytest.mark.model
def test_broken_verifier_stops_the_training_at_once(lab: Lab, checkpoint: Path) -> None:
    prompts = [{**row, "answer": None} for row in PROMPTS]
    inputs = inputs_of(lab, checkpoint, [*prompts, {**PROMPTS[0], "prompt_id": "whole"}])
    forgiving = {"use": "exact_match", "max_error_rate": 1.0}
    with pytest.raises(CheckFailure, match="could not judge 8 of 80 completions"):
        lab.run(
            "grpo",
            "round_01/checkpoint",
            inputs,
            **{**SHORT, "rewards": {"x": forgiving}, "steps": 10, "batch_size": 8},
        )


@pytest.mark.model
def test_verifier_with_processes_judges_all_the_while(lab: Lab, checkpoint: Path) -> None:
    pytest.importorskip("math_verify")
    prompts = [{**row, "answer": "x"} for row in PROMPTS]
    settings = {**SHORT, "rewards": {"math": "math"}, "steps": 2, "batch_size": 16}
    rows = rows_of(
        lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, prompts), **settings)["rollouts"]
    )
    assert len(rows) == 32 and {row["verdict"] for row in rows} <= {"pass", "fail"}


MODELS_JUDGE = {
    "rm": {"use": "reward", "scorer": "start.reward_model", "weight": 0.5},
    "likely": {
        "use": "likelihood",
        "scorer": "start.critic",
        "reference": "start.checkpoint",
        "weight": 0.25,
    },
    "asked": {
        "use": "judge",
        "model": "start.critic",
        "template": "{prompt}{completion}",
        "samples": 2,
        "max_tokens": 2,
        "repeats": "completion",
        "threshold": 0.5,
        "max_error_rate": 1.0,
    },
    "agreed": {"use": "majority_vote", "weight": 2.0},
}


def judged_by_models(lab: Lab, checkpoint: Path, critic: Path) -> dict[str, Artifact]:
    """The inputs and outputs of a training whose rewards are models and a vote."""
    given = inputs_of(lab, checkpoint, UNANSWERED)
    pairs = [{**row, "chosen": row["answer"], "rejected": row["prompt"][:-1]} for row in PROMPTS]
    shared = {"steps": 2, "batch_size": 4, "threads": 1, "learning_rate": 1e-2}
    paired = {"rows": lab.put("start/pairs", pairs), "init": given["init"]}
    other = put_model(lab, "start/critic", critic)
    given |= {
        "rewards.rm.scorer": lab.run("reward_model", "start/reward_model", paired, **shared)[""],
        "rewards.likely.scorer": other,
        "rewards.likely.reference": given["init"],
        "rewards.asked.model": other,
    }
    return {**given, **lab.run("grpo", "round_01/checkpoint", given, **{**SHORT, "rewards": MODELS_JUDGE})}


@pytest.mark.model
def test_models_and_votes_reward_what_the_policy_samples(lab: Lab, checkpoint: Path, tmp_path: Path) -> None:
    made = judged_by_models(lab, checkpoint, tiny_model(tmp_path / "critic", seed=5))
    rows = rows_of(made["rollouts"])
    for row in rows:
        parts = (
            0.5 * row["rm_score"]
            + 0.25 * row["likely_score"]
            + row["asked_score"]
            + 2.0 * row["agreed_score"]
        )
        assert row["score"] == pytest.approx(parts)
        assert row["verdict"] == (
            "pass" if row["asked_verdict"] == row["agreed_verdict"] == "pass" else "fail"
        )
    assert len({row["rm_score"] for row in rows}) > 8 and len({row["likely_score"] for row in rows}) > 8
    again = {"rows": made["rollouts"], "scorer": made["rewards.rm.scorer"]}
    anew = rows_of(lab.run("reward", "round_01/rewarded", again, name="anew")[""])
    assert [row["anew_score"] for row in anew] == [row["rm_score"] for row in rows]
    for group in groups(rows).values():
        answers = [row["completion"] for row in group if row["finish_reason"] == "stop" and row["completion"]]
        assert [row["agreed_votes"] for row in group if row["completion"] in answers] == [
            answers.count(row["completion"]) for row in group if row["completion"] in answers
        ]
    assert {row["agreed_verdict"] for row in rows} == {"pass", "fail"}


ITSELF = {
    "likely": {"use": "likelihood", "scorer": "self", "weight": 0.0},
    "sure": {"use": "certainty", "scorer": "self", "weight": 0.0},
    "asked": {
        "use": "judge",
        "model": "self",
        "template": "{prompt}{completion}",
        "max_tokens": 3,
        "repeats": "completion",
        "threshold": 0.5,
        "max_error_rate": 1.0,
        "weight": 0.0,
    },
}


@pytest.mark.model
def test_policy_judges_itself_with_the_weights_of_that_optimizer_step(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    settings = {
        **SHORT,
        "rewards": {"ends": ENDS},
        "schedule": "constant",
        "warmup": 0.0,
        "learning_rate": 1e-2,
    }
    after_two = lab.run("grpo", "round_01/checkpoint", inputs, **{**settings, "steps": 2})[""]
    scorers = {0: inputs["init"], 2: put_model(lab, "start/after_two", after_two.directory)}
    plain = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    trained, drawn = weights(plain[""].directory), [row["completion"] for row in rows_of(plain["rollouts"])]
    made = lab.run("grpo", "round_01/checkpoint", inputs, **{**settings, "rewards": {"ends": ENDS, **ITSELF}})
    assert weights(made[""].directory) == trained
    assert [row["completion"] for row in rows_of(made["rollouts"])] == drawn
    for use, name in (("likelihood", "likely"), ("certainty", "sure")):
        for step, scorer in scorers.items():
            anew = rows_of(
                lab.run(use, "round_01/anew", {"rows": made["rollouts"], "scorer": scorer}, name="anew")[""]
            )
            own = [(row["anew_score"], row[f"{name}_score"]) for row in anew if row["optimizer_step"] == step]
            assert len(own) == 32 and all(one == pytest.approx(other, abs=1e-5) for one, other in own)
            assert any(
                abs(row["anew_score"] - row[f"{name}_score"]) > 1e-3
                for row in anew
                if row["optimizer_step"] != step
            )
    assert len({row["asked_detail"] for row in rows_of(made["rollouts"])}) > 8


def test_every_verifier_that_says_something_of_a_completion_can_be_a_reward() -> None:
    from lineal.components.registry import Registry
    from lineal.components.verifiers.base import AddsColumns

    found = [Registry().find(name) for name in Registry().names]
    verifiers = [one for one in found if issubclass(one, AddsColumns) and "score" in one.added]
    assert len(verifiers) >= 18
    others = {one.__name__ for one in verifiers if not one.judges_tables()}
    assert others == {
        "Labels",
        "TrainAndTest",
    }  # people have judged other rows; a training for each rollout takes too long


def test_self_is_no_input_but_enters_the_identity(lab: Lab) -> None:
    rewards = {"likely": {"use": "likelihood", "scorer": "self", "reference": "start.checkpoint"}}
    component = lab.parse("grpo", {"prompts": (), "init": ()}, **{**SHORT, "rewards": rewards})
    assert list(component.references()) == ["prompts", "init", "rewards.likely.reference"]
    assert component.identity()["rewards"]["likely"]["self"] == ["scorer"]
    frozen = {"likely": {**rewards["likely"], "scorer": "start.critic"}}
    other = lab.parse("grpo", {"prompts": (), "init": ()}, **{**SHORT, "rewards": frozen})
    assert other.identity() != component.identity() and "self" not in other.identity()["rewards"]["likely"]


def test_policy_judges_itself_whatever_engine_the_other_steps_have(tmp_path: Path) -> None:
    from lineal.data.workspace import Workspace
    from lineal.engines.factory import open_likelihood, open_sampler
    from lineal.engines.sampling.live_policy import LivePolicy

    lab, policy = Lab(tmp_path), LivePolicy()
    model, compute = lab.put("start/checkpoint", PROMPTS), Compute(engine="vllm", workers=1)
    step = Workspace(tmp_path, "round_01/x", 1, 0, compute, {}, tmp_path)
    with step.inside("rewards.a", {"model": (model, policy)}) as inner:
        assert open_likelihood(inner, "model") is policy
        open_sampler(inner, "model")
        assert (inner.made_with, inner.equal_bytes, inner.place) == ("transformers", None, "rewards.a.")


@pytest.mark.model
def test_reward_that_is_no_number_stops_the_training(lab: Lab, checkpoint: Path) -> None:
    huge = {"long": {"use": "rule", "formula": "1e30 * length(prompt)", "weight": 1e30}}
    with pytest.raises(
        DataError,
        match=r"a rollout's reward is [\d.e+]+ \(scores: long [\d.e+]+\), expected a number of at most 3e\+38",
    ):
        lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint), **{**SHORT, "rewards": huge})


def test_models_of_rewards_are_inputs_and_no_settings(lab: Lab) -> None:
    component = lab.parse("grpo", {"prompts": (), "init": ()}, **{**SHORT, "rewards": MODELS_JUDGE})
    assert {name: texts for name, (texts, _) in component.references().items()} == {
        "prompts": ["node"],
        "init": ["node"],
        "rewards.rm.scorer": ["start.reward_model"],
        "rewards.likely.scorer": ["start.critic"],
        "rewards.likely.reference": ["start.checkpoint"],
        "rewards.asked.model": ["start.critic"],
    }
    assert "start." not in str(component.identity())
    assert component.needs()["prompts"] == ("prompt_id", "prompt")


def test_rewards_of_models_alone_give_no_verdict_and_enter_the_ids(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    settings = {
        **SHORT,
        "max_tokens": 32,
        "rewards": {"rm": {"use": "reward", "scorer": "start.reward_model"}},
    }
    prompts, other = lab.put("tasks/train", PROMPTS), lab.put("tasks/other", PROMPTS[:1])
    given = {"prompts": prompts, "init": prompts, "rewards.rm.scorer": prompts}
    rows = rows_of(lab.run("grpo", "round_01/checkpoint", given, **settings)["rollouts"])
    assert {(row["verdict"], row["detail"]) for row in rows} == {(None, None)}
    assert all(row["score"] == row["rm_score"] for row in rows) and len({row["score"] for row in rows}) > 1
    more = rows_of(
        lab.run("grpo", "round_01/checkpoint", {**given, "rewards.rm.scorer": other}, **settings)["rollouts"]
    )
    assert {row["sample_id"] for row in more}.isdisjoint(row["sample_id"] for row in rows)


@pytest.mark.model
def test_grpo_trains_an_adapter_and_trains_it_on(lab: Lab, checkpoint: Path) -> None:
    pytest.importorskip("peft")
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    settings = {
        **SHORT,
        "rewards": {"ends": ENDS},
        "lora": {"rank": 4, "alpha": 8},
        "beta": 0.1,
        "learning_rate": 1e-2,
    }
    first = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    assert (first[""].directory / "adapter_model.safetensors").is_file()
    onward = {**inputs, "init": first[""], "init_base": inputs["init"]}
    component = lab.parse("grpo", {"prompts": (), "init": ()}, **settings)
    workspace = lab._workspace(
        "round_02/checkpoint", {name: (artifact,) for name, artifact in onward.items()}, 2
    )
    component.run(workspace)
    rows = pa.concat_tables(
        [pa.parquet.read_table(path) for path in workspace.directory("rollouts").glob("*.parquet")]
    )
    assert set(rows["checkpoint"].to_pylist()) == {first[""].digest}
    assert weights(workspace.directory()) != weights(first[""].directory)


@pytest.mark.model
def test_grpo_whose_rewards_are_all_equal_says_that_nothing_was_taught(
    lab: Lab, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**row, "answer": "never"} for row in PROMPTS]
    made = lab.run(
        "grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, rows), **{**SHORT, "weight_decay": 0.0}
    )
    assert weights(made[""].directory) == weights(checkpoint)
    assert lab.counts["taught"] == 0
    assert (
        "warning: round_01/checkpoint: every gradient was 0: the rows taught nothing"
        in capsys.readouterr().err
    )


GENERATES = {
    "min_p": 0.9,
    "suppress_tokens": [5, 6, 7],
    "min_new_tokens": 3,
    "typical_p": 0.1,
    "num_beams": 2,
    "max_time": 1e-9,
    "forced_eos_token_id": 2,
    "repetition_penalty": 3.0,
    "no_repeat_ngram_size": 1,
    "epsilon_cutoff": 0.03,
    "temperature": 0.1,
}


@pytest.mark.model
@pytest.mark.parametrize("lora", [{}, {"lora": {"rank": 4, "alpha": 8}}])
def test_rollouts_do_not_obey_the_models_own_generation_config(
    lab: Lab, checkpoint: Path, tmp_path: Path, lora: dict[str, Any]
) -> None:
    willed = tmp_path / "willed"
    shutil.copytree(checkpoint, willed)
    own = json.loads((willed / "generation_config.json").read_text())
    (willed / "generation_config.json").write_text(json.dumps(own | GENERATES))
    settings, same = (
        {**SHORT, "rewards": {"ends": ENDS}, **lora},
        ("completion", "finish_reason", "tokens", "advantage"),
    )

    def drawn(init: Path) -> tuple[str, list[list[Any]]]:
        made = lab.run("grpo", "round_01/checkpoint", inputs_of(lab, init, UNANSWERED), **settings)
        return weights(made[""].directory), [
            [row[name] for name in same] for row in rows_of(made["rollouts"])
        ]

    assert drawn(willed) == drawn(checkpoint)


@pytest.mark.model
def test_grpo_prints_nothing(lab: Lab, checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint), **{**SHORT, "beta": 0.1})
    captured = capfd.readouterr()
    own = [
        line for line in captured.err.splitlines() if "round_01/checkpoint" in line
    ]  # its progress, if it takes long
    assert captured.out == "" and captured.err.splitlines() == own


@pytest.mark.model
def test_prompt_too_long_or_unknown_is_an_error_before_anything_is_drawn(lab: Lab, checkpoint: Path) -> None:
    with pytest.raises(
        EngineError, match=r"has 8 tokens, with max_tokens 30 that is more than the 32 positions"
    ):
        lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint), **{**SHORT, "max_tokens": 30})
    strange = [{**PROMPTS[0], "prompt": "ABC="}]
    with pytest.raises(EngineError, match="unknown to the tokenizer"):
        lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, strange), **SHORT)


def test_vllm_that_is_not_here_is_an_error_before_the_model_is_loaded(tmp_path: Path) -> None:
    from importlib.util import find_spec

    lab = Lab(tmp_path, Compute(workers=1, grpo_vllm="colocate"))
    prompts = lab.put("tasks/train", PROMPTS)
    wanted = "needs a GPU" if find_spec("vllm") else "needs the package vllm, which is not installed here"
    with pytest.raises(EngineError, match=f"compute.grpo_vllm: colocate {wanted}"):
        lab.run("grpo", "round_01/checkpoint", {"prompts": prompts, "init": prompts}, **SHORT)


def test_vllm_settings_reach_trl_by_its_names() -> None:
    from lineal.engines.training.online_training import Vllm, require_vllm

    with pytest.raises(
        EngineError,
        match="grpo_vllm: colocate: vLLM says how likely its own samples are and not those of beside",
    ):
        require_vllm(Vllm("colocate", ""), {0: ["a"]})

    common = {"use_vllm": True, "generation_kwargs": {"stop_token_ids": [2, 5]}}
    assert Vllm("colocate", "http://here:1").arguments([2, 5]) == {"vllm_mode": "colocate", **common}
    server = {"vllm_mode": "server", "vllm_server_base_url": "http://here:1", **common}
    assert Vllm("server", "http://here:1").arguments([2, 5]) == server


def test_fake_engine_gives_each_prompt_one_turn(tmp_path: Path) -> None:
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    prompts = lab.put("tasks/train", PROMPTS)
    made = lab.run(
        "grpo", "round_01/checkpoint", {"prompts": prompts, "init": prompts}, **{**SHORT, "max_tokens": 32}
    )
    rows = rows_of(made["rollouts"])
    assert len(rows) == 14 * 4 and {row["verdict"] for row in rows} == {"pass", "fail"}


def test_what_a_verifier_needs_is_asked_of_the_prompts(lab: Lab) -> None:
    inputs = {"prompts": (), "init": ()}
    rewards = {"right": "exact_match", "runs": {"use": "program_output", "weight": 0.1}}
    component = lab.parse("grpo", inputs, steps=1, rewards=rewards)
    assert component.needs() == {"prompts": ("prompt_id", "prompt", "answer")}
    columns = component.outputs({"prompts": ("prompt_id", "prompt", "answer", "mine", "verdict")})[
        "rollouts"
    ].columns
    assert {"mine", "right_verdict", "runs_score", "runs_output", "verdict", "advantage"} <= {*columns}
    assert component.identity()["rewards"]["runs"]["weight"] == 0.1
    with pytest.raises(
        ValueError, match="have a column 'right_score' already. Give the reward 'right' another name"
    ):
        component.outputs({"prompts": ("prompt_id", "prompt", "right_score")})


def test_prompts_that_cannot_be_sampled_are_refused(lab: Lab) -> None:
    for rows, message in (
        ([{**PROMPTS[0], "prompt": None}], "1 of 1 prompts have no text"),
        ([PROMPTS[0], PROMPTS[0]], "stands 2 times"),
        (EMPTY, "0 prompts"),
    ):
        prompts = lab.put("tasks/train", rows)
        with pytest.raises(DataError, match=message):
            lab.run("grpo", "round_01/checkpoint", {"prompts": prompts, "init": prompts}, **SHORT)


PROBED = {"rewards": {"ends": ENDS}, "probe": {"truth": "exact_match"}}


def peak(step: int) -> dict[str, Any]:
    """Is best at an optimizer step."""
    return {"use": "rule", "formula": f"-abs(optimizer_step - {step})"}


@pytest.mark.model
def test_probe_judges_rollouts_and_changes_nothing(lab: Lab, checkpoint: Path) -> None:
    prompts = [{**row, "answer": row["answer"] if index % 2 else ""} for index, row in enumerate(PROMPTS)]
    inputs = inputs_of(lab, checkpoint, prompts)
    probes = {
        "truth": {"use": "exact_match", "extract": "(.)"},
        "likely": {"use": "likelihood", "scorer": "self"},
    }
    plain = lab.run("grpo", "round_01/checkpoint", inputs, **{**SHORT, "rewards": {"ends": ENDS}})
    trained, told = (
        weights(plain[""].directory),
        [
            [row[name] for name in ("completion", "verdict", "score", "detail", "advantage")]
            for row in rows_of(plain["rollouts"])
        ],
    )
    probed = lab.run(
        "grpo", "round_01/checkpoint", inputs, **{**SHORT, "rewards": {"ends": ENDS}, "probe": probes}
    )
    rows = rows_of(probed["rollouts"])
    assert weights(probed[""].directory) == trained
    assert [
        [row[name] for name in ("completion", "verdict", "score", "detail", "advantage")] for row in rows
    ] == told
    assert any(row["truth_verdict"] != row["verdict"] for row in rows) and all(
        row["likely_score"] < 0 for row in rows
    )


def test_probe_is_identity_and_an_input_like_a_reward(lab: Lab) -> None:
    probe = {"truth": "exact_match", "rm": {"use": "reward", "scorer": "start.reward_model"}}
    component = lab.parse(
        "grpo",
        {"prompts": (), "init": ()},
        **{**SHORT, "rewards": {"agreed": "majority_vote"}, "probe": probe},
    )
    assert component.needs()["prompts"] == ("prompt_id", "prompt", "answer")
    assert list(component.references()) == ["prompts", "init", "probe.rm.scorer"]
    assert component.probed() == {"rollouts": ("truth_score", "rm_score")}
    assert (
        component.identity()["probe"]["truth"]["use"] == "exact_match"
        and "weight" not in component.identity()["probe"]["truth"]
    )
    columns = component.outputs({"prompts": ("prompt_id", "prompt", "answer")})["rollouts"].columns
    assert {"truth_verdict", "rm_score", "agreed_votes"} <= {*columns}
    plain = lab.parse("grpo", {"prompts": (), "init": ()}, **SHORT).identity()
    assert "probe" not in plain and "keep_best" not in plain


@pytest.mark.model
def test_training_shows_reward_and_probe_of_every_optimizer_step(lab: Lab, checkpoint: Path) -> None:
    settings = {**SHORT, **PROBED, "steps": 6, "updates_per_generation": 2, "batch_size": 16}
    component = lab.parse("grpo", {"prompts": (), "init": ()}, **settings)
    inputs = {name: (artifact,) for name, artifact in inputs_of(lab, checkpoint, UNANSWERED).items()}
    workspace = lab._workspace("round_01/checkpoint", inputs, 1)
    component.run(workspace)
    rows = pa.concat_tables(
        [pa.parquet.read_table(path) for path in sorted(workspace.directory("rollouts").glob("*.parquet"))]
    )
    wanted = [
        mean(row["score"] for row in rows.to_pylist() if row["optimizer_step"] == step)
        for step in (0, 0, 2, 2, 4, 4)
    ]
    curve = workspace.facts["curve"]
    assert (
        curve["score"] == pytest.approx(wanted, rel=1e-5)
        and len(curve["truth_score"]) == len(curve["loss"]) == 6
    )
    assert "ends_score" not in curve


@pytest.mark.model
def test_best_step_is_kept_and_ends_the_training(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    falling = {
        **SHORT,
        "rewards": {"ends": ENDS},
        "probe": {"peak": peak(5)},
        "learning_rate": 1e-2,
        "steps": 24,
        "schedule": "constant",
        "warmup": 0.0,
    }
    best = {"probe": "peak", "window": 2, "patience": 4}
    kept = lab.run("grpo", "round_01/checkpoint", inputs, **{**falling, "keep_best": best})
    rows, counts, found = rows_of(kept["rollouts"]), lab.counts, weights(kept[""].directory)
    by_step = [
        mean(row["peak_score"] for row in rows if row["optimizer_step"] == step)
        for step in range(len(rows) // 32)
    ]
    figures = [(by_step[step - 1] + by_step[step]) / 2 for step in range(1, len(by_step))]
    top = 1 + figures.index(max(figures))
    assert counts["best_step"] == top and counts["steps"] == len(by_step) == top + best["patience"] + 1 < 24
    assert counts["out"] == counts["expected"] == 32 * len(by_step)
    alone = lab.run("grpo", "round_01/checkpoint", inputs, **{**falling, "steps": top})
    assert weights(alone[""].directory) == found


@pytest.mark.model
def test_checkpoint_that_no_step_improves_is_kept_as_it_was(
    lab: Lab, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {
        **SHORT,
        "rewards": {"ends": ENDS},
        "probe": {"same": {"use": "rule", "formula": "1"}},
        "learning_rate": 1e-2,
    }
    best = {"probe": "same", "window": 1}
    made = lab.run(
        "grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, UNANSWERED), **settings, keep_best=best
    )
    assert (
        weights(made[""].directory) == weights(checkpoint)
        and lab.counts["best_step"] == lab.counts["taught"] == 0
    )
    assert lab.counts["steps"] == 3
    assert "no step was better than the checkpoint" in capsys.readouterr().err


REFILLED = {
    "rewards": {"ends": ENDS},
    "refill": {"attempts": 3},
    "batch_size": 16,
    "steps": 4,
    "learning_rate": 1e-2,
}


@pytest.mark.model
def test_groups_that_teach_nothing_are_replaced_and_stay_as_rows(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint, UNANSWERED)
    rows = rows_of(lab.run("grpo", "round_01/checkpoint", inputs, **{**SHORT, **REFILLED})["rollouts"])
    turns = [(row["prompt_id"], row["sample_index"] // 4) for row in rows[::4]]
    assert len(turns) == len(set(turns)) == len(rows) // 4 and [number for _, number in turns] == sorted(
        number for _, number in turns
    )
    assert {row["optimizer_step"] for row in rows} == {0, 1, 2, 3}
    taken, unfilled = dict.fromkeys(range(4), 0), 0
    for (prompt, turn), group in groups(rows).items():
        passed = sum(row["verdict"] == "pass" for row in group)
        assert len({row["replaced"] for row in group}) == 1
        if group[0]["replaced"]:
            assert passed in (0, 4) and {row["advantage"] for row in group} == {None}, (prompt, turn)
            continue
        taken[group[0]["optimizer_step"]] += 1
        unfilled += 4 * (passed in (0, 4))
        wanted = [
            (row["score"] - passed / 8) / (stdev(each["score"] for each in group) + 1e-4) for row in group
        ]
        assert [row["advantage"] for row in group] == pytest.approx(wanted, abs=1e-3)
    assert set(taken.values()) == {4}
    replaced = sum(row["replaced"] for row in rows)
    assert replaced > 16 and unfilled < 64
    assert {name: lab.counts[name] for name in ("out", "expected", "replaced", "unfilled")} == {
        "out": len(rows),
        "expected": len(rows),
        "replaced": replaced,
        "unfilled": unfilled,
    }


@pytest.mark.model
def test_refill_without_a_group_to_replace_changes_no_byte(
    lab: Lab, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, settings = inputs_of(lab, checkpoint, UNANSWERED), {**SHORT, "rewards": {"ends": ENDS}}
    plain = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    trained, drawn = weights(plain[""].directory), [row["completion"] for row in rows_of(plain["rollouts"])]
    monkeypatch.setattr(Rollouts, "fits", lambda self: [True] * 8)
    filled = lab.run("grpo", "round_01/checkpoint", inputs, **settings, refill={})
    assert weights(filled[""].directory) == trained
    assert [row["completion"] for row in rows_of(filled["rollouts"])] == drawn and lab.counts["replaced"] == 0


@pytest.mark.model
def test_completion_from_outside_joins_its_prompts_groups_and_is_learned(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint)
    shown = [
        {"prompt_id": f"p{at}", "sample_id": f"o{at}{of}", "completion": "ba"[of]}
        for at in (1, 2)
        for of in (0, 1)
    ]
    given = {**inputs, "beside": lab.put("round_01/shown", shown)}
    settings = {
        **SHORT,
        "rewards": {"is_a": {"use": "rule", "formula": "completion = 'a'"}},
        "steps": 8,
        "batch_size": 24,
    }
    settings |= {"learning_rate": 1e-2, "token_ids": True}
    rows = rows_of(lab.run("grpo", "round_01/checkpoint", given, **settings)["rollouts"])
    joined = [row for row in rows if row["outside"]]
    assert {row["prompt_id"] for row in joined} == {"p1", "p2"}
    for row in joined:
        turn, place = divmod(row["sample_index"], 4)
        name = f"o{row['prompt_id'][1]}{turn % 2}"
        assert (
            place == 3 and row["parents"] == [row["prompt_id"], name] and row["completion"] == "ba"[turn % 2]
        )
        assert (row["finish_reason"], row["tokens"], len(row["token_ids"])) == ("stop", 2, 2)
        assert row["verdict"] == ("pass" if row["completion"] == "a" else "fail")
    assert max(row["advantage"] for row in joined) > 1
    assert all(row["outside"] or len(row["parents"]) == 1 for row in rows)


@pytest.mark.model
def test_completion_from_outside_that_does_not_fit_is_an_error(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint)
    for rows, error, message in (
        ([{"prompt_id": "p1", "completion": None}], DataError, "1 rows of beside have no completion"),
        (
            [{"prompt_id": "q", "completion": "a"}],
            DataError,
            "1 rows of beside have a prompt_id that none of the prompts has, the first",
        ),
        (
            [{"prompt_id": "p1", "completion": "abcd"}],
            EngineError,
            "has 5 tokens, expected at most max_tokens \\(3\\)",
        ),
    ):
        table = pa.Table.from_pylist(
            rows, pa.schema([("prompt_id", pa.string()), ("completion", pa.string())])
        )
        with pytest.raises(error, match=message):
            lab.run(
                "grpo", "round_01/checkpoint", {**inputs, "beside": lab.put("round_01/shown", table)}, **SHORT
            )


MISTAKES = [
    ({"rewards": {"v": {"use": "consensus"}}, "refill": {}}, "refill: no reward gives verdicts"),
    ({"refill": {"above": 0.5, "below": 0.5}}, "above \\(0.5\\) must be less than below"),
    ({"refill": {"attempts": 1}}, "greater than or equal to 2"),
    ({"probe": {"right": "exact_match"}}, "probe.right: a reward has this name"),
    (
        {"probe": {"truth": "exact_mach"}},
        "probe.truth: unknown component 'exact_mach'. Did you mean 'exact_match'",
    ),
    (
        {"probe": {"truth": {"use": "exact_match", "weight": 1.0}}},
        "probe.truth.weight\n *unknown key 'weight'",
    ),
    (
        {"keep_best": {"probe": "truth"}},
        "keep_best.probe: 'truth' is no probe. There is none: declare one under probe",
    ),
    (
        {"probe": {"truth": "exact_match"}, "keep_best": {"probe": "truth"}, "keep_optimizer": True},
        "keep_optimizer: keep_best may write earlier weights",
    ),
    (
        {"probe": {"truth": "exact_match"}, "keep_best": {"probe": "truht"}},
        "keep_best.probe: 'truht' is no probe. Did you mean 'truth'",
    ),
    ({"samples": 5}, "batch_size .* is 32, but must be a multiple of samples \\(5\\)"),
    ({"samples": 1}, "greater than or equal to 2"),
    ({"rewards": {}}, "exactly one of rewards"),
    (
        {"rewards": {"right": "exact_mach"}},
        "rewards.right: unknown component 'exact_mach'. Did you mean 'exact_match'",
    ),
    (
        {"rewards": {"vote": "blend"}},
        "rewards.vote: 'blend' does not judge inside another component. Take one that judges",
    ),
    ({"rewards": {"rm": "reward"}}, "rewards.rm.scorer\n *is missing"),
    (
        {"rewards": {"rm": {"use": "reward", "scorer": "x", "rows": "y"}}},
        "rewards.rm.rows: the rows are what is judged here",
    ),
    (
        {"rewards": {"rm": {"use": "exact_match", "name": "mine"}}},
        "rewards.rm.name: the columns that it adds have their names",
    ),
    (
        {"rewards": {"rm": {"use": "reward", "scorrer": "x"}}},
        "rewards.rm.scorrer\n *unknown key 'scorrer'. Did you mean 'scorer'",
    ),
    (
        {"rewards": {"right": {"use": "exact_match", "weight": "2"}}},
        "rewards.right.weight: got '2', expected a finite number",
    ),
    ({"rewards": {"Right": "exact_match"}}, "must be a lower-case word"),
    (
        {"rewards": {"rm": {"use": "reward", "scorer": "self"}}},
        "rewards.rm.scorer: 'self' is the model in training, which writes texts, but",
    ),
    ({"importance_sampling_level": "sequence"}, "works with the losses grpo, sapo, luspo only"),
    ({"loss": "luspo"}, "luspo needs importance_sampling_level: sequence"),
    ({"loss": "ppo"}, "Input should be 'grpo'"),
    ({"temperature": 0.0}, "greater than"),
    ({"epochs": 1.0}, "exactly one of steps and epochs"),
]


@pytest.mark.parametrize(("settings", "message"), MISTAKES)
def test_setting_that_does_not_fit_is_refused(lab: Lab, settings: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, pydantic.ValidationError), match=message):
        lab.parse("grpo", {"prompts": (), "init": ()}, **{**SHORT, **settings})


@pytest.mark.gpu
@pytest.mark.model
def test_grpo_trains_in_bf16_on_a_gpu(tmp_path: Path, checkpoint: Path) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    lab = Lab(tmp_path)
    settings = {
        **SHORT,
        "rewards": {"ends": ENDS},
        "steps": 16,
        "learning_rate": 1e-2,
        "precision": "bf16",
        "beta": 0.001,
    }
    made = lab.run("grpo", "round_01/checkpoint", inputs_of(lab, checkpoint, UNANSWERED), **settings)
    passed = [row["verdict"] == "pass" for row in rows_of(made["rollouts"])]
    assert mean(passed[-64:]) > mean(passed[:64]) + 0.2
    assert weights(made[""].directory) != weights(checkpoint)
