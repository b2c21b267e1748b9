"""Scores of given texts: what the model says, and the same bits whatever stands beside a row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lineal.engines.sampling.sampler import Sampler
from lineal.engines.sampling.scoring import LikelihoodScorer, RewardScorer
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.preference_training import DpoLoss, Preference, train_dpo, train_reward_model
from lineal.engines.training.settings import LoraSettings
from lineal.errors import EngineError
from tests.unit.tiny_models import SETTINGS, in_order, tiny_model, words

pytestmark = pytest.mark.model
PAIRS = [(f"{word}=", in_order(word)) for word in words(40)]


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("init") / "checkpoint")


@pytest.fixture(scope="module")
def rewards(init: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("rewards") / "checkpoint"
    train_reward_model(
        TrainingJob(Checkpoint(init), SETTINGS, directory), [Preference(p, c, p.strip("=")) for p, c in PAIRS]
    )
    return directory


def test_likelihood_is_the_sum_over_completion_and_eos(init: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(str(init)),
        AutoTokenizer.from_pretrained(str(init)),
    )
    for (prompt, completion), found in zip(
        PAIRS[:5], LikelihoodScorer(init, "cpu").score(PAIRS[:5]), strict=True
    ):
        ids = torch.tensor([[*tokenizer(prompt + completion)["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            steps = model(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
        assert found.tokens == len(completion) + 1
        assert found.logprob == pytest.approx(steps[-found.tokens :].sum().item(), abs=1e-4)


def test_certainty_is_the_mean_distance_from_knowing_nothing(init: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(str(init)),
        AutoTokenizer.from_pretrained(str(init)),
    )
    for (prompt, completion), found in zip(
        PAIRS[:5], LikelihoodScorer(init, "cpu").certainty(PAIRS[:5]), strict=True
    ):
        ids = torch.tensor([[*tokenizer(prompt + completion)["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            said = torch.distributions.Categorical(logits=model(ids).logits[0, -len(completion) - 2 : -1])
        nothing = torch.distributions.Categorical(logits=torch.zeros_like(said.logits))
        assert found.divergence == pytest.approx(
            torch.distributions.kl_divergence(nothing, said).mean().item(), abs=1e-5
        )
        assert found.entropy == pytest.approx(said.entropy().mean().item(), abs=1e-5)


def test_angles_are_the_mean_cosine_between_a_prompts_tokens(init: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(str(init)),
        AutoTokenizer.from_pretrained(str(init)),
    )
    prompts = [*(prompt for prompt, _ in PAIRS[:5]), PAIRS[0][0][:1]]
    found = LikelihoodScorer(init, "cpu").angles(prompts)
    for prompt, angle in zip(prompts, found, strict=True):
        with torch.no_grad():
            states = model(
                torch.tensor([tokenizer(prompt)["input_ids"]]), output_hidden_states=True
            ).hidden_states[-1][0]
        cosines = [torch.cosine_similarity(a, b, 0).item() for i, a in enumerate(states) for b in states[:i]]
        assert angle == (None if not cosines else pytest.approx(sum(cosines) / len(cosines), abs=1e-5))


def test_scores_do_not_depend_on_neighbours_order_or_threads(init: Path, rewards: Path) -> None:
    import torch

    threads = torch.get_num_threads()
    for scorer in (LikelihoodScorer(init, "cpu"), RewardScorer(rewards, "cpu")):
        together = scorer.score(PAIRS)
        assert [scorer.score([pair])[0] for pair in PAIRS[:5]] == together[:5]
        assert scorer.score(PAIRS[::-1])[::-1] == together
        torch.set_num_threads(3 - threads if threads < 3 else 1)
        try:
            assert scorer.score(PAIRS) == together
        finally:
            torch.set_num_threads(threads)


def test_forward_passes_have_shapes_that_depend_on_the_row_alone(init: Path) -> None:
    scorer = LikelihoodScorer(init, "cpu")
    shapes: set[tuple[int, ...]] = set()
    scorer._model.register_forward_pre_hook(
        lambda _, __, call: shapes.add(tuple(call["input_ids"].shape)), with_kwargs=True
    )
    scorer.score(PAIRS)
    together = set(shapes)
    shapes.clear()
    for pair in PAIRS[:12]:
        scorer.score([pair])
    assert shapes <= together and len({length for _, length in together}) == len(together)


def test_scoring_counts_every_row_once(init: Path) -> None:
    seen: list[int] = []
    LikelihoodScorer(init, "cpu").score(PAIRS, progress=seen.append)
    assert sum(seen) == len(PAIRS)


def test_adapter_is_scored_on_its_base(init: Path, tmp_path: Path) -> None:
    rows = [Preference(p, c, p.strip("=")) for p, c in PAIRS]
    start = Checkpoint(init)
    settings = SETTINGS.__class__(**{**SETTINGS.__dict__, "lora": LoraSettings(4, 8), "learning_rate": 5e-2})
    train_dpo(TrainingJob(start, settings, tmp_path / "adapter"), start, rows, DpoLoss())
    assert LikelihoodScorer(tmp_path / "adapter", "cpu", init).score(PAIRS) != LikelihoodScorer(
        init, "cpu"
    ).score(PAIRS)
    with pytest.raises(EngineError, match="without its base"):
        LikelihoodScorer(tmp_path / "adapter", "cpu")


def test_reward_model_and_language_model_are_told_apart(init: Path, rewards: Path) -> None:
    with pytest.raises(EngineError, match="got a language model, expected a reward model"):
        RewardScorer(init, "cpu")
    for opened in (Sampler, LikelihoodScorer):
        with pytest.raises(EngineError, match="got a reward model, expected a language model"):
            opened(rewards, "cpu")


def test_text_longer_than_the_model_is_an_error(init: Path) -> None:
    with pytest.raises(EngineError, match="have 36 tokens, expected at most the 32 positions"):
        LikelihoodScorer(init, "cpu").score([("abcdefghijklmnop=", "abcdefghijklmnopq")])


def test_broken_weights_are_an_error_and_no_score(rewards: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(rewards, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["score.weight"] = tensors["score.weight"] * float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EngineError, match="score.weight holds 32 of 32 numbers that are not finite"):
        RewardScorer(broken, "cpu").score(PAIRS[:2])
    assert json.loads((rewards / "config.json").read_text())["architectures"] == [
        "LlamaForSequenceClassification"
    ]
