"""For every test process, before torch is loaded."""

from __future__ import annotations

from hypothesis import settings

from lineal.cli.entry import prepare_torch

prepare_torch()
settings.register_profile("lineal", deadline=None)  # an example may be slow on a busy machine
settings.load_profile("lineal")
