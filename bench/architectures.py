"""Whether tiny random models of many architectures are sampled, scored and trained as what they are.

Run: python bench/architectures.py [--write] [NAME ...]

Each model is made from its configuration, without network, with weights large enough that its words differ. Then:

- greedy: greedy sampling (prompts of several lengths, padded, step by step) draws what the unpadded text has as likeliest;
- likelihood: the log-probability of sampled completions is the likelihood that scoring gives them;
- packing: the first loss of a training on packed rows is that on plain ones;
- tokens: what a training learns of a sampled text are the tokens that were sampled.

A model that is refused counts too; its reason is kept. `--write` puts docs/architectures.json and the table of
docs/architectures.md in place. Exit status 1 when a model runs and gives something else.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from lineal.engines.arithmetic import pin_arithmetic
from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.tokens import encode_pairs, encode_prompts, load_tokenizer
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import train_sft
from lineal.errors import EngineError

ROOT = Path(__file__).resolve().parents[1]
PAGE, FIGURES = ROOT / "docs" / "architectures.md", ROOT / "docs" / "architectures.json"
MARK = "<!-- table -->"


def bytes_tokenizer() -> Any:
    """One token per byte: GPT-2's kind, as which transformers loads whatever lies beside Qwen's models."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<|endoftext|>"]
    symbols = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    backend = Tokenizer(
        models.BPE(vocab={symbol: number for number, symbol in enumerate(symbols)}, merges=[])
    )
    backend.pre_tokenizer, backend.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    backend.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )  # noqa: S106


TOKENIZER = bytes_tokenizer()
PROMPTS = ("ab=", "hgfedcba=", "bdfh=", "a=", "cabbage=")
EXAMPLES = [Example("ab=", "ba"), Example("hgf=", "fgh"), Example("cabbage=", "aabbceg"), Example("d=", "d")]
TOLERANCE = 1e-3
"""Of losses and log-probabilities, which are around 3 and 30."""
EQUAL, REFUSED, DIFFERS = "equal", "refused: ", "differs: "
DROPOUTS = (
    "attn_pdrop",
    "embd_pdrop",
    "resid_pdrop",
    "dropout",
    "attention_dropout",
    "hidden_dropout",
    "activation_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layerdrop",
    "embed_dropout",
    "resid_dropout",
    "embedding_dropout",
    "summary_first_dropout",
    "classifier_dropout",
    "router_jitter_noise",
    "input_jitter_noise",
)
SMALL: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    **dict.fromkeys(DROPOUTS, 0.0),
}
EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
}
STATE: dict[str, Any] = {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "expand": 2}
HYBRID: dict[str, Any] = {
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_expand": 2,
    "mamba_d_conv": 4,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "apertus": {},
    "arcee": {},
    "bamba": HYBRID | {"attn_layer_indices": [1]},
    "bert": {},
    "biogpt": {},
    "bloom": {"n_layer": 2, "n_head": 4},
    "codegen": {"rotary_dim": 8},
    "cohere": {},
    "cohere2": {},
    "ctrl": {"dff": 48},
    "dbrx": {
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 64,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "deepseek_v2": {
        "q_lora_rank": None,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
        "n_group": 1,
        "topk_group": 1,
    },
    "deepseek_v3": {
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4,
        "n_group": 1,
        "topk_group": 1,
    },
    "diffllama": {},
    "ernie4_5": {},
    "exaone4": {"sliding_window": 16},
    "falcon": {},
    "falcon_h1": HYBRID | {"mamba_d_ssm": 64},
    "falcon_mamba": {"state_size": 8},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "gemma3_text": {"head_dim": 8, "sliding_window": 16},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "gpt2": {},
    "gpt_bigcode": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "gpt_neox": {},
    "gpt_oss": EXPERTS | {"head_dim": 8, "sliding_window": 16},
    "gptj": {"rotary_dim": 8},
    "granite": {},
    "granitemoe": EXPERTS,
    "granitemoehybrid": EXPERTS
    | HYBRID
    | {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 48},
    "helium": {"head_dim": 8},
    "hunyuan_v1_dense": {"head_dim": 8},
    "jamba": {
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "num_experts": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "use_mamba_kernels": False,
    },
    "jetmoe": {"kv_channels": 8, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "llama": {},
    "mamba": {"state_size": 8},
    "mamba2": STATE,
    "minimax": EXPERTS
    | {"head_dim": 8, "layer_types": ["linear_attention", "full_attention"], "block_size": 8},
    "mistral": {"sliding_window": 16},
    "mixtral": EXPERTS,
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64},
    "nemotron": {},
    "olmo": {},
    "olmo2": {},
    "olmoe": EXPERTS,
    "openai-gpt": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "persimmon": {},
    "phi": {},
    "phi3": {},
    "phimoe": EXPERTS,
    "qwen2": {},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 16},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": EXPERTS | {"head_dim": 8},
    "qwen3_next": EXPERTS
    | {
        "head_dim": 8,
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "shared_expert_intermediate_size": 16,
    },
    "recurrent_gemma": {"lru_width": 32, "attention_window_size": 16, "head_dim": 8},
    "roberta": {},
    "rwkv": {"context_length": 64},
    "smollm3": {},
    "stablelm": {},
    "starcoder2": {},
    "t5": {"d_model": 32, "num_layers": 2, "num_heads": 4},
    "xglm": {"d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "max_position_embeddings": ...},
    "zamba2": {
        "mamba_d_state": 8,
        "mamba_headdim": 16,
        "n_mamba_heads": 4,
        "mamba_ngroups": 1,
        "num_mem_blocks": 1,
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
        "adapter_rank": 4,
    },
}


def made(name: str, directory: Path) -> Path:
    """The checkpoint of an architecture."""
    import torch
    import transformers

    auto = transformers.AutoModelForSeq2SeqLM if name == "t5" else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    settings = {key: value for key, value in (SMALL | ARCHITECTURES[name]).items() if value is not ...}
    model = auto.from_config(transformers.AutoConfig.for_model(name, **settings)).float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # a random model says nothing otherwise
                parameter.normal_(std=0.3)
    model.save_pretrained(str(directory))
    TOKENIZER.save_pretrained(str(directory))
    return directory


def greedy(checkpoint: Path) -> str | None:
    """Compares greedy sampling with the model itself, without padding and without memory."""
    import torch
    from transformers import AutoModelForCausalLM

    settings = SamplingSettings(temperature=0, max_tokens=12)
    drawn = Sampler(checkpoint, "cpu").sample([Request(prompt, 1) for prompt in PROMPTS], settings)
    model = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=torch.float32).eval()
    for prompt, ids, one in zip(
        PROMPTS, encode_prompts(load_tokenizer(checkpoint), PROMPTS, chat=False), drawn, strict=True
    ):
        told = ids + (one.token_ids or [])
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([told]), use_cache=False).logits[0].float()
        likeliest = logits.argmax(-1)[len(ids) - 1 : -1].tolist()
        if likeliest != one.token_ids:
            return f"{prompt!r}: drawn {one.token_ids}, likeliest {likeliest}"
    return None


@lru_cache(maxsize=1)
def drawn(checkpoint: Path) -> list[Completion]:
    """Completions of each prompt."""
    requests = [Request(prompt, seed) for prompt in PROMPTS for seed in range(8)]
    return Sampler(checkpoint, "cpu").sample(requests, SamplingSettings(max_tokens=10))


def likelihood(checkpoint: Path) -> str | None:
    """Compares what sampling says of a completion with what scoring says."""
    completions = drawn(checkpoint)
    ids = encode_prompts(
        load_tokenizer(checkpoint), [prompt for prompt in PROMPTS for _ in range(8)], chat=False
    )
    pairs = [(prompt, list(one.token_ids or [])) for prompt, one in zip(ids, completions, strict=True)]
    scored = LikelihoodScorer(checkpoint, "cpu").score_ids(pairs)
    farthest = max(abs(one.logprob - score.logprob) for one, score in zip(completions, scored, strict=True))
    return None if farthest < TOLERANCE else f"log-probabilities differ by {farthest:.2g}"


def packing(checkpoint: Path) -> str | None:
    """Compares the loss of packed rows with that of plain ones."""

    def loss(packed: bool, batch_size: int) -> float:
        settings = TrainingSettings(
            steps=1,
            epochs=None,
            batch_size=batch_size,
            learning_rate=1e-4,
            seed=0,
            threads=1,
            packing=packed,
            max_tokens=64,
        )
        with tempfile.TemporaryDirectory() as output:
            return train_sft(
                TrainingJob(Checkpoint(checkpoint), settings, Path(output) / "out"), EXAMPLES
            ).final_loss

    plain, packed = loss(False, len(EXAMPLES)), loss(True, 1)
    return None if abs(plain - packed) < TOLERANCE else f"loss {packed:.4f} packed, {plain:.4f} plain"


def tokens(checkpoint: Path) -> str | None:
    """Compares the tokens of sampled texts, as a training encodes them, with those that were sampled."""
    tokenizer = load_tokenizer(checkpoint)
    requests = [Request(prompt, seed) for prompt in PROMPTS for seed in range(24)]
    sampled = Sampler(checkpoint, "cpu").sample(
        requests, SamplingSettings(max_tokens=2)
    )  # random bytes: few make a text
    control = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    plain = [one for one in sampled if one.text.isascii() and control.isdisjoint(one.token_ids or [])]
    learnt = [ids[:-1] for _, ids in encode_pairs(tokenizer, [("a=", one.text) for one in plain], chat=False)]
    return None if plain and learnt == [one.token_ids for one in plain] else "a training learns other tokens"


def found(name: str) -> dict[str, str]:
    """By check, what came of one architecture."""
    result = {}
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = made(name, Path(directory) / name)
        for check, compare in CHECKS.items():
            try:
                wrong = compare(checkpoint)
                result[check] = EQUAL if wrong is None else f"{DIFFERS}{wrong}"
            except EngineError as error:
                result[check] = REFUSED + str(error).replace(f"{checkpoint}: ", "").replace(
                    str(checkpoint), name
                )
    return result


CHECKS: dict[str, Callable[[Path], str | None]] = {
    "greedy": greedy,
    "likelihood": likelihood,
    "packing": packing,
    "tokens": tokens,
}


def shown(figures: dict[str, dict[str, str]]) -> str:
    """The table of docs/architectures.md."""
    head = f"| architecture | {' | '.join(CHECKS)} |\n|---|{'---|' * len(CHECKS)}"
    reasons = list(
        dict.fromkeys(_reason(value) for row in figures.values() for value in row.values() if value != EQUAL)
    )
    cells = {reason: f"no ({number})" for number, reason in enumerate(reasons, start=1)}
    lines = [
        f"| `{name}` | {' | '.join('yes' if row[check] == EQUAL else cells[_reason(row[check])] for check in CHECKS)} |"
        for name, row in sorted(figures.items())
    ]
    notes = [f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)]
    whole = sum(set(row.values()) == {EQUAL} for row in figures.values())
    wrong = sum(value.startswith(DIFFERS) for row in figures.values() for value in row.values())
    others = f"the others are refused where they would not; {wrong} differ"
    said = f"{len(figures)} architectures: {whole} agree in all checks, {others}."
    return "\n".join([said, "", head, *lines, "", "Refused, with the error's reason:", "", *notes]) + "\n"


def _reason(value: str) -> str:
    """A refusal without the architecture's name and its figures, so that equal ones are said once."""
    text = re.sub(r"^(packing: )?[\w-]+ (?=does|reads|cannot|says)", "", value.removeprefix(REFUSED))
    text = re.sub(r": its logits are off by \d+% of their spread", "", text)
    return re.sub(r" \([\w-]+\)", "", text)


def main() -> int:
    """Runs all, or the named architectures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="architectures; default: all")
    parser.add_argument(
        "--write", action="store_true", help="write docs/architectures.json, and the table into the page"
    )
    arguments = parser.parse_args()
    pin_arithmetic()
    _quiet()
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if arguments.names and FIGURES.exists() else {}
    for name in arguments.names or ARCHITECTURES:
        figures[name] = found(name)
        print(
            name,
            {check: value for check, value in figures[name].items() if value != EQUAL} or EQUAL,
            flush=True,
        )
    if arguments.write:
        FIGURES.write_text(json.dumps(dict(sorted(figures.items())), indent=1) + "\n", encoding="utf-8")
        head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
        PAGE.write_text(f"{head}{MARK}\n\n{shown(figures)}", encoding="utf-8")
    return int(any(value.startswith(DIFFERS) for row in figures.values() for value in row.values()))


def _quiet() -> None:
    import warnings

    import torch
    import transformers

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    transformers.logging.disable_progress_bar()  # type: ignore[attr-defined]
    torch.set_num_threads(1)


if __name__ == "__main__":
    sys.exit(main())
