"""One step's inputs and outputs on disk: written shard by shard, manifest last, one rename.

    artifacts/P/round_01/.generated.partial/   the work so far of a running (or killed) step
        identity                               whose work it is; other work is deleted
        shards/000000000000-000000004096.parquet
        unsaved/model.jsonl                    finished completions that are not in a shard yet
        spent/model.jsonl                      tokens that a server was paid for
        out/main/ out/dropped/                 what will be renamed into place
    artifacts/P/round_01/.generated.lock       held while the step runs

DVC removes a stage's outs before it runs the command, so partial work lies beside the out, not in it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.manifest import Manifest, content_digest, list_files
from lineal.data.media import MEDIA, PACK, PackWriter, Pictures, images_of
from lineal.data.modes import open_to_group
from lineal.data.progress import Progress, progress_of
from lineal.data.schema import COLUMNS, arrow_type
from lineal.data.shards import Shards, sync_file
from lineal.data.store import Artifact, Rows, RowWriter
from lineal.errors import DataError, StepBusy
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

MAIN = ""


@dataclass
class Workspace:
    """One running step, as components see it.

    Attributes:
        project: the project's root directory.
        step: `round_01/generated`, the part of the key that seeds and manifests carry.
        round: the round (0 for tasks and start).
        seed: the run's seed.
        compute: execution settings.
        inputs: by field, the verified input artifacts.
        retracted: for a selection, by row id, the reason for which a row of its inputs is retracted.
        partial: the hidden directory of unfinished work.
        key: the step's key, for messages and trackers.
        place: for a component inside the step's, its place in that one's settings, with a dot at the end: `verifier.`.
        live: for a component inside an online trainer, by input field the model of this process that is there in place of
            the artifact: the one in training.
        progress_file: where progress lines go for Dagster's log.
        counts: row counts for the manifest; components add to it.
        facts: execution facts for the run log (tokens, seconds); components add to it.
        made_with: the sampler that ran, for the manifest.
        equal_bytes: False where the sampler does not promise the same bytes for the same work.
        slice_rows: how many rows `map_rows` makes between two saves; an engine that needs more at once raises it.
    """

    project: Path
    step: str
    round: int
    seed: int
    compute: Compute
    inputs: Mapping[str, tuple[Artifact, ...]]
    partial: Path
    key: str = ""
    place: str = ""
    live: Mapping[str, Any] = field(default_factory=dict)
    progress_file: Path | None = None
    retracted: Mapping[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    made_with: str | None = None
    equal_bytes: bool | None = None
    slice_rows: int = 0
    _columns: dict[str, dict[str, str]] = field(default_factory=dict)
    _row_counts: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def unsaved(self) -> Path:
        """A directory for files of the slice that `map_rows` is making; it is removed when the slice is saved."""
        return self.partial / "unsaved"

    @contextmanager
    def inside(
        self, place: str, live: Mapping[str, tuple[Artifact, Any]] | None = None
    ) -> Iterator[Workspace]:
        """Opens the step as a component inside this one's sees it: the inputs under its place are its own, and so are pictures.

        The step's manifest names its engine, unless the step's own component names another.

        Args:
            place: the component's place in this one's settings.
            live: by its input field, the artifact that names a model which is in training, and that model.
        """
        prefix = f"{place}."
        own = {
            name.removeprefix(prefix): given for name, given in self.inputs.items() if name.startswith(prefix)
        }
        own |= {name: (artifact,) for name, (artifact, _) in (live or {}).items()}
        own |= {name: given for name, given in self.inputs.items() if name.endswith(f"_{MEDIA}")}
        inner = replace(
            self, inputs=own, place=prefix, live={name: model for name, (_, model) in (live or {}).items()}
        )
        yield inner
        self.made_with = self.made_with or inner.made_with
        self.equal_bytes = False if inner.equal_bytes is False else self.equal_bytes

    def nested(self, name: str, inputs: Mapping[str, tuple[Artifact, ...]]) -> Workspace:
        """Returns a step inside this one, with files, counts and facts of its own, whose outputs this one reads and deletes."""
        partial = self.partial / "nested" / name
        shutil.rmtree(partial / "out", ignore_errors=True)
        partial.mkdir(parents=True, exist_ok=True)
        return Workspace(
            self.project, f"{self.step}/{name}", self.round, self.seed, self.compute, inputs, partial
        )

    def rows(self, field_name: str) -> Rows:
        """Returns the rows of an input field."""
        return Rows(self.inputs[field_name])

    def model(self, field_name: str) -> Artifact:
        """Returns the checkpoint of an input field that takes one model."""
        (artifact,) = self.inputs[field_name]
        return artifact

    @property
    def shows_pictures(self) -> bool:
        """True if its model is shown pictures of its rows."""
        return bool(self._media)

    @property
    def _media(self) -> list[Artifact]:
        own = (artifacts for field_name, artifacts in self.inputs.items() if field_name.endswith(f"_{MEDIA}"))
        return list({one.digest: one for artifacts in own for one in artifacts}.values())

    def shown(self, table: pa.Table) -> list[tuple[str, ...]]:
        """Returns by row the digests of the pictures that its model is shown.

        Raises:
            DataError: rows have pictures, and the plan gave the step none.
        """
        images = images_of(table)
        if any(images) and not self.shows_pictures:
            raise DataError(
                f"{self.step}: its rows have pictures, which its model would not see. Give it rows without them"
            )
        return images

    def pictures(self) -> Pictures | None:
        """Opens the pictures that it shows its model; None where there are none."""
        return Pictures(self._media) if self._media else None

    def progress(self, total: int, unit: str) -> Any:
        """Returns a context manager that gives a `Progress` over `total` units."""
        return progress_of(self.step, total, unit, self.progress_file)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the block's seconds to the run log's phase, without those of phases inside it."""
        phases = self.facts.setdefault("seconds_by_phase", {})
        started, counted = time.monotonic(), sum(phases.values())
        try:
            yield
        finally:
            inside = sum(phases.values()) - counted
            phases[phase] = phases.get(phase, 0.0) + time.monotonic() - started - inside

    def directory(self, output: str = MAIN) -> Path:
        """Returns the directory to write an output's files into."""
        path = self.partial / "out" / (output or "main")
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write_rows(self, tables: Iterable[pa.Table], output: str = MAIN) -> int:
        """Writes an output's rows and returns how many there were."""
        return self.write_outputs(({output: table} for table in tables), [output])[output]

    def write_outputs(
        self, tables: Iterable[Mapping[str, pa.Table]], outputs: Iterable[str]
    ) -> dict[str, int]:
        """Writes several outputs' rows together and returns their number by output."""
        names = list(outputs)
        with ExitStack() as stack:
            writers = {output: stack.enter_context(RowWriter(self._emptied(output))) for output in names}
            for parts in tables:
                for output, part in parts.items():
                    table = conform(part)
                    self._columns[output] = dict(
                        zip(table.column_names, map(str, table.schema.types), strict=True)
                    )
                    writers[output].add(table)
            self._row_counts.update({output: writer.close() for output, writer in writers.items()})
        return {output: sum(self._row_counts[output].values()) for output in names}

    @contextmanager
    def packs(self) -> Iterator[PackWriter]:
        """Gives the writer of the pictures that the step's rows name; they become its output `media`."""
        with PackWriter(self._emptied(MEDIA)) as writer:
            yield writer
            self._row_counts[MEDIA] = writer.close()
            self._columns[MEDIA] = dict(PACK)

    def _emptied(self, output: str) -> Path:
        path = self.partial / "out" / (output or "main")
        shutil.rmtree(path, ignore_errors=True)
        return path

    def map_rows(
        self,
        rows: Rows,
        transform: Callable[[pa.Table, Progress], pa.Table],
        rows_per_input: int = 1,
        unit: str = "rows",
        output: str = MAIN,
    ) -> int:
        """Writes an output as `transform` of every slice of the rows, saving finished slices; once in a step.

        Args:
            rows: the input rows.
            transform: makes a slice's output rows; advances the progress by `unit`s.
            rows_per_input: how many output rows one input row gives, to size slices.
            unit: what the progress counts.
            output: which output to write.

        Returns:
            the number of rows written.
        """
        return self.write_rows(self.map_slices(rows, transform, rows_per_input, unit), output)

    def map_slices(
        self,
        rows: Rows,
        transform: Callable[[pa.Table, Progress], pa.Table],
        rows_per_input: int = 1,
        unit: str = "rows",
    ) -> Iterator[pa.Table]:
        """Yields the `transform` of every slice of the rows once all are made; for work with several outputs.

        A killed step resumes from its finished slices and gives the same bytes, whatever the slice size.
        """
        size = max(1, max(self.compute.shard_rows, self.slice_rows) // rows_per_input)
        shards = Shards(
            self.partial / "shards", size, rows.count, lambda: shutil.rmtree(self.unsaved, ignore_errors=True)
        )
        with self.progress(rows.count * rows_per_input, unit) as progress, shards:
            for start, stop, table in rows.slices(size):
                if (start, stop) in shards:
                    progress.advance((stop - start) * rows_per_input, "(already done)")
                    self.facts["resumed_shards"] = self.facts.get("resumed_shards", 0) + 1
                else:
                    shards.add(start, stop, conform(transform(table, progress)))
        return shards.tables()

    def draft(self, output: str, manifest: Callable[..., Manifest], kind: ArtifactKind) -> Manifest:
        """Makes the manifest that an output would have if it were published now."""
        files = list_files(self.directory(output), self._row_counts.get(output, {}))
        return manifest(
            output=output,
            kind=kind,
            files=files,
            digest=content_digest(files),
            columns=self._columns.get(output, {}),
        )

    def publish(self, manifest: Manifest, target: Path) -> None:
        """Writes a drafted manifest into its output and renames the output into place."""
        source = self.directory(manifest.output)
        manifest.write(source)
        open_to_group(source)
        sync_directory(source)
        replace_directory(source, target)


def conform(table: pa.Table) -> pa.Table:
    """Casts every known column to its declared type.

    Raises:
        DataError: a column holds values of another type.
    """
    import pyarrow as pa

    for index, name in enumerate(table.column_names):
        if name not in COLUMNS or table.schema.types[index] == arrow_type(name):
            continue
        try:
            table = table.set_column(index, name, table.column(index).cast(arrow_type(name)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(
                f"column {name!r} must be {arrow_type(name)}, got {table.schema.types[index]}: {error}"
            ) from error
    return table


def open_partial(partial: Path, identity: str) -> None:
    """Prepares a partial directory for the work with this identity; another identity's leftovers are deleted."""
    stamp = partial / "identity"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != identity:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        stamp.write_text(identity, encoding="utf-8")
    shutil.rmtree(partial / "out", ignore_errors=True)


def replace_directory(source: Path, target: Path) -> None:
    """Renames `source` to `target`; an old `target` is moved aside first and then removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def step_lock(path: Path, key: str) -> Iterator[None]:
    """Holds a step's lock; the kernel frees it when the process dies.

    Raises:
        StepBusy: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            raise StepBusy(
                f"{key} is being made by process {owner} right now. Wait for it, then run again"
            ) from None
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def sync_directory(directory: Path) -> None:
    """Flushes every file under a directory to the disk."""
    for path in directory.rglob("*"):
        if path.is_file():
            sync_file(path)
