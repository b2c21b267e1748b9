"""A training that no row comes into: its init stands there unchanged, everything says so, and the loop goes on."""

import pytest
from click.testing import CliRunner

from lineal.audit.report.standing import standing_of
from lineal.audit.report.write import write_report
from lineal.cli.prove import round_
from lineal.components.evaluators.reading import read_evaluation
from lineal.data.manifest import TAUGHT
from lineal.data.store import open_artifact
from lineal.engines.models.checkpoints import is_adapter
from lineal.errors import DataError
from lineal.orchestrate.dagster_metadata import artifact_metadata
from lineal.orchestrate.terminal import summary
from lineal.step.checks import checks_of
from lineal.step.runner import run_step
from lineal.step.status import State, status_of
from tests.e2e.toy_project import PARAMS, TOY, make_project, plan_of

UNTIL = """\
-- summary: Keep all rows while the limit is above 0.
-- empty: the loop has converged
-- param limit: integer
SELECT row_id, CASE WHEN $limit > 0 THEN 'kept' ELSE 'dropped' END AS decision, 'converged' AS reason FROM rows
"""
FILTER = "filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}"
CONVERGED = "filtered:   {use: select, rows: verified, sql: until, per_round: {limit: 1, step: -1}}"
SFT = "{use: sft, init: previous.checkpoint, rows: filtered, steps: 2}"
WHY = "nothing to learn, 0 rows came in: round_01/checkpoint stands here unchanged"


def project(path, pipeline, rounds=3, engine="fake"):
    assert FILTER in TOY and SFT in TOY
    params = PARAMS.replace("rounds: 2", f"rounds: {rounds}").replace("engine: fake", f"engine: {engine}")
    root = make_project(path / "project", TOY, params)
    (root / "pipelines" / "selectors" / "until.sql").write_text(UNTIL)
    (root / "pipelines" / "toy.yaml").write_text(pipeline)
    return root


def made(plan, key):
    return open_artifact(key, plan.project.directory(key))


@pytest.fixture(scope="module")
def converged(tmp_path_factory):
    """Round 1 keeps all rows; rounds 2 and 3 keep none."""
    root = project(tmp_path_factory.mktemp("converged"), TOY.replace(FILTER, CONVERGED))
    plan = plan_of(root)
    for key in plan.steps:
        run_step(plan, key)
    return plan


def test_round_without_rows_publishes_its_init_and_the_next_goes_on(converged):
    digests = [
        made(converged, f"toy/{place}/checkpoint").digest
        for place in ("start", "round_01", "round_02", "round_03")
    ]
    assert digests[0] != digests[1] == digests[2] == digests[3]
    second = made(converged, "toy/round_02/checkpoint").manifest
    assert (second.step, second.counts, second.nothing_to_learn) == ("round_02/checkpoint", {"in": 0}, WHY)
    assert made(converged, "toy/round_03/checkpoint").manifest.nothing_to_learn == WHY.replace("_01", "_02")
    first = made(converged, "toy/round_01/checkpoint").manifest
    assert first.nothing_to_learn == ""
    idle = first.model_copy(update={"counts": {**first.counts, TAUGHT: 0}})
    assert (
        idle.nothing_to_learn
        == f"nothing learnt, {first.counts['in']} rows gave no gradient: these are the weights of start/checkpoint"
    )
    assert {(entry.state, entry.reasons) for entry in status_of(converged)} == {(State.DONE, ())}


def test_terminal_dagster_report_and_round_page_say_so(converged, tmp_path):
    checkpoint = made(converged, "toy/round_02/checkpoint")
    assert summary(checkpoint) == WHY
    metadata = artifact_metadata(converged.step(checkpoint.key), checkpoint, {}, "made now")
    assert (metadata["nothing_to_learn"], metadata["rows/in"]) == (WHY, 0)
    assert standing_of(converged, {}).unlearned == {
        "toy/round_02/checkpoint": WHY,
        "toy/round_03/checkpoint": WHY.replace("_01", "_02"),
    }
    write_report(converged, tmp_path / "report.html")
    assert (
        f"<dt>unchanged</dt><dd><code>toy/round_02/checkpoint</code>: {WHY}</dd>"
        in (tmp_path / "report.html").read_text()
    )
    page = CliRunner().invoke(round_, ["toy/round_02"], obj=converged.project.root).stdout
    assert f"WARNING     {WHY}" in page and "base        toy/start/checkpoint" in page


def run_until(plan, key):
    for one in plan.with_upstream([plan.step(key)]):
        run_step(plan, one.key)


def test_nothing_to_learn_from_the_start_is_refused_after_round_one(tmp_path):
    pipeline = TOY.replace(FILTER, CONVERGED).replace(SFT, SFT.replace("previous", "start"))
    plan = plan_of(project(tmp_path, pipeline))
    with pytest.raises(
        DataError,
        match=r"round_02/checkpoint: 0 rows to train on, and init toy/start/checkpoint stands before",
    ):
        run_until(plan, "toy/round_02/checkpoint")
    assert made(plan, "toy/round_01/checkpoint").manifest.nothing_to_learn == ""


def test_pretraining_on_nothing_is_an_error_as_ever(tmp_path):
    pipeline = TOY.replace(FILTER, CONVERGED).replace(
        SFT, "{use: pretrain, rows: filtered, target: completion, steps: 2}"
    )
    with pytest.raises(
        DataError, match="round_02/checkpoint: 0 rows to train on. Look at what selection dropped"
    ):
        run_until(plan_of(project(tmp_path, pipeline)), "toy/round_02/checkpoint")


ONLINE = """\
  chosen:     {use: select, rows: tasks.train, sql: until, per_round: {limit: 1, step: -1}}
  checkpoint:
    use: grpo
    init: previous.checkpoint
    prompts: chosen
    rewards: {right: exact_match}
    probe: {truth: exact_match}
    samples: 2
    steps: 1
"""


def test_online_training_without_prompts_has_rollouts_without_rows(tmp_path):
    plan = plan_of(project(tmp_path, TOY[: TOY.index("round:")] + "round:\n" + ONLINE))
    run_until(plan, "toy/round_02/checkpoint")
    first, second = (made(plan, f"toy/round_0{number}/checkpoint") for number in (1, 2))
    assert first.digest == second.digest and second.manifest.nothing_to_learn == WHY
    rollouts = [made(plan, f"toy/round_0{number}/checkpoint.rollouts").manifest for number in (1, 2)]
    assert list(rollouts[0].columns) == list(rollouts[1].columns)
    assert [sum(entry.rows for entry in one.files.values()) for one in rollouts] == [48, 0]
    assert "truth_verdict" in rollouts[1].columns
    assert "reward_held" in [check.name for check in checks_of(plan, plan.step("toy/round_02/checkpoint"))]


@pytest.mark.model
def test_full_model_stands_where_an_adapter_has_nothing_to_learn_and_is_adapted_later(tmp_path):
    """Round 1 has no rows, round 2 has: lora on a full model, which stands as it is until there is something to learn."""
    small = "steps: 2, hidden_size: 16, heads: 1, intermediate_size: 16"
    lora = SFT.replace("steps: 2", "steps: 2, lora: {rank: 2, alpha: 4}")
    pipeline = (
        TOY.replace(FILTER, CONVERGED.replace("limit: 1, step: -1", "limit: 0, step: 1"))
        .replace("rows: tasks.base, steps: 2", f"rows: tasks.base, {small}")
        .replace(SFT, lora)
    )
    plan = plan_of(project(tmp_path, pipeline, rounds=2, engine="transformers"))
    for key in plan.steps:
        run_step(plan, key)
    start, first, second = (
        made(plan, f"toy/{place}/checkpoint") for place in ("start", "round_01", "round_02")
    )
    assert first.digest == start.digest and not is_adapter(first.directory) and is_adapter(second.directory)
    assert plan.step("toy/round_02/checkpoint").inputs["init_base"] == ("toy/start/checkpoint",)
    assert read_evaluation(made(plan, "toy/round_02/evaluation").directory).numbers["count"] == 12
