"""Projects as released formats wrote them: read, verified and continued, and formats that are not known yet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lineal.audit.catalog import read_catalog
from lineal.audit.verify import problems_of
from lineal.cli.main import run_command
from lineal.data.manifest import FORMAT, MANIFEST, read_manifest
from lineal.errors import ArtifactError, ProjectError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.identity import Identity
from lineal.step.runner import run_step
from lineal.step.status import State, status_of

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(params=sorted(path.name for path in FIXTURES.iterdir()))
def project(request, tmp_path) -> Path:
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / "project"))


def test_every_format_has_a_fixture():
    assert {f"format_{number}" for number in range(1, FORMAT + 1)} == {
        path.name for path in FIXTURES.iterdir()
    }


def test_format_project_is_read_and_verified(project):
    opened = open_project(project)
    catalog = read_catalog(opened)
    assert not catalog.problems
    assert len(catalog.artifacts) == len(list((project / "artifacts").rglob(MANIFEST))) == 11
    assert (
        problems_of(opened, catalog, catalog.artifacts.values()) == {}
    )  # bytes, identities, inputs and row counts


def test_format_project_is_continued_and_nothing_of_it_is_made_again(project):
    before = {path: path.read_bytes() for path in (project / "artifacts").rglob("*") if path.is_file()}
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("rounds: 1", "rounds: 2"))
    plan = make_plan(open_project(project))
    states = {entry.key: entry for entry in status_of(plan)}
    raised = [
        entry.reasons
        for entry in states.values()
        if any(reason.startswith("component ") for reason in entry.reasons)
    ]
    assert not raised, (
        "accept the older version in the fixture (docs/upgrades.md); a fixture is never made again"
    )
    assert {key for key, entry in states.items() if entry.state is not State.DONE} == {
        f"letters/round_02/{node}"
        for node in ("generated", "verified", "filtered", "checkpoint", "evaluation")
    }
    for key, entry in states.items():
        if entry.state is not State.DONE:
            assert run_step(plan, key) == "done"
    assert {entry.state for entry in status_of(plan)} == {State.DONE}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("got", "fix"), [(FORMAT + 1, "Upgrade lineal"), (0, "Remake it"), ("1", "not a manifest")]
)
def test_format_unknown_is_refused_with_file_got_expected_and_fix(project, got, fix):
    directory = project / "artifacts/letters/tasks/test"
    document = json.loads((directory / MANIFEST).read_text()) | {"format": got}
    (directory / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=fix) as caught:
        read_manifest(directory, "letters/tasks/test")
    assert str(directory / MANIFEST) in str(caught.value)
    if isinstance(got, int):
        assert f"format: got {got}, expected" in str(caught.value)


def test_older_component_version_stands_once_it_is_accepted_and_is_told(project, capsys):
    (newer,) = {
        step.component.version
        for step in make_plan(open_project(project)).steps.values()
        if step.component.use == "accuracy"
    }
    older = newer - 1
    places = [path.parent for path in project.rglob("evaluation/manifest.json")]
    for place in places:  # what the older version would have written
        manifest = read_manifest(place, "evaluation")
        identity = Identity(
            manifest.step,
            manifest.component,
            older,
            manifest.settings,
            manifest.seed,
            manifest.inputs,
            manifest.files_read,
            manifest.settings_from,
        )
        manifest.model_copy(update={"version": older, "identity": identity.digest}).write(place)
    before = [(place / MANIFEST).read_bytes() for place in places]
    stale = {entry.key for entry in status_of(make_plan(open_project(project))) if entry.state is State.STALE}
    assert stale == {"letters/start/evaluation", "letters/round_01/evaluation"}
    assert run_command(["-C", str(project), "accept", f"accuracy@{newer}", "--reason", "x"]) == 2
    assert (
        run_command(["-C", str(project), "accept", f"accuracy@{older}", "--reason", "the same figures"]) == 0
    )
    assert "2 artifacts" in capsys.readouterr().out
    found = {entry.key: entry for entry in status_of(make_plan(open_project(project)))}
    assert {entry.state for entry in found.values()} == {State.DONE}
    told = f"made by accuracy version {older}, which is accepted: the same figures"
    assert {key for key, entry in found.items() if told in entry.reasons} == stale
    assert [(place / MANIFEST).read_bytes() for place in places] == before


def test_accepted_file_that_is_none_is_refused(project):
    (project / "accepted.json").write_text("[1]")
    with pytest.raises(ProjectError, match="git checkout HEAD -- accepted.json"):
        open_project(project)
