"""What makes each filtered method that method, read off the artifacts of two tiny rounds."""

from __future__ import annotations

import json
from collections import Counter
from math import exp
from typing import Any

import pytest

from lineal.data.manifest import Manifest
from lineal.data.store import Rows, open_artifact
from lineal.plan import Plan


def rows_of(plan: Plan, key: str) -> list[dict[str, Any]]:
    return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()


def settings_of(plan: Plan, key: str, file: str = "settings.json") -> Any:
    return json.loads((plan.project.directory(key) / file).read_text())


def manifest(plan: Plan, key: str) -> Manifest:
    return open_artifact(key, plan.project.directory(key)).manifest


def b_star(plan: Plan) -> None:
    """Samples and selects as the round before chose."""
    for number, before in ((1, "start"), (2, "round_01")):
        chosen = settings_of(plan, f"b_star/{before}/tuned")
        group = f"b_star/round_{number:02d}"
        assert {row["temperature"] for row in rows_of(plan, f"{group}/generated")} == {chosen["temperature"]}
        assert manifest(plan, f"{group}/filtered").settings["threshold"] == chosen["threshold"]
        assert manifest(plan, f"{group}/filtered").settings_from == {"threshold": f"{before}/tuned.threshold"}
        assert min(row["score"] for row in rows_of(plan, f"{group}/filtered")) >= chosen["threshold"]
        grid = settings_of(plan, f"{group}/tuned", "grid.json")
        assert max(point["balance_score"] for point in grid) == settings_of(plan, f"{group}/tuned")["balance_score"]


def socratic(plan: Plan) -> None:
    """No row to train on holds a hint, and the head is no larger than the tail."""
    for group in ("socratic/round_01", "socratic/round_02"):
        unsolved = {row["prompt_id"] for row in rows_of(plan, f"{group}/unsolved")}
        passes = Counter(row["prompt_id"] for row in rows_of(plan, f"{group}/verified") if row["verdict"] == "pass")
        assert unsolved == {row["prompt_id"] for row in rows_of(plan, f"{group}/verified") if passes[row["prompt_id"]] < 2}
        assert {row["prompt_id"] for row in rows_of(plan, f"{group}/hinted")} == unsolved
        kept = rows_of(plan, f"{group}/filtered")
        reasons = Counter(row["reason"] for row in kept)
        assert reasons["head"] <= reasons["tail"] or not reasons["tail"]
        for row in [*kept, *rows_of(plan, f"{group}/mixed")]:
            assert row["prompt"].count("=") == 1 and row["prompt"].endswith("=")
    assert any(row["hinted"] for row in rows_of(plan, "socratic/round_01/filtered"))


def east(plan: Plan) -> None:
    """Weighs by uncertainty, with a mean of one."""
    answers, kept = {}, rows_of(plan, "east/round_01/filtered")
    for row in rows_of(plan, "east/round_01/verified"):
        answers.setdefault(row["prompt_id"], set()).add(row["completion"])
    assert sum(row["weight"] for row in kept) / len(kept) == pytest.approx(1)
    assert all(row["verdict"] == "pass" and len(answers[row["prompt_id"]]) > 1 for row in kept)
    assert len({row["weight"] for row in kept}) > 1
    assert manifest(plan, "east/round_01/checkpoint").settings["weight"] == "weight"


def dive(plan: Plan) -> None:
    """Pairs differ, and come from the pool of all rounds."""
    pairs, diverse = rows_of(plan, "dive/round_02/pairs"), rows_of(plan, "dive/round_02/diverse")
    assert {row["round"] for row in diverse} == {1, 2}
    rejected = Counter((row["prompt_id"], row["rejected"]) for row in pairs)
    assert rejected.most_common(1)[0][1] == 1 and all(row["chosen"] != row["rejected"] for row in pairs)
    verdicts = {row["sample_id"]: row["verdict"] for row in diverse}
    assert {tuple(verdicts[parent] for parent in row["parents"]) for row in pairs} == {("pass", "fail")}


def auto_cei(plan: Plan) -> None:
    """Refusals are taught, the boundary moves and decides what is drawn, and each iteration samples from the one before."""
    taught = rows_of(plan, "auto_cei/start/taught")
    assert any(row["completion"].endswith("~") for row in taught) and any(row["completion"] == row["answer"] for row in taught)
    values = [settings_of(plan, f"auto_cei/{group}/boundary")["value"] for group in ("start", "round_01", "round_02")]
    assert values[1] == values[0] + 1
    precision = settings_of(plan, "auto_cei/start/precision", "metrics.json")["precision"]
    for number, value in ((1, values[0]), (2, values[1])):
        group, before = f"auto_cei/round_{number:02d}", "start/policy" if number == 1 else "round_01/policy/turn_2"
        assert plan.step(f"{group}/generated/turn_1").inputs["model"] == (f"auto_cei/{before}",)
        assert plan.step(f"{group}/generated/turn_2").inputs["model"] == (f"{group}/policy/turn_1",)
        for turn in (1, 2):
            rewarded = {row["sample_id"]: row for row in rows_of(plan, f"{group}/rewarded/turn_{turn}")}
            assert manifest(plan, f"{group}/rewarded/turn_{turn}").settings["boundary"] == value
            assert manifest(plan, f"{group}/drawn/turn_{turn}").settings["temperature"] == precision
            drawn = rows_of(plan, f"{group}/drawn/turn_{turn}")
            assert set(Counter(row["prompt_id"] for row in drawn).values()) == {8}
            kept = [row["sample_id"] for row in rows_of(plan, f"{group}/filtered/turn_{turn}")]
            worthy = [row["sample_id"] for row in (*rewarded.values(), *drawn) if row["score"] > -0.999999]
            assert sorted(kept) == sorted(worthy) and len(worthy) < len(drawn) + len(rewarded)


def sector(plan: Plan) -> None:
    """What slow answers agree on is learned as a fast one, at growing lengths."""
    for number in (1, 2):
        group = f"sector/round_{number:02d}"
        thought = {row["sample_id"]: row for row in rows_of(plan, f"{group}/voted")}
        assert all(row["hinted"] and row["hint"] == "/" and row["prompt"][0] != "/" for row in thought.values())
        for row in rows_of(plan, f"{group}/fast"):
            slow = [thought[parent] for parent in row["parents"]]
            assert row["prompt"][0] != "/" and {sample["completion"].rpartition(">")[2] for sample in slow} == {row["completion"]}
        assert {row["prompt"][0] for row in rows_of(plan, f"{group}/slow")} == {"/"}
    easier, harder = (rows_of(plan, f"sector/round_{number:02d}/tasks/train") for number in (1, 2))
    assert min(row["difficulty"] for row in harder) > min(row["difficulty"] for row in easier)


def still_2(plan: Plan) -> None:
    """Slow answers that end right are learned with their way, from all rounds so far."""
    found: dict[str, str] = {}
    for number in (1, 2):
        group = f"still_2/round_{number:02d}"
        found |= {row["sample_id"]: row["verdict"] for row in rows_of(plan, f"{group}/verified")}
        learned = rows_of(plan, f"{group}/trajectories")
        assert learned and {found[row["sample_id"]] for row in learned} == {"pass"}
        for row in learned:
            assert row["prompt"][0] == "/" and row["completion"].endswith(f">{row['answer']}")
    assert {row["round"] for row in learned} == {1, 2}


def rlsc(plan: Plan) -> None:
    """Learns every sample, whatever it is worth, by how probable it was."""
    for number in (1, 2):
        group = f"rlsc/round_{number:02d}"
        drawn = {row["sample_id"]: row for row in rows_of(plan, f"{group}/generated")}
        weighed = rows_of(plan, f"{group}/weighed")
        assert len(weighed) == len(drawn) > 0
        for row in weighed:
            assert row["weight"] == pytest.approx(exp(drawn[row["sample_id"]]["logprob"]) + 0.1)
        assert manifest(plan, f"{group}/checkpoint").settings["weight"] == "weight"


CHARACTERISTICS = {
    "auto_cei": auto_cei, "b_star": b_star, "dive": dive, "east": east, "rlsc": rlsc, "sector": sector, "socratic": socratic,
    "still_2": still_2,
}  # fmt: skip
