"""Components of other packages: what an entry point that cannot be used says."""

import pytest

from lineal.components.registry import Registry, _outside


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a package that adds the component `theirs` from a module that is not there."""
    metadata = tmp_path / "their_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[lineal.components]\ntheirs = their_package_that_is_gone:Theirs\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _outside.cache_clear()
    yield
    _outside.cache_clear()


def test_component_whose_package_cannot_be_imported_names_its_entry_point(package):
    with pytest.raises(KeyError, match="'theirs' cannot be loaded from the entry point .*: No module named 'their_package_that"):
        Registry().find("theirs")


def test_unknown_component_may_be_of_a_package_that_is_not_installed():
    with pytest.raises(KeyError, match=r"unknown component 'theirs'.*entry points 'lineal.components'\), install that package"):
        Registry().find("theirs")
