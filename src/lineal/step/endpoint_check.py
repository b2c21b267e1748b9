"""Checks that the servers of steps are there, before any of the steps runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from lineal.components.trainers.served_model import ServedModel
from lineal.data.progress import say
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS
from lineal.step.resources import drawn_from

if TYPE_CHECKING:
    from lineal.engines.endpoints.address import Address

RETRIES, BACKOFF_SECONDS = 2, 1.0
"""A short limit, since someone waits at the terminal; a step is more patient."""


def require_servers(plan: Plan, steps: Iterable[Step]) -> None:
    """Asks each server that some steps need for its models, once. What a cluster reaches is not known here.

    A checkpoint that these steps make or rerun cannot be served yet, so no server is asked for it.

    Raises:
        EngineError: a server is not declared, doesn't answer, refuses the key, or has no served model of this name.
    """
    steps = list(steps)
    if plan.project.params.compute.executor in CLUSTERS:
        return
    models = _served_models(plan, steps)
    draws = plan.project.params.compute.engine == "openai" and _draws_from_made(plan, steps)
    if models or draws:
        _ask(plan, models, draws)


def _served_models(plan: Plan, steps: Iterable[Step]) -> list[ServedModel]:
    """Returns the served models that the steps declare or read, except settings that a controller will give."""
    makers = [maker for step in steps for maker in (step, *plan.upstream(step)) if not maker.settings_from]
    found = {maker.key: maker.component for maker in makers}
    return [component for component in found.values() if isinstance(component, ServedModel)]


def _draws_from_made(plan: Plan, steps: list[Step]) -> bool:
    """Tells whether a step samples from a checkpoint that already exists."""
    unmade = {key for step in steps for key in step.artifact_keys().values()}
    return any(key not in unmade for step in steps for key in drawn_from(plan, step))


def _ask(plan: Plan, models: Iterable[ServedModel], draws: bool) -> None:
    from lineal.engines.endpoints.address import address_of_checkpoints, address_of_served
    from lineal.engines.endpoints.sampler import require_answering, require_reachable
    from lineal.engines.endpoints.served import Served

    compute = plan.project.params.compute
    addresses = [address_of_served(compute, Served(model.name, model.revision)) for model in models]
    for address in {(one.endpoint.url, one.model): one for one in addresses}.values():
        require_reachable(_hurried(address), _say)
    if draws:
        default = address_of_checkpoints(compute)
        if default.endpoint.url not in {one.endpoint.url for one in addresses}:
            require_answering(_hurried(default), _say)


def _hurried(address: Address) -> Address:
    endpoint = address.endpoint
    few = {
        "retries": min(RETRIES, endpoint.retries),
        "backoff_seconds": min(BACKOFF_SECONDS, endpoint.backoff_seconds),
    }
    return replace(address, endpoint=endpoint.model_copy(update=few))


def _say(line: str) -> None:
    say(line, None)
