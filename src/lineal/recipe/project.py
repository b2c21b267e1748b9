"""A project on disk: `params.yaml`, `pipelines/`, and where everything else lies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import ValidationError

from lineal.errors import ProjectError, UsageError, did_you_mean
from lineal.recipe.compute import Compute, Positive, Strict
from lineal.recipe.document import Document, declaration_error, read_document
from lineal.recipe.pipeline import PAPER, Pipeline, read_pipeline
from lineal.recipe.retraction_files import read_retractions
from lineal.recipe.retractions import Retractions

PARAMS = "params.yaml"
PIPELINES = "pipelines"


class PipelineParams(Strict):
    """What one pipeline has of its own in `params.yaml`; None takes the project's value."""

    rounds: Positive | None = None
    profile: str | None = None
    seed: Annotated[int, Ge(0)] | None = None


class Contamination(Strict):
    """When training rows overlap with what evaluations ask; no artifact's bytes depend on it.

    Attributes:
        n: how many words in a row are an overlap.
        stops: what stops a run: 'ngrams', or only whole 'prompts', where training and evaluation share common phrases.
    """

    n: Positive = 13
    stops: Literal["ngrams", "prompts"] = "ngrams"


class Params(Strict):
    """`params.yaml`: what a user changes per run.

    Attributes:
        seed: the run's seed; every row's randomness derives from it.
        rounds: how many rounds to unroll.
        profile: which profile of the pipelines to use; 'paper' is the declaration as it stands.
        active: the pipelines that `dvc.yaml` and Dagster hold.
        pipelines: per pipeline, its own rounds, profile and seed.
        compute: execution settings.
        contamination: how the blocking check looks for evaluation prompts among training rows.
    """

    seed: Annotated[int, Ge(0)] = 0
    rounds: Positive = 3
    profile: str = PAPER
    active: list[str]
    pipelines: dict[str, PipelineParams] = {}
    compute: Compute = Compute()
    contamination: Contamination = Contamination()


@dataclass(frozen=True)
class Project:
    """An opened project: its root, its typed parameters and its retractions."""

    root: Path
    params: Params
    document: Document
    retractions: Retractions = field(default_factory=Retractions)

    @property
    def artifacts(self) -> Path:
        """Where artifacts lie."""
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        """Where run logs lie: times, hardware, versions; outside every digest."""
        return self.root / "runs"

    def directory(self, artifact_key: str) -> Path:
        """The directory of an artifact."""
        return self.artifacts / artifact_key

    def pipeline_names(self) -> list[str]:
        """The pipelines that the project has files for."""
        return sorted(path.stem for path in (self.root / PIPELINES).glob("*.yaml"))

    def rounds_of(self, pipeline: str) -> int:
        """How many rounds a pipeline is unrolled for."""
        return self._own(pipeline).rounds or self.params.rounds

    def seed_of(self, pipeline: str) -> int:
        """A pipeline's seed."""
        own = self._own(pipeline).seed
        return self.params.seed if own is None else own

    def _own(self, pipeline: str) -> PipelineParams:
        return self.params.pipelines.get(pipeline, PipelineParams())

    def pipeline(self, name: str) -> Pipeline:
        """Reads one pipeline file under the profile that `params.yaml` asks for.

        Raises:
            UsageError: there is no such file.
            DeclarationError: the file is wrong.
        """
        path = self.root / PIPELINES / f"{name}.yaml"
        if name not in self.pipeline_names():
            raise UsageError(f"no pipeline {name!r} in {path.parent}. {did_you_mean(name, self.pipeline_names())}")
        profile = self._own(name).profile or self.params.profile
        return read_pipeline(name, read_document(path, f"{PIPELINES}/{name}.yaml", dvc_reads=True), profile)


def find_root(start: Path) -> Path:
    """The nearest directory at or above `start` that is a project.

    Raises:
        ProjectError: there is none.
    """
    for directory in (start.resolve(), *start.resolve().parents):
        if (directory / PARAMS).is_file() and (directory / PIPELINES).is_dir():
            return directory
    raise ProjectError(f"{start} is in no lineal project: looked for {PARAMS} beside {PIPELINES}/ here and above")


def open_project(root: Path) -> Project:
    """Reads a project's `params.yaml`, and `retractions.yaml` where there is one.

    Raises:
        DeclarationError: one of them is wrong; names file, line and key.
    """
    document = read_document(root / PARAMS, PARAMS, dvc_reads=True)
    try:
        params = Params.model_validate(document.value)
    except ValidationError as error:
        raise declaration_error(document, (), error, Params) from error
    project = Project(root.resolve(), params, document, read_retractions(root))
    for key, names in (("active", params.active), ("pipelines", list(params.pipelines))):
        for name in names:
            if name not in project.pipeline_names():
                raise document.error((key,), f"no pipeline {name!r}. {did_you_mean(name, project.pipeline_names())}")
    return project
