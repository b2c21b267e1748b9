"""`lineal export` of LoRA adapters that were really trained: the card's own code loads them on the base that it names."""

import re

import pytest
import yaml

from lineal.audit.catalog import read_catalog
from lineal.audit.export.write import export_artifact
from lineal.data.store import Rows, open_artifact
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.training.train import ModelShape, initialise
from lineal.errors import DeclarationError, EngineError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step

pytest.importorskip("peft")

LORA = "lora: {rank: 2, alpha: 4}, target: answer, steps: 2, learning_rate: 0.05"
PIPELINE = f"""
method: Adapters
summary: An adapter on a model that was itself trained here, then one that continues it.
tasks:
  base: {{use: letter_sort, length: [2, 3], size: 8, split: train}}
start:
  checkpoint: {{use: pretrain, rows: tasks.base, steps: 2, hidden_size: 16, heads: 2, layers: 1, intermediate_size: 16}}
round:
  tuned:   {{use: sft, init: start.checkpoint, rows: tasks.base, target: answer, steps: 2}}
  adapter: {{use: sft, init: tuned, rows: tasks.base, {LORA}}}
  further: {{use: sft, init: adapter, rows: tasks.base, {LORA}}}
  chosen:  {{use: settings, number: 2}}
  kept:    {{use: one_of, models: [adapter, further], number: chosen.number}}
  drawn:   {{use: sample, model: kept, prompts: tasks.base, max_tokens: 4, temperature: 0.0}}
  again:   {{use: sample, model: further, prompts: tasks.base, max_tokens: 4, temperature: 0.0}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    (root / "pipelines").mkdir()
    (root / "pipelines" / "low.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("rounds: 1\nactive: [low]\ncompute: {workers: 1, device: cpu}\n")
    plan = make_plan(open_project(root))
    for key in plan.steps:
        run_step(plan, key)
    return plan.project


def exported(project, name, target):
    catalog = read_catalog(project)
    export_artifact(project, catalog, catalog.artifacts[f"low/round_01/{name}"], target)
    return target


@pytest.mark.filterwarnings(
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"
)  # PEFT asks transformers for it
@pytest.mark.parametrize("name", ["adapter", "further", "kept"])
def test_exported_adapter_loads_by_its_card_on_the_base_that_the_card_names(project, tmp_path, name):
    import torch

    target = exported(project, name, tmp_path / "adapter")
    card = (target / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["base_model"], front["base_model_relation"]) == (["low/round_01/tuned"], "adapter")
    assert front["library_name"] == "peft"
    assert read_catalog(project).artifacts["low/round_01/tuned"].digest in card.partition("```")[0]

    base = exported(project, front["base_model"][0].rpartition("/")[2], tmp_path / "base")
    code = (
        re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
        .replace("BASE", str(base))
        .replace("PATH", str(target))
    )
    loaded: dict = {}
    exec(compile(code, "card", "exec"), loaded)  # noqa: S102 - the card's own lines, which people paste
    tokens = loaded["tokenizer"]("cab", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        adapted = loaded["model"](tokens).logits
        with loaded["model"].disable_adapter():
            assert not torch.equal(loaded["model"](tokens).logits, adapted)


def test_one_of_several_adapters_draws_on_the_base_that_they_share(project):
    kept, further, drawn, again = (
        open_artifact(f"low/round_01/{name}", project.directory(f"low/round_01/{name}"))
        for name in ("kept", "further", "drawn", "again")
    )
    assert kept.manifest.files == further.manifest.files
    assert [entry.step for entry in drawn.manifest.inputs["model_base"]] == ["round_01/tuned"]
    assert Rows((drawn,)).read()["completion"] == Rows((again,)).read()["completion"]


def test_models_of_different_kinds_are_no_choice(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "low.yaml").write_text(
        PIPELINE.replace("models: [adapter, further]", "models: [adapter, tuned]")
    )
    (tmp_path / "params.yaml").write_text("rounds: 1\nactive: [low]\n")
    stand = r"low/round_01/adapter \(low/round_01/tuned\), low/round_01/tuned \(a full model\)"
    with pytest.raises(
        DeclarationError, match=rf"low.yaml:\d+: round.kept.models: expected adapters on one base, .*{stand}"
    ):
        make_plan(open_project(tmp_path))


def test_exported_full_checkpoint_beside_adapters_names_the_pipeline_s_base(project, tmp_path):
    card = (exported(project, "tuned", tmp_path / "tuned") / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert (front["base_model"], front["library_name"]) == (["low/start/checkpoint"], "transformers")
    assert "base_model_relation" not in front


BACK = """
method: Back
summary: An exported adapter comes back on its base, draws, and is trained on.
tasks:
  base: {{use: letter_sort, length: [2, 3], size: 8, split: train}}
start:
  base:    {{use: model, path: {base}}}
  adapter: {{use: model, path: {adapter}{named}}}
round:
  drawn:   {{use: sample, model: start.adapter, prompts: tasks.base, max_tokens: 4, temperature: 0.0}}
  further: {{use: sft, init: start.adapter, rows: tasks.base, {lora}}}
"""


def plan_back(root, **declared):
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "back.yaml").write_text(
        BACK.format(**{"named": ", base: start.base", "lora": LORA, **declared})
    )
    (root / "params.yaml").write_text("rounds: 1\nactive: [back]\ncompute: {workers: 1, device: cpu}\n")
    return make_plan(open_project(root))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_exported_adapter_comes_back_on_its_base_and_draws_as_it_did_here(project, tmp_path):
    adapter, base = (
        exported(project, "adapter", tmp_path / "adapter"),
        project.directory("low/round_01/tuned"),
    )
    plan = plan_back(tmp_path / "back", adapter=adapter, base=base)
    for key in plan.steps:
        run_step(plan, key)
    requests = [Request(row["prompt"], 0) for row in rows_of(plan, "back/tasks/base")]
    there = Sampler(project.directory("low/round_01/adapter"), "cpu", base=base)
    expected = there.sample(requests, SamplingSettings(max_tokens=4, temperature=0.0))
    assert [row["completion"] for row in rows_of(plan, "back/round_01/drawn")] == [
        one.text for one in expected
    ]
    assert (plan.project.directory("back/round_01/further") / "adapter_model.safetensors").is_file()


def rows_of(plan, key):
    return Rows((open_artifact(key, plan.project.directory(key)),)).read().to_pylist()


def test_adapter_without_its_base_or_on_a_base_of_another_shape_is_refused(project, tmp_path):
    adapter, base = (
        exported(project, "adapter", tmp_path / "adapter"),
        project.directory("low/round_01/tuned"),
    )
    other = tmp_path / "other"
    shape = ModelShape(32, 1, 2, 16, rope_theta=1e4, tie_embeddings=True, characters="abc", max_positions=32)
    initialise(shape, 0, other)
    for number, (declared, message) in enumerate(
        [
            ({"adapter": adapter, "base": base, "named": ""}, r"got an adapter in \S+. Name its base"),
            ({"adapter": base, "base": base}, r"got a full model in \S+. Remove base"),
            ({"adapter": adapter, "base": other}, r"the adapter does not fit its base"),
        ]
    ):
        plan = plan_back(tmp_path / str(number), **declared)
        run_step(plan, "back/start/base")
        with pytest.raises(EngineError, match=message):
            run_step(plan, "back/start/adapter")


@pytest.mark.parametrize(
    ("declared", "lora", "message"),
    [
        (
            LORA,
            LORA.partition("}, ")[2],
            r"low.yaml:\d+: round.further.lora: got none, but init low/round_01/adapter is an adapter",
        ),
        (
            LORA,
            LORA.replace("rank: 2", "rank: 8"),
            r"got .*'rank': 8.* expected lora: .*'rank': 2.*, the adapter's own values",
        ),
    ],
)
def test_training_from_an_adapter_without_its_own_lora_is_refused_when_it_is_planned(
    tmp_path, declared, lora, message
):
    (tmp_path / "pipelines").mkdir()
    goes_on = f"init: adapter, rows: tasks.base, {declared}"
    (tmp_path / "pipelines" / "low.yaml").write_text(
        PIPELINE.replace(goes_on, goes_on.replace(declared, lora))
    )
    (tmp_path / "params.yaml").write_text("rounds: 1\nactive: [low]\n")
    with pytest.raises(DeclarationError, match=message):
        make_plan(open_project(tmp_path))
