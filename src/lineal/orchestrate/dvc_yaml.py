"""`dvc.yaml`, written from the plan: one stage per step, with the YAML keys that it reads as DVC params."""

from __future__ import annotations

import difflib
import string
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from sysconfig import get_path
from typing import Any

import yaml

from lineal.components.base import Role
from lineal.data.curves import STEP, TABLE
from lineal.data.file_names import CURVE_FILE, METRICS_FILE
from lineal.errors import DeclarationError, ProjectError
from lineal.orchestrate.yaml_entries import Entries, Entry, TopLevelKey, indented, read_entries, woven
from lineal.plan import Plan, Step
from lineal.recipe.document import Document, KeyPath
from lineal.recipe.nodes import BEST
from lineal.recipe.policies import SETTINGS
from lineal.recipe.project import PARAMS, PIPELINES
from lineal.recipe.references import ArtifactKind
from lineal.recipe.retractions import RETRACTED, RETRACTIONS
from lineal.recipe.seeds import SEED_MARK, declared_name, series_name
from lineal.recipe.whole_files import write_whole
from lineal.step.runner import stage_tag

DVC_YAML = "dvc.yaml"
HEADER = """\
# Written by `lineal plan --write` from pipelines/*.yaml and params.yaml. Don't edit: change those and write it again.
"""
PLOT_TEMPLATE = "rounds"
"""Draws one line over the rounds although each round's point lies in a file of its own (`.dvc/plots/rounds.json`)."""

TRAINING_TEMPLATE = "linear"
"""DVC's own; a line for each round's training."""
LOSS = "loss"
OUR_FILES = {PLOT_TEMPLATE: ("artifacts/", ""), TRAINING_TEMPLATE: ("runs/", TABLE)}
"""By template, how the files begin and end whose plots lineal writes."""

_OVERLOOKED = frozenset({"size", "nfiles"})
"""DVC leaves keys of these names, however deep, out of its run cache's key (it means those of files): with
`tasks.train: {size: 30}` alone, a change to 31 brings back the rows of 30."""

SECTIONS = ("stages", "metrics", "plots")
"""The keys of `dvc.yaml` that lineal writes entries into."""
_INSTALLED = tuple(
    Path(path).resolve() for path in (Path(__file__).parents[1], get_path("purelib"), get_path("platlib"))
)
_FORBIDDEN = frozenset(string.punctuation) - {"_", "-"}

_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def stage_name(step_key: str) -> str:
    """Returns the DVC stage of a step: `rest_em-round_02-verified`, since DVC allows no other punctuation than `_` and `-`."""
    return step_key.replace("/", "-")


def dvc_yaml_text(plan: Plan) -> str:
    """Returns the text that `dvc.yaml` must have; the same plan gives the same text.

    Raises:
        DeclarationError: two steps, or a pipeline's name, don't make stage names.
    """
    _check_names(plan)
    document: dict[str, Any] = {
        "stages": {stage_name(step.key): stage_of(plan, step) for step in plan.steps.values()}
    }
    metrics = [f"artifacts/{key}/{METRICS_FILE}" for key in _metrics_keys(plan)]
    if metrics:
        document["metrics"] = metrics
    plots = [*_plots(plan), *_trainings(plan)]
    if plots:
        document["plots"] = plots
    return HEADER + _dumped(document)


def stage_text(plan: Plan, step: Step) -> str:
    """Returns one stage as it is written in `dvc.yaml`."""
    return _dumped({"stages": {stage_name(step.key): stage_of(plan, step)}}).removeprefix("stages:\n")


def _dumped(document: dict[str, Any]) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True))


def kept_text(plan: Plan, path: Path, found: str) -> str:
    """Returns the text that `dvc.yaml` must have, with others' stages, plots, other keys and comments kept.

    Args:
        plan: the plan.
        path: the file, for messages.
        found: its text now.

    Raises:
        ProjectError: it cannot be read, or somebody's own stage has the name of a step's.
    """
    fresh = dvc_yaml_text(plan)
    if found in (fresh, ""):
        return fresh
    old, new = read_entries(path, found, SECTIONS), read_entries(path, fresh, SECTIONS)
    if not _has_others(old):
        return fresh
    for name in SECTIONS:
        section = _merged(path, name, old.section(name), new.section(name))
        if section is not None:
            old = old.with_section(section)
    kept = [one for one in old.sections if one.entries or one.name not in SECTIONS or one.name == "stages"]
    return replace(old, sections=tuple(kept)).text()


def _has_others(old: Entries) -> bool:
    """Tells whether a file has anything that lineal did not write."""
    lines = [
        line
        for one in old.sections
        for line in (*one.above, *(above for entry in one.entries for above in entry.above))
    ]
    comments = [
        line for line in (*lines, *old.below) if line.strip() and line not in HEADER.splitlines(keepends=True)
    ]
    entries = [not is_ours(one.name, entry) for one in old.sections for entry in one.entries]
    return bool(comments) or any(entries) or any(one.name not in SECTIONS for one in old.sections)


def _merged(path: Path, name: str, old: TopLevelKey | None, new: TopLevelKey | None) -> TopLevelKey | None:
    if old is None:
        return new
    ours = {entry.name: entry for entry in new.entries} if new else {}
    own = [is_ours(name, entry) for entry in old.entries]
    taken = [
        entry.name for entry, one in zip(old.entries, own, strict=True) if not one and entry.name in ours
    ]
    if taken:
        raise ProjectError(
            f"{path}: {name}: {taken[0]} is your own, and a step of the plan needs this name. Rename one of them"
        )
    if new is not None and new.is_list != old.is_list and old.entries:
        raise ProjectError(
            f"{path}: {name}: write it as a {'list' if new.is_list else 'mapping'}, as lineal does"
        )
    written = new.indent if new else old.indent
    indent = old.indent if old.entries else written
    placed = {
        key: replace(entry, above=(), lines=indented(entry.lines, indent, written))
        for key, entry in ours.items()
    }
    head = old.head if old.entries or new is None else new.head
    return replace(old, head=head, entries=woven(old.entries, own, placed), indent=indent)


def is_ours(section: str, entry: Entry) -> bool:
    """Tells whether lineal wrote an entry of `dvc.yaml`."""
    value = entry.value
    if section == "stages":
        return isinstance(value, dict) and str(value.get("cmd", "")).startswith("lineal step ")
    if section == "metrics":
        return (
            isinstance(value, str) and value.startswith("artifacts/") and value.endswith(f"/{METRICS_FILE}")
        )
    plot = value.get(entry.name) if isinstance(value, dict) else None
    files = plot.get("y") if isinstance(plot, dict) else None
    if not isinstance(plot, dict) or not isinstance(files, dict) or plot.get("template") not in OUR_FILES:
        return False
    begin, end = OUR_FILES[plot["template"]]
    return all(file.startswith(begin) and file.endswith(end) for file in files)


def write_dvc_yaml(plan: Plan) -> bool:
    """Writes `dvc.yaml` of the project; what lineal did not write into it is kept.

    Returns:
        whether it had to be changed.

    Raises:
        ProjectError: see `kept_text`.
    """
    path = plan.project.root / DVC_YAML
    found = path.read_text(encoding="utf-8") if path.exists() else None
    text = kept_text(plan, path, found or "")
    if found == text:
        return False
    write_whole(path, text)
    return True


def check_dvc_yaml(plan: Plan) -> None:
    """Compares the project's `dvc.yaml` with the plan.

    Raises:
        ProjectError: it is missing or stale; shows the first lines that differ.
    """
    path = plan.project.root / DVC_YAML
    if not path.exists():
        raise ProjectError(f"{path} is missing. Write it: lineal plan --write")
    found = path.read_text(encoding="utf-8", errors="replace")
    expected = kept_text(plan, path, found)
    if found != expected:
        changes = difflib.unified_diff(
            found.splitlines(), expected.splitlines(), "dvc.yaml", "the plan", lineterm="", n=1
        )
        shown = "\n".join(list(changes)[:12])
        raise ProjectError(
            f"dvc.yaml is stale: it is not what the plan says. Write it: lineal plan --write\n{shown}"
        )


def _check_names(plan: Plan) -> None:
    made: dict[str, str] = {}
    for key, step in plan.steps.items():
        name = stage_name(key)
        if _FORBIDDEN & set(name) or not name.isprintable():
            document = plan.pipelines[step.pipeline].document
            raise document.error(
                (),
                f"DVC allows only letters, digits, '_' and '-' in names, got {step.pipeline!r}; rename the file",
            )
        if name in made:
            raise DeclarationError(
                f"steps {made[name]} and {key} would both be DVC stage {name}; rename one pipeline"
            )
        made[name] = key


def stage_of(plan: Plan, step: Step) -> dict[str, Any]:
    """Returns one stage as plain values."""
    dependencies = [f"artifacts/{key}" for key in step.all_inputs()]
    stage: dict[str, Any] = {
        "cmd": f"lineal step {step.key} --component {stage_tag(step)}",
        "deps": dependencies + list(_project_files(plan, step)),
        "params": _params(plan, step),
        "outs": [f"artifacts/{key}" for key in step.artifact_keys().values()],
    }
    return {key: value for key, value in stage.items() if value}


def _project_files(plan: Plan, step: Step) -> Iterator[str]:
    """Yields the files of the project that the step reads."""
    for path in step.component.files().values():
        if belongs_to_project(path, plan.project.root, _INSTALLED):
            yield path.resolve().relative_to(plan.project.root).as_posix()


def belongs_to_project(path: Path, root: Path, installed: Sequence[Path]) -> bool:
    """Tells whether a file is the project's own; a package's file, although its environment may be here, goes by its version."""
    file = path.resolve()
    return file.is_relative_to(root) and not any(file.is_relative_to(directory) for directory in installed)


def _params(plan: Plan, step: Step) -> list[dict[str, list[str]]]:
    pipeline = plan.pipelines[step.pipeline]
    keys = [
        {f"{PIPELINES}/{declared_name(step.pipeline)}.yaml": list(_yaml_keys(pipeline.document, step.paths))}
    ]
    if step.policy is not None and (plan.project.root / step.policy.document.name).is_file():
        paths = [*step.policy.paths, *([(SETTINGS,)] if (SETTINGS,) in step.policy.document.lines else [])]
        keys.append({step.policy.document.name: list(_yaml_keys(step.policy.document, paths))})
    seed = _seed_key(plan, step)
    return keys + ([{PARAMS: [seed]}] if seed else []) + _retraction_params(plan, step)


def _seed_key(plan: Plan, step: Step) -> str:
    """Returns the key of `params.yaml` that has the seed; empty where none has (DVC refuses a key that doesn't exist).

    A further seed stands in the stage's command, so that another one beside it makes nothing stale.
    """
    params, declared = plan.project.params, declared_name(step.pipeline)
    own = params.pipelines.get(declared)
    if SEED_MARK in step.pipeline and plan.seed_of(step) == plan.project.seed_of(step.pipeline):
        return ""
    if own is not None and (own.seed is not None or own.seeds):
        return f"pipelines.{declared}.{'seed' if own.seed is not None else 'seeds.0'}"
    if params.seeds:
        return "seeds.0"
    return "seed" if "seed" in params.model_fields_set else ""


def _retraction_params(plan: Plan, step: Step) -> list[dict[str, list[str]]]:
    """Returns the parts of a selection's retractions that decide its bytes: their date is for people."""
    retractions, declared, resolved = plan.project.retractions, [], []
    for rule in step.retractions:
        entry = retractions.declared[rule.name].as_yaml()
        chosen = ("reason", "where", "in", "ids") if rule.where is not None else ("reason", "ids")
        declared += [f"{rule.name}.{key}" for key in chosen if key in entry]
        if rule.name in retractions.resolved and retractions.resolved[rule.name].ids:
            resolved.append(f"{rule.name}.ids")
    return [{file: keys} for file, keys in ((RETRACTIONS, declared), (RETRACTED, resolved)) if keys]


def _yaml_keys(document: Document, paths: Iterable[KeyPath]) -> Iterator[str]:
    """Yields the keys of a file that declare a step; settings that DVC would miss are named separately."""
    for path in paths:
        yield dotted(path)
        for key in document.lines:
            if len(key) > len(path) and key[: len(path)] == path and key[-1] in _OVERLOOKED:
                yield dotted(key)


def dotted(path: KeyPath) -> str:
    """Writes a YAML key as DVC does: `round.generated`."""
    return ".".join(str(part) for part in path)


def _metrics_keys(plan: Plan) -> list[str]:
    return [
        key
        for step in plan.steps.values()
        for output, key in step.artifact_keys().items()
        if step.outputs[output].kind is ArtifactKind.METRICS
    ]


def _plots(plan: Plan) -> Iterator[dict[str, Any]]:
    """Makes one plot for each evaluation of a pipeline: its headline number over the rounds, the mean of all seeds."""
    curves: dict[str, dict[str, Any]] = {}
    for step in plan.steps.values():
        if step.outputs[""].kind is ArtifactKind.METRICS and step.group not in ("finish", BEST):
            headline = step.component.headline
            title = f"{series_name(step.pipeline)} {step.label.replace('/', ' ')} {headline}"
            curves.setdefault(title, {})[f"artifacts/{step.key}/{CURVE_FILE}"] = headline
    for title, files in curves.items():
        headline = next(iter(files.values()))
        yield {
            title: {
                "template": PLOT_TEMPLATE,
                "x": "round",
                "y": files,
                "x_label": "round",
                "y_label": headline,
                "title": title,
            }
        }


def _trainings(plan: Plan) -> Iterator[dict[str, Any]]:
    """Makes one plot for each trainer of a pipeline: the loss over optimizer steps, a line for each round."""
    curves: dict[str, dict[str, str]] = {}
    for step in plan.steps.values():
        if step.component.role is Role.TRAINER:
            curves.setdefault(f"{step.pipeline} {step.label.replace('/', ' ')} loss", {})[
                f"runs/{step.key}{TABLE}"
            ] = LOSS
    for title, files in curves.items():
        yield {
            title: {
                "template": TRAINING_TEMPLATE,
                "x": STEP,
                "y": files,
                "x_label": "optimizer step",
                "y_label": LOSS,
                "title": title,
            }
        }
