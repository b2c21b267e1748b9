"""`lineal check`: everything that can be checked in a project without an artifact, a model or a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lineal.errors import DeclarationError, LinealError, each_of, is_missing_file
from lineal.orchestrate.dvc_lock import locked_stages
from lineal.orchestrate.dvc_yaml import check_dvc_yaml
from lineal.plan import Step, make_plan
from lineal.recipe.project import Project
from lineal.step.preflight import unbound


@dataclass
class Checked:
    """The result of checking a project's declarations.

    Attributes:
        problems: the errors, those of active pipelines first.
        steps: the steps that were planned, by key.
        without_data: inactive pipelines that name data which is not here; of these only the settings were checked.
        bound: by query with its columns, what DuckDB said of it; most queries are in many pipelines.
    """

    problems: list[str] = field(default_factory=list)
    steps: dict[str, Step] = field(default_factory=dict)
    without_data: list[str] = field(default_factory=list)
    bound: dict[object, str] = field(default_factory=dict)


def checked(project: Project) -> Checked:
    """Checks a project's declarations.

    Every pipeline is planned, active or not, which reads its SQL files, templates and verifiers; each query is bound to the
    columns that the plan gives it; and `dvc.yaml` and `dvc.lock` are compared with the active pipelines.
    """
    found = Checked()
    for name in dict.fromkeys([*project.active, *project.pipeline_names()]):
        _check_pipeline(project, name, found)
    found.problems += _told(lambda: check_dvc_yaml(make_plan(project)))
    found.problems += _told(lambda: locked_stages(project.root))
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _check_pipeline(project: Project, name: str, found: Checked) -> None:
    try:
        plan = make_plan(project, [name])
    except DeclarationError as error:
        found.problems += _refused(project, name, error, found)
        return
    fresh = [step for step in plan.steps.values() if step.key not in found.steps]
    found.steps |= {step.key: step for step in fresh}
    found.problems += unbound(plan, fresh, found.bound)


def _refused(project: Project, name: str, error: DeclarationError, found: Checked) -> list[str]:
    """Returns the errors of a pipeline that cannot be planned; data that an inactive one lacks is none."""
    wrong = [one for one in each_of(error) if name in project.active or not is_missing_file(one)]
    if not wrong:
        found.without_data.append(name)
    return [str(one) for one in wrong]


def _told(look: Callable[[], object]) -> list[str]:
    try:
        look()
    except DeclarationError as error:
        return [str(one) for one in each_of(error)]
    except LinealError as error:
        return [str(error)]
    return []
