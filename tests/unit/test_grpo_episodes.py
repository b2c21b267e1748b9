"""`grpo` over episodes: games that the model in training plays, whose turns and episodes are rows, and what is learnt of them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from lineal.components.trainers.turn_advantages import Followed, returns_from, turn_advantages
from lineal.engines.models.checkpoints import quiet
from lineal.engines.sampling.rollouts import PlayedTurn
from lineal.engines.sampling.sampler import Completion
from lineal.engines.text.tokens import encode_prompt, load_tokenizer
from lineal.engines.training.runs import nothing, runs_of, tensors_of
from lineal.engines.training.train import ModelShape, initialise
from lineal.errors import CheckFailure
from lineal.recipe.compute import Compute
from tests.unit.chat_models import tokenizer_of
from tests.unit.lab import Lab, rows_of
from tests.unit.test_rollout import counting, ours  # noqa: F401
from tests.unit.tiny_models import put_model, weights

SHAPE = ModelShape(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    rope_theta=1e4,
    tie_embeddings=True,
    characters="+-/0123\n",
    max_positions=96,
)
SHORT: dict[str, Any] = {
    "environment": {"max_turns": 4, "template": "{observation}", "history": 1},
    "steps": 2,
    "samples": 8,
    "batch_size": 16,
    "max_tokens": 1,
    "learning_rate": 1e-2,
    "threads": 1,
    "token_ids": True,
}


@pytest.fixture
def lab(tmp_path: Path, ours) -> Lab:  # noqa: F811
    ours("Counting")
    return Lab(tmp_path, Compute(workers=2))


def inputs_of(lab: Lab, tasks: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    initialise(SHAPE, 0, lab.path / "model")
    rows = lab.put("tasks/train", tasks or counting(goal=1, count=3))
    return {"prompts": rows, "init": put_model(lab, "start/checkpoint", lab.path / "model")}


@pytest.mark.model
def test_turns_and_episodes_are_rows_and_a_group_are_the_episodes_of_a_task(lab: Lab) -> None:
    inputs = inputs_of(lab)
    made = lab.run("grpo", "round_02/checkpoint", inputs, 2, **SHORT)
    turns, episodes = rows_of(made["rollouts"]), rows_of(made["episodes"])
    assert len(episodes) == 2 * 16 == lab.counts["episodes"] and len(turns) == lab.counts["out"] == sum(
        row["turns"] for row in episodes
    )
    assert {row["verdict"] for row in episodes} == {"pass", "fail"}, "else nothing is compared"
    assert [row["optimizer_step"] for row in episodes] == [0] * 16 + [1] * 16
    for start in range(0, 32, 8):
        group = episodes[start : start + 8]
        scores = [row["score"] for row in group]
        assert len({row["prompt_id"] for row in group}) == 1
        spread = stdev(scores) + 1e-4
        assert [row["advantage"] for row in group] == pytest.approx(
            [(one - mean(scores)) / spread for one in scores], abs=1e-4
        )
    by_id, by_episode = {row["sample_id"]: row for row in turns}, {row["sample_id"]: row for row in episodes}
    assert len(by_id) == len(turns) and len(by_episode) == len(episodes)
    for row in turns:
        own = by_episode[row["episode_id"]]
        assert (row["advantage"], row["optimizer_step"]) == (own["advantage"], own["optimizer_step"])
        parent = row["parents"][0]
        assert (
            parent == row["prompt_id"]
            if row["turn"] == 1
            else by_id[parent]["episode_id"] == row["episode_id"]
        )
        assert len(row["token_ids"]) == row["tokens"] == 1
    assert all(
        row["checkpoint"] == inputs["init"].digest and row["round"] == 2 for row in (*turns, *episodes)
    )
    assert weights(made[""].directory) != weights(lab.path / "model")


@pytest.mark.model
def test_same_bytes_for_1_and_3_workers_and_other_batches(lab: Lab) -> None:
    inputs, found = inputs_of(lab), set()
    for compute in (Compute(workers=1), Compute(workers=3, batch_size=1)):
        lab.compute = compute
        made = lab.run("grpo", "round_01/checkpoint", inputs, **SHORT)
        found.add(tuple(made[name].digest for name in ("", "rollouts", "episodes")))
    assert len(found) == 1


@pytest.mark.model
@pytest.mark.parametrize("more", [{}, {"reward": "success", "history": "all"}])
def test_grpo_learns_to_win(lab: Lab, more: dict[str, Any]) -> None:
    environment = {**SHORT["environment"], **more}
    made = lab.run(
        "grpo", "round_01/checkpoint", inputs_of(lab), **{**SHORT, "steps": 24, "environment": environment}
    )
    won = [row["verdict"] == "pass" for row in rows_of(made["episodes"])]
    assert mean(won[:16]) < 0.4 and mean(won[-32:]) > 0.8


@pytest.mark.parametrize(("beside", "scale"), [("input", "group"), ("turn", "batch"), ("turn", "none")])
def test_turns_advantage_is_that_of_what_followed_it_over_the_turns_beside_it(
    beside: str, scale: str
) -> None:
    seen = ["s", "s", "t", "u"] if beside == "input" else ["s", "s", "s", "s"]
    returns = [returns_from(rewards, 0.5) for rewards in ([0.0, 1.0], [1.0, 0.0], [0.0, 4.0], [2.0])]
    assert returns == [[0.5, 1.0], [1.0, 0.0], [2.0, 4.0], [2.0]]
    places = [[("g", name), ("g", "later")] for name in seen]
    episodes = [[*map(Followed, names, own)] for names, own in zip(places, returns, strict=False)]
    broken = [Followed(("g", "s"), None)]
    found = turn_advantages([*episodes, broken], scale)  # type: ignore[arg-type]
    every = [value for own in returns for value in own]
    first = [0.5, 1.0] if beside == "input" else [0.5, 1.0, 2.0, 2.0]
    later = [1.0, 0.0, 4.0]
    for row, own in zip(found, returns, strict=False):
        for place, (value, followed) in enumerate(zip(row, own, strict=True)):
            beside_it = later if place else first if followed in first else [followed]
            divisor = {"none": 1.0, "batch": stdev(every) + 1e-4}.get(scale)
            divisor = divisor or (stdev(beside_it) if len(beside_it) > 1 else 0.0) + 1e-4
            assert value == pytest.approx((followed - mean(beside_it)) / divisor)
    assert found[-1] == [0.0]


@pytest.mark.model
@pytest.mark.parametrize("history", [1, "all"])
def test_turns_with_their_own_advantage_learn_what_episodes_cannot_tell(lab: Lab, ours, history: Any) -> None:  # noqa: F811
    ours("Early")
    inputs = inputs_of(lab)
    environment = {**SHORT["environment"], "history": history}
    plain = lab.run(
        "grpo", "round_01/checkpoint", inputs, **{**SHORT, "steps": 1, "environment": environment}
    )
    assert {row["advantage"] for row in (*rows_of(plain["episodes"]), *rows_of(plain["rollouts"]))} == {0.0}
    how = {"beside": "turn", "discount": 0.0, "weight": 0.5}
    settings = {**SHORT, "steps": 24, "environment": {**environment, "turn_advantage": how}}
    made = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    turns = rows_of(made["rollouts"])
    for start in range(0, 24, 8):
        group = [row for row in turns if row["turn"] == 1][start : start + 8]
        rewards = [row["reward"] for row in group]
        own = [0.5 * (one - mean(rewards)) / (stdev(rewards) + 1e-4) for one in rewards]
        assert [row["advantage"] for row in group] == pytest.approx(own, abs=1e-4)
    first = [row["completion"] == "+" for row in turns if row["turn"] == 1]
    assert mean(first[:32]) < 0.5 and mean(first[-32:]) > 0.8


@pytest.mark.model
def test_updates_that_share_a_generation_and_a_reference_change_the_weights_and_not_the_first_games(
    lab: Lab,
) -> None:
    inputs, found, first = inputs_of(lab), set(), set()
    settings = {**SHORT, "steps": 4, "updates_per_generation": 2, "iterations": 2}
    for more in ({}, {"beta": 1.0}, {"epsilon": 0.001}):
        made = lab.run("grpo", "round_01/checkpoint", inputs, **{**settings, **more})
        found.add(weights(made[""].directory))
        first.add(tuple(row["completion"] for row in rows_of(made["episodes"])))
    assert (len(found), len(first)) == (3, 1)


@pytest.mark.model
def test_adapter_learns_by_playing(lab: Lab) -> None:
    pytest.importorskip("peft")
    made = lab.run(
        "grpo",
        "round_01/checkpoint",
        inputs_of(lab),
        **{**SHORT, "lora": {"rank": 4, "alpha": 8}, "beta": 0.1},
    )
    assert (made[""].directory / "adapter_model.safetensors").is_file()
    assert len(rows_of(made["episodes"])) == 32


@pytest.mark.model
def test_broken_environment_teaches_nothing_and_too_many_of_them_stop_the_training(lab: Lab, ours) -> None:  # noqa: F811
    ours("Bad")
    bad = [{**row, "prompt_id": "bad"} for row in counting(goal=1, how="raises", at="reset")]
    inputs = inputs_of(lab, [*counting(goal=1, count=2, how="none"), *bad])
    settings = {**SHORT, "environment": {**SHORT["environment"], "max_error_rate": 1.0}}
    made = lab.run("grpo", "round_01/checkpoint", inputs, **settings)
    broken = [row for row in rows_of(made["episodes"]) if row["verdict"] == "error"]
    assert 0 < len(broken) == lab.counts["error"] < 32
    assert {(row["score"], row["advantage"], row["finish_reason"]) for row in broken} == {
        (None, 0.0, "environment_error")
    }
    with pytest.raises(
        CheckFailure, match=r"the environment broke in \d+ of 32 episodes, above max_error_rate 0.05"
    ):
        lab.run("grpo", "round_01/checkpoint", inputs, **SHORT)
    with pytest.raises(
        CheckFailure,
        match="the environment broke in all 16 episodes of a generation, the first time: reset: Val",
    ):
        lab.run("grpo", "round_01/checkpoint", inputs_of(lab, bad), **settings)


def test_fake_engine_gives_each_task_one_turn(lab: Lab) -> None:
    lab.compute = Compute(engine="fake", workers=1)
    tasks = lab.put("tasks/train", counting(goal=2, count=3))
    made = lab.run("grpo", "round_01/checkpoint", {"prompts": tasks, "init": tasks}, **SHORT)
    assert len(rows_of(made["episodes"])) == 24


def test_environment_and_rewards_exclude_each_other(lab: Lab) -> None:
    inputs: dict[str, Any] = {"prompts": (), "init": ()}
    with pytest.raises(ValueError, match="exactly one of rewards"):
        lab.parse("grpo", inputs, **SHORT, rewards={"right": "exact_match"})
    with pytest.raises(ValueError, match="exactly one of rewards"):
        lab.parse("grpo", inputs, steps=1)
    with pytest.raises(ValueError, match="template: must hold {observation}"):
        lab.parse("grpo", inputs, **{**SHORT, "environment": {"max_turns": 2, "template": "{prompt}"}})
    component = lab.parse("grpo", inputs, **SHORT)
    assert component.needs() == {"prompts": ("prompt_id", "prompt", "task")}
    outputs = component.outputs({"prompts": ("prompt_id", "prompt", "task", "entry")})
    assert {"advantage", "turn", "action", "token_ids"} <= {*outputs["rollouts"].columns}
    assert {"advantage", "return", "turns"} <= {*outputs["episodes"].columns}
    answering = lab.parse("grpo", inputs, steps=1, rewards={"right": "exact_match"})
    assert "environment" not in answering.identity()


def conversation(turns: int) -> Any:
    from lineal.data.conversations import Conversation, Turn

    said = [
        Turn("user" if place % 2 == 0 else "assistant", f"hello {place}") for place in range(2 * turns - 1)
    ]
    return Conversation(tuple(said))


def played(tokenizer: Any, prompts: list[Any]) -> list[PlayedTurn]:
    """Turns in which the model wrote what the next prompt holds."""
    turns = []
    for place, prompt in enumerate(prompts):
        text = f"hello {2 * place + 1}"
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] + [
            tokenizer.convert_tokens_to_ids("<|im_end|>")
        ]
        turns.append(PlayedTurn(prompt, Completion(text, len(ids), "stop" if place else "length", None, ids)))
    return turns


def test_conversation_is_one_run_whose_environment_is_masked() -> None:
    tokenizer = tokenizer_of("chatml")
    turns = played(tokenizer, [conversation(place) for place in (1, 2, 3)])
    (run,) = runs_of(tokenizer, turns)
    last = encode_prompt(tokenizer, turns[-1].given, chat=False)
    assert run.prompt_ids == encode_prompt(tokenizer, turns[0].given, chat=False)
    assert [*run.prompt_ids, *run.ids] == [*last, *turns[-1].completion.token_ids]
    written = [token for turn in turns for token in turn.completion.token_ids]
    assert [token for token, learnt in zip(run.ids, run.learnt, strict=True) if learnt] == written
    environment = tokenizer.decode(
        [token for token, learnt in zip(run.ids, run.learnt, strict=True) if not learnt]
    )
    assert "hello 2" in environment and "hello 4" in environment and "hello 3" not in environment
    (cut,) = runs_of(tokenizer, turns, cut_teach=False)
    assert sum(cut.learnt) == sum(turn.completion.tokens for turn in turns[1:])


def test_cut_history_makes_a_run_of_each_turn_with_its_own_context() -> None:
    from lineal.data.conversations import Conversation

    tokenizer = tokenizer_of("chatml")
    turns = played(tokenizer, [Conversation(conversation(place).turns[-1:]) for place in (1, 2, 3)])
    runs = runs_of(tokenizer, turns)
    assert [run.prompt_ids for run in runs] == [
        encode_prompt(tokenizer, turn.given, chat=False) for turn in turns
    ]
    assert [run.ids for run in runs] == [turn.completion.token_ids for turn in turns]
    assert all(set(run.learnt) == {1} for run in runs)


@pytest.mark.model
def test_one_run_says_of_every_token_what_its_turns_say(tmp_path: Path) -> None:
    """The gradient of an episode is the sum of its turns' gradients, whether it is read at once or turn by turn."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of("chatml")
    turns = played(tokenizer, [conversation(place) for place in (1, 2, 3)])
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))

    def said(runs: list[Any]) -> Any:
        given = tensors_of(runs, tokenizer.pad_token_id, "cpu")
        ids = torch.cat([given["prompt_ids"], given["completion_ids"]], 1)
        mask = torch.cat([given["prompt_mask"], given["completion_mask"]], 1)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[
            :, given["prompt_ids"].size(1) - 1 : -1
        ]
        own = logits.log_softmax(-1).gather(-1, given["completion_ids"][..., None])[..., 0]
        return own[given["tool_mask"].bool()]

    whole, parts = said(runs_of(tokenizer, turns)), said([runs_of(tokenizer, [turn])[0] for turn in turns])
    assert len(whole) == sum(turn.completion.tokens for turn in turns)
    assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.model
def test_contract_of_trls_rollout_func(tmp_path: Path) -> None:
    """What `train_episodes` relies on: prompts come repeated and in order, `env_mask` becomes `tool_mask`, no log-probability is
    needed, and one sequence comes back for each."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    from lineal.engines.training.episode_training import given_to_trl
    from lineal.engines.training.runs import Run

    initialise(SHAPE, 0, tmp_path / "model")
    tokenizer, asked, scored = load_tokenizer(tmp_path / "model"), [], []

    class Watched(GRPOTrainer):
        def _generate_and_score_completions(self, inputs):
            scored.append(super()._generate_and_score_completions(inputs))
            return scored[-1]

    def rollout(prompts, trainer):
        asked.append((trainer.state.global_step, prompts))
        return given_to_trl(
            [
                Run([4, 5], [6, 7, 8, 9], [1, 0, 0, 1]) if place % 2 else Run([4], [6], [1])
                for place in range(len(prompts))
            ]
        )

    config = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        num_generations=2,
        max_steps=2,
        report_to="none",
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        learning_rate=0.0,
        shuffle_dataset=False,
        steps_per_generation=1,
        save_strategy="no",
    )
    with quiet():
        trainer = Watched(
            model=AutoModelForCausalLM.from_pretrained(str(tmp_path / "model")),
            args=config,
            processing_class=tokenizer,
            reward_funcs=[lambda completion_ids, **_: [float(len(ids)) for ids in completion_ids]],
            rollout_func=rollout,
            train_dataset=Dataset.from_dict({"prompt": ["0", "1", "2", "3"]}),
        )
        trainer.train()
    assert asked == [(0, ["0", "0", "1", "1"]), (1, ["2", "2", "3", "3"])]
    first = scored[0]
    assert first["tool_mask"].tolist() == [[1, 1, 1, 1], [1, 0, 0, 1]] * 2
    assert first["completion_mask"].tolist() == [[1, 0, 0, 0], [1, 1, 1, 1]] * 2
    assert int(first["num_items_in_batch"]) == 6 and "sampling_per_token_logps" not in first
    assert torch.allclose(first["advantages"], torch.tensor([-1.0, 1.0] * 2) * 2**-0.5, atol=1e-3)
    own = tensors_of(
        [Run([4], [6], [1]), Run([4, 5], [6, 7, 8, 9], [1, 0, 0, 1])], tokenizer.pad_token_id, "cpu"
    )
    for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask"):
        assert own[name].tolist() == first[name][:2].tolist(), name
    assert nothing(2).learnt == [0]
    assert json.loads(json.dumps(given_to_trl([nothing(2)])))["env_mask"] == [[0]]
