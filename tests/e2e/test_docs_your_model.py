"""docs/your_model.md: every file and command of the page, in a new project, with a model made on the spot."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from .toy_project import ROOT, command

PAGE = (ROOT / "docs" / "your_model.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SAYS = {
    "shipping": 8,
    "billing": 8,
    "returns": 8,
    "#### 5": 10,
    "#### 16": 6,
    "#### 10": 3,
    "#### 35": 3,
    "#### 20": 3,
}
"""What the model answers to anything, and how often; the numbers are the commonest of GSM8K's first problems."""


def chat_model(directory: Path) -> None:
    """A model whose next token depends on the last one alone: one-hot embeddings, and the head as a table of logits."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    trainer = trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator([*SAYS] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,  # noqa: S106 - no secret
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    size = -(-len(tokenizer) // 8) * 8
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=size,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    counts = torch.full((size, size), 1e-6)
    (start,) = tokenizer.encode("\n")
    for text, weight in SAYS.items():
        path = [start, *tokenizer.encode(text), tokenizer.eos_token_id]
        for one, following in zip(path, path[1:], strict=False):
            counts[following, one] += weight
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight.copy_(counts.log() / size**0.5)
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def follow(root: Path, page: str) -> list[str]:
    """Writes the page's files and runs its commands, in their order; what they printed."""
    printed = []
    for language, name, text in BLOCK.findall(page):
        if name:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        elif language == "sh":
            printed += [command(root, *shlex.split(line)) for line in text.splitlines()]
    return printed


@pytest.mark.model
def test_every_command_of_the_page_runs(tmp_path):
    beginning, rest = PAGE.split("## A CSV")
    (made,) = follow(tmp_path, beginning.replace("cd my-loop\n", ""))
    assert "a project with" in made
    root = tmp_path / "my-loop"
    chat_model(root / "models" / "mine")
    tickets, rest = rest.split("## GSM8K")
    gsm8k, chats = rest.split("## A chat data set")
    printed = follow(root, tickets)
    assert "Which team gets this ticket?" in printed[2]
    if GSM8K.is_dir():
        (root / "data" / "gsm8k").mkdir()
        for split, name in (("train", "train_600"), ("test", "test_300")):
            (root / "data" / "gsm8k" / f"{split}.jsonl").write_bytes((GSM8K / f"{name}.jsonl").read_bytes())
        follow(root, gsm8k)
    else:
        chats = chats.replace("[tickets, gsm8k, chats]", "[tickets, chats]")
    assert ", 0 stale, 0 missing" in follow(root, chats)[-1]
