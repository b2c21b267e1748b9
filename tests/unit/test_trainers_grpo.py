"""`grpo`: verifiers as rewards, every sampled completion a row, the same bytes for the same settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydantic
import pytest

from lineal.components.registry import Registry
from lineal.data.manifest import read_manifest
from lineal.data.store import Artifact
from lineal.errors import CheckFailure, DataError, EngineError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.tiny_models import in_order, put_model, tiny_model, weights, words

SHORT: dict[str, Any] = {
    "rewards": {"right": "exact_match"}, "steps": 2, "samples": 4, "batch_size": 16, "max_tokens": 6, "learning_rate": 1e-3,
    "threads": 1,
}  # fmt: skip
PROMPTS = [
    {"prompt_id": f"p{index}", "prompt": f"{word}=", "answer": in_order(word), "difficulty": float(len(word)), "set": "own"}
    for index, word in enumerate(dict.fromkeys(words(24)))
]
FIRST = {"use": "exact_match", "extract": "^(.)", "weight": 0.5}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def inputs_of(lab: Lab, checkpoint: Path, prompts: list[dict[str, Any]] = PROMPTS) -> dict[str, Artifact]:
    return {"prompts": lab.put("tasks/train", prompts), "init": put_model(lab, "start/checkpoint", checkpoint)}


@pytest.mark.model
def test_grpo_keeps_every_sampled_completion_as_a_row(lab: Lab, checkpoint: Path) -> None:
    inputs = inputs_of(lab, checkpoint)
    made = lab.run("grpo", "round_02/checkpoint", inputs, 2, **SHORT)
    rows = rows_of(made["rollouts"])
    print(json.dumps(rows[:3], indent=1), lab.counts)
    assert weights(made[""].directory) != weights(checkpoint)
