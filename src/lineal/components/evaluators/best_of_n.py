"""`best_of_n`: samples of a model, the best chosen by another model, compared with pass@1, majority and the oracle pass@n."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lineal.components.base import (
    LANGUAGE_MODEL,
    REWARD_MODEL,
    AnyModelRef,
    Columns,
    Output,
    Workspace,
    merged,
)
from lineal.components.evaluators.base import Ks
from lineal.components.evaluators.judging import JudgedDraws
from lineal.components.evaluators.metrics import Asked, Numbers, write_evaluation
from lineal.components.evaluators.pass_at_k import pass_at_k
from lineal.components.generators.drawing import Draw
from lineal.components.generators.stopping import stop_texts
from lineal.components.generators.temperatures import Temperature, TopK, TopP, require_different_draws
from lineal.components.trainers.ends import EndsSetting, answers_with_ends
from lineal.components.verifiers.base import ERROR, PASS, VERDICT, Pattern, extracted
from lineal.components.verifiers.likelihood import likelihood_scores
from lineal.components.verifiers.model_scores import Scores
from lineal.components.verifiers.process_reward import StepReading, step_scores
from lineal.data.conversations import prompts_of
from lineal.data.estimates import Estimate, Figure, mean, ratio
from lineal.engines.factory import open_likelihood, open_reward_model, open_step_scorer
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.errors import DataError
from lineal.recipe.compute import Positive
from lineal.recipe.references import Accepts

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.text.tokens import Answer


RANKING = "scorer_score"


@dataclass(frozen=True)
class Candidate:
    """One sample of a prompt: whether it is right, what the scorer says, and its answer (None where it has none)."""

    right: bool
    score: float
    answer: str | None


class BestOfN(JudgedDraws):
    """Samples every prompt, judges and scores the samples, and writes metrics; the rows stay in the artifact.

    `best_of_k` is the share of right answers when the scorer picks from k of the samples, over all such choices
    (V-STaR, arXiv:2402.06457, section 4.2); `pass_at_k` is the same for a picker who knows; `majority_at_N` counts
    answers. `ranked_right` is the share of right and wrong samples of one prompt that the scorer puts in that order.

    Attributes:
        scorer: the model that chooses.
        score_by: its log-probability of the completion ('likelihood', or divided by its tokens), its 'reward', or what it says
            of the completion's steps ('process_reward').
        steps: how it reads steps, see `StepReading`.
        samples: completions per prompt, the N.
        k: numbers of samples to report; the default is N alone.
        temperature, top_p, top_k: as for `sample`.
        extract: RE2 regular expression; its first group is the answer that the majority counts. None takes all of it.
        ends: whether an end follows each completion that the scorer is given, as for `likelihood`.
    """

    sees: ClassVar[Columns] = ()  # the scorer is given texts alone

    scorer: AnyModelRef
    score_by: Literal["likelihood", "likelihood_per_token", "reward", "process_reward"] = "likelihood"
    steps: Annotated[StepReading | None, Field(exclude_if=lambda value: value is None)] = None
    samples: Positive
    k: Ks | None = None
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    extract: Pattern | None = None
    ends: EndsSetting = True

    @model_validator(mode="after")
    def _draws_differ(self) -> Self:
        require_different_draws(self.samples, self.temperature)
        return self

    @model_validator(mode="after")
    def _steps_are_read(self) -> Self:
        if self.steps is not None and self.score_by != "process_reward":
            raise ValueError(
                f"steps is about score_by: process_reward, and it is {self.score_by}; leave steps out"
            )
        return self

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        if self.k and max(self.k) > self.samples:
            raise ValueError(
                f"k is {max(self.k)}, but only {self.samples} samples are drawn; raise samples or lower k"
            )
        return self

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """Accepts a reward model as scorer, or a language model whose likelihoods score."""
        found = super().references()
        accepts = REWARD_MODEL if self.score_by in ("reward", "process_reward") else LANGUAGE_MODEL
        return {**found, "scorer": (found["scorer"][0], accepts)}

    @property
    def headline(self) -> str:
        return f"best_of_{max(self.k or [self.samples])}"

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        at_k = (f"{name}_{k}" for k in self.k or [self.samples] for name in ("best_of", "pass_at"))
        numbers = ("prompts", "pass_at_1", *at_k, f"majority_at_{self.samples}", "ranked_right", "left_out")
        return {
            "": self.metrics(
                *numbers, columns=merged(self.drawn_columns(inputs["prompts"]), VERDICT, (RANKING,))
            )
        }

    def run(self, workspace: Workspace) -> None:
        """Samples, judges, scores, and writes rows and metrics."""
        import pyarrow as pa

        scores = self._scores(workspace)

        def scored(rows: pa.Table) -> pa.Table:
            with workspace.timed("score"):
                found = scores(rows)
            return rows.append_column(RANKING, pa.array(found, pa.float64()))

        settings = SamplingSettings(
            self.temperature, self.top_p, self.top_k, self.max_tokens, self.chat, stop_texts(self.stop)
        )
        columns = ["prompt_id", "completion", "finish_reason", RANKING]
        self._write(workspace, self.draw(workspace, Draw(settings, self.samples), columns, scored))

    def _scores(self, workspace: Workspace) -> Callable[[pa.Table], list[float]]:
        """Loads the scorer and returns a function of drawn rows."""
        if self.score_by == "process_reward":
            model, reading = open_step_scorer(workspace, "scorer"), self.steps or StepReading()
            return lambda rows: [
                reading.reduced(own)
                for own in step_scores(model, rows, reading.separator, self.chat, lambda _: None)
            ]
        scores = self._completion_scores(workspace)
        return lambda rows: scores(
            list(zip(prompts_of(rows), self._answers(rows), strict=True)), lambda _: None
        )

    def _answers(self, rows: pa.Table) -> list[Answer]:
        return answers_with_ends(rows["completion"].to_pylist(), self.ends)

    def _completion_scores(self, workspace: Workspace) -> Scores:
        if self.score_by == "reward":
            rewards = open_reward_model(workspace, "scorer")
            return lambda pairs, progress: rewards.score(pairs, self.chat, progress)
        return likelihood_scores(
            open_likelihood(workspace, "scorer"), None, self.score_by == "likelihood_per_token", self.chat
        )

    def _write(self, workspace: Workspace, table: pa.Table) -> None:
        """Writes metrics over all prompts and by difficulty; a prompt with a sample that could not be judged is left out."""
        found = _candidates(table, self.extract)
        whole = [
            Asked(one.prompt, one.difficulty, [c for c in one.counts if c])
            for one in found
            if None not in one.counts
        ]
        if not whole:
            raise DataError(f"{workspace.step}: no prompt has all of its samples judged. Mend the verifier")
        write_evaluation(workspace, self.headline, whole, self._metrics, left_out=len(found) - len(whole))

    def _metrics(self, prompts: list[list[Candidate]]) -> Numbers:
        counts = [(len(found), sum(each.right for each in found)) for found in prompts]
        metrics: dict[str, int | float | Figure | Estimate] = {
            "prompts": len(prompts),
            "pass_at_1": pass_at_k(counts, 1),
        }
        for k in self.k or [self.samples]:
            draws = len(prompts) * self.samples / k
            metrics[f"best_of_{k}"] = mean([best_of_k(found, k) for found in prompts], samples=draws)
            metrics[f"pass_at_{k}"] = pass_at_k(counts, k)
        metrics[f"majority_at_{self.samples}"] = mean([_majority(found) for found in prompts])
        split = [_split(found) for found in prompts]
        mixed = [bool(right and wrong) for right, wrong in split]
        if any(mixed):
            ranked = [_ranked_right(*pair) if both else 0.0 for pair, both in zip(split, mixed, strict=True)]
            metrics["ranked_right"] = ratio(
                ranked, list(map(float, mixed)), samples=sum(map(_pairs_apart, split))
            )
        return metrics


def best_of_k(candidates: Sequence[Candidate], k: int) -> float:
    """Returns how often the best-scored of k of the n samples is right, the mean over all choices of k; ties go to the first.

    The i-th in the order of scores is the best of comb(n - 1 - i, k - 1) of comb(n, k) choices.
    """
    ordered = sorted(candidates, key=lambda candidate: -candidate.score)
    n = len(ordered)
    return sum(comb(n - 1 - i, k - 1) for i, candidate in enumerate(ordered) if candidate.right) / comb(n, k)


def _candidates(table: pa.Table, pattern: str | None) -> list[Asked[list[Candidate | None]]]:
    """Returns every prompt's samples in order; None for one that could not be judged."""
    answers = table["completion"] if pattern is None else extracted(table["completion"], pattern)
    found: dict[str, Asked[list[Candidate | None]]] = {}
    for row, answer in zip(table.drop_columns(["completion"]).to_pylist(), answers.to_pylist(), strict=True):
        own = None if answer is None or row["finish_reason"] == "length" else answer.strip() or None
        candidate = None if row["verdict"] == ERROR else Candidate(row["verdict"] == PASS, row[RANKING], own)
        asked: Asked[list[Candidate | None]] = Asked(row["prompt_id"], row.get("difficulty"), [])
        found.setdefault(row["prompt_id"], asked).counts.append(candidate)
    return list(found.values())


def _majority(candidates: Sequence[Candidate]) -> float:
    """Returns 1 if the answer with most votes is right, else 0; the share of right ones where several lead."""
    votes = Counter(candidate.answer for candidate in candidates if candidate.answer is not None)
    leaders = {answer for answer, count in votes.items() if count == max(votes.values())}
    right = {candidate.answer for candidate in candidates if candidate.right}
    return len(leaders & right) / len(leaders) if leaders else 0.0


def _split(candidates: Sequence[Candidate]) -> tuple[list[float], list[float]]:
    """Splits scores into those of the right and of the wrong samples."""
    return [c.score for c in candidates if c.right], [c.score for c in candidates if not c.right]


def _ranked_right(right: Sequence[float], wrong: Sequence[float]) -> float:
    """Computes the share of pairs whose right sample scores higher; equal scores count half."""
    return sum((a > b) + 0.5 * (a == b) for a in right for b in wrong) / (len(right) * len(wrong))


def _pairs_apart(split: tuple[Sequence[float], Sequence[float]]) -> int:
    """Counts the pairs of a right and a wrong sample that share no sample."""
    return min(map(len, split))
