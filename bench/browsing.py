"""A browser beside games: processor time for each turn of `small_shop`, for the browser's start, and its memory.

    python bench/browsing.py [--episodes 40] [--workers 1]

The environment's expert plays shops of all levels, so that no model takes part. Processor time is that of this process and of all
below it: the environments' and the browser's. What another episode did before is not done again, so there is one of each shop.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from lineal.components.playing.arena import Arena, Game
from lineal.environments.registry import location_of
from lineal.environments.small_shop import SmallShop

LEVELS = 5
_TICK = os.sysconf("SC_CLK_TCK")


def used() -> dict[str, float]:
    """Processor seconds so far of this process and of all below it, by kind, and the memory of the browser in MiB."""
    parents, names, seconds = {}, {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        pid, values = int(stat.parent.name), rest.split()
        parents[pid], names[pid], seconds[pid] = int(values[1]), name, sum(map(int, values[11:15])) / _TICK
    found: dict[str, float] = {}
    for pid in parents:
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid():
            kind = "python" if names[pid].startswith("python") else "browser"
            found[kind] = found.get(kind, 0.0) + seconds[pid]
            found["memory"] = found.get("memory", 0.0) + (memory(pid) if kind == "browser" else 0.0)
    return found


def memory(pid: int) -> float:
    """The memory of a process in MiB: what it shares with others counts by its part."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def games(first: int, count: int) -> dict[int, Game]:
    """Shops of all levels in turn."""
    place = location_of("small_shop")
    entries = (SmallShop.task(first + seed, 1 + seed % LEVELS)["entry"] for seed in range(count))
    return {seed: Game(f"{first + seed}", place, 0, entry) for seed, entry in enumerate(entries)}


def play(arena: Arena, own: dict[int, Game]) -> int:
    """Plays games by their expert; returns the number of turns."""
    arena.begin(own)
    live, turns = own, 0
    while live:
        said = arena.expert(live)
        arena.move({number: (game, said[number]) for number, game in live.items()})
        turns += len(live)
        live = {number: game for number, game in live.items() if not game.answers[-1].done}
    assert all(game.problem is None and game.answers[-1].success for game in own.values())
    return turns


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with Arena([location_of("small_shop")], arguments.workers, 10.0) as arena:
        began = time.perf_counter()
        play(arena, games(10_000, 1))
        started, start = used(), time.perf_counter() - began
        turns = play(arena, games(0, arguments.episodes))
        wall, after = time.perf_counter() - began - start, used()
    print(f"start, with one game: {start:.1f} s, the browser {started['browser']:.1f} processor seconds")
    spent = {kind: (after[kind] - started[kind]) / turns * 1000 for kind in ("browser", "python")}
    print(f"the browser's memory: {after['memory']:.0f} MiB")
    print(
        f"{turns} turns: {wall / turns * 1000:.0f} ms each; processor time: browser {spent['browser']:.0f} ms, "
        f"this process and the environments {spent['python']:.1f} ms"
    )


if __name__ == "__main__":
    main()
