"""For every test process, before torch is loaded."""

from __future__ import annotations

from lineal.cli.entry import prepare_torch

prepare_torch()
