"""Addresses of models: which server, under which name, with which key."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lineal.data.store import Artifact
from lineal.engines.endpoints.served import Served
from lineal.errors import EngineError, did_you_mean
from lineal.recipe.compute import Compute, Endpoint

DEFAULT = "default"
NAME_DIGITS = 12
"""Hex digits of a checkpoint's digest in the name that it must be served under."""


@dataclass(frozen=True)
class Address:
    """One model at one server.

    Attributes:
        setting: the server's key in `params.yaml`, for messages.
        endpoint: the server.
        model: what the server calls the model.
        fix: how to make the server have it.
        must_list: whether nothing is sent to a server that doesn't list the model. So it is with a checkpoint: the listed
            name is all that says which weights answer.
        system, parameters: as in `Served`.
    """

    setting: str
    endpoint: Endpoint
    model: str
    fix: str
    must_list: bool = False
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def address_of_served(compute: Compute, served: Served) -> Address:
    """Returns the address of a served model.

    Raises:
        EngineError: `params.yaml` names no server for it.
    """
    name = served.name if served.name in compute.endpoints else DEFAULT
    endpoint = _endpoint(compute, name, f"the served model {served.name!r}", served.name)
    setting = f"compute.endpoints.{name}"
    fix = f"Serve it there, or set {setting}.model to what the server calls it"
    return Address(
        setting,
        endpoint,
        endpoint.model or served.name,
        fix,
        system=served.system,
        parameters=served.parameters,
    )


def address_of_checkpoints(compute: Compute) -> Address:
    """Returns the address of the plan's own checkpoints, whichever they are.

    Raises:
        EngineError: `params.yaml` names no server.
    """
    endpoint = _endpoint(compute, DEFAULT, "engine: openai", DEFAULT)
    return Address(
        f"compute.endpoints.{DEFAULT}",
        endpoint,
        "",
        "Serve the checkpoint there (docs/endpoints.md)",
        must_list=True,
    )


def address_of_checkpoint(compute: Compute, checkpoint: Artifact, base: Path | None) -> Address:
    """Returns the address where a checkpoint of the plan must be served; the model name holds its digest.

    Args:
        compute: execution settings.
        checkpoint: the checkpoint.
        base: the full model under an adapter.

    Raises:
        EngineError: `params.yaml` names no server.
    """
    anywhere = address_of_checkpoints(compute)
    name, where = f"lineal-{checkpoint.digest[:NAME_DIGITS]}", shlex.quote(str(checkpoint.directory))
    served = f"{where} --served-model-name {name}"
    if base is not None:
        served = f"{shlex.quote(str(base))} --enable-lora --lora-modules {name}={where}"
    fix = f"Serve it: vllm serve {served} --generation-config vllm (other servers: docs/endpoints.md), then run again"
    return replace(anywhere, model=name, fix=fix)


def _endpoint(compute: Compute, name: str, who: str, expected: str) -> Endpoint:
    if name in compute.endpoints:
        return compute.endpoints[name]
    hint = did_you_mean(expected, compute.endpoints)
    raise EngineError(
        f"params.yaml: compute.endpoints has no server for {who}. {hint} Add compute: {{endpoints: {{{expected}: {{url: ...}}}}}}"
    )


def key_of(address: Address) -> str | None:
    """Reads the server's key from the environment; it goes nowhere except into requests.

    Raises:
        EngineError: the variable is not set, or holds what can't be a key.
    """
    variable = address.endpoint.key_variable
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise EngineError(
            f"{address.setting}.key_variable: {variable} is not set in the environment. Set it to the server's key"
        )
    if not all("!" <= character <= "~" for character in key):
        raise EngineError(
            f"{address.setting}.key_variable: {variable} holds spaces or other characters that no key has. Mend it"
        )
    return key
