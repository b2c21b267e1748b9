"""`arithmetic_steps`: whether a countdown's steps are right and reach the target, or can still reach it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from lineal.components.base import Columns
from lineal.components.generators.drawing import written_by
from lineal.components.sources.countdown import Numbers, line_of, reaches, results
from lineal.components.verifiers.base import FAIL, PASS, Judged, RowVerifier
from lineal.data.steps import is_open, steps_of

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

_LINE = re.compile(r"([0-9]{1,9})([-+*/])([0-9]{1,9})=([0-9]{1,9})(\|.*)?")


class ArithmeticSteps(RowVerifier):
    """Passes a completion whose lines put the numbers of a `countdown` together to its target.

    Each line computes rightly with two numbers that are left, and names those that are left after it. Any solution passes. Of
    rows that are steps, the steps in their `prefix` count too.

    Attributes:
        passes: 'solution': all numbers are used, and the last line gives the target. 'solvable': every line is right, and the
            target can still be reached from what is left; it says of a beginning exactly what `step_values` estimates.
    """

    reads: ClassVar[Columns] = ("completion", "entry")

    passes: Annotated[
        Literal["solution", "solvable"], Field(exclude_if=lambda value: value == "solution")
    ] = "solution"

    def score(self, table: pa.Table, progress: Progress) -> Judged:
        """Follows each row's lines."""
        import pyarrow as pa

        names = [name for name in ("prefix", "completion", "entry") if name in table.column_names]
        problems = [self._problem(row) for row in table.select(names).to_pylist()]
        progress.advance(table.num_rows)
        return Judged(
            pa.array([FAIL if problem else PASS for problem in problems], pa.string()),
            pa.array([float(problem is None) for problem in problems], pa.float64()),
            pa.array(problems, pa.string()),
        )

    def _problem(self, row: dict[str, Any]) -> str | None:
        """Returns the problem of a row; None where there is none."""
        entry, text = json.loads(row["entry"]), written_by(row)
        left: Numbers = tuple(sorted(entry["numbers"]))
        lines = [step.removesuffix("\n") for step in steps_of(text)] if text else []
        for place, line in enumerate(lines, start=1):
            found = after(left, line, entry["largest"])
            if isinstance(found, str):
                return f"step {place}: {found}"
            left = found
        if self.passes == "solvable":
            unfinished = (
                None if is_open(text) or not text or len(left) == 1 else "ends before one number is left"
            )
            return unfinished or (
                None if reaches(left, entry["target"], entry["largest"]) else "the target is out of reach"
            )
        return None if left == (entry["target"],) and not is_open(text) else "does not end with the target"


def after(numbers: Numbers, line: str, largest: int) -> Numbers | str:
    """Returns the numbers after a line, or the problem of the line."""
    match = _LINE.fullmatch(line)
    if match is None:
        return "is not of the form a+b=c"
    first, second, result = int(match[1]), int(match[3]), int(match[4])
    left = list(numbers)
    for number in (first, second):
        if number not in left:
            return f"{number} is not among {', '.join(map(str, left))}"
        left.remove(number)
    if results(first, second).get(match[2]) != result or not 1 <= result <= largest:
        return f"{first}{match[2]}{second} is not {result}, or not from 1 to {largest}"
    found = tuple(sorted([*left, result]))
    return (
        found
        if line == line_of(line.partition("|")[0], found)
        else f"what is left is {', '.join(map(str, found))}"
    )
