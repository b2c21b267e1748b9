"""Checkpoint directories: loading full models and LoRA adapters, and writing them with the same bytes each time."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lineal.engines.models.loading_errors import foreign_errors, loading_error
from lineal.engines.models.whole_weights import (
    require_all_factors,
    require_all_tensors,
    require_finite,
    without_report,
)
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
GENERATION_CONFIG = "generation_config.json"
PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json")
"""The files of a model that sees pictures that say how one becomes pixels."""


@contextmanager
def quiet() -> Iterator[None]:
    """Hides transformers' progress bars, since steps report their own, and two warnings that PEFT and TRL trigger."""
    from transformers.utils import logging as transformers_logging

    logging = cast(Any, transformers_logging)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            warnings.filterwarnings(
                "ignore", "You are using .rollout_func., which is an experimental feature", UserWarning
            )
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def is_adapter(checkpoint: Path) -> bool:
    """Tells whether a checkpoint directory holds a PEFT adapter rather than a full model."""
    return (checkpoint / ADAPTER_CONFIG).is_file()


def sees_pictures(checkpoint: Path) -> bool:
    """Tells whether a checkpoint directory holds a vision-language model."""
    return (checkpoint / "config.json").is_file() and "vision_config" in read_config(checkpoint)


BASE_FIELDS = ("init_base", "model_base", "models_base", "init")
"""The inputs in a manifest that hold the full model of an adapter: of a trained one, of a copy, of one of several."""


def stored_dtype(checkpoint: Path) -> torch.dtype:
    """Returns the floating-point type that a full model's config.json declares; fp32 where it declares none.

    Raises:
        EngineError: it declares something else.
    """
    import torch

    config = read_config(checkpoint)
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    found = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise EngineError(
            f"{checkpoint / 'config.json'}: dtype: got {name!r}, expected torch's name of a floating-point type. Correct it."
        )
    return found


def read_config(checkpoint: Path) -> dict[str, Any]:
    """Reads a checkpoint's config.json.

    Raises:
        EngineError: it cannot be read, or holds no object.
    """
    return _read_object(checkpoint / "config.json")


def _read_object(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{path}: cannot be read: {error}. Expected a JSON object. Copy it again."
        ) from error
    if not isinstance(config, dict):
        raise EngineError(f"{path}: got {type(config).__name__}, expected an object. Copy it again.")
    return config


def positions_of(config: Any) -> int | None:
    """Returns the longest input that a model's configuration allows, in tokens; None where it sets no limit, as Bloom's."""
    text = config.get_text_config()
    found = getattr(text, "max_position_embeddings", None) or getattr(text, "max_seq_len", None)
    return None if found is None else int(found)


def vocabulary_of(config: Any) -> int | None:
    """Returns how many ids a model reads and writes, by its configuration; None where that doesn't say."""
    found = getattr(config.get_text_config(), "vocab_size", None)
    return None if found is None else int(found)


def load_full_model(checkpoint: Path, dtype: torch.dtype, quantize: bool = False) -> PreTrainedModel:
    """Loads a full causal language model from safetensors, without network, pickle or remote code.

    Args:
        checkpoint: its directory.
        dtype: type of the weights.
        quantize: holds linear layers in 4-bit NormalFloat on the GPU and computes with them in bf16 (arXiv:2305.14314).

    Raises:
        EngineError: files are missing, of another format, or not a causal language model, or the weights aren't whole.
    """
    _require_language_model(checkpoint)
    require_finite(checkpoint)
    model, report = _loaded(
        _class_of(checkpoint), checkpoint, dtype=dtype, **(_four_bits() if quantize else {})
    )
    require_all_tensors(checkpoint, report)
    return model


def require_sound(checkpoint: Path) -> None:
    """Checks a full model's files without holding it: its configuration, each tensor's name and shape, and its numbers.

    A quantized one is left to the engine that runs it, since reading it may need that engine's packages.

    Raises:
        EngineError: as `load_full_model` and `load_reward_model`.
    """
    require_finite(checkpoint)
    if "quantization_config" in read_config(checkpoint):
        return
    if is_reward_model(checkpoint):
        _load_reward_model(checkpoint, device_map={"": "meta"})
        return
    _require_language_model(checkpoint)
    _, report = _loaded(_class_of(checkpoint), checkpoint, device_map={"": "meta"})
    require_all_tensors(checkpoint, report)


def _require_language_model(checkpoint: Path) -> None:
    _require(checkpoint, "config.json", "*.safetensors")
    config = read_config(checkpoint)
    if (checkpoint / GENERATION_CONFIG).is_file():  # transformers treats a damaged one as missing
        _read_object(checkpoint / GENERATION_CONFIG)
    if is_reward_model(checkpoint):
        raise EngineError(
            f"{checkpoint}: got a reward model, expected a language model: it scores texts and writes none. "
            "Name a checkpoint that sft, dpo, kto or pretrain made."
        )
    if config.get("is_encoder_decoder"):
        raise EngineError(
            f"{checkpoint}: got an encoder-decoder ({config.get('model_type')}), expected a decoder that continues its prompt, "
            "such as Llama. Take one of that kind."
        )


def _class_of(checkpoint: Path) -> Any:
    """Returns the class that loads a language model: one of texts alone where there is one, else one that sees pictures."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TEXTS
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES as PICTURES

    kind = read_config(checkpoint).get("model_type")
    return AutoModelForImageTextToText if kind in PICTURES and kind not in TEXTS else AutoModelForCausalLM


def _loaded(auto: Any, checkpoint: Path, **settings: Any) -> tuple[PreTrainedModel, Mapping[str, Any]]:
    """Loads a model; returns it and the tensors that differed from the files."""
    try:
        with quiet(), without_report():
            found: tuple[PreTrainedModel, Mapping[str, Any]] = auto.from_pretrained(
                str(checkpoint),
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                **settings,
            )
    except foreign_errors() as error:
        raise EngineError(
            f"{checkpoint}: the model cannot be loaded: {loading_error(error)}. Expected one that {auto.__name__} reads "
            "without remote code. Copy it again, or write it again with save_pretrained."
        ) from error
    return found


def _four_bits() -> dict[str, Any]:
    import torch
    from transformers import BitsAndBytesConfig

    config = cast(Any, BitsAndBytesConfig)(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": config, "device_map": {"": torch.cuda.current_device()}}


def is_reward_model(checkpoint: Path) -> bool:
    """Tells whether a checkpoint directory holds a model with a head that gives one number for a text."""
    names = read_config(checkpoint).get("architectures") if (checkpoint / "config.json").is_file() else None
    return any(str(name).endswith("ForSequenceClassification") for name in names or [])


def load_reward_model(checkpoint: Path, dtype: torch.dtype, pad_id: int) -> PreTrainedModel:
    """Loads a model that gives one number for a text; a language model gets a random head from torch's generator.

    Args:
        checkpoint: directory of a full model.
        dtype: type of the weights.
        pad_id: the padding token; the number is read at the last token that is not padding.

    Raises:
        EngineError: an adapter, missing files, an architecture without such a head, or weights that aren't whole.
    """
    if is_adapter(checkpoint):
        raise EngineError(
            f"{checkpoint}: got a LoRA adapter, expected a full model. Start the reward model from one."
        )
    _require(checkpoint, "config.json", "*.safetensors")
    require_finite(checkpoint)
    model = _load_reward_model(checkpoint, dtype=dtype)
    model.config.get_text_config().pad_token_id = pad_id
    return model


def _load_reward_model(checkpoint: Path, **settings: Any) -> PreTrainedModel:
    from transformers import AutoModelForSequenceClassification

    model, report = _loaded(AutoModelForSequenceClassification, checkpoint, num_labels=1, **settings)
    require_all_tensors(
        checkpoint, report, None if is_reward_model(checkpoint) else f"{model.base_model_prefix}."
    )
    return model


def load_adapted_model(
    adapter: Path, base: Path | None, dtype: torch.dtype, trainable: bool, quantize: bool = False
) -> PeftModel:
    """Loads the base model with the adapter on it, as two: nothing is merged.

    Args:
        adapter: directory of the PEFT adapter.
        base: directory of the full model that the adapter was trained on.
        dtype: type of the base weights; the adapter's stay as they are stored.
        trainable: whether the adapter's weights get gradients.
        quantize: holds the base in 4 bits, as in `load_full_model`.

    Raises:
        EngineError: `base` is missing or is itself an adapter, files are missing, shapes do not fit, or weights aren't whole.
    """
    require_peft()
    from peft import PeftModel

    _require(adapter, ADAPTER_CONFIG, ADAPTER_WEIGHTS)
    model = load_full_model(require_base(adapter, base), dtype, quantize)
    require_finite(adapter, ADAPTER_WEIGHTS)
    try:
        with quiet():
            warnings.filterwarnings("ignore", "Found missing adapter keys", UserWarning)
            adapted = PeftModel.from_pretrained(cast(Any, model), str(adapter), is_trainable=trainable)
    except foreign_errors() as error:
        raise EngineError(
            f"{adapter}: the adapter does not fit its base {base}: {loading_error(error)}. Expected the base it was trained on. "
            "Pass that one."
        ) from error
    require_all_factors(adapter, adapter / ADAPTER_WEIGHTS, adapted)
    return adapted


def require_peft() -> None:
    """Checks that PEFT, which only adapters need, is installed.

    Raises:
        EngineError: it is not.
    """
    if find_spec("peft") is None:
        raise EngineError(
            "a LoRA adapter needs the package peft, which is not installed. Run: pip install 'lineal[lora]'"
        )


def require_base(adapter: Path, base: Path | None) -> Path:
    """Returns the checked base directory of an adapter.

    Raises:
        EngineError: there is none, or it is an adapter too.
    """
    if base is None:
        raise EngineError(
            f"{adapter}: got a LoRA adapter without its base model, expected both. "
            "Pass base= the checkpoint directory that it was trained on."
        )
    if is_adapter(base):
        raise EngineError(
            f"{base}: got an adapter as the base of {adapter}, expected a full model. Pass the full model under it."
        )
    return base


def write_full_model(
    model: PreTrainedModel, output: Path, state: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Writes weights and config; the bytes depend on the model alone, not on paths or time.

    The config gets `use_cache: true`, which training had switched off.

    Args:
        model: the model.
        output: directory to write.
        state: its weights, where processes share them and the model has only a part.
    """
    output.mkdir(parents=True, exist_ok=True)
    model.config.use_cache = True
    with quiet():
        model.save_pretrained(str(output), state_dict=None if state is None else dict(state))


def write_adapter(model: PeftModel, output: Path, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Writes an adapter's weights and config, and no model card.

    The config names no base model: a path would differ between machines, so the caller keeps track of it.

    Args:
        model: the adapted model.
        output: directory to write.
        state: all its weights, where processes share them and the model has only a part.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    output.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(cast(Any, model), state_dict=state, save_embedding_layers=False)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(weights.items())}
    save_file(contiguous, str(output / ADAPTER_WEIGHTS), metadata={"format": "pt"})
    config = _plain(model.peft_config["default"].to_dict())
    config |= {"base_model_name_or_path": None, "inference_mode": True}
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False)
    (output / ADAPTER_CONFIG).write_text(text + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    # PEFT keeps module names in sets of strings, whose order changes with every interpreter start.
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return getattr(value, "value", value)


def _require(directory: Path, *patterns: str) -> None:
    missing = [pattern for pattern in patterns if not any(directory.glob(pattern))]
    if missing:
        found = sorted(path.name for path in directory.glob("*"))
        raise EngineError(
            f"{directory}: {', '.join(missing)} missing, got {found}. Expected a checkpoint in safetensors "
            "(pickle files are not read). Write one with save_pretrained, or correct the path."
        )
