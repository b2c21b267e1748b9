"""Retraction against a naive walk in plain Python: on random worlds, and through whole runs of two pipelines."""

import random
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.audit.catalog import read_catalog
from lineal.audit.trace.taint import taint
from lineal.components.base import Role
from lineal.components.selectors.query import open_session
from lineal.components.selectors.retracted import retracted_rows
from lineal.data.manifest import read_manifest
from lineal.data.store import Rows
from lineal.data.workspace import Workspace
from lineal.orchestrate.retracting import retract
from lineal.plan import make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from lineal.recipe.retractions import Retraction, RetractionRule
from lineal.step.runner import run_step
from lineal.step.status import State, status_of
from lineal.step.tainted import tainted_checkpoints
from tests.unit.audit_project import made_project
from tests.unit.test_audit_trace_property import naive_forward, row_id, worlds, write

COMPUTE = Compute(workers=1)


@settings(max_examples=15)
@given(st.data())
def test_retracted_rows_equal_the_naive_walk(data):
    world = data.draw(worlds())
    ids = sorted({row_id(row) for rows in world.rows.values() for row in rows or []})
    by_id, by_where = (data.draw(st.sets(st.sampled_from(ids), max_size=3)) for _ in range(2))
    listed = ", ".join(f"'{name}'" for name in sorted(by_where)) or "NULL"
    rule = RetractionRule("bad", "wrong", f"row_id IN ({listed})", "", tuple(sorted(by_id)))
    made = naive_forward(world, None, by_id | by_where)
    with TemporaryDirectory() as root:
        catalog = write(world, Path(root))
        held = {
            key.translate(str.maketrans("/.", "__")): catalog.artifacts[key]
            for key, rows in world.rows.items()
            if rows
        }
        workspace = Workspace(Path(root), "x", 0, 0, COMPUTE, {}, Path(root))
        with open_session(workspace, {view: Rows((artifact,)) for view, artifact in held.items()}) as session:
            found = {
                artifact.key: retracted_rows(session, held, rule, [view]) for view, artifact in held.items()
            }
    for key, rows in found.items():
        assert len(rows) == made.get(key, (0, 0))[0], key


# -- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("property")).project.root


def rows_of(root, key):
    return pq.read_table(root / "artifacts" / key / "part-00000.parquet").to_pylist()


def walk(root, plan, meant):
    """Ids of all rows that `meant` says of, in any artifact, and of all that were made from them."""
    keys = [key for key in plan.makers if (root / "artifacts" / key / "part-00000.parquet").exists()]
    table = {key: rows_of(root, key) for key in keys}
    found = {row_id(row) for key, rows in table.items() for row in rows if meant(key, row)}
    while True:
        more = {
            row_id(row) for rows in table.values() for row in rows if found & {*(row.get("parents") or [])}
        } - found
        if not more:
            return found, table
        found |= more


def a_retraction(draw, root):
    """A random retraction: what its entry holds, what it is for taint, and the same said in Python."""
    number, pipeline = draw.choice([1, 2]), draw.choice(["tiny", "control"])
    row = draw.choice(rows_of(root, f"{pipeline}/round_0{number}/verified"))
    within = draw.choice([f"{pipeline}/round_0{number}/verified", f"{pipeline}/round_0{number}", pipeline])
    letter = row["completion"][:1]
    return draw.choice(
        [
            (
                {"ids": [row["sample_id"]]},
                f"sample_id = '{row['sample_id']}'",
                lambda key, one: row_id(one) == row["sample_id"],
            ),
            (
                {"where": f"prompt_id = '{row['prompt_id']}' AND round > 0"},
                None,
                lambda key, one: one["prompt_id"] == row["prompt_id"] and (one.get("round") or 0) > 0,
            ),
            (
                {"where": f"verdict = '{row['verdict']}' AND completion LIKE '{letter}%' AND round > 0"},
                None,
                lambda key, one: (
                    one.get("verdict") == row["verdict"]
                    and one["completion"].startswith(letter)
                    and one["round"] > 0
                ),
            ),
            (
                {"where": f"prompt_id = '{row['prompt_id']}'", "in": within},
                None,
                lambda key, one: (
                    one["prompt_id"] == row["prompt_id"] and (key == within or key.startswith(f"{within}/"))
                ),
            ),
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_whole_run_after_a_retraction_equals_the_naive_walk(made_once, tmp_path, seed):
    root = tmp_path / "project"
    shutil.copytree(made_once, root)
    values, where, meant = a_retraction(random.Random(seed), root)
    plan = make_plan(open_project(root))
    retracted, table = walk(root, plan, meant)
    touched = {
        step.key
        for step in plan.steps.values()
        if step.component.role is Role.SELECTOR
        and any(
            row_id(row) in retracted
            for keys in [*step.inputs.values(), [step.key]]
            for key in keys
            for row in table[key]
        )
    }
    effect = retract(
        open_project(root),
        "bad",
        Retraction.model_validate({"reason": "wrong", "date": "2026-11-21", **values}),
        dry=False,
    )
    assert set(effect.lost) == touched
    expected = {
        step.key for step in plan.steps.values() if touched & {one.key for one in plan.with_upstream([step])}
    }
    plan = make_plan(open_project(root))
    assert {status.key for status in status_of(plan) if status.state is not State.DONE} == expected

    for key in plan.steps:
        if key in expected:
            run_step(plan, key)
    assert {status.state for status in status_of(plan)} == {State.DONE}
    require_clean(root, plan, meant)
    assert tainted_checkpoints(plan) == {}
    within = [key for key in [values.get("in")] if key in plan.makers]
    catalog = read_catalog(plan.project)
    if within or "in" not in values:
        found = taint(
            catalog, where or values["where"], COMPUTE, catalog.artifacts[within[0]] if within else None
        )
        assert found.rows and not found.checkpoints, (
            "the rows are still there as evidence, and nothing learnt from them"
        )


def require_clean(root, plan, meant):
    """No trainer of a round reads a retracted row, and every selection accounts for each of its rows."""

    def by_itself(key, row):  # a row that is dropped because of what was made from it is no row of that place
        return row.get("reason") != "retracted: wrong" and meant(key, row)

    retracted, table = walk(root, plan, by_itself)
    for step in plan.steps.values():
        read = [row for key in step.inputs.get("rows", ()) for row in table[key]]
        if step.component.role is Role.TRAINER and step.group != "start":
            assert read and not [row for row in read if row_id(row) in retracted]
        if step.component.role is Role.SELECTOR:
            dropped = {row_id(row): row["reason"] for row in table[f"{step.key}.dropped"]}
            lost = {row_id(row) for row in read} & retracted
            said = {name for name, reason in dropped.items() if reason == "retracted: wrong"}
            assert lost == said if step.label == "filtered" else lost <= said, (step.key, lost, said, dropped)
            assert len(dropped) + step_count(root, step, "kept") == step_count(root, step, "in") == len(read)


def step_count(root, step, name):
    return read_manifest(root / "artifacts" / step.key, step.key).counts[name]
