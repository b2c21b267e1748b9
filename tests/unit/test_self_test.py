"""Models that would be sampled or trained as what they are not are refused as they are loaded."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.arithmetic import is_pinned
from lineal.engines.sampling.decoding import TileDecoder
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import encode_prompt
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import ModelShape, initialise, train_sft
from lineal.errors import EngineError
from tests.unit.test_whole_checkpoints import TOKENIZER, architecture

pytestmark = pytest.mark.model
EXAMPLES = [Example("ab=", "ba"), Example("hgf=", "fgh"), Example("aceg=", "gec"), Example("d=", "d")]
STATES = {"state_size": 8, "num_heads": 4, "head_dim": 4, "n_groups": 1, "expand": 2}
PLAIN_DROPOUT = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "attn_pdrop": 0.0,
    "resid_pdrop": 0.0,
    "embd_pdrop": 0.0,
}


def model_of(directory: Path, name: str, **settings: Any) -> Path:
    """A checkpoint of an architecture whose words differ."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    TOKENIZER.save_pretrained(str(directory))
    architecture(name, **settings)(directory)
    tensors = load_file(directory / "model.safetensors")
    loud = {key: value * 20 if value.ndim > 1 else value for key, value in tensors.items()}
    save_file(loud, directory / "model.safetensors", metadata={"format": "pt"})
    return directory


@pytest.mark.parametrize(("name", "narrow"), [("llama", True), ("mixtral", False)])
def test_passes_of_fewer_rows_are_for_models_without_experts(tmp_path: Path, name: str, narrow: bool) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    TOKENIZER.save_pretrained(str(tmp_path))
    architecture(name, num_key_value_heads=1, num_local_experts=4)(tmp_path)
    model = Sampler(tmp_path, device="cpu")._model
    assert TileDecoder(model, SamplingSettings(), (), 0).narrow is (narrow and is_pinned())
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("llama", {}),
        ("gpt2", {}),
        ("gemma2", {"head_dim": 4, "num_key_value_heads": 1, "sliding_window": 8}),
        ("mamba", STATES),
    ],
)
def test_greedy_sampling_draws_what_the_whole_text_has_as_likeliest(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    checkpoint = model_of(tmp_path / "model", name, **settings)
    model = AutoModelForCausalLM.from_pretrained(str(checkpoint)).eval()
    prompts = ["ab=", "hgfedcba=", "a="]
    drawn = Sampler(checkpoint, "cpu").sample(
        [Request(prompt, 1) for prompt in prompts], SamplingSettings(0, max_tokens=8)
    )
    scored = LikelihoodScorer(checkpoint, "cpu")
    for prompt, one in zip(prompts, drawn, strict=True):
        ids, written = encode_prompt(TOKENIZER, prompt, chat=False), list(one.token_ids or [])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + written]), use_cache=False).logits[0]
        assert logits.argmax(-1)[len(ids) - 1 : -1].tolist() == written
        assert scored.score_ids([(ids, written)])[0].logprob == pytest.approx(one.logprob, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rwkv", "rwkv does not say the same of a text token by token as at once: its logits are off by"),
        ("bert", "bert does not say the same of a text token by token as at once"),
        ("openai-gpt", "openai-gpt cannot be read token by token"),
    ],
)
def test_a_model_that_cannot_be_sampled_as_it_is_is_refused(tmp_path: Path, name: str, words: str) -> None:
    sizes = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 32} if name == "openai-gpt" else {}
    checkpoint = model_of(tmp_path / "model", name, **sizes)
    with pytest.raises(EngineError, match=words) as caught:
        Sampler(checkpoint, "cpu")
    assert str(checkpoint) in str(caught.value)


def test_a_model_that_looks_ahead_is_not_trained(tmp_path: Path) -> None:
    settings = TrainingSettings(steps=1, epochs=None, batch_size=1, learning_rate=1e-2, seed=0, threads=1)
    with pytest.raises(EngineError, match="bert says other things of a text when more follows"):
        train_sft(
            TrainingJob(Checkpoint(model_of(tmp_path / "model", "bert")), settings, tmp_path / "out"),
            EXAMPLES,
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "settings", "keeps_apart"),
    [
        ("llama", {}, True),
        ("gpt2", PLAIN_DROPOUT, True),
        ("mistral", {"sliding_window": 8, "num_key_value_heads": 1}, True),
        ("opt", {"ffn_dim": 12, "word_embed_proj_dim": 8}, False),
        ("bloom", {"n_head": 2, "n_layer": 2}, False),
        (
            "gpt_oss",
            {"head_dim": 4, "num_key_value_heads": 1, "num_local_experts": 4, "num_experts_per_tok": 2},
            False,
        ),
        ("mamba", STATES, False),
    ],
)
def test_packed_rows_have_the_loss_of_plain_ones_or_are_refused(
    tmp_path: Path, name: str, settings: dict[str, Any], keeps_apart: bool
) -> None:
    checkpoint = model_of(tmp_path / "model", name, **settings)

    def loss(packing: bool, batch_size: int) -> float:
        how = TrainingSettings(
            steps=1,
            epochs=None,
            batch_size=batch_size,
            learning_rate=1e-4,
            seed=0,
            threads=1,
            packing=packing,
            max_tokens=32,
        )
        return train_sft(
            TrainingJob(Checkpoint(checkpoint), how, tmp_path / f"out_{packing}"), EXAMPLES
        ).final_loss

    plain = loss(packing=False, batch_size=len(EXAMPLES))
    if keeps_apart:
        assert loss(packing=True, batch_size=1) == pytest.approx(plain, abs=1e-4)
    else:
        with pytest.raises(
            EngineError, match=rf"{name} reads packed examples through each other: .* Set packing: false"
        ):
            loss(packing=True, batch_size=1)


def test_a_model_without_a_limit_of_positions_packs_rows_of_max_tokens_only(tmp_path: Path) -> None:
    checkpoint = model_of(tmp_path / "model", "bloom", n_head=2, n_layer=2)
    told = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    del told["max_position_embeddings"]  # which Bloom's own configuration lacks
    (checkpoint / "config.json").write_text(json.dumps(told), encoding="utf-8")
    how = TrainingSettings(
        steps=1, epochs=None, batch_size=1, learning_rate=1e-4, seed=0, threads=1, packing=True
    )
    with pytest.raises(
        EngineError, match="packing: got a model without a limit of positions.* Set max_tokens"
    ):
        train_sft(TrainingJob(Checkpoint(checkpoint), how, tmp_path / "out"), EXAMPLES)
    assert (
        train_sft(
            TrainingJob(Checkpoint(checkpoint), replace(how, packing=False), tmp_path / "out"), EXAMPLES
        ).steps
        == 1
    )


def test_the_self_test_draws_no_random_number_and_takes_a_blink(tmp_path: Path) -> None:
    import torch

    from lineal.engines.models.self_test import require_same_stepwise
    from lineal.engines.sampling.sampler import load_for_inference, named_device

    shape = ModelShape(
        hidden_size=128,
        layers=2,
        heads=4,
        intermediate_size=320,
        rope_theta=1e4,
        tie_embeddings=True,
        characters="abc=",
        max_positions=64,
    )
    initialise(shape, 0, tmp_path / "model")
    before = torch.random.get_rng_state()
    model = load_for_inference(tmp_path / "model", None, named_device("cpu"))
    assert torch.equal(torch.random.get_rng_state(), before)
    start = time.process_time()
    require_same_stepwise(model, TileDecoder(model, SamplingSettings(), (), 0).follow)
    assert time.process_time() - start < 1  # 10 ms on a free core


def test_a_model_whose_large_logits_hardly_differ_passes(tmp_path: Path) -> None:
    from tests.unit.test_whole_checkpoints import tensors

    checkpoint = model_of(tmp_path / "model", "llama")
    tensors(lambda found: found["lm_head.weight"].mul_(1e-5).add_(1.0))(checkpoint)
    Sampler(checkpoint, "cpu")


def test_every_engine_of_this_process_tests_what_it_loads(tmp_path: Path) -> None:
    checkpoint = shutil.copytree(model_of(tmp_path / "model", "rwkv"), tmp_path / "copy")
    for engine in (Sampler, LikelihoodScorer):
        with pytest.raises(EngineError, match="token by token"):
            engine(checkpoint, "cpu")
