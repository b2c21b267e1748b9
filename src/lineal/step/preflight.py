"""What is looked at before a run starts its first step, so that nothing expensive is made in vain."""

from __future__ import annotations

from collections.abc import Iterable

from lineal.engines.vllm_process import vllm_interpreter
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS
from lineal.step.requests import drawn_from, require_machine
from lineal.step.servers import require_servers
from lineal.step.sharing import require_trainings


def require_ready(plan: Plan, steps: Iterable[Step]) -> None:
    """Holds what steps will need against what is here: trainings, GPUs and memory, the engine's interpreter, servers.

    Raises:
        LinealError: of the kind of what is missing; names the setting.
    """
    steps = list(steps)
    require_trainings(plan, steps)
    require_machine(plan, steps)
    require_interpreter(plan, steps)
    require_servers(plan, steps)


def require_interpreter(plan: Plan, steps: Iterable[Step]) -> None:
    """Looks for the interpreter of `engine: vllm`, if a step is to sample with it. What a cluster's nodes have is not known here.

    Raises:
        EngineError: it is not there.
    """
    compute = plan.project.params.compute
    if compute.engine == "vllm" and compute.executor not in CLUSTERS and any(drawn_from(plan, step) for step in steps):
        vllm_interpreter(compute.vllm.python, plan.project.root)
