"""Every shipped pipeline runs two tiny rounds for real: a real small model samples and trains.

The methods of preferences, of roles, of online training and of search run in files of their own, so that workers share the work.
"""

from __future__ import annotations

import pytest

from lineal.components.sandbox.bubblewrap import require
from lineal.errors import SandboxError

from .filtered_characteristics import CHARACTERISTICS
from .pipelines_project import PIPELINES, check_two_rounds, made
from .test_online_methods import ONLINE
from .test_preference_methods import PREFERENCES
from .test_role_methods import ROLES
from .test_search_methods import SEARCHES

FILTERED = sorted({*PIPELINES} - {*PREFERENCES} - {*ROLES} - {*ONLINE} - {*SEARCHES})
RUN_PROGRAMS = {"codeit"}
"""Pipelines that need a sandbox."""


def test_pipelines_are_all_found():
    assert {*PREFERENCES, *ROLES, *ONLINE, *SEARCHES} < {*PIPELINES}


@pytest.mark.model
@pytest.mark.parametrize("name", FILTERED)
def test_pipeline_runs_two_rounds(tiny_pipelines, name):
    if name in RUN_PROGRAMS:
        try:
            require()
        except SandboxError as error:
            pytest.skip(f"no sandbox here: {error}")
    plan = made(tiny_pipelines, name)
    check_two_rounds(plan)
    if name in CHARACTERISTICS:
        CHARACTERISTICS[name](plan)
