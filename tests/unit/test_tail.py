from __future__ import annotations

from lineal.orchestrate.tail import ProgressFile


def test_new_lines_skip_what_stood_there_and_wait_for_whole_lines(tmp_path):
    path = tmp_path / "step.progress"
    path.write_text("old\n")
    progress = ProgressFile(path)
    with path.open("a") as stream:
        stream.write("one\ntw")
        stream.flush()
        assert progress.new_lines() == ["one"]
        stream.write("o\n")
    assert progress.new_lines() == ["two"] and progress.new_lines() == []


def test_new_lines_of_a_file_made_anew_start_at_its_beginning(tmp_path):
    path = tmp_path / "step.progress"
    progress = ProgressFile(path)
    assert progress.new_lines() == []
    path.write_text("first\n")
    assert progress.new_lines() == ["first"]
    (tmp_path / "next").write_text("again, and longer\n")
    (tmp_path / "next").replace(path)
    assert progress.new_lines() == ["again, and longer"]
