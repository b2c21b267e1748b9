"""Searches over steps: where each policy goes on, that a tree depends on its prompt alone, what a kill leaves, the selectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lineal.components.generators.search_tree import Beam, BestFirst, SearchNode, SearchPolicy, Tree, Uct
from lineal.components.generators.search_waves import Waves
from lineal.components.verifiers.embedded import ready
from lineal.engines.sampling.sampler import Sampler
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of
from tests.unit.test_selector_decide import select
from tests.unit.tiny_models import in_order, put_model, tiny_model, words

# -- policies -----------------------------------------------------------------------------------------------------------

STEPS = 3


def searched(
    policy: SearchPolicy, score: Callable[[str], float], expansions: int = 100, letters: str = "ab"
) -> tuple[Tree, list[list[str]]]:
    """A search where each node's steps are letters and three of them are a completion; also what each wave continued."""
    tree, waves = Tree("p"), []
    while asked := policy.ask(tree)[: expansions - tree.expanded]:
        waves.append([node.text for node in asked])
        tree.add(asked, [_child(node, letter, score) for node in asked for letter in letters])
    return tree, waves


def _child(parent: SearchNode, letter: str, score: Callable[[str], float]) -> SearchNode:
    node = SearchNode(
        parent.id + letter,
        0,
        parent,
        parent.text + letter,
        len(parent.text),
        score=score(parent.text + letter),
    )
    node.terminal = node.depth == STEPS
    node.open = not node.terminal
    return node


def test_beam_keeps_the_best_of_each_depth() -> None:
    worth = {"a": 0.6, "b": 0.5, "c": 0.1, "aa": 0.2, "ba": 0.9, "bb": 0.8}
    tree, waves = searched(Beam(2), lambda text: worth.get(text, 0.1), letters="abc")
    assert waves == [[""], ["a", "b"], ["ba", "bb"]] and len(tree.nodes) == 3 + 6 + 6
    assert searched(Beam(1), lambda text: worth.get(text, 0.1))[1] == [[""], ["a"], ["aa"]], (
        "greedy, though ba is better"
    )


def test_what_has_no_score_is_worse_than_any() -> None:
    tree = Tree("p")
    first = [_child(tree.root, letter, lambda text: -5.0) for letter in "ab"]
    first[0].score, first[0].open = None, False
    tree.add([tree.root], first)
    assert [[node.text for node in policy.ask(tree)] for policy in (Beam(1), BestFirst(1))] == [["b"], ["b"]]
    assert (tree.root.visits, tree.root.value) == (1, -5.0)


def test_beam_keeps_the_place_of_what_has_ended() -> None:
    tree = Tree("p")
    first = [_child(tree.root, letter, lambda text: {"a": 0.9, "b": 0.8, "c": 0.7}[text]) for letter in "abc"]
    first[0].terminal, first[0].open = True, False
    tree.add([tree.root], first)
    assert [node.text for node in Beam(2).ask(tree)] == ["b"]


def test_best_first_goes_on_wherever_it_is_best() -> None:
    worth = {"a": 0.6, "b": 0.5, "aa": 0.2, "ab": 0.1, "ba": 0.3, "bb": 0.3}
    assert searched(BestFirst(1), lambda text: worth.get(text, 0.0), 5)[1] == [
        [""],
        ["a"],
        ["b"],
        ["ba"],
        ["bb"],
    ]
    assert searched(BestFirst(2), lambda text: worth.get(text, 0.0), 5)[1] == [[""], ["a", "b"], ["ba", "bb"]]
    tree, _ = searched(BestFirst(3), lambda text: 0.5)
    assert len(tree.nodes) == 2 + 4 + 8 and not any(node.open for node in tree.nodes), (
        "nothing is left to continue"
    )


def test_uct_tries_every_way_and_stays_where_it_is_good() -> None:
    tree, waves = searched(Uct(1, 0.5), lambda text: float(text.startswith("b")), 5)
    assert waves[:2] == [[""], ["b"]] and [wave[0][:1] for wave in waves[1:]].count("b") == 3
    assert (
        tree.root.visits == len(tree.nodes) == 10
        and tree.root.value == sum(node.text.startswith("b") for node in tree.nodes) / 10
    )
    doubtful, _ = searched(Uct(1, 50.0), lambda text: float(text.startswith("b")), 5)
    assert sorted(child.visits for child in doubtful.root.children) == [5, 5], (
        "doubt alone spreads the visits"
    )
    whole, _ = searched(Uct(1, 1.0), lambda text: 1.0)
    assert len(whole.nodes) == 14, "what is searched to its end is passed by"


def test_uct_takes_different_ways_in_one_wave() -> None:
    _, waves = searched(Uct(2, 0.5), lambda text: 1.0 if text == "a" else 0.9)
    assert waves[:2] == [[""], ["a", "b"]] and all(len(set(wave)) == len(wave) for wave in waves)


def test_answer_is_the_first_of_the_best_ends() -> None:
    tree, _ = searched(BestFirst(1), lambda text: 0.5 if text in ("aba", "bbb") else 0.1)
    best = tree.best()
    assert best is not None and [node.text for node in best.path()] == ["aba", "ab", "a", ""]
    assert Tree("p").best() is None


# -- the component ------------------------------------------------------------------------------------------------------

LETTERS = [word for word in dict.fromkeys(words(40)) if len(word) >= 4][:6]
PROMPTS = [
    {
        "prompt_id": word,
        "prompt": f"{word}=",
        "answer": in_order(word),
        "difficulty": float(len(word)),
        "mine": word[0],
    }
    for word in LETTERS
]
SHORT = {"separator": "=", "max_tokens": 6, "max_steps": 3, "breadth": 3}
"""The tiny model knows nothing: its steps are letters up to a '=', and it ends anywhere."""
OF_LETTERS = {"use": "rule", "formula": "completion < 'n'"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "checkpoint")


def tree_of(lab: Lab, checkpoint: Path, **settings: object) -> list[dict]:
    model, prompts = put_model(lab, "start/checkpoint", checkpoint), lab.put("tasks/train", PROMPTS)
    inputs = {"model": model, "prompts": prompts}
    return rows_of(
        lab.run("tree_search", "round_01/tree", inputs, **{**SHORT, "verifier": OF_LETTERS, **settings})[""]
    )


@pytest.mark.model
@pytest.mark.parametrize(
    "policy",
    [
        {"policy": "beam", "width": 2},
        {"policy": "best_first", "expansions": 4},
        {"policy": "uct", "expansions": 5, "width": 2},
    ],
)
def test_tree_does_not_depend_on_the_batch_and_holds_together(
    tmp_path: Path, checkpoint: Path, policy: dict
) -> None:
    found = [
        tree_of(
            Lab(tmp_path / str(size), Compute(workers=1, device="cpu", shard_rows=size, batch_size=batch)),
            checkpoint,
            rollouts=2,
            **policy,
        )
        for size, batch in ((1, 8), (4096, 256))
    ]
    assert found[0] == found[1]
    nodes = {row["sample_id"]: row for row in found[0]}
    assert len(nodes) == len(found[0]) and {row["prompt_id"] for row in found[0]} == set(LETTERS)
    for row in found[0]:
        (parent,) = row["parents"]
        above = nodes.get(parent)
        assert (above is None) == (row["depth"] == 1) and (parent == row["prompt_id"]) == (above is None)
        assert row["prefix"] == ("" if above is None else above["prefix"] + above["completion"])
        assert row["mine"] == row["prompt_id"][0] and 0 < row["prior"] <= 1 and row["depth"] <= 3
        assert row["terminal"] == (row["finish_reason"] == "stop" and not row["completion"].endswith("="))
        assert (row["verdict"] is not None) == row["terminal"]
        if row["terminal"]:
            assert row["score"] == float((row["prefix"] + row["completion"]) < "n") and (
                row["verdict"] == "pass"
            ) == (row["score"] == 1.0)
        if row["finish_reason"] == "length":
            assert row["score"] == 0.0 and row["sample_id"] not in {one["parents"][0] for one in found[0]}
        below = [one for one in found[0] if one["parents"] == [row["sample_id"]]]
        assert row["visits"] == 1 + sum(one["visits"] for one in below)
        assert row["value"] == pytest.approx(
            (row["score"] + sum(one["value"] * one["visits"] for one in below)) / row["visits"]
        )
        siblings = [one for one in found[0] if one["parents"] == row["parents"]]
        assert len({(one["completion"], one["finish_reason"]) for one in siblings}) == len(siblings), (
            "equal draws are one node"
        )
        assert sum(one["prior"] for one in siblings) == pytest.approx(1.0)
    for prompt in LETTERS:
        ends = [row for row in found[0] if row["prompt_id"] == prompt and row["terminal"]]
        way = [row for row in found[0] if row["prompt_id"] == prompt and row["best"]]
        assert [row["depth"] for row in way] == list(range(1, len(way) + 1)) and bool(way) == bool(ends)
        assert not way or way[-1]["score"] == max(row["score"] for row in ends)


@pytest.mark.model
def test_killed_search_draws_nothing_again_and_ends_in_the_same_tree(
    tmp_path: Path, checkpoint: Path
) -> None:
    lab, journal = Lab(tmp_path, Compute(workers=1, device="cpu")), tmp_path / "journal"
    inputs = {
        "model": (put_model(lab, "start/checkpoint", checkpoint),),
        "prompts": (lab.put("tasks/train", PROMPTS),),
    }
    search = lab.parse(
        "tree_search", inputs, **SHORT, verifier=OF_LETTERS, policy="uct", expansions=6, rollouts=2
    )

    def rows() -> tuple[list[dict], int]:
        step, engine = lab._workspace("round_01/tree", inputs, 1), Sampler(checkpoint, "cpu")
        with ready(search.judge, step, "verifier"), step.progress(18, "steps") as progress:
            waves = Waves(
                search, step, SavedSampler(engine, journal, step.facts), step.rows("prompts").read()
            )
            return waves.rows(progress).to_pylist(), step.facts.get("resumed_completions", 0)

    whole, resumed = rows()
    lines = journal.read_bytes().splitlines(keepends=True)
    assert resumed == 0 and len(lines) == len({line.split(b",")[0] for line in lines}), (
        "nothing is drawn twice"
    )
    journal.write_bytes(b"".join(lines[: len(lines) // 2]) + lines[-1][:9])
    assert rows() == (whole, len(lines) // 2)
    assert journal.read_bytes().count(b"\n") == len(lines)


# -- what is read of trees ----------------------------------------------------------------------------------------------


def node(name: str, parent: str, prefix: str, text: str, value: float | None, **more: object) -> dict:
    """A node of a tree of prompt p; it ended if it has a verdict."""
    ended = "verdict" in more
    row = {
        "sample_id": name,
        "parents": [parent],
        "prompt_id": "p",
        "prompt": "p:",
        "prefix": prefix,
        "completion": text,
        "value": value,
        "score": value,
        "terminal": ended,
        "verdict": None,
        "answer": "x",
    }
    return row | more


TREE = [
    node("a", "p", "", "1\n", 0.5),
    node("b", "p", "", "2\n", 0.75),
    node("c", "p", "", "3\n", None),
    node("aa", "a", "1\n", "x", 1.0, verdict="pass"),
    node("ab", "a", "1\n", "y", 0.0, verdict="fail"),
    node("ba", "b", "2\n", "z", 1.0, verdict="fail"),
    node("bb", "b", "2\n", "x", 0.95, verdict="pass"),
]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_best_paths_are_the_ends_with_the_highest_scores(lab: Lab) -> None:
    made, dropped = select(lab, TREE, "best_paths")
    assert [(row["completion"], row["parents"], row["verdict"]) for row in made] == [("1\nx", ["aa"], "pass")]
    assert len(dropped) == 6 and made[0]["answer"] == "x" and "prefix" not in made[0]
    two, _ = select(lab, TREE, "best_paths", per_prompt=3, right=True)
    assert [row["completion"] for row in two] == ["1\nx", "2\nx"]


def test_sibling_pairs_compare_steps_after_the_same_beginning(lab: Lab) -> None:
    made, dropped = select(lab, TREE, "sibling_pairs")
    assert [(row["prompt"], row["chosen"], row["rejected"], row["gap"]) for row in made] == [
        ("p:", "2\n", "1\n", 0.25),
        ("p:1\n", "x", "y", 1.0),
    ]
    assert {tuple(row["parents"]) for row in made} == {("aa", "ab"), ("b", "a")} and len(dropped) == 3
    close, _ = select(lab, TREE, "sibling_pairs", min_gap=0.01, per_node=2)
    assert ("p:2\n", "z", "x") in [(row["prompt"], row["chosen"], row["rejected"]) for row in close] and len(
        close
    ) == 3


def test_search_settings_that_cannot_be_are_refused(lab: Lab) -> None:
    inputs = {"model": None, "prompts": None}
    with pytest.raises(ValueError, match="policy uct needs expansions"):
        lab.parse("tree_search", inputs, policy="uct")
    with pytest.raises(ValueError, match="value: unknown component 'rollouts'"):
        lab.parse("tree_search", inputs, value="rollouts")
    with pytest.raises(ValueError, match="value: 'unit_tests' gives no score|value"):
        lab.parse("tree_search", inputs, value={"use": "step_values"})
    search = lab.parse(
        "tree_search", inputs, value={"use": "process_reward", "scorer": "start.prm", "by": "last"}
    )
    assert (
        search.references()["value.scorer"][0] == ["start.prm"] and search.identity()["value"]["by"] == "last"
    )
    assert search.needs()["prompts"] == ("prompt_id", "prompt", "answer")
