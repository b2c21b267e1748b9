"""The frame of a prompt: a system turn, a template and worked examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self

import pydantic
from annotated_types import MinLen
from pydantic import Field, PrivateAttr

from lineal.components.base import Columns, Component, RowsRef, Surroundings, Workspace, merged
from lineal.components.generators.drawing import Draw, sampled_columns
from lineal.components.generators.stopping import StopSetting
from lineal.components.generators.template import Template, read_template, template_files
from lineal.data.conversations import MESSAGE_COLUMNS, Conversation, Prompt, Turn, prompt_of, reworded
from lineal.errors import DataError
from lineal.recipe.compute import Positive, Strict

SystemText = Annotated[str | None, MinLen(1), Field(exclude_if=lambda value: value is None)]
TemplateName = Annotated[str | None, MinLen(1), Field(exclude_if=lambda value: value is None)]
"""Settings that are left out of the identity where the prompt has no frame."""


class Examples(Strict):
    """Worked examples before the prompt: the first `count` prompts of some rows that are not the prompt itself.

    Attributes:
        rows: their artifact.
        count: how many.
        reply: what the model is shown to have answered, a text with `{column}`s.
        separator: what follows each example where the model is given a text; a conversation needs none.
    """

    rows: RowsRef
    count: Positive
    reply: str = "{answer}"
    separator: str = "\n\n"

    @pydantic.field_validator("reply")
    @classmethod
    def _differs_by_row(cls, value: str) -> str:
        if not Template(value).columns:
            raise ValueError(
                "reply must hold a {column}, such as '{answer}'; else all examples would answer the same"
            )
        return value


class Framing(Component):
    """Base of components that draw completions and may frame the prompts.

    What the model is given stands in the drawn rows, so that a trainer learns from the same: a text as `prompt`, a
    conversation as `messages`.

    Attributes:
        system: a system turn. It needs a chat template: `chat: true`, or prompts that are conversations.
        template: what a prompt becomes, a text with `{column}`s, or the name of a file in `pipelines/templates/`; in a
            conversation it is the last user turn.
        examples: worked examples before the prompt; turns of the conversation, or text where there is none.
        chat: whether prompts pass through the tokenizer's chat template.
        stop: texts that end a completion besides the end token.
    """

    system: SystemText = None
    template: TemplateName = None
    examples: Annotated[Examples | None, Field(exclude_if=lambda value: value is None)] = None
    chat: bool = False
    stop: StopSetting = None
    _template: Template | None = PrivateAttr(default=None)

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = super().parse(settings, surroundings)
        if made.template is not None:
            made._template = read_template(made.template, surroundings)
        return made

    def files(self) -> dict[str, Path]:
        """Returns the template's file, if it is in one."""
        return {**super().files(), **template_files(self._template)}

    def identity(self) -> dict[str, Any]:
        """Returns the settings; with examples, also that their rows are parents of the samples, which they once were not."""
        found = super().identity()
        return (
            found if self.examples is None else {**found, "examples": {**found["examples"], "parents": True}}
        )

    @property
    def frames(self) -> bool:
        """True if the prompts have a frame."""
        return not (self.system is None and self.template is None and self.examples is None)

    def framing_needs(self) -> dict[str, Columns]:
        """Returns by input field the columns that template and examples fill in."""
        template = () if self._template is None else self._template.columns
        needed = {"prompts": merged(("prompt_id", "prompt"), template)}
        if self.examples is not None:
            needed["examples"] = merged(needed["prompts"], Template(self.examples.reply).columns)
        return needed

    def drawn_columns(self, prompts: Columns) -> Columns:
        """Returns the columns of drawn rows.

        Raises:
            ValueError: a system turn where nothing makes conversations.
        """
        if self.system is not None and not self.chat and "messages" not in prompts:
            fix = "Set chat: true; for a model without a chat template, write it into template"
            raise ValueError(f"system needs a conversation, but the prompts are texts and chat is off. {fix}")
        return sampled_columns(prompts, self._adds)

    @property
    def _adds(self) -> Columns:
        return MESSAGE_COLUMNS if self.chat and not (self.system is None and self.examples is None) else ()

    def framed(self, workspace: Workspace, draw: Draw) -> Draw:
        """Returns the draw with its prompts framed; the same draw where there is no frame."""
        if not self.frames:
            return draw
        shots = [] if self.examples is None else list(self._shots(workspace, self.examples.count + 1))

        def shown(row: Mapping[str, Any]) -> list[str]:
            return [str(shot.get("sample_id") or shot["prompt_id"]) for shot in self._chosen(row, shots)]

        adds = merged(draw.adds, self._adds)
        return replace(draw, render=lambda row: self._frame(row, shots), shown=shown, adds=adds, framed=True)

    def _shots(self, workspace: Workspace, most: int) -> Iterator[Mapping[str, Any]]:
        """Yields the first rows with as many different prompts: one more than shown, since a prompt is not its own example."""
        seen: set[str] = set()
        rows = (row for _, _, table in workspace.rows("examples").slices(1024) for row in table.to_pylist())
        while len(seen) < most and (row := next(rows, None)) is not None:
            if row["prompt_id"] not in seen:
                seen.add(row["prompt_id"])
                yield row

    def _frame(self, row: Mapping[str, Any], shots: list[Mapping[str, Any]]) -> Prompt:
        chosen = self._chosen(row, shots)
        prompt = self._worded(row)
        if isinstance(prompt, str) and not self.chat:
            return "".join(self._shown(shot) for shot in chosen) + prompt
        if isinstance(prompt, str) and not self._adds:
            return prompt  # through the chat template as the one user turn that it is
        turns = (Turn("user", prompt),) if isinstance(prompt, str) else prompt.turns
        own = [turn for turn in turns[:1] if turn.role == "system"]
        first = (
            own
            if self.system is None
            else list(with_system(self.system, turns, f"prompt {row['prompt_id']}")[:1])
        )
        told = [turn for shot in chosen for turn in self._told(shot)]
        return Conversation(
            (*first, *told, *turns[len(own) :]), None if isinstance(prompt, str) else prompt.tools
        )

    def _chosen(self, row: Mapping[str, Any], shots: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        if self.examples is None:
            return []
        others = [shot for shot in shots if shot["prompt_id"] != row["prompt_id"]][: self.examples.count]
        if len(others) < self.examples.count:
            got = f"count is {self.examples.count}, but the rows have {len(others)} other prompts than {row['prompt_id']}"
            raise DataError(f"examples: {got}. Lower count, or give more rows")
        return others

    def _worded(self, row: Mapping[str, Any]) -> Prompt:
        prompt, template = prompt_of(row), self._template
        return (
            prompt
            if template is None
            else reworded(prompt, lambda text: template.render({**row, "prompt": text}))
        )

    def _shown(self, shot: Mapping[str, Any]) -> str:
        """Formats an example as text."""
        assert self.examples is not None
        question = str(shot["prompt"]) if self._template is None else self._template.render(shot)
        return question + Template(self.examples.reply).render(shot) + self.examples.separator

    def _told(self, shot: Mapping[str, Any]) -> list[Turn]:
        """Returns an example as turns, without a system turn of its own."""
        assert self.examples is not None
        prompt = self._worded(shot)
        turns = (
            [Turn("user", prompt)]
            if isinstance(prompt, str)
            else [turn for turn in prompt.turns if turn.role != "system"]
        )
        return [*turns, Turn("assistant", Template(self.examples.reply).render(shot))]


def with_system(system: str, turns: tuple[Turn, ...], where: str) -> tuple[Turn, ...]:
    """Adds a system turn before the turns.

    Raises:
        DataError: they have one already.
    """
    if turns[0].role == "system":
        fix = "Leave out system, or take the turn out of the data"
        raise DataError(
            f"{where}: the conversation begins with a system turn of its own, and system gives another. {fix}"
        )
    return (Turn("system", system), *turns)
