"""Compares retractions with the artifacts here: what they affect, and which selections they leave unchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog, read_catalog
from lineal.audit.keys import nearest_key
from lineal.audit.query import connection, fetched
from lineal.audit.trace.reach import Reach, reach_of
from lineal.audit.trace.row_location import ids_sql, row_artifacts
from lineal.audit.trace.taint import Matches, Tainted, matching
from lineal.components.base import Role
from lineal.data.records import lies_here
from lineal.data.store import Artifact
from lineal.errors import UsageError
from lineal.plan import Plan, Step, make_plan
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind
from lineal.recipe.retractions import Resolution, Retraction, Retractions, of
from lineal.step.retraction import ancestry, direct_inputs
from lineal.step.status import State, StepStatus, status_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Effect:
    """The effect of one retraction.

    Attributes:
        name: the retraction.
        tainted: its rows and all that descends from them.
        lost: by selection, how many rows of its inputs it takes away, or of what it gives if those are all right.
        direct: by trainer, what it reads of them that no selection made, so that nothing can drop them.
        unknown: selections of which it cannot be told, or not of all rows, since rows that they read are not here.
    """

    name: str
    tainted: Tainted
    lost: Mapping[str, int]
    direct: Mapping[str, list[str]]
    unknown: tuple[str, ...] = ()


def resolve(
    project: Project, found: Mapping[str, Matches] | None = None
) -> tuple[dict[str, Resolution], list[Effect]]:
    """Resolves the retractions that are new, and checks again those that others leave untouched.

    Selections that are up to date and lose no row are untouched, unless they depend on one that does. One that has become
    stale since applies the retraction from now on, since nobody knows its next rows; where artifacts are missing, as in a
    fresh clone, nothing can be decided and the record is kept.

    Args:
        project: the project.
        found: by name, the rows of retractions that were already searched for.

    Returns:
        the content of `retracted.json`, and what new retractions touch.

    Raises:
        DeclarationError: a new retraction's condition is none, or it matches no row; names file, line and key.
        ArtifactError: rows cannot be read.
    """
    retractions = project.retractions
    if not retractions.declared:
        return {}, []
    settled = {name: entry for name, entry in retractions.declared.items() if name in retractions.resolved}
    plan = make_plan(
        replace(project, retractions=replace(retractions, declared=settled)), _pipelines(project)
    )
    states = {status.key: status for status in status_of(plan)}
    resolved, effects, catalog = {}, [], read_catalog(project)
    for name, entry in retractions.declared.items():
        look = _Look(plan, states, retractions, name)
        if name in settled:
            look.over_all_steps()
        else:
            matches = (found or {}).get(name) or _found_by_hand(catalog, project, name)
            with reach_of(catalog, matches, project.params.compute) as look.reach:
                look.over_all_steps()
                effects.append(Effect(name, look.reach.tainted, look.lost, look.direct, tuple(look.unknown)))
        resolved[name] = look.resolution(entry)
    return resolved, effects


def _pipelines(project: Project) -> list[str]:
    """Returns the active pipelines, and others that have artifacts."""
    made = [name for name in project.pipeline_names() if (project.artifacts / name).is_dir()]
    return list(dict.fromkeys([*project.active, *made]))


def _found_by_hand(catalog: Catalog, project: Project, name: str) -> Matches:
    """Finds the rows of a retraction that somebody wrote into the file."""
    entry = project.retractions.declared[name]
    try:
        return find_rows(catalog, entry, project)
    except UsageError as error:
        raise project.retractions.document.error(
            (name, "ids" if entry.where is None else "where"), str(error)
        ) from error


def find_rows(catalog: Catalog, entry: Retraction, project: Project) -> Matches:
    """Finds the rows that a retraction means, wherever they are.

    Raises:
        UsageError: it matches no row, or `in` names nothing, or its condition is none.
    """
    asked = _asked(catalog, entry)
    if entry.ids is not None:
        found = _by_id(asked, entry.ids, project)
    else:
        found = matching(asked, str(entry.where), project.params.compute)
    absent = [key for key in catalog.artifacts if not lies_here(project, key)]
    if not found.ids.num_rows and absent:
        raise UsageError(
            f"no row that is here matches ({len(found.searched)} artifacts searched), and {len(absent)} artifacts are recorded "
            "but not here, so that nobody knows of their rows. Bring them first: lineal run --pull"
        )
    if not found.ids.num_rows:
        lacking = f", {len(found.passed_over)} more lack its columns" if found.passed_over else ""
        raise UsageError(
            f"no row matches ({len(found.searched)} artifacts searched{lacking}), so there is nothing to retract. "
            "Try the condition first: lineal taint --where SQL"
        )
    return found


def _asked(catalog: Catalog, entry: Retraction) -> list[Artifact]:
    every = row_artifacts(catalog.artifacts.values())
    if entry.within is None:
        return every
    chosen = [one for one in every if entry.asks(one.key)]
    if not chosen:
        known = [one.key for one in every]
        raise UsageError(f"no rows lie under {entry.within!r}. {nearest_key(entry.within, known)}")
    return chosen


def _by_id(artifacts: list[Artifact], ids: list[str], project: Project) -> Matches:
    import pyarrow as pa

    with connection(project.params.compute) as opened:
        opened.register("wanted", pa.table({"id": pa.array(ids, pa.string())}))
        found = fetched(
            opened, f"SELECT id, file FROM ({ids_sql(artifacts)}) SEMI JOIN wanted USING (id)", artifacts
        )
    owners = {str(path): artifact.key for artifact in artifacts for path in artifact.parquet_files()}
    held = [(row_id, owners[file]) for row_id, file in found]
    places = {one.key: place for place, one in enumerate(artifacts)}
    counted = Counter(key for _, key in held)
    known = {row_id for row_id, _ in held}
    unknown = [row_id for row_id in ids if row_id not in known]
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise UsageError(
            f"no row has the id {unknown[0]!r}{more}. An id is given in full; find it: lineal trace ID"
        )
    columns = (
        pa.array([row_id for row_id, _ in held], pa.string()),
        pa.array([places[key] for _, key in held], pa.int32()),
    )
    counts = {key: counted[key] for key in places if key in counted}
    table: pa.Table = pa.table(dict(zip(("id", "place"), columns, strict=True)))
    return Matches(f"{len(ids):,} ids", tuple(places), (), counts, table, places)


@dataclass
class _Look:
    """Compares one retraction with every step of the plan, in order.

    Only a new one is compared with rows. A selection that was untouched and is up to date is still untouched: a rerun would have
    failed on the first retracted row.
    """

    plan: Plan
    states: Mapping[str, StepStatus]
    retractions: Retractions
    name: str
    reach: Reach | None = None
    lost: dict[str, int] = field(default_factory=dict)
    direct: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _untouched: list[str] = field(default_factory=list)
    _changing: set[str] = field(default_factory=set)

    def over_all_steps(self) -> None:
        for step in self.plan.steps.values():
            follows = any(maker.key in self._changing for maker in self.plan.upstream(step))
            role = step.component.role
            if role is Role.TRAINER and self.reach is not None and direct_inputs(self.plan, step):
                self._look_at_trainer(step)
            taken = self._rows_taken(step) if role is Role.SELECTOR and self.reach is not None else 0
            if follows or taken or (role is Role.SELECTOR and not self._can_stay(step)):
                self._changing.add(step.key)
            elif role is Role.SELECTOR:
                self._untouched.append(step.key)

    def resolution(self, entry: Retraction) -> Resolution:
        """Returns the resolution to record."""
        before = self._recorded()
        elsewhere = [key for key in before.untouched if key not in self.plan.steps]
        return Resolution(
            of=of(entry), ids=sorted({*before.ids, *self._ids}), untouched=[*self._untouched, *elsewhere]
        )

    def _recorded(self) -> Resolution:
        return self.retractions.resolved.get(self.name, Resolution(of={}))

    def _can_stay(self, step: Step) -> bool:
        """Tells whether a selection that loses no row is up to date, or was recorded as untouched and cannot be read."""
        if self.states[step.key].state is State.DONE:
            return self.reach is not None or step.key in self._recorded().untouched
        return step.key in self._recorded().untouched and self._lacks_something(step)

    def _lacks_something(self, step: Step) -> bool:
        return any(self.states[one.key].state is State.MISSING for one in self.plan.with_upstream([step]))

    def _rows_taken(self, step: Step) -> int:
        """Counts the rows that a selection loses; a stale one applies the retraction anyway, so its loss is only reported."""
        pending = self.states[step.key].state is not State.DONE
        read = [key for keys in step.inputs.values() for key in keys]
        count = self._retracted(step, read, not pending) or self._retracted(step, [step.key], not pending)
        if self._reads_what_is_not_here(step):
            self.unknown.append(step.key)
        if count:
            self.lost[step.key] = count
        return 0 if pending else count

    def _reads_what_is_not_here(self, step: Step) -> bool:
        makers = [one for one in self.plan.with_upstream([step]) if one.key != step.key]
        rows = (
            key
            for one in makers
            for output, key in one.artifact_keys().items()
            if one.outputs[output].kind is ArtifactKind.ROWS
        )
        return any(not lies_here(self.plan.project, key) for key in rows)

    def _look_at_trainer(self, step: Step) -> None:
        read = [key for key in direct_inputs(self.plan, step) if self._retracted(step, [key], True)]
        if read:
            self.direct[step.key] = read

    def _retracted(self, step: Step, keys: list[str], notes: bool) -> int:
        """Counts the retracted rows of artifacts; notes the matching ones that the condition would not find from there."""
        assert self.reach is not None
        count = self.reach.count(keys)
        rule = next((rule for rule in self.retractions.rules(step.pipeline) if rule.name == self.name), None)
        if count and notes and (rule is None or rule.where is not None):
            above = [one.key for one in ancestry(self.plan, keys).artifacts]
            self._ids |= self.reach.beyond(keys, above, rule)
        return count


def effect_json(effect: Effect) -> dict[str, Any]:
    """Returns the effect for programs."""
    return {
        "name": effect.name,
        "rows": effect.tainted.rows,
        "matched": dict(effect.tainted.matched),
        "searched": list(effect.tainted.searched),
        "passed_over": list(effect.tainted.passed_over),
        "selections": dict(effect.lost),
        "checkpoints": list(effect.tainted.checkpoints),
        "direct": dict(effect.direct),
        "unknown": list(effect.unknown),
    }
