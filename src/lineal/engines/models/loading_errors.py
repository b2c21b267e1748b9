"""Errors of loading a model or a tokenizer, in one line."""

from __future__ import annotations

NO_REMOTE_CODE = (
    "it needs Python code that it brings itself (auto_map in its configuration), and code out of a checkpoint is never run. "
    "Convert it to an architecture that transformers has, or choose another"
)
LONGEST = 300  # characters; PEFT names every tensor that does not fit


def foreign_errors() -> tuple[type[Exception], ...]:
    """Returns the errors of transformers, PEFT and safetensors for files that are damaged or unknown."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        ImportError,
        SafetensorError,
        StrictDataclassError,
    )


def loading_error(error: Exception) -> str:
    """Shortens the reason, without transformers' advice to trust code in a checkpoint: none is run."""
    text = str(error)
    if "trust_remote_code" in text:
        return NO_REMOTE_CODE
    if isinstance(error, ImportError):
        return f"a package that its quantization needs is not installed: {text}"
    if text.startswith("Unrecognized configuration class"):  # hundreds of names follow
        return "its architecture (model_type in config.json) is none of that kind"
    first = " ".join(text.partition("\n\n")[0].split()).rstrip(".")
    first = first if len(first) <= LONGEST else f"{first[:LONGEST]}..."
    return (
        first
        if isinstance(error, OSError | ValueError | RuntimeError)
        else f"{type(error).__name__}: {first}"
    )
