"""Component names and where they live. A literal table; outsiders add theirs by the entry point `lineal.components`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from lineal.components.base import Component, Role
from lineal.errors import DeclarationError, did_you_mean

BUILT_IN: dict[str, str] = {
    # sources
    "letter_sort": "lineal.components.sources.letter_sort:LetterSort",
    "letter_skills": "lineal.components.sources.letter_skills:LetterSkills",
    "letter_slices": "lineal.components.sources.letter_slices:LetterSlices",
    "addition": "lineal.components.sources.addition:Addition",
    "reasoning_gym": "lineal.components.sources.reasoning_gym:ReasoningGym",
    "dataset": "lineal.components.sources.dataset:Dataset",
    # models that exist already
    "model": "lineal.components.trainers.model:LocalModel",
    "hub_model": "lineal.components.trainers.hub_model:HubModel",
    "gguf_model": "lineal.components.trainers.gguf_model:GgufModel",
    "served_model": "lineal.components.trainers.served_model:ServedModel",
    "same_model": "lineal.components.trainers.same_model:SameModel",
    # generators
    "sample": "lineal.components.generators.sample:Sample",
    "rationalize": "lineal.components.generators.rationalize:Rationalize",
    "ask": "lineal.components.generators.ask:Ask",
    # verifiers
    "exact_match": "lineal.components.verifiers.exact_match:ExactMatch",
    "majority_vote": "lineal.components.verifiers.majority_vote:MajorityVote",
    "math": "lineal.components.verifiers.math:Math",
    "task_score": "lineal.components.verifiers.task_score:TaskScore",
    "choice": "lineal.components.verifiers.choice:Choice",
    "choice_likelihood": "lineal.components.verifiers.choice_likelihood:ChoiceLikelihood",
    "structured_match": "lineal.components.verifiers.structured_match:StructuredMatch",
    "judge": "lineal.components.verifiers.judge:Judge",
    "reward": "lineal.components.verifiers.reward:Reward",
    "likelihood": "lineal.components.verifiers.likelihood:Likelihood",
    "unit_tests": "lineal.components.verifiers.unit_tests:UnitTests",
    "program_output": "lineal.components.verifiers.program_output:ProgramOutput",
    # selection
    "select": "lineal.components.selectors.select:Select",
    # trainers
    "pretrain": "lineal.components.trainers.pretrain:Pretrain",
    "sft": "lineal.components.trainers.sft:Sft",
    "dpo": "lineal.components.trainers.dpo:Dpo",
    "kto": "lineal.components.trainers.kto:Kto",
    "reward_model": "lineal.components.trainers.reward_model:RewardModel",
    "grpo": "lineal.components.trainers.grpo:Grpo",
    # evaluators
    "accuracy": "lineal.components.evaluators.accuracy:Accuracy",
    "pass_at_k": "lineal.components.evaluators.pass_at_k:PassAtK",
    "majority_at_k": "lineal.components.evaluators.majority_at_k:MajorityAtK",
    "agreement": "lineal.components.evaluators.agreement:Agreement",
    "lm_eval": "lineal.components.evaluators.lm_eval:LmEval",
    "best_of_n": "lineal.components.evaluators.best_of_n:BestOfN",
    # controllers
    "settings": "lineal.components.controllers.settings:Settings",
    # of filtered self-training: rewards, metrics of every round, controllers
    "blend": "lineal.components.verifiers.blend:Blend",
    "diversity": "lineal.components.evaluators.diversity:Diversity",
    "head_tail": "lineal.components.evaluators.head_tail:HeadTail",
    "refusals": "lineal.components.evaluators.refusals:Refusals",
    "transitions": "lineal.components.evaluators.transitions:Transitions",
    "balance_exploration": "lineal.components.controllers.balance_exploration:BalanceExploration",
    "follow_reward": "lineal.components.controllers.follow_reward:FollowReward",
    "hill_climb": "lineal.components.controllers.hill_climb:HillClimb",
    "plateau": "lineal.components.controllers.plateau:Plateau",
}
"""Name in `use:` to `module:class`; modules are imported when a pipeline uses them."""

ENTRY_POINTS = "lineal.components"
_FROM_A_PACKAGE = f"If a package adds it (entry points {ENTRY_POINTS!r}), install that package here"


@cache
def _outside() -> tuple[EntryPoint, ...]:
    """What installed packages add; looked up once, since every look reads all packages' metadata (20 ms)."""
    return tuple(entry_points(group=ENTRY_POINTS))


class Registry:
    """Looks components up by name."""

    def __init__(self, extra: Mapping[str, type[Component]] | None = None) -> None:
        self._classes: dict[str, type[Component]] = {}
        self._locations = dict(BUILT_IN)
        for point in _outside():
            self._claim(point.name)
            self._locations[point.name] = point.value
        for name, component in (extra or {}).items():
            self._claim(name)
            self._classes[name] = component

    def _claim(self, name: str) -> None:
        if name in self._locations or name in self._classes:
            raise DeclarationError(f"component {name!r} is registered twice (entry points {ENTRY_POINTS!r}); rename one")

    @property
    def names(self) -> list[str]:
        """All known names."""
        return sorted({*self._locations, *self._classes})

    def find(self, name: str) -> type[Component]:
        """The component class of a name.

        Raises:
            KeyError: with a sentence that helps, when the name is unknown or its package cannot be imported.
        """
        if name not in self._classes:
            if name not in self._locations:
                raise KeyError(f"unknown component {name!r}. {did_you_mean(name, self.names)} {_FROM_A_PACKAGE}")
            self._classes[name] = self._load(name)
        return self._classes[name]

    def role_of(self, name: str) -> Role | None:
        """The role of the component that a manifest names; None where it is not installed here."""
        try:
            return self.find(name).role
        except (KeyError, ImportError, AttributeError):
            return None

    def _load(self, name: str) -> type[Component]:
        module, _, attribute = self._locations[name].partition(":")
        try:
            found: type[Component] = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            if name in BUILT_IN:
                raise
            where = f"the entry point {name} = {self._locations[name]!r} ({ENTRY_POINTS})"
            raise KeyError(
                f"component {name!r} cannot be loaded from {where}: {error}. Reinstall the package that adds it"
            ) from error
        return found
