"""`tree_search`: completions step by step, in several branches, continued where it looks best."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge
from pydantic import PrivateAttr, model_validator

from lineal.components.base import (
    MAIN,
    Columns,
    Output,
    Role,
    RowsRef,
    SamplerRef,
    Surroundings,
    Workspace,
    merged,
)
from lineal.components.generators.drawing import SAMPLE_COLUMNS, require_distinct_prompts, sampled_columns
from lineal.components.generators.draws import Draws
from lineal.components.generators.search_tree import Beam, BestFirst, SearchPolicy, Uct
from lineal.components.generators.search_waves import TREE_COLUMNS, Waves
from lineal.components.generators.temperatures import Warm
from lineal.components.trainers.process_reward_model import Separator
from lineal.components.verifiers.base import AddsColumns, written
from lineal.components.verifiers.embedded import (
    columns_read,
    embedded_verifier,
    identity_of,
    ready,
    refuse_errors,
)
from lineal.components.verifiers.holding import VERIFIER, HoldsVerifier
from lineal.data.steps import LINE_BREAK
from lineal.engines.factory import open_sampler
from lineal.engines.sampling.sampler import SamplingSettings
from lineal.engines.text.stop_texts import StopTexts
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress

VALUE, ROLLOUT = "value", "rollout"


class TreeSearch(HoldsVerifier, Draws):
    """Searches each prompt's tree of steps; every node is a row whose parent is the node, or the prompt, that it continues.

    A step ends with the separator, or with the completion. `score` is how good a node is by itself, `value` the mean score in
    its subtree of `visits` nodes, `prior` the share of its parent's draws that gave this step. The search's answer is the
    terminal node with the highest score; it and the way to it are `best`. A step that is cut at `max_tokens` is not
    continued; its score is 0 by rollouts, and null by a scorer.

    Attributes:
        model: the checkpoint that writes steps.
        prompts: prompt rows.
        policy: 'beam' keeps the best `width` steps of each depth; 'best_first' continues the best nodes anywhere; 'uct' weighs
            value against doubt.
        breadth: steps that are drawn from a node; equal ones are one node.
        width: nodes of a prompt that are continued at once.
        expansions: how many nodes of a prompt are continued in all; 'best_first' and 'uct' need it.
        explore: the weight of doubt in 'uct'.
        max_steps: the maximum depth.
        max_tokens: the longest step.
        separator: the text that ends a step.
        value: the score of a node: 'rollout', the share of `rollouts` completions from it that the verifier passes, or a verifier
            that gives a score to beginnings, such as `process_reward`, `judge` or `reward`: its name, or its settings.
        rollouts: completions from each node, of up to `max_tokens` for each step that may follow.
        verifier: the judge of terminal nodes, and completions of rollouts; see `HoldsVerifier`.
        temperature, top_p, top_k, chat: as for `sample`.
    """

    role: ClassVar[Role] = Role.GENERATOR
    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    prompts: RowsRef
    policy: Literal["beam", "best_first", "uct"] = "beam"
    breadth: Positive = 4
    width: Positive = 1
    expansions: Positive | None = None
    explore: Annotated[float, Ge(0)] = 1.0
    max_steps: Positive = 8
    separator: Separator = LINE_BREAK
    value: str | dict[str, Any] = ROLLOUT
    rollouts: Positive = 1
    temperature: Warm = 1.0
    _scorer: AddsColumns | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.policy != "beam" and self.expansions is None:
            raise ValueError(
                f"policy {self.policy} needs expansions, how many nodes of a prompt are continued in all"
            )
        return self

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = super().parse(settings, surroundings)
        made._scorer = None if made.value == ROLLOUT else embedded_verifier(made.value, VALUE, surroundings)
        return made

    def embedded(self) -> dict[str, AddsColumns]:
        """Returns the verifier, and what scores nodes where that is not rollouts."""
        return {**super().embedded(), **({} if self._scorer is None else {VALUE: self._scorer})}

    def identity(self) -> dict[str, Any]:
        return (
            super().identity()
            if self._scorer is None
            else {**super().identity(), VALUE: identity_of(self._scorer)}
        )

    def needs(self) -> dict[str, Columns]:
        read = (
            columns_read(judge, merged(SAMPLE_COLUMNS, ("prompt_id", "prompt")))
            for judge in self.embedded().values()
        )
        return {**super().needs(), "prompts": merged(("prompt_id", "prompt"), *read)}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        return {MAIN: Output(ArtifactKind.ROWS, merged(sampled_columns(inputs["prompts"]), TREE_COLUMNS))}

    def policy_of(self) -> SearchPolicy:
        """Returns the policy that chooses which nodes to continue."""
        if self.policy == "beam":
            return Beam(self.width)
        return BestFirst(self.width) if self.policy == "best_first" else Uct(self.width, self.explore)

    @property
    def of_steps(self) -> SamplingSettings:
        """The sampling settings of a step."""
        return replace(self.sampling, stop=StopTexts((self.separator,), keep=True))

    @property
    def of_rollouts(self) -> SamplingSettings:
        """The sampling settings of a completion from a node."""
        return replace(self.sampling, max_tokens=self.max_tokens * self.max_steps)

    @property
    def judge(self) -> AddsColumns:
        """The verifier of terminal nodes."""
        return self._judge

    @property
    def scorer(self) -> AddsColumns | None:
        """The scorer of nodes; None where rollouts score."""
        return self._scorer

    def run(self, workspace: Workspace) -> None:
        """Searches the trees of many prompts at once, shard by shard."""
        prompts = workspace.rows("prompts")
        require_distinct_prompts(prompts, workspace.step)
        sampler = open_sampler(workspace, "model")

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            return Waves(self, workspace, sampler, table).rows(progress)

        scoring = nullcontext() if self._scorer is None else ready(self._scorer, workspace, VALUE)
        with ready(self._judge, workspace, VERIFIER), scoring:
            out = workspace.map_rows(prompts, transform, self.breadth, "steps")
        told = written(workspace, ["verdict", "score", "spent"])
        refuse_errors(workspace, self._judge, told["verdict"])
        workspace.counts.update(
            {"in": prompts.count, "expected": out, "out": out, "without a score": told["score"].null_count}
        )
        workspace.facts["tokens"] = sum(told["spent"].to_pylist())
