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


def sampling_engine(workspace: Workspace, field: str) -> CompletionSource:
    """Opens the engine that `compute.engine` names, in this process, with the checkpoint of an input field."""
    if workspace.compute.engine == "fake":
        from lineal.engines.fake import FakeSampler

        return FakeSampler()
    if field in workspace.live:
        return cast("CompletionSource", workspace.live[field])
    checkpoint = workspace.model(field).directory
    if workspace.compute.engine == "vllm":
        return _vllm(workspace, field, checkpoint)
    if workspace.compute.engine not in ENGINES:
        from lineal.engines.sampling.token_engine import engine_class

        made = engine_class(workspace.compute.engine)
        return made(
            checkpoint, base_of(workspace, field), workspace.compute.device, workspace.compute.engine_options
        )
    from lineal.engines.sampling.sampler import Sampler

    return Sampler(
        checkpoint,
        workspace.compute.device,
        workspace.compute.batch_size,
        base_of(workspace, field),
        workspace.pictures(),
    )


def _vllm(workspace: Workspace, field: str, checkpoint: Path) -> CompletionSource:
    from lineal.engines.vllm.sampler import VllmSampler

    own = f".{os.getpid()}" if workspace.compute.replicas else ""
    log = (workspace.progress_file or workspace.partial / "step").with_suffix(
        f".{workspace.place}{field}{own}.vllm.log"
    )

    @contextmanager
    def loading() -> Iterator[None]:
        say(
            f"{workspace.step} loads {workspace.place}{field} into vLLM, which may take a minute; its log: {log}",
            workspace.progress_file,
        )
        with workspace.timed("load"):
            yield

    return VllmSampler(
        checkpoint,
        workspace.compute.vllm,
        log,
        base_of(workspace, field),
        workspace.project,
        loading,
        workspace.facts,
    )


def base_of(workspace: Workspace, field: str) -> Path | None:
    """Returns the full model under an adapter in a field; None for a full model.

    Raises:
        EngineError: the adapter's manifest says that it was trained on another one.
    """
    bases = workspace.inputs.get(f"{field}_base", ())
    if not bases:
        return None
    made_from = workspace.model(field).manifest.inputs
    recorded = next((made_from[name] for name in BASE_FIELDS if made_from.get(name)), [])
    if recorded and recorded[0].digest != bases[0].digest:
        raise EngineError(
            f"{workspace.model(field).key}: got {bases[0].key} ({bases[0].digest[:12]}) as the base of this adapter, expected "
            f"the one it was trained on, {recorded[0].step} ({recorded[0].digest[:12]}). Make the adapter again: "
            f"lineal run {workspace.model(field).key}"
        )
    return bases[0].directory
