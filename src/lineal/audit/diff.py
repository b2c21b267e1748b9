"""`lineal diff`: the differences between two rounds or two artifacts, and the prompts that went from right to wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineal.audit.catalog import Catalog
from lineal.audit.keys import find_artifact
from lineal.audit.query import UNITED, connection, fetched
from lineal.components.evaluators.reading import EvaluationNumbers, read_evaluation
from lineal.components.evaluators.reading import compare as compare_evaluations
from lineal.data.estimates import Comparison, mcnemar
from lineal.data.schema import row_key
from lineal.data.sql import parquet, quoted
from lineal.data.store import Artifact, Rows
from lineal.errors import ArtifactError, UsageError, did_you_mean
from lineal.recipe.compute import Compute
from lineal.recipe.project import Project
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import duckdb

Change = tuple[Any, Any]
"""A value before and after; None where there is none."""
DROPPED = ".dropped"


@dataclass(frozen=True)
class DiffSide:
    """One of the two things that are compared.

    Attributes:
        name: as the user wrote it.
        artifacts: by the label that its counterpart has too.
        unknown: labels of artifacts that it records and of which nothing is here.
    """

    name: str
    artifacts: Mapping[str, Artifact]
    unknown: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RowChanges:
    """Differences between the rows of two artifacts, matched by id.

    Attributes:
        added, removed: rows that only the second, only the first has.
        decisions: rows that both selections read, by decision before and after, where they differ.
        verdicts: rows that both have, by verdict before and after, where they differ.
    """

    added: int
    removed: int
    decisions: dict[Change, int]
    verdicts: dict[Change, int]


@dataclass(frozen=True)
class PromptChanges:
    """Differences between the prompts of two judged artifacts; a prompt is solved when any of its samples passes.

    Attributes:
        counts: prompts by state before and after: 'solved', 'unsolved', or None where the side lacks the prompt.
        lost: ids of those that were solved and are not.
        gained: ids of those that were not and are.
    """

    counts: dict[Change, int]
    lost: tuple[str, ...]
    gained: tuple[str, ...]

    @property
    def comparison(self) -> Comparison | None:
        """The difference in the share of solved prompts among those that both sides have; None where they share none."""
        shared = sum(count for change, count in self.counts.items() if None not in change)
        return mcnemar(len(self.lost), len(self.gained), shared) if shared else None


@dataclass(frozen=True)
class ArtifactDiff:
    """The differences between two artifacts.

    Attributes:
        label: what they are in both.
        before, after: their keys.
        same_bytes: whether their content is equal.
        settings: settings, component and seed that differ, by name.
        counts: row counts of the manifests, by name.
        metrics: numbers, by name.
        headline: of two evaluations, the figure that stands for both; else empty.
        comparison: how it differs, prompt by prompt where both were asked the same.
        rows: rows by id, where both have rows that differ in bytes.
        prompts: solved prompts, where both are judged.
        absent: keys of those that are known by their record alone, so that their rows could not be compared.
    """

    label: str
    before: str
    after: str
    same_bytes: bool
    settings: dict[str, Change]
    counts: dict[str, Change]
    metrics: dict[str, Change]
    headline: str
    comparison: Comparison | None
    rows: RowChanges | None
    prompts: PromptChanges | None
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diff:
    """The differences between two sides; `only_before` and `only_after` are labels that the other side lacks.

    Artifacts that one side records and of which nothing is here are in `unknown`.
    """

    before: str
    after: str
    artifacts: tuple[ArtifactDiff, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class NamedSide:
    """One side of a comparison, as a user named it.

    Attributes:
        name: as the user wrote it.
        key: an artifact's, a round's or a pipeline's; '' for everything that the project holds.
        project, catalog: the project, as it lies here or as it was at a revision, and its artifacts.
    """

    name: str
    key: str
    project: Project
    catalog: Catalog


def find_sides(before: NamedSide, after: NamedSide) -> tuple[DiffSide, DiffSide]:
    """Resolves two keys: two rounds (`star/round_01`), two artifacts, or everything that two revisions hold.

    Raises:
        UsageError: one is neither, or one is a round and the other an artifact.
        ArtifactError: an artifact is planned but not made.
    """
    if bool(before.key) != bool(after.key):
        raise _unlike_revisions(before, after)
    first, second = _group(before), _group(after)
    whole_revisions = not before.key
    if whole_revisions and not first and not second:
        raise ArtifactError(
            f"{before.name} and {after.name}: none of their artifacts is here. Bring them: dvc fetch --all-commits"
        )
    if whole_revisions or (first and second):
        return DiffSide(before.name, first, _unknown(before)), DiffSide(after.name, second, _unknown(after))
    if first:
        raise _no_round(before, after)
    if second:
        raise _no_round(after, before)
    return _two_artifacts(before, after)


def _two_artifacts(before: NamedSide, after: NamedSide) -> tuple[DiffSide, DiffSide]:
    """Finds two artifacts, whose keys may be shortened; their common label says both keys where they differ."""
    first = find_artifact(before.project, before.catalog, before.key)
    second = find_artifact(after.project, after.catalog, after.key)
    label = first.key if first.key == second.key else f"{first.key} -> {second.key}"
    return (
        DiffSide(before.name, _with_dropped(before.catalog, label, first)),
        DiffSide(after.name, _with_dropped(after.catalog, label, second)),
    )


def _unlike_revisions(before: NamedSide, after: NamedSide) -> UsageError:
    whole, other = (after, before) if before.key else (before, after)
    return UsageError(
        f"{whole.name} is a whole revision and {other.name} is not. Compare {whole.name.rstrip(':')}:{other.key}"
    )


def _no_round(whole: NamedSide, other: NamedSide) -> UsageError:
    rounds = {"/".join(key.split("/")[:2]) for key in other.catalog.artifacts}
    fix = f"{did_you_mean(other.key, rounds)} Compare two rounds, two artifacts' keys, or two git revisions"
    return UsageError(f"{whole.name} is a round and {other.name} is none. {fix}")


def _group(asked: NamedSide) -> dict[str, Artifact]:
    """Returns the artifacts under a key, in the order in which they were made."""
    prefix, catalog = f"{asked.key}/" if asked.key else "", asked.catalog
    keys = sorted(
        (key for key in catalog.artifacts if key.startswith(prefix)),
        key=lambda key: (catalog.order[key], key),
    )
    return {key.removeprefix(prefix): catalog.artifacts[key] for key in keys}


def _unknown(asked: NamedSide) -> frozenset[str]:
    prefix = f"{asked.key}/" if asked.key else ""
    return frozenset(key.removeprefix(prefix) for key in asked.catalog.unknown if key.startswith(prefix))


def _with_dropped(catalog: Catalog, label: str, artifact: Artifact) -> dict[str, Artifact]:
    """Returns an artifact, and its selection's dropped rows under the label that follows its own."""
    dropped = catalog.artifacts.get(artifact.key + DROPPED)
    return {label: artifact, **({label + DROPPED: dropped} if dropped else {})}


def compare(before: DiffSide, after: DiffSide, compute: Compute) -> Diff:
    """Compares what both sides have under the same label. Reads ids, verdicts and decisions, no texts.

    Raises:
        ArtifactError: rows or metrics cannot be read.
    """
    shared = [label for label in before.artifacts if label in after.artifacts]
    with connection(compute) as opened:
        found = [
            _compared(label, before, after, opened) for label in shared if not _follows(label, before, after)
        ]
    only_before = tuple(
        label for label in before.artifacts if label not in after.artifacts and label not in after.unknown
    )
    only_after = tuple(
        label for label in after.artifacts if label not in before.artifacts and label not in before.unknown
    )
    return Diff(
        before.name,
        after.name,
        tuple(found),
        only_before,
        only_after,
        tuple(sorted(before.unknown | after.unknown)),
    )


def _follows(label: str, *sides: DiffSide) -> bool:
    """Tells whether both sides hold the rows that a selection dropped, which are compared together with those that it kept."""
    main = label.removesuffix(DROPPED)
    return label != main and all(main in side.artifacts and _selected(side.artifacts[main]) for side in sides)


def _selected(artifact: Artifact) -> bool:
    return "decision" in artifact.manifest.columns and "pass" not in artifact.manifest.counts


def _verdict(artifact: Artifact) -> str:
    """Returns the column of the verdicts that the artifact's own step gave, or that its rows came with."""
    return artifact.manifest.column("verdict") if "pass" in artifact.manifest.counts else "verdict"


def _compared(
    label: str, before: DiffSide, after: DiffSide, opened: duckdb.DuckDBPyConnection
) -> ArtifactDiff:
    pair = before.artifacts[label], after.artifacts[label]
    same = pair[0].digest == pair[1].digest
    families = [
        [one for one in (side.artifacts[label], side.artifacts.get(label + DROPPED)) if one]
        for side in (before, after)
    ]
    unequal = [one.digest for one in families[0]] != [one.digest for one in families[1]]
    absent = tuple(
        dict.fromkeys(
            one.key for family in families for one in family if one.manifest.columns and not one.here
        )
    )
    here = all(one.here for one in pair)  # a record lacks the single prompts' values
    with_rows = not absent and all(
        one.parquet_files() and row_key(list(one.manifest.columns)) in one.manifest.columns for one in pair
    )
    evaluations = _evaluation(pair[0]), _evaluation(pair[1])
    judged = with_rows and all(
        {"prompt_id", _verdict(one)} <= set(one.manifest.columns) and not _selected(one) for one in pair
    )
    return ArtifactDiff(
        label,
        pair[0].key,
        pair[1].key,
        same,
        _unequal(_settings(pair[0]), _settings(pair[1])),
        _changes(pair[0].manifest.counts, pair[1].manifest.counts),
        _changes(*(one.numbers if one else {} for one in evaluations)),
        *_compared_headlines(*(one if here else None for one in evaluations)),
        _row_changes(families, opened) if with_rows and unequal else None,
        _prompt_changes(pair, opened) if judged else None,
        absent if unequal else (),
    )


def _settings(artifact: Artifact) -> dict[str, Any]:
    manifest = artifact.manifest
    files = {f"file {name}": digest[:12] for name, digest in manifest.files_read.items()}
    own = {
        "component": f"{manifest.component}@{manifest.version}",
        "made_with": manifest.engine or None,
        "seed": manifest.seed,
    }
    return {**own, **manifest.settings, **files}


def _evaluation(artifact: Artifact) -> EvaluationNumbers | None:
    return read_evaluation(artifact.directory) if artifact.manifest.kind is ArtifactKind.METRICS else None


def _compared_headlines(
    before: EvaluationNumbers | None, after: EvaluationNumbers | None
) -> tuple[str, Comparison | None]:
    if before is None or after is None or before.headline != after.headline:
        return "", None
    return after.headline, compare_evaluations(before, after)


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    return {name: (before.get(name), after.get(name)) for name in {**before, **after}}


def _unequal(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Change]:
    return {name: change for name, change in _changes(before, after).items() if change[0] != change[1]}


def _row_changes(families: list[list[Artifact]], opened: duckdb.DuckDBPyConnection) -> RowChanges:
    old, new = (
        " UNION ALL ".join(_rows_sql(one, main=one is family[0]) for one in family) for family in families
    )
    own_ids = all("sample_id" in one.manifest.columns for family in families for one in family)
    found, met = _met(_joined(old, new), families, opened) if own_ids else ([], [])
    if met != [Rows(tuple(family)).count for family in families]:
        found, _ = _met(_grouped(old, new), families, opened)
    added, removed = 0, 0
    decisions: dict[Change, int] = {}
    verdicts: dict[Change, int] = {}
    for more, less, *states, count in found:
        added, removed = added + more, removed + less
        for changes, change in ((decisions, (states[0], states[1])), (verdicts, (states[2], states[3]))):
            if None not in change and change[0] != change[1]:
                changes[change] = changes.get(change, 0) + count
    return RowChanges(added, removed, decisions, verdicts)


def _met(
    met: str, families: list[list[Artifact]], opened: duckdb.DuckDBPyConnection
) -> tuple[list[Any], list[int]]:
    """Counts rows that came and went, by decision and verdict before and after, and the matched rows of each side."""
    sql = f"""
        SELECT sum(greatest(has - had, 0))::BIGINT, sum(greatest(had - has, 0))::BIGINT,
               decided, decides, judged, judges, count(*), sum(before)::BIGINT, sum(after)::BIGINT
        FROM ({met}) GROUP BY decided, decides, judged, judges ORDER BY ALL"""
    found = fetched(opened, sql, [one for family in families for one in family])
    return [row[:-2] for row in found], [sum(row[place] for row in found) for place in (-2, -1)]


def _joined(old: str, new: str) -> str:
    """Matches rows by ids that are unique on each side, at half the cost of grouping them."""
    return f"""
        SELECT coalesce(b.main, false)::INT AS had, coalesce(a.main, false)::INT AS has, b.decision AS decided,
               a.decision AS decides, b.verdict AS judged, a.verdict AS judges, (b.main IS NOT NULL)::INT AS before,
               (a.main IS NOT NULL)::INT AS after
        FROM ({old}) b FULL JOIN ({new}) a ON b.id = a.id"""


def _grouped(old: str, new: str) -> str:
    """Matches rows by ids that may occur several times on a side."""
    return f"""
        SELECT count(*) FILTER (before AND main) AS had, count(*) FILTER (NOT before AND main) AS has,
               max(decision) FILTER (before) AS decided, max(decision) FILTER (NOT before) AS decides,
               max(verdict) FILTER (before) AS judged, max(verdict) FILTER (NOT before) AS judges,
               count(*) FILTER (before) AS before, count(*) FILTER (NOT before) AS after
        FROM (SELECT *, true AS before FROM ({old}) UNION ALL SELECT *, false FROM ({new})) GROUP BY id"""


def _rows_sql(artifact: Artifact, main: bool) -> str:
    """Selects (id, main, decision, verdict) of an artifact's rows; main is false for those that were dropped beside it."""
    columns = artifact.manifest.columns
    ids = [quoted(name) for name in ("sample_id", "prompt_id") if name in columns]
    told = {"decision": "decision", "verdict": _verdict(artifact)}
    states = [
        f"{quoted(name) if name in columns else 'NULL'}::VARCHAR AS {state}" for state, name in told.items()
    ]
    source = parquet(artifact.parquet_files(), UNITED)
    return f"SELECT coalesce({', '.join(ids)}) AS id, {str(main).lower()} AS main, {', '.join(states)} FROM {source}"


def _prompt_changes(pair: tuple[Artifact, Artifact], opened: duckdb.DuckDBPyConnection) -> PromptChanges:
    before, after = (
        f"SELECT prompt_id, CASE WHEN bool_or({quoted(_verdict(one))} = 'pass') THEN 'solved' ELSE 'unsolved' END AS state "
        f"FROM {parquet(one.parquet_files(), UNITED)} GROUP BY prompt_id"
        for one in pair
    )
    sql = f"""
        SELECT before.state, after.state, count(*),
               CASE WHEN before.state <> after.state THEN list(prompt_id ORDER BY prompt_id) END
        FROM ({before}) AS before FULL JOIN ({after}) AS after USING (prompt_id) GROUP BY 1, 2 ORDER BY 1, 2"""
    found = {(old, new): (count, ids) for old, new, count, ids in fetched(opened, sql, pair)}
    lost, gained = (
        tuple(found.get(change, (0, ()))[1]) for change in (("solved", "unsolved"), ("unsolved", "solved"))
    )
    return PromptChanges({change: count for change, (count, _) in found.items()}, lost, gained)
