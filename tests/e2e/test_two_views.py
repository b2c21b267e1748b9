"""One plan in two views: DVC's graph and Dagster's have the same artifacts and the same edges, for every pipeline."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dvc.repo import Repo

from lineal.orchestrate.dagster_definitions import definitions
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dvc_yaml import write_dvc_yaml

from .toy_project import ROOT, make_project, plan_of

PIPELINES = sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))


def all_pipelines(root: Path, rounds: int) -> Path:
    """A project with every shipped pipeline."""
    make_project(root)
    for name in PIPELINES:
        shutil.copy(ROOT / "pipelines" / f"{name}.yaml", root / "pipelines")
    (root / "params.yaml").write_text(
        f"rounds: {rounds}\nprofile: laptop\nactive: [{', '.join(PIPELINES)}]\n"
    )
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    root = all_pipelines(tmp_path_factory.mktemp("views") / "project", rounds=3)
    write_dvc_yaml(plan_of(root))
    return root


@pytest.fixture(scope="module")
def repository(project):
    """What Dagster makes of the project."""
    return definitions(project).get_repository_def()


def dvc_edges(root):
    """By artifact: the artifacts that go in, as DVC has them."""
    found = {}
    for stage in Repo(str(root)).index.stages:
        artifacts = [dep.def_path for dep in stage.deps if dep.def_path.startswith("artifacts/")]
        inputs = {asset_key(path.removeprefix("artifacts/")) for path in artifacts}
        found |= {asset_key(out.def_path.removeprefix("artifacts/")): inputs for out in stage.outs}
    return found


def dagster_edges(graph):
    """By artifact: the artifacts that go in, as Dagster has them."""
    return {key: set(graph.get(key).parent_keys) for key in graph.materializable_asset_keys}


def test_both_views_of_all_pipelines_have_the_same_nodes_and_edges(project, repository):
    edges = dagster_edges(repository.asset_graph)
    assert edges == dvc_edges(project)
    assert len(edges) == len(plan_of(project).makers)
    assert {key.path[0] for key in edges} == set(PIPELINES) and len(PIPELINES) >= 6


def test_definitions_have_a_job_for_each_pipeline_and_a_group_for_each_round(repository):
    assert set(PIPELINES) <= set(repository.job_names)
    groups = {
        repository.asset_graph.get(key).group_name for key in repository.asset_graph.materializable_asset_keys
    }
    assert {f"{name}_round_01" for name in PIPELINES} <= groups


def test_definitions_import_neither_torch_nor_dvc(tmp_path, run_python):
    """DuckDB is there: it is what reads the formula of a `rule`."""
    root = all_pipelines(tmp_path / "project", rounds=1)
    code = f"""
import sys
from pathlib import Path
from lineal.orchestrate.dagster_definitions import definitions
definitions(Path({str(root)!r})).get_repository_def()
print(sorted({{'torch', 'transformers', 'dvc', 'pyarrow'}} & set(sys.modules)))
"""
    assert run_python(code) == "[]"
