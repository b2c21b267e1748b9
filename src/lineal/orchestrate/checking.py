"""`lineal check`: everything that can be checked in a project without an artifact, a model or a network."""

from __future__ import annotations

from collections.abc import Callable

from lineal.errors import DeclarationError, LinealError
from lineal.orchestrate.dvc_lock import locked_stages
from lineal.orchestrate.dvc_yaml import check_dvc_yaml
from lineal.plan import Step, make_plan
from lineal.recipe.project import Project
from lineal.step.preflight import unbound


def problems(project: Project) -> tuple[list[str], int]:
    """Returns the problems of a project's declarations, and how many steps were checked.

    Every pipeline is planned, active or not, which reads its SQL files, templates and verifiers; each query is bound to the
    columns that the plan gives it; and `dvc.yaml` and `dvc.lock` are compared with the active pipelines.
    """
    found: list[str] = []
    steps: dict[str, Step] = {}
    for name in project.pipeline_names():
        try:
            plan = make_plan(project, [name])
        except DeclarationError as error:
            found += str(error).splitlines()
            continue
        fresh = [step for step in plan.steps.values() if step.key not in steps]
        steps |= {step.key: step for step in fresh}
        found += unbound(plan, fresh)
    found += _told(lambda: check_dvc_yaml(make_plan(project)))
    found += _told(lambda: locked_stages(project.root))
    return list(dict.fromkeys(found)), len(steps)


def _told(look: Callable[[], object]) -> list[str]:
    try:
        look()
    except LinealError as error:
        return [str(error)]
    return []
