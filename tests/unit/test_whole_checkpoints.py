"""Checkpoints that aren't whole are refused where they are loaded, with what is wrong; whole ones run, whatever their kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lineal.engines.models.checkpoints import load_reward_model, require_sound, write_full_model
from lineal.engines.sampling.decoding import Decoded
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings, completions_of
from lineal.engines.sampling.scoring import LikelihoodScorer, RewardScorer
from lineal.engines.text.tokens import character_tokenizer
from lineal.engines.text.vocabulary import ids_without_token
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, LoraSettings, TrainingSettings
from lineal.engines.training.train import ModelShape, initialise, train_sft
from lineal.errors import EngineError
from tests.unit.lab import Lab

pytestmark = pytest.mark.model
TOKENIZER = character_tokenizer("abcdefgh=")
SIZE = len(TOKENIZER)
SETTINGS = TrainingSettings(steps=1, epochs=None, batch_size=1, learning_rate=1e-2, seed=0, threads=1)
Damage = Callable[[Path], None]


def shape(tied: bool) -> ModelShape:
    """Two layers of width 8."""
    return ModelShape(
        hidden_size=8,
        layers=2,
        heads=2,
        intermediate_size=12,
        rope_theta=1e4,
        tie_embeddings=tied,
        characters="abcdefgh=",
        max_positions=32,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By name: a model with a head of its own, one with tied embeddings, an adapter on the first, a reward model."""
    import torch

    home = tmp_path_factory.mktemp("whole")
    initialise(shape(tied=False), 0, home / "untied")
    initialise(shape(tied=True), 0, home / "tied")
    lora = TrainingSettings(**{**SETTINGS.__dict__, "lora": LoraSettings(2, 4)})
    train_sft(TrainingJob(Checkpoint(home / "untied"), lora, home / "adapter"), [Example("ab=", "ba")])
    torch.manual_seed(0)
    write_full_model(load_reward_model(home / "untied", torch.float32, 0), home / "reward")
    TOKENIZER.save_pretrained(str(home / "reward"))
    return home


def tensors(change: Callable[[dict[str, Any]], None], file: str = "model.safetensors") -> Damage:
    """Changes the tensors of a file."""

    def damage(directory: Path) -> None:
        from safetensors.torch import load_file, save_file

        found = load_file(directory / file)
        change(found)
        save_file(found, directory / file, metadata={"format": "pt"})

    return damage


def without(name: str, file: str = "model.safetensors") -> Damage:
    """Takes one tensor out."""
    return tensors(lambda found: found.pop(name), file)


def with_new(name: str, *size: int, file: str = "model.safetensors") -> Damage:
    """Puts a tensor in, or another in its place."""
    import torch

    return tensors(lambda found: found.update({name: torch.zeros(size)}), file)


def holding(value: float, name: str, file: str = "model.safetensors") -> Damage:
    """Sets one number of a tensor."""
    return tensors(lambda found: found[name].view(-1)[1:2].fill_(value), file)


def config(file: str = "config.json", **settings: Any) -> Damage:
    """Sets keys of a JSON file."""

    def damage(directory: Path) -> None:
        told = json.loads((directory / file).read_text(encoding="utf-8"))
        (directory / file).write_text(json.dumps(told | settings), encoding="utf-8")

    return damage


def bytes_of(file: str, content: bytes | float | None) -> Damage:
    """Writes other bytes, keeps a share of them, or removes the file."""

    def damage(directory: Path) -> None:
        path = directory / file
        if content is None:
            path.unlink()
        else:
            before = path.read_bytes()
            path.write_bytes(content if isinstance(content, bytes) else before[: int(len(before) * content)])

    return damage


def sharded(directory: Path) -> None:
    """Writes the weights as several files with an index."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(directory))
    (directory / "model.safetensors").unlink()
    model.save_pretrained(str(directory), max_shard_size=2000)
    assert len(list(directory.glob("model-*.safetensors"))) > 2


def first_shard(content: float | None) -> Damage:
    """Shards, and damages the first."""

    def damage(directory: Path) -> None:
        sharded(directory)
        bytes_of(min(path.name for path in directory.glob("model-*.safetensors")), content)(directory)

    return damage


def pickled(directory: Path) -> None:
    """Weights in a format that is never read."""
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


def more_tokens(directory: Path) -> None:
    """A tokenizer with one token more than the model."""
    tokenizer = character_tokenizer("abcdefgh=?")
    tokenizer.save_pretrained(str(directory))


def without_eos(directory: Path) -> None:
    """A tokenizer without a token that ends completions."""
    tokenizer = character_tokenizer("abcdefgh=")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(str(directory))


LAYER = "model.layers.1"
Q_A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
ADAPTER = "adapter_model.safetensors"
DAMAGED: list[tuple[str, Damage, str]] = [
    ("untied", without("model.embed_tokens.weight"), r"1 missing \(model.embed_tokens.weight\)"),
    ("untied", without("lm_head.weight"), r"1 missing \(lm_head.weight\)"),
    ("untied", without("model.norm.weight"), r"1 missing \(model.norm.weight\)"),
    ("untied", without(f"{LAYER}.mlp.up_proj.weight"), rf"1 missing \({LAYER}.mlp.up_proj.weight\)"),
    ("untied", without(f"{LAYER}.self_attn.q_proj.weight"), f"{LAYER}.self_attn.q_proj.weight"),
    ("untied", without(f"{LAYER}.input_layernorm.weight"), f"{LAYER}.input_layernorm.weight"),
    ("tied", without("model.embed_tokens.weight"), "missing .*model.embed_tokens.weight"),
    (
        "untied",
        with_new("model.layers.2.mlp.up_proj.weight", 12, 8),
        "1 not the model's .model.layers.2.mlp.up_proj.weight",
    ),
    (
        "untied",
        with_new(f"{LAYER}.self_attn.q_proj.bias", 8),
        f"1 not the model's .{LAYER}.self_attn.q_proj.bias",
    ),
    ("untied", with_new("lm_head.bias", SIZE), "1 not the model's .lm_head.bias"),
    ("untied", with_new("something", 2), "1 not the model's .something"),
    (
        "untied",
        with_new("model.norm.weight", 3),
        r"1 of another shape \(model.norm.weight \[3\] instead of \[8\]\)",
    ),
    ("untied", with_new("model.embed_tokens.weight", SIZE - 1, 8), rf"embed_tokens.weight \[{SIZE - 1}, 8\]"),
    (
        "untied",
        with_new(f"{LAYER}.mlp.up_proj.weight", 8, 12),
        rf"{LAYER}.mlp.up_proj.weight \[8, 12\] instead of \[12, 8\]",
    ),
    ("untied", with_new("lm_head.weight", 0, 8), r"lm_head.weight \[0, 8\]"),
    ("untied", config(num_hidden_layers=1), r"9 not the model's .model.layers.1.input_layernorm.weight"),
    ("untied", config(num_hidden_layers=3), r"9 missing .model.layers.2.input_layernorm.weight"),
    ("untied", config(hidden_size=16), r"21 of another shape"),
    (
        "untied",
        config(intermediate_size=16),
        r"6 of another shape .model.layers.0.mlp.down_proj.weight \[8, 12\]",
    ),
    ("untied", config(vocab_size=SIZE - 2), rf"2 of another shape .lm_head.weight \[{SIZE}, 8\]"),
    ("untied", config(vocab_size=SIZE + 2), rf"2 of another shape .lm_head.weight \[{SIZE}, 8\]"),
    ("untied", config(num_key_value_heads=1), r"k_proj.weight \[8, 8\] instead of \[4, 8\]"),
    ("untied", config(head_dim=8), r"q_proj.weight \[8, 8\] instead of \[16, 8\]"),
    ("untied", config(attention_bias=True), "8 missing .model.layers.0.self_attn.k_proj.bias"),
    ("untied", config(mlp_bias=True), "6 missing .model.layers.0.mlp.down_proj.bias"),
    ("untied", config(model_type="olmo2"), "missing .model.layers.0.post_feedforward_layernorm.weight"),
    ("untied", config(model_type="gpt2"), "missing .transformer.h.0"),
    ("tied", config(tie_word_embeddings=False), r"1 missing \(lm_head.weight\)"),
    (
        "untied",
        holding(float("nan"), f"{LAYER}.mlp.up_proj.weight"),
        f"{LAYER}.mlp.up_proj.weight holds 1 of 96",
    ),
    (
        "untied",
        holding(float("inf"), "model.norm.weight"),
        "model.norm.weight holds 1 of 8 numbers that are not finite",
    ),
    ("untied", holding(float("-inf"), "lm_head.weight"), "lm_head.weight holds 1 of"),
    ("tied", holding(float("nan"), "model.embed_tokens.weight"), "model.embed_tokens.weight holds 1 of"),
    ("untied", bytes_of("model.safetensors", 0.5), "model.safetensors is half-written or damaged"),
    ("untied", bytes_of("model.safetensors", 0.01), "model.safetensors is half-written or damaged"),
    ("untied", bytes_of("model.safetensors", b""), "model.safetensors is half-written or damaged"),
    ("untied", bytes_of("model.safetensors", b"\x7f" * 999), "model.safetensors is half-written or damaged"),
    ("untied", bytes_of("model.safetensors", None), r"\*.safetensors missing"),
    ("untied", pickled, r"\*.safetensors missing, got .*'pytorch_model.bin'"),
    ("untied", first_shard(None), "model-00001-of-.*safetensors|missing"),
    ("untied", first_shard(0.5), "model-00001-of-.*safetensors is half-written or damaged"),
    ("untied", bytes_of("config.json", None), "config.json missing"),
    ("untied", bytes_of("config.json", b""), "config.json: cannot be read"),
    ("untied", bytes_of("config.json", 0.5), "config.json: cannot be read"),
    ("untied", bytes_of("config.json", b"\xff\xfe\x00"), "config.json: cannot be read"),
    ("untied", bytes_of("config.json", b"[]"), "config.json: got list, expected an object"),
    ("untied", bytes_of("config.json", b"{}"), "model_type"),
    (
        "untied",
        config(model_type="unheard_of"),
        "`unheard_of` but Transformers does not recognize this architecture",
    ),
    ("untied", config(hidden_size="x"), "'hidden_size' expected int, got str"),
    (
        "untied",
        config(hidden_size=9),
        "hidden size .9. is not a multiple of the number of attention heads .2.",
    ),
    ("untied", config(num_hidden_layers=None), "'num_hidden_layers' expected int, got NoneType"),
    ("untied", config(num_attention_heads=0), "ZeroDivisionError"),
    ("untied", config(vocab_size=-1), "negative dimension -1"),
    ("untied", config(hidden_act="unheard_of"), "KeyError: 'unheard_of'"),
    ("untied", config(rope_parameters={"rope_type": "unheard_of"}), "KeyError: 'unheard_of'"),
    ("untied", config(dtype="float99"), "dtype: got 'float99', expected torch's name"),
    ("untied", config(dtype="load"), "dtype: got 'load', expected torch's name"),
    (
        "untied",
        config(model_type="t5", is_encoder_decoder=True),
        r"got an encoder-decoder \(t5\), expected a decoder",
    ),
    ("untied", config(model_type="bart", is_encoder_decoder=True), r"got an encoder-decoder \(bart\)"),
    ("untied", config(model_type="vit"), "its architecture .model_type in config.json. is none of that kind"),
    (
        "untied",
        config(quantization_config={"quant_method": "gptq", "bits": 4}),
        "that its quantization needs is not installed",
    ),
    (
        "untied",
        config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
        "bitsandbytes",
    ),
    (
        "untied",
        config(model_type="own", auto_map={"AutoConfig": "a.B", "AutoModel": "a.C"}),
        "code out of a checkpoint",
    ),
    ("untied", bytes_of("generation_config.json", b"{"), "generation_config.json"),
    ("untied", bytes_of("tokenizer.json", 0.5), "the tokenizer cannot be loaded"),
    ("untied", bytes_of("tokenizer.json", b"[1]"), "the tokenizer cannot be loaded"),
    ("untied", bytes_of("tokenizer_config.json", b"{"), "the tokenizer cannot be loaded"),
    (
        "untied",
        more_tokens,
        rf"1 tokens that the model does not know \('\?' \({SIZE}\)\), expected ids below its vocabulary",
    ),
    ("untied", without_eos, "no eos token"),
    ("adapter", without(Q_A, ADAPTER), rf"1 missing \({Q_A}\)"),
    ("adapter", with_new(f"{Q_A}.more", 2, 8, file=ADAPTER), "1 not the model's .*lora_A.weight.more"),
    (
        "adapter",
        with_new(Q_A, 3, 8, file=ADAPTER),
        "adapter does not fit .*size mismatch for base_model.model.model.layers.0",
    ),
    ("adapter", config("adapter_config.json", r=4), "adapter does not fit .*size mismatch"),
    ("adapter", config("adapter_config.json", target_modules=["q_proj"]), "24 not the model's"),
    ("adapter", config("adapter_config.json", target_modules=["nothing"]), "adapter does not fit"),
    ("adapter", holding(float("nan"), Q_A, ADAPTER), f"{ADAPTER}: {Q_A} holds 1 of 16"),
    ("adapter", bytes_of(ADAPTER, 0.5), f"{ADAPTER} is half-written or damaged"),
    ("adapter", bytes_of(ADAPTER, None), f"{ADAPTER} missing"),
    ("adapter", bytes_of("adapter_config.json", b"{"), "adapter does not fit"),
    ("reward", without("score.weight"), r"1 missing \(score.weight\)"),
    ("reward", without(f"{LAYER}.mlp.up_proj.weight"), rf"1 missing \({LAYER}.mlp.up_proj.weight\)"),
    ("reward", with_new("model.layers.2.mlp.up_proj.weight", 12, 8), "1 not the model's"),
    ("reward", holding(float("nan"), "score.weight"), "score.weight holds 1 of 8"),
]


def run(kind: str, directory: Path, base: Path) -> str:
    """Returns one completion, or one reward."""
    if kind == "reward":
        return str(RewardScorer(directory, "cpu").score([("ab=", "ba")]))
    sampler = Sampler(directory, "cpu", base=base if kind == "adapter" else None)
    return sampler.sample([Request("ab=", 1)], SamplingSettings(max_tokens=3))[0].text


@pytest.mark.parametrize(
    ("kind", "damage", "words"), DAMAGED, ids=[f"{kind}-{words}"[:60] for kind, _, words in DAMAGED]
)
def test_a_checkpoint_damaged_in_one_way_is_refused(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], kind: str, damage: Damage, words: str
) -> None:
    directory = tmp_path / "damaged"
    shutil.copytree(whole / kind, directory)
    damage(directory)
    with pytest.raises(EngineError, match=words) as caught:
        run(kind, directory, whole / "untied")
    assert str(directory) in str(caught.value) and len(str(caught.value)) < 900
    assert "LOAD REPORT" not in capfd.readouterr().err


def test_at_least_sixty_ways_of_damage_are_told_apart() -> None:
    assert len(DAMAGED) >= 60 and len({words for _, _, words in DAMAGED}) > 50


def architecture(name: str, **settings: Any) -> Damage:
    """A model of another architecture in place of the checkpoint's, two layers wide 8."""

    def damage(directory: Path) -> None:
        import transformers

        small = {
            "vocab_size": SIZE,
            "hidden_size": 8,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 12,
            "max_position_embeddings": 32,
            "eos_token_id": 2,
            "bos_token_id": 1,
            "pad_token_id": 0,
        }
        made = transformers.AutoConfig.for_model(name, **small | settings)
        model = transformers.AutoModelForCausalLM.from_config(made)
        model.eval().save_pretrained(str(directory))

    return damage


def stored_as(name: str) -> Damage:
    """The same numbers in another type."""
    import torch

    def damage(directory: Path) -> None:
        tensors(
            lambda found: found.update({key: value.to(getattr(torch, name)) for key, value in found.items()})
        )(directory)
        config(dtype=name)(directory)

    return damage


def without_prefix(directory: Path) -> None:
    """GPT-2's names as its own checkpoint has them."""
    architecture("gpt2")(directory)
    tensors(
        lambda found: [
            found.update({name.removeprefix("transformer."): found.pop(name)}) for name in list(found)
        ]
    )(directory)


def with_special_beyond(directory: Path) -> None:
    """A control token without an embedding, which nothing writes, as Gemma 3 has one for images."""
    tokenizer = character_tokenizer("abcdefgh=")
    tokenizer.add_special_tokens({"extra_special_tokens": ["<image>"]})
    tokenizer.save_pretrained(str(directory))


def doubled(directory: Path) -> None:
    """Tied embeddings that stand in the file twice."""
    tensors(lambda found: found.update({"lm_head.weight": found["model.embed_tokens.weight"].clone()}))(
        directory
    )


GOOD: dict[str, tuple[str, Damage]] = {
    "untied": ("untied", lambda _: None),
    "tied": ("tied", lambda _: None),
    "tied and stored twice": ("tied", doubled),
    "adapter": ("adapter", lambda _: None),
    "reward": ("reward", lambda _: None),
    "shards": ("untied", sharded),
    "bfloat16": ("untied", stored_as("bfloat16")),
    "float16": ("untied", stored_as("float16")),
    "old buffers": ("untied", with_new("model.layers.0.self_attn.rotary_emb.inv_freq", 2)),
    "control token beyond": ("untied", with_special_beyond),
    "grouped queries": ("untied", architecture("llama", num_key_value_heads=1)),
    "padded vocabulary": ("untied", architecture("llama", vocab_size=SIZE + 50)),
    "gpt2": ("untied", architecture("gpt2")),
    "gpt2 without prefix": ("untied", without_prefix),
    "gpt_neox": ("untied", architecture("gpt_neox")),
    "opt": ("untied", architecture("opt", ffn_dim=12, word_embed_proj_dim=8)),
    "olmo2": ("untied", architecture("olmo2", num_key_value_heads=1)),
    "phi": ("untied", architecture("phi", num_key_value_heads=2)),
    "bloom": ("untied", architecture("bloom", n_head=2, n_layer=2)),
    "falcon": ("untied", architecture("falcon")),
    "mixtral": ("untied", architecture("mixtral", num_key_value_heads=1, num_local_experts=4)),
    "gemma2": ("untied", architecture("gemma2", num_key_value_heads=1, head_dim=4)),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_checkpoint_runs(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    kind, change = GOOD[name]
    directory = tmp_path / "good"
    shutil.copytree(whole / kind, directory)
    change(directory)
    capfd.readouterr()
    if kind != "adapter":
        require_sound(directory)
    run(kind, directory, whole / "untied")
    assert "[transformers]" not in capfd.readouterr().err


def test_a_padded_vocabulary_has_ids_that_are_never_drawn(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole / "untied", tmp_path / "padded")
    architecture("llama", vocab_size=SIZE + 200)(directory)
    assert ids_without_token(TOKENIZER, SIZE + 200) == list(range(SIZE, SIZE + 200))
    drawn = Sampler(directory, "cpu").sample(
        [Request("ab=", seed) for seed in range(50)], SamplingSettings(max_tokens=8)
    )
    assert max(token for one in drawn for token in one.token_ids or []) < SIZE
    # what was drawn has the likelihood that scoring gives it: of all ids, those without a token included
    texts = [
        ("ab=", one.text) for one in drawn if one.finish_reason == "stop" and len(one.text) == one.tokens - 1
    ]
    told = [one.logprob for one in drawn if one.finish_reason == "stop" and len(one.text) == one.tokens - 1]
    assert [
        likelihood.logprob for likelihood in LikelihoodScorer(directory, "cpu").score(texts)
    ] == pytest.approx(told, abs=1e-4)
    assert texts


def test_logits_that_overflow_are_an_error_where_they_are_seen(whole: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(whole / "untied", tmp_path / "huge")
    tensors(lambda found: found["lm_head.weight"].fill_(3e38))(directory)
    tensors(lambda found: found["model.norm.weight"].fill_(3e38))(directory)
    for engine in (Sampler, LikelihoodScorer):
        with pytest.raises(EngineError, match=f"{directory}: llama gives logits that are not finite"):
            engine(directory, "cpu")
    drawn = [Decoded([5, 2], True, float("nan"))]
    with pytest.raises(EngineError, match="the model gives a text the log-probability nan"):
        list(completions_of(TOKENIZER, drawn, [None], SamplingSettings()))


def test_a_new_head_is_all_that_a_reward_model_adds(whole: Path, tmp_path: Path) -> None:
    import torch

    for kind in ("untied", "tied"):
        assert load_reward_model(whole / kind, torch.float32, 0).score.weight.shape == (1, 8)
    directory = shutil.copytree(whole / "untied", tmp_path / "damaged")
    without(f"{LAYER}.mlp.up_proj.weight")(directory)
    with pytest.raises(EngineError, match=rf"1 missing \({LAYER}.mlp.up_proj.weight\)"):
        load_reward_model(directory, torch.float32, 0)


def test_a_damaged_model_is_not_taken_in(whole: Path, tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    directory = shutil.copytree(whole / "untied", tmp_path / "damaged")
    without(f"{LAYER}.mlp.up_proj.weight")(directory)
    with pytest.raises(EngineError, match=rf"1 missing \({LAYER}.mlp.up_proj.weight\)"):
        lab.run("model", "start/checkpoint", path=str(directory))
