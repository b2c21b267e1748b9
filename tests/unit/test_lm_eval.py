"""EleutherAI's harness on a tiny model with a task of the project's own, without network; what such a task may not say."""

import json

import pytest
import torch

from lineal.engines.models.checkpoints import is_adapter
from lineal.engines.sampling.sampler import load_for_inference
from lineal.engines.text.tokens import load_tokenizer
from lineal.errors import DataError, DeclarationError
from tests.unit.lab import Lab, evaluated, rows, rows_of
from tests.unit.tiny_models import put_model, tiny_model

TASK = """\
task: first_letter
dataset_path: json
dataset_kwargs: {data_files: {test: data/letters.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{word}}="
doc_to_choice: ["a", "b", "c"]
doc_to_target: "{{label}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    (tmp_path / "tasks").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "tasks/mine.yaml").write_text(TASK)
    rows = [
        {"word": word, "label": place % 3}
        for place, word in enumerate(["ab", "bca", "cab", "ba", "cb", "abc", "bac"])
    ]
    (tmp_path / "data/letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return lab


@pytest.fixture
def harness(tmp_path, monkeypatch):
    """The harness, without network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return pytest.importorskip("lm_eval")


@pytest.mark.model
def test_harness_scores_a_task_of_the_project_the_same_each_time(lab, tmp_path, harness):
    model = put_model(lab, "start/checkpoint", tiny_model(tmp_path / "tiny"))
    made = [
        lab.run("lm_eval", f"round_01/{name}", {"model": model}, tasks=["tasks/mine.yaml"])[""]
        for name in ("one", "two")
    ]
    found, rows = evaluated(made[0]), rows_of(made[0])
    assert found["count"] == len(rows) == 7 and found["acc"] == pytest.approx(
        sum(row["score"] for row in rows) / 7
    )
    assert found["headline"] == "acc" and found["low"] < found["acc"] < found["high"]
    assert [row["prompt"] for row in rows][:2] == ["ab=", "bca="] and {row["task"] for row in rows} == {
        "first_letter"
    }
    assert made[0].manifest.files == made[1].manifest.files
    with pytest.raises(DataError, match=r"no number 'exact_match' for each document, only acc\. Set metric"):
        lab.run(
            "lm_eval", "round_01/three", {"model": model}, tasks=["tasks/mine.yaml"], metric="exact_match"
        )


@pytest.mark.model
def test_harness_scores_an_adapter_as_the_model_that_it_is_merged_into(lab, tmp_path, harness):
    base = put_model(lab, "start/checkpoint", tiny_model(tmp_path / "tiny"))
    taught = lab.put("tasks/words", rows(("a1", "ab", "a"), ("b1", "bca", "b"), ("c1", "cab", "c")))
    learned = {"steps": 4, "learning_rate": 0.1, "lora": {"rank": 2, "alpha": 4}}
    adapter = lab.run("sft", "round_01/checkpoint", {"init": base, "rows": taught}, **learned)[""]
    load_for_inference(adapter.directory, base.directory, torch.device("cpu")).save_pretrained(
        tmp_path / "merged"
    )
    load_tokenizer(base.directory).save_pretrained(tmp_path / "merged")
    asked = {
        "base": {"model": base},
        "adapter": {"model": adapter, "model_base": base},
        "merged": {"model": put_model(lab, "start/merged", tmp_path / "merged")},
    }
    scored = {
        name: lab.run("lm_eval", f"round_01/{name}", of, tasks=["tasks/mine.yaml"])[""]
        for name, of in asked.items()
    }
    answers = {name: [row["completion"] for row in rows_of(made)] for name, made in scored.items()}
    assert is_adapter(adapter.directory) and answers["adapter"] == answers["merged"] != answers["base"]


def test_own_task_enters_the_identity_with_its_data(lab, tmp_path):
    made = lab.parse("lm_eval", {"model": ()}, tasks=["tasks/mine.yaml", "arc_easy"])
    assert made.files() == {name: tmp_path / name for name in ("tasks/mine.yaml", "data/letters.jsonl")}
    assert made.identity()["tasks"] == ["tasks/mine.yaml", "arc_easy"] and made.headline == "acc"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('doc_to_text: "{{word}}="', "doc_to_text: !function evil.text", "the tag '!function' is refused"),
        ("test_split: test", "process_docs: evil.docs", "process_docs: is refused in a project's own task"),
        ("test_split: test", "include: other.yaml", "include: is refused in a project's own task"),
        ("test_split: test", "unsafe_code: true", "unsafe_code: is refused"),
        ("dataset_path: json", "dataset_path: someone/data", "expected one of json, csv, parquet"),
        ("data/letters.jsonl", "../outside.jsonl", "is no file of the project"),
        ("data/letters.jsonl", "https://example.org/x.jsonl", "is no file of the project"),
    ],
)
def test_own_task_that_could_run_code_or_fetch_data_is_refused(lab, tmp_path, old, new, said):
    assert old in TASK
    (tmp_path / "tasks/mine.yaml").write_text(TASK.replace(old, new))
    with pytest.raises(DeclarationError, match=said):
        lab.parse("lm_eval", {"model": ()}, tasks=["tasks/mine.yaml"])


@pytest.mark.model
@pytest.mark.parametrize("metric", ["{metric: someone/metric}", "{metric: acc, hf_evaluate: true}"])
def test_metrics_that_would_be_downloaded_are_refused(lab, tmp_path, metric):
    pytest.importorskip("lm_eval")
    (tmp_path / "tasks/mine.yaml").write_text(TASK.replace("{metric: acc}", metric))
    model = lab.put("start/checkpoint", [{"prompt_id": "p"}])
    with pytest.raises(DataError, match="expected one of the harness's own metrics: .*acc"):
        lab.run("lm_eval", "round_01/x", {"model": model}, tasks=["tasks/mine.yaml"])
