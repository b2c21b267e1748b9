"""Entry points of installed packages: what they add to a registry, each name once."""

from __future__ import annotations

from collections.abc import Container
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from lineal.errors import DeclarationError


@cache
def outside(group: str) -> tuple[EntryPoint, ...]:
    """Returns the entry points of a group; cached, since every search reads all packages' metadata (20 ms)."""
    return tuple(entry_points(group=group))


def named_once(group: str, what: str, own: Container[str]) -> dict[str, EntryPoint]:
    """Returns the entry points of a group by name.

    Args:
        group: the group.
        what: what its names are of, for messages.
        own: names that lineal has itself.

    Raises:
        DeclarationError: two packages, or a package and lineal, use the same name.
    """
    found: dict[str, EntryPoint] = {}
    for point in outside(group):
        if point.name in own or point.name in found:
            other = shown(found[point.name]) if point.name in found else "lineal's own"
            fix = "Rename one, or uninstall its package"
            raise DeclarationError(
                f"{what} {point.name!r} is registered twice: {other}, and {shown(point)}. {fix}"
            )
        found[point.name] = point
    return found


def shown(point: EntryPoint) -> str:
    """Formats an entry point and its package for messages."""
    package = (
        "an unknown package" if point.dist is None else f"the package {point.dist.name} {point.dist.version}"
    )
    return f"{package} (entry point {point.name} = {point.value!r} of {point.group!r})"
