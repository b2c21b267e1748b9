"""Runs EleutherAI's evaluation harness on a checkpoint in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from lineal.data.ids import row_seed
from lineal.data.workspace import Workspace
from lineal.errors import DataError, EngineError

BATCH_SIZE = 8
"""Fixed, since the batch size affects the last bits of scores."""


def run_harness(
    workspace: Workspace,
    field: str,
    tasks: Sequence[str | dict[str, Any]],
    num_fewshot: int | None,
    limit: int | None,
) -> Mapping[str, list[dict[str, Any]]]:
    """Returns by task the harness's results for every document.

    Tasks that need code of a data set, or that run what the model writes, are refused by the harness.

    Args:
        workspace: the step; its `field` names the checkpoint, and its seed decides what the harness draws.
        field: the input with the checkpoint.
        tasks: names, or own tasks as the harness configures them.
        num_fewshot: examples before each question; None leaves it to the tasks.
        limit: documents of each task; None: all.

    Raises:
        EngineError: the harness is not installed, or the checkpoint cannot be loaded.
        DataError: a metric is not the harness's own, or the harness refuses the tasks.
    """
    if find_spec("lm_eval") is None:
        raise EngineError(
            "lm_eval needs the package lm-eval, which is not installed. Run: pip install 'lineal[lm-eval]'"
        )
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    _require_own_metrics(workspace, tasks)
    seed = row_seed(workspace.seed, workspace.step, "lm_eval") % 2**31
    workspace.made_with = "lm_eval"
    model = _model(workspace, field)
    try:
        with workspace.timed("sample"):
            found = simple_evaluate(
                model=model,
                tasks=list(tasks),
                num_fewshot=num_fewshot,
                limit=limit,
                log_samples=True,
                bootstrap_iters=0,
                task_manager=TaskManager(include_defaults=any(isinstance(task, str) for task in tasks)),
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
                confirm_run_unsafe_code=False,
            )
    except (ValueError, KeyError, AssertionError) as error:
        raise DataError(
            f"{workspace.step}: the harness refuses its tasks: {error!r}. Try them: lm-eval validate --tasks NAME"
        ) from error
    samples: Mapping[str, list[dict[str, Any]]] = found["samples"]
    return samples


def _model(workspace: Workspace, field: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    from lineal.engines.in_process import base_of
    from lineal.engines.sampling.sampler import load_for_inference, named_device
    from lineal.engines.text.tokens import load_tokenizer

    checkpoint, device = workspace.model(field).directory, named_device(workspace.compute.device)
    with workspace.timed("load"):
        model = load_for_inference(checkpoint, base_of(workspace, field), device)
        return HFLM(
            pretrained=model, tokenizer=load_tokenizer(checkpoint), batch_size=BATCH_SIZE, device=str(device)
        )


def _require_own_metrics(workspace: Workspace, tasks: Sequence[str | dict[str, Any]]) -> None:
    """Refuses metrics that the harness would download as code."""
    from lm_eval.api import registry

    known = set(registry.METRIC_REGISTRY)
    for task in tasks:
        for entry in task.get("metric_list") or () if isinstance(task, dict) else ():
            if entry.get("metric") not in known or entry.get("hf_evaluate"):
                got = f"got {entry.get('metric')!r}{' with hf_evaluate' if entry.get('hf_evaluate') else ''}"
                raise DataError(
                    f"{workspace.step}: {got}, expected one of the harness's own metrics: {', '.join(sorted(known))}"
                )
