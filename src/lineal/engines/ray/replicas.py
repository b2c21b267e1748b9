"""Sampling on replicas: each holds the engine that `compute.engine` names, on the same checkpoint."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lineal.data.conversations import Prompt, plain_values, prompt_from
from lineal.data.store import Artifact, open_artifact
from lineal.data.workspace import Workspace
from lineal.engines.arithmetic import chosen_kernels
from lineal.engines.ray.cluster import join
from lineal.engines.ray.fan_out import Work, fan_out, slice_rows
from lineal.engines.sampling.sampler import Completion, Request, SamplingSettings, settings_from
from lineal.errors import ArtifactError, EngineError
from lineal.recipe.compute import Compute

OF_THE_MACHINE = {"gpus", "requests"}
"""Settings that replicas ignore: a replica gets what it reserves."""


class RaySampler:
    """A sampling engine on `compute.replicas` processes of a Ray cluster, which is joined at once.

    A completion depends on weights, prompt, seed and settings alone, so it equals the engine's in one process.

    Attributes:
        in_flight: so many that starting the replicas, which happens in each call of `stream`, costs little.

    Args:
        workspace: the running step.
        field: the input field of the checkpoint.

    Raises:
        EngineError: the cluster cannot be used, or the device asked for does not go with what replicas reserve.
    """

    def __init__(self, workspace: Workspace, field: str) -> None:
        self._compute, self._log = workspace.compute, workspace.progress_file
        self._described = {"step": described(workspace, field), "field": field}
        self.in_flight = slice_rows(workspace.compute)
        require_own_gpus(workspace.compute)
        join(workspace.compute, workspace.compute.ray.gpus_per_replica)

    def stream(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[int, Completion]]:
        """Yields each request's place and its completion, block by block.

        Raises:
            EngineError: raised by the engine, or replicas cannot work.
        """
        # blocks of near prompt lengths, so that few of the engine's tiles are partly empty; the longest first
        order = sorted(range(len(requests)), key=lambda place: -size_of(requests[place].prompt))
        rows = [[plain_values(requests[place].prompt), requests[place].seed] for place in order]
        arguments = self._described | {"settings": settings.described()}
        gpus = self._compute.ray.gpus_per_replica
        for place, values in fan_out(self._compute, sampling_work, arguments, rows, gpus, self._log):
            yield order[place], Completion(*values)


def sampling_work(step: dict[str, Any], field: str, settings: dict[str, Any]) -> Work:
    """Makes a replica's work: it draws the completions of (prompt, seed) rows. Runs on the cluster.

    Its processes have their node's environment, so the kernels of the step's process are chosen there before torch is loaded.
    """
    os.environ.update(step["kernels"])
    from lineal.engines.in_process import sampling_engine

    engine, drawn_with = sampling_engine(opened(step), field), settings_from(settings)

    def work(rows: list[Any]) -> list[Any]:
        found = dict(engine.stream([Request(prompt_from(prompt), seed) for prompt, seed in rows], drawn_with))
        return [list(found[place].__dict__.values()) for place in range(len(rows))]

    return work


def size_of(prompt: Prompt) -> int:
    """Returns the length of a prompt, in characters."""
    return len(prompt) if isinstance(prompt, str) else sum(len(turn.content) for turn in prompt.turns)


def described(workspace: Workspace, field: str) -> dict[str, Any]:
    """Describes a step and one of its models in plain values, for a replica to open."""
    inputs = {
        name: [(each.key, str(each.directory), each.digest) for each in workspace.inputs.get(name, ())]
        for name in (field, f"{field}_base")
    }
    return {
        "project": str(workspace.project),
        "step": workspace.step,
        "round": workspace.round,
        "seed": workspace.seed,
        "partial": str(workspace.partial),
        "compute": workspace.compute.model_dump(exclude=OF_THE_MACHINE),
        "inputs": inputs,
        "kernels": chosen_kernels(),
    }


def opened(described: dict[str, Any]) -> Workspace:
    """Opens the step on a replica; its model is on the file system that all nodes share.

    Raises:
        EngineError: the model is missing, or is another one.
    """
    compute = Compute.model_validate(described["compute"])
    device = compute.device if compute.device != "auto" or compute.ray.gpus_per_replica else "cpu"
    own = compute.model_copy(update={"replicas": 0, "device": device})
    inputs = {
        name: tuple(_model(*each) for each in models)
        for name, models in described["inputs"].items()
        if models
    }
    return Workspace(
        Path(described["project"]),
        described["step"],
        described["round"],
        described["seed"],
        own,
        inputs,
        Path(described["partial"]),
    )


def _model(key: str, directory: str, digest: str) -> Artifact:
    try:
        model = open_artifact(key, Path(directory))
    except ArtifactError as error:
        raise EngineError(_not_shared(key, directory, str(error))) from error
    if model.digest != digest:
        raise EngineError(
            _not_shared(key, directory, f"its digest is {model.digest[:12]} there, {digest[:12]} in the step")
        )
    return model


def _not_shared(key: str, directory: str, problem: str) -> str:
    return (
        f"a replica on {platform.node()} cannot read the model {key} at {directory}: {problem}. "
        "Put the project on a file system that all nodes of the Ray cluster share, under one path"
    )


def require_own_gpus(compute: Compute) -> None:
    """Raises where replicas are to use GPUs that they don't reserve.

    Raises:
        EngineError: names the two settings.
    """
    if compute.device not in ("auto", "cpu") and not compute.ray.gpus_per_replica:
        raise EngineError(
            f"compute.device: {compute.device} with compute.ray.gpus_per_replica: 0 would put all replicas on one device. "
            "Set gpus_per_replica: 1, and device: auto"
        )
