"""Component names and their classes. A literal table; packages add theirs by the entry point `lineal.components`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint

from lineal.components.base import Component, Role
from lineal.errors import DeclarationError, did_you_mean
from lineal.recipe.plugins import named_once, shown

BUILT_IN: dict[str, str] = {
    # sources
    "letter_sort": "lineal.components.sources.letter_sort:LetterSort",
    "letter_skills": "lineal.components.sources.letter_skills:LetterSkills",
    "letter_facts": "lineal.components.sources.letter_facts:LetterFacts",
    "letter_slices": "lineal.components.sources.letter_slices:LetterSlices",
    "countdown": "lineal.components.sources.countdown:Countdown",
    "drawings": "lineal.components.sources.drawings:Drawings",
    "addition": "lineal.components.sources.addition:Addition",
    "drawn_shapes": "lineal.components.sources.drawn_shapes:DrawnShapes",
    "drawn_letters": "lineal.components.sources.drawn_letters:DrawnLetters",
    "drawn_documents": "lineal.components.sources.drawn_documents:DrawnDocuments",
    "drawn_spies": "lineal.components.sources.drawn_spies:DrawnSpies",
    "reasoning_gym": "lineal.components.sources.reasoning_gym:ReasoningGym",
    "dataset": "lineal.components.sources.dataset:Dataset",
    "environment_tasks": "lineal.components.sources.environment_tasks:EnvironmentTasks",
    # models that exist already
    "model": "lineal.components.trainers.model:LocalModel",
    "hub_model": "lineal.components.trainers.hub_model:HubModel",
    "gguf_model": "lineal.components.trainers.gguf_model:GgufModel",
    "served_model": "lineal.components.trainers.served_model:ServedModel",
    "same_model": "lineal.components.trainers.same_model:SameModel",
    "one_of": "lineal.components.trainers.one_of:OneOf",
    # generators
    "sample": "lineal.components.generators.sample:Sample",
    "rationalize": "lineal.components.generators.rationalize:Rationalize",
    "continue": "lineal.components.generators.continue_:Continue",
    "ask": "lineal.components.generators.ask:Ask",
    "rollout": "lineal.components.generators.rollout:Rollout",
    "demonstrations": "lineal.components.generators.demonstrations:Demonstrations",
    "tree_search": "lineal.components.generators.tree_search:TreeSearch",
    "render": "lineal.components.generators.render:Render",
    "retrieve": "lineal.components.generators.retrieve:Retrieve",
    # verifiers
    "exact_match": "lineal.components.verifiers.exact_match:ExactMatch",
    "majority_vote": "lineal.components.verifiers.majority_vote:MajorityVote",
    "math": "lineal.components.verifiers.math:Math",
    "task_score": "lineal.components.verifiers.task_score:TaskScore",
    "choice": "lineal.components.verifiers.choice:Choice",
    "choice_likelihood": "lineal.components.verifiers.choice_likelihood:ChoiceLikelihood",
    "rule": "lineal.components.verifiers.rule:Rule",
    "solve": "lineal.components.verifiers.solve:Solve",
    "text_metric": "lineal.components.verifiers.text_metric:TextMetric",
    "arithmetic_steps": "lineal.components.verifiers.arithmetic_steps:ArithmeticSteps",
    "structured_match": "lineal.components.verifiers.structured_match:StructuredMatch",
    "svg_match": "lineal.components.verifiers.svg_match:SvgMatch",
    "judge": "lineal.components.verifiers.judge:Judge",
    "reward": "lineal.components.verifiers.reward:Reward",
    "likelihood": "lineal.components.verifiers.likelihood:Likelihood",
    "hidden_signal": "lineal.components.verifiers.hidden_signal:HiddenSignal",
    "certainty": "lineal.components.verifiers.certainty:Certainty",
    "consensus": "lineal.components.verifiers.consensus:Consensus",
    "train_and_test": "lineal.components.verifiers.train_and_test:TrainAndTest",
    "process_reward": "lineal.components.verifiers.process_reward:ProcessReward",
    "step_values": "lineal.components.verifiers.step_values:StepValues",
    "labels": "lineal.components.verifiers.labels:Labels",
    "unit_tests": "lineal.components.verifiers.unit_tests:UnitTests",
    "program_output": "lineal.components.verifiers.program_output:ProgramOutput",
    "run_program": "lineal.components.verifiers.run_program:RunProgram",
    # selection
    "select": "lineal.components.selectors.select:Select",
    # trainers
    "pretrain": "lineal.components.trainers.pretrain:Pretrain",
    "sft": "lineal.components.trainers.sft:Sft",
    "dpo": "lineal.components.trainers.dpo:Dpo",
    "orpo": "lineal.components.trainers.orpo:Orpo",
    "simpo": "lineal.components.trainers.simpo:Simpo",
    "kto": "lineal.components.trainers.kto:Kto",
    "reward_model": "lineal.components.trainers.reward_model:RewardModel",
    "process_reward_model": "lineal.components.trainers.process_reward_model:ProcessRewardModel",
    "grpo": "lineal.components.trainers.grpo:Grpo",
    # evaluators
    "accuracy": "lineal.components.evaluators.accuracy:Accuracy",
    "pass_at_k": "lineal.components.evaluators.pass_at_k:PassAtK",
    "majority_at_k": "lineal.components.evaluators.majority_at_k:MajorityAtK",
    "success_rate": "lineal.components.evaluators.success_rate:SuccessRate",
    "agreement": "lineal.components.evaluators.agreement:Agreement",
    "measure": "lineal.components.evaluators.measure:Measure",
    "lm_eval": "lineal.components.evaluators.lm_eval:LmEval",
    "best_of_n": "lineal.components.evaluators.best_of_n:BestOfN",
    # controllers
    "settings": "lineal.components.controllers.settings:Settings",
    # of filtered self-training: rewards, metrics of every round, controllers
    "blend": "lineal.components.verifiers.blend:Blend",
    "join": "lineal.components.verifiers.join:Join",
    "diversity": "lineal.components.evaluators.diversity:Diversity",
    "head_tail": "lineal.components.evaluators.head_tail:HeadTail",
    "refusals": "lineal.components.evaluators.refusals:Refusals",
    "transitions": "lineal.components.evaluators.transitions:Transitions",
    "balance_exploration": "lineal.components.controllers.balance_exploration:BalanceExploration",
    "follow_reward": "lineal.components.controllers.follow_reward:FollowReward",
    "follow_signal": "lineal.components.controllers.follow_signal:FollowSignal",
    "highest": "lineal.components.controllers.highest:Highest",
    "hill_climb": "lineal.components.controllers.hill_climb:HillClimb",
    "plateau": "lineal.components.controllers.plateau:Plateau",
}
"""Name in `use:` to `module:class`; modules are imported when a pipeline uses them."""

ENTRY_POINTS = "lineal.components"
FROM_A_PACKAGE = (
    "A policy is used as `policies.NAME`. "
    f"If a package adds it (entry points {ENTRY_POINTS!r}), install that package here"
)


class Registry:
    """Finds components by name.

    Raises:
        DeclarationError: two packages, or a package and lineal, give components the same name.
    """

    def __init__(self, extra: Mapping[str, type[Component]] | None = None) -> None:
        self._classes: dict[str, type[Component]] = {}
        self._points = named_once(ENTRY_POINTS, "component", BUILT_IN)
        for name, component in (extra or {}).items():
            if name in BUILT_IN or name in self._points:
                other = shown(self._points[name]) if name in self._points else "lineal's own"
                raise DeclarationError(
                    f"component {name!r} is registered twice, one of them {other}. Rename one"
                )
            self._classes[name] = component

    @property
    def names(self) -> list[str]:
        """All known names."""
        return sorted({*BUILT_IN, *self._points, *self._classes})

    def find(self, name: str) -> type[Component]:
        """Returns the component class of a name.

        Raises:
            KeyError: the name is unknown, or its package gives no component; the message suggests a fix.
        """
        if name not in self._classes:
            if name in BUILT_IN:
                self._classes[name] = _built_in(name)
            elif name in self._points:
                self._classes[name] = _component_of(self._points[name])
            else:
                raise KeyError(
                    f"unknown component {name!r}. {did_you_mean(name, self.names)} {FROM_A_PACKAGE}"
                )
        return self._classes[name]

    def role_of(self, name: str) -> Role | None:
        """Returns the role of the component that a manifest names; None where it is not installed here."""
        try:
            return self.find(name).role
        except KeyError:
            return None


def _built_in(name: str) -> type[Component]:
    module, _, attribute = BUILT_IN[name].partition(":")
    found: type[Component] = getattr(import_module(module), attribute)
    return found


def _component_of(point: EntryPoint) -> type[Component]:
    """Imports the class that an entry point names.

    Raises:
        KeyError: it cannot be imported, or is no component.
    """
    try:
        found = point.load()
    except Exception as error:  # whatever a package's modules raise while they are imported
        said = (
            str(error)
            if isinstance(error, ImportError | AttributeError)
            else f"{type(error).__name__}: {error}"
        )
        raise KeyError(
            f"component {point.name!r} cannot be loaded from {shown(point)}: {said}. {MEND_LOADING}"
        ) from error
    problem = _no_component(found)
    if problem:
        raise KeyError(f"component {point.name!r} of {shown(point)} {problem}. {_MEND}")
    component: type[Component] = found
    return component


def _no_component(found: object) -> str:
    """Says why something is no component; empty when it is one."""
    if not isinstance(found, type):
        return f"is of type {type(found).__name__}, expected a subclass of {_BASE}"
    if not issubclass(found, Component):
        return f"is the class {found.__qualname__}, which is no subclass of {_BASE}"
    if not isinstance(getattr(found, "role", None), Role):
        return f"is the class {found.__qualname__} without a role, expected role: ClassVar[Role] = Role.VERIFIER or another"
    reads = getattr(found, "reads", ())
    if not isinstance(reads, tuple | property) or (
        isinstance(reads, tuple) and not all(isinstance(name, str) for name in reads)
    ):
        return f"is the class {found.__qualname__} with reads = {reads!r}, expected a tuple of column names: ('completion',)"
    return ""


_BASE = f"{Component.__module__}.{Component.__qualname__}"
MEND_LOADING = "Correct the class or the entry point, or install what it needs"
_MEND = "Correct the class or the entry point in that package's pyproject.toml, and install it again"
