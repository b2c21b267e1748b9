"""Numbers that no training and no draw could use are refused when the step is planned, with the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.unit.lab import Lab

INPUTS = {
    "sft": ("rows", "init"),
    "pretrain": ("rows",),
    "dpo": ("rows", "init"),
    "kto": ("rows", "init"),
    "grpo": ("prompts", "init"),
    "reward_model": ("rows", "init"),
    "sample": ("model", "prompts"),
    "ask": ("model", "rows"),
    "rationalize": ("model", "prompts"),
    "best_of_n": ("model", "prompts", "scorer"),
}
GIVEN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("sft", "pretrain", "dpo", "kto", "reward_model"), {"steps": 1}),
    "grpo": {"steps": 1, "rewards": {"right": "exact_match"}},
    "ask": {"template": "{prompt}"},
    "best_of_n": {"samples": 4},
}
NAN, INFINITE = float("nan"), float("inf")
TRAINED = [
    ("learning_rate", (0.0, -1e-3, 1.5, NAN, INFINITE)),
    ("warmup", (-0.1, 1.1, 100, NAN, {"steps": 0}, {"steps": 0.5})),
    ("weight_decay", (-0.1, 1.5, NAN)),
    ("beta2", (-0.1, 1.0, NAN)),
    ("max_grad_norm", (0.0, -1.0, INFINITE)),
    ("batch_size", (0, -1, 1.5)),
    ("gradient_accumulation", (0,)),
    ("max_tokens", (0,)),
    ("threads", (0,)),
    ("steps", (0, 1.5)),
]
DRAWN = [
    ("temperature", (-0.1, 1e-46, 9e-4, NAN, INFINITE)),
    ("top_p", (0, -0.1, 1.1, NAN)),
    ("top_k", (-1, 1.5)),
    ("max_tokens", (0,)),
    ("samples", (0,)),
]
OWN = [
    ("sample", "temperature", ([], [0.0, 0.0], [0.7, 1e-46], 0)),
    ("ask", "temperature", (0,)),
    ("best_of_n", "temperature", (0,)),
    ("rationalize", "samples", (2,)),
    ("grpo", "temperature", (0, 1e-46, NAN)),
    ("grpo", "top_p", (0, 1.1)),
    ("grpo", "epsilon", (0.0, NAN, INFINITE)),
    ("grpo", "beta", (-0.1, INFINITE)),
    ("grpo", "samples", (1,)),
    ("dpo", "beta", (0.0, NAN, INFINITE)),
    ("dpo", "nll_weight", (-1.0, NAN)),
    ("kto", "undesirable_weight", (-1.0, NAN)),
    ("reward_model", "center", (-0.1, NAN)),
    ("sft", "epochs", (0.0, NAN, INFINITE)),
    ("pretrain", "heads", (0, 3)),
    ("pretrain", "rope_theta", (0.0, NAN)),
    ("pretrain", "characters", ("", "abca")),
    (
        "sft",
        "lora",
        ({"rank": 0, "alpha": 1}, {"rank": 1, "alpha": 0}, {"rank": 1, "alpha": 1, "dropout": 1.0}),
    ),
]
CASES = [
    *(("sft", name, value) for name, values in TRAINED for value in values),
    *((use, name, value) for use in ("sample", "ask") for name, values in DRAWN for value in values),
    *((use, name, value) for use, name, values in OWN for value in values),
]


@pytest.mark.parametrize(("use", "name", "value"), CASES, ids=lambda value: str(value))
def test_number_that_cannot_be_used_is_refused_when_it_is_planned(
    tmp_path: Path, use: str, name: str, value: Any
) -> None:
    lab, given = Lab(tmp_path), GIVEN.get(use, {})
    several = {"samples": 4} if name == "temperature" and use == "sample" and value == 0 else {}
    several = {"samples": 4} if (use, name) == ("ask", "temperature") else several
    lab.parse(use, dict.fromkeys(INPUTS[use]), **given)
    with pytest.raises(pydantic.ValidationError) as refused:
        lab.parse(use, dict.fromkeys(INPUTS[use]), **{**given, **several, name: value})
    assert name in str(refused.value)


def test_greedy_decoding_of_one_completion_and_cold_draws_are_fine(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    for settings in (
        {"temperature": 0},
        {"temperature": [0, 0.7], "samples": 1},
        {"temperature": 1e-3, "samples": 8},
    ):
        lab.parse("sample", dict.fromkeys(INPUTS["sample"]), **settings)
