"""Overlap of rows with evaluation prompts: which rows, by which rule, with the overlapping words as evidence."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineal.components.base import Role
from lineal.components.evaluators.base import may_be_trained_on
from lineal.data.ids import digest_of
from lineal.data.manifest import MANIFEST, Manifest
from lineal.data.media import IMAGES, images_of
from lineal.data.overlap import EvaluationPrompt, OverlapIndex, OverlapRule
from lineal.data.schema import row_key
from lineal.data.store import Artifact, Rows, open_artifact
from lineal.environments.registry import locations
from lineal.errors import ArtifactError
from lineal.plan import Plan, Step
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("prompt", "completion", "chosen", "rejected", "messages")
"""The columns that are searched. Of `messages` it is all turns' contents: their `prompt` is only a short form."""
SEARCHED = (*TEXTS, IMAGES)
ENTRY = "entry"
"""The column that holds the game of an environment's task; other tasks may have something else in it."""
BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class OverlappingRow:
    """One row that overlaps with one evaluation prompt.

    Attributes:
        position: the row's place in its artifact.
        row: the row's id.
        column: the column whose text overlaps.
        rule: how.
        ngram: the first words that both have, normalised.
        evaluation: the evaluation set's key.
        prompt: the evaluation prompt's id.
    """

    position: int
    row: str
    column: str
    rule: OverlapRule
    ngram: str
    evaluation: str
    prompt: str


class HeldOut:
    """Evaluation prompts, ready to be searched for in rows.

    Attributes:
        n: how many consecutive words are an overlap.
        prompts: the prompts.
    """

    def __init__(self, prompts: Iterable[EvaluationPrompt], n: int) -> None:
        self.n, self.prompts = n, list(prompts)
        self._by_id = {prompt.prompt_id: prompt for prompt in reversed(self.prompts)}
        self._by_picture = {
            picture: prompt for prompt in reversed(self.prompts) for picture in prompt.pictures
        }
        self._index = OverlapIndex([prompt for prompt in self.prompts if not prompt.pictures], n)
        self._by_game = [_by_game(prompts) for prompts in self._index.prompts]

    def matches(self, artifact: Artifact) -> Iterator[OverlappingRow]:
        """Yields every overlap of an artifact's rows, in the rows' order; reads a bounded number of rows at a time.

        Raises:
            ArtifactError: its rows cannot be read.
        """
        if not self.prompts:
            return
        start = 0
        for table in _batches(artifact):
            found = [
                *self._by_ids(table, start),
                *self._by_pictures(table, start),
                *self._by_texts(table, start),
            ]
            yield from sorted(found, key=lambda match: (match.position, SEARCHED.index(match.column)))
            start += table.num_rows

    def _by_ids(self, table: pa.Table, start: int) -> Iterator[OverlappingRow]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if "prompt_id" not in table.column_names:
            return
        known = pa.array(self._by_id, pa.string())
        for place in pc.indices_nonzero(pc.is_in(table["prompt_id"], known)).to_pylist():
            asked = self._by_id[table["prompt_id"][place].as_py()]
            yield OverlappingRow(
                start + place,
                _row_id(table, place),
                "prompt",
                OverlapRule.PROMPT_ID,
                "",
                asked.key,
                asked.prompt_id,
            )

    def _by_pictures(self, table: pa.Table, start: int) -> Iterator[OverlappingRow]:
        """Finds rows that show a picture of an evaluation prompt, whatever they ask about it."""
        for place, pictures in enumerate(images_of(table) if self._by_picture else ()):
            asked = next((self._by_picture[one] for one in pictures if one in self._by_picture), None)
            if asked is not None:
                yield OverlappingRow(
                    start + place,
                    _row_id(table, place),
                    IMAGES,
                    OverlapRule.PICTURE,
                    "",
                    asked.key,
                    asked.prompt_id,
                )

    def _by_texts(self, table: pa.Table, start: int) -> Iterator[OverlappingRow]:
        """Groups rows by text, so that equal texts (the prompt of many samples) are searched once."""
        import numpy as np

        games = table[ENTRY].to_pylist() if ENTRY in table.column_names else [None] * table.num_rows
        for column in (name for name in TEXTS if name in table.column_names):
            coded = table[column].combine_chunks().dictionary_encode()
            codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            order = np.argsort(codes, kind="stable")
            first = np.searchsorted(codes[order], np.arange(len(coded.dictionary) + 1))
            for overlap in self._index.overlaps(coded.dictionary.to_pylist()):
                for place in order[first[overlap.place] : first[overlap.place + 1]].tolist():
                    for asked in self._asked_in_words(overlap.owner, games[place]):
                        row = _row_id(table, place)
                        yield OverlappingRow(
                            start + place,
                            row,
                            column,
                            overlap.rule,
                            overlap.ngram,
                            asked.key,
                            asked.prompt_id,
                        )

    def _asked_in_words(self, text: int, game: str | None) -> Sequence[EvaluationPrompt]:
        """Returns the prompts with a text; to a row of one game those of other games are no prompts of its own."""
        if game is None:
            return self._index.prompts[text]
        return [*self._by_game[text].get(None, ()), *self._by_game[text].get(game, ())]


def _by_game(prompts: Iterable[EvaluationPrompt]) -> dict[str | None, list[EvaluationPrompt]]:
    found: dict[str | None, list[EvaluationPrompt]] = {}
    for prompt in prompts:
        found.setdefault(prompt.entry, []).append(prompt)
    return found


def _row_id(table: pa.Table, place: int) -> str:
    return str(table[row_key(table.column_names)][place].as_py())


def _batches(artifact: Artifact) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {"sample_id", "prompt_id", ENTRY, *SEARCHED}
    for path in artifact.parquet_files():
        try:
            with pq.ParquetFile(path) as file:
                columns = [name for name in file.schema_arrow.names if name in wanted]
                for batch in file.iter_batches(BATCH_ROWS, columns=columns):
                    yield _with_spoken(pa.Table.from_batches([batch]))
        except (pa.ArrowException, OSError) as error:
            fix = f"Delete {artifact.directory} and remake it: lineal run {artifact.key}"
            raise ArtifactError(
                f"{artifact.key}: {path} cannot be read as Parquet ({error}). {fix}"
            ) from error


def _with_spoken(table: pa.Table) -> pa.Table:
    """Returns the table with each conversation as one text."""
    import pyarrow as pa

    if "messages" not in table.column_names:
        return table
    talks = table["messages"].to_pylist()
    texts = [None if talk is None else "\n".join(turn["content"] or "" for turn in talk) for talk in talks]
    return table.set_column(table.column_names.index("messages"), "messages", pa.array(texts, pa.string()))


def held_out_prompts(plan: Plan, pipeline: str, n: int | None = None) -> HeldOut:
    """Reads the prompts of a pipeline's evaluation sets, of those that exist as they are declared.

    Args:
        plan: the plan.
        pipeline: whose evaluation sets.
        n: how many consecutive words are an overlap; default: what `params.yaml` says.

    Raises:
        ArtifactError: one of them cannot be read.
    """
    prompts: list[EvaluationPrompt] = []
    environments = locations()
    for step in evaluation_sets(plan, pipeline):
        directory = plan.project.directory(step.key)
        if (directory / MANIFEST).exists():
            artifact = open_artifact(step.key, directory)
            if _is_declared(plan, step, artifact.manifest):
                rows = Rows((artifact,)).read(["prompt_id", "prompt", IMAGES, "task", ENTRY])
                prompts += [_asked(step.key, row, environments) for row in rows.to_pylist()]
    return HeldOut(prompts, n or plan.project.params.contamination.n)


def _is_declared(plan: Plan, step: Step, manifest: Manifest) -> bool:
    """Tells whether a set was made with the settings that are declared now: one that was not is about to be replaced."""
    if step.settings_from:
        return True
    made, declared = ([manifest.settings, manifest.seed], [step.component.identity(), plan.seed_of(step)])
    return digest_of(made) == digest_of(declared)


def _asked(key: str, row: Mapping[str, Any], environments: Container[str]) -> EvaluationPrompt:
    """Returns a row of an evaluation set; an entry is a game if its task names an environment."""
    entry = row.get(ENTRY) if row.get("task") in environments else None
    return EvaluationPrompt(key, row["prompt_id"], row["prompt"], tuple(row.get(IMAGES) or ()), entry)


def evaluation_sets(plan: Plan, pipeline: str) -> Iterator[Step]:
    """Yields the task sets held out for evaluation: an evaluator reads them as prompts, or they are of split test or dev.

    One that all its evaluators read with `held_out: false` is none.
    """
    for step in plan.steps.values():
        if step.pipeline == pipeline and step.component.role is Role.SOURCE:
            split = (
                getattr(step.component, "split", None) or step.label.removeprefix("tasks/").partition("/")[0]
            )
            readers = [
                consumer.component
                for consumer in plan.consumers(step)
                if consumer.component.role is Role.EVALUATOR
                and step.key in consumer.inputs.get("prompts", ())
            ]
            if not all(map(may_be_trained_on, readers)) if readers else split in ("test", "dev"):
                yield step


def training_outputs(plan: Plan, step: Step) -> list[str]:
    """Returns a step's outputs whose rows a trainer reads, the main one first."""
    read = {
        key
        for user in plan.consumers(step)
        if user.component.role is Role.TRAINER
        for key in user.all_inputs()
    }
    keys = step.artifact_keys()
    return sorted(
        output
        for output, made in step.outputs.items()
        if made.kind is ArtifactKind.ROWS and keys[output] in read
    )


def stops(plan: Plan, match: OverlappingRow) -> bool:
    """Tells whether a training row with this overlap stops the steps after it."""
    return match.rule is not OverlapRule.NGRAM or plan.project.params.contamination.stops == "ngrams"


def described(match: OverlappingRow) -> dict[str, Any]:
    """Returns a match for programs."""
    return {
        "row": match.row,
        "column": match.column,
        "rule": str(match.rule),
        "ngram": match.ngram,
        "evaluation": match.evaluation,
        "prompt": match.prompt,
    }
