"""`lineal report`: one self-contained page. The same artifacts give the same bytes, but for the section of run facts."""

from __future__ import annotations

from pathlib import Path

from lineal.audit.report.facts import run_facts
from lineal.audit.report.page import gather
from lineal.audit.report.render import render
from lineal.errors import ProjectError
from lineal.plan import Plan
from lineal.recipe.whole_files import write_whole


def write_report(plan: Plan, path: Path, revision: tuple[str, bool] | None = None) -> None:
    """Writes the page about a plan's pipelines; a failed write leaves the old page.

    Args:
        plan: the plan.
        path: the file.
        revision: the git revision that the project is seen at, and whether files differ from it.

    Raises:
        ProjectError: the file cannot be written.
    """
    page = gather(plan)
    text = render(page, run_facts(plan, page.summary), revision)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)
    except OSError as error:
        fix = "Choose another place: lineal report -o FILE"
        raise ProjectError(f"the report cannot be written to {path}: {error}. {fix}") from error
