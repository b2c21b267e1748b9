"""One checkpoint under several names, and one of several under one name."""

from __future__ import annotations

import pytest

from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab
from tests.unit.test_judge import checkpoint


def test_same_model_is_the_same_bytes(tmp_path):
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    source = checkpoint(lab)
    assert lab.run("same_model", "start/critic", {"model": source})[""].digest == source.digest


def test_one_of_fewer_models_than_its_number_says_how_many_there_are(tmp_path):
    lab = Lab(tmp_path, Compute(engine="fake", workers=1))
    models = (checkpoint(lab), checkpoint(lab))
    assert lab.run("one_of", "round_01/kept", {"models": models}, number=2)[""].digest == models[1].digest
    with pytest.raises(DataError, match="round_01/kept: number is 3, but models names 2 checkpoints"):
        lab.run("one_of", "round_01/kept", {"models": models}, number=3)
