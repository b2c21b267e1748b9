"""Fixtures of several test files."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lineal.recipe.plugins import outside

Install = Callable[..., None]


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A directory that modules are imported from."""
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    return path


@pytest.fixture
def install(site) -> Install:
    """Installs a package with entry points of a group into `site`, as pip would; another version replaces it."""

    def add(group: str, package: str, version: str = "1.0", **points: str) -> None:
        for old in site.glob(f"{package}-*.dist-info"):
            shutil.rmtree(old)
        metadata = site / f"{package}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        importlib.invalidate_caches()  # directories' times are coarser than two looks at them
        outside.cache_clear()

    yield add
    outside.cache_clear()
