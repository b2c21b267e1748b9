"""The model that the benchmarks of sampling and of training make: two layers, one token per letter."""

from __future__ import annotations

import string

from lineal.engines.training.train import ModelShape

SHAPE = ModelShape(
    hidden_size=128,
    layers=2,
    heads=4,
    intermediate_size=320,
    rope_theta=1e4,
    tie_embeddings=True,
    characters=string.ascii_lowercase + "=",
    max_positions=64,
)
