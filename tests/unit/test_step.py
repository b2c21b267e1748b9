"""One step: bad inputs, full disks, equal work in another pipeline, and why a step is stale."""

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lineal.cli.planning import status
from lineal.data.estimates import mean
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError, CheckFailure, DeclarationError, ProjectError
from lineal.step.checks import run_checks
from lineal.step.runlog import read_log
from lineal.step.runner import run_step
from lineal.step.source import code_digest
from lineal.step.status import State, status_of
from tests.e2e.toy_project import TOY, edit, make_project, plan_of

LINEAL = Path(sys.executable).with_name("lineal")


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    root = make_project(tmp_path_factory.mktemp("made") / "project")
    plan = plan_of(root)
    for key in plan.steps:
        run_step(plan, key)
    return root


@pytest.fixture
def made(made_once, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(made_once, root, symlinks=True)
    return root


def remake(root, key):
    shutil.rmtree(root / "artifacts" / key)
    return run_step(plan_of(root), key)


def test_run_step_again_gives_the_same_bytes(made):
    manifest = made / "artifacts/toy/round_01/filtered/manifest.json"
    before = manifest.read_bytes()
    assert remake(made, "toy/round_01/filtered") == "done"
    assert manifest.read_bytes() == before


def test_run_step_with_a_truncated_input_names_the_file(made):
    path = made / "artifacts/toy/round_01/verified/part-00000.parquet"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        ArtifactError, match=r"toy/round_01/verified: .*part-00000.parquet is not what its manifest says"
    ):
        remake(made, "toy/round_01/filtered")
    assert not (made / "artifacts/toy/round_01/filtered").exists()
    assert read_log(plan_of(made).project, "toy/round_01/filtered")["status"] == "failed"


def test_run_step_with_a_half_written_checkpoint_says_how_to_remake_it(made):
    (made / "artifacts/toy/start/checkpoint/manifest.json").unlink()
    with pytest.raises(
        ArtifactError,
        match="toy/start/checkpoint is half-written: .* Make it: lineal run toy/start/checkpoint",
    ):
        remake(made, "toy/round_01/generated")


def test_run_step_without_its_input_says_which(made):
    shutil.rmtree(made / "artifacts/toy/tasks/train")
    with pytest.raises(ArtifactError, match="toy/tasks/train is not there"):
        remake(made, "toy/round_01/generated")


def test_run_step_on_a_full_disk_leaves_nothing_half_written_and_goes_on(made):
    shutil.rmtree(made / "artifacts/toy/round_01/generated")
    done = subprocess.run(
        [LINEAL, "step", "toy/round_01/generated"],
        cwd=made,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 1
    assert "error: toy/round_01/generated:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (made / "artifacts/toy/round_01/generated").exists()
    assert run_step(plan_of(made), "toy/round_01/generated") == "done"


def test_run_step_with_a_stale_component_tag_asks_to_write_the_plan(made):
    with pytest.raises(
        ProjectError, match=r"dvc.yaml is stale: it runs .* as sample@0, .* Run: lineal plan --write"
    ):
        run_step(plan_of(made), "toy/round_01/generated", "sample@0")


def test_run_step_of_a_selection_that_keeps_nothing_fails_loudly(made):
    edit(
        made / "pipelines/toy.yaml",
        "sql: keep_correct, max_per_prompt: 1",
        "sql: length_filter, min_characters: 100",
    )
    with pytest.raises(CheckFailure, match=r"toy/round_01/filtered|round_01/filtered: 0 of 48 rows kept"):
        remake(made, "toy/round_01/filtered")
    assert not (made / "artifacts/toy/round_01/filtered").exists()


def test_run_step_of_a_test_prompt_in_training_rows_is_refused(made):
    edit(
        made / "pipelines/toy.yaml",
        "model: previous.checkpoint, prompts: tasks.train",
        "model: previous.checkpoint, prompts: tasks.test",
    )
    plan = plan_of(made)
    for key in ("toy/round_01/generated", "toy/round_01/verified"):
        remake(made, key)
    with pytest.raises(CheckFailure, match="rows with a prompt of an evaluation set"):
        remake(made, "toy/round_01/filtered")
    assert read_log(plan.project, "toy/round_01/filtered")["check"] == "no_test_prompt_in_training"


def test_run_step_of_equal_identity_in_another_pipeline_is_linked(made):
    (made / "pipelines/twin.yaml").write_text(TOY.replace("max_per_prompt: 1", "max_per_prompt: 2"))
    edit(made / "params.yaml", "active: [toy]", "active: [toy, twin]")
    plan = plan_of(made)
    outcomes = {
        key: run_step(plan, key) for key in plan.steps if key.startswith("twin/") and "round_02" not in key
    }
    assert outcomes["twin/round_01/verified"] == "reused"
    assert outcomes["twin/round_01/filtered"] == "done"
    first, second = (
        made / "artifacts" / name / "round_01/verified/manifest.json" for name in ("toy", "twin")
    )
    assert first.read_bytes() == second.read_bytes()


def test_manifest_holds_no_path_time_or_pipeline(made):
    for path in (made / "artifacts").rglob("manifest.json"):
        text = path.read_text()
        assert str(made) not in text
        assert '"toy' not in text
        assert json.loads(text)["identity"]


def test_status_of_a_finished_project_is_done(made):
    assert {entry.state for entry in status_of(plan_of(made))} == {State.DONE}


def test_source_digest_is_of_the_code_without_comments_and_docstrings():
    plain = 'def f(x: int) -> int:\n    """One."""\n    return x  # that is all\n'
    assert code_digest(plain) == code_digest("def f(x: int) -> int:\n    'Another.'\n\n    return x\n")
    assert code_digest(plain) != code_digest(plain.replace("return x", "return x + 1"))


def test_status_tells_what_several_finished_steps_share_once(made):
    for log in (made / "runs").rglob("generated.json"):
        log.write_text(json.dumps({**json.loads(log.read_text()), "source_digest": "of another text"}))
    told = CliRunner().invoke(status, obj=made).stdout
    assert told.count("the source of sample version 1 changed") == 1
    assert told.count("done      [1]") == 2


def test_status_tells_which_key_changed_and_what_follows(made):
    edit(made / "pipelines/toy.yaml", "max_per_prompt: 1", "max_per_prompt: 2")
    found = {entry.key: entry for entry in status_of(plan_of(made))}
    assert found["toy/round_01/verified"].state is State.DONE
    assert found["toy/round_01/filtered"].reasons == ("max_per_prompt 1 -> 2",)
    assert found["toy/round_01/checkpoint"].reasons == ("toy/round_01/filtered is stale",)


def test_status_tells_that_the_seed_changed(made):
    edit(made / "params.yaml", "seed: 0", "seed: 7")
    assert "seed 0 -> 7" in next(iter(status_of(plan_of(made)))).reasons


def test_status_of_a_remade_input_names_old_and_new_digest(made):
    edit(made / "pipelines/toy.yaml", "size: 24", "size: 25")
    remake(made, "toy/tasks/train")
    (reason,) = next(
        entry for entry in status_of(plan_of(made)) if entry.key == "toy/round_01/generated"
    ).reasons
    assert reason.startswith("input prompts: tasks/train@") and " -> tasks/train@" in reason


def test_settings_from_a_controller_reach_the_step_and_its_manifest(tmp_path):
    pipeline = TOY.replace("start:\n", "start:\n  tuned: {use: settings, temperature: 0.5}\n").replace(
        "samples: 2, max_tokens: 16}", "samples: 2, max_tokens: 16, temperature: start.tuned.temperature}"
    )
    root = make_project(tmp_path / "project", pipeline)
    plan = plan_of(root)
    for key in [step.key for step in plan.steps.values() if step.group in ("tasks", "start")]:
        run_step(plan, key)
    run_step(plan, "toy/round_01/generated")
    manifest = json.loads((root / "artifacts/toy/round_01/generated/manifest.json").read_text())
    assert manifest["settings"]["temperature"] == 0.5
    assert manifest["settings_from"] == {"temperature": "start/tuned.temperature"}


def evaluation(root, number, solved, prompts=40):
    """Lets a made evaluation say that these prompts of some are solved."""
    directory, values = (
        root / f"artifacts/toy/round_0{number}/evaluation",
        [float(place in solved) for place in range(prompts)],
    )
    found = mean(values).estimate
    numbers = {"accuracy": found.value, "count": prompts, "low": found.low, "high": found.high}
    details = {
        "headline": "accuracy",
        "intervals": {"accuracy": [found.low, found.high]},
        "by_difficulty": {},
    }
    named = {f"p{place}": value for place, value in enumerate(values)}
    for name, content in (("metrics", numbers), ("details", details), ("prompts", named)):
        (directory / f"{name}.json").write_text(json.dumps(content))


def checked(root, key, name):
    plan = plan_of(root)
    step = plan.step(key)
    artifacts = {
        output: open_artifact(k, plan.project.directory(k)) for output, k in step.artifact_keys().items()
    }
    return next(result for result in run_checks(plan, step, artifacts) if result.name == name)


@pytest.mark.parametrize(
    ("now", "passed", "word"), [(range(27), True, "within noise"), (range(12), False, "more than noise")]
)
def test_accuracy_held_warns_of_a_fall_that_is_more_than_noise(made, now, passed, word):
    evaluation(made, 1, range(30))
    evaluation(made, 2, now)
    found = checked(made, "toy/round_02/evaluation", "accuracy_held")
    assert found.passed is passed and word in found.message and found.values["prompts"] == 40
    assert found.values["low"] < found.values["difference"] < found.values["high"]


def test_accuracy_held_says_what_it_cannot_compare(made):
    (made / "artifacts/toy/round_01/evaluation/details.json").unlink()
    found = checked(made, "toy/round_02/evaluation", "accuracy_held")
    assert (
        found.passed
        and "since toy/round_01/evaluation; without intervals of both, only a trend over" in found.message
    )


def test_declared_warning_changes_no_step_and_is_a_check_of_each_round(made):
    edit(
        made / "pipelines" / "toy.yaml",
        "tasks.test, max_tokens: 16}",
        "tasks.test, max_tokens: 16, warnings: {errors: {above: 0}, count: falls}}",
    )
    assert {entry.state for entry in status_of(plan_of(made))} == {State.DONE}
    found = checked(made, "toy/round_02/evaluation", "warning_errors")
    assert found.passed and found.message == "toy/round_02/evaluation: errors 0 is not above 0"
    assert "toy/round_01/evaluation" in checked(made, "toy/round_02/evaluation", "warning_count").message
    edit(made / "pipelines" / "toy.yaml", "count: falls", "accurracy: falls")
    with pytest.raises(
        DeclarationError,
        match=r"toy\.yaml:\d+: round\.evaluation: warnings: accuracy gives no number 'accurracy'",
    ):
        plan_of(made)


def test_accuracy_held_leaves_settings_under_the_evaluations_name_aside(made):
    manifest = made / "artifacts/toy/round_01/evaluation/manifest.json"
    manifest.write_text(
        manifest.read_text()
        .replace('"kind":"metrics"', '"kind":"settings"')
        .replace('"kind": "metrics"', '"kind": "settings"')
    )
    found = checked(made, "toy/round_02/evaluation", "accuracy_held")
    assert found.passed and "toy/round_01" not in found.message


def completions(root, number, words):
    """Lets a made round's samples be these words in turn."""
    path = root / f"artifacts/toy/round_0{number}/generated/part-00000.parquet"
    table = pq.read_table(path)
    texts = pa.array(
        [words[place % len(words)] for place in range(table.num_rows)], table.schema.field("completion").type
    )
    pq.write_table(table.set_column(table.column_names.index("completion"), "completion", texts), path)


def test_diversity_held_warns_of_a_loss_that_is_more_than_noise(made):
    assert checked(made, "toy/round_02/generated", "diversity_held").passed
    completions(made, 1, [f"word {place}" for place in range(48)])
    completions(made, 2, ["same"])
    found = checked(made, "toy/round_02/generated", "diversity_held")
    assert not found.passed and "more than noise" in found.message and found.values["now"] == 0.5


@pytest.fixture
def three_rounds(made):
    edit(made / "params.yaml", "rounds: 2", "rounds: 3")
    plan = plan_of(made)
    for step in plan.steps.values():
        if step.round == 3:
            run_step(plan, step.key)
    return made


def test_small_falls_of_the_accuracy_add_up_since_the_first_round(three_rounds):
    for number, solved in ((1, 34), (2, 28), (3, 23)):
        evaluation(three_rounds, number, range(solved))
    found = checked(three_rounds, "toy/round_03/evaluation", "accuracy_held")
    before, first = found.message.split("; accuracy ")
    assert "0.7 -> 0.575 since toy/round_02/evaluation" in before and "within noise" in before
    assert "0.85 -> 0.575 since toy/round_01/evaluation" in first and "more than noise" in first
    assert not found.passed and (found.values["before"], found.values["now"]) == (34 / 40, 23 / 40)


def test_small_falls_of_the_diversity_add_up_since_the_first_round(three_rounds):
    for number, alike in ((1, 0), (2, 24), (3, 44)):  # of 48 samples, two of each prompt
        completions(
            three_rounds, number, [f"word {place // 2 if place < alike else place}" for place in range(48)]
        )
    assert checked(three_rounds, "toy/round_02/generated", "diversity_held").passed
    found = checked(three_rounds, "toy/round_03/generated", "diversity_held")
    assert "since toy/round_01/generated" in found.message and "more than noise" in found.message
    assert not found.passed and "round_02/generated" not in found.message, "that fall alone is within noise"
