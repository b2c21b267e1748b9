"""Tokenising: one recipe for sampling and training, loud about what it cannot represent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.engines.text.tokens import (
    SPECIAL_TOKENS,
    character_tokenizer,
    copy_tokenizer,
    decode_completions,
    encode_pair,
    encode_pairs,
    encode_prompt,
    encode_prompts,
    load_tokenizer,
)
from lineal.errors import EngineError

CHARACTERS = "abcdefgh =\n"
TEMPLATE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %}:{% endif %}"


def test_character_tokenizer_ids_follow_the_characters() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    first = len(SPECIAL_TOKENS)
    assert tokenizer("ab")["input_ids"] == [tokenizer.bos_token_id, first, first + 1]
    assert [
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
    ] == [0, 1, 2, 3]
    assert len(tokenizer) == first + len(CHARACTERS)


@given(text=st.text(alphabet=CHARACTERS, max_size=20))
def test_completion_ids_decode_to_the_same_text(text: str) -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    _, ids = encode_pair(tokenizer, "a=", text, chat=False)
    assert ids[-1] == tokenizer.eos_token_id
    assert decode_completions(tokenizer, [ids]) == [text]


@pytest.mark.parametrize("characters", ["", "abca"])
def test_character_tokenizer_refuses_empty_or_repeated_characters(characters: str) -> None:
    with pytest.raises(EngineError, match="distinct characters"):
        character_tokenizer(characters)


def test_prompt_ids_are_the_same_in_sampling_and_training() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    prompts = ["ab=", "", "h", "a b\n="]
    pairs = encode_pairs(tokenizer, [(prompt, "a") for prompt in prompts], chat=False)
    assert encode_prompts(tokenizer, prompts, chat=False) == [prompt for prompt, _ in pairs]
    assert [encode_prompt(tokenizer, prompt, chat=False) for prompt in prompts] == [
        prompt for prompt, _ in pairs
    ]


def test_empty_prompt_becomes_bos() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    assert encode_prompt(tokenizer, "", chat=False) == [tokenizer.bos_token_id]


def test_prompt_of_zero_tokens_without_bos_becomes_eos() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.bos_token = None
    assert encode_prompt(tokenizer, "", chat=False) == [tokenizer.eos_token_id]


def test_unknown_character_is_an_error_that_names_the_text() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    with pytest.raises(EngineError, match=r"text 'aZb': 1 of its 4 tokens are unknown"):
        encode_prompt(tokenizer, "aZb", chat=False)
    with pytest.raises(EngineError, match=r"text 'Q'"):
        encode_pair(tokenizer, "a", "Q", chat=False)


def test_unknown_token_shared_with_eos_says_nothing() -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    tokenizer.eos_token = tokenizer.unk_token
    assert tokenizer.unk_token_id in encode_prompt(tokenizer, "Z", chat=False)


def test_chat_without_a_template_is_an_error() -> None:
    with pytest.raises(EngineError, match="chat template"):
        encode_prompt(character_tokenizer(CHARACTERS), "a", chat=True)


def test_chat_prompt_goes_through_the_template() -> None:
    tokenizer = character_tokenizer("ab[]:")
    tokenizer.chat_template = TEMPLATE
    ids = encode_prompt(tokenizer, "ab", chat=True)
    assert decode_completions(tokenizer, [ids]) == ["[ab]:"]
    assert encode_pair(tokenizer, "ab", "b", chat=True)[0] == ids


def test_saved_tokenizer_loads_and_copies_byte_for_byte(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    tokenizer = character_tokenizer(CHARACTERS)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(str(source))
    target.mkdir()
    copy_tokenizer(source, target)
    names = sorted(path.name for path in source.iterdir())
    assert names == sorted(path.name for path in target.iterdir())
    assert all((source / name).read_bytes() == (target / name).read_bytes() for name in names)
    loaded = load_tokenizer(target)
    assert loaded.chat_template == TEMPLATE
    assert encode_prompt(loaded, "a b", chat=False) == encode_prompt(tokenizer, "a b", chat=False)


def test_load_tokenizer_pads_with_eos_where_there_is_no_pad(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(str(tmp_path))
    assert load_tokenizer(tmp_path).pad_token_id == tokenizer.eos_token_id


def test_load_tokenizer_without_a_chat_template_that_is_needed_is_an_error(tmp_path: Path) -> None:
    character_tokenizer(CHARACTERS).save_pretrained(str(tmp_path))
    load_tokenizer(tmp_path)
    with pytest.raises(EngineError, match="chat: true needs a chat template"):
        load_tokenizer(tmp_path, chat=True)


def test_load_tokenizer_without_eos_is_an_error(tmp_path: Path) -> None:
    tokenizer = character_tokenizer(CHARACTERS)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(str(tmp_path))
    with pytest.raises(EngineError, match="no eos token"):
        load_tokenizer(tmp_path)


def test_load_tokenizer_from_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no tokenizer found"):
        load_tokenizer(tmp_path)


def test_load_tokenizer_from_broken_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(EngineError, match="cannot be loaded"):
        load_tokenizer(tmp_path)
