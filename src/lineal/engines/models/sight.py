"""The pictures of a prompt as a model is given them: tokens in their places before the text, and their pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from lineal.data.conversations import Prompt, short
from lineal.data.media import Pictures
from lineal.engines.models.checkpoints import PROCESSOR_FILES, read_config, sees_pictures
from lineal.engines.models.loading_errors import foreign_errors, loading_error
from lineal.errors import EngineError

if TYPE_CHECKING:
    import torch

SHOWN = "shown"
"""A column of prepared rows: the digests of a row's pictures. Not `images`, which TRL would take for pictures to prepare."""
PIXELS = ("pixel_values", "pixel_attention_mask")
"""The values that a model is given of pictures, beside the ids."""
CACHED = 1 << 12
"""Pictures whose pixels stay in memory."""
BACKEND = "pil"
"""Torchvision resizes to other pixels; where it is installed, transformers would take it."""

Images = tuple[str, ...]
"""The digests of the pictures of one prompt, in order."""
Encoded = tuple[list[int], list[int]]
"""The ids of a prompt, and those of a completion."""


class Showing(Protocol):
    """A training row: its prompt, and the pictures that stand before it."""

    @property
    def prompt(self) -> Prompt: ...
    @property
    def images(self) -> Images: ...


class Sight:
    """Shows a model the pictures of its prompts. They stand before the text, after the token that begins one.

    Attributes:
        never: ids that stand for pictures, which a completion cannot hold.

    Args:
        checkpoint: directory of a full vision-language model.
        pictures: where the digests are looked up.

    Raises:
        EngineError: the model sees no pictures, or its processor cannot be loaded.
    """

    def __init__(self, checkpoint: Path, pictures: Pictures) -> None:
        _require_eyes(checkpoint)
        self._pictures = pictures
        self._processor = _processor(checkpoint)
        self._block = self._ids_of_a_picture()
        self._begins = self._processor.tokenizer.bos_token_id
        self.never = [int(self._processor.image_token_id)]
        self._seen: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()

    def placed(self, prompt: Prompt, ids: Sequence[int], images: Images, chat: bool) -> list[int]:
        """Returns a prompt's ids with those of its pictures before the text.

        Raises:
            EngineError: the prompt is a conversation.
        """
        if images and (chat or not isinstance(prompt, str)):
            raise EngineError(
                f"prompt {short(prompt)}: got pictures in a conversation, expected a text: pictures in chat templates are not "
                "supported yet. Set chat: false, and no system"
            )
        begins = 1 if ids and ids[0] == self._begins else 0
        return [*ids[:begins], *self._block * len(images), *ids[begins:]]

    def placed_pairs(self, rows: Sequence[Showing], encoded: Sequence[Encoded], chat: bool) -> list[Encoded]:
        """Returns the pairs of ids of some rows with those of their pictures before the prompts' texts."""
        pairs = zip(rows, encoded, strict=True)
        return [(self.placed(row.prompt, ids, row.images, chat), answer) for row, (ids, answer) in pairs]

    def pixels(self, rows: Sequence[Images]) -> dict[str, torch.Tensor]:
        """Returns what the model is given beside the ids of some rows; a row with fewer pictures than another is padded.

        Returns:
            `pixel_values` (rows, pictures, 3, height, width) and `pixel_attention_mask`; nothing where no row has a picture.
        """
        import torch

        most = max(map(len, rows), default=0)
        if not most:
            return {}
        shown = [[self._shown(digest) for digest in images] for images in rows]
        blank = {
            name: torch.zeros_like(value) for name, value in next(one for row in shown for one in row).items()
        }
        padded = [[*row, *[blank] * (most - len(row))] for row in shown]
        return {
            name: torch.stack([torch.stack([one[name] for one in row]) for row in padded]) for name in blank
        }

    def _shown(self, digest: str) -> dict[str, torch.Tensor]:
        """Returns the pixels of one picture, made for it alone, whatever pictures are beside it."""
        if digest not in self._seen:
            found = self._processor.image_processor([[self._pictures.decoded(digest)]], return_tensors="pt")
            self._seen[digest] = {name: found[name][0, 0] for name in PIXELS}
            if len(self._seen) > CACHED:
                self._seen.popitem(last=False)
        return self._seen[digest]

    def _ids_of_a_picture(self) -> list[int]:
        from PIL import Image

        blank, token = Image.new("RGB", (8, 8)), self._processor.image_token
        found = self._processor(text=[token], images=[[blank]], add_special_tokens=False)["input_ids"][0]
        return list(cast("list[int]", found))


def sight_of(checkpoint: Path, base: Path | None, pictures: Pictures | None) -> Sight | None:
    """Returns what shows a checkpoint its pictures; None where there are none. `base` is the full model under an adapter."""
    return None if pictures is None else Sight(base or checkpoint, pictures)


def _require_eyes(checkpoint: Path) -> None:
    if find_spec("PIL") is None:
        raise EngineError(
            "pictures need the package pillow, which is not installed. Run: pip install 'lineal[vision]'"
        )
    kind = read_config(checkpoint).get("model_type")
    if not sees_pictures(checkpoint):
        raise EngineError(
            f"{checkpoint}: got prompts with pictures for a model of texts ({kind}), expected one that sees. Take a "
            "vision-language model, such as one that pretrain makes with vision: {...}"
        )
    if kind != "idefics3":
        raise EngineError(
            f"{checkpoint}: got a vision-language model of the kind {kind}, expected idefics3: no other kind was tried. "
            "Take such a one, or leave the pictures out"
        )


def _processor(checkpoint: Path) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor

    try:
        found = cast(Any, AutoProcessor).from_pretrained(
            str(checkpoint), local_files_only=True, trust_remote_code=False
        )
        found.image_processor = cast(Any, AutoImageProcessor).from_pretrained(
            str(checkpoint), local_files_only=True, trust_remote_code=False, backend=BACKEND
        )
    except foreign_errors() as error:
        raise EngineError(
            f"{checkpoint}: the processor of pictures cannot be loaded: {loading_error(error)}. Expected {PROCESSOR_FILES[0]}. "
            "Copy the model's files again"
        ) from error
    if getattr(found.image_processor, "do_image_splitting", False):
        raise EngineError(
            f"{checkpoint}: its processor splits a picture into several (do_image_splitting), expected it whole: splitting is "
            "not supported yet. Set it to false in the processor's file, if the model was trained so"
        )
    return found
