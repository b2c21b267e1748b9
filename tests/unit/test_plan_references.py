"""References: inside nested settings, to what a round lacks, and to other pipelines."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lineal.audit.catalog import read_catalog
from lineal.data.store import Rows, open_artifact
from lineal.errors import CheckFailure, DataError, DeclarationError, EngineError, LinealError
from lineal.orchestrate.dvc_yaml import dvc_yaml_text
from lineal.plan import Plan, make_plan
from lineal.recipe.document import parse_document
from lineal.recipe.project import open_project
from lineal.recipe.references import Head
from lineal.step.judges import ScoreSource, judges_of
from lineal.step.runlog import read_log
from lineal.step.runner import name_step, run_step

ROOT = Path(__file__).parents[2]
PARAMS = "rounds: 2\nactive: [mine]\ncompute: {engine: fake, workers: 1}\n"

NESTED = """\
method: Nested
summary: Models inside rewards and evaluators, rows inside examples.
each: {agent: [a, b]}
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [5, 7], size: 6}
  test: {use: letter_sort, length: [8, 9], size: 4}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  pairs: {use: select, rows: tasks.base, sql: made_pairs}
  scorer: {use: reward_model, init: checkpoint, rows: pairs, steps: 1}
round:
  checkpoint:
    use: grpo
    each: agent
    init: start.checkpoint
    prompts: tasks.train
    steps: 1
    batch_size: 8
    rewards:
      right: exact_match
      rm: {use: reward, scorer: start.scorer, weight: 0.5}
      critic: {use: judge, model: "critic[agent]", template: "{completion}", repeats: completion, threshold: 0.5}
  critic: {use: sft, each: agent, init: start.checkpoint, rows: "shots[agent]", target: answer, steps: 1}
  shots: {use: select, each: agent, rows: tasks.train, sql: keep_all}
  evaluation:
    use: accuracy
    each: agent
    model: "checkpoint[agent]"
    prompts: tasks.test
    verifier: {use: judge, model: "critic[agent]", template: "{completion}", repeats: completion, threshold: 0.5}
    examples: {rows: "shots[agent]", count: 1}
"""
PAIRS = """-- summary: Answers against prompts.
-- needs: prompt_id, prompt, answer
-- makes rows: prompt_id, prompt, chosen, rejected
SELECT [row_id] AS parents, prompt_id, prompt, answer AS chosen, prompt AS rejected FROM rows
"""


def project(root: Path, params: str = PARAMS, **pipelines: str) -> Path:
    """A project with these pipelines."""
    shutil.copytree(ROOT / "pipelines" / "selectors", root / "pipelines" / "selectors")
    (root / "pipelines" / "selectors" / "made_pairs.sql").write_text(PAIRS)
    for name, text in pipelines.items():
        (root / "pipelines" / f"{name}.yaml").write_text(text)
    (root / "params.yaml").write_text(params)
    return root


def planned(root: Path, params: str = PARAMS, **pipelines: str) -> Plan:
    return make_plan(open_project(project(root, params, **pipelines)))


def refused(root: Path, params: str = PARAMS, **pipelines: str) -> str:
    with pytest.raises(DeclarationError) as caught:
        planned(root, params, **pipelines)
    return str(caught.value)


def made(plan: Plan) -> Plan:
    for key in plan.steps:
        run_step(plan, key)
    return plan


def artifact(plan: Plan, key: str):
    return open_artifact(key, plan.project.directory(key))


# -- inside nested settings ---------------------------------------------------------------------------------------------


def test_references_inside_settings_are_planned_like_any_other(tmp_path: Path):
    plan = planned(tmp_path, mine=NESTED)
    for agent in ("a", "b"):
        assert plan.step(f"mine/round_02/checkpoint/{agent}").inputs == {
            "prompts": ("mine/tasks/train",),
            "init": ("mine/start/checkpoint",),
            "rewards.rm.scorer": ("mine/start/scorer",),
            "rewards.critic.model": (f"mine/round_02/critic/{agent}",),
        }
        assert plan.step(f"mine/round_02/evaluation/{agent}").inputs == {
            "model": (f"mine/round_02/checkpoint/{agent}",),
            "prompts": ("mine/tasks/test",),
            "examples": (f"mine/round_02/shots/{agent}",),
            "verifier.model": (f"mine/round_02/critic/{agent}",),
        }
    order = list(plan.steps)
    assert order.index("mine/round_01/critic/b") < order.index("mine/round_01/checkpoint/a")
    stages = parse_document(dvc_yaml_text(plan), "dvc.yaml").value["stages"]
    assert "artifacts/mine/round_02/critic/b" in stages["mine-round_02-checkpoint-b"]["deps"]


def test_verifier_inside_a_component_judges_with_its_own_inputs(tmp_path: Path):
    plan = made(planned(tmp_path, PARAMS.replace("rounds: 2", "rounds: 1"), mine=NESTED))
    critics = [artifact(plan, f"mine/round_01/critic/{agent}").digest for agent in ("a", "b")]
    rollouts = artifact(plan, "mine/round_01/checkpoint/a.rollouts")
    assert {"right_verdict", "rm_score", "critic_verdict", "score"} <= {*rollouts.manifest.columns}
    assert [entry.digest for entry in rollouts.manifest.inputs["rewards.critic.model"]] == critics[:1]
    told = [artifact(plan, f"mine/round_01/evaluation/{agent}") for agent in ("a", "b")]
    assert "model" not in told[0].manifest.settings["verifier"]

    def inputs(one):
        return [
            (field, artifact(plan, key)) for field, keys in plan.step(one.key).inputs.items() for key in keys
        ]

    found = judges_of(told[1], inputs)
    assert found["score"] == frozenset({ScoreSource("judge", 1, (("model", critics[1]),))})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "scorer: start.scorer",
            "scorer: start.pairs",
            "22: round.checkpoint.rewards.rm.scorer: 'start.pairs' names rows, but rewards.rm.scorer takes a model",
        ),
        (
            "scorer: start.scorer",
            "scorer: start.scoer",
            "22: round.checkpoint.rewards.rm.scorer: 'start.scoer' names no node of start. Did you mean 'scorer'?",
        ),
        (
            "scorer: start.scorer",
            "scorer: 'start scorer'",
            "22: round.checkpoint.rewards.rm.scorer: 'start scorer' is no ref",
        ),
        (
            "scorer: start.scorer",
            "scorrer: start.scorer",
            "22: round.checkpoint.rewards.rm.scorrer: unknown key 'scorrer'. Did",
        ),
        (
            'template: "{completion}", repeats: completion, threshold: 0.5}\n  critic',
            'template: "{hint}", threshold: 0.5}\n  critic',
            "17: round.checkpoint.prompts: mine/round_01/checkpoint/a needs column 'hint', but mine/tasks/train has only",
        ),
        (
            'examples: {rows: "shots[agent]"',
            'examples: {rows: "shots[c]"',
            "32: round.evaluation.examples.rows: 'shots[c]': unknown agent. Known: a, b.",
        ),
        (
            'rows: "shots[agent]", target',
            'rows: "checkpoint[agent].rollouts", target',
            "13: round.checkpoint: the nodes need each other: checkpoint -> critic -> checkpoint",
        ),
        (
            'verifier: {use: judge, model: "critic[agent]", template: "{completion}", repeats: completion, threshold: 0.5}',
            "verifier: {use: reward, scorer: start.scorer}",
            "verifier: 'reward' gives no verdict and no detail",
        ),
    ],
)
def test_reference_inside_a_setting_that_cannot_be_says_where(
    tmp_path: Path, old: str, new: str, message: str
):
    assert NESTED.count(old) == 1
    assert message in refused(tmp_path, mine=NESTED.replace(old, new))


def test_start_and_tasks_may_name_their_own_nodes_as_other_sections_do(tmp_path: Path):
    later = HEADS.replace(
        "  pairs: {use: select, rows: tasks.base",
        "  first: {use: same_model, model: start.other}\n  pairs: {use: select, rows: tasks.base",
    )
    order = list(planned(tmp_path / "later", mine=later).steps)
    assert order.index("mine/start/other") < order.index("mine/start/first")
    circle = refused(
        tmp_path / "circle",
        mine=HEADS.replace("init: checkpoint, rows: pairs", "init: start.other, rows: pairs"),
    )
    assert (
        "start.scorer: the nodes need each other: scorer -> other -> scorer. Let one of them read another node"
        in circle
    )


# -- models that write and models that give a number --------------------------------------------------------------------

HEADS = """\
method: Heads
summary: A policy and a reward model.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [5, 7], size: 6}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  pairs: {use: select, rows: tasks.base, sql: made_pairs}
  scorer: {use: reward_model, init: checkpoint, rows: pairs, steps: 1}
  other: {use: same_model, model: scorer}
round:
  generated: {use: sample, model: start.checkpoint, prompts: tasks.train, samples: 2}
  rewarded: {use: reward, rows: generated, scorer: start.other}
  chosen: {use: best_of_n, model: start.checkpoint, prompts: tasks.train, scorer: start.scorer, score_by: reward, samples: 2}
"""
WRITES, NUMBERS = "writes texts", "gives one number for a completion"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "scorer: start.other",
            "scorer: start.checkpoint",
            f"13: round.rewarded.scorer: 'start.checkpoint' is a language model, which {WRITES}, but scorer takes a "
            f"reward model, which {NUMBERS}. Here that is mine/start/scorer, mine/start/other",
        ),
        (
            "sample, model: start.checkpoint",
            "sample, model: start.other",
            f"12: round.generated.model: 'start.other' is a reward model, which {NUMBERS}, but model takes a language "
            f"model, which {WRITES}. Here that is mine/start/checkpoint",
        ),
        ("score_by: reward, ", "", "14: round.chosen.scorer: 'start.scorer' is a reward model"),
    ],
)
def test_model_of_the_wrong_kind_is_refused_by_the_plan(tmp_path: Path, old: str, new: str, message: str):
    assert message in refused(tmp_path, mine=HEADS.replace(old, new))


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, False),
        ({"architectures": ["LlamaForSequenceClassification"]}, True),
        (None, True),  # not there yet: what it is shows when it is loaded
    ],
)
def test_model_in_a_directory_is_what_its_configuration_says(tmp_path: Path, given: object, fits: bool):
    text = HEADS.replace("model: scorer}", "model: mine}\n  mine: {use: model, path: m}")
    if given is not None:
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "config.json").write_text(json.dumps(given))
    if fits:
        assert planned(tmp_path, mine=text).output("mine/start/other").head is (
            Head.REWARD if given else None
        )
    else:
        assert "'start.other' is a language model" in refused(tmp_path, mine=text)


# -- outputs that start lacks -------------------------------------------------------------------------------------------

ONLINE = """\
method: Online
summary: Learns from the rollouts of all rounds.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
  train: {use: letter_sort, length: [5, 7], size: 6}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
round:
  checkpoint: {use: grpo, init: previous.checkpoint, prompts: tasks.train, rewards: {right: exact_match}, steps: 1, batch_size: 8}
  pool: {use: select, rows: history.checkpoint.rollouts, sql: keep_all}
"""


def test_history_of_an_output_begins_where_it_begins(tmp_path: Path):
    plan = planned(tmp_path, mine=ONLINE)
    assert plan.step("mine/round_02/pool").inputs["rows"] == tuple(
        f"mine/round_0{n}/checkpoint.rollouts" for n in (1, 2)
    )


def test_previous_output_that_start_lacks_says_what_to_declare(tmp_path: Path):
    message = refused(
        tmp_path, mine=ONLINE.replace("history.checkpoint.rollouts", "previous.checkpoint.rollouts")
    )
    assert message == (
        "pipelines/mine.yaml:10: round.pool.rows: 'previous.checkpoint.rollouts' in round 1 means start.checkpoint.rollouts, but "
        "start.checkpoint has no output 'rollouts' (none but itself). Declare start.checkpoint with a component that writes it, "
        "or read history.checkpoint.rollouts, which has what there is of all rounds"
    )


def test_history_of_an_output_that_is_empty_says_what_start_needs(tmp_path: Path):
    text = ONLINE.replace("prompts: tasks.train, rew", "prompts: pool, rew")
    assert "declare start.checkpoint with an output 'rollouts'" in refused(tmp_path, mine=text)


# -- values and sources inside a round ----------------------------------------------------------------------------------

TUNED = """\
method: Tuned
summary: The round's tasks follow a controller.
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  tuned: {use: settings, size: 5}
round:
  train: {use: letter_sort, length: [5, 8], size: previous.tuned.size}
  generated: {use: sample, model: start.checkpoint, prompts: train, samples: 1}
  tuned: {use: settings, size: 7}
"""


def test_source_inside_a_round_takes_the_values_of_a_controller(tmp_path: Path):
    plan = made(planned(tmp_path, mine=TUNED))
    drawn = [
        Rows((artifact(plan, f"mine/round_0{number}/train"),)).read()["prompt_id"].to_pylist()
        for number in (1, 2)
    ]
    assert [len(ids) for ids in drawn] == [5, 7] and not set(drawn[0]) & set(drawn[1])
    assert artifact(plan, "mine/round_02/train").manifest.settings_from == {"size": "round_01/tuned.size"}


# -- whose an error is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (DataError("round_01/pool: 0 of 4 rows kept"), "mine/round_01/pool: 0 of 4 rows kept"),
        (EngineError("grpo: prompt p has 8 tokens"), "mine/round_01/pool: grpo: prompt p has 8 tokens"),
        (DataError("mine/round_01/pool needs 3"), "mine/round_01/pool needs 3"),
        (CheckFailure("verifier_errors", "round_01/pool: 3 errors"), "mine/round_01/pool: 3 errors"),
        (
            DeclarationError("pipelines/selectors/x.sql:3: no"),
            "pipelines/selectors/x.sql:3: no (in mine/round_01/pool)",
        ),
    ],
)
def test_error_of_a_step_names_its_pipeline(tmp_path: Path, said: LinealError, named: str):
    name_step(planned(tmp_path, mine=ONLINE).step("mine/round_01/pool"), said)
    assert str(said) == named


def test_value_that_does_not_fit_names_step_setting_and_source_and_so_does_the_log(tmp_path: Path):
    later = TUNED.replace("size: 5}", "size: 5, next: 0}").replace(
        "size: 7", "size: previous.tuned.next, next: 1"
    )
    plan = planned(tmp_path, mine=later)
    with pytest.raises(
        LinealError,
        match=r"^mine/round_02/train: size takes 0 from mine/round_01/tuned.size: expected at least 1",
    ):
        made(plan)
    assert read_log(plan.project, "mine/round_02/train")["error"].startswith(
        "mine/round_02/train: size takes"
    )


def test_value_that_is_known_before_and_does_not_fit_is_refused_by_the_plan(tmp_path: Path):
    expected = ":9: round.train.size: previous.tuned.size is 0: expected at least 1. Change size of "
    assert f"{expected}mine/round_01/tuned" in refused(tmp_path, mine=TUNED.replace("size: 7", "size: 0"))
    assert f"{expected}mine/start/tuned" in refused(tmp_path / "b", mine=TUNED.replace("size: 5", "size: 0"))


# -- other pipelines ----------------------------------------------------------------------------------------------------

WARM = """\
method: Warm-up
summary: What others stand on.
each: {agent: [a, b]}
tasks:
  base: {use: letter_sort, length: [2, 4], size: 24, split: train}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  tuned: {use: settings, temperature: 0.5}
round:
  generated: {use: sample, model: previous.checkpoint, prompts: tasks.base, samples: 2}
  verified: {use: exact_match, rows: generated}
  checkpoint: {use: sft, init: previous.checkpoint, rows: verified, steps: 1}
  expert: {use: sft, each: agent, init: checkpoint, rows: verified, steps: 1}
finish:
  last: {use: same_model, model: previous.checkpoint}
"""
STANDS = """\
method: Stands on the warm-up
summary: Goes on where another pipeline ends.
tasks:
  train: {use: letter_sort, length: [5, 7], size: 6}
start:
  checkpoint: {use: same_model, model: pipelines.warm.finish.last}
round:
  generated: {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2,
              temperature: pipelines.warm.start.tuned.temperature}
  verified: {use: exact_match, rows: generated}
  pool: {use: select, rows: [verified, pipelines.warm.round_02.verified], sql: keep_all}
  checkpoint: {use: sft, init: previous.checkpoint, rows: pool, steps: 1}
  other: {use: sample, model: "pipelines.warm.round_01.expert[b]", prompts: tasks.train, samples: 1}
"""


def test_pipeline_stands_on_another_ones_artifacts(tmp_path: Path):
    plan = made(planned(tmp_path, PARAMS.replace("[mine]", "[mine, warm]"), mine=STANDS, warm=WARM))
    assert list(plan.pipelines) == ["mine", "warm"]
    order = list(plan.steps)
    assert order.index("warm/finish/last") < order.index("mine/start/checkpoint")
    stages = parse_document(dvc_yaml_text(plan), "dvc.yaml").value["stages"]
    assert "artifacts/warm/finish/last" in stages["mine-start-checkpoint"]["deps"]
    assert "artifacts/warm/round_01/expert/b" in stages["mine-round_02-other"]["deps"]
    assert plan.step("mine/round_01/generated").settings_from == {
        "temperature": ("warm/start/tuned", "temperature")
    }
    catalog = read_catalog(plan.project)
    links = catalog.links(catalog.artifacts["mine/round_01/pool"])
    assert [link.artifact.key for link in links] == ["mine/round_01/verified", "warm/round_02/verified"]
    start = artifact(plan, "mine/start/checkpoint").manifest
    assert start.inputs["model"][0].digest == artifact(plan, "warm/finish/last").digest
    assert [step.key for step in plan.consumers(plan.step("warm/finish/last"))] == ["mine/start/checkpoint"]


def test_artifact_under_the_same_name_as_the_one_it_stands_for_is_not_its_own_input(tmp_path: Path):
    again = STANDS.replace("pipelines.warm.finish.last", "pipelines.warm.start.checkpoint")
    chained = STANDS.replace("pipelines.warm.finish.last", "pipelines.again.start.checkpoint")
    params = PARAMS.replace("[mine]", "[mine, again, warm]")
    plan = made(planned(tmp_path, params, mine=chained, again=again, warm=WARM))
    catalog = read_catalog(plan.project)
    for key in ("mine/start/checkpoint", "again/start/checkpoint"):
        (link,) = catalog.links(catalog.artifacts[key])
        assert link.artifact.key == "warm/start/checkpoint"
        assert catalog.order["warm/start/checkpoint"] < catalog.order[key]
    (model, _) = catalog.links(catalog.artifacts["mine/round_01/generated"])
    assert model.artifact.key == "mine/start/checkpoint"


def test_plan_has_what_is_needed_of_a_pipeline_that_is_not_active(tmp_path: Path):
    text = STANDS.replace("finish.last", "round_01.checkpoint").replace(
        "round_02.verified", "round_01.verified"
    )
    plan = planned(tmp_path, mine=text, warm=WARM)
    assert [key for key in plan.steps if key.startswith("warm/")] == [
        "warm/tasks/base",
        "warm/start/checkpoint",
        "warm/start/tuned",
        "warm/round_01/generated",
        "warm/round_01/verified",
        "warm/round_01/checkpoint",
        "warm/round_01/expert/b",
    ]
    assert "warm-round_01-checkpoint" in dvc_yaml_text(plan)


@pytest.mark.parametrize(
    ("seeds", "meant"),
    [
        ("mine: {seeds: [3, 4]}, warm: {seeds: [4, 3]}", {"mine": "warm__seed_3", "mine__seed_4": "warm"}),
        ("mine: {seeds: [3, 4]}, warm: {seed: 9}", {"mine": "warm", "mine__seed_4": "warm"}),
    ],
)
def test_seed_of_another_pipeline_is_the_same_or_its_only_one(
    tmp_path: Path, seeds: str, meant: dict[str, str]
):
    plan = planned(tmp_path, f"{PARAMS}pipelines: {{{seeds}}}\n", mine=STANDS, warm=WARM)
    for own, other in meant.items():
        assert plan.step(f"{own}/start/checkpoint").inputs["model"] == (f"{other}/finish/last",)
        assert (
            plan.step(f"{own}/round_01/generated").settings_from["temperature"][0] == f"{other}/start/tuned"
        )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "pipelines.warm.finish",
            "pipelines.worm.finish",
            "6: start.checkpoint.model: there is no pipeline 'worm'. Did you mean 'warm'?",
        ),
        (
            "pipelines.warm.finish.last",
            "pipelines.warm.finish.lost",
            "names no node of warm/finish. Did you mean 'last'?",
        ),
        (
            "round_02.verified",
            "round_07.verified",
            "11: round.pool.rows: 'pipelines.warm.round_07.verified': warm has no round_07.",
        ),
        ("expert[b]", "expert", "expert is made several times there; write expert[*] or expert[a]"),
        ("expert[b]", "expert[c]", "no such instance. Did you mean 'expert/"),
        (
            "temperature: pipelines.warm.start.tuned.temperature",
            "temperature: 'pipelines.warm.start.tuned[a].temperature'",
            "tuned is made once there; leave out [a]",
        ),
        (
            "pipelines.warm.finish.last",
            "pipelines.mine.finish.last",
            "mine is this pipeline itself; write start.NODE",
        ),
        (
            "pipelines.warm.finish.last",
            "pipelines.warm.start.tuned",
            "names settings, but model takes a model",
        ),
        (
            "pipelines.warm.finish.last",
            "pipelines.warm.last",
            "'pipelines.warm.last' is no reference; write NODE",
        ),
        (
            "pipelines.warm.start.tuned.t",
            "pipelines.worm.start.tuned.t",
            "9: round.generated.temperature: there is no pipeline 'worm'",
        ),
    ],
)
def test_reference_to_another_pipeline_that_cannot_be_says_why(
    tmp_path: Path, old: str, new: str, message: str
):
    assert STANDS.count(old) == 1
    assert message in refused(tmp_path, mine=STANDS.replace(old, new), warm=WARM)


def test_pipelines_that_need_each_other_are_refused(tmp_path: Path):
    warm = WARM.replace("model: previous.checkpoint}", "model: pipelines.mine.start.checkpoint}")
    message = refused(tmp_path, mine=STANDS, warm=warm)
    assert message == (
        "pipelines/warm.yaml:15: finish.last.model: the pipelines need each other: mine -> warm -> mine. "
        "Move what both need into a pipeline of its own"
    )


def test_seed_that_another_pipeline_lacks_says_what_to_do(tmp_path: Path):
    params = f"{PARAMS}pipelines: {{mine: {{seed: 5}}, warm: {{seeds: [0, 1]}}}}\n"
    assert "mine has the seed 5, and warm the seeds [0, 1]. Give warm this seed" in refused(
        tmp_path, params, mine=STANDS, warm=WARM
    )
