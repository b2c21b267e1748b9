"""docs/extending.md: the page's package, built and installed into a directory of its own, in the page's project."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from lineal.data.manifest import read_manifest
from lineal.data.store import Rows, open_artifact
from tests.unit.tiny_models import tiny_model

from .toy_project import ROOT, command, make_project

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page's project, with a stand-in for the model; its package is importable by PYTHONPATH alone."""
    directory = tmp_path_factory.mktemp("extending")
    root, package, site = directory / "project", directory / "acme-lineal-words", directory / "site"
    root.mkdir()
    make_project(root)
    (package / "acme_lineal_words").mkdir(parents=True)
    (package / "acme_lineal_words" / "__init__.py").touch()
    for _, name, text in BLOCK.findall(PAGE):
        if name:
            place = directory / name if name.startswith("acme-lineal-words/") else root / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    (root / "params.yaml").write_text(
        (root / "params.yaml").read_text() + "compute: {engine: fake, workers: 1}\n"
    )
    tiny_model(root / "models" / "mine")
    build = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        "wheel",
        "--directory",
        directory / "dist",
    ]
    subprocess.run(build, cwd=package, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = (directory / "dist").glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        site,
        wheel,
    ]
    subprocess.run(install, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
        yield root, package


def rows_at(root, key):
    return Rows((open_artifact(key, root / "artifacts" / key),)).read().to_pylist()


def test_packages_own_test_passes(page):
    _, package = page
    assert "2 passed" in command(package, "pytest", "-q", "-p", "no:cacheprovider")


def test_pipeline_of_the_page_runs_with_the_packages_components(page):
    root, _ = page
    (commands,) = [text for language, _, text in BLOCK.findall(PAGE) if language == "sh"]
    planned, ran, _ = [command(root, *shlex.split(line)) for line in commands.splitlines()]
    assert "syllables" in planned and "short_answer" in planned
    assert "failed" not in ran
    kept, verified = (rows_at(root, f"words/round_01/{name}") for name in ("kept", "verified"))
    right = {row["prompt_id"] for row in verified if row["verdict"] == "pass"}
    assert len(verified) == 256 and {row["verdict"] for row in verified} == {"pass", "fail"}
    assert {row["prompt_id"] for row in kept} == right and len(kept) == len(right)
    assert all(row["words"] == len(row["completion"].split()) for row in verified)
    assert verified[0]["prompt"].startswith("WRITE THE LETTERS OF THIS WORD IN ALPHABETICAL ORDER:\n")


LETTERS = """\
method: Letters
summary: A few short samples.
tasks:
  train: {use: letter_sort, length: [2, 4], size: 6}
start:
  checkpoint: {use: model, path: models/mine}
round:
  generated: {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 6}
  checkpoint: {use: same_model, model: previous.checkpoint}
"""
OWN = "compute: {engine: generate, engine_options: {dtype: float32}, workers: 1}\n"


def test_pages_engine_samples_and_its_promise_is_in_the_manifest(page):
    root, _ = page
    (root / "pipelines" / "letters.yaml").write_text(LETTERS)
    (root / "params.yaml").write_text(f"seed: 0\nrounds: 1\nactive: [letters]\n{OWN}")
    key = "letters/round_01/generated"
    command(root, "lineal", "run", key)
    made = read_manifest(root / "artifacts" / key, key)
    assert (made.made_with, made.equal_bytes, made.counts["out"]) == ("generate", None, 12)
    assert all(1 <= row["tokens"] <= 6 and row["logprob"] < 0 for row in rows_at(root, key))
