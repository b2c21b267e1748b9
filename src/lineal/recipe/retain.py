"""`retain:` in `params.yaml`: what of the rounds stays on disk. What is deleted can be made again, to the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from annotated_types import Ge
from pydantic import BeforeValidator, field_validator, model_validator

from lineal.recipe.compute import Strict
from lineal.recipe.document import KeyPath
from lineal.recipe.references import ArtifactKind


class Kept(Strict):
    """The rounds whose artifacts are kept.

    Attributes:
        last: how many of the last rounds.
        best: and the round in which this number of an evaluation is highest: `evaluation.accuracy`.
    """

    last: Annotated[int, Ge(0)] = 0
    best: str | None = None

    @field_validator("best")
    @classmethod
    def _names_a_number(cls, best: str | None) -> str | None:
        if best is not None and not all(best.rpartition(".")[::2]):
            raise ValueError(
                f"expected an evaluation's node and number such as evaluation.accuracy, got {best!r}"
            )
        return best

    @model_validator(mode="after")
    def _keeps_something(self) -> Self:
        if not self.last and self.best is None:
            raise ValueError("keeps nothing: set last, best, or both; or write all")
        return self


def _all_or_kept(value: Any) -> Any:
    if value == "all" or isinstance(value, dict | Kept):
        return value
    raise ValueError(
        f"got {value!r}, expected all, or which rounds keep theirs: {{last: 2}}, {{best: evaluation.accuracy}}, or both"
    )


Rule = Annotated[Literal["all"] | Kept, BeforeValidator(_all_or_kept)]


class Retain(Strict):
    """The rules of `lineal prune`. Tasks, start, finish, metrics and settings always stay.

    Attributes:
        checkpoints: of trained models.
        rows: of everything that holds rows.
        nodes: by a node's name, what it keeps in place of these.
    """

    checkpoints: Rule = "all"
    rows: Rule = "all"
    nodes: dict[str, Rule] = {}

    def best_named(self) -> Iterator[tuple[KeyPath, str]]:
        """Yields the place and value of every `best`."""
        rules: dict[KeyPath, Rule] = {
            ("retain", "checkpoints"): self.checkpoints,
            ("retain", "rows"): self.rows,
        }
        rules |= {("retain", "nodes", name): rule for name, rule in self.nodes.items()}
        for path, rule in rules.items():
            if isinstance(rule, Kept) and rule.best is not None:
                yield (*path, "best"), rule.best

    def rule(self, label: str, kind: ArtifactKind) -> Rule:
        """Returns the rule for a node's artifacts of one kind."""
        of_kind = {ArtifactKind.MODEL: self.checkpoints, ArtifactKind.ROWS: self.rows}.get(kind, "all")
        return self.nodes.get(label, self.nodes.get(label.partition("/")[0], of_kind))
