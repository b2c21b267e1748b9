"""A project on disk: `params.yaml`, `pipelines/`, and where everything else lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from annotated_types import Ge
from pydantic import Field, ValidationError, model_validator

from lineal.errors import ProjectError, UsageError, did_you_mean
from lineal.recipe.accepted import Accepted, read_accepted
from lineal.recipe.compute import Compute, Positive, Strict
from lineal.recipe.document import Document, declaration_error, read_document
from lineal.recipe.pipeline import PAPER, Ablation, Pipeline, read_pipeline
from lineal.recipe.policies import Policies
from lineal.recipe.retain import Retain
from lineal.recipe.retraction_files import read_retractions
from lineal.recipe.retractions import Retractions
from lineal.recipe.seeds import SEED_MARK, WITHOUT_MARK, declared_name, name_without, series_name

PARAMS = "params.yaml"
PIPELINES = "pipelines"
OTHERS = "others"
"""The key of `params.yaml` that names keys of others."""
Seed = Annotated[int, Ge(0)]
Seeds = Annotated[list[Seed], Field(min_length=1)]


def _one_kind_of_seed(params: Any) -> Any:
    """Refuses `seed` beside `seeds`, and a seed that is listed twice."""
    if params.seeds is not None:
        if "seed" in params.model_fields_set and params.seed is not None:
            raise ValueError("seed and seeds are both set; leave one of them out")
        if len(set(params.seeds)) < len(params.seeds):
            raise ValueError(f"seeds must differ, got {params.seeds}")
    return params


class PipelineParams(Strict):
    """Parameters of one pipeline in `params.yaml`; None takes the project's value.

    Attributes:
        ablate: parts, nodes or their settings (`filtered`, `generated.hint`): the pipeline is unrolled once more without each.
    """

    rounds: Positive | None = None
    profile: str | None = None
    seed: Seed | None = None
    seeds: Seeds | None = None
    ablate: list[str] = []

    @model_validator(mode="after")
    def _parts_are_named_once(self) -> PipelineParams:
        if len({name_without("", part) for part in self.ablate}) < len(self.ablate):
            raise ValueError(f"ablate must name different parts, got {self.ablate}")
        return self

    @model_validator(mode="after")
    def _one_kind_of_seed(self) -> PipelineParams:
        return cast(PipelineParams, _one_kind_of_seed(self))


class Contamination(Strict):
    """Rules for overlap between training rows and evaluation prompts; no artifact's bytes depend on them.

    Attributes:
        n: how many consecutive words are an overlap.
        stops: what stops a run: 'ngrams', or only whole 'prompts', where training and evaluation share common phrases.
    """

    n: Positive = 13
    stops: Literal["ngrams", "prompts"] = "ngrams"


class Params(Strict):
    """`params.yaml`: what a user changes per run.

    Attributes:
        seed: the run's seed; every row's randomness derives from it.
        seeds: in its place, several: every pipeline is unrolled once for each.
        rounds: how many rounds to unroll, where a pipeline doesn't say.
        profile: which profile of the pipelines to use; 'paper' is the declaration as written.
        active: the pipelines that `dvc.yaml` and Dagster hold.
        pipelines: per pipeline, its own rounds, profile and seed or seeds.
        compute: execution settings.
        contamination: how the blocking check searches training rows for evaluation prompts.
        others: top-level keys of this file that are not lineal's: a repository's own parameters.
        retain: what `lineal prune` keeps of the rounds; execution, not identity: what it deletes can be made again.
    """

    seed: Seed = 0
    seeds: Seeds | None = None
    rounds: Positive = 3
    profile: str = PAPER
    active: list[str]
    pipelines: dict[str, PipelineParams] = {}
    compute: Compute = Compute()
    contamination: Contamination = Contamination()
    retain: Retain = Retain()
    others: list[str] = []

    @model_validator(mode="after")
    def _one_kind_of_seed(self) -> Params:
        return cast(Params, _one_kind_of_seed(self))


@dataclass(frozen=True)
class Project:
    """An opened project: its root, its typed parameters and its retractions.

    Attributes:
        accepted: older component versions whose artifacts count as up to date.
        recorded: by artifact key, the MD5 that `dvc.lock` records; empty until they are read (`with_records`).
    """

    root: Path
    params: Params
    document: Document
    retractions: Retractions = field(default_factory=Retractions)
    recorded: Mapping[str, str] = field(default_factory=dict)
    accepted: Accepted = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        """The directory of artifacts."""
        return self.root / "artifacts"

    @property
    def runs(self) -> Path:
        """The directory of run logs: times, hardware, versions; outside every digest."""
        return self.root / "runs"

    def directory(self, artifact_key: str) -> Path:
        """Returns the directory of an artifact."""
        return self.artifacts / artifact_key

    @property
    def active(self) -> list[str]:
        """The active pipelines, each followed by its further seeds and its variants without a part."""
        return [name for declared in self.params.active for name in self._variants(declared)]

    def pipeline_names(self) -> list[str]:
        """Returns the pipelines that the project has files for, each followed by its further seeds and variants."""
        return [name for declared in self._declared() for name in self._variants(declared)]

    def _declared(self) -> list[str]:
        return sorted(path.stem for path in (self.root / PIPELINES).glob("*.yaml"))

    def _variants(self, declared: str) -> list[str]:
        series = [declared, *(name_without(declared, part) for part in self._own(declared).ablate)]
        return [
            name
            for one in series
            for name in [one, *(f"{one}{SEED_MARK}{seed}" for seed in self.seeds_of(declared)[1:])]
        ]

    def ablation_of(self, name: str) -> Ablation | None:
        """Returns the part that a variant of a pipeline is made without; None for the pipeline itself."""
        declared = declared_name(name)
        for place, part in enumerate(self._own(declared).ablate):
            if name_without(declared, part) == series_name(name):
                return Ablation(part, self.document, (PIPELINES, declared, "ablate", place))
        return None

    def seeds_of(self, pipeline: str) -> list[int]:
        """Returns all seeds of a pipeline."""
        own = self._own(pipeline)
        if own.seed is not None:
            return [own.seed]
        return own.seeds or self.params.seeds or [self.params.seed]

    def rounds_of(self, pipeline: Pipeline) -> int:
        """Returns how many rounds a pipeline has: by `params.yaml` for it, else its own file, else `params.yaml` for all."""
        return self._own(pipeline.name).rounds or pipeline.own_rounds or self.params.rounds

    def seed_of(self, pipeline: str) -> int:
        """Returns the seed of a pipeline, or of `PIPELINE__seed_N`."""
        further = pipeline.partition(SEED_MARK)[2]
        return int(further) if further.isdecimal() else self.seeds_of(pipeline)[0]

    def _own(self, pipeline: str) -> PipelineParams:
        return self.params.pipelines.get(declared_name(pipeline), PipelineParams())

    def pipeline(self, name: str) -> Pipeline:
        """Reads one pipeline file under the profile that `params.yaml` asks for.

        Raises:
            UsageError: there is no such file.
            DeclarationError: the file is wrong.
        """
        declared = declared_name(name)
        path = self.root / PIPELINES / f"{declared}.yaml"
        if name not in self.pipeline_names():
            raise UsageError(
                f"no pipeline {name!r} in {path.parent}. {did_you_mean(name, self.pipeline_names())}"
            )
        profile = self._own(name).profile or self.params.profile
        document = read_document(path, f"{PIPELINES}/{declared}.yaml", dvc_reads=True)
        return replace(
            read_pipeline(name, document, profile, Policies.of(self.root)), without=self.ablation_of(name)
        )


def find_root(start: Path) -> Path:
    """Finds the nearest directory at or above `start` that is a project.

    Raises:
        ProjectError: there is none.
    """
    for directory in (start.resolve(), *start.resolve().parents):
        if (directory / PARAMS).is_file() and (directory / PIPELINES).is_dir():
            return directory
    raise ProjectError(
        f"{start} is in no lineal project: looked for {PARAMS} beside {PIPELINES}/ here and above. "
        "Name one (lineal -C DIRECTORY ...) or create one (lineal init DIRECTORY)"
    )


def _without_others(document: Document) -> Any:
    """Returns the values of `params.yaml` without the keys that it declares as others'.

    Raises:
        DeclarationError: one of them is lineal's, or is not there.
    """
    others = document.value.get(OTHERS) if isinstance(document.value, dict) else None
    if not isinstance(others, list):
        return document.value
    for number, name in enumerate(others):
        if name in Params.model_fields:
            raise document.error((OTHERS, number), f"{name!r} is a key of lineal's own. Take it off the list")
        if name not in document.value:
            known = [key for key in document.value if key not in Params.model_fields]
            raise document.error(
                (OTHERS, number), f"this file has no key {name!r}. {did_you_mean(str(name), known)}"
            )
    return {key: value for key, value in document.value.items() if key not in others}


def open_project(root: Path) -> Project:
    """Reads a project's `params.yaml`, and `retractions.yaml` where there is one.

    Raises:
        DeclarationError: one of them is wrong; names file, line and key.
    """
    document = read_document(root / PARAMS, PARAMS, dvc_reads=True)
    try:
        params = Params.model_validate(_without_others(document))
    except ValidationError as error:
        raise declaration_error(document, (), error, Params) from error
    project = Project(root.resolve(), params, document, read_retractions(root), accepted=read_accepted(root))
    for name in (path.stem for path in (root / PIPELINES).glob("*.yaml")):
        if SEED_MARK in name or WITHOUT_MARK in name:
            raise ProjectError(
                f"{PIPELINES}/: {name!r} reads like a variant of {declared_name(name)!r}; rename the file"
            )
    for key, names in (("active", params.active), ("pipelines", list(params.pipelines))):
        for name in names:
            if not (root / PIPELINES / f"{name}.yaml").is_file():
                raise document.error(
                    (key,), f"no pipeline {name!r}. {did_you_mean(name, project.pipeline_names())}"
                )
    return project
