"""Opens the sampling engine that `compute.engine` names in this process: that of a step, or of one of its replicas."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from lineal.data.progress import say
from lineal.data.workspace import Workspace
from lineal.engines.models.checkpoints import BASE_FIELDS
from lineal.engines.sampling.protocols import CompletionSource
from lineal.errors import EngineError
from lineal.recipe.compute import ENGINES


def sampling_engine(step: Workspace, field: str) -> CompletionSource:
    """Opens the engine that `compute.engine` names, in this process, with the checkpoint of an input field."""
    if step.compute.engine == "fake":
        from lineal.engines.fake import FakeSampler

        return FakeSampler()
    if field in step.live:
        return cast("CompletionSource", step.live[field])
    checkpoint = step.model(field).directory
    if step.compute.engine == "vllm":
        return _vllm(step, field, checkpoint)
    if step.compute.engine not in ENGINES:
        from lineal.engines.sampling.token_engine import engine_class

        made = engine_class(step.compute.engine)
        return made(checkpoint, base_of(step, field), step.compute.device, step.compute.engine_options)
    from lineal.engines.sampling.sampler import Sampler

    return Sampler(checkpoint, step.compute.device, step.compute.batch_size, base_of(step, field), step.pictures())


def _vllm(step: Workspace, field: str, checkpoint: Path) -> CompletionSource:
    from lineal.engines.vllm.sampler import VllmSampler

    own = f".{os.getpid()}" if step.compute.replicas else ""
    log = (step.progress_file or step.partial / "step").with_suffix(f".{step.place}{field}{own}.vllm.log")

    @contextmanager
    def loading() -> Iterator[None]:
        say(f"{step.step} loads {step.place}{field} into vLLM, which may take a minute; its log: {log}", step.progress_file)
        with step.timed("load"):
            yield

    return VllmSampler(checkpoint, step.compute.vllm, log, base_of(step, field), step.project, loading, step.facts)


def base_of(step: Workspace, field: str) -> Path | None:
    """Returns the full model under an adapter in a field; None for a full model.

    Raises:
        EngineError: the adapter's manifest says that it was trained on another one.
    """
    bases = step.inputs.get(f"{field}_base", ())
    if not bases:
        return None
    made_from = step.model(field).manifest.inputs
    recorded = next((made_from[name] for name in BASE_FIELDS if made_from.get(name)), [])
    if recorded and recorded[0].digest != bases[0].digest:
        raise EngineError(
            f"{step.model(field).key}: got {bases[0].key} ({bases[0].digest[:12]}) as the base of this adapter, expected the "
            f"one it was trained on, {recorded[0].step} ({recorded[0].digest[:12]}). Make the adapter again: "
            f"lineal run {step.model(field).key}"
        )
    return bases[0].directory
