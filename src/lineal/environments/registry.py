"""Environment names and their classes. A literal table; packages add theirs by the entry point `lineal.environments`."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

from lineal.errors import did_you_mean
from lineal.recipe.plugins import named_once, shown

BUILT_IN: dict[str, str] = {
    "grid_maze": "lineal.environments.grid_maze:GridMaze",
    "nim": "lineal.environments.nim:Nim",
    "modelled": "lineal.environments.modelled:Modelled",
    "tools": "lineal.environments.tools:Tools",
    "small_shop": "lineal.environments.small_shop:SmallShop",
    "frozen_lake": "lineal.environments.toy_text:FrozenLake",
    "taxi": "lineal.environments.toy_text:Taxi",
    "cliff_walking": "lineal.environments.toy_text:CliffWalking",
    "minigrid": "lineal.environments.minigrid_text:MiniGrid",
    "textarena": "lineal.environments.text_arena:TextArena",
}
"""The name in a row's `task` to `module:class`; they are imported in worker processes only."""

ENTRY_POINTS = "lineal.environments"
PACKAGE = "environment_package"
"""The column of tasks with the package of their environment, and its version."""
NEEDS = {
    **dict.fromkeys(("frozen_lake", "taxi", "cliff_walking"), "gymnasium"),
    **{name: name for name in ("minigrid", "textarena")},
}
"""By environment the package that it needs, which is an extra of lineal too."""
_MADE_BY_IT = frozenset({"minigrid", "textarena"})
"""Those whose games are made by their package, so that its version decides them."""


def locations() -> dict[str, str]:
    """Returns the place of each environment's class by name.

    Raises:
        DeclarationError: two packages, or a package and lineal, use one name.
    """
    points = named_once(ENTRY_POINTS, "environment", BUILT_IN)
    return {**BUILT_IN, **{name: point.value for name, point in points.items()}}


def package_of(name: str) -> str:
    """Returns the package that makes an environment's games, and its version; empty for lineal's own, and where it is missing."""
    if name in _MADE_BY_IT:
        return f"{name} {version(name)}" if find_spec(name) is not None else ""
    point = named_once(ENTRY_POINTS, "environment", BUILT_IN).get(name)
    return "" if point is None or point.dist is None else f"{point.dist.name} {point.dist.version}"


def shown_environment(name: str) -> str:
    """Formats the beginning of a message about a package's environment that cannot be loaded."""
    point = named_once(ENTRY_POINTS, "environment", BUILT_IN)[name]
    return f"environment {name!r} cannot be loaded from {shown(point)}"


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
