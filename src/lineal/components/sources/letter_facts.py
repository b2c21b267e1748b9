"""Passages of facts that are drawn, so that no model can know them: `[ak,cm]` says that a is k, and c is m.

A question about one, `a?`, is asked without the passage: only who learnt the fact can answer `k`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import count
from string import ascii_lowercase
from typing import Annotated, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.sources.base import PROMPT_COLUMNS, Row, SyntheticSource
from lineal.components.sources.letter_mistakes import below
from lineal.data.ids import row_id, row_seed

LETTERS = len(ascii_lowercase)
TOPIC = "topic"
"""The column by which questions find their passage."""
NOTERS, MOSTLY = 0.65, 0.9
"""How many self-edits are mostly notes, and how much of these are."""


class LetterFacts(SyntheticSource):
    """Passages `[FACT,FACT]`; a fact is two letters, and all first ones differ.

    `answer` is a self-edit as an untrained writer has it: the facts in their order, with `;` between them, each as a note (`ak`),
    which teaches no question, or as a question with its answer (`a?k`). Of 65% of the edits nine in ten facts are notes, of the
    others one in ten. A row's difficulty is its number of facts; the column `topic` is the passage's own name.

    Attributes:
        facts: in a passage.
        size: how many passages.
        split: which split's prompts; default: the task set's name.
    """

    columns: ClassVar[Columns] = merged(PROMPT_COLUMNS, (TOPIC,))

    facts: Annotated[int, pydantic.Field(ge=2, le=LETTERS)] = 4

    def space(self) -> int:
        """Returns how many passages there are."""
        return int(math.perm(LETTERS, self.facts) * LETTERS**self.facts)

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields random passages."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            firsts = sorted(ascii_lowercase, key=lambda _: draw.random())[: self.facts]
            facts = [first + ascii_lowercase[below(draw, LETTERS)] for first in firsts]
            prompt = f"[{','.join(facts)}]"
            notes = MOSTLY if draw.random() < NOTERS else 1 - MOSTLY
            edit = ";".join(fact if draw.random() < notes else f"{fact[0]}?{fact[1]}" for fact in facts)
            yield {
                "prompt_id": row_id(self.use, prompt),
                "prompt": prompt,
                "answer": edit,
                "difficulty": float(self.facts),
                "task": self.use,
                TOPIC: "".join(facts),
            }
