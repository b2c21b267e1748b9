"""The pool of GPUs: no two processes ever hold the same one. Names stand for GPUs; no GPU is needed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from lineal.errors import MachineError
from lineal.recipe.compute import Compute
from lineal.step.gpus import Gpu, hide_gpus, hold_gpus, installed_gpus, pool_of, release_gpus

LISTED = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa-0)
GPU 1: NVIDIA A100 (UUID: GPU-bbbb-1)
  MIG 3g.40gb     Device  0: (UUID: MIG-cccc-0)
  MIG 3g.40gb     Device  1: (UUID: MIG-dddd-1)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-eeee-2)
"""
HOLDER = """\
import json, os, sys, time
from pathlib import Path
from lineal.step.gpus import Gpu, hold_gpus

names, count, seconds, place = sys.argv[1].split(","), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
hold_gpus([Gpu(name, name) for name in names], count, f"step {sys.argv[5]}", lambda line: print(line, flush=True))
seen, start = os.environ["CUDA_VISIBLE_DEVICES"].split(","), time.monotonic()
for name in seen:
    (place / f"{name}.busy").touch(exist_ok=False)  # fails if somebody else is at work on it
print("holds", json.dumps(seen), flush=True)
time.sleep(seconds)
for name in seen:
    (place / f"{name}.busy").unlink()
(place / f"{sys.argv[5]}.done").write_text(json.dumps([seen, start, time.monotonic()]))
"""


@pytest.fixture(autouse=True)
def _own_locks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield
    release_gpus()


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A machine with GPUs, as far as `nvidia-smi -L` tells."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntest \"$1\" = -L && cat <<'END'\n{LISTED}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def start(place, names, count, seconds, name):
    command = [sys.executable, "-c", HOLDER, names, str(count), str(seconds), str(place), name]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


def names_of(pool):
    return [gpu.name for gpu in pool]


def test_hold_gpus_by_many_processes_at_once_never_shares_one(tmp_path):
    counts = [1, 2, 1, 3, 1, 2]
    holders = [start(tmp_path, "a,b,c", count, 0.1, str(index)) for index, count in enumerate(counts)]
    said = [holder.communicate(timeout=60)[0] for holder in holders]
    assert [holder.returncode for holder in holders] == [0] * len(counts), said
    held = [json.loads((tmp_path / f"{index}.done").read_text()) for index in range(len(counts))]
    assert [len(seen) for seen, _, _ in held] == counts
    spans = [(name, start, end) for seen, start, end in held for name in seen]
    for name in "abc":
        own = sorted((start, end) for other, start, end in spans if other == name)
        assert all(end <= begin for (_, end), (begin, _) in zip(own, own[1:], strict=False)), own
    assert {name for name, _, _ in spans} == set("abc")


def test_hold_gpus_after_its_holder_was_killed_gets_the_gpu(tmp_path):
    killed = start(tmp_path, "a", 1, 60, "killed")
    assert killed.stdout.readline() == 'holds ["a"]\n'
    waiter = start(tmp_path, "a", 1, 0, "waiter")
    line = waiter.stdout.readline()
    assert line == f"step waiter waits for 1 of 1 GPU: a last went to process {killed.pid} (step killed)\n"
    (tmp_path / "a.busy").unlink()
    killed.send_signal(signal.SIGKILL)
    said = waiter.communicate(timeout=30)[0]
    killed.communicate()
    assert waiter.returncode == 0
    assert said.startswith("step waiter has GPU a after ") and said.endswith('holds ["a"]\n')


def test_hold_gpus_is_kept_until_the_process_ends_and_given_back_when_it_takes_anew(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    pool = [Gpu("0", "u0"), Gpu("1", "u1")]
    assert hold_gpus(pool, 2, "first", pytest.fail) == ["0", "1"]
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["CUDA_DEVICE_ORDER"]) == ("0,1", "PCI_BUS_ID")
    assert hold_gpus(pool, 1, "second", pytest.fail) == ["0"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    hide_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    release_gpus()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7" and "CUDA_DEVICE_ORDER" not in os.environ


def test_hold_gpus_lets_every_user_lock(tmp_path):
    hold_gpus([Gpu("0", "u0")], 1, "mine", pytest.fail)
    directory = tmp_path / "lineal-gpus"
    assert directory.stat().st_mode & 0o7777 == 0o1777
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o666}


def test_installed_gpus_has_slices_in_the_place_of_the_gpu_they_cut(nvidia_smi):
    assert names_of(installed_gpus()) == ["0", "MIG-cccc-0", "MIG-dddd-1", "2"]


def test_pool_of_a_machine_without_nvidia_smi_is_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pool_of(Compute()) == []


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["0", "MIG-cccc-0", "MIG-dddd-1", "2"]),
        ("2,0", ["2", "0"]),
        ("GPU-eeee,MIG-dddd-1", ["2", "MIG-dddd-1"]),
        ("", []),
        ("-1", []),
        ("9", []),
    ],
)
def test_pool_of_auto_is_what_is_visible(nvidia_smi, monkeypatch, visible, expected):
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert names_of(pool_of(Compute())) == expected


def test_pool_of_a_list_is_checked_unless_models_run_on_the_processor(nvidia_smi):
    assert names_of(pool_of(Compute(gpus=[2, "GPU-aaaa-0"]))) == ["2", "0"]
    assert names_of(pool_of(Compute(device="cpu", gpus=["x", "y"]))) == ["x", "y"]
    with pytest.raises(
        MachineError, match=r"compute.gpus .*names GPU 7, and this machine has 0, MIG-cccc-0, MIG-dddd-1, 2 "
    ):
        pool_of(Compute(gpus=[0, 7]))
