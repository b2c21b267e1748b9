"""Environment names and their classes. A literal table; packages add theirs by the entry point `lineal.environments`."""

from __future__ import annotations

from lineal.data.plugins import named_once
from lineal.errors import did_you_mean

BUILT_IN: dict[str, str] = {
    "grid_maze": "lineal.environments.grid_maze:GridMaze",
    "nim": "lineal.environments.nim:Nim",
    "frozen_lake": "lineal.environments.toy_text:FrozenLake",
    "taxi": "lineal.environments.toy_text:Taxi",
    "cliff_walking": "lineal.environments.toy_text:CliffWalking",
}
"""The name in a row's `task` to `module:class`; they are imported in worker processes only."""

ENTRY_POINTS = "lineal.environments"
PACKAGE = "environment_package"
"""The column of tasks with the package of their environment, and its version."""
GYMNASIUM = frozenset({"frozen_lake", "taxi", "cliff_walking"})
"""Those that need the package gymnasium."""


def locations() -> dict[str, str]:
    """Returns the place of each environment's class by name.

    Raises:
        DeclarationError: two packages, or a package and lineal, use one name.
    """
    points = named_once(ENTRY_POINTS, "environment", BUILT_IN)
    return {**BUILT_IN, **{name: point.value for name, point in points.items()}}


def package_of(name: str) -> str:
    """Returns the package of an environment, and its version; empty for lineal's own."""
    point = named_once(ENTRY_POINTS, "environment", BUILT_IN).get(name)
    return "" if point is None or point.dist is None else f"{point.dist.name} {point.dist.version}"


def location_of(name: str) -> str:
    """Returns the place of an environment's class, as `module:class`.

    Raises:
        KeyError: with a sentence that helps, when no environment has this name.
    """
    known = locations()
    if name not in known:
        fix = f"If a package adds it (entry points {ENTRY_POINTS!r}), install that package here"
        raise KeyError(f"unknown environment {name!r}. {did_you_mean(name, sorted(known))} {fix}")
    return known[name]
