"""What `paper` profiles take from their sources: rounds, what moves with them, and where each step gets its rows from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lineal.plan import Plan

from .test_pipelines_plan import planned

ROUNDS = {"irpo": 4, "spin": 4}


def paper(root: Path, name: str) -> Plan:
    return planned(root / "project", name, "paper", rounds=None)


def settings(plan: Plan, step: str, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(plan.step(step).component, name) for name in names)


@pytest.mark.parametrize("name", sorted(ROUNDS))
def test_method_has_the_rounds_of_its_paper_and_its_laptop_profile_those_of_the_project(tmp_path: Path, name: str):
    assert max(step.round for step in paper(tmp_path, name).steps.values()) == ROUNDS[name]
    laptop = planned(tmp_path / "laptop", name, "laptop", rounds=None)
    assert max(step.round for step in laptop.steps.values()) == laptop.project.params.rounds


def test_irpo_samples_hotter_in_its_last_two_rounds(tmp_path: Path):
    plan = paper(tmp_path, "irpo")
    assert [settings(plan, f"irpo/round_0{number}/generated", "temperature") for number in (1, 2, 3, 4)] == [
        (0.8,), (0.8,), (1.3,), (1.3,),
    ]  # fmt: skip


def test_spin_learns_slower_in_its_last_two_rounds_and_nearer_to_the_opponent_in_the_last(tmp_path: Path):
    plan = paper(tmp_path, "spin")
    assert [settings(plan, f"spin/round_0{number}/checkpoint", "beta", "learning_rate") for number in (1, 2, 3, 4)] == [
        (0.1, 5e-7), (0.1, 5e-7), (0.1, 1e-7), (5.0, 1e-7),
    ]  # fmt: skip


def test_values_that_official_code_sets_are_set(tmp_path: Path):
    kto, online = paper(tmp_path / "kto", "kto"), paper(tmp_path / "adarft", "adarft")
    agents = paper(tmp_path / "multiagent", "multiagent")
    assert settings(kto, "kto/round_01/checkpoint", "warmup", "weight_decay") == (0.1, 0.01)
    assert settings(online, "adarft/round_01/checkpoint", "beta") == (0.0,)
    for node in ("first", "last", "tried", "settled"):
        assert settings(agents, f"multiagent/round_01/{node}/a", "temperature", "top_p") == (1.0, 0.9)
    for node in ("generator", "critic"):
        assert settings(agents, f"multiagent/round_01/{node}/a", "batch_size", "warmup", "weight_decay") == (192, 0.03, 0.0)
