"""A step's checks as Dagster asset checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg

from lineal.data.store import open_artifact
from lineal.orchestrate.dagster_keys import asset_key
from lineal.plan import Plan, Step
from lineal.step.check_result import CheckResult, Severity
from lineal.step.checks import checks_of, retraction_check, run_checks
from lineal.step.waiting import ARRIVED


def check_specs(plan: Plan, step: Step) -> list[dg.AssetCheckSpec]:
    """Returns the checks of a step, which belong to its main artifact."""
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=asset_key(step.key),
            blocking=check.severity is Severity.STOPS,
            description=check.description,
        )
        for check in checks_of(plan, step)
    ]


def check_results(plan: Plan, step: Step) -> Iterator[dg.AssetCheckResult]:
    """Runs a step's checks on its published artifacts."""
    keys = step.artifact_keys()
    artifacts = {output: open_artifact(key, plan.project.directory(key)) for output, key in keys.items()}
    for result in run_checks(plan, step, artifacts):
        yield _result(step, result)


def _result(step: Step, result: CheckResult) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=asset_key(step.key),
        check_name=result.name,
        passed=result.passed,
        severity=dg.AssetCheckSeverity.WARN
        if result.severity is Severity.WARNING
        else dg.AssetCheckSeverity.ERROR,
        description=result.message,
        metadata=dict(result.values),
    )


def retraction_result(step: Step, marks: Mapping[str, str]) -> dg.AssetCheckResult:
    """Makes the result of the retraction check of a checkpoint that is tainted for these reasons; see `step.tainted`."""
    return _result(step, retraction_check(step, marks))


def waiting_result(step: Step, why: str) -> dg.AssetCheckResult:
    """Makes the check result of a step whose file has not arrived: a warning, since nothing went wrong."""
    severity = dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        asset_key=asset_key(step.key), check_name=ARRIVED, passed=False, severity=severity, description=why
    )


def evaluation(step: Step, result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """Turns a result into an event without a run."""
    return dg.AssetCheckEvaluation(
        asset_key=asset_key(step.key),
        check_name=str(result.check_name),
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )


def failed_check(step: Step, name: str, message: str) -> dg.AssetCheckResult:
    """Makes the result of the check that stopped a step before anything was published."""
    severity = dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        asset_key=asset_key(step.key), check_name=name, passed=False, severity=severity, description=message
    )
