"""Small vision-language models from random weights: an Idefics3 with one token per character."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

PICTURE_TOKENS = ("<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>")
"""The control tokens that Idefics3 puts around and in place of pictures."""


@dataclass(frozen=True)
class VisionShape:
    """The shape of the part that sees.

    Attributes:
        pixels: on a picture's side; others are scaled to it.
        patch: pixels on the side of a patch.
        merge: patches on the side of a square that becomes one token.
        hidden_size, layers, heads, intermediate_size: of the encoder.
    """

    pixels: int
    patch: int
    merge: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int

    @property
    def tokens(self) -> int:
        """The tokens of one picture, without those around it."""
        return (self.pixels // self.patch) ** 2 // self.merge**2


def with_picture_tokens(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Returns the tokenizer with the control tokens of pictures."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(PICTURE_TOKENS)})
    return tokenizer


def processor_of(tokenizer: PreTrainedTokenizerFast, shape: VisionShape) -> Any:
    """Makes the processor of pictures and texts: every picture becomes a square of `pixels`, whole."""
    from transformers import Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    side = {"longest_edge": shape.pixels}
    images = cast(Any, Idefics3ImageProcessorPil)(do_image_splitting=False, size=side, max_image_size=side)
    made = cast(Any, Idefics3Processor)(images, tokenizer, image_seq_len=shape.tokens)
    with_picture_tokens(
        made.tokenizer
    )  # the processor's own list of control tokens, which replaced this one, lacks `<global-img>`
    return made


def vision_language_model(
    text: LlamaConfig, tokenizer: PreTrainedTokenizerFast, shape: VisionShape
) -> PreTrainedModel:
    """Makes the model, with random weights from torch's generator."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    vision = {
        "image_size": shape.pixels,
        "patch_size": shape.patch,
        "hidden_size": shape.hidden_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate_size,
    }
    config = cast(Any, Idefics3Config)(
        text_config=text.to_dict(),
        vision_config=vision,
        scale_factor=shape.merge,
        dtype="float32",
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=text.tie_word_embeddings,
    )
    return cast("PreTrainedModel", Idefics3ForConditionalGeneration(config))
