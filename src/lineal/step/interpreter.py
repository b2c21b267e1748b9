"""The interpreter of `engine: vllm`: looked for before any step runs, not when the first one samples."""

from __future__ import annotations

from collections.abc import Iterable

from lineal.engines.vllm_process import vllm_interpreter
from lineal.plan import Plan, Step
from lineal.recipe.compute import CLUSTERS
from lineal.recipe.references import ArtifactKind


def require_interpreter(plan: Plan, steps: Iterable[Step]) -> None:
    """Holds `compute.vllm.python` against this machine, if a step is to sample with vLLM on it. What pods have is not known here.

    Raises:
        EngineError: the interpreter is not there.
    """
    compute = plan.project.params.compute
    if compute.engine == "vllm" and compute.executor not in CLUSTERS and any(_draws(plan, step) for step in steps):
        vllm_interpreter(compute.vllm.python, plan.project.root)


def _draws(plan: Plan, step: Step) -> bool:
    """Whether a checkpoint stands where a served model could: fields that take only checkpoints train or score with them."""
    kinds = [
        plan.output(key).kind
        for field, (_, accepts) in step.component.references().items()
        if ArtifactKind.SERVED in accepts.kinds
        for key in step.inputs.get(field, ())
    ]
    return ArtifactKind.MODEL in kinds
