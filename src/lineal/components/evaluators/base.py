"""The common part of evaluators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pydantic

from lineal.components.base import MAIN, Columns, Component, Output, Role, RowsRef, Workspace
from lineal.components.evaluators.metrics import HIGH, LOW, Asked
from lineal.components.evaluators.watch import Watch, Watched, require_own_checks
from lineal.components.selectors.query import Session
from lineal.errors import DataError, did_you_mean
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

Ks = Annotated[list[Positive], pydantic.Field(min_length=1)]


CLUSTER = "coalesce(prompt_id, 'row ' || position)"
"""The key by which rows are grouped: their prompt; a row without one is a group of its own."""


NO_BYTES = ("warnings", "held_out")
"""Settings of evaluators that no artifact's bytes depend on."""


class Evaluator(Component):
    """Base of all evaluators. `headline` names the figure that stands for one in plots, reports and checks.

    Attributes:
        warnings: by number, when to warn: `{gap: {below: 0.05}, characters: {rises: 0.5}, tail_share: falls}`.
            Each is a check that warns and stops nothing, and is not part of the step's identity. Null: no warning.
    """

    role: ClassVar[Role] = Role.EVALUATOR
    version: ClassVar[int] = 2

    warnings: dict[str, Watched | None] = {}

    @pydantic.field_validator("warnings")
    @classmethod
    def _with_checks_of_their_own(cls, value: dict[str, Watch | None]) -> dict[str, Watch | None]:
        require_own_checks(name for name, watch in value.items() if watch is not None)
        return value

    def watched(self) -> dict[str, Watch]:
        """Returns the warnings by number."""
        return {name: watch for name, watch in self.warnings.items() if watch is not None}

    def identity(self) -> dict[str, Any]:
        """Returns the settings that decide the bytes."""
        return {name: value for name, value in super().identity().items() if name not in NO_BYTES}

    def metrics(self, *names: str, columns: Columns = ()) -> Output:
        """Declares the artifact of these numbers, with the bounds of the headline's interval; `columns` where it has rows too.

        Raises:
            ValueError: a warning is about a number that is not among them.
        """
        unknown = next((name for name in self.warnings if name not in names), None)
        if unknown is not None:
            raise ValueError(
                f"warnings: {self.use} gives no number {unknown!r}. {did_you_mean(unknown, names)}"
            )
        return Output(ArtifactKind.METRICS, columns, values=(*names, LOW, HIGH))


class PromptEvaluator(Evaluator):
    """Base of evaluators that give prompts to a model.

    Attributes:
        held_out: whether training rows must not contain these prompts; false where a method trains on what it is evaluated on.
            Not part of the step's identity.
    """

    held_out: bool = True


def may_be_trained_on(component: Component) -> bool:
    """Tells whether a component evaluates on prompts that training rows may contain."""
    return isinstance(component, PromptEvaluator) and not component.held_out


class SampleEvaluator(Evaluator):
    """Metrics at k over samples with verdicts.

    Attributes:
        rows: several samples of each prompt, with verdicts.
        k: for which numbers of samples.
    """

    rows: RowsRef
    k: Ks

    @property
    def headline(self) -> str:
        return f"{self.use.removesuffix('k')}{self.k[0]}"

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that it reads."""
        return {"rows": ("prompt_id", "completion", "verdict")}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        """Returns one artifact of metrics."""
        return {MAIN: self.metrics("prompts", *self.numbers())}

    def numbers(self) -> Columns:
        """Returns the numbers that it writes beside the number of prompts."""
        raise NotImplementedError


def by_prompt(session: Session, query: str) -> list[Asked[Any]]:
    """Runs a query over prompt id, difficulty and counts, in the order of prompt ids."""
    return [
        Asked(str(row[0]), row[1], row[2:]) for row in session.fetch(f"SELECT * FROM ({query}) ORDER BY 1")
    ]


def require_samples(workspace: Workspace, session: Session, most: int) -> None:
    """Checks that every prompt has at least `most` samples.

    Raises:
        DataError: one has fewer, or there is no row at all.
    """
    total, without, short = session.fetch(
        "SELECT count(*), count(*) FILTER (prompt_id IS NULL), (SELECT count(*) FROM "
        f"(SELECT 1 FROM rows GROUP BY prompt_id HAVING count(*) < {most})) FROM rows"
    )[0]
    source = ", ".join(artifact.key for artifact in workspace.inputs["rows"])
    if not total or without:
        raise DataError(
            f"{workspace.step}: {source} has {total:,} rows, {without:,} of them without prompt_id; nothing to evaluate"
        )
    if short:
        example, count = session.fetch(
            f"SELECT prompt_id, count(*) FROM rows GROUP BY prompt_id HAVING count(*) < {most} ORDER BY prompt_id LIMIT 1"
        )[0]
        raise DataError(
            f"{workspace.step}: k is {most}, but {short:,} prompts of {source} have fewer samples ({example} has {count}). "
            f"Lower k, or raise samples where the rows are made"
        )
