"""`train_and_test`: a training of its own for every row; the score is what the trained model can do.

A loop inside the loop: the row is a self-edit (SEAL, arXiv:2506.10943, section 3.1), a data recipe, or a problem with variants.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import pydantic

from lineal.components.base import MAIN, ROWS, Columns, Component, Surroundings, Workspace, merged
from lineal.components.evaluators.judging import JudgedDraws
from lineal.components.evaluators.reading import read_evaluation
from lineal.components.generators.drawing import require_distinct
from lineal.components.selectors.query import with_columns
from lineal.components.trainers.base import Trainer
from lineal.components.verifiers.base import ERROR, FAIL, PASS, Verifier
from lineal.components.verifiers.embedded import class_inside, placed
from lineal.data.ids import canonical_json
from lineal.data.manifest import INIT, Manifest
from lineal.data.schema import arrow_types, row_key
from lineal.data.store import Artifact
from lineal.data.whole_lines import whole_lines
from lineal.engines.models.checkpoints import is_adapter
from lineal.errors import DataError, EngineError
from lineal.recipe.compute import Positive
from lineal.recipe.references import Accepts, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

TRAIN, TEST, MODEL, PROMPTS = "train", "test", "model", "prompts"
NO_LESSONS, UNTESTED = "nothing to train on", "none of the prompts that test it could be judged"
Inside = TypeVar("Inside", bound=Component)
Told = tuple[str, float | None, str | None, float | None]
"""The values of `verdict`, `score`, `detail` and `before`."""
Tried = float | str
"""The result of a training: the trained model's result, or why there is none."""


class TrainAndTest(Verifier):
    """Trains a checkpoint on the lessons of each row, and tests the trained model.

    The lessons of a row are the training's rows that have it among their parents. `score` is the headline of the test after the
    training, the mean over `repeats`; `before` is what the checkpoint reaches without it. A row passes where `score` is above
    `before`; one without lessons fails, with `before` as its score. Trained models are deleted. Every finished training is
    saved: a killed step goes on after it. `max_trainings` and the training's own length bound the work.

    Attributes:
        train: a trainer with `use:` and its settings. Its `init` is where every training starts.
        test: an evaluator that samples, with `use:` and its settings, but without `model`.
        tested_by: a column that a row and the prompts that test it have in common; null: all prompts test every row.
        repeats: trainings for each row, each with a seed of its own.
        max_trainings: a step that would need more is refused.
    """

    added: ClassVar[Mapping[str, str]] = {**Verifier.added, "before": "double"}
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("pytorch", "huggingface")

    train: dict[str, Any]
    test: dict[str, Any]
    tested_by: str | None = None
    repeats: Positive = 1
    max_trainings: Positive = 1000
    _trainer: Trainer = pydantic.PrivateAttr()
    _test: JudgedDraws = pydantic.PrivateAttr()

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component.

        Raises:
            pydantic.ValidationError: its settings, or those of the two inside, don't fit.
            ValueError: `train` is no trainer that starts from a checkpoint, or `test` no evaluator that samples.
        """
        made = super().parse(settings, surroundings)
        made._trainer = _inside(TRAIN, made.train, Trainer, "a trainer such as 'sft'", surroundings)
        if INIT not in type(made._trainer).model_fields:
            raise ValueError(
                f"{TRAIN}: {made._trainer.use!r} starts from no checkpoint. Take a trainer with init, such as 'sft'"
            )
        if MODEL in made.test:
            raise ValueError(f"{TEST}.{MODEL}: the trained model is tested here; leave it out")
        test = {**made.test, MODEL: getattr(made._trainer, INIT)}
        made._test = _inside(
            TEST,
            test,
            JudgedDraws,
            "an evaluator of one answer for a prompt, such as 'accuracy'",
            surroundings,
        )
        return made

    def embedded(self) -> dict[str, Component]:
        """Returns the trainer and the evaluator."""
        return {TRAIN: self._trainer, TEST: self._test}

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        lessons = self._trainer.learns_from
        return {**super().references(), self._lessons: self._trainer.references()[lessons]}

    def identity(self) -> dict[str, Any]:
        inside = {
            name: {"use": one.use, "version": one.version, **one.identity()}
            for name, one in self.embedded().items()
        }
        return {**super().identity(), **inside}

    def needs(self) -> dict[str, Columns]:
        shared = () if self.tested_by is None else (self.tested_by,)
        needed = {name: columns for name, columns in Component.needs(self).items() if name != self._lessons}
        lessons = merged(("parents",), self._trainer.needs()[self._trainer.learns_from])
        prompts = merged(("prompt_id",), shared, needed[f"{TEST}.{PROMPTS}"])
        return {**needed, ROWS: shared, self._lessons: lessons, f"{TEST}.{PROMPTS}": prompts}

    @property
    def _lessons(self) -> str:
        return f"{TRAIN}.{self._trainer.learns_from}"

    def run(self, workspace: Workspace) -> None:
        """Tests the checkpoint, then trains and tests one row after another."""
        rows = workspace.rows(ROWS)
        key = row_key(rows.columns)
        self._require_bounded(workspace, rows.count)
        require_distinct(rows, key, workspace.step)
        table = rows.read()
        keys = table[key].to_pylist()
        lessons, prompts = self._by_row(workspace, keys), self._prompts(workspace, table)
        saved = _Saved(workspace.partial / "tried.jsonl")
        before = self._before(workspace, saved)
        told = []
        with workspace.progress(len(keys), "rows") as progress:
            for row, asked in zip(keys, prompts, strict=True):
                given = [before[prompt] for prompt in asked["prompt_id"].to_pylist() if prompt in before]
                numbers = range(self.repeats if row in lessons else 0)
                tried = [
                    self._tried(workspace, saved, f"{row}-{one}", lessons[row], asked)
                    for one in numbers
                    if given
                ]
                told.append(_judged(tried, fmean(given) if given else None))
                progress.advance()
        workspace.write_rows([with_columns(table, self._columns(told))])
        workspace.facts["trainings"] = saved.added
        self.finish(workspace)

    def _require_bounded(self, workspace: Workspace, rows: int) -> None:
        if rows * self.repeats > self.max_trainings:
            got = f"{workspace.step}: got {rows:,} rows x {self.repeats} trainings, expected at most {self.max_trainings:,}"
            raise DataError(f"{got}. Raise max_trainings, or give fewer rows")

    def _by_row(self, workspace: Workspace, keys: list[str]) -> dict[str, pa.Table]:
        """Returns by row its lessons.

        Raises:
            DataError: a lesson is nobody's.
        """
        lessons = workspace.rows(self._lessons).read()
        known, places = set(keys), dict[str, list[int]]()
        for place, parents in enumerate(lessons["parents"].to_pylist()):
            owners = known.intersection(parents or ())
            if not owners:
                which, rows = (workspace.inputs[name][0].key for name in (self._lessons, ROWS))
                got = f"row {place + 1} of {which} has no row of {rows} as a parent, so it is in nobody's training"
                raise DataError(f"{workspace.step}: {got}. Make the lessons of a row from that row")
            for owner in owners:
                places.setdefault(owner, []).append(place)
        return {owner: lessons.take(own) for owner, own in places.items()}

    def _prompts(self, workspace: Workspace, rows: pa.Table) -> list[pa.Table]:
        """Returns by row the prompts that test it.

        Raises:
            DataError: there are none for a row.
        """
        prompts = workspace.rows(f"{TEST}.{PROMPTS}").read()
        if self.tested_by is None:
            return [prompts] * rows.num_rows
        places: dict[Any, list[int]] = {}
        for place, value in enumerate(prompts[self.tested_by].to_pylist()):
            places.setdefault(value, []).append(place)
        values = rows[self.tested_by].to_pylist()
        missing = [value for value in values if value not in places]
        if missing:
            where = workspace.inputs[f"{TEST}.{PROMPTS}"][0].key
            got = (
                f"{workspace.step}: no prompt of {where} has {self.tested_by} {missing[0]!r}, which a row has"
            )
            raise DataError(f"{got}. Add one, or drop the row before")
        parts = {value: prompts.take(own) for value, own in places.items()}
        return [parts[value] for value in values]

    def _before(self, workspace: Workspace, saved: _Saved) -> Mapping[str, float]:
        """Returns by prompt what the checkpoint reaches without training."""
        if MODEL not in saved.found:
            init, prompts = workspace.inputs[f"{TRAIN}.{INIT}"], workspace.rows(f"{TEST}.{PROMPTS}").read()
            saved.add(MODEL, self._tested(workspace, "before", init, prompts))
        told: Mapping[str, float] = saved.found[MODEL]
        return told

    def _tried(
        self, workspace: Workspace, saved: _Saved, name: str, lessons: pa.Table, prompts: pa.Table
    ) -> Tried:
        """Returns the score after one training, or the reason why it has none."""
        if name not in saved.found:
            try:
                trained = self._trained(workspace, name, lessons)
                result: Tried = fmean(self._tested(workspace, f"{name}/test", (trained,), prompts).values())
            except (DataError, EngineError) as error:
                result = str(error)
            shutil.rmtree(workspace.partial / "nested" / name, ignore_errors=True)
            saved.add(name, result)
        told: Tried = saved.found[name]
        return told

    def _trained(self, workspace: Workspace, name: str, lessons: pa.Table) -> Artifact:
        rows = workspace.nested(f"{name}/lessons", {})
        rows.write_rows([lessons])
        with workspace.inside(TRAIN) as outer:
            given = {**outer.inputs, self._trainer.learns_from: (_made(rows, ArtifactKind.ROWS),)}
            inner = workspace.nested(f"{name}/train", given)
            self._trainer.run(inner)
        _account(workspace, inner)
        return _made(inner, ArtifactKind.MODEL)

    def _tested(
        self, workspace: Workspace, name: str, model: tuple[Artifact, ...], prompts: pa.Table
    ) -> dict[str, float]:
        """Returns by prompt the test's headline of a model.

        Raises:
            DataError: the test gives no number by prompt.
        """
        rows = workspace.nested(f"{name}/prompts", {})
        rows.write_rows([prompts])
        with workspace.inside(TEST) as outer:
            given = {**outer.inputs, MODEL: model, PROMPTS: (_made(rows, ArtifactKind.ROWS),)}
            inner = workspace.nested(name, given | _base(workspace, model[0]))
            self._test.run(inner)
        _account(workspace, inner)
        told = read_evaluation(inner.directory()).by_prompt
        if not told:
            got = f"{workspace.step}: {TEST}: {self._test.use} gives no number by prompt"
            raise DataError(f"{got}. Take another evaluator, such as accuracy")
        return told

    def _columns(self, told: list[Told]) -> pa.Table:
        import pyarrow as pa

        types = arrow_types()
        columns = list(zip(*told, strict=True)) or [()] * len(self.added)
        named = zip(self.added.items(), columns, strict=True)
        return pa.table({self.column(name): pa.array(values, types[kind]) for (name, kind), values in named})


class _Saved:
    """The results of finished trainings, by name, kept in a file line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, Any] = dict(map(json.loads, whole_lines(path)))
        self.added = 0

    def add(self, name: str, result: Any) -> None:
        """Saves a result."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(canonical_json([name, result]) + "\n")
        self.found[name] = result
        self.added += 1


def _inside(
    setting: str, declared: Mapping[str, Any], base: type[Inside], example: str, surroundings: Surroundings
) -> Inside:
    """Makes the component that a setting declares.

    Raises:
        ValueError: it is unknown, or of another kind.
        pydantic.ValidationError: its settings don't fit.
    """
    found = class_inside(declared, setting, example)
    if not issubclass(found, base):
        raise ValueError(f"{setting}: got {declared['use']!r}, expected {example}")
    with placed(setting, found):
        return found.parse(declared, surroundings)


def _base(workspace: Workspace, model: Artifact) -> dict[str, tuple[Artifact, ...]]:
    """Returns the full model under a trained adapter, as the test's input of that name."""
    init = workspace.inputs[f"{TRAIN}.{INIT}"]
    under = workspace.inputs.get(f"{TRAIN}.{INIT}_base", init)
    return {f"{MODEL}_base": under} if is_adapter(model.directory) else {}


def _made(inner: Workspace, kind: ArtifactKind) -> Artifact:
    """Returns what a nested step wrote, as an input of the next."""
    empty: dict[str, Any] = {"settings": {}, "inputs": {}, "files_read": {}, "counts": {}}
    manifest = partial(
        Manifest, step=inner.step, component="", version=1, identity="", seed=inner.seed, **empty
    )
    return Artifact(inner.step, inner.directory(), inner.draft(MAIN, manifest, kind))


def _account(workspace: Workspace, inner: Workspace) -> None:
    """Adds a nested step's tokens and seconds to the step's own, and takes over its engine."""
    workspace.made_with = workspace.made_with or inner.made_with
    workspace.equal_bytes = False if inner.equal_bytes is False else workspace.equal_bytes
    workspace.facts["tokens"] = workspace.facts.get("tokens", 0) + inner.facts.get("tokens", 0)
    phases = workspace.facts.setdefault("seconds_by_phase", {})
    for phase, seconds in inner.facts.get("seconds_by_phase", {}).items():
        phases[phase] = phases.get(phase, 0.0) + seconds


def _judged(tried: list[Tried], before: float | None) -> Told:
    """Returns the row's verdict, score, detail and `before`, which is None where none of its prompts could be judged."""
    if before is None:
        return ERROR, None, UNTESTED, None
    failed = next((result for result in tried if isinstance(result, str)), None)
    if failed is not None:
        return ERROR, None, failed, before
    if not tried:
        return FAIL, before, NO_LESSONS, before
    score = fmean(result for result in tried if not isinstance(result, str))
    return (PASS if score > before else FAIL), score, None, before
