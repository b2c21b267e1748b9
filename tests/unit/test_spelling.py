"""Texts to tokens and back, behind a prompt and alone, in every kind of tokenizer: as they were, or refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lineal.data.conversations import Conversation, Turn
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.spelling import Spelling, spelling_of
from lineal.engines.text.stop_texts import StopTexts
from lineal.engines.text.tokens import (
    Sampled,
    character_tokenizer,
    decode_completions,
    encode_pair,
    encode_pairs,
    leads_of,
)
from lineal.errors import EngineError
from tests.unit.chat_models import CORPUS, FAMILIES, chat_model, tokenizer_of

TEXTS = [
    "a",
    " a",
    "    return a + b\n",
    "\n    x = 1\n\n",
    "",
    " ",
    "  ",
    "The answer is 7.",
    " the  answer",
    "it's (a) , b .",
    "7",
    " 7",
    "\t",
    "hello hello",
    "A b B",
]
PROMPT = "def f(a, b):\n"
ZEPHYR = (
    "{% for m in messages %}{{ 'A ' + m.role + ':\n' + m.content + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'A assistant:\n' }}{% endif %}"
)
SPECIAL = ["<unk>", "</s>", "<pad>"]
LETTERS = [*map(chr, range(32, 127)), "\u2581", "\n", "\t"]


def trained(
    model: Any, trainer: Any, normalizer: Any = None, pre: Any = None, decoder: Any = None
) -> PreTrainedTokenizerBase:
    """A tokenizer of a few hundred tokens."""
    from tokenizers import Tokenizer

    backend = Tokenizer(model)
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre is not None:
        backend.pre_tokenizer = pre
    if decoder is not None:
        backend.decoder = decoder
    backend.train_from_iterator([*CORPUS, "ab \u00e9 x = 1 (a), don't it's B return + \\"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def byte_level(prefix: bool = False, normalizer: Any = None) -> PreTrainedTokenizerBase:
    """GPT-2's kind."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    level = pre_tokenizers.ByteLevel
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=level.alphabet(), show_progress=False
    )
    return trained(models.BPE(), trainer, normalizer, level(add_prefix_space=prefix), decoders.ByteLevel())


def sentencepiece(first: bool, strip: bool) -> PreTrainedTokenizerBase:
    """Llama 2's kind, or Gemma's, which writes no space before a text and strips none."""
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL, initial_alphabet=LETTERS, show_progress=False
    )
    stripping = [decoders.Strip(" ", 1, 0)] if strip else []
    decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), *stripping]
    )
    pre = pre_tokenizers.Metaspace(prepend_scheme="first", split=False) if first else None
    return trained(
        models.BPE(unk_token="<unk>"),
        trainer,
        None if first else normalizers.Replace(" ", "\u2581"),
        pre,
        decoder,
    )


def unigram(normalizer: Any = None) -> PreTrainedTokenizerBase:
    """T5's kind."""
    from tokenizers import decoders, models, pre_tokenizers, trainers

    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        unk_token="<unk>",
        special_tokens=SPECIAL,
        initial_alphabet=LETTERS,
        show_progress=False,
    )
    return trained(models.Unigram(), trainer, normalizer, pre_tokenizers.Metaspace(), decoders.Metaspace())


def word_piece(lowercase: bool) -> PreTrainedTokenizerBase:
    """BERT's kind."""
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.WordPiece(unk_token="<unk>"),
        trainer,
        normalizers.BertNormalizer(lowercase=lowercase),
        pre_tokenizers.BertPreTokenizer(),
        decoders.WordPiece(),
    )


def words() -> PreTrainedTokenizerBase:
    """One token per word."""
    from tokenizers import models, pre_tokenizers, trainers

    trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False)
    return trained(models.WordLevel(unk_token="<unk>"), trainer, None, pre_tokenizers.Whitespace())


def lowered() -> PreTrainedTokenizerBase:
    """A byte-level one that forgets the case."""
    from tokenizers import normalizers

    return byte_level(normalizer=normalizers.Lowercase())


def collapsing() -> PreTrainedTokenizerBase:
    """T5's own, which makes one space of several."""
    from tokenizers import Regex, normalizers

    return unigram(normalizers.Replace(Regex(" {2,}"), " "))


def stripping() -> PreTrainedTokenizerBase:
    """One that takes the spaces around a text away."""
    from tokenizers import normalizers

    return unigram(normalizers.Strip())


def characters() -> PreTrainedTokenizerBase:
    """Our own, one token per character."""
    return character_tokenizer("".join(dict.fromkeys("".join([*TEXTS, PROMPT]))))


KEEPS: dict[str, tuple[Callable[[], PreTrainedTokenizerBase], bool]] = {
    "byte level": (byte_level, False),
    "byte level with a space before": (lambda: byte_level(prefix=True), True),
    "gemma": (lambda: sentencepiece(first=False, strip=False), False),
    "llama 2": (lambda: sentencepiece(first=True, strip=True), True),
    "llama 2, legacy": (lambda: tokenizer_of("mistral"), True),
    "unigram": (unigram, True),
    "characters": (characters, False),
    "bytes": (ByT5Tokenizer, False),
    "llama 3": (lambda: tokenizer_of("llama3"), False),
}
"""By kind, whether a text is spelled otherwise behind another."""
CHANGES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "word pieces": lambda: word_piece(lowercase=False),
    "uncased word pieces": lambda: word_piece(lowercase=True),
    "words": words,
    "lower case": lowered,
    "one space of several": collapsing,
    "stripped": stripping,
}


@pytest.mark.parametrize("kind", KEEPS)
def test_texts_behind_a_prompt_come_back_as_they_were(kind: str) -> None:
    make, moves = KEEPS[kind]
    tokenizer = make()
    assert spelling_of(tokenizer).moves == moves
    encoded = [ids for _, ids in encode_pairs(tokenizer, [(PROMPT, text) for text in TEXTS], chat=False)]
    assert decode_completions(tokenizer, encoded, [""] * len(TEXTS)) == TEXTS
    # what was sampled is learnt as it was sampled, and the ids are those of the text
    for text, ids in zip(TEXTS, encoded, strict=True):
        assert encode_pair(tokenizer, PROMPT, Sampled(text, tuple(ids)), chat=False)[1] == ids


@pytest.mark.parametrize("kind", KEEPS)
def test_a_completion_says_what_its_tokens_add_to_the_prompt(kind: str) -> None:
    tokenizer = KEEPS[kind][0]()
    for text in filter(None, TEXTS):
        prompt, completion = encode_pair(tokenizer, PROMPT, text, chat=False)
        before, whole = decode_completions(tokenizer, [prompt, prompt + completion])
        assert whole == before + text


@pytest.mark.parametrize("kind", KEEPS)
def test_texts_that_begin_come_back_as_they_were(kind: str) -> None:
    tokenizer = KEEPS[kind][0]()
    encoded = [ids for _, ids in encode_pairs(tokenizer, [("", text) for text in TEXTS], chat=False)]
    assert decode_completions(tokenizer, encoded) == TEXTS


@pytest.mark.parametrize("kind", CHANGES)
def test_a_tokenizer_that_changes_texts_is_refused(kind: str) -> None:
    with pytest.raises(
        EngineError, match="the tokenizer makes .* of .*, expected the text as it is"
    ) as caught:
        encode_pair(CHANGES[kind](), "a", "a", chat=False)
    assert "Use a model whose tokenizer keeps case, spaces and line breaks" in str(caught.value)


def test_where_spelling_does_not_move_tokens_are_those_of_the_text_alone() -> None:
    for kind in ("byte level", "gemma", "characters", "llama 3"):
        tokenizer = KEEPS[kind][0]()
        assert (
            Spelling(tokenizer).encode(TEXTS)
            == tokenizer(TEXTS, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        )


@cache
def chat_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A family's tokenizer, or one of Llama 2's kind with Zephyr's template: an answer stands behind a line break."""
    if name in FAMILIES:
        return tokenizer_of(name)
    if name == "zephyr, legacy":
        return tokenizer_of("mistral", ZEPHYR)
    tokenizer = sentencepiece(first=True, strip=True)
    tokenizer.chat_template = ZEPHYR
    return tokenizer


@pytest.mark.parametrize("text", [text for text in TEXTS if text.strip("\t")])
@pytest.mark.parametrize("name", [*FAMILIES, "zephyr", "zephyr, legacy"])
def test_answers_in_a_chat_come_back_as_they_were(name: str, text: str) -> None:
    tokenizer = chat_tokenizer(name)
    asked = Conversation((Turn("user", "hello"),))
    prompt, ids = encode_pair(tokenizer, asked, text, chat=False)
    said = decode_completions(tokenizer, [ids], leads_of(tokenizer, [asked], [prompt], chat=False))[0]
    opening = "<think>\n\n</think>\n\n" if name == "qwen3" else ""
    assert said.removeprefix(opening) == text
    begun = Conversation((*asked.turns, Turn("assistant", "hello")))
    _, ids = encode_pair(tokenizer, begun, text, chat=False)
    assert not spelling_of(tokenizer).moves or leads_of(tokenizer, [begun], [[5]], chat=False) == [""]
    assert decode_completions(tokenizer, [ids], [""]) == [text]


def test_a_piece_of_a_character_is_unfinished_text() -> None:
    tokenizer = tokenizer_of("mistral")
    _, ids = encode_pair(tokenizer, PROMPT, "\u00e9", chat=False)
    assert len(ids) == 3  # two bytes and the end
    assert decode_completions(tokenizer, [ids, ids[:1]], ["", ""]) == ["\u00e9", "\N{REPLACEMENT CHARACTER}"]


@pytest.mark.model
def test_sampled_texts_have_their_spaces_and_their_likelihood(tmp_path: Path) -> None:
    checkpoint = chat_model(tmp_path / "model", "mistral")
    tokenizer = tokenizer_of("mistral")
    drawn = Sampler(checkpoint, "cpu").sample(
        [Request(PROMPT, seed) for seed in range(64)], SamplingSettings(max_tokens=6)
    )
    ended = [one for one in drawn if one.token_ids and tokenizer.eos_token_id not in one.token_ids]
    learnt = [ids for _, ids in encode_pairs(tokenizer, [(PROMPT, one.text) for one in ended], chat=False)]
    spelled = [(one, ids[:-1]) for one, ids in zip(ended, learnt, strict=True) if ids[:-1] == one.token_ids]
    assert any(one.text.startswith(" ") for one, _ in spelled)
    scored = LikelihoodScorer(checkpoint, "cpu").score_ids(
        [(encode_pair(tokenizer, PROMPT, "a", False)[0], ids) for _, ids in spelled]
    )
    assert [score.logprob for score in scored] == pytest.approx([one.logprob for one, _ in spelled], abs=1e-3)


@pytest.mark.model
def test_a_stop_text_that_begins_with_a_space_is_found_at_once(tmp_path: Path) -> None:
    checkpoint = chat_model(tmp_path / "model", "mistral")
    drawn = Sampler(checkpoint, "cpu").sample(
        [Request(PROMPT, seed) for seed in range(128)], SamplingSettings(max_tokens=6, stop=StopTexts((" ",)))
    )
    assert any(one.tokens == 1 and one.text == "" and one.finish_reason == "stop" for one in drawn)
    assert not any(" " in one.text for one in drawn)
