"""Merges two branches' `dvc.yaml` and `dvc.lock`: each entry comes from one side, and the merged plan decides which.

Lines are no unit of either file. An entry with one branch's dependencies and the other's outputs is a record of nothing, so each
entry is taken whole: the one that records what the merged plan asks for, else the one that changed since the branches parted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineal.data.digests import Digests
from lineal.data.git import git
from lineal.errors import ProjectError
from lineal.orchestrate.decision import changed_parts
from lineal.orchestrate.dvc_lock import DVC_LOCK, read_text
from lineal.orchestrate.dvc_yaml import DVC_YAML, SECTIONS, is_ours, kept_text, stage_name, stage_of
from lineal.orchestrate.yaml_entries import MARKER, Entries, Entry, TopLevelKey, read_entries
from lineal.plan import Plan, Step
from lineal.recipe.document import parse_document, read_document
from lineal.recipe.whole_files import write_whole

MERGED = (DVC_YAML, DVC_LOCK)
_STAGES = ("stages",)


@dataclass(frozen=True)
class Sides:
    """One file on both branches, and at their common ancestor (empty where that is not known)."""

    base: str
    ours: str
    theirs: str


def resolve(plan: Plan) -> list[str]:
    """Merges what git left unmerged, or with conflict markers, of `dvc.yaml` and `dvc.lock`.

    Args:
        plan: the plan of the merged `params.yaml` and `pipelines/`.

    Returns:
        the names of the files that were merged.

    Raises:
        ProjectError: both sides changed the same stage of somebody's own; names it.
    """
    root, merged = plan.project.root, []
    for name, merge in ((DVC_YAML, merged_yaml), (DVC_LOCK, merged_lock)):
        sides = sides_of(root, name)
        if sides is not None:
            write_whole(root / name, merge(plan, sides))
            merged.append(name)
    return merged


def sides_of(root: Path, name: str) -> Sides | None:
    """Returns a file's sides: from git's index while it is unmerged, else from conflict markers; None where it is merged."""
    listed = git(root, "ls-files", "-u", "-z", "--", name).decode()
    stages = {
        entry.split("\t")[0].split(" ")[2]: entry.split(" ")[1] for entry in listed.split("\0") if entry
    }
    if stages:
        return Sides(
            *(
                git(root, "cat-file", "blob", stages[number]).decode() if number in stages else ""
                for number in "123"
            )
        )
    text = read_text(root / name)
    return sides_in(text) if MARKER.search(text) else _twice(Path(name), text)


def sides_in(text: str) -> Sides:
    """Returns the sides between conflict markers."""
    sides: dict[str, list[str]] = {"base": [], "ours": [], "theirs": []}
    part, has_base = "", False
    for line in text.splitlines(keepends=True):
        marker = re.match(r"(<{7}|\|{7}|={7}|>{7})( |\r?\n|$)", line)
        if marker is None or (marker[1][0] == "=" and not part):
            for name in [part] if part else sides:
                sides[name].append(line)
            continue
        part = {"<": "ours", "|": "base", "=": "theirs", ">": ""}[marker[1][0]]
        has_base = has_base or part == "base"
    return Sides("".join(sides["base"]) if has_base else "", "".join(sides["ours"]), "".join(sides["theirs"]))


def _twice(path: Path, text: str) -> Sides | None:
    """Returns the sides of a lock that names stages twice, as a merge by lines leaves it: the first ones, and the last ones."""
    names = re.findall(r"^  (\S+):[ \t]*$", text, re.MULTILINE) if path.name == DVC_LOCK else []
    if len(names) == len(set(names)):
        return None
    head, *entries = re.split(r"^(?=  \S+:[ \t]*$)", text, flags=re.MULTILINE)
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for name, entry in zip(names, entries, strict=True):
        first.setdefault(name, entry)
        last[name] = entry
    return Sides("", head + "".join(first.values()), head + "".join(last.values()))


# -- dvc.yaml ---------------------------------------------------------------------------------------------------------


def merged_yaml(plan: Plan, sides: Sides) -> str:
    """Returns `dvc.yaml` of the merged plan, with both sides' own stages, keys and comments.

    Raises:
        ProjectError: both sides changed the same one of somebody's own.
    """
    path = plan.project.root / DVC_YAML
    base, ours, theirs = (
        read_entries(path, text, SECTIONS) for text in (sides.base, sides.ours, sides.theirs)
    )
    merged = ours
    for section in theirs.sections:
        own = ours.section(section.name)
        merged = merged.with_section(
            section if own is None else _merged_section(path, base.section(section.name), own, section)
        )
    below = _both(ours.below, theirs.below)
    return kept_text(plan, path, replace(merged, below=below).text())


def _merged_section(
    path: Path, base: TopLevelKey | None, ours: TopLevelKey, theirs: TopLevelKey
) -> TopLevelKey:
    above = _both(ours.above, theirs.above)
    if ours.name not in SECTIONS:
        head = _chosen(path, ours.name, base.head if base else None, ours.head, theirs.head)
        return replace(ours, above=above, head=head)
    old = {entry.name: entry for entry in base.entries} if base else {}
    mine, other = ({entry.name: entry for entry in side.entries} for side in (ours, theirs))
    entries = [_merged_entry(path, ours.name, old.get(name), mine[name], other.get(name)) for name in mine]
    new = [
        _merged_entry(path, ours.name, old.get(name), other[name], None) for name in other if name not in mine
    ]
    kept = [entry for entry in (*entries, *new) if entry is not None]
    first = ours if ours.entries else theirs
    return replace(first, above=above, entries=tuple(kept))


def _merged_entry(
    path: Path, section: str, base: Entry | None, one: Entry, other: Entry | None
) -> Entry | None:
    if other is None:
        gone = base is not None and base.lines == one.lines and not is_ours(section, one)
        return None if gone else one
    above = _both(one.above, other.above)
    if is_ours(section, one) or is_ours(section, other):
        return replace(one, above=above)
    lines = _chosen(path, one.name, base.lines if base else None, one.lines, other.lines)
    return replace(one if lines == one.lines else other, above=above)


def _chosen(
    path: Path, name: str, base: tuple[str, ...] | None, ours: tuple[str, ...], theirs: tuple[str, ...]
) -> tuple[str, ...]:
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    raise ProjectError(
        f"{path}: both branches changed {name}, which is your own. Write what it shall be between the conflict markers' place: "
        f"take one side (git checkout --ours {path.name}, or --theirs), fix {name} by hand, then run: lineal plan --write"
    )


def _both(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, ...]:
    """Joins the comments of both sides; common ones are kept once."""
    known = {line.strip() for line in ours}
    return (*ours, *(line for line in theirs if line.strip() and line.strip() not in known))


# -- dvc.lock ---------------------------------------------------------------------------------------------------------


def merged_lock(plan: Plan, sides: Sides) -> str:
    """Returns `dvc.lock` with each entry from one side: the one that changed, or that records what the merged plan asks for."""
    path = plan.project.root / DVC_LOCK
    base, ours, theirs = (
        read_entries(path, text, _STAGES) for text in (sides.base, sides.ours, sides.theirs)
    )
    olds, mine, other = (_stages_of(side) for side in (base, ours, theirs))
    typed = [
        (parse_document(text, DVC_LOCK).value.get("stages") or {}) if text else {}
        for text in (sides.ours, sides.theirs)
    ]
    choose = _Choice(plan, olds, (mine, other), typed)
    for step in plan.steps.values():
        choose.take(stage_name(step.key), step)
    for name in dict.fromkeys((*mine, *other)):
        choose.take(name)
    order = [choose.taken[name] for name in dict.fromkeys((*mine, *other)) if name in choose.taken]
    whole = ours if ours.section("stages") else theirs
    section = whole.section("stages")
    if section is None:
        return whole.text()
    return whole.with_section(replace(section, entries=tuple(order))).text()


def _stages_of(side: Entries) -> dict[str, Entry]:
    section = side.section("stages")
    return {entry.name: entry for entry in section.entries} if section else {}


class _Choice:
    """Chooses entries in the plan's order, so that what an entry depends on is chosen before it."""

    def __init__(
        self,
        plan: Plan,
        base: Mapping[str, Entry],
        sides: Sequence[Mapping[str, Entry]],
        typed: Sequence[Mapping[str, Any]],
    ) -> None:
        self._plan, self._base, self._sides, self._typed = plan, base, sides, typed
        self._digests, self._documents = Digests(plan.project.runs), dict[str, Any]()
        self.taken: dict[str, Entry] = {}

    def take(self, name: str, step: Step | None = None) -> None:
        """Chooses the entry of a stage; for a step of the plan preferably the one that records it."""
        found = [
            (side[name], typed[name])
            for side, typed in zip(self._sides, self._typed, strict=True)
            if name in side
        ]
        if name in self.taken or not found:
            return
        fitting = [entry for entry, typed in found if step is not None and self._records(step, typed)]
        entries = [entry for entry, _ in found]
        chosen = [*fitting, _newer(self._base.get(name), entries)][0]
        self.taken[name] = replace(chosen, above=_both(entries[0].above, entries[-1].above))

    def _records(self, step: Step, entry: Mapping[str, Any]) -> bool:
        """Tells whether an entry records the step as the merged plan has it, made from the chosen entries."""
        return not any(changed_parts(stage_of(self._plan, step), entry, self._md5, self._document))

    def _md5(self, path: str) -> str | None:
        if path.startswith("artifacts/"):
            outs = (out for entry in self.taken.values() for out in entry.value.get("outs") or [])
            return next((out.get("md5") for out in outs if out["path"] == path), None)
        try:
            return self._digests.of(self._plan.project.root / path, "md5")
        except OSError:
            return None

    def _document(self, name: str) -> Any:
        if name not in self._documents:
            self._documents[name] = read_document(self._plan.project.root / name).value
        return self._documents[name]


def _newer(base: Entry | None, found: Sequence[Entry]) -> Entry:
    return next((entry for entry in found if base is None or entry.value != base.value), found[0])
