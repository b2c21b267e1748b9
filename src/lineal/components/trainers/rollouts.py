"""The rollouts of an online training: judged as they are sampled, and kept as rows with lineage like any other."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import fsum, isfinite, nan
from typing import TYPE_CHECKING, Any

from lineal.components.base import Columns, Workspace, merged
from lineal.components.generators.drawing import carried
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT, AddsColumns
from lineal.components.verifiers.embedded import error_limit, too_many_errors
from lineal.data.ids import row_id
from lineal.data.schema import arrow_type, row_key
from lineal.data.shards import read_shards, save_shard
from lineal.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.rollouts import Generation

ROLLOUTS = "rollouts"
ROLLOUT_COLUMNS: Columns = (
    "sample_id", "parents", "completion", "finish_reason", "tokens", "temperature", "round", "sample_index", "checkpoint",
    "optimizer_step",
)  # fmt: skip
LARGEST = 3e38
"""Rewards become 32-bit floats, and an infinite one would make every advantage of its group 0."""
Said = tuple[str | None, float | None, str | None]
"""Verdict, score and detail."""


@dataclass(frozen=True)
class Reward:
    """One part of the reward: a verifier, whose columns have its name in front, and the weight of its score."""

    judge: AddsColumns
    weight: float

    @property
    def columns(self) -> Columns:
        """What it adds to a rollout."""
        return tuple(self.judge.column(name) for name in self.judge.added)

    def said(self, rows: pa.Table) -> list[Said]:
        """What it said of judged rollouts; one that gives scores alone has no verdict."""
        nothing = [None] * rows.num_rows
        given = (rows[self.judge.column(name)].to_pylist() if name in self.judge.added else nothing for name in VERDICT)
        return list(zip(*given, strict=True))


def rollout_columns(prompts: Columns, rewards: Iterable[Reward], adds: Columns = ()) -> Columns:
    """The columns of rollouts of prompts with these columns; `adds` are further ones that rollouts have.

    Raises:
        ValueError: the prompts have a column that a reward adds.
    """
    kept = tuple(name for name in prompts if carried(name))
    added = {column: reward.judge.name for reward in rewards for column in reward.columns}
    for column in added.keys() & set(kept):
        raise ValueError(f"rewards: the prompts have a column {column!r} already. Give the reward {added[column]!r} another name")
    return merged(kept, ROLLOUT_COLUMNS, adds, tuple(added), VERDICT, ("advantage",))


def no_rollouts(prompts: pa.Table, rewards: Sequence[Reward], adds: Columns = ()) -> pa.Table:
    """The table of the rollouts of no prompts, with every column that rollouts have."""
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
        step: where the rows go; each generation is saved as a shard, so that a training that goes on finds the earlier ones.
        prompts: the prompt rows.
        rewards: what is added up.
        samples: completions per prompt.
        temperature: what they are drawn at.
        provenance: what decides the rollouts beside the checkpoint; it enters their ids.
        adds: further columns that they have: `token_ids` where the drawn ids are to be kept.
    """

    def __init__(
        self, step: Workspace, prompts: pa.Table, rewards: Sequence[Reward], samples: int, temperature: float, provenance: str,
        adds: Columns = (),
    ) -> None:  # fmt: skip
        self._step, self._rewards, self._samples, self._provenance = step, rewards, samples, provenance
        self._prompts = prompts.select([name for name in prompts.column_names if carried(name)])
        self._parents: list[str] = prompts[row_key(prompts.column_names)].to_pylist()
        self._temperature, self._checkpoint = temperature, step.model("init").digest
        self._columns = (*ROLLOUT_COLUMNS, *adds)
        self._errors = [0] * len(rewards)
        self._last: tuple[int, pa.Table] | None = None
        self._shards = step.partial / ROLLOUTS
        self._shards.mkdir(exist_ok=True)

    def reward(self, generation: Generation) -> list[float | None]:
        """Judges a generation.

        Raises:
            CheckFailure: a verifier cannot judge any of it, or already more than its limit for the whole training.
        """
        rows = self._rows(generation)
        with self._step.timed("verify"), self._step.progress(rows.num_rows, "completions") as progress:
            parts = [reward.judge.judge(rows, progress) for reward in self._rewards]
        for part in parts:
            for name in part.column_names:
                rows = rows.append_column(name, part[name])
        said = [reward.said(rows) for reward in self._rewards]
        self._refuse_errors(said, generation.total)
        whole = [self._whole(each) for each in zip(*said, strict=True)]
        for name, values in zip(VERDICT, zip(*whole, strict=True), strict=True):
            rows = rows.append_column(name, _column(name, values))
        self._last = generation.optimizer_step, rows
        return [score for _, score, _ in whole]

    def learned(self, advantages: Sequence[float]) -> None:
        """Saves the generation that was judged last."""
        assert self._last is not None
        optimizer_step, rows = self._last
        rows = rows.append_column("advantage", _column("advantage", advantages))
        save_shard(self._shards / f"{optimizer_step:012d}.parquet", rows)
        shutil.rmtree(self._step.unsaved, ignore_errors=True)

    def write(self, expected: int) -> None:
        """Writes all rows as the output `rollouts`, and counts them.

        Raises:
            DataError: they are not as many as expected.
            CheckFailure: a verifier could not judge more than its limit.
        """
        counts, sampled = Counter[str](), set[str]()
        self._errors = [0] * len(self._rewards)

        def counted(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
            for table in tables:
                self._add_errors([reward.said(table) for reward in self._rewards])
                counts.update(table["verdict"].to_pylist())
                sampled.update(table["prompt_id"].to_pylist())
                yield table

        out = self._step.write_rows(counted(read_shards(sorted(self._shards.glob("*.parquet")))), ROLLOUTS)
        if out != expected:
            raise DataError(f"{self._step.step}: {out:,} rollouts are here, but the training sampled {expected:,}. Run it again")
        for reward, errors in zip(self._rewards, self._errors, strict=True):
            if errors > error_limit(reward.judge) * out:
                raise too_many_errors(self._step, reward.judge, errors, out)
        verdicts = {verdict: counts[verdict] for verdict in (PASS, FAIL, ERROR)}
        unsampled = self._prompts.num_rows - len(sampled)
        self._step.counts.update({"expected": expected, "out": out, "unsampled": unsampled, **verdicts})

    def _rows(self, generation: Generation) -> pa.Table:
        """A generation's rows, not judged yet."""
        import pyarrow as pa

        rollouts, step, count = generation.rollouts, generation.optimizer_step, len(generation.rollouts)
        rows = self._prompts.take(pa.array([rollout.prompt for rollout in rollouts], pa.int64()))
        prompt_ids = rows["prompt_id"].to_pylist()
        indices = [rollout.visit * self._samples + place % self._samples for place, rollout in enumerate(rollouts)]
        made: dict[str, list[Any]] = {
            "sample_id": [
                row_id(self._checkpoint, prompt_id, index, self._provenance)
                for prompt_id, index in zip(prompt_ids, indices, strict=True)
            ],
            "parents": [[self._parents[rollout.prompt]] for rollout in rollouts],
            "completion": [rollout.text for rollout in rollouts],
            "finish_reason": [rollout.finish_reason for rollout in rollouts],
            "tokens": [rollout.tokens for rollout in rollouts],
            "temperature": [self._temperature] * count,
            "round": [self._step.round] * count,
            "sample_index": indices,
            "checkpoint": [self._checkpoint] * count,
            "optimizer_step": [step] * count,
            "token_ids": [rollout.token_ids for rollout in rollouts],
        }
        for name in self._columns:
            rows = rows.append_column(name, _column(name, made[name]))
        return rows

    def _whole(self, said: tuple[Said, ...]) -> Said:
        """What all rewards together say of one rollout; the detail is that of the first with the same verdict.

        Raises:
            DataError: the sum of the scores is no number that an advantage can be made of.
        """
        verdicts = [verdict for verdict, _, _ in said]
        verdict = next((one for one in (ERROR, FAIL, PASS) if one in verdicts), None)
        detail = said[verdicts.index(verdict)][2]
        return verdict, None if verdict == ERROR else self._sum([score for _, score, _ in said]), detail

    def _sum(self, scores: Sequence[float | None]) -> float | None:
        """The scores, each times its weight; none where one that has a weight is missing."""
        if any(score is None and reward.weight for reward, score in zip(self._rewards, scores, strict=True)):
            return None
        parts = [reward.weight * (score or 0.0) for reward, score in zip(self._rewards, scores, strict=True)]
        total = fsum(parts) if all(map(isfinite, parts)) else nan
        if not abs(total) <= LARGEST:
            told = ", ".join(f"{reward.judge.name} {score}" for reward, score in zip(self._rewards, scores, strict=True))
            fix = "A rollout can only be compared by numbers: fix the verifier, or have it say that it cannot tell (no score)"
            got = f"a rollout's reward is {total} (scores: {told}), expected a number of at most {LARGEST:g}"
            raise DataError(f"{self._step.step}: {got}. {fix}")
        return total

    def _add_errors(self, said: Sequence[Sequence[Said]]) -> None:
        for number, told in enumerate(said):
            self._errors[number] += sum(verdict == ERROR for verdict, _, _ in told)

    def _refuse_errors(self, said: Sequence[Sequence[Said]], total: int) -> None:
        """Stops a training whose verifier is broken now, and not at its end."""
        self._add_errors(said)
        for reward, errors, told in zip(self._rewards, self._errors, said, strict=True):
            details = [detail for verdict, _, detail in told if verdict == ERROR]
            if details and (len(details) == len(told) or errors > error_limit(reward.judge) * total):
                raise too_many_errors(self._step, reward.judge, errors, total, str(details[0]))


def _column(name: str, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, arrow_type(name))
