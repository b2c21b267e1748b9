"""Tiny real models for tests of training and scoring: random weights, one token per character, sorting as the task."""

from __future__ import annotations

import hashlib
import random
import shutil
import string
from pathlib import Path

from lineal.data.store import Artifact
from lineal.engines.training.settings import TrainingSettings
from lineal.engines.training.train import ModelShape, initialise
from lineal.recipe.references import ArtifactKind
from tests.unit.lab import Lab

SHAPE = ModelShape(
    hidden_size=32,
    layers=2,
    heads=2,
    intermediate_size=64,
    rope_theta=1e4,
    tie_embeddings=True,
    characters=string.ascii_lowercase + "=",
    max_positions=32,
)
SETTINGS = TrainingSettings(
    steps=4, epochs=None, batch_size=8, learning_rate=3e-3, warmup=0.25, seed=7, threads=1
)


def words(count: int, seed: int = 0) -> list[str]:
    """Different letters in no order."""
    generator = random.Random(seed)
    return ["".join(generator.sample(string.ascii_lowercase, generator.randint(2, 6))) for _ in range(count)]


def in_order(word: str) -> str:
    """Returns the right answer."""
    return "".join(sorted(word))


def tiny_model(directory: Path, seed: int = 0) -> Path:
    """A checkpoint of random weights."""
    initialise(SHAPE, seed, directory)
    return directory


def weights(checkpoint: Path) -> str:
    """A digest of the weights."""
    (path,) = checkpoint.glob("*.safetensors")
    return hashlib.md5(path.read_bytes()).hexdigest()


def put_model(lab: Lab, step: str, checkpoint: Path) -> Artifact:
    """A checkpoint as an artifact of the lab."""
    workspace = lab._workspace(step, {})
    shutil.copytree(checkpoint, workspace.directory(), dirs_exist_ok=True)
    return lab._publish(workspace, "", ArtifactKind.MODEL)
