"""Checks before a run starts its first step, so that nothing expensive is made in vain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

from lineal.components.base import merged
from lineal.components.generators.demonstrations import Demonstrations
from lineal.components.playing.described import described
from lineal.components.selectors.binding import bind, binding_key
from lineal.components.selectors.sql_file import SqlFile
from lineal.components.sources.environment_tasks import EnvironmentTasks
from lineal.engines.vllm.process import vllm_interpreter
from lineal.errors import DeclarationError, MachineError, joined, number_of
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS, ENGINES
from lineal.step.endpoint_check import require_servers
from lineal.step.files import why_absent
from lineal.step.resources import drawn_from, require_machine
from lineal.step.sharing import require_trainings


def require_ready(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks what steps will need: SQL that fits its columns, packages, files, trainings, GPUs, memory, interpreters, servers.

    Raises:
        LinealError: the kind says what is missing; names the setting.
    """
    steps = list(steps)
    require_sql(plan, steps)
    require_parts(plan, steps)
    require_trainings(plan, steps)
    require_machine(plan, steps)
    require_engine(plan, steps)
    require_servers(plan, steps)


def require_sql(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks SQL against the columns that the plan gives it, since a later step would find an error after hours.

    Raises:
        DeclarationError: DuckDB refuses a query; names the file and the node.
    """
    found = [DeclarationError(problem) for problem in unbound(plan, steps)]
    if found:
        raise joined(found)


def unbound(plan: Plan, steps: Iterable[Step], bound: dict[object, str] | None = None) -> Iterator[str]:
    """Yields the errors of queries, each once for a node; each query is bound once to the same columns.

    Args:
        plan: the plan.
        steps: the steps whose queries are bound.
        bound: by query with its columns, what DuckDB said of those bound before; it grows by these.
    """
    bound = {} if bound is None else bound
    told: dict[str, None] = {}
    for step in steps:
        if (
            not isinstance(step.component, SqlFile) or not step.inputs
        ):  # a copy of the best round's reads nothing
            continue
        if error := _binding_error(plan, step, bound):
            told[f"{error} (in {step.pipeline}, node {step.label})"] = None
    yield from told


def _binding_error(plan: Plan, step: Step, bound: dict[object, str]) -> str:
    """Returns DuckDB's error about a step's query; empty where it fits its columns."""
    component = cast(SqlFile, step.component)
    columns = {
        name: merged(*(plan.output(key).columns for key in keys)) for name, keys in step.inputs.items()
    }
    asked = binding_key(component, columns)
    if asked not in bound:
        bound[asked] = ""
        try:
            bind(component, columns, plan.seed_of(step))
        except DeclarationError as error:
            bound[asked] = str(error)
    return bound[asked]


def require_parts(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks for the packages and files that components name. Those of a cluster's nodes are not known here.

    Raises:
        MachineError: some are missing; names the steps, and what to do.
    """
    if plan.project.params.compute.executor in CLUSTERS:
        return
    needing: dict[str, list[str]] = {}
    for step in steps:
        for problem in _lacking(plan, step):
            needing.setdefault(problem, []).append(step.key)
    if needing:
        raise MachineError("\n".join(_shown(problem, keys) for problem, keys in needing.items()))


def _lacking(plan: Plan, step: Step) -> list[str]:
    components = (step.component, *step.component.embedded().values())
    games = [one.component for one in plan.upstream(step) if isinstance(one.component, EnvironmentTasks)]
    found = [problem for component in components for problem in component.lacks()]
    found += [problem for tasks in games for problem in _unplayable(step, tasks)]
    return found or [f"reads a file that is not here: {why}" for why in why_absent(plan, step)]


def _unplayable(step: Step, tasks: EnvironmentTasks) -> list[str]:
    """Returns the problem of the environment that a step plays; also where it needs an expert or a browser that there isn't."""
    problems = tasks.lacks() or [
        f"plays {tasks.environment!r}, which {lack}" for lack in described(tasks.environment).lacking()
    ]
    if (
        not problems
        and isinstance(step.component, Demonstrations)
        and not described(tasks.environment).expert
    ):
        fix = "give its class a method expert(self) -> str, or let a model play: rollout"
        return [f"cannot run: environment {tasks.environment!r} has no expert: {fix}"]
    return problems


def _shown(problem: str, keys: list[str]) -> str:
    more = f" (and {number_of(len(keys) - 1, 'more step')})" if len(keys) > 1 else ""
    return f"{keys[0]}{more} {problem}"


def require_engine(plan: Plan, steps: Iterable[Step]) -> None:
    """Checks the engine that steps sample with, but for a cluster: vLLM's interpreter, or a package's class and options.

    Raises:
        EngineError: the interpreter is not there, the class cannot be loaded, or does not take the options.
    """
    compute = plan.project.params.compute
    if compute.executor in CLUSTERS or not any(drawn_from(plan, step) for step in steps):
        return
    if compute.engine == "vllm":
        vllm_interpreter(compute.vllm.python, plan.project.root)
    elif compute.engine not in ENGINES:
        from lineal.engines.sampling.token_engine import engine_class

        engine_class(compute.engine).require_options(compute.engine_options)
