"""The pictures of the report's rows, small enough to stand inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec

from lineal.audit.catalog import Catalog
from lineal.audit.media import pictures_of
from lineal.data.pictures import Picture, decoded
from lineal.errors import ArtifactError

MOST_BYTES = 1 << 14
"""A file of up to so many bytes stands in the page as it is."""
SIDE = 160
"""The longest side of a larger one's thumbnail, in pixels."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture as the page shows it.

    Attributes:
        source: its address, which holds its bytes; empty where it cannot be made smaller here.
        told: its size, and the beginning of its digest.
    """

    source: str
    told: str


def thumbnails_of(catalog: Catalog, shown: Iterable[tuple[str, list[str]]]) -> dict[str, Thumbnail]:
    """Returns thumbnails by digest; pictures whose packs are not here are left out.

    Args:
        catalog: the project's artifacts.
        shown: keys of artifacts, and digests that their rows name.
    """
    found: dict[str, Thumbnail] = {}
    for key, digests in shown:
        try:
            pictures = pictures_of(catalog, catalog.artifacts[key])
        except ArtifactError:
            continue
        found |= {one: _thumbnail(pictures[one]) for one in digests if one not in found and one in pictures}
    return found


def _thumbnail(picture: Picture) -> Thumbnail:
    told = f"{picture.width} x {picture.height} pixels, {picture.sha256[:12]}"
    if len(picture.data) <= MOST_BYTES:
        return Thumbnail(_address(picture.mime, picture.data), told)
    return Thumbnail(_smaller(picture) if find_spec("PIL") else "", told)


def _smaller(picture: Picture) -> str:
    stream, image = io.BytesIO(), decoded(picture.data)
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "PNG")
    return _address("image/png", stream.getvalue())


def _address(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"
