"""Sampling: a row's bits depend on weights, prompt, seed and settings, and its distribution is the model's."""

from __future__ import annotations

import itertools
import json
import math
import random
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lineal.engines.arithmetic import is_pinned
from lineal.engines.models.attention import _attend
from lineal.engines.sampling.cache import explicit_mask, new_cache, takes_explicit_masks
from lineal.engines.sampling.decoding import TILE_ROWS, Row, TileDecoder, draw
from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings, _groups
from lineal.engines.text.stop_texts import StopTexts
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import ModelShape, initialise, train_sft
from lineal.errors import EngineError

pytestmark = pytest.mark.model
SETTINGS = SamplingSettings(max_tokens=12)
SHAPE = ModelShape(
    hidden_size=64,
    layers=2,
    heads=2,
    intermediate_size=128,
    rope_theta=1e4,
    tie_embeddings=True,
    characters=string.ascii_lowercase + "=",
    max_positions=160,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained enough that completions stop at many lengths, little enough that every draw is a gamble."""
    directory = tmp_path_factory.mktemp("sampling")
    generator = random.Random(0)
    words = ["".join(generator.sample(string.ascii_lowercase, generator.randint(1, 8))) for _ in range(512)]
    settings = TrainingSettings(steps=30, epochs=None, batch_size=16, learning_rate=1e-2, seed=0, threads=1)
    initialise(SHAPE, 0, directory / "init")
    examples = [Example(word + "=", "".join(sorted(word))) for word in words]
    train_sft(TrainingJob(Checkpoint(directory / "init"), settings, directory / "trained"), examples)
    return directory / "trained"


@pytest.fixture(scope="module")
def sampler(checkpoint: Path) -> Sampler:
    return Sampler(checkpoint, device="cpu")


@pytest.fixture
def threads() -> Iterator[Any]:
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def requests_of(count: int, longest: int = 20) -> list[Request]:
    generator = random.Random(1)
    lengths = [generator.randint(0, longest) for _ in range(count)]
    prompts = ["".join(generator.choices(string.ascii_lowercase, k=length)) + "=" for length in lengths]
    return [Request(prompt, generator.getrandbits(64)) for prompt in prompts]


def test_bits_do_not_depend_on_batch_size_order_subset_or_threads(
    checkpoint: Path, sampler: Sampler, threads: Any
) -> None:
    requests = requests_of(300)
    threads(1)
    expected = sampler.sample(requests, SETTINGS)
    assert {completion.finish_reason for completion in expected} == {"stop", "length"}
    assert Sampler(checkpoint, device="cpu", batch_size=1).sample(requests, SETTINGS) == expected
    order = random.Random(2).sample(range(300), 300)
    assert sampler.sample([requests[index] for index in order], SETTINGS) == [
        expected[index] for index in order
    ]
    assert sampler.sample(requests[17:40], SETTINGS) == expected[17:40]
    assert sampler.sample(requests[5:6], SETTINGS) == expected[5:6]
    threads(2)
    assert sampler.sample(requests, SETTINGS) == expected
    threads(3)
    assert sampler.sample(requests[:64], SETTINGS) == expected[:64]


@pytest.mark.skipif(not is_pinned(), reason="the kernels for AVX2 are not chosen here")
@pytest.mark.parametrize("count", [1, 2, 4])
def test_forward_passes_of_fewer_rows_give_the_same_bits(
    checkpoint: Path, threads: Any, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Small batches are not filled up, and rows that ended are left out, where the model passes the test for that."""
    threads(count)
    sampler, stopping = (
        Sampler(checkpoint, device="cpu"),
        SamplingSettings(max_tokens=12, stop=StopTexts(("d",), keep=True)),
    )
    asked = [
        (requests_of(number, longest), own)
        for number, longest in ((1, 20), (21, 20), (90, 3), (300, 9))
        for own in (SETTINGS, stopping)
    ]
    rows = []
    monkeypatch.setattr(TileDecoder, "_logits", counting(rows, TileDecoder._logits))
    found = [sampler.sample(requests, own) for requests, own in asked]
    fewer = len(rows)
    if count <= 2:
        assert min(rows) == 4 and {16, 32, 64, TILE_ROWS} <= set(rows)
    monkeypatch.setattr(TileDecoder, "narrow", False)
    assert found == [sampler.sample(requests, own) for requests, own in asked]
    assert set(rows[fewer:]) == {TILE_ROWS}


def counting(rows: list[int], logits: Any) -> Any:
    """Wraps the forward pass to note how many rows it has."""

    def counted(self: Any, ids: Any, *rest: Any) -> Any:
        rows.append(len(ids))
        return logits(self, ids, *rest)

    return counted


def test_seed_and_settings_change_the_completion(sampler: Sampler) -> None:
    requests = requests_of(40)
    expected = sampler.sample(requests, SETTINGS)
    assert (
        sampler.sample([Request(request.prompt, request.seed ^ 1) for request in requests], SETTINGS)
        != expected
    )
    assert sampler.sample(requests, SamplingSettings(max_tokens=12, temperature=0.5)) != expected


def test_longer_limit_only_extends_what_was_cut(sampler: Sampler) -> None:
    requests = requests_of(64)
    short = sampler.sample(requests, SamplingSettings(max_tokens=4))
    long = sampler.sample(requests, SamplingSettings(max_tokens=90))
    assert any(completion.tokens > 70 for completion in long) or max(c.tokens for c in long) > 4
    for brief, full in zip(short, long, strict=True):
        assert full.text.startswith(brief.text)
        assert brief == full or (brief.finish_reason, brief.tokens) == ("length", 4)


def test_limit_is_flagged_length_and_stop_counts_eos(sampler: Sampler) -> None:
    for completion in sampler.sample(requests_of(100), SETTINGS):
        if completion.finish_reason == "length":
            assert completion.tokens == 12
        else:
            assert completion.tokens >= len(completion.text) + 1


def test_greedy_equals_generate(checkpoint: Path, sampler: Sampler) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint))
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
    requests = requests_of(24)
    ours = sampler.sample(requests, SamplingSettings(temperature=0, max_tokens=12))
    for request, completion in zip(requests, ours, strict=True):
        ids = tokenizer(request.prompt, return_tensors="pt", return_token_type_ids=False)
        output = model.generate(**ids, do_sample=False, max_new_tokens=12)[0, ids["input_ids"].shape[1] :]
        assert completion.text == tokenizer.decode(output, skip_special_tokens=True)
        assert completion.tokens == len(output)


def test_logprob_is_the_models_own_at_temperature_one(checkpoint: Path, sampler: Sampler) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint))
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
    requests = requests_of(20)
    drawn = sampler.sample(requests, SamplingSettings(max_tokens=12, temperature=0.7, top_k=5))
    for request, completion in zip(requests, drawn, strict=True):
        completion_ids = tokenizer(completion.text, add_special_tokens=False)["input_ids"]
        completion_ids += [tokenizer.eos_token_id] if completion.finish_reason == "stop" else []
        if len(completion_ids) != completion.tokens:
            continue  # a special token was drawn, which the text leaves out
        prompt_ids = tokenizer(request.prompt)["input_ids"]
        ids = torch.tensor([[*prompt_ids, *completion_ids]])
        with torch.no_grad():
            logprobs = model(ids).logits[0, len(prompt_ids) - 1 : -1].log_softmax(-1)
        expected = logprobs.gather(-1, torch.tensor(completion_ids)[:, None]).sum().item()
        assert completion.logprob == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_first_token_follows_the_models_distribution(
    checkpoint: Path, sampler: Sampler, temperature: float
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint))
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint))
    count = 40 * TILE_ROWS
    settings = SamplingSettings(max_tokens=1, temperature=temperature)
    drawn = sampler.sample([Request("fdb=", seed) for seed in range(count)], settings)
    with torch.no_grad():
        logits = model(**tokenizer("fdb=", return_tensors="pt", return_token_type_ids=False)).logits[0, -1]
    probabilities = (logits / temperature).softmax(-1)
    counts = Counter(completion.text for completion in drawn)
    letters = {
        letter: count * float(probabilities[tokenizer.convert_tokens_to_ids(letter)])
        for letter in SHAPE.characters
    }
    common = {letter: expected for letter, expected in letters.items() if expected >= 5}
    statistic = sum((counts[letter] - expected) ** 2 / expected for letter, expected in common.items())
    degrees = len(common)
    assert degrees >= 5
    # a chi-square variable has mean k and variance 2k; wrong noise gives hundreds here
    assert statistic < degrees + 4 * math.sqrt(2 * degrees)


def settings_of(**values: Any) -> Any:
    return SimpleNamespace(**{"temperature": 1.0, "top_p": 1.0, "top_k": 0, "max_tokens": 1, **values})


def drawable(probabilities: list[float], **values: Any) -> set[int]:
    import torch

    uniforms = torch.arange(1000, dtype=torch.float64)[:, None] / 1000
    logits = torch.tensor(probabilities).log().expand(1000, -1)
    return set(draw(logits, settings_of(**values), uniforms)[:, 0].tolist())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {0, 1, 2, 3}),
        ({"top_k": 2}, {1, 3}),
        ({"top_k": 9}, {0, 1, 2, 3}),
        ({"top_p": 0.5}, {1}),
        ({"top_p": 0.6}, {1, 3}),
        ({"top_p": 0.81}, {0, 1, 3}),
        ({"top_p": 1e-9}, {1}),
        ({"top_k": 2, "top_p": 0.6}, {1}),
        ({"temperature": 0}, {1}),
        ({"temperature": 1e-30}, {1}),
    ],
)
def test_filters_keep_exactly_the_allowed_tokens(values: dict[str, Any], expected: set[int]) -> None:
    assert drawable([0.15, 0.5, 0.05, 0.3], **values) == expected


def test_impossible_tokens_are_never_drawn() -> None:
    assert drawable([0.0, 0.5, 0.0, 0.5, 0.0]) == {1, 3}


def test_greedy_takes_the_lowest_id_of_a_tie() -> None:
    assert drawable([0.1, 0.4, 0.4, 0.1], temperature=0) == {1}


def test_top_k_one_is_greedy(sampler: Sampler) -> None:
    requests = requests_of(30)
    greedy = sampler.sample(requests, SamplingSettings(temperature=0, max_tokens=8))
    assert sampler.sample(requests, SamplingSettings(top_k=1, max_tokens=8)) == greedy
    assert sampler.sample(requests, SamplingSettings(top_p=1e-6, max_tokens=8)) == greedy


def test_stream_gives_every_row_once(sampler: Sampler) -> None:
    places = [index for index, _ in sampler.stream(requests_of(200), SETTINGS)]
    assert sorted(places) == list(range(200))
    assert places != sorted(places)  # tiles of prompts of near lengths


def test_no_requests_give_no_completions(sampler: Sampler) -> None:
    assert sampler.sample([], SETTINGS) == []


def test_empty_prompt_is_sampled(sampler: Sampler) -> None:
    (completion,) = sampler.sample([Request("", 3)], SETTINGS)
    assert isinstance(completion, Completion)
    assert completion.tokens > 0


@pytest.mark.parametrize("window", [TILE_ROWS, 3 * TILE_ROWS])
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("samples", [1, 3, 200])
def test_groups_hold_every_row_once_with_its_own_length(window: int, shares: bool, samples: int) -> None:
    generator = random.Random(3)
    prompts = [
        tuple(generator.choices(range(9), k=generator.randint(1, 30))) for _ in range(-(-1400 // samples))
    ]
    rows = [Row(index, prompts[index // samples], index) for index in range(1400)]
    groups = list(_groups(rows, window, shares))
    assert sorted(row.index for _, group in groups for row in group) == list(range(1400))
    for length, group in groups:
        assert 1 <= len({row.prompt_ids for row in group}) <= TILE_ROWS
        assert shares or len(group) <= TILE_ROWS
        assert all(length - 8 < len(row.prompt_ids) <= length for row in group)
        assert length % 8 == 0
    part_empty = [length for length, group in groups if len(group) % TILE_ROWS]
    assert len(part_empty) == len(set(part_empty))


def test_prompt_is_read_once_for_all_of_its_samples(
    sampler: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is drawn is what each sample draws alone."""
    read: list[int] = []
    forward = sampler._model.forward

    def counting(**given: Any) -> Any:
        read.append(given["input_ids"].shape[1])
        return forward(**given)

    monkeypatch.setattr(sampler._model, "forward", counting)
    prompts = ["".join(pair) for pair in itertools.product("abcdefgh", repeat=2)]
    requests = [
        Request(prompt, 100 * place + seed) for place, prompt in enumerate(prompts) for seed in range(4)
    ]
    together = sampler.sample(requests, SETTINGS)
    assert sum(length > 1 for length in read) == 1
    assert together[::32] == [sampler.sample([request], SETTINGS)[0] for request in requests[::32]]


def test_in_place_cache_and_explicit_mask_give_the_models_own_bits(checkpoint: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint)).eval()
    assert takes_explicit_masks(model)
    mask = torch.arange(88)[None] >= torch.tensor([0, 3, 7])[:, None]
    caches = new_cache(model), DynamicCache(config=model.config)
    ids = torch.arange(24).view(3, 8) + 4
    for step in range(80):
        with torch.inference_mode():
            positions = (mask[:, : 8 + step].cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            masks = explicit_mask(mask, 8, step), mask[:, : 8 + step].long()
            ours, theirs = (
                model(
                    input_ids=ids, attention_mask=seen, position_ids=positions, past_key_values=cache
                ).logits[:, -1]
                for seen, cache in zip(masks, caches, strict=True)
            )
        assert torch.equal(ours, theirs)
        ids = theirs.argmax(-1, keepdim=True)


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_attention_of_a_new_token_does_not_depend_on_the_rows_place(kv_heads: int, threads: Any) -> None:
    """On some processors torch's fused kernel changes the last bits of rows that another thread computes."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    settings = {"num_attention_heads": 4, "num_key_value_heads": kv_heads, "num_hidden_layers": 1}
    config = LlamaConfig(vocab_size=40, hidden_size=128, intermediate_size=64, **settings)
    model = LlamaForCausalLM(config).eval()
    attention, queries = model.model.layers[0].self_attn, torch.randn(TILE_ROWS, 4, 1, 32)
    fused, stable = sdpa_attention_forward, _attend
    order = torch.randperm(TILE_ROWS)
    for count in range(9, 40):
        keys, values = torch.randn(2, TILE_ROWS, kv_heads, count, 32)
        mask = torch.rand(TILE_ROWS, 1, 1, count) > 0.3
        mask[..., -1] = True
        threads(2)
        whole = stable(attention, queries, keys, values, mask)[0]
        moved = stable(attention, queries[order], keys[order], values[order], mask[order])[0]
        assert torch.equal(moved, whole[order])
        threads(1)
        assert torch.equal(stable(attention, queries, keys, values, mask)[0], whole)
        torch.testing.assert_close(whole, fused(attention, queries, keys, values, mask, is_causal=False)[0])


def test_model_with_sliding_layers_keeps_its_own_masks() -> None:
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=40,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        sliding_window=4,
    )
    assert not takes_explicit_masks(MistralForCausalLM(config))


def test_prompt_beyond_the_models_positions_is_an_error_before_sampling(sampler: Sampler) -> None:
    with pytest.raises(EngineError, match=r"has 151 tokens, with max_tokens 12 .* 160 positions"):
        sampler.sample([Request("a=", 0), Request("b" * 150, 0)], SETTINGS)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_outside_64_bits_is_an_error(sampler: Sampler, seed: int) -> None:
    with pytest.raises(EngineError, match="seed: got"):
        sampler.sample([Request("a=", seed)], SETTINGS)


def test_largest_seed_is_accepted(sampler: Sampler) -> None:
    assert sampler.sample([Request("a=", 2**64 - 1)], SETTINGS)


def test_unknown_character_in_a_prompt_is_an_error(sampler: Sampler) -> None:
    with pytest.raises(EngineError, match=r"unknown to the tokenizer, expected 0: 'A', '\\n'\. Remove"):
        sampler.sample([Request("A\n=", 0)], SETTINGS)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -0.1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_tokens": 0},
        {"temperature": math.nan},
    ],
)
def test_settings_out_of_range_are_errors(values: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match=next(iter(values))):
        SamplingSettings(**values)


def test_checkpoints_that_cannot_be_read_are_errors(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no tokenizer"):
        Sampler(tmp_path, device="cpu")
    for name in ("tokenizer.json", "tokenizer_config.json", "config.json"):
        (tmp_path / name).write_bytes((checkpoint / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(EngineError, match=r"\*.safetensors missing"):
        Sampler(tmp_path, device="cpu")
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(EngineError, match="model.safetensors is half-written or damaged"):
        Sampler(tmp_path, device="cpu")
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    remote = {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"},
    }
    (tmp_path / "config.json").write_text(json.dumps(remote))
    with pytest.raises(EngineError, match="code out of a checkpoint is never run") as refused:
        Sampler(tmp_path, device="cpu")
    assert "trust_remote_code" not in str(refused.value)
    with pytest.raises(EngineError, match="batch_size"):
        Sampler(checkpoint, device="cpu", batch_size=0)
