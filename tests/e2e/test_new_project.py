"""`lineal init`: a project that works, a directory that is never half-written, the same files from wheel and repository."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lineal.errors import DeclarationError, ProjectError, UsageError
from lineal.orchestrate.new_project import CARRIED, carried_files, create_project
from lineal.recipe.project import open_project

from .toy_project import ROOT, TOY, UP_TO_DATE, command, edit

GROWN_HERE = {"tests", "README.md", "pyproject.toml", "dvc.yaml"}


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_new_project_has_a_current_plan_and_runs_a_toy_pipeline(tmp_path):
    root = tmp_path / "My Project"
    assert "a project with" in command(tmp_path, "lineal", "init", str(root))
    assert "dvc.yaml is current" in command(root, "lineal", "plan", "--check")
    command(root, "pytest", "-q", "-p", "no:cacheprovider")
    (root / "pipelines" / "toy.yaml").write_text(TOY)
    (root / "params.yaml").write_text(
        "seed: 0\nrounds: 1\nactive: [toy]\ncompute: {engine: fake, workers: 1}\n"
    )
    command(root, "lineal", "run")
    assert UP_TO_DATE in command(root, "dvc", "status")
    listed = ["git", "status", "--short", "--untracked-files=all"]
    status = subprocess.run(listed, cwd=root, check=True, text=True, stdout=subprocess.PIPE).stdout
    assert "dvc.lock" in status
    assert not [
        line
        for line in status.splitlines()
        if "artifacts/" in line or ".dvc/cache" in line or "history" in line
    ]


def test_new_project_has_this_repositorys_top_level_names(tmp_path):
    create_project(tmp_path / "p")
    made = set(entries(tmp_path / "p"))
    assert made == {Path(name).parts[0] for name in CARRIED} | GROWN_HERE | {".git"}
    assert all((ROOT / name).exists() for name in made)
    assert {path.name for path in (ROOT / "pipelines").rglob("*.*")} == {
        path.name for path in (tmp_path / "p" / "pipelines").rglob("*.*")
    }


def test_links_of_a_new_projects_pages_lead_somewhere(tmp_path):
    create_project(tmp_path / "p")
    pages = [path for path in (tmp_path / "p").rglob("*.md") if ".git" not in path.parts]
    assert "docs/methods.md of lineal explains" in (tmp_path / "p/pipelines/README.md").read_text()
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    ]
    assert len(links) > 90
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_commented_entry_point_of_a_new_project_is_one_when_its_lines_are_uncommented(tmp_path):
    create_project(tmp_path / "p")
    text = (tmp_path / "p" / "pyproject.toml").read_text()
    text = text.replace("# [project.entry-points", "[project.entry-points").replace(
        "# short_answer", "short_answer"
    )
    points = tomllib.loads(text)["project"]["entry-points"]
    assert points == {"lineal.components": {"short_answer": "mine.verifiers:ShortAnswer"}}


def test_models_stay_out_of_git_and_what_dvc_says_of_them_goes_in(tmp_path):
    create_project(tmp_path / "p")
    names = ["models/mine/model.safetensors", "models/mine.gguf", "models/mine.dvc", "models/.gitignore"]
    told = subprocess.run(
        ["git", "check-ignore", *names], cwd=tmp_path / "p", text=True, stdout=subprocess.PIPE, check=True
    )
    assert told.stdout.split() == names[:2]


def test_new_project_named_after_its_directory_is_valid_toml(tmp_path):
    create_project(tmp_path / 'Ünsere "Läufe"')
    project = tomllib.loads((tmp_path / 'Ünsere "Läufe"' / "pyproject.toml").read_text())
    assert project["project"]["name"] == "nsere-l-ufe"


def test_pipeline_option_makes_only_that_one_active(tmp_path):
    create_project(tmp_path / "p", "star")
    assert open_project(tmp_path / "p").params.active == ["star"]
    assert "star-start-checkpoint" in (tmp_path / "p" / "dvc.yaml").read_text()
    assert "rest_em" not in (tmp_path / "p" / "dvc.yaml").read_text()


def test_unknown_pipeline_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'rest_em'"):
        create_project(tmp_path / "deep" / "p", "rest_en")
    assert entries(tmp_path) == []


def test_target_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a directory"):
        create_project(tmp_path / "file")
    assert entries(tmp_path) == ["file"]


@pytest.fixture
def lived_in(tmp_path) -> Path:
    """A repository with git, DVC, stages, parameters and tests of its own, in a directory below the top."""
    root = tmp_path / "mono" / "team"
    for name, text in THEIRS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "dvc.yaml").write_text(STAGE)
    git(tmp_path / "mono", "init", "-q")
    command(root, "dvc", "init", "-q", "--subdir")
    git(tmp_path / "mono", "add", ".")
    git(tmp_path / "mono", "commit", "-qm", "Theirs")
    return root


STAGE = "stages:\n  # ours\n  prepare:\n    cmd: echo x > out.txt\n    params: [train.lr, seed]\n    outs: [out.txt]\n"
THEIRS = {
    "params.yaml": "seed: 7  # both read it\ntrain:\n  lr: 1.0e-3\n",
    ".gitignore": "/out.txt\n/runs/",
    ".env": "TOKEN=x\n",
    "README.md": "Ours.\n",
    "tests/test_ours.py": "def test_ours(): pass\n",
    "pyproject.toml": '[project]\nname = "team"\nversion = "1"\n',
}


def git(root: Path, *arguments: str) -> str:
    told = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(told, cwd=root, check=True, text=True, stdout=subprocess.PIPE).stdout


def test_repository_with_files_of_its_own_is_entered_and_nothing_is_overwritten(lived_in):
    told = command(lived_in, "lineal", "init", ".", "--pipeline", "star")
    for line in (
        "lines added to: .dvcignore, .env, .gitignore, params.yaml, pyproject.toml, dvc.yaml",
        "yours, kept as they are: ",
        "assets/ (2 files)",
    ):
        assert line in told
    assert "README.md" in told.partition("yours, kept")[2]
    for name, text in THEIRS.items():
        assert (lived_in / name).read_text().startswith(text.rstrip("\n")), name
    params = open_project(lived_in).params
    assert (params.seed, params.active, params.others) == (7, ["star"], ["train"])
    assert (lived_in / ".gitignore").read_text().splitlines().count("/runs/") == 1
    assert tomllib.loads((lived_in / "pyproject.toml").read_text())["tool"]["dagster"] == {
        "module_name": "assets.definitions"
    }
    assert not (lived_in / ".git").exists()
    assert "dvc.yaml is current" in command(lived_in, "lineal", "plan", "--check")
    assert STAGE.removeprefix("stages:\n") in (lived_in / "dvc.yaml").read_text()
    command(lived_in, "dvc", "repro", "-q", "prepare")
    command(lived_in, "pytest", "-q", "-p", "no:cacheprovider")
    git(lived_in.parent, "add", ".")
    git(lived_in.parent, "commit", "-qm", "Theirs and lineal's")
    assert "0 done" in command(lived_in, "lineal", "status", "--rev", "HEAD")
    assert "is a project already" in command(lived_in, "lineal", "init", ".", status=2)


def test_failed_entering_leaves_a_repository_as_it_was(lived_in):
    (lived_in / "params.yaml").write_text("seed: high\n")
    assert "params.yaml:1: seed" in command(lived_in, "lineal", "init", ".", status=2)
    (lived_in / "params.yaml").write_text(THEIRS["params.yaml"])
    assert git(lived_in, "status", "--short", "--untracked-files=all") == ""
    (lived_in / "pipelines").mkdir()
    (lived_in / "pipelines/deploy.yaml").write_text("on: push\n")
    assert "holds deploy.yaml, which would be taken for a pipeline" in command(
        lived_in, "lineal", "init", ".", status=2
    )
    assert git(lived_in, "status", "--short", "--untracked-files=all") == "?? pipelines/deploy.yaml\n"


def test_files_of_a_dvc_repository_above_are_not_taken_from_it(lived_in):
    (lived_in / "part").mkdir()
    (lived_in / "part/data.csv.dvc").write_text("outs: []\n")
    assert "which it would leave" in command(lived_in, "lineal", "init", "part", status=1)
    command(lived_in, "lineal", "init", "fresh", "--pipeline", "star")
    assert not (lived_in / "fresh/.git").exists()
    git(lived_in, "add", ".")
    assert "team/fresh/params.yaml" in git(lived_in.parent, "ls-files")
    command(lived_in / "fresh", "dvc", "status")


@pytest.mark.parametrize(
    ("others", "message"),
    [("[trian]", "no key 'trian'. Did you mean 'train'"), ("[rounds]", "is a key of lineal's own")],
)
def test_other_keys_of_params_must_be_there_and_not_lineals(lived_in, others, message):
    (lived_in / "pipelines").mkdir()
    (lived_in / "params.yaml").write_text(f"active: []\nrounds: 2\ntrain: 1\nothers: {others}\n")
    with pytest.raises(DeclarationError, match=message):
        open_project(lived_in)


def test_empty_directory_stays_the_same_directory(tmp_path):
    (tmp_path / "p").mkdir(mode=0o700)
    before = (tmp_path / "p").stat()
    command(tmp_path / "p", "lineal", "init", ".")
    after = (tmp_path / "p").stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert "params.yaml" in entries(tmp_path / "p")
    assert entries(tmp_path) == ["p"]


def test_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProjectError, match="git is not installed"):
        create_project(tmp_path / "p")
    assert entries(tmp_path) == []


def test_git_variables_of_a_calling_hook_do_not_move_the_repository(tmp_path):
    outer = tmp_path / "outer.git"
    environment = os.environ | {"GIT_DIR": str(outer)}
    code = "import sys, pathlib; from lineal.orchestrate.new_project import create_project as c; c(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, tmp_path / "p"], env=environment, check=True)
    assert (tmp_path / "p" / ".git").is_dir()
    assert not outer.exists()


def test_installed_wheel_finds_its_own_files(tmp_path):
    package = tmp_path / "site-packages" / "lineal"
    for name in CARRIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (package / "_project" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, package / "_project" / name)
    assert carried_files(package) == package / "_project"
    (package / "_project" / "params.yaml").unlink()
    with pytest.raises(ProjectError, match="carries no project files"):
        carried_files(package)


def test_wheel_is_told_to_carry_exactly_what_a_project_takes():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"][
        "force-include"
    ]
    assert told == {name: f"lineal/_project/{name}" for name in CARRIED}


def test_params_of_a_new_project_differ_only_in_what_is_active(tmp_path):
    create_project(tmp_path / "p", "lmsi")
    edit(tmp_path / "p" / "params.yaml", "active: [lmsi]\n", "")
    old = (ROOT / "params.yaml").read_text().splitlines()
    assert [
        line for line in old if line not in (tmp_path / "p" / "params.yaml").read_text().splitlines()
    ] == old[4:7]
