"""Examples of the roles that a checkpoint plays around `letter_sort`: judge, critic, reviser, debater, author, ..."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count
from typing import Annotated, Any

import pydantic

from lineal.components.base import Workspace
from lineal.components.sources.base import Row, SyntheticSource
from lineal.components.sources.letter_roles import ROLES
from lineal.components.sources.letter_sort import LETTERS, Range, bounded_range, sort_problem, sort_problem_id
from lineal.data.ids import row_id, row_seed
from lineal.errors import did_you_mean


class LetterSkills(SyntheticSource):
    """Tagged prompts with what the role should write, in equal shares of the skills; docs/tasks.md has the formats.

    Half of the answers shown to a judge, critic or reviser are right, half are wrong as a small model's own. A row is of
    the split of the letter_sort prompt in it.

    Attributes:
        skills: the roles, each once.
        length: the shortest and the longest letter_sort prompt; a row's difficulty is its length.
        size: how many rows.
        split: which split's prompts; default: the task set's name.
    """

    skills: Annotated[list[str], pydantic.Field(min_length=1)]
    length: Range

    @pydantic.field_validator("skills")
    @classmethod
    def _known_and_different(cls, value: Any) -> Any:
        if isinstance(value, list):
            for skill in value:
                if skill not in ROLES:
                    raise ValueError(f"unknown skill {skill!r}. {did_you_mean(skill, list(ROLES))}")
            if len(set(value)) < len(value):
                raise ValueError(
                    "a skill occurs twice; for other shares make a task set per skill and train on `rows: [...]`"
                )
        return value

    @pydantic.field_validator("length")
    @classmethod
    def _exists(cls, value: Any) -> Any:
        return bounded_range(value, LETTERS) if isinstance(value, tuple) else value

    def candidates(self, workspace: Workspace) -> Iterator[Row]:
        """Yields examples, the skills in turn; each carries the id of its letter_sort prompt, which is not written."""
        for index in count():
            draw = random.Random(row_seed(workspace.seed, workspace.step, index))  # noqa: S311 - reproducible on purpose
            problem, solution = sort_problem(draw, self.length)
            skill = self.skills[index % len(self.skills)]
            prompt, answer = ROLES[skill](draw, problem, solution)
            yield {
                "prompt_id": row_id(self.use, prompt, answer),
                "prompt": prompt,
                "answer": answer,
                "difficulty": float(len(solution)),
                "task": f"{self.use}.{skill}",
                "problem_id": sort_problem_id(problem, solution),
            }

    def split_id(self, row: Row) -> str:
        problem_id: str = row["problem_id"]
        return problem_id
