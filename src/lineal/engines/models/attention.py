"""Attention of one new token on the CPU, whose bits don't depend on a row's place in the batch.

torch's fused CPU kernel gives each thread a scratch buffer, and where that buffer begins depends on the number of keys;
MKL then adds up in another order on some processors. Measured on an AMD EPYC, 128 rows: half of the rows changed
their last bits when they moved from one thread's half of the batch to the other's. Plain batched products did
not, for any number of keys, and took 0.20 ms where the fused kernel took 0.24. Prompts are padded to a multiple of 8
tokens, which keeps those buffers aligned, so the fused kernel stays in use there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NAME = "lineal_rows"


def use_row_stable_attention(model: PreTrainedModel) -> None:
    """Gives a model on the CPU that runs torch's fused attention this row-stable one; others stay unchanged."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    if model.device.type != "cpu" or model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Computes attention as (rows, tokens, heads, size), from states (rows, heads, tokens, size) and a mask."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    per_head = attention_mask is not None and attention_mask.shape[1] != 1
    if query.shape[2] != 1 or per_head or settings.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **settings)
    rows, heads, _, size = query.shape
    shared = key.shape[1]  # of grouped-query attention: heads that share keys stand together as queries
    grouped = query.reshape(rows, shared, heads // shared, size)
    scores = (grouped @ key.transpose(2, 3)) * (size**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = _masked(scores, attention_mask)
    attended = scores.softmax(-1) @ value
    return attended.reshape(rows, 1, heads, value.shape[-1]), None


def _masked(scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    import torch

    return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
