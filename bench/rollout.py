"""Rollouts beside one-turn sampling: tokens per processor second of the sampler, and the share of time in environments.

    python bench/rollout.py [--episodes 64] [--turns 10]

A small random decoder plays mazes, `--episodes` at once, for `--turns` turns each; then it draws the same turns without games, in
batches as large. Seconds are those of this process and of the environments', so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lineal.components.generators.template import Template
from lineal.components.playing.arena import Arena, Game
from lineal.components.playing.episode import Episode, Past, Rules
from lineal.components.playing.waves import ModelPlayer, play
from lineal.data.workspace import Workspace
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.training.train import ModelShape, initialise
from lineal.environments.grid_maze import GridMaze
from lineal.environments.registry import location_of
from lineal.recipe.compute import Compute

SHAPE = ModelShape(
    hidden_size=256,
    layers=4,
    heads=4,
    intermediate_size=640,
    rope_theta=1e4,
    tie_embeddings=True,
    characters="LRUD#. 0123456789\n",
    max_positions=64,
)
SETTINGS = SamplingSettings(max_tokens=8)


def seconds(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Processor seconds of this process and of child processes that ended, and what the work gave."""
    own, children = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    made = work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return time.process_time() - own, ended, made


def played(sampler: Sampler, workspace: Workspace, count: int, turns: int) -> list[Episode]:
    """Episodes of `turns` turns each: the goal of their mazes is far."""
    rules = Rules(Template("{observation}"), None, False, 2, turns, "text", "answer")
    location, episodes = location_of("grid_maze"), []
    for place in range(count):
        task = GridMaze.task(place, 12)
        game = Game(str(place), location, place, task["entry"])
        episodes.append(Episode({}, 0, f"p{place}", str(place), game, rules, Past(task["prompt"])))
    with Arena([location], 1, 10.0) as arena:
        play(
            episodes,
            arena,
            ModelPlayer(sampler, SETTINGS, lambda given, _: [True] * len(given), workspace),
            0,
            "bench",
            lambda over: None,
        )
    return episodes


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--turns", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place)
        initialise(SHAPE, 0, path / "model")
        sampler, step = (
            Sampler(path / "model"),
            Workspace(path, "bench", 0, 0, Compute(), {}, path / "partial"),
        )
        played(sampler, step, arguments.episodes, 1)
        own, environments, episodes = seconds(
            lambda: played(sampler, step, arguments.episodes, arguments.turns)
        )
        turns = [turn for episode in episodes for turn in episode.made]
        batches = [
            turns[start :: len(turns) // arguments.episodes]
            for start in range(len(turns) // arguments.episodes)
        ]
        drawn = [[Request(turn.given, turn.seed) for turn in batch] for batch in batches]
        alone, _, written = seconds(lambda: [sampler.sample(batch, SETTINGS) for batch in drawn])
    tokens = (
        sum(turn.completion.tokens for turn in turns),
        sum(one.tokens for batch in written for one in batch),
    )
    rates = tokens[0] / (own + environments), tokens[1] / alone
    print(
        f"{len(turns):,} turns; rollouts {rates[0]:,.0f} tokens/s, one-turn sampling {rates[1]:,.0f}: {rates[0] / rates[1]:.2f}"
    )
    print(f"environments: {environments / (own + environments):.1%} of the processor time")


if __name__ == "__main__":
    main()
