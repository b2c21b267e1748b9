"""The plan: every step of some pipelines, and which step makes and reads which artifact."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property

from lineal.components.base import Output, Role
from lineal.components.registry import Registry
from lineal.errors import DeclarationError, UsageError, did_you_mean
from lineal.plan.compile import Compiler
from lineal.plan.oracle import oracles_of
from lineal.plan.steps import Step
from lineal.plan.unroll import unroll
from lineal.recipe.pipeline import Pipeline
from lineal.recipe.project import Project
from lineal.recipe.seeds import declared_name


@dataclass(frozen=True)
class Plan:
    """All steps of some pipelines, each after what it needs.

    Attributes:
        project: the project they belong to.
        pipelines: the parsed pipelines by name.
        steps: by key, in an order in which they can run.
    """

    project: Project
    pipelines: Mapping[str, Pipeline]
    steps: Mapping[str, Step] = field(repr=False)

    @cached_property
    def makers(self) -> dict[str, Step]:
        """By artifact key, the step that makes it."""
        return {key: step for step in self.steps.values() for key in step.artifact_keys().values()}

    @cached_property
    def oracles(self) -> dict[str, str]:
        """By evaluation, why its rows were written with the truth in sight; those without an oracle are left out."""
        return oracles_of(self)

    def step(self, key: str) -> Step:
        """Returns the step with this key, or that makes the artifact with this key.

        Raises:
            UsageError: there is none.
        """
        found = self.steps.get(key) or self.makers.get(key)
        if found is None:
            raise self._unknown(key, self.steps)
        return found

    def _unknown(self, word: str, known: Iterable[str]) -> UsageError:
        return UsageError(
            f"no step {word!r} in the plan of {', '.join(self.pipelines)}. {did_you_mean(word, known)}"
        )

    def seed_of(self, step: Step) -> int:
        """Returns the seed that decides a step's bytes: its pipeline's, or the first seed for steps that no seed affects."""
        return self.project.seed_of(
            declared_name(step.pipeline) if step.key in self._common else step.pipeline
        )

    @cached_property
    def _common(self) -> frozenset[str]:
        """The steps that all seeds of a pipeline have in common: task sets, given models, and what is made of those alone."""
        found: set[str] = set()
        for step in self.steps.values():
            if not step.component.seeded and all(self.makers[key].key in found for key in step.all_inputs()):
                found.add(step.key)
        return frozenset(found)

    def output(self, key: str) -> Output:
        """Returns the declaration of the artifact with this key."""
        return self.makers[key].outputs[key.partition(self.makers[key].key)[2].removeprefix(".")]

    def upstream(self, step: Step) -> list[Step]:
        """Returns the steps whose artifacts go into a step, each once."""
        return list({self.makers[key].key: self.makers[key] for key in step.all_inputs()}.values())

    def with_upstream(self, steps: Iterable[Step]) -> list[Step]:
        """Returns some steps and all that they depend on, in the plan's order."""
        keys, waiting = set(), list(steps)
        while waiting:
            step = waiting.pop()
            if step.key not in keys:
                keys.add(step.key)
                waiting.extend(self.upstream(step))
        return [step for step in self.steps.values() if step.key in keys]

    def consumers(self, step: Step) -> list[Step]:
        """Returns the steps that read one of this step's artifacts."""
        return self._consumers.get(step.key, [])

    @cached_property
    def _consumers(self) -> dict[str, list[Step]]:
        found: dict[str, list[Step]] = {}
        for step in self.steps.values():
            for maker in self.upstream(step):
                found.setdefault(maker.key, []).append(step)
        return found

    def select(self, selection: Iterable[str]) -> list[Step]:
        """Returns the steps that some words name: a key, a prefix of keys (`rest_em/round_01`), or a glob.

        Raises:
            UsageError: a word names nothing.
        """
        chosen: dict[str, Step] = {}
        for word in selection:
            prefix = word.rstrip("/") + "/"
            hits = [
                s
                for s in self.steps.values()
                if s.key == word or s.key.startswith(prefix) or fnmatchcase(s.key, word)
            ]
            if not hits:
                hits = [self.makers[word]] if word in self.makers else []
            if not hits:
                groups = {f"{step.pipeline}/{step.group}" for step in self.steps.values()}
                raise self._unknown(word, {*self.makers, *groups, *self.pipelines})
            chosen.update({step.key: step for step in hits})
        return [step for step in self.steps.values() if step.key in chosen]


def make_plan(project: Project, names: Iterable[str] | None = None, registry: Registry | None = None) -> Plan:
    """Unrolls the named pipelines (default: the active ones). Their other profiles' names and settings are checked too.

    Of an unnamed pipeline that they depend on, the plan has the steps that they need.

    Raises:
        DeclarationError: a pipeline cannot be planned; names file, line and key.
    """
    registry = registry or Registry()
    unrolled = Pipelines(project, registry)
    asked = {name: project.pipeline(name) for name in (project.active if names is None else names)}
    for name, pipeline in asked.items():
        unrolled.steps_of(name)
        for other in pipeline.other_profiles() if name == declared_name(name) else ():
            Compiler(project, other, registry).check_settings()
    whole = Plan(project, {**asked, **unrolled.pipelines}, unrolled.steps)
    needed = whole.with_upstream(step for step in whole.steps.values() if step.pipeline in asked)
    pipelines = dict.fromkeys([*asked, *(step.pipeline for step in needed)])
    return Plan(
        project, {name: whole.pipelines[name] for name in pipelines}, {step.key: step for step in needed}
    )


class Pipelines:
    """Unrolls pipelines, each after those that it depends on.

    Attributes:
        pipelines: those that are unrolled, by name.
        steps: their steps by key, in an order in which they can run.
    """

    def __init__(self, project: Project, registry: Registry) -> None:
        self._project, self._registry = project, registry
        self._open: list[str] = []
        self.pipelines: dict[str, Pipeline] = {}
        self.steps: dict[str, Step] = {}

    def steps_of(self, name: str) -> Mapping[str, Step]:
        """Returns the steps of one pipeline.

        Raises:
            DeclarationError: it cannot be planned.
            ValueError: it depends on a pipeline that is being unrolled.
        """
        if name in self._open:
            cycle = " -> ".join([*self._open[self._open.index(name) :], name])
            raise ValueError(
                f"the pipelines need each other: {cycle}. Move what both need into a pipeline of its own"
            )
        if name not in self.pipelines:
            self._open.append(name)
            try:
                self._unroll(name)
            finally:
                self._open.pop()
        return {key: step for key, step in self.steps.items() if step.pipeline == name}

    def _unroll(self, name: str) -> None:
        pipeline = self._project.pipeline(name)
        unrolled = list(
            unroll(self._project, pipeline, self._registry, self._project.rounds_of(pipeline), self)
        )
        self.steps |= {step.key: _under_retractions(self._project, step) for step in unrolled}
        self.pipelines[name] = pipeline


def plan_what_can_be(project: Project) -> tuple[Plan, dict[str, DeclarationError]]:
    """Plans those active pipelines that can be planned, for commands that only read.

    Returns:
        the plan, and by pipeline why it is not in it; of several seeds the first stands for all.
    """
    registry, plans, refused = Registry(), [], dict[str, DeclarationError]()
    for name in project.active:
        try:
            plans.append(make_plan(project, [name], registry))
        except DeclarationError as error:
            refused.setdefault(declared_name(name), error)
    pipelines = {name: pipeline for plan in plans for name, pipeline in plan.pipelines.items()}
    return Plan(
        project, pipelines, {key: step for plan in plans for key, step in plan.steps.items()}
    ), refused


def _under_retractions(project: Project, step: Step) -> Step:
    rules = project.retractions.in_force(step.key) if step.component.role is Role.SELECTOR else ()
    return replace(step, retractions=rules) if rules else step
