"""A model step's memory is gone when the next one starts: each has its own process, forked from a server that stays small."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lineal.step.forkserver import MODELS, TRAININGS, fork_server, modules_for
from lineal.step.gpus import installed_gpus
from lineal.step.handover import socket_of
from lineal.step.runlog import read_log

from .toy_project import make_project, plan_of

LINEAL = Path(sys.executable).with_name("lineal")
PARAMS = "seed: 0\nrounds: 1\nactive: [toy]\ncompute: {{device: {}, workers: 1}}\n"
LARGE = """\
method: Two large models
summary: Each has 33 M parameters and takes half a gigabyte to train.
tasks:
  base: {use: letter_sort, length: [2, 3], size: 8, split: train}
start:
  first:      {use: pretrain, rows: tasks.base, steps: 1, warmup: 0, hidden_size: 512, layers: 8, heads: 8,
              intermediate_size: 2048}
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1, warmup: 0, hidden_size: 512, layers: 8, heads: 8,
              intermediate_size: 2048}
round:
  checkpoint: {use: sft, init: previous.checkpoint, rows: tasks.base, target: answer, steps: 1, warmup: 0}
"""
STEPS = ("toy/start/first", "toy/start/checkpoint")
MEGABYTE = 2**20


RECORDED = """\
import torch
asked = []
for name in ("is_available", "device_count", "current_device", "get_device_capability", "get_device_properties", "_lazy_init"):
    setattr(torch.cuda, name, lambda *_, name=name: asked.append(name))
from lineal.step.forkserver import MODELS, PRELOADED, TRAININGS, preload
preload((*PRELOADED, *MODELS, *TRAININGS))
print(asked)
"""
LIGHT = """\
import sys
from lineal.step.forkserver import preload
preload()
print([name for name in ("torch", "transformers", "trl", "dagster") if name in sys.modules])
"""


def run_step(root, key):
    subprocess.run([LINEAL, "step", key], cwd=root, check=True)


def test_preload_asks_for_no_gpu_so_that_forking_is_safe(run_python):
    assert run_python(RECORDED) == "[]"


def test_steps_without_a_model_wait_for_no_import_of_torch(run_python):
    assert run_python(LIGHT) == "[]"


def test_torch_is_imported_where_a_step_needs_it_and_trl_where_one_trains(tmp_path):
    method = LARGE + "  generated:  {use: sample, model: checkpoint, prompts: tasks.base}\n"
    plan = plan_of(make_project(tmp_path / "project", method, PARAMS.format("cpu")))
    assert modules_for([]) == ()
    assert modules_for([plan.step("toy/round_01/generated")]) == MODELS
    assert modules_for([plan.step("toy/start/first")]) == (*MODELS, *TRAININGS)


def test_a_step_asks_the_server_that_has_what_it_needs(tmp_path):
    (tmp_path / "models").write_text("toy/start/first\ntoy/round_01/generated")
    address = tmp_path / "socket"
    assert socket_of(address, ["step", "toy/tasks/base"]) == str(address)
    assert socket_of(address, ["step", "toy/start/first", "--component", "pretrain@1"]) == f"{address}.models"


@pytest.mark.model
def test_memory_of_a_model_step_is_free_before_the_next_starts(tmp_path):
    root = make_project(tmp_path / "project", LARGE, PARAMS.format("cpu"))
    plan = plan_of(root)
    with fork_server(plan.steps.values(), "transformers"):
        run_step(root, "toy/tasks/base")
        ours, servers, taken, server = [psutil.Process().memory_info().rss], [], [], server_of_models()
        for key in STEPS:
            run_step(root, key)
            assert psutil.wait_procs(server.children(), timeout=30)[1] == []
            ours.append(psutil.Process().memory_info().rss)
            servers.append(server.memory_info().rss)
            taken.append(read_log(plan.project, key)["peak_memory_bytes"] - servers[0])
    assert min(taken) > 300 * MEGABYTE and max(taken) < 1.2 * min(taken), taken
    assert max(servers) - servers[0] < 32 * MEGABYTE, servers
    assert max(ours) - ours[0] < 32 * MEGABYTE, ours


@pytest.mark.gpu
@pytest.mark.model
@pytest.mark.skipif(not installed_gpus(), reason="needs a GPU: nvidia-smi -L shows none")
def test_gpu_memory_of_a_model_step_is_free_before_the_next_starts(tmp_path):
    root = make_project(tmp_path / "project", LARGE, PARAMS.format("cuda"))
    plan = plan_of(root)
    with fork_server(plan.steps.values(), "transformers"):
        run_step(root, "toy/tasks/base")
        server = server_of_models()
        used = [gpu_memory()]
        for key in STEPS:
            run_step(root, key)
            psutil.wait_procs(server.children(), timeout=30)
            (gpu,) = read_log(plan.project, key)["facts"]["gpus"]
            assert gpu in [one.name for one in installed_gpus()]
            used.append(gpu_memory())
    assert max(used) - used[0] < 64 * MEGABYTE, used


def server_of_models():
    """The process that forks steps with a model, once the one that forks the others has started it."""
    (server,) = [one for one in psutil.Process().children() if "lineal.cli.fork_server" in one.cmdline()]
    while not server.children():
        time.sleep(0.05)
    return server.children()[0]


def gpu_memory():
    """Bytes in use on all GPUs together, by whatever process."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    listed = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    return sum(int(line) for line in listed.split()) * MEGABYTE
