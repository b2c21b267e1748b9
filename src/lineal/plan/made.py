"""The steps that are planned so far, and their artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lineal.components.base import Columns, Output
from lineal.plan.steps import Step


class NotPlanned(KeyError):
    """A step that another one needs could not be planned."""


class Made(dict[str, Step]):
    """The steps of a pipeline so far, by key; those of others are found too, and are not among its values."""

    def __init__(self, others: Mapping[str, Step]) -> None:
        super().__init__()
        self._others = others

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._others

    def __missing__(self, key: str) -> Step:
        if key not in self._others:
            raise NotPlanned(key)
        return self._others[key]

    def split(self, key: str) -> tuple[Step, str, str]:
        """Returns the step that makes an artifact, the step's key, and the output's name."""
        if key in self:
            return self[key], key, ""
        step_key, _, output = key.rpartition(".")
        return self[step_key], step_key, output

    def output(self, key: str) -> Output:
        """Returns what is known of an artifact before it is made."""
        step, _, output = self.split(key)
        return step.outputs[output]

    def columns(self, keys: Iterable[str]) -> Columns:
        """Returns the columns that artifacts have together."""
        return tuple(dict.fromkeys(column for key in keys for column in self.output(key).columns))

    def base_of(self, key: str) -> list[str]:
        """Returns the full model under an adapter; nothing for anything else."""
        step, _, output = self.split(key)
        field = step.outputs[output].adapter_of
        return [] if field is None else list(step.inputs.get(f"{field}_base", step.inputs[field]))
