"""Environments for tests: a counter that behaves, and others of which each misbehaves in one way. Imported by workers."""

from __future__ import annotations

import os
import random
import sys
import time

from lineal.environments.grid_maze import GridMaze


class Counting:
    """Count up to `goal`; `+` adds one, `-` takes one away."""

    def reset(self, *, seed, goal):
        self.count, self.goal = 0, goal
        return f"0/{goal}"

    def step(self, text):
        if text not in ("+", "-"):
            return f"{self.count}/{self.goal}", 0.0, False, False, {"invalid": "write + or -"}
        self.count += 1 if text == "+" else -1
        over = self.count == self.goal
        return f"{self.count}/{self.goal}", float(over), over, False, {"success": over}

    def expert(self):
        return "+"


class Early:
    """Two moves, one reward: `+` first brings it at once, everything else at the second move. All returns are equal."""

    def reset(self, *, seed, goal):
        self.moves, self.early = 0, 0.0
        return "1"

    def step(self, text):
        self.moves += 1
        if self.moves == 1:
            self.early = float(text == "+")
        return (
            "2",
            self.early if self.moves == 1 else 1.0 - self.early,
            self.moves == 2,
            False,
            {"success": True},
        )


class Dice(Counting):
    """Draws from Python's global generator: good, since each game has its own."""

    def step(self, text):
        seen, reward, over, cut, info = super().step(text)
        return f"{seen} {random.random():.6f}", reward, over, cut, info


class Forgetful(Counting):
    """Counts with all games of its process."""

    calls = 0

    def step(self, text):
        Forgetful.calls += 1
        seen, *rest = super().step(text)
        return f"{seen} {Forgetful.calls}", *rest


class ByTime(Counting):
    """Says the time at its second move."""

    def step(self, text):
        seen, *rest = super().step(text)
        return f"{seen} {time.perf_counter_ns()}" if self.count == 2 else seen, *rest


class ByTheSystem(Counting):
    """Has a password that the operating system draws; who says it wins."""

    def reset(self, *, seed, goal):
        self.password = os.urandom(8).hex()
        return "?"

    def step(self, text):
        return "!", float(text == self.password), text == self.password, False, {}

    def expert(self):
        return self.password


class ByTheSystemOnNonsense(Counting):
    """Answers nonsense with what the operating system draws."""

    def step(self, text):
        seen, *rest = super().step(text)
        return (seen if text == "+" else os.urandom(8).hex()), *rest


class Bad(Counting):
    """Misbehaves as its row says, at the second move."""

    def reset(self, *, seed, goal, how, at="step"):
        self.how = how
        if at == "reset":
            self.misbehave()
        return super().reset(seed=seed, goal=goal)

    def step(self, text):
        given = super().step(text)
        return self.misbehave() or given if self.count == 2 else given

    def misbehave(self):
        if self.how == "raises":
            raise ValueError("the board is on fire")
        if self.how == "hangs":
            while True:
                pass
        if self.how == "leaks":
            held = []
            while True:
                held.append(bytes(1 << 28))
        if self.how == "dies":
            os._exit(7)
        if self.how == "exits":
            sys.exit(3)
        if self.how == "forks":
            os.fork()
        if self.how == "prints":
            print("{}", flush=True)
            print(input() if False else "x")
        if self.how == "reads":
            sys.stdin.readline()
        if self.how == "bytes":
            return b"2/3", 0.0, False, False, {}
        if self.how == "nan":
            return "2/3", float("nan"), False, False, {}
        if self.how == "four":
            return "2/3", 0.0, False, {}
        return None


class Silent(Counting):
    """Raises on what it cannot read, and has no expert."""

    expert = None

    def step(self, text):
        if text not in ("+", "-"):
            raise KeyError(text)
        return super().step(text)


class Slow(Counting):
    """Thinks before it answers."""

    def step(self, text):
        time.sleep(0.01)
        return super().step(text)


class ByTimeAndDies(ByTime):
    """Takes its process with it, at the third move, where its row says so."""

    def reset(self, *, seed, goal, dies):
        self.dies = dies
        return super().reset(seed=seed, goal=goal)

    def step(self, text):
        if self.dies and self.count == 2:
            os._exit(7)
        return super().step(text)


class Two(Counting):
    """Two players count together, each by one; who reaches the goal wins. Each sees the count, and who it is."""

    def reset(self, *, seed, goal):
        self.player = "white"
        super().reset(seed=seed, goal=goal)
        return f"{self.player} 0"

    def step(self, text):
        mover = self.player
        _, reward, over, cut, info = super().step(text)
        if "invalid" in info:
            return f"{mover} {self.count}", 0.0, False, False, info
        self.player = "black" if mover == "white" else "white"
        rewards = {mover: 1.0, self.player: -1.0} if over else {}
        return f"{self.player} {self.count}", reward, over, cut, {"rewards": rewards}


class ShortSighted(GridMaze):
    """A maze of another version: from the second move on nothing is seen."""

    def step(self, text):
        seen, *rest = super().step(text)
        self.moves = getattr(self, "moves", 0) + 1
        return seen if self.moves < 2 else "?", *rest
