"""`served_model`: a model that exists only behind an endpoint, such as a big judge or teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import JsonValue, field_validator

from lineal.components.base import Columns, Component, Output, Role, Workspace
from lineal.data.progress import say
from lineal.recipe.references import ArtifactKind


class ServedModel(Component):
    """Names a model behind the endpoint `compute.endpoints.NAME`, or `default`; completions can be drawn from it.

    The step asks the endpoint whether it has the model, as `lineal run` does before it starts anything.

    Attributes:
        name: the model.
        revision: which state of it, in its provider's words; a new one makes everything that it wrote stale.
        system: a system prompt, for `chat: true`.
        parameters: what every request says besides: `{reasoning_effort: low}`.
    """

    role: ClassVar[Role] = Role.MODEL
    seeded: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...]] = ("openai",)

    name: str
    revision: str
    system: str | None = None
    parameters: dict[str, JsonValue] = {}

    @field_validator("parameters")
    @classmethod
    def _leaves_requests_alone(cls, parameters: dict[str, JsonValue]) -> dict[str, JsonValue]:
        from lineal.engines.endpoints.messages import OWN

        for name in parameters:
            if name in OWN:
                raise ValueError(f"{name!r} is said by the step that asks; set it there")
        return parameters

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {"": Output(ArtifactKind.SERVED)}

    def run(self, workspace: Workspace) -> None:
        """Checks for the model, and writes its name and revision."""
        from lineal.engines.endpoints.address import address_of_served
        from lineal.engines.endpoints.sampler import require_reachable
        from lineal.engines.endpoints.served import Served, write_served

        served = Served(self.name, self.revision, self.system, self.parameters)
        require_reachable(
            address_of_served(workspace.compute, served),
            lambda line: say(f"{workspace.step}: {line}", workspace.progress_file),
        )
        write_served(workspace.directory(), served)
