"""Checks that a checkpoint is whole: each tensor of the model is there, in the model's shape, and finite throughout.

Transformers and PEFT fill what is missing with random numbers and leave out what they don't know; both only warn.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lineal.engines.models.loading_errors import loading_error
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel

FLOATING = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
MOST_NAMES = 5


def require_finite(directory: Path, pattern: str = "*.safetensors") -> None:
    """Checks every floating-point tensor of a checkpoint's files.

    Raises:
        EngineError: one holds NaN or infinity, or a file cannot be read.
    """
    for path in sorted(directory.glob(pattern)):
        for name, tensor in _tensors(path):
            if not _is_finite(tensor):
                broken = int((~tensor.float().isfinite()).sum())
                raise EngineError(
                    f"{path}: {name} holds {broken:,} of {tensor.numel():,} numbers that are not finite, expected none. "
                    "Make the checkpoint again, or take an earlier one."
                )


def require_all_tensors(
    checkpoint: Path, report: Mapping[str, Collection[Any]], new_head: str | None = None
) -> None:
    """Checks transformers' report of a load (`output_loading_info`).

    Args:
        checkpoint: the directory.
        report: `missing_keys`, `unexpected_keys` and `mismatched_keys`.
        new_head: the prefix of the tensors that any model of the architecture has; the others are of
            its head, which may be another one. None: the head is the checkpoint's own.

    Raises:
        EngineError: tensors are missing, unknown or of other shapes.
    """

    def counts(name: str) -> bool:
        return new_head is None or name.startswith(new_head)

    _require_none(
        checkpoint,
        "config.json",
        [name for name in report["missing_keys"] if counts(name)],
        [name for name in report["unexpected_keys"] if counts(name)],
        [
            f"{name} {list(got)} instead of {list(expected)}"
            for name, got, expected in report["mismatched_keys"]
        ],
    )


def require_all_factors(adapter: Path, file: Path, model: PeftModel) -> None:
    """Checks that an adapter's file has the tensors of the adapter in `model`, and no others but the base's own.

    Raises:
        EngineError: some are missing, or unknown.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    expected = set(get_peft_model_state_dict(cast(Any, model), save_embedding_layers=False))
    with safe_open(file, framework="pt") as tensors:
        got = set(tensors.keys())
    unknown = got - expected - set(model.state_dict())
    _require_none(adapter, "adapter_config.json and the base", expected - got, unknown, [])


@contextmanager
def without_report() -> Iterator[None]:
    """Silences transformers' own report, which `require_all_tensors` replaces."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addFilter(_is_no_report)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_report)


def _is_no_report(record: logging.LogRecord) -> bool:
    return "LOAD REPORT" not in record.getMessage() and "checkpoint seem corrupted" not in record.getMessage()


def _require_none(
    checkpoint: Path,
    described: str,
    missing: Collection[str],
    unknown: Collection[str],
    misshapen: Collection[str],
) -> None:
    faults = {"missing": missing, "not the model's": unknown, "of another shape": misshapen}
    found = [f"{len(names):,} {fault} ({_some(names)})" for fault, names in faults.items() if names]
    if found:
        raise EngineError(
            f"{checkpoint}: tensors in its safetensors: {', '.join(found)}, expected those of the model that {described} "
            "describes, no more and no less. Copy the checkpoint again, or correct its configuration."
        )


def _some(names: Collection[str]) -> str:
    listed = ", ".join(sorted(names)[:MOST_NAMES])
    return listed if len(names) <= MOST_NAMES else f"{listed}, ..."


def _tensors(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                if file.get_slice(name).get_dtype() in FLOATING:
                    yield name, file.get_tensor(name)
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"{path} is half-written or damaged: {loading_error(error)}. Copy it again."
        ) from error


def _is_finite(tensor: torch.Tensor) -> bool:
    """Tells whether all values are finite, by their sum: that takes a thirtieth of the time of checking each."""
    wide = tensor.float() if tensor.itemsize == 1 else tensor
    return bool(wide.sum().isfinite()) or bool(wide.isfinite().all())
