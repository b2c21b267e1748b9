"""The rollouts of an online training: judged as they are sampled, and kept as rows with lineage like any other."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import fsum, isfinite, nan
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace, merged
from lineal.components.generators.drawing import carried
from lineal.components.trainers.outside import OUTSIDE
from lineal.components.trainers.rollout_means import STEP, step_means
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT, AddsColumns
from lineal.components.verifiers.embedded import error_limit, too_many_errors
from lineal.data.conversations import Prompt
from lineal.data.ids import row_id
from lineal.data.schema import arrow_type, row_key
from lineal.data.shards import rows_in_shard, save_shard, saved_shards
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.components.trainers.outside import BesideRows
    from lineal.engines.sampling.rollouts import Generation, SampledRollout
    from lineal.engines.training.train import TrainingReport

ROLLOUTS = "rollouts"
REPLACED, UNFILLED = "replaced", "unfilled"
"""Marks rollouts that were replaced; in the counts, those of groups that teach nothing."""
ROLLOUT_COLUMNS: Columns = (
    "sample_id",
    "parents",
    "completion",
    "finish_reason",
    "tokens",
    "temperature",
    "round",
    "sample_index",
    "checkpoint",
    "optimizer_step",
)
LARGEST = 3e38
"""Rewards become 32-bit floats, and an infinite one would make every advantage of its group 0."""
Said = tuple[str | None, float | None, str | None]
"""Verdict, score and detail."""


@dataclass(frozen=True)
class WeightedVerifier:
    """A verifier, whose columns have its name in front, and the weight of its score in the reward.

    Without a weight it is a probe: it judges rollouts and is no part of their reward or verdict.
    """

    judge: AddsColumns
    weight: float | None

    @property
    def columns(self) -> Columns:
        """The columns that it adds to a rollout."""
        return tuple(self.judge.column(name) for name in self.judge.added)

    def said(self, rows: pa.Table) -> list[Said]:
        """Returns its results for judged rollouts; one that gives scores alone has no verdict."""
        nothing = [None] * rows.num_rows
        given = (
            rows[self.judge.column(name)].to_pylist() if name in self.judge.added else nothing
            for name in VERDICT
        )
        return list(zip(*given, strict=True))


def rollout_columns(prompts: Columns, rewards: Iterable[WeightedVerifier], adds: Columns = ()) -> Columns:
    """Returns the columns of rollouts of prompts with these columns; `adds` are further ones that rollouts have.

    Raises:
        ValueError: the prompts have a column that a reward adds.
    """
    kept = tuple(name for name in prompts if carried(name))
    added = {column: reward.judge.name for reward in rewards for column in reward.columns}
    for column in added.keys() & set(kept):
        raise ValueError(
            f"rewards: the prompts have a column {column!r} already. Give the reward {added[column]!r} another name"
        )
    return merged(kept, ROLLOUT_COLUMNS, adds, tuple(added), VERDICT, ("advantage",))


def no_rollouts(prompts: pa.Table, rewards: Sequence[WeightedVerifier], adds: Columns = ()) -> pa.Table:
    """Makes the table of the rollouts of no prompts, with every column that rollouts have."""
    table = prompts.select([name for name in prompts.column_names if carried(name)]).slice(0, 0)
    added = {reward.judge.column(name): name for reward in rewards for name in reward.judge.added}
    for column in rollout_columns(tuple(prompts.column_names), rewards, adds):
        if column not in table.column_names:
            table = table.append_column(column, _column(added.get(column, column), []))
    return table


class Rollouts:
    """Judges what a model in training samples, and keeps every completion as a row.

    A rollout's score is its reward: the sum of the rewards' scores, each times its weight. It passes if it passes all of
    them that give verdicts; where none does, it has none. Where one cannot be told, the rollout is an error, has no score,
    and teaches nothing.

    Args:
        workspace: where the rows go; each generation is saved as a shard, so that a resumed training finds the earlier ones.
        prompts: the prompt rows.
        judges: what is added up, and probes, which are not.
        samples: completions per prompt.
        temperature: what they are drawn at.
        provenance: what decides the rollouts beside the checkpoint; it enters their ids.
        ids: `token_ids` where the drawn ids are to be kept.
        band: between which pass rates a group is learned from, where the others are replaced.
        outside: what joins groups from outside; None: nothing does.
    """

    def __init__(
        self,
        workspace: Workspace,
        prompts: pa.Table,
        judges: Sequence[WeightedVerifier],
        samples: int,
        temperature: float,
        provenance: str,
        ids: Columns = (),
        band: tuple[float, float] | None = None,
        outside: BesideRows | None = None,
    ) -> None:
        self._workspace, self._judges, self._samples, self._provenance = (
            workspace,
            judges,
            samples,
            provenance,
        )
        self._rewards = [(judge, judge.weight) for judge in judges if judge.weight is not None]
        self._prompts = prompts.select([name for name in prompts.column_names if carried(name)])
        self._parents: list[str] = prompts[row_key(prompts.column_names)].to_pylist()
        self._temperature, self._checkpoint = temperature, workspace.model("init").digest
        self._columns, self._band = (*ROLLOUT_COLUMNS, *ids), band
        self._errors = [0] * len(judges)
        self._outside = outside
        self._step_number = 0
        self._waves: list[pa.Table] = []
        self._shards = workspace.partial / ROLLOUTS
        self._shards.mkdir(exist_ok=True)
        self._sampled = {int(path.stem): rows_in_shard(path) for path in self._shards.glob("*.parquet")}

    def reward(self, generation: Generation) -> list[float | None]:
        """Judges a generation, or the groups that replace some of it.

        Raises:
            CheckFailure: a verifier cannot judge any of it, or already more than its limit for the whole training.
        """
        rows = self._rows(generation)
        with (
            self._workspace.timed("verify"),
            self._workspace.progress(rows.num_rows, "completions") as progress,
        ):
            parts = [judge.judge.judged(rows, progress) for judge in self._judges]
        for part in parts:
            for name in part.column_names:
                rows = rows.append_column(name, part[name])
        said = [judge.said(rows) for judge in self._judges]
        self._refuse_errors(said, generation.total)
        rewards = [told for judge, told in zip(self._judges, said, strict=True) if judge.weight is not None]
        whole = [self._whole(each) for each in zip(*rewards, strict=True)]
        for name, values in zip(VERDICT, zip(*whole, strict=True), strict=True):
            rows = rows.append_column(name, _column(name, values))
        if generation.optimizer_step != self._step_number:
            self._waves.clear()
        self._step_number = generation.optimizer_step
        self._waves.append(rows)
        return [score for _, score, _ in whole]

    def imagine(self, prompts: list[Prompt], max_tokens: int) -> int:
        """Makes up rollouts for the fake engine: each prompt has one turn; returns how many there are."""
        from lineal.engines.fake import fake_generation

        generation = fake_generation(prompts, self._samples, max_tokens, self._workspace.seed)
        rewards = self.reward(generation)
        self.learned([0.0] * len(rewards))
        return generation.total

    def learned(self, advantages: Sequence[float | None]) -> None:
        """Saves the generation that was judged last; rollouts that were replaced have no advantage.

        Raises:
            DataError: an advantage is no finite number.
        """
        rows = self._judged()
        wrong = sum(not isfinite(advantage) for advantage in advantages if advantage is not None)
        if wrong:
            said = f"{wrong:,} of {len(advantages):,} advantages of optimizer step {self._step_number} are no finite numbers"
            raise DataError(
                f"{self._workspace.step}: {said}, from finite rewards: they are too large, or too far apart. Scale them down"
            )
        if self._band is not None:
            rows = rows.append_column(
                REPLACED, _column(REPLACED, [advantage is None for advantage in advantages])
            )
        rows = rows.append_column("advantage", _column("advantage", advantages))
        save_shard(self._shards / f"{self._step_number:012d}.parquet", rows)
        self._sampled[self._step_number] = rows.num_rows
        shutil.rmtree(self._workspace.unsaved, ignore_errors=True)

    def _judged(self) -> pa.Table:
        """Returns the last judged generation, with the groups that replaced some of it."""
        import pyarrow as pa

        return pa.concat_tables(self._waves)

    def fits(self) -> list[bool]:
        """Returns for each group of what was judged last whether it is learned from."""
        return self._fitting(self._waves[-1]["verdict"].to_pylist())

    def _fitting(self, verdicts: Sequence[str | None]) -> list[bool]:
        groups = [verdicts[start : start + self._samples] for start in range(0, len(verdicts), self._samples)]
        return [
            self._fits(group.count(PASS), group.count(PASS) + group.count(FAIL))
            for group in map(list, groups)
        ]

    def _fits(self, passed: int, judged: int) -> bool:
        assert self._band is not None
        above, below = self._band
        return bool(judged) and above < passed / judged < below

    def sampled_before(self, optimizer_step: int) -> int:
        """Returns how many groups were sampled before the model had been trained so many steps."""
        return sum(rows for step, rows in self._sampled.items() if step < optimizer_step) // self._samples

    def mean(self, column: str) -> float:
        """Computes the mean of a column of numbers over the last judged generation.

        Raises:
            DataError: none of its rollouts has one.
        """
        (mean,) = step_means(self._judged(), [column]).columns[column]
        if mean is None:
            raise DataError(
                f"{self._workspace.step}: no rollout of optimizer step {self._step_number} has a {column!r} to go by"
            )
        return mean

    def described(self, report: TrainingReport) -> TrainingReport:
        """Adds to the report, for each optimizer step, the mean reward and the score of each reward and probe."""
        return replace(report, curve={**report.curve, **self._curve(report.steps)})

    def _curve(self, steps: int) -> dict[str, tuple[float, ...]]:
        import pyarrow as pa

        named = [
            judge.judge.column("score")
            for judge in self._judges
            if len(self._rewards) > 1 or judge.weight is None
        ]
        columns = ["score", *named]
        parts = [table.select([STEP, *columns]) for table in saved_shards(self._shards)]
        return step_means(pa.concat_tables(parts), columns).curve(steps)

    def write(self, expected: int) -> None:
        """Writes all rows as the output `rollouts`, and counts them.

        Raises:
            DataError: they are not as many as expected.
            CheckFailure: a verifier could not judge more than its limit.
        """
        counts, sampled, replaced = Counter[str](), set[str](), Counter[str]()
        self._errors = [0] * len(self._judges)

        def counted(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
            for table in tables:
                self._add_errors([judge.said(table) for judge in self._judges])
                counts.update(table["verdict"].to_pylist())
                sampled.update(table["prompt_id"].to_pylist())
                replaced.update(self._replaced(table))
                yield table

        out = self._workspace.write_rows(counted(saved_shards(self._shards)), ROLLOUTS)
        if out - replaced[REPLACED] != expected:
            here = f"{out - replaced[REPLACED]:,} rollouts are here"
            raise DataError(
                f"{self._workspace.step}: {here}, but the training learned from {expected:,}. Run it again"
            )
        for judge, errors in zip(self._judges, self._errors, strict=True):
            if errors > error_limit(judge.judge) * out:
                raise too_many_errors(self._workspace, judge.judge, errors, out)
        verdicts = {verdict: counts[verdict] for verdict in (PASS, FAIL, ERROR)}
        unsampled = self._prompts.num_rows - len(sampled)
        self._workspace.counts.update({"expected": expected, "out": out, "unsampled": unsampled, **verdicts})
        if self._band is not None:
            self._workspace.counts |= {
                "expected": out,
                REPLACED: replaced[REPLACED],
                UNFILLED: replaced[UNFILLED],
            }

    def _replaced(self, table: pa.Table) -> Counter[str]:
        """Counts the rollouts of a generation that were replaced, and those of the others that teach nothing."""
        if self._band is None:
            return Counter()
        gone = table[REPLACED].to_pylist()
        taken = [
            verdict
            for verdict, replaced in zip(table["verdict"].to_pylist(), gone, strict=True)
            if not replaced
        ]
        return Counter({REPLACED: sum(gone), UNFILLED: self._samples * self._fitting(taken).count(False)})

    def _rows(self, generation: Generation) -> pa.Table:
        """Makes a generation's rows, not judged yet."""
        import pyarrow as pa

        rollouts, step, count = generation.rollouts, generation.optimizer_step, len(generation.rollouts)
        rows = self._prompts.take(pa.array([rollout.prompt for rollout in rollouts], pa.int64()))
        prompt_ids = rows["prompt_id"].to_pylist()
        indices = [
            rollout.visit * self._samples + place % self._samples for place, rollout in enumerate(rollouts)
        ]
        made: dict[str, list[Any]] = {
            "sample_id": [
                row_id(self._checkpoint, prompt_id, index, self._provenance)
                for prompt_id, index in zip(prompt_ids, indices, strict=True)
            ],
            "parents": [self._parents_of(rollout) for rollout in rollouts],
            OUTSIDE: [rollout.outside is not None for rollout in rollouts],
            "completion": [rollout.text for rollout in rollouts],
            "finish_reason": [rollout.finish_reason for rollout in rollouts],
            "tokens": [rollout.tokens for rollout in rollouts],
            "temperature": [self._temperature] * count,
            "round": [self._workspace.round] * count,
            "sample_index": indices,
            "checkpoint": [self._checkpoint] * count,
            "optimizer_step": [step] * count,
            "token_ids": [rollout.token_ids for rollout in rollouts],
        }
        for name in (*self._columns, *((OUTSIDE,) if self._outside else ())):
            rows = rows.append_column(name, _column(name, made[name]))
        return rows

    def _parents_of(self, rollout: SampledRollout) -> list[str]:
        own = self._parents[rollout.prompt]
        if rollout.outside is None or self._outside is None:
            return [own]
        return [own, self._outside.parents[rollout.prompt][rollout.outside]]

    def _whole(self, said: tuple[Said, ...]) -> Said:
        """Combines all rewards of one rollout; the detail is that of the first with the same verdict.

        Raises:
            DataError: the sum of the scores is no number that an advantage can be made of.
        """
        verdicts = [verdict for verdict, _, _ in said]
        verdict = next((one for one in (ERROR, FAIL, PASS) if one in verdicts), None)
        detail = said[verdicts.index(verdict)][2]
        return verdict, None if verdict == ERROR else self._sum([score for _, score, _ in said]), detail

    def _sum(self, scores: Sequence[float | None]) -> float | None:
        """Sums the scores, each times its weight; none where one that has a weight is missing."""
        if any(score is None and weight for (_, weight), score in zip(self._rewards, scores, strict=True)):
            return None
        parts = [weight * (score or 0.0) for (_, weight), score in zip(self._rewards, scores, strict=True)]
        total = fsum(parts) if all(map(isfinite, parts)) else nan
        if not abs(total) <= LARGEST:
            told = ", ".join(
                f"{reward.judge.name} {score}"
                for (reward, _), score in zip(self._rewards, scores, strict=True)
            )
            fix = "A rollout can only be compared by numbers: fix the verifier, or have it say that it cannot tell (no score)"
            got = f"a rollout's reward is {total} (scores: {told}), expected a number of at most {LARGEST:g}"
            raise DataError(f"{self._workspace.step}: {got}. {fix}")
        return total

    def _add_errors(self, said: Sequence[Sequence[Said]]) -> None:
        for number, told in enumerate(said):
            self._errors[number] += sum(verdict == ERROR for verdict, _, _ in told)

    def _refuse_errors(self, said: Sequence[Sequence[Said]], total: int) -> None:
        """Stops a training with a broken verifier at once, and not at its end."""
        self._add_errors(said)
        for judge, errors, told in zip(self._judges, self._errors, said, strict=True):
            details = [detail for verdict, _, detail in told if verdict == ERROR]
            if details and (len(details) == len(told) or errors > error_limit(judge.judge) * total):
                raise too_many_errors(self._workspace, judge.judge, errors, total, str(details[0]))


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, arrow_type(name))
