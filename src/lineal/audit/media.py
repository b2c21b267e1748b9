"""The artifacts that hold the pictures of some rows, found through the manifests."""

from __future__ import annotations

from collections.abc import Iterator

from lineal.audit.catalog import Catalog, main_key
from lineal.audit.keys import require_here
from lineal.data.media import IMAGES, MEDIA, Pictures
from lineal.data.store import Artifact
from lineal.plan import artifact_key


def pictures_of(catalog: Catalog, artifact: Artifact) -> Pictures:
    """Opens the pictures that an artifact's rows name.

    Raises:
        ArtifactError: they are not here.
    """
    return Pictures([require_here(one) for one in media_of(catalog, artifact)])


def media_of(catalog: Catalog, artifact: Artifact) -> list[Artifact]:
    """Returns the media of the sources that an artifact's rows come from; none where they have no pictures."""
    return list({one.digest: one for one in _media(catalog, artifact, set())}.values())


def _media(catalog: Catalog, artifact: Artifact, seen: set[str]) -> Iterator[Artifact]:
    if IMAGES not in artifact.manifest.columns or artifact.key in seen:
        return
    seen.add(artifact.key)
    beside = catalog.artifacts.get(artifact_key(main_key(artifact.key), MEDIA))
    if beside is not None and beside.manifest.identity == artifact.manifest.identity:
        yield beside
        return
    for link in catalog.links(artifact):
        if link.artifact is not None:
            yield from _media(catalog, link.artifact, seen)
