"""A tiny model that sees: pretrained, sampled and trained further on pictures; same bytes whatever stands beside a row."""

from base64 import b64encode
from dataclasses import replace
from math import log

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from lineal.audit.catalog import Catalog
from lineal.audit.show.rendered import rendered
from lineal.data.manifest import InputEntry
from lineal.data.media import Pictures
from lineal.engines.models.checkpoints import read_config
from lineal.engines.models.sight import Sight
from lineal.engines.models.vision_model import PICTURE_TOKENS
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.text.tokens import encode_prompt, load_tokenizer
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import train_sft
from lineal.errors import DeclarationError, EngineError
from lineal.orchestrate.dvc_yaml import stage_of
from lineal.plan import make_plan
from lineal.recipe.compute import Compute
from lineal.recipe.project import open_project
from tests.unit.endpoint_server import endpoint_server
from tests.unit.lab import Lab, rows_of

pytestmark = pytest.mark.model
VISION = {
    "pixels": 16,
    "patch": 4,
    "merge": 2,
    "hidden_size": 16,
    "layers": 1,
    "heads": 1,
    "intermediate_size": 16,
}
TINY = {
    "hidden_size": 16,
    "heads": 1,
    "layers": 1,
    "intermediate_size": 16,
    "max_positions": 64,
    "batch_size": 16,
    "threads": 1,
}
SHAPES = {"grid": 2, "shapes": [1, 2], "questions": ["count", "colour"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("vision"), Compute(engine="transformers", device="cpu", workers=1))


@pytest.fixture(scope="module")
def tasks(lab):
    return lab.run("drawn_shapes", "tasks/train", size=40, **SHAPES)


@pytest.fixture(scope="module")
def model(lab, tasks):
    inputs = {"rows": tasks[""], "rows_media": tasks["media"]}
    return lab.run(
        "pretrain", "start/checkpoint", inputs, steps=15, learning_rate=1e-2, vision=VISION, **TINY
    )[""]


def requests_of(tasks, rows=None):
    chosen = rows_of(tasks[""])[: rows or None]
    return [Request(row["prompt"], seed, tuple(row["images"])) for row in chosen for seed in range(3)]


@pytest.fixture(scope="module")
def sampler(model, tasks):
    return Sampler(model.directory, "cpu", 256, None, Pictures([tasks["media"]]))


@pytest.fixture(scope="module")
def drawn(sampler, tasks):
    return sampler.sample(requests_of(tasks), SamplingSettings(max_tokens=6))


def test_samples_are_the_same_whatever_stands_beside_them(sampler, drawn, tasks):
    requests = requests_of(tasks)
    text = [Request("How many circles?", seed) for seed in range(5)]
    two = [Request("Which?", 3, requests[0].images + requests[9].images)]
    mixed = sampler.sample([*two, *requests[50:][::-1], *text], SamplingSettings(max_tokens=6))
    assert mixed[1:-5] == drawn[50:][::-1]
    assert [one.text for one in sampler.sample(two, SamplingSettings(max_tokens=6))] == [mixed[0].text]


def test_log_probabilities_are_those_of_transformers_with_the_models_own_processor(model, drawn, tasks):
    pictures = Pictures([tasks["media"]])
    reader = AutoModelForImageTextToText.from_pretrained(str(model.directory)).eval()
    processor = AutoProcessor.from_pretrained(str(model.directory))
    requests = requests_of(tasks)
    for request, completion in list(zip(requests, drawn, strict=True))[:9]:
        image = pictures.decoded(request.images[0])
        given = processor(
            text=[f"<bos><image>{request.prompt}"],
            images=[[image]],
            add_special_tokens=False,
            return_tensors="pt",
        )
        ids = torch.cat([given["input_ids"], torch.tensor([completion.token_ids])], dim=1)
        with torch.no_grad():
            logits = reader(input_ids=ids, pixel_values=given["pixel_values"]).logits[0]
        said = logits.log_softmax(-1)[-len(completion.token_ids) - 1 : -1]
        assert said.gather(1, ids[0, -len(completion.token_ids) :, None]).sum().item() == pytest.approx(
            completion.logprob, abs=1e-4
        )


def test_another_picture_gives_other_probabilities(sampler, drawn, tasks):
    requests = requests_of(tasks)
    swapped = [
        Request(one.prompt, one.seed, other.images)
        for one, other in zip(requests, requests[::-1], strict=True)
    ]
    again = sampler.sample(swapped, SamplingSettings(max_tokens=6))
    assert (
        sum(one.logprob != other.logprob for one, other in zip(drawn, again, strict=True)) > len(drawn) * 0.9
    )


def test_sample_and_accuracy_rows_keep_digests_and_their_ids_name_the_pictures(lab, model, tasks):
    inputs = {"model": model, "prompts": tasks[""], "prompts_media": tasks["media"]}
    rows = rows_of(lab.run("sample", "round_01/generated", inputs, samples=2, max_tokens=6)[""])
    prompts = {row["prompt_id"]: row for row in rows_of(tasks[""])}
    assert len(rows) == 80 and all(row["images"] == prompts[row["prompt_id"]]["images"] for row in rows)
    judged = rows_of(lab.run("accuracy", "round_01/evaluation", inputs, max_tokens=6)[""])
    assert {row["verdict"] for row in judged} <= {"pass", "fail"} and all(row["images"] for row in judged)


def test_rendered_rows_show_where_the_pictures_stand(lab, model, tasks):
    inputs = {"model": model, "prompts": tasks[""], "prompts_media": tasks["media"]}
    made = lab.run("sample", "round_01/generated", inputs, max_tokens=4)[""]
    entries = {"prompts": [InputEntry(step="tasks/train", digest=tasks[""].digest)]}
    made = replace(made, manifest=made.manifest.model_copy(update={"inputs": entries}))
    catalog = Catalog({one.key: one for one in (tasks[""], tasks["media"], model, made)})
    (shown,) = rendered(catalog, made, rows_of(made)[:1])
    marks = [
        "<bos>",
        "<fake_token_around_image>",
        "<global-img>",
        *["<image>"] * 4,
        "<fake_token_around_image>",
    ]
    assert shown.text == "".join(f"⟦{mark}⟧" for mark in marks) + rows_of(made)[0]["prompt"]
    assert shown.tokens == len(marks) + len(rows_of(made)[0]["prompt"])


@pytest.mark.parametrize("token", PICTURE_TOKENS)
def test_a_control_token_of_pictures_that_a_prompt_spells_out_is_text(model, token):
    tokenizer = load_tokenizer(model.directory)
    assert tokenizer.convert_tokens_to_ids(token) not in encode_prompt(tokenizer, f"a {token}", False)


def test_sft_learns_through_the_eyes_and_gives_the_same_bytes_again(lab, model, tasks):
    rows = {"rows": tasks[""], "rows_media": tasks["media"], "init": model}
    made = [
        lab.run("sft", f"round_0{n}/checkpoint", rows, steps=2, target="answer", batch_size=8, threads=1)[""]
        for n in (1, 1)
    ]
    assert made[0].digest == made[1].digest
    before, after = (
        AutoModelForImageTextToText.from_pretrained(str(one.directory)).model.vision_model.state_dict()
        for one in (model, made[0])
    )
    assert all(not torch.equal(before[name], after[name]) for name in before if "embedding" in name)
    assert (made[0].directory / "processor_config.json").read_bytes() == (
        model.directory / "processor_config.json"
    ).read_bytes()


@pytest.fixture(scope="module")
def samples(lab, model, tasks):
    inputs = {"model": model, "prompts": tasks[""], "prompts_media": tasks["media"]}
    rows = rows_of(lab.run("sample", "round_01/sampled", inputs, samples=2, max_tokens=4)[""])
    return [{name: value for name, value in row.items() if name != "seed"} for row in rows]


def exchanged(rows):
    """The rows, each with another one's picture."""
    return [{**row, "images": other["images"]} for row, other in zip(rows, rows[::-1], strict=True)]


PREFERENCES = {
    "dpo": log(2),  # equation 7 where the model is the reference: no pair leads
    "kto": 0.5,  # equation 8 there: 1 - sigmoid(0)
    "simpo": None,
}


@pytest.mark.parametrize("trainer", PREFERENCES)
def test_preferences_are_about_pictures_that_model_and_reference_see(lab, model, tasks, samples, trainer):
    pairs = [
        {**one, "chosen": one["answer"], "rejected": f"{two['completion']}.", "label": place % 2 == 0}
        for place, (one, two) in enumerate(zip(samples[::2], samples[1::2], strict=True))
    ]
    two = [{**pairs[0], "images": pairs[0]["images"] + pairs[9]["images"]}, {**pairs[1], "images": []}]

    def trained(rows):
        inputs = {
            "rows": lab.put("round_01/pairs", [*rows, *two]),
            "rows_media": tasks["media"],
            "init": model,
        }
        return lab.run(trainer, "round_01/checkpoint", inputs, steps=1, batch_size=42, threads=1)[
            ""
        ], lab.facts["loss"]

    made, loss = trained(pairs)
    assert trained(exchanged(pairs))[0].digest != made.digest
    if trainer == "dpo":
        assert trained(pairs)[0].digest == made.digest
    if PREFERENCES[trainer] is not None:
        assert loss == pytest.approx(PREFERENCES[trainer], abs=1e-5)


ENDS = {"use": "exact_match", "extract": "^()"}
"""Passes whatever ends before the limit, where the answer is empty."""
ONLINE = {
    "rewards": {"vote": "majority_vote", "ends": ENDS},
    "steps": 1,
    "samples": 4,
    "batch_size": 16,
    "max_tokens": 6,
    "threads": 1,
    "beta": 0.5,
    "learning_rate": 1e-2,
}


def test_grpo_samples_votes_and_learns_about_pictures(lab, model, tasks):
    def trained(rows, **more):
        inputs = {"prompts": lab.put("tasks/own", rows), "prompts_media": tasks["media"], "init": model}
        return lab.run("grpo", "round_01/checkpoint", inputs, **{**ONLINE, **more})

    prompts = [{**row, "answer": ""} for row in rows_of(tasks[""])[:6]]
    made = trained(prompts)
    images = {row["prompt_id"]: row["images"] for row in prompts}
    rollouts = rows_of(made["rollouts"])
    assert len(rollouts) == 16 and all(row["images"] == images[row["prompt_id"]] for row in rollouts)
    assert len({row["score"] for row in rollouts}) > 1
    assert lab.facts["figures"]["kl"] == pytest.approx(
        0, abs=1e-6
    )  # before the first update model and reference agree
    assert trained(prompts)[""].digest == made[""].digest
    swapped = trained(exchanged(prompts))
    assert swapped[""].digest != made[""].digest


def test_policy_judges_pictures_while_it_trains(lab, model, tasks, sampler):
    inputs = {"prompts": tasks[""], "prompts_media": tasks["media"], "init": model}
    asked = {
        "use": "judge",
        "model": "self",
        "template": "{prompt}{completion}",
        "max_tokens": 3,
        "threshold": 0.5,
    }
    rewards = {
        "vote": "majority_vote",
        "asked": {**asked, "repeats": "completion", "max_error_rate": 1.0, "weight": 0},
    }
    rows = rows_of(
        lab.run("grpo", "round_01/checkpoint", inputs, **{**ONLINE, "rewards": rewards})["rollouts"]
    )
    assert len({row["asked_detail"] for row in rows}) > 4


def test_a_checkpoint_is_asked_and_judges_with_the_pictures_of_the_rows(lab, model, tasks, samples, sampler):
    inputs = {"model": model, "rows": lab.put("round_01/rows", samples[:12]), "rows_media": tasks["media"]}
    judging = {
        "template": "{prompt}{completion}?",
        "threshold": 0.5,
        "repeats": "completion",
        "max_error_rate": 1.0,
    }
    drawn = SamplingSettings(max_tokens=3, temperature=0.0)
    for use, output, more in (("ask", "", {"template": "{prompt}?"}), ("judge", "judgments", judging)):
        rows = rows_of(lab.run(use, f"round_01/{use}", inputs, max_tokens=3, temperature=0.0, **more)[output])
        again = sampler.sample(
            [Request(row["prompt"], row["seed"], tuple(row["images"])) for row in rows], drawn
        )
        assert [(row["completion"], row["logprob"]) for row in rows] == [
            (one.text, one.logprob) for one in again
        ]
        assert [row["images"] for row in rows] == [row["images"] for row in samples[:12]]


def settings(**more):
    return TrainingSettings(steps=1, epochs=None, batch_size=2, learning_rate=1e-3, seed=0, threads=1, **more)


def test_pictures_and_questions_that_cannot_go_together_are_refused(lab, model, tasks, sampler, tmp_path):
    from lineal.data.conversations import Conversation, Turn

    pictures, images = Pictures([tasks["media"]]), requests_of(tasks)[0].images
    talk = Conversation((Turn("user", "hi"),))
    with pytest.raises(
        EngineError, match=r"prompt 'hi': got pictures in a conversation, expected a text.* chat: false"
    ):
        Sight(model.directory, pictures).placed(talk, [1], images, False)
    with pytest.raises(
        EngineError, match=r"has \d+ tokens, with max_tokens 50 that is more than the 64 positions"
    ):
        sampler.sample(requests_of(tasks), SamplingSettings(max_tokens=50))
    with pytest.raises(EngineError, match="packing: got rows with pictures"):
        train_sft(
            TrainingJob(
                Checkpoint(model.directory), settings(packing=True), tmp_path / "o", pictures=pictures
            ),
            [Example("a", "b", None, images)],
        )
    texts = lab.run("letter_sort", "tasks/base", size=20, length=[2, 3], split="train")[""]
    reader = lab.run("pretrain", "start/reader", {"rows": texts}, steps=1, **TINY)[""]
    with pytest.raises(
        EngineError, match=r"got prompts with pictures for a model of texts \(llama\), expected one that sees"
    ):
        Sampler(reader.directory, "cpu", 256, None, pictures)
    with pytest.raises(
        ValueError, match=r"the rows have pictures, which a model of texts does not see. Set vision"
    ):
        lab.run("pretrain", "start/blind", {"rows": tasks[""], "rows_media": tasks["media"]}, steps=1, **TINY)
    with pytest.raises(ValueError, match="don't fit: patches must fill the picture"):
        lab.parse("pretrain", steps=1, rows="tasks.train", vision={"pixels": 16, "patch": 5})


def test_an_engine_that_would_not_show_pictures_is_refused(lab, model, tasks):
    blind = Lab(lab.path, Compute(engine="vllm", device="cpu", workers=1))
    inputs = {"model": model, "prompts": tasks[""], "prompts_media": tasks["media"]}
    with pytest.raises(
        EngineError,
        match=r"pictures for the engine vllm, which would not show them, expected transformers or op",
    ):
        blind.run("sample", "round_01/generated", inputs)


def test_an_endpoint_gets_the_pictures_before_the_text_of_the_users_turn(lab, tasks):
    with endpoint_server() as server:
        served = Lab(lab.path, Compute(workers=1, endpoints={"judge": {"url": server.url}}))
        judge = served.run("served_model", "start/judge", name="judge", revision="1")[""]
        inputs = {
            "model": judge,
            "rows": served.put("tasks/few", rows_of(tasks[""])[:3]),
            "rows_media": tasks["media"],
        }
        asking = {"template": "{prompt}?", "max_tokens": 4, "temperature": 0.0}
        rows = rows_of(served.run("ask", "round_01/asked", inputs, chat=True, system="Look.", **asking)[""])
        with pytest.raises(
            EngineError,
            match=r"'.*\?' has pictures, which only chats can hold at an endpoint. Set chat: true",
        ):
            served.run("ask", "round_01/asked", inputs, **asking)
        pictures, asked = (
            Pictures([tasks["media"]]),
            {body["messages"][1]["content"][-1]["text"]: body for body in server.asked},
        )
    for row in rows:
        system, user = asked[row["messages"][1]["content"]]["messages"]
        shown = [{"type": "image_url", "image_url": {"url": url_of(pictures[one])}} for one in row["images"]]
        assert system == {"role": "system", "content": "Look."}
        assert user == {
            "role": "user",
            "content": [*shown, {"type": "text", "text": row["messages"][1]["content"]}],
        }


def url_of(picture):
    return f"data:image/png;base64,{b64encode(picture.data).decode()}"


METHOD = """
method: Seen
summary: Questions about drawn shapes.
tasks:
  train: {use: drawn_shapes, size: 12}
  test:  {use: drawn_shapes, size: 6}
start:
  checkpoint: {use: pretrain, rows: tasks.train, steps: 1, vision: {pixels: 32}}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2}
  verified:   {use: exact_match, rows: generated}
  checkpoint: {use: sft, init: start.checkpoint, rows: history.verified, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test%s}
"""


def planned(root, more="", trained=""):
    (root / "pipelines").mkdir(parents=True)
    text = METHOD.replace("history.verified, steps: 1", f"history.verified, steps: 1{trained}") % more
    (root / "pipelines" / "seen.yaml").write_text(text)
    (root / "params.yaml").write_text("active: [seen]\nrounds: 2\nseed: 0\ncompute: {engine: fake}\n")
    return make_plan(open_project(root))


def test_steps_that_show_pictures_depend_on_them_and_others_do_not(tmp_path):
    plan = planned(tmp_path / "a")
    media = {"train": "seen/tasks/train.media", "test": "seen/tasks/test.media"}
    shown = {
        key: inputs
        for key, step in plan.steps.items()
        if (inputs := [one for one in step.all_inputs() if one in media.values()])
    }
    rounds = [f"seen/round_0{number}" for number in (1, 2)]
    assert shown == {
        "seen/start/checkpoint": [media["train"]],
        **{f"{one}/generated": [media["train"]] for one in rounds},
        **{f"{one}/checkpoint": [media["train"]] for one in rounds},
        **{f"{one}/evaluation": [media["test"]] for one in rounds},
    }
    stage = stage_of(plan, plan.step("seen/round_02/generated"))
    assert "artifacts/seen/tasks/train.media" in stage["deps"]
    assert stage_of(plan, plan.step("seen/tasks/train"))["outs"] == [
        "artifacts/seen/tasks/train",
        "artifacts/seen/tasks/train.media",
    ]
    judge = ', verifier: {use: judge, model: checkpoint, template: "{completion}", repeats: completion, threshold: 0.5}'
    assert planned(tmp_path / "b", judge).step("seen/round_01/evaluation").inputs["prompts_media"] == (
        media["test"],
    )
    blind = ", verifier: {use: choice_likelihood, scorer: checkpoint}"
    with pytest.raises(
        DeclarationError, match=r"evaluation: the rows have pictures .* choice_likelihood gives a model texts"
    ):
        planned(tmp_path / "c", blind)


@pytest.mark.parametrize("setting", ["packing", "chat"])
def test_a_trainer_that_could_not_show_the_pictures_is_refused_in_the_plan(tmp_path, setting):
    with pytest.raises(
        DeclarationError, match=rf"checkpoint\.{setting}: .* have pictures .* sft cannot show with {setting}"
    ):
        planned(tmp_path, trained=f", {setting}: true")


def test_the_embedded_models_configuration_names_no_machine(model):
    assert read_config(model.directory)["model_type"] == "idefics3"
    assert not [
        one for one in model.directory.iterdir() if str(model.directory) in one.read_bytes().decode("latin-1")
    ]
