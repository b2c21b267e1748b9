"""What makes each filtered method that method, read off the artifacts of two tiny rounds."""

from __future__ import annotations

import json
import re
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
        assert (
            max(point["balance_score"] for point in grid)
            == settings_of(plan, f"{group}/tuned")["balance_score"]
        )


def socratic(plan: Plan) -> None:
    """Every right answer is learned, guided ones until a prompt has enough, and no hint: the tail's share grows."""
    for group in ("socratic/round_01", "socratic/round_02"):
        verified = rows_of(plan, f"{group}/verified")
        passes = Counter(row["prompt_id"] for row in verified if row["verdict"] == "pass")
        unsolved = {row["prompt_id"] for row in rows_of(plan, f"{group}/unsolved")}
        assert unsolved == {row["prompt_id"] for row in verified if passes[row["prompt_id"]] < 2}
        assert {row["prompt_id"] for row in rows_of(plan, f"{group}/hinted")} == unsolved
        kept = rows_of(plan, f"{group}/filtered")
        assert {row["sample_id"] for row in kept if not row["hinted"]} == {
            row["sample_id"] for row in verified if row["verdict"] == "pass"
        }
        rescued = Counter(
            row["prompt_id"] for row in rows_of(plan, f"{group}/rescued") if row["verdict"] == "pass"
        )
        guided = Counter(row["prompt_id"] for row in kept if row["hinted"])
        assert guided == {prompt: min(number, 2 - passes[prompt]) for prompt, number in rescued.items()}
        for row in [*kept, *rows_of(plan, f"{group}/mixed")]:
            assert row["prompt"].count("=") == 1 and row["prompt"].endswith("=")
    assert any(row["hinted"] for row in rows_of(plan, "socratic/round_01/filtered"))


def codeit(plan: Plan) -> None:
    """Learns mutated tasks, other ones each round, and a replay of all rounds in which a task's program stands once."""
    base = {row["prompt_id"] for row in rows_of(plan, "codeit/tasks/base")}
    mutated = [
        {row["prompt_id"] for row in rows_of(plan, f"codeit/round_0{number}/mutated")} for number in (1, 2)
    ]
    assert (
        len(mutated[0]) == len(mutated[1]) == 1024
        and mutated[0] | mutated[1] <= base
        and mutated[0] != mutated[1]
    )
    relabelled = [row for number in (1, 2) for row in rows_of(plan, f"codeit/round_0{number}/relabelled")]
    distinct = [(row["prompt"], row["completion"]) for row in rows_of(plan, "codeit/round_02/distinct")]
    assert sorted(distinct) == sorted({(row["prompt"], row["completion"]) for row in relabelled})
    assert plan.step("codeit/round_02/checkpoint").inputs["rows"] == (
        "codeit/round_02/replayed",
        "codeit/round_02/mutated",
    )


def self_improving_transformers(plan: Plan) -> None:
    """Learns its own full-length answers at growing lengths: half of the mixture the newest, the rest base and older rounds."""
    name = "self_improving_transformers"
    filtered = [rows_of(plan, f"{name}/round_0{number}/filtered") for number in (1, 2)]
    for number, rows in enumerate(filtered, 1):
        longest = {
            row["difficulty"]: len(row["completion"])
            for row in sorted(rows, key=lambda row: len(row["completion"]))
        }
        assert rows and all(len(row["completion"]) == longest[row["difficulty"]] for row in rows)
        assert {row["temperature"] for row in rows_of(plan, f"{name}/round_0{number}/generated")} == {0.0}
    old, new = ({row["sample_id"] for row in rows} for rows in filtered)
    mixed = [row["parents"][0] for row in rows_of(plan, f"{name}/round_02/mixed")]
    shares = [sum(parent in part for parent in mixed) / len(mixed) for part in (new, old)]
    assert len(mixed) == 3840 and abs(shares[0] - 1 / 2) < 0.05 and abs(shares[1] - 1 / 12) < 0.03


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
    assert any(row["completion"].endswith("~") for row in taught) and any(
        row["completion"] == row["answer"] for row in taught
    )
    known, unknown = (
        len(rows_of(plan, f"auto_cei/round_02/{node}")) for node in ("evaluation", "unanswered")
    )
    shown = settings_of(plan, "auto_cei/round_02/abstention", "metrics.json")
    assert (
        unknown
        and shown["unanswerable"] == pytest.approx(unknown / (known + unknown))
        and 0 <= shown["f1"] <= 1
    )
    values = [
        settings_of(plan, f"auto_cei/{group}/boundary")["value"]
        for group in ("start", "round_01", "round_02")
    ]
    assert values[1] == values[0] + 1
    precision = settings_of(plan, "auto_cei/start/precision", "metrics.json")["precision"]
    for number, value in ((1, values[0]), (2, values[1])):
        group, before = f"auto_cei/round_{number:02d}", "start/policy" if number == 1 else "round_01/policy"
        assert plan.step(f"{group}/generated/turn_1").inputs["model"] == (f"auto_cei/{before}",)
        assert plan.step(f"{group}/generated/turn_2").inputs["model"] == (f"{group}/trained/turn_1",)
        scores = [
            settings_of(plan, f"{group}/objective/turn_{turn}", "metrics.json")["objective"]
            for turn in (1, 2)
        ]
        best = scores.index(max(scores)) + 1
        assert settings_of(plan, f"{group}/highest") == {"number": best, "score": scores[best - 1]}
        assert manifest(plan, f"{group}/policy").files == manifest(plan, f"{group}/trained/turn_{best}").files
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
    """Checks that the commonest guess after each simplification in both orders is learned as a fast answer at growing lengths."""
    for number in (1, 2):
        group = f"sector/round_{number:02d}"
        turns = [rows_of(plan, f"{group}/simplified/turn_{turn}") for turn in (1, 2, 3, 4)]
        assert [row["asked"] for row in turns[1]] == [f"^{row['completion']}:" for row in turns[0]]
        assert all(row["asked"] == f"^{row['prompt']}:" for row in turns[0])
        guesses = {row["sample_id"]: row for row in rows_of(plan, f"{group}/voted")}
        assert len(guesses) == sum(map(len, turns)) and {row["asked"] for row in guesses.values()} <= {
            row["completion"] for turn in turns for row in turn
        }
        fast = rows_of(plan, f"{group}/fast")
        answers = {row["prompt"]: row["completion"] for row in fast}
        for row in fast:
            assert {guesses[parent]["completion"] for parent in row["parents"]} == {row["completion"]}
            assert {guesses[parent]["prompt"] for parent in row["parents"]} == {row["prompt"]}
            question = row["question"]
            assert answers[question] == answers[f"{question[1:-1]}{question[0]}="] == row["completion"]
        learned = {row["prompt_id"] for row in fast}
        assert {row["prompt_id"] for row in rows_of(plan, f"{group}/led")} == learned
        assert {row["prompt"] for row in rows_of(plan, f"{group}/slow")} == {
            row["asked"] for turn in turns for row in turn if row["prompt_id"] in learned
        }
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
        reached = rows_of(plan, f"{group}/reached")
        by_step = [
            row for row in reached if sorted(row["prompt"][2:-1]) == list(row["completion"].partition(">")[0])
        ]
        assert [row["sample_id"] for row in by_step] == [
            row["sample_id"] for row in reached if row["verdict"] == "pass"
        ]
        right = sum(row["truth_verdict"] == "pass" for row in reached) / len(reached)
        assert settings_of(plan, f"{group}/wrong_way", "metrics.json")["right"] == pytest.approx(right)
        signs = sum(row["completion"].count(">") for row in reached) / len(reached)
        assert settings_of(plan, f"{group}/habits", "metrics.json")["subgoal"] == pytest.approx(signs)
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


def play(plan: Plan) -> None:
    """The turns of won episodes are learnt, from all rounds, and a trained turn leads back over its game to the task."""
    for number in (1, 2):
        group = f"play/round_{number:02d}"
        won = {
            row["sample_id"] for row in rows_of(plan, f"{group}/played.episodes") if row["verdict"] == "pass"
        }
        turns, tasks = (
            rows_of(plan, f"{group}/played"),
            {row["prompt_id"] for row in rows_of(plan, "play/tasks/train")},
        )
        kept, moves = rows_of(plan, f"{group}/kept"), rows_of(plan, f"{group}/moves")
        assert {row["sample_id"] for row in kept} <= won and {row["episode_id"] for row in moves} <= won
        parents = {row["sample_id"]: row["parents"][0] for row in turns}
        for row in moves:
            above = row["sample_id"]
            for _ in range(row["turn"]):
                above = parents[above]
            assert above in tasks and row["weight"] >= 1 / 20
    assert plan.step("play/round_02/checkpoint").inputs["rows"] == (
        "play/round_01/moves",
        "play/round_02/moves",
    )


def spiral(plan: Plan) -> None:
    """One checkpoint plays both seats; a turn counts by its side's return above its role's, of those that are better."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"spiral/round_{number:02d}"
        inputs = plan.step(f"{group}/played").inputs
        assert inputs["model"] == inputs["opponent"] == (f"spiral/{before}/checkpoint",)
        assert plan.step(f"{group}/evaluation").inputs["opponent"] == ("spiral/start/checkpoint",)
        episodes = {row["sample_id"]: row for row in rows_of(plan, f"{group}/played.episodes")}
        roles: dict[str, list[float]] = {}
        for row in episodes.values():
            roles.setdefault(row["player"], []).append(row["score"])
        moves = rows_of(plan, f"{group}/moves")
        for row in moves:
            own = roles[row["player"]]
            assert row["weight"] == pytest.approx(episodes[row["episode_id"]]["score"] - sum(own) / len(own))
        assert {row["seat"] for row in moves} == {"model", "opponent"} and min(
            row["weight"] for row in moves
        ) > 0


def agent_r(plan: Plan) -> None:
    """A revision is a failed episode up to where it leaves a successful one of its game, and then that one."""
    for number in (1, 2):
        group = f"agent_r/round_{number:02d}"
        turns = {
            row["sample_id"]: row for name in ("played", "onward") for row in rows_of(plan, f"{group}/{name}")
        }
        ends = {
            row["sample_id"]: row
            for name in ("played", "onward")
            for row in rows_of(plan, f"{group}/{name}.episodes")
        }
        revised = rows_of(plan, f"{group}/revised")
        assert revised
        for row in revised:
            wrong, after = (turns[parent] for parent in row["parents"])
            assert (ends[wrong["episode_id"]]["verdict"], ends[after["episode_id"]]["verdict"]) == (
                "fail",
                "pass",
            )
            assert (
                wrong["prompt_id"] == after["prompt_id"] == row["prompt_id"]
                and row["completion"] == after["completion"]
            )
            rest = after["prompt"].removeprefix(wrong["prompt"])
            assert (
                row["prompt"]
                == "\n".join((wrong["prompt"], wrong["completion"], wrong["observation"])) + rest
            )
        assert plan.step(f"{group}/checkpoint").inputs["rows"] == (f"{group}/revised", f"{group}/moves")


def exit_play(plan: Plan) -> None:
    """Training plays the games and goes on inside episodes of groups whose returns differed."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"exit_play/round_{number:02d}"
        source = "start/probed" if number == 1 else f"{before}/checkpoint.rollouts"
        turns = {row["sample_id"]: row for row in rows_of(plan, f"exit_play/{source}")}
        histories = rows_of(plan, f"exit_play/{before}/histories")
        inside = {row["sample_id"]: turns[row["parents"][0]] for row in histories if row["past"] is not None}
        assert inside and len(histories) - len(inside) == len(rows_of(plan, "exit_play/tasks/train"))
        first = [row for row in rows_of(plan, f"{group}/checkpoint.rollouts") if row["parents"][0] in inside]
        assert first, "episodes were taken up inside"
        for row in first:
            begun = inside[row["parents"][0]]
            assert row["turn"] == begun["turn"] + 1 and row["prompt"].endswith(begun["observation"])


def rest_react(plan: Plan) -> None:
    """The best episodes of all rounds teach the policy and a smaller student, whose success is measured too."""
    for number in (1, 2):
        group = f"rest_react/round_{number:02d}"
        kept = {row["sample_id"] for row in rows_of(plan, f"{group}/kept")}
        assert {row["episode_id"] for row in rows_of(plan, f"{group}/moves")} <= kept
        rows = tuple(f"rest_react/round_{before:02d}/moves" for before in range(1, number + 1))
        assert (
            plan.step(f"{group}/checkpoint").inputs["rows"]
            == plan.step(f"{group}/student").inputs["rows"]
            == rows
        )
        assert plan.step(f"{group}/student").inputs["init"] == ("rest_react/start/small",)
        assert plan.step(f"{group}/distilled").inputs["model"] == (f"{group}/student",)


def paprika(plan: Plan) -> None:
    """Levels are drawn by the spread of passes over their rate; won episodes, and then pairs of moves, are learnt."""
    for number, before in ((1, "start"), (2, "round_01")):
        group, worth = f"paprika/round_{number:02d}", dict[str, list[tuple[float, int]]]()
        for earlier in ("start", "round_01")[:number]:
            told = rows_of(plan, f"paprika/{earlier}/potential")
            for level in {row["difficulty"] for row in told}:
                by_task: dict[str, list[bool]] = {}
                for row in (row for row in told if row["difficulty"] == level):
                    by_task.setdefault(row["prompt_id"], []).append(row["verdict"] == "pass")
                rates = [sum(passes) / len(passes) for passes in by_task.values()]
                potential = sum(((1 - rate) / rate) ** 0.5 for rate in rates if rate) / len(rates)
                worth.setdefault(f"grid_maze {level}", []).append(
                    (potential, sum(map(len, by_task.values())))
                )
        for arm in rows_of(plan, f"{group}/arms"):
            parts = worth.pop(arm["task"])
            assert arm["value"] == pytest.approx(
                sum(each * count for each, count in parts) / sum(count for _, count in parts)
            )
        assert not worth
        batch, episodes = rows_of(plan, f"{group}/batch"), rows_of(plan, f"{group}/played.episodes")
        assert len(batch) == 12 and {row["prompt_id"] for row in episodes} == {
            row["prompt_id"] for row in batch
        }
        won = {row["sample_id"] for row in episodes if row["verdict"] == "pass"}
        assert {row["episode_id"] for row in rows_of(plan, f"{group}/moves")} <= won
        assert plan.step(f"{group}/tuned").inputs["init"] == (f"paprika/{before}/checkpoint",)
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"{group}/tuned",)
        assert manifest(plan, f"{group}/checkpoint").settings["nll_weight"] == 1.0 and rows_of(
            plan, f"{group}/pairs"
        )


def memento(plan: Plan) -> None:
    """A hint stands before a state of a failed episode for the one who acts there, and not in what is learnt."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"memento/round_{number:02d}"
        lost = {
            row["sample_id"] for row in rows_of(plan, f"{group}/played.episodes") if row["verdict"] == "fail"
        }
        mistakes = {
            row["sample_id"] for row in rows_of(plan, f"{group}/mistakes") if row["episode_id"] in lost
        }
        assert mistakes and {row["sample_id"] for row in rows_of(plan, f"{group}/mistakes")} == mistakes
        advised = {row["sample_id"]: row for row in rows_of(plan, f"{group}/advised")}
        assert {row["parents"][0] for row in advised.values()} <= mistakes | {*advised}
        hinted = {row["sample_id"]: row for row in rows_of(plan, f"{group}/hinted")}
        taught = rows_of(plan, f"{group}/taught")
        assert plan.step(f"{group}/taught").inputs["model"] == (f"memento/{before}/checkpoint",) and len(
            taught
        ) == len(advised)
        for row in taught:
            given = hinted[row["parents"][0]]
            advice = advised[given["parents"][0]]
            assert (
                given["hint"] == f"{advice['completion']}?"
                and row["asked"] == f"{given['hint']}\n{advice['prompt']}"
            )
            assert row["prompt"] == advice["prompt"] and "?" not in row["prompt"]
        rows = tuple(f"memento/round_{earlier:02d}/taught" for earlier in range(1, number + 1))
        assert plan.step(f"{group}/checkpoint").inputs["rows"] == rows


def magellan(plan: Plan) -> None:
    """Goals are drawn by how far two predictions of success are apart; what came of them moves the predictor on."""
    goals = {row["prompt_id"]: row for row in rows_of(plan, "magellan/start/goals")}
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"magellan/round_{number:02d}"
        predicted = {row["prompt_id"]: row for row in rows_of(plan, f"{group}/formerly")}
        drawn = rows_of(plan, f"{group}/goals")
        assert {*predicted} == {*goals} and len(drawn) == 12
        for row in drawn:
            assert row["score"] == pytest.approx(abs(row["now_score"] - row["before_score"]))
        assert (max(row["score"] for row in drawn) > 0) == (number == 2), (
            "nothing has progressed before the first round"
        )
        tried: dict[str, list[bool]] = {}
        for row in rows_of(plan, f"{group}/checkpoint.episodes"):
            tried.setdefault(row["prompt_id"], []).append(row["verdict"] == "pass")
        outcomes = {row["prompt_id"]: row["value"] for row in rows_of(plan, f"{group}/outcomes")}
        assert outcomes == pytest.approx({one: sum(won) / len(won) for one, won in tried.items()})
        assert {*outcomes} <= {row["prompt_id"] for row in drawn}
        assert plan.step(f"{group}/competence").inputs["init"] == (f"magellan/{before}/competence",)
        assert plan.step(f"{group}/earlier").inputs["model"] == (f"magellan/{before}/competence",)


def webrl(plan: Plan) -> None:
    """A judge's word labels turns, successes of all rounds count where the policy is unsure, and failed tasks give new ones."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"webrl/round_{number:02d}"
        said = {row["sample_id"]: row["orm_score"] for row in rows_of(plan, f"{group}/scored")}
        judged = {row["sample_id"]: row["score"] for row in rows_of(plan, f"{group}/judged")}
        assert judged == said and all(0 <= score <= 1 for score in said.values())
        assert plan.step(f"{group}/scored").inputs["scorer"] == ("webrl/start/orm",)
        rows = (
            *(f"webrl/round_{earlier:02d}/good" for earlier in range(1, number + 1)),
            f"{group}/good.dropped",
        )
        assert plan.step(f"{group}/liked").inputs["rows"] == rows
        assert plan.step(f"{group}/liked").inputs["scorer"] == plan.step(f"{group}/checkpoint").inputs["init"]
        labelled = rows_of(plan, f"{group}/labelled")
        assert {row["label"] for row in labelled} == {True, False}
        for row in labelled:
            assert row["label"] == (row["score"] >= 0.5)
            assert not row["label"] or row["round"] == number or 0.5 <= exp(row["liked_score"]) <= 0.95
        assert plan.step(f"{group}/checkpoint").inputs["init"] == (f"webrl/{before}/checkpoint",)
        played = {row["prompt_id"] for row in rows_of(plan, f"{group}/played.episodes")}
        assert played == {row["prompt_id"] for row in rows_of(plan, f"webrl/{before}/pool")}
        failed = {row["sample_id"] for row in rows_of(plan, f"{group}/reached.dropped")}
        fitting = rows_of(plan, f"{group}/fitting")
        assert fitting and {row["prompt_id"] for row in fitting} < {
            row["prompt_id"] for row in rows_of(plan, f"{group}/pool")
        }
        assert {parent for row in rows_of(plan, f"{group}/variants") for parent in row["parents"]} <= failed
        assert all(0.05 <= row["score"] <= 0.75 for row in fitting)


def points_reader(plan: Plan) -> None:
    """Annotates unlabelled pages, keeps by the rules and never by the truth, and every round's model annotates the next one's."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"points_reader/round_{number:02d}"
        threshold = manifest(plan, f"{group}/kept").settings["threshold"]
        kept, dropped = rows_of(plan, f"{group}/kept"), rows_of(plan, f"{group}/kept.dropped")
        assert len(kept) + len(dropped) == len(rows_of(plan, "points_reader/tasks/train"))
        for row in (*kept, *dropped):
            mine, other = (Counter(re.findall("[a-z]+", row[name])) for name in ("completion", "ocr"))
            words = mine.total() + other.total()
            assert row["words_f1"] == pytest.approx(2 * (mine & other).total() / words)
            assert row["words_f1"] >= threshold or row["decision"] == "dropped"
        assert all(row["reason"] for row in dropped)
        assert {row["images"][0] for row in kept} <= {
            row["images"][0] for row in rows_of(plan, "points_reader/tasks/train")
        }
        assert plan.step(f"{group}/checkpoint").inputs["rows"] == (f"{group}/kept",)
        assert plan.step(f"{group}/annotated").inputs["model"] == (f"points_reader/{before}/checkpoint",)
    shown = [
        {row["answer"] for row in rows_of(plan, f"points_reader/tasks/{name}")}
        for name in ("train", "rendered", "test")
    ]
    assert not shown[2] & (shown[0] | shown[1])


def webevolver(plan: Plan) -> None:
    """The world learns what the environment answered; dreams begin where episodes began, and teach the agent beside them."""
    for number, before in ((1, "start"), (2, "round_01")):
        group = f"webevolver/round_{number:02d}"
        turns = {row["sample_id"]: row for row in rows_of(plan, f"{group}/played")}
        for row in rows_of(plan, f"{group}/transitions"):
            (turn,) = (turns[parent] for parent in row["parents"])
            assert row["completion"] == turn["observation"] and row["prompt"].endswith(turn["action"])
        assert plan.step(f"{group}/world").inputs["init"] == (f"webevolver/{before}/world",)
        dreamt = plan.step(f"{group}/dreamt").inputs
        assert (dreamt["model"], dreamt["opponent"]) == (
            (f"webevolver/{before}/checkpoint",),
            (f"{group}/world",),
        )
        began = {row["prompt"] for row in turns.values() if row["turn"] == 1}
        dreams = rows_of(plan, f"{group}/dreamt")
        assert {row["prompt"] for row in dreams if row["turn"] == 1 and row["seat"] == "model"} == began
        assert {row["seat"] for row in rows_of(plan, f"{group}/dreamt_moves")} <= {"model"}
        rounds = [f"webevolver/round_{earlier:02d}" for earlier in range(1, number + 1)]
        assert plan.step(f"{group}/checkpoint").inputs["rows"] == (
            *(f"{one}/moves" for one in rounds),
            *(f"{one}/dreamt_moves" for one in rounds),
        )


CHARACTERISTICS = {
    "agent_r": agent_r,
    "auto_cei": auto_cei,
    "b_star": b_star,
    "codeit": codeit,
    "dive": dive,
    "east": east,
    "exit_play": exit_play,
    "magellan": magellan,
    "memento": memento,
    "paprika": paprika,
    "play": play,
    "points_reader": points_reader,
    "rest_react": rest_react,
    "rlsc": rlsc,
    "sector": sector,
    "self_improving_transformers": self_improving_transformers,
    "socratic": socratic,
    "spiral": spiral,
    "still_2": still_2,
    "webevolver": webevolver,
    "webrl": webrl,
}
