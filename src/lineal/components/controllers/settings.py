"""Initial values, for later rounds to use and controllers to change (B-STaR, arXiv:2412.17256)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import pydantic

from lineal.components.base import MAIN, Columns, Component, Output, Role, Surroundings, Workspace
from lineal.components.controllers.values import write_settings
from lineal.recipe.references import ArtifactKind, SettingReference


class Settings(Component):
    """Writes its own keys: `{use: settings, temperature: 0.9}` is what `start.tuned.temperature` then names."""

    model_config = pydantic.ConfigDict(extra="allow")
    role: ClassVar[Role] = Role.CONTROLLER

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        """Makes the component; every key but `use` is a number, a text or true or false.

        Raises:
            ValueError: there is no key, or a value is something else.
        """
        component = super().parse(settings, surroundings)
        if not component.values():
            raise ValueError("settings needs a key with a value: {use: settings, temperature: 0.9}")
        for key, value in component.values().items():
            if not isinstance(value, bool | int | float | str | SettingReference):
                raise ValueError(f"settings.{key} must be a number, a text or true or false, got {value!r}")
        return component

    def values(self) -> dict[str, Any]:
        """Returns the keys and their values."""
        return dict(self.model_extra or {})

    def foreknown(self, value: str) -> Any:
        """Returns the value of a key."""
        known = self.values().get(value)
        return None if isinstance(known, SettingReference) else known

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns one artifact of settings."""
        return {MAIN: Output(ArtifactKind.SETTINGS, values=tuple(self.values()))}

    def run(self, workspace: Workspace) -> None:
        """Writes `settings.json`."""
        write_settings(workspace, self.values())
