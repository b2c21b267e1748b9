"""`dvc.lock` as text: one stage's entry read or replaced without parsing the rest, byte for byte as DVC writes it.

DVC rewrites the whole file with a YAML parser in Python after each stage: 0.8 s with 59 stages, 6 s with 400.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from lineal.errors import ProjectError
from lineal.orchestrate.dvc_yaml import DVC_YAML, stage_name, stage_text
from lineal.plan import Plan, Step

DVC_LOCK = "dvc.lock"
LOCK_HEAD = "schema: '2.0'\nstages:\n"

_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read_text(path: Path) -> str:
    """The file's text; empty when there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def find_entry(text: str, name: str) -> tuple[int, int] | None:
    """Where the entry of a stage begins and ends in the text of `dvc.yaml` or `dvc.lock`."""
    match = re.search(rf"^  {re.escape(name)}:\n(?:   .*\n|\n)*", text, re.MULTILINE)
    return match.span() if match else None


def entry_text(text: str, name: str) -> str | None:
    """The entry of a stage as a YAML text of its own: `NAME: {...}`."""
    found = find_entry(text, name)
    return text[found[0] : found[1]] if found else None


def require_current(plan: Plan, step: Step) -> str:
    """Holds one stage of `dvc.yaml` against the plan, so that `dvc.lock` can't record other inputs than the step reads.

    Returns:
        the stage's entry.

    Raises:
        ProjectError: it is missing or stale.
    """
    found, expected = entry_text(read_text(plan.project.root / DVC_YAML), stage_name(step.key)), stage_text(plan, step)
    if found is None:
        raise ProjectError(f"dvc.yaml is stale: it has no stage for {step.key}. Write it: lineal plan --write")
    if found != expected:
        raise ProjectError(
            f"dvc.yaml is stale: its stage for {step.key} is not what the plan says. Write it: lineal plan --write"
        )
    return found


def replaced_entry(text: str, name: str, entry: str) -> str:
    """The text of `dvc.lock` with a stage's entry replaced, or added at the end.

    Raises:
        ValueError: the text is not laid out as DVC lays it out.
    """
    if text and not text.startswith(LOCK_HEAD):
        raise ValueError(f"{DVC_LOCK} does not begin with {LOCK_HEAD!r}")
    text = text or LOCK_HEAD
    found = find_entry(text, name)
    if found is None and text[len(LOCK_HEAD) :].lstrip(" ") and re.search(r"^\S", text[len(LOCK_HEAD) :], re.MULTILINE):
        raise ValueError(f"{DVC_LOCK} holds more than stages")
    start, end = found or (len(text), len(text))
    return text[:start] + entry + text[end:]


def recorded_digests(plan: Plan, of: Step | None = None) -> dict[str, str]:
    """By artifact key: the MD5 of its directory that `dvc.lock` records.

    Args:
        plan: the plan.
        of: only this step's artifacts and inputs; default: all.
    """
    steps = list(plan.steps.values()) if of is None else [of, *plan.upstream(of)]
    if of is None:
        stages = locked_stages(plan.project.root)
    else:
        text = read_text(plan.project.root / DVC_LOCK)
        stages = {name: locked_stage(text, name) for name in (stage_name(step.key) for step in steps)}
    recorded: dict[str, str] = {}
    for step in steps:
        outs = {out["path"]: out.get("md5") for out in stages.get(stage_name(step.key), {}).get("outs", [])}
        for key in step.artifact_keys().values():
            if outs.get(f"artifacts/{key}"):
                recorded[key] = outs[f"artifacts/{key}"]
    return recorded


def locked_artifacts(root: Path) -> dict[str, str]:
    """By artifact key: the MD5 of its directory, of every stage in `dvc.lock`, planned or not.

    Raises:
        ProjectError: it is not as DVC writes it.
    """
    found: dict[str, str] = {}
    for stage in locked_stages(root).values():
        for out in stage.get("outs", []):
            if out["path"].startswith("artifacts/") and str(out.get("md5")).endswith(".dir"):
                found[out["path"].removeprefix("artifacts/")] = out["md5"]
    return found


def named_files(root: Path) -> dict[str, str]:
    """By path: the MD5 that `dvc.lock` recorded of each project file that a stage depends on; empty where it has none yet.

    Raises:
        ProjectError: `dvc.yaml` or `dvc.lock` is no YAML of stages.
    """
    declared = [path for stage in declared_stages(root).values() for path in stage.get("deps") or []]
    recorded = [dependency for stage in locked_stages(root).values() for dependency in stage.get("deps", [])]
    digests = dict.fromkeys(declared, "") | {one["path"]: one.get("md5", "") for one in recorded}
    return {path: digest for path, digest in digests.items() if _is_file_inside(path) and not digest.endswith(".dir")}


def _is_file_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return parts[0] not in ("/", "artifacts") and ".." not in parts


def declared_stages(root: Path) -> Mapping[str, Any]:
    """The stages of `dvc.yaml`.

    Raises:
        ProjectError: it is not as lineal writes it.
    """
    path = root / DVC_YAML
    stages = _stages(path)
    for name, stage in stages.items():
        deps = stage.get("deps") or [] if isinstance(stage, dict) else None
        if not isinstance(deps, list) or not all(isinstance(dependency, str) for dependency in deps):
            raise _unsound(path, f"{name} is no stage as lineal writes it, got {stage!r:.80}")
    return stages


def locked_stages(root: Path) -> Mapping[str, Mapping[str, Any]]:
    """The stages of `dvc.lock`, as DVC writes them; none where there is no such file yet.

    Raises:
        ProjectError: somebody's edit or a merge left something else; says what restores it.
    """
    path = root / DVC_LOCK
    stages = _stages(path)
    for name, stage in stages.items():
        _require_sound(path, name, stage)
    return stages


def locked_stage(text: str, name: str) -> Mapping[str, Any]:
    """One stage's entry in the text of `dvc.lock`; empty where it has none.

    Raises:
        ProjectError: as `locked_stages` does; other entries are not looked at, except for conflict markers.
    """
    path = Path(DVC_LOCK)
    _require_merged(path, text)
    entry = entry_text(text, name)
    if entry is None and re.search(
        rf"^\s*['\"]?{re.escape(name)}['\"]?\s*:", text, re.MULTILINE
    ):  # not laid out as DVC lays it out
        entry = yaml.safe_dump(_parsed(path, text).get("stages") or {})
    stage = _parsed(path, entry or "").get(name, {})
    _require_sound(path, name, stage)
    return stage  # type: ignore[no-any-return]


def _stages(path: Path) -> Mapping[str, Any]:
    text = _text_of(path)
    _require_merged(path, text)
    stages = _parsed(path, text).get("stages", {})
    if not isinstance(stages, dict):
        raise _unsound(path, f"holds no stages, got {stages!r:.80}")
    return stages


def _text_of(path: Path) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _unsound(path, f"cannot be read: {error}") from error


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, _Loader) or {}  # noqa: S506 - the base loader makes only strings
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a repeated anchor's merge, an odd character
        raise _unsound(path, f"is not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise _unsound(path, f"holds no stages, got {document!r:.80}")
    return document


def _require_merged(path: Path, text: str) -> None:
    if re.search(r"^(<<<<<<<|>>>>>>>)", text, re.MULTILINE) is None:
        return
    if path.name != DVC_LOCK:
        raise ProjectError(f"{path} holds a merge conflict. Merge the pipelines, then write it: lineal plan --write")
    raise ProjectError(
        f"{path} holds a merge conflict. Take one side's record, git checkout --ours {path.name} (or --theirs); "
        f"lineal run makes what that side lacks, or finds it in DVC's cache. Then: git add {path.name}"
    )


def _require_sound(path: Path, name: str, stage: Any) -> None:
    """Refuses an entry of `dvc.lock` that DVC would not have written."""
    if not isinstance(stage, dict):
        raise _unsound(path, f"{name}: expected cmd, deps and outs, got {stage!r:.80}")
    for part in ("deps", "outs"):
        entries = stage.get(part, [])
        if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
            raise _unsound(path, f"{name}: {part}: expected a list of paths with their MD5s, got {entries!r:.80}")


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
        return False
    md5 = entry.get("md5")
    return md5 is None or (isinstance(md5, str) and re.fullmatch(r"[0-9a-f]{2,}(\.dir)?", md5) is not None)


def _unsound(path: Path, message: str) -> ProjectError:
    if path.name != DVC_LOCK:
        return ProjectError(f"{path}: {message}. Write it: lineal plan --write")
    restore = f"Restore it: git checkout HEAD -- {path.name}"
    return ProjectError(f"{path}: {message}. {restore}; or delete it: lineal run takes what DVC's cache holds and makes the rest")
