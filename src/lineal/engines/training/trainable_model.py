"""The model that a training starts from: full weights, a new adapter on them, or an adapter to train further."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lineal.engines.models.checkpoints import (
    ADAPTER_CONFIG,
    is_adapter,
    load_adapted_model,
    load_full_model,
    quiet,
    require_peft,
)
from lineal.engines.models.self_test import require_causal
from lineal.errors import EngineError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from lineal.engines.training.settings import LoraSettings, TrainingSettings


def trainable_model(init: Path, base: Path | None, settings: TrainingSettings) -> PreTrainedModel | PeftModel:
    """Loads the model to train, in fp32, or with its base in 4 bits where `settings.lora` says so.

    Raises:
        EngineError: `init` does not fit `settings`, files are missing, or the model looks ahead in a text.
    """
    import torch

    quantize = settings.lora is not None and settings.lora.quantize is not None
    if is_adapter(init):
        _require_same_adapter(init, settings.lora)
        adapted = load_adapted_model(init, base, torch.float32, trainable=True, quantize=quantize)
        _require_same_layers(adapted, init, cast("LoraSettings", settings.lora))
        require_causal(adapted)
        return adapted
    model = load_full_model(init, torch.float32, quantize)
    require_causal(model)
    return model if settings.lora is None else _with_adapter(model, settings.lora)


def _with_adapter(model: PreTrainedModel, lora: LoraSettings) -> PeftModel:
    require_peft()
    from peft import LoraConfig, get_peft_model

    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        task_type="CAUSAL_LM",
    )
    try:
        with quiet():
            return cast("PeftModel", get_peft_model(cast(Any, model), config))
    except ValueError as error:
        raise EngineError(
            f"lora: {error}. Got target_modules {modules}, expected names of the model's linear layers. "
            "Use 'all-linear' or correct the names."
        ) from error


def _require_same_adapter(init: Path, lora: LoraSettings | None) -> None:
    stored = json.loads((init / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    got = None if lora is None else (lora.rank, lora.alpha, lora.dropout)
    expected = (stored["r"], stored["lora_alpha"], stored["lora_dropout"])
    if got != expected:
        raise EngineError(
            f"{init}: got lora (rank, alpha, dropout) {got} for an adapter made with {expected}, expected the same. "
            "Set lora to the adapter's own values, or start from a full model."
        )


def _require_same_layers(model: PeftModel, init: Path, lora: LoraSettings) -> None:
    adapted = {name for name, module in model.named_modules() if hasattr(module, "lora_A")}
    named = _named(model, lora)
    missing, extra = sorted(named - adapted), sorted(adapted - named)
    if missing or extra:
        found = f"does not sit on {missing[0]}" if missing else f"sits on {extra[0]}, too"
        raise EngineError(
            f"{init}: got lora.target_modules {lora.target_modules!r} for an adapter that {found}, expected the layers that it "
            "sits on. Set target_modules to the adapter's own, or start from a full model."
        )


def _named(model: PeftModel, lora: LoraSettings) -> set[str]:
    """Returns the modules of an adapted model that `lora` names, except modules inside an adapted one."""
    modules = {
        name: module
        for name, module in model.named_modules()
        if "lora_" not in name and not name.endswith("base_layer")
    }
    if not isinstance(lora.target_modules, str):
        return {
            name
            for name in modules
            if any(name == one or name.endswith(f".{one}") for one in lora.target_modules)
        }
    head = cast(Any, model).get_base_model().get_output_embeddings()
    return {name for name, module in modules.items() if _is_linear(module) and module is not head}


def _is_linear(module: Any) -> bool:
    import torch
    from transformers.pytorch_utils import Conv1D

    return isinstance(getattr(module, "base_layer", module), torch.nn.Linear | Conv1D)
