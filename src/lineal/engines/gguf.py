"""GGUF files, which hold a model's weights, configuration and tokenizer in one: read by transformers, written as a checkpoint.

Transformers saves no model that it read from a GGUF file, so the same model is built from its configuration.
"""

from __future__ import annotations

import struct
import tempfile
from contextlib import redirect_stderr
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lineal.engines.models.checkpoints import quiet, write_full_model
from lineal.engines.models.whole_weights import require_finite
from lineal.engines.text.tokens import load_tokenizer
from lineal.errors import EngineError, MachineError

if TYPE_CHECKING:
    from gguf import GGUFReader
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FOREIGN = (
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
"""Errors of the two readers on a file that is damaged or unknown to them."""
SPLIT_LIKE_GPT2 = ("default", "gpt-2", "phi-2", "jina-es", "jina-de", "mpt", "olmo", "jais", "trillion")
SPLIT_AT_EVERY_DIGIT = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
"""Values of `tokenizer.ggml.pre` that transformers doesn't know: GPT-2's rule, before which every digit is a token of its own."""
ORIGINAL = "Take the model's original checkpoint instead: {use: model, path: ...} or {use: hub_model, ...}."


def convert(file: Path, output: Path, dtype: str = "float32") -> None:
    """Writes the model and the tokenizer of a GGUF file as a checkpoint; the bytes depend on the file and `dtype` alone.

    Args:
        file: the GGUF file.
        output: directory to write.
        dtype: torch's name of the floating-point type that the weights are unpacked to.

    Raises:
        MachineError: the package gguf is missing.
        EngineError: the file is damaged, or transformers cannot read all of the model or of its tokenizer.
    """
    if find_spec("gguf") is None:
        raise MachineError(
            "a GGUF file needs the package gguf, which is not installed. Run: pip install 'lineal[gguf]'"
        )
    reader = _opened(file)
    _refuse_rope_scaling(file, reader)
    _refuse_further_layers(file, reader)
    with tempfile.TemporaryDirectory() as directory:
        # transformers also reads other files of the directory, which do not belong to the model
        (Path(directory) / "model.gguf").symlink_to(file.resolve())
        try:
            with quiet(), redirect_stderr(StringIO()):
                model, tokenizer = _loaded(file, directory, dtype), _tokenizer(file, reader, directory)
        except FOREIGN as error:
            raise EngineError(
                f"{_described(file, reader)}, which transformers cannot read: {error} {ORIGINAL}"
            ) from error
    rows = cast(Any, model).get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise EngineError(
            f"{file}: got a tokenizer of {len(tokenizer):,} tokens, expected at most the model's {rows:,}. {ORIGINAL}"
        )
    tokenizer.save_pretrained(str(output))
    write_full_model(model, output)
    require_finite(output)
    load_tokenizer(output)


def _opened(file: Path) -> GGUFReader:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        _field(reader, "general.architecture")
    except FOREIGN as error:
        raise EngineError(
            f"{file}: not a whole GGUF file of a version and quantization that the package gguf reads: {error}. "
            f"Copy it again, or update gguf. {ORIGINAL}"
        ) from error
    return reader


def _field(reader: GGUFReader, name: str, default: Any = ...) -> Any:
    field = reader.get_field(name)
    if field is None and default is ...:
        raise KeyError(f"no {name}")
    return default if field is None else field.contents()


def _described(file: Path, reader: GGUFReader) -> str:
    types = ", ".join(sorted({tensor.tensor_type.name for tensor in reader.tensors}))
    return f"{file}: got architecture {_field(reader, 'general.architecture')!r} with weights as {types or 'nothing'}"


def _refuse_rope_scaling(file: Path, reader: GGUFReader) -> None:
    """Refuses RoPE scaling, which transformers ignores except for gpt-oss: positions would rotate at a wrong rate."""
    architecture = _field(reader, "general.architecture")
    found = [
        tensor.name for tensor in reader.tensors if tensor.name.startswith(("rope_freqs", "rope_factors"))
    ]
    scaling = _field(reader, f"{architecture}.rope.scaling.type", "none")
    found += [] if scaling == "none" else [f"{architecture}.rope.scaling.type = {scaling}"]
    if found and architecture != "gpt-oss":
        raise EngineError(
            f"{file}: got {', '.join(found)}, which transformers doesn't read from a GGUF file. {ORIGINAL}"
        )


def _refuse_further_layers(file: Path, reader: GGUFReader) -> None:
    """Refuses layers beyond the number that the file declares, which transformers leaves out."""
    layers = _field(reader, f"{_field(reader, 'general.architecture')}.block_count", None)
    numbers = {
        name: name.split(".")[1]
        for name in (tensor.name for tensor in reader.tensors)
        if name.startswith("blk.")
    }
    further = [
        name
        for name, number in numbers.items()
        if layers is not None and number.isdigit() and int(number) >= layers
    ]
    if further:
        raise EngineError(
            f"{file}: got {', '.join(further[:5])} ({len(further)} in all), expected {layers} layers. {ORIGINAL}"
        )


def _loaded(file: Path, directory: str, dtype: str) -> PreTrainedModel:
    """Loads the model with plain weights.

    Raises:
        EngineError: the file lacks a tensor.
    """
    import torch
    from transformers import AutoModelForCausalLM

    read, report = cast(Any, AutoModelForCausalLM).from_pretrained(
        directory,
        gguf_file="model.gguf",
        dtype=getattr(torch, dtype),
        output_loading_info=True,
        local_files_only=True,
        trust_remote_code=False,
    )
    missing = sorted(map(str, {*report["missing_keys"], *report["mismatched_keys"]}))
    if missing:
        raise EngineError(
            f"{file}: got no tensor for {', '.join(missing[:5])} ({len(missing)} in all). {ORIGINAL}"
        )
    config = read.config
    del config.quantization_config
    with torch.device("meta"):
        model = cast(Any, AutoModelForCausalLM).from_config(config, dtype=getattr(torch, dtype))
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    return cast("PreTrainedModel", model)


def _tokenizer(file: Path, reader: GGUFReader, directory: str) -> PreTrainedTokenizerBase:
    """Loads the tokenizer, which splits text as the model learned it.

    Raises:
        EngineError: how it splits text is unknown.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    tokenizer = AutoTokenizer.from_pretrained(
        directory, gguf_file="model.gguf", local_files_only=True, trust_remote_code=False
    )
    split = _field(reader, "tokenizer.ggml.pre", "default")
    if _field(reader, "tokenizer.ggml.model") == "gpt2" and split in SPLIT_AT_EVERY_DIGIT:
        cast(Any, tokenizer).backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif _field(reader, "tokenizer.ggml.model") == "gpt2" and split not in {
        *GGUF_PRE_TOKENIZER_SPLITS,
        *SPLIT_LIKE_GPT2,
    }:
        known = ", ".join(sorted({*GGUF_PRE_TOKENIZER_SPLITS, *SPLIT_LIKE_GPT2, *SPLIT_AT_EVERY_DIGIT}))
        raise EngineError(
            f"{file}: got tokenizer.ggml.pre {split!r}, expected a rule for splitting text that is known: {known}. {ORIGINAL}"
        )
    return cast("PreTrainedTokenizerBase", tokenizer)
