"""A file is replaced whole, or stays as it was."""

import pytest

from lineal.recipe.whole_files import write_whole, written_whole


def test_text_takes_the_old_ones_place_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    write_whole(path, "ü")
    assert path.read_bytes() == "ü".encode() and list(tmp_path.iterdir()) == [path]


def test_file_stays_as_it_was_where_writing_fails(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, "old")
    with pytest.raises(OSError, match="full"), written_whole(path) as temporary:
        temporary.write_text("half")
        raise OSError("full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
