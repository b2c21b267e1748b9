"""Pictures as files have them: what is taken, what is refused and why, and the pixels that a model is shown."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lineal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_BYTES = 1 << 25
MOST_PIXELS = 1 << 25
"""33 million, as of 8K: more is refused before it is decoded."""
MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
"""The formats that are read, by Pillow's names."""
ENDINGS = {mime: f".{name.lower()}" for name, mime in MIMES.items()}
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
_ORIENTATION, _UPRIGHT = 0x0112, 1
_PNG_DEPTH = 24
"""The place of the bit depth in a PNG: Pillow reads 16 bits of a colour as 8 without a word."""


@dataclass(frozen=True)
class Picture:
    """One picture file.

    Attributes:
        sha256: the digest of its bytes, in hex digits: its name in rows.
        mime: `image/png` or another of `MIMES`.
        width, height: in pixels.
        data: its bytes, as they came.
    """

    sha256: str
    mime: str
    width: int
    height: int
    data: bytes


def checked_picture(where: str, data: bytes) -> Picture:
    """Decodes a picture once, so that no later step meets one that it cannot show a model.

    Args:
        where: the row and column, for messages.
        data: the file's bytes.

    Raises:
        DataError: it is broken, animated, too large, or would look different to different readers.
    """
    if len(data) > MOST_BYTES:
        raise DataError(f"{where} has {len(data):,} bytes, more than {MOST_BYTES:,}. Scale the picture down")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mime, size = _examined(where, data)
    except DataError:
        raise
    except Exception as error:  # whatever the decoders raise, or warn of
        told = "its format is none of these" if type(error).__name__ == "UnidentifiedImageError" else error
        expected = f"expected one of {', '.join(MIMES)}"
        raise DataError(
            f"{where} is no picture that can be read ({told}), {expected}. Save it again, or leave it out"
        ) from error
    return Picture(hashlib.sha256(data).hexdigest(), mime, *size, data)


def _examined(where: str, data: bytes) -> tuple[str, tuple[int, int]]:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=tuple(MIMES)) as image:
        name = "JPEG" if image.format == "MPO" else str(image.format)
        _require_usable(where, image, data, name)
        image.load()
        if _transparent(image):
            raise DataError(
                f"{where} is transparent in places, and a model is shown colours alone. Put it on a background"
            )
        return MIMES[name], image.size


def _require_usable(where: str, image: Image, data: bytes, name: str) -> None:
    """Refuses by the header alone, before anything is decoded."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise DataError(
            f"{where} has {width:,} x {height:,} pixels, more than {MOST_PIXELS:,} in all. Scale the picture down"
        )
    if (frames := getattr(image, "n_frames", 1)) != 1:
        raise DataError(
            f"{where} holds {frames} pictures (is it animated?), expected one. Save the one that is meant"
        )
    if image.mode not in _MODES or (name == "PNG" and data[_PNG_DEPTH] > 8):
        depth = f", {data[_PNG_DEPTH]} bits a colour" if name == "PNG" else ""
        got = f"has the colours {image.mode}{depth}"
        raise DataError(
            f"{where} {got}, expected 8 bits of grey or of red, green and blue. Convert it to RGB"
        )
    turned = image.getexif().get(_ORIENTATION, _UPRIGHT)
    if turned != _UPRIGHT:
        got = f"is turned by its EXIF orientation ({turned}), which some readers follow and others don't"
        raise DataError(f"{where} {got}. Save it upright, without that tag")


def _transparent(image: Image) -> bool:
    if "A" not in image.getbands() and "transparency" not in image.info:
        return False
    lowest = image.convert("RGBA").getchannel("A").getextrema()[0]
    return isinstance(lowest, int | float) and lowest < 255


def decoded(data: bytes) -> Image:
    """Returns the pixels of a picture that `checked_picture` took, in red, green and blue."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=tuple(MIMES)) as image:
        return image.convert("RGB")
