"""Small tokenizers with the chat templates of the large model families, for tests: a few hundred tokens, nothing fetched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import trl
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "Add the numbers. What is 3 plus 4? The answer is 7.",
    "Hello there, how are you today?",
    "Sort these letters: b a c",
    "\n\n\n hello world\n<think>\nso\n</think>\n\n",
    "system user assistant model tool\n",
    " 42 hello  there",
]
BUNDLED = Path(trl.__file__).parent / "chat_templates"
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
SMOLLM = (
    "{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<|User|>' + m.content }}"
    "{% else %}{{ '<|Assistant|>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        template: its chat template; the name of one that TRL brings along, or the template.
        special: its control tokens, eos first and bos second, where it has one.
        bos: whether the second is bos.
        sentencepiece: whether spaces are part of the tokens as in Llama 2, and a text begins with one.
        system: whether it takes a system turn.
    """

    template: str
    special: tuple[str, ...]
    bos: bool = False
    sentencepiece: bool = False
    system: bool = True

    @property
    def eos(self) -> str:
        """Its eos token."""
        return self.special[0]


CHATML = ("<|im_end|>", "<|im_start|>", "<|endoftext|>")
FAMILIES = {
    "chatml": Family("qwen2_5_training.jinja", CHATML),
    "chatml_endoftext": Family("qwen2_5_training.jinja", ("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
    "llama3": Family(
        "llama3_training.jinja",
        ("<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos=True,
    ),
    "gemma": Family(
        "gemma_training.jinja", ("<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), True, system=False
    ),
    "mistral": Family(MISTRAL, ("</s>", "<s>"), True, sentencepiece=True, system=False),
    "phi3": Family(
        "phi3_training.jinja",
        ("<|endoftext|>", "<s>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
        bos=True,
        sentencepiece=True,
    ),
    "qwen3": Family("qwen3_training.jinja", CHATML),
    "smollm2": Family(SMOLLM, CHATML),
    "deepseek_r1": Family(
        DEEPSEEK,
        ("<|end_of_sentence|>", "<|begin_of_sentence|>", "<|User|>", "<|Assistant|>"),
        bos=True,
        system=False,
    ),
}


@cache
def tokenizer_of(name: str, template: str | None = None) -> PreTrainedTokenizerFast:
    """A family's tokenizer, and with `template` another template in it."""
    family = FAMILIES[name]
    written = template or family.template
    text = (BUNDLED / written).read_text(encoding="utf-8") if written.endswith(".jinja") else written
    bos = {"bos_token": family.special[1]} if family.bos else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=_backend(family),
        eos_token=family.eos,
        pad_token=family.eos,
        padding_side="left",
        chat_template=text,
        extra_special_tokens=list(family.special),
        **bos,
    )


def _backend(family: Family):  # type: ignore[no-untyped-def]
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )

    backend = Tokenizer(models.BPE(byte_fallback=family.sentencepiece))
    if family.sentencepiece:
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
        backend.decoder = decoders.Sequence(
            [
                decoders.Replace("\u2581", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        alphabet = [chr(code) for code in range(32, 127)] + ["\u2581"]
        fallback = [f"<0x{byte:02X}>" for byte in range(256)]
        trainer = trainers.BpeTrainer(
            vocab_size=700, initial_alphabet=alphabet, special_tokens=fallback, show_progress=False
        )
    else:
        split = Regex(r"'s|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(split, "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
    backend.train_from_iterator(CORPUS, trainer)
    if family.sentencepiece:  # the bytes are tokens like others, not control tokens
        backend = _without_special_bytes(backend)
    rstrip = {"<|user|>", "<|assistant|>", "<|system|>", "<|end|>"}  # as in Phi-3
    backend.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False, rstrip=family.sentencepiece and token in rstrip)
            for token in family.special
        ]
    )
    return backend


def _without_special_bytes(backend):  # type: ignore[no-untyped-def]
    import json

    from tokenizers import Tokenizer

    return Tokenizer.from_str(json.dumps(json.loads(backend.to_str()) | {"added_tokens": []}))


def chat_model(directory: Path, name: str, heads: int = 2) -> Path:
    """A checkpoint of random weights, of width 32, with a family's tokenizer; vLLM on a CPU needs a head of that width."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from lineal.engines.models.checkpoints import write_full_model

    tokenizer = tokenizer_of(name)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(str(directory))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        write_full_model(
            LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=len(tokenizer),
                    hidden_size=32,
                    num_hidden_layers=1,
                    num_attention_heads=heads,
                    num_key_value_heads=heads,
                    intermediate_size=64,
                    max_position_embeddings=256,
                    pad_token_id=tokenizer.pad_token_id,
                    bos_token_id=None,
                    eos_token_id=tokenizer.eos_token_id,
                    dtype="float32",
                )
            ),
            directory,
        )
    return directory
