"""Durations of steps: from run logs and records, so they differ from run to run and are kept apart from everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineal.audit.summary import PipelineSummary, Summary
from lineal.components.base import Role
from lineal.data.curves import curve_of
from lineal.data.records import open_known
from lineal.errors import ArtifactError
from lineal.plan import Plan
from lineal.step.runlog import log_of, read_log


@dataclass(frozen=True)
class RunFact:
    """One step's last run.

    Attributes:
        key: the step.
        status: done, reused, failed or interrupted.
        seconds: the whole step's.
        phases: seconds by phase (load, sample, train).
        tokens: tokens sampled or trained on.
        tokens_per_second: tokens over the phase that made them.
        memory_bytes: peak of the process that ran it.
    """

    key: str
    status: str
    seconds: float
    phases: Mapping[str, float]
    tokens: int | None
    tokens_per_second: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class RoundCost:
    """The cost of making the artifacts of one round; steps whose work existed already cost nothing.

    Attributes:
        pipeline: the pipeline.
        round: the round; 0 for tasks and start.
        samples, tokens: what generators made.
        sampling: seconds in which they sampled.
        training: seconds in which models were trained.
        seconds: of all steps.
    """

    pipeline: str
    round: int
    samples: int
    tokens: int
    sampling: float
    training: float
    seconds: float


@dataclass(frozen=True)
class RunFacts:
    """All steps' last runs, what each round cost, and what they ran on."""

    runs: tuple[RunFact, ...]
    costs: tuple[RoundCost, ...]
    cores: int | None
    packages: Mapping[str, str]
    trainings: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    """By step, the curve of its training, see `lineal.data.curves`."""

    @property
    def seconds(self) -> float:
        """All runs put together."""
        return sum(run.seconds for run in self.runs)


def run_facts(plan: Plan, summary: Summary) -> RunFacts:
    """Returns the runs that made a plan's artifacts, here or elsewhere, and runs that failed here; other steps are left out."""
    logs = {key: log for key in plan.steps if (log := _log(plan, key))}
    newest: dict[str, Any] = max(logs.values(), key=lambda log: str(log.get("started")), default={})
    runs = {key: _fact(key, log) for key, log in logs.items()}
    costs = tuple(cost for pipeline in summary.pipelines for cost in _costs(pipeline, runs))
    curves = {key: curve for key, log in logs.items() if (curve := curve_of(log.get("facts") or {}))}
    return RunFacts(tuple(runs.values()), costs, newest.get("cores"), newest.get("packages", {}), curves)


def _log(plan: Plan, key: str) -> dict[str, Any]:
    try:
        return log_of(plan.project, open_known(plan.project, key))
    except ArtifactError:
        return read_log(plan.project, key)


def _costs(pipeline: PipelineSummary, runs: Mapping[str, RunFact]) -> Iterator[RoundCost]:
    """Yields a pipeline's cost by round; rounds of which nothing ran here are left out."""
    for number in range(pipeline.rounds + 1):
        ran = [(node, runs[node.key]) for node in pipeline.nodes if node.round == number and node.key in runs]
        made = [(node, run) for node, run in ran if node.role is Role.GENERATOR and run.status == "done"]
        if ran:
            yield RoundCost(
                pipeline.name,
                number,
                sum(node.rows or 0 for node, _ in made),
                sum(run.tokens or 0 for _, run in made),
                sum(run.phases.get("sample", 0.0) for _, run in made),
                sum(run.phases.get("train", 0.0) for _, run in ran),
                sum(run.seconds for _, run in ran),
            )


def _fact(key: str, log: Mapping[str, Any]) -> RunFact:
    facts = log.get("facts") or {}
    phases = {name: float(value) for name, value in (facts.get("seconds_by_phase") or {}).items()}
    working = phases.get("sample") or phases.get("train")
    tokens = facts.get("tokens")
    return RunFact(
        key,
        str(log.get("status")),
        float(log.get("seconds", 0.0)),
        phases,
        tokens,
        tokens / working if tokens and working else None,
        log.get("peak_memory_bytes"),
    )
