"""Dagster's databases are made once, whole, by whoever comes first."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg

from lineal.orchestrate.dagster_databases import DIRECTORIES, make_databases

TOGETHER = 4
MAKE = "import sys; from pathlib import Path; from lineal.orchestrate.dagster_databases import make_databases as make; "
WAIT = "print('ready', flush=True); sys.stdin.readline(); make(Path(sys.argv[1]))"


def test_databases_made_by_several_at_once_open_afterwards(tmp_path, monkeypatch):
    command = [sys.executable, "-c", MAKE + WAIT, str(tmp_path)]
    makers = [
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(TOGETHER)
    ]
    assert [maker.stdout.readline() for maker in makers] == ["ready\n"] * TOGETHER
    for maker in makers:
        maker.stdin.write("go\n")
        maker.stdin.flush()
    for maker in makers:
        maker.communicate(timeout=120)
    assert [maker.returncode for maker in makers] == [0] * TOGETHER
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs() == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == sorted(DIRECTORIES)


def test_databases_half_made_are_completed(tmp_path):
    make_databases(tmp_path)
    runs = (tmp_path / "history" / "runs.db").stat().st_ino
    (tmp_path / "schedules").rename(tmp_path.with_name("gone"))
    make_databases(tmp_path)
    assert (tmp_path / "schedules" / "schedules.db").exists()
    assert (tmp_path / "history" / "runs.db").stat().st_ino == runs


def test_databases_kept_elsewhere_are_left_alone(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {elsewhere}\n")
    make_databases(tmp_path)
    assert not any((tmp_path / name).exists() for name in DIRECTORIES)
