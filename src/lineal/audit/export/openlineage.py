"""OpenLineage events of what was made: START and COMPLETE of each step, with dataset, column-lineage and job facets.

The specification asks for one START and one COMPLETE, ABORT or FAIL per run. A step whose last run here failed or was
interrupted has a run of its own that ends so. Needs the extra `openlineage`. Jobs are step keys, datasets artifact keys, dataset
versions content digests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lineal import __version__
from lineal.audit.catalog import Catalog, main_key
from lineal.audit.trace.backward import DECISION_FACTS
from lineal.audit.trace.row_location import repeats_input
from lineal.components.base import Role
from lineal.components.registry import Registry
from lineal.data.schema import COLUMNS
from lineal.data.store import Artifact
from lineal.errors import ProjectError
from lineal.recipe.project import Project
from lineal.step.runlog import log_of, read_log

PRODUCER = f"https://pypi.org/project/lineal/{__version__}"
ENDS = {"failed": "FAIL", "interrupted": "ABORT"}
"""How a run ended, by what its log says; others are complete."""


def to_file(path: Path) -> Any:
    """Returns a client that appends events to a file, one JSON object a line.

    Raises:
        ProjectError: the extra is not installed.
    """
    _require_client()
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.file import FileConfig, FileTransport

    return OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=str(path), append=True)))


def to_endpoint(url: str) -> Any:
    """Returns a client that posts events to an HTTP endpoint, such as Marquez.

    Raises:
        ProjectError: the extra is not installed.
    """
    _require_client()
    from openlineage.client import OpenLineageClient
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    return OpenLineageClient(transport=HttpTransport(HttpConfig(url=url)))


def _require_client() -> None:
    if find_spec("openlineage") is None:
        raise ProjectError(
            "events need openlineage-python, which is not installed. Run: pip install 'lineal[openlineage]'"
        )


def send_events(project: Project, catalog: Catalog, client: Any, namespace: str) -> int:
    """Sends the events of every step that has artifacts, each after those of its inputs, then of steps that failed.

    Returns:
        how many were sent.

    Raises:
        ProjectError: the file or the endpoint doesn't take them.
    """
    count = 0
    for event in events(project, catalog, namespace):
        try:
            client.emit(event)
        except (OSError, RuntimeError) as error:
            raise ProjectError(f"OpenLineage event {count + 1} could not be sent: {error}") from error
        count += 1
    return count


def events(project: Project, catalog: Catalog, namespace: str) -> Iterator[Any]:
    """Yields the events, in an order in which the steps ran; failed and interrupted runs come last."""
    from openlineage.client.event_v2 import RunState

    outputs: dict[str, list[Artifact]] = {}
    for key in sorted(catalog.artifacts, key=lambda key: (catalog.order[key], key)):
        outputs.setdefault(main_key(key), []).append(catalog.artifacts[key])
    for key, made in outputs.items():
        log = log_of(project, made[0])
        started, ended = _times({} if log.get("status") in ENDS else log)
        facets, number = _job_facets(made[0]), f"{key}@{made[0].manifest.identity}"
        yield _event(namespace, key, number, RunState.START, started, facets)
        yield _event(
            namespace, key, number, RunState.COMPLETE, ended, facets, **_datasets(namespace, catalog, made)
        )
    for path in sorted(project.runs.glob("*/*/*.json")):  # trackers of a training write deeper
        log = read_log(project, key := path.relative_to(project.runs).with_suffix("").as_posix())
        if log.get("status") in ENDS:
            started, ended = _times(log)
            number, state = f"{key}@{log.get('started')}", RunState(ENDS[log["status"]])
            yield _event(namespace, key, number, RunState.START, started, {})
            yield _event(namespace, key, number, state, ended, {}, run_facets=_error(log))


def _event(
    namespace: str,
    key: str,
    number: str,
    state: Any,
    when: str,
    facets: Mapping[str, Any],
    run_facets: Mapping[str, Any] | None = None,
    **datasets: Any,
) -> Any:
    from openlineage.client.event_v2 import Job, Run, RunEvent

    run = Run(str(uuid5(NAMESPACE_URL, number)), facets=dict(run_facets or {}))
    job = Job(namespace, key, facets=dict(facets))
    return RunEvent(eventTime=when, producer=PRODUCER, run=run, job=job, eventType=state, **datasets)


def _datasets(namespace: str, catalog: Catalog, made: list[Artifact]) -> dict[str, Any]:
    """Returns the datasets that a step read and wrote."""
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    sources = {
        link.artifact.key: link.artifact for one in made for link in catalog.links(one) if link.artifact
    }
    inputs = [InputDataset(namespace, one.key, facets=_dataset_facets(one)) for one in sources.values()]
    outputs = []
    for one in made:
        facets = _dataset_facets(one) | _column_lineage(namespace, catalog, one, list(sources.values()))
        outputs.append(OutputDataset(namespace, one.key, facets=facets, outputFacets=_statistics(one)))
    return {"inputs": inputs, "outputs": outputs}


def _times(log: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the start and end of the step's last run here; for an artifact from a cache, the present time."""
    started = datetime.fromisoformat(str(log["started"])) if "started" in log else datetime.now(UTC)
    return started.isoformat(), (started + timedelta(seconds=float(log.get("seconds", 0.0)))).isoformat()


def _error(log: Mapping[str, Any]) -> dict[str, Any]:
    from openlineage.client.facet_v2 import error_message_run

    if "error" not in log:
        return {}
    return {
        "errorMessage": error_message_run.ErrorMessageRunFacet(str(log["error"]), "PYTHON", producer=PRODUCER)
    }


def _dataset_facets(artifact: Artifact) -> dict[str, Any]:
    from openlineage.client.facet_v2 import dataset_version_dataset, schema_dataset

    fields = [
        schema_dataset.SchemaDatasetFacetFields(name, kind, COLUMNS[name][1] if name in COLUMNS else None)
        for name, kind in artifact.manifest.columns.items()
    ]
    version = dataset_version_dataset.DatasetVersionDatasetFacet(artifact.digest, producer=PRODUCER)
    schema = {"schema": schema_dataset.SchemaDatasetFacet(fields, producer=PRODUCER)} if fields else {}
    return {"version": version, **schema}


def _statistics(artifact: Artifact) -> dict[str, Any]:
    from openlineage.client.facet_v2 import output_statistics_output_dataset

    files = artifact.manifest.files.values()
    return {
        "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=sum(entry.rows or 0 for entry in files) if artifact.manifest.columns else None,
            size=sum(entry.size_bytes for entry in files),
            fileCount=len(files),
            producer=PRODUCER,
        )
    }


def _column_lineage(
    namespace: str, catalog: Catalog, artifact: Artifact, sources: list[Artifact]
) -> dict[str, Any]:
    """Maps each column to the columns that it came from: those of the same name in the inputs."""
    from openlineage.client.facet_v2 import column_lineage_dataset as facet

    unchanged = repeats_input(catalog, artifact) or _is_sampled(artifact)
    fields = {}
    for name in artifact.manifest.columns:
        how = facet.Transformation(
            "DIRECT", "IDENTITY" if unchanged and name not in DECISION_FACTS else "TRANSFORMATION"
        )
        found = [
            facet.InputField(namespace, one.key, name, [how])
            for one in sources
            if name in one.manifest.columns
        ]
        if found:
            fields[name] = facet.Fields(found)
    return {"columnLineage": facet.ColumnLineageDatasetFacet(fields, producer=PRODUCER)} if fields else {}


def _is_sampled(artifact: Artifact) -> bool:
    """Tells whether a generator wrote the rows: new rows, in which the columns of their prompts are unchanged."""
    return Registry().role_of(artifact.manifest.component) is Role.GENERATOR


def _job_facets(artifact: Artifact) -> dict[str, Any]:
    from openlineage.client.facet_v2 import documentation_job, job_type_job

    said = f"{artifact.manifest.component}@{artifact.manifest.version}, identity {artifact.manifest.identity}"
    return {
        "jobType": job_type_job.JobTypeJobFacet("BATCH", "LINEAL", "STEP", producer=PRODUCER),
        "documentation": documentation_job.DocumentationJobFacet(said, producer=PRODUCER),
    }
