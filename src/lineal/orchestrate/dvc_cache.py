"""Corrupted objects in the DVC cache. DVC trusts an object that is read-only, whatever its bytes, and restores it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from dvc_data.hashfile.tree import Tree
from dvc_objects.errors import ObjectFormatError


def drop_corrupted(out: Any) -> None:
    """Removes the objects of a DVC output whose bytes are not what their names say."""
    with contextlib.suppress(ObjectFormatError, FileNotFoundError):
        directory = out.get_obj()
        if isinstance(directory, Tree):
            for _, _, hash_info in directory:
                _drop_if_corrupted(out.cache, hash_info.value)


def _drop_if_corrupted(cache: Any, oid: str) -> None:
    path = Path(cache.oid_to_path(oid))
    with contextlib.suppress(ObjectFormatError, FileNotFoundError):
        path.chmod(0o644)
        cache.check(oid)
        cache.protect(str(path))
