"""Sampling with a real vLLM, in its own interpreter, and with its server: four starts, which is what this file costs."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineal.data.conversations import conversation_of
from lineal.data.ids import row_seed
from lineal.data.manifest import read_manifest
from lineal.data.schema import arrow_type
from lineal.data.store import open_artifact
from lineal.engines.endpoints.address import address_of_checkpoint
from lineal.engines.endpoints.sampler import EndpointSampler
from lineal.engines.endpoints.spending import Spending
from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.scoring import LikelihoodScorer
from lineal.engines.text.stop_texts import StopTexts
from lineal.engines.text.tokens import encode_prompt, load_tokenizer
from lineal.engines.vllm.sampler import VllmSampler
from lineal.errors import EngineError
from lineal.recipe.compute import Compute, VllmCompute
from tests.unit.chat_models import chat_model

from .toy_project import ROOT, command, make_project

PYTHON = Path(os.environ.get("LINEAL_VLLM_PYTHON", ROOT / ".venv-vllm" / "bin" / "python"))
needs_vllm = pytest.mark.skipif(
    not PYTHON.exists(), reason=f"{PYTHON} is not there: run `make vllm-env`, or set LINEAL_VLLM_PYTHON"
)

pytestmark = [pytest.mark.model, needs_vllm]

ON_CPU = {"kv_cache_gb": 0.25, "enforce_eager": True}
PARAMS = f"""\
seed: 0
rounds: 2
active: [toy]
compute:
  engine: vllm
  workers: 1
  vllm: {json.dumps({"python": str(PYTHON), **ON_CPU})}
"""
LOOP = """\
method: Toy
summary: Samples with vLLM, trains an adapter with TRL, and samples from the adapter.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 1024, split: train}
  train: {use: letter_sort, length: [3, 6], size: 32}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 100, batch_size: 64, hidden_size: 64, intermediate_size: 128}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 4, max_tokens: 12}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 2}
  checkpoint: {use: sft, init: start.checkpoint, rows: filtered, steps: 8, learning_rate: 1.0e-2, lora: {rank: 4, alpha: 8}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Two rounds, sampled by vLLM and trained by TRL; the second one samples from the first one's adapter."""
    root = make_project(tmp_path_factory.mktemp("vllm") / "project", LOOP, PARAMS)
    command(root, "lineal", "run")
    return root


@pytest.fixture(scope="module")
def sampler(project):
    """vLLM on the start checkpoint."""
    settings = VllmCompute(python=str(PYTHON), **ON_CPU)
    engine = VllmSampler(project / "artifacts/toy/start/checkpoint", settings, project / "vllm.log")
    yield engine
    engine.close()


def artifact(project, node):
    return project / "artifacts" / "toy" / node


def rows_of(project, node):
    return [
        row
        for path in sorted(artifact(project, node).glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def differences(project, node, adapter, base):
    """By how much the engine's log-probabilities are off those of transformers, where the text spells the drawn tokens."""
    rows = [row for row in rows_of(project, node) if row["finish_reason"] == "stop"]
    scorer = LikelihoodScorer(artifact(project, adapter), "cpu", base and artifact(project, base))
    scored = scorer.score([(row["prompt"], row["completion"]) for row in rows])
    found = [
        abs(row["logprob"] - one.logprob)
        for row, one in zip(rows, scored, strict=True)
        if row["tokens"] == one.tokens
    ]
    assert len(found) > 32
    return found


def test_rounds_sampled_by_vllm_and_trained_by_trl_say_what_is_promised(project):
    for number in (1, 2):
        manifest = read_manifest(artifact(project, f"round_0{number}/generated"), "generated")
        assert (manifest.made_with, manifest.equal_bytes, manifest.counts["out"]) == ("vllm", False, 128)
        log = json.loads((project / f"runs/toy/round_0{number}/generated.json").read_text())["facts"]
        assert log["vllm"].startswith("0.")
        assert log["seconds_by_phase"]["load"] > 0
    assert (artifact(project, "round_02/checkpoint") / "adapter_model.safetensors").exists()
    shown = command(project, "lineal", "show", "toy/round_01/generated")
    assert re.search(r"with vllm( on .*)? \(equal bytes not promised\)", shown)
    trained = read_manifest(artifact(project, "round_01/checkpoint"), "checkpoint")
    assert (trained.made_with, trained.equal_bytes) == (None, None)


def test_logprob_is_that_of_the_reference_model_and_an_adapter_is_served(project):
    assert max(differences(project, "round_01/generated", "start/checkpoint", None)) < 1e-3
    assert max(differences(project, "round_02/generated", "round_01/checkpoint", "start/checkpoint")) < 1e-3
    assert max(differences(project, "round_02/generated", "start/checkpoint", None)) > 0.1, (
        "the base alone says otherwise"
    )


def test_same_requests_in_another_process_give_the_same_rows(project, sampler):
    rows = rows_of(project, "round_01/generated")
    seeds = [row_seed(0, "round_01/generated", row["prompt_id"], row["sample_index"]) for row in rows]
    assert [row["seed"] for row in rows] == seeds
    drawn = dict(
        sampler.stream([Request(row["prompt"], row["seed"]) for row in rows], SamplingSettings(max_tokens=12))
    )
    equal = [
        drawn[place].text == row["completion"] and drawn[place].logprob == row["logprob"]
        for place, row in enumerate(rows)
    ]
    assert sum(equal) == len(rows)
    assert len({one.text for one in drawn.values()}) > 64, "samples of one prompt differ"


def test_greedy_completions_agree_with_the_reference_engine_in_most_rows(project, sampler):
    prompts = [row["prompt"] for row in rows_of(project, "tasks/train")]
    requests = [Request(prompt, 0) for prompt in prompts]
    settings = SamplingSettings(temperature=0.0, max_tokens=12)
    drawn = dict(sampler.stream(requests, settings))
    reference = Sampler(artifact(project, "start/checkpoint"), "cpu").sample(requests, settings)
    agreeing = sum(
        (drawn[place].text, drawn[place].tokens, drawn[place].finish_reason)
        == (one.text, one.tokens, one.finish_reason)
        for place, one in enumerate(reference)
    )
    assert agreeing >= len(prompts) - 1


@pytest.mark.parametrize("keep", [False, True])
def test_stop_texts_end_what_they_end_in_the_reference_engine(project, sampler, keep):
    requests = [Request(row["prompt"], 0) for row in rows_of(project, "tasks/train")]
    settings = SamplingSettings(temperature=0.0, max_tokens=12, stop=StopTexts(("n", "eg", "hk", "j"), keep))
    drawn = dict(sampler.stream(requests, settings))
    reference = Sampler(artifact(project, "start/checkpoint"), "cpu").sample(requests, settings)
    alike = [replace(drawn[place], logprob=one.logprob) == one for place, one in enumerate(reference)]
    assert sum(alike) >= len(requests) - 1
    assert sum(one.text.endswith(settings.stop.texts) or not keep for one in reference) > 3


def test_rows_with_conversations_are_what_vllms_chat_takes(tmp_path):
    """As `to_pylist` gives them: every turn with `tool_calls` and `name`, which are null."""
    checkpoint = chat_model(tmp_path / "chat", "chatml", heads=1)
    turns = [
        ("system", "Answer with a number."),
        ("user", "What is 3 plus 4?"),
        ("assistant", "7"),
        ("user", "And 4 plus 4?"),
    ]
    talks = [[{"role": role, "content": text} for role, text in turns[:length]] for length in (2, 4)]
    rows = pa.table({"messages": pa.array(talks, arrow_type("messages"))}).to_pylist()
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    room = {
        "dtype": "float32",
        "kv_cache_memory_bytes": 2**28,
        "enforce_eager": True,
        "enable_chunked_prefill": False,
    }
    asked = [
        str(PYTHON),
        str(Path(__file__).with_name("vllm_chat.py")),
        str(checkpoint),
        str(tmp_path / "rows.jsonl"),
    ]
    environment = os.environ | {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    done = subprocess.run(
        [*asked, json.dumps(room)], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    tokenizer = load_tokenizer(checkpoint)
    given = [encode_prompt(tokenizer, conversation_of(row["messages"]), chat=True) for row in rows]
    assert json.loads(done.stdout.splitlines()[-1]) == given


def test_prompts_of_more_tokens_than_one_step_of_vllm_takes_are_drawn(sampler):
    requests = [Request(f"{chr(97 + place % 26) * 60}{place}=", place) for place in range(100)]
    assert sum(len(request.prompt) for request in requests) > 2 * 2048
    assert len(dict(sampler.stream(requests, SamplingSettings(max_tokens=4)))) == len(requests)


def test_vllm_killed_while_it_draws_is_an_error_and_what_was_finished_stays_good(project, sampler):
    requests = [Request(row["prompt"], row["seed"]) for row in rows_of(project, "round_01/generated")]
    stream = sampler.stream(requests, SamplingSettings(max_tokens=12))
    finished = [next(stream)]
    os.kill(sampler._process._process.pid, signal.SIGKILL)
    with pytest.raises(EngineError, match="ended by SIGKILL"):
        finished += stream
    rows = rows_of(project, "round_01/generated")
    assert all(rows[place]["completion"] == one.text for place, one in finished)


@pytest.mark.gpu
def test_batch_invariant_rows_on_a_gpu_do_not_feel_their_neighbours(project):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    settings = VllmCompute(
        python=str(PYTHON), gpu_memory_utilization=0.3, batch_invariant=True, dtype="bfloat16"
    )
    engine = VllmSampler(artifact(project, "start/checkpoint"), settings, project / "gpu.log")
    requests = [Request(row["prompt"], row["seed"]) for row in rows_of(project, "round_01/generated")]
    together = dict(engine.stream(requests, SamplingSettings(max_tokens=12)))
    backwards = dict(engine.stream(requests[::-1], SamplingSettings(max_tokens=12)))
    alone = [dict(engine.stream([request], SamplingSettings(max_tokens=12)))[0] for request in requests[:8]]
    engine.close()
    assert [together[place] for place in range(len(requests))] == [
        backwards[place] for place in reversed(range(len(requests)))
    ]
    assert alone == [together[place] for place in range(8)]


@pytest.fixture(scope="module")
def served(project):
    """vLLM's own server of the start checkpoint and of the first round's adapter, under the names that lineal asks for."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    compute = Compute(endpoints={"default": {"url": f"http://127.0.0.1:{port}/v1"}})
    base, adapter = (
        open_artifact(node, artifact(project, node)) for node in ("start/checkpoint", "round_01/checkpoint")
    )
    addresses = (
        address_of_checkpoint(compute, base, None),
        address_of_checkpoint(compute, adapter, base.directory),
    )
    arguments = [
        "--model",
        base.directory,
        "--served-model-name",
        addresses[0].model,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--enable-lora",
        "--lora-modules",
        f"{addresses[1].model}={adapter.directory}",
        "--generation-config",
        "vllm",
        "--dtype",
        "float32",
        "--enforce-eager",
        "--kv-cache-memory-bytes",
        str(2**28),
        "--no-enable-chunked-prefill",
    ]
    log = project / "server.log"
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
    }
    with log.open("w") as stream:
        server = subprocess.Popen(
            [PYTHON, "-m", "vllm.entrypoints.openai.api_server", *arguments],
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 300
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-4000:]
            time.sleep(0.2)
        yield addresses
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("number", "node", "base"),
    [(0, "start/checkpoint", None), (1, "round_01/checkpoint", "start/checkpoint")],
)
def test_vllm_served_under_the_plans_names_draws_as_the_reference_engine_does(
    project, served, tmp_path, number, node, base
):
    requests = [Request(row["prompt"], 0) for row in rows_of(project, "tasks/train")]
    settings = SamplingSettings(temperature=0.0, max_tokens=12)
    sampler = EndpointSampler(served[number], Spending(tmp_path / "spent.jsonl", None), {}, pytest.fail)
    drawn = dict(sampler.stream(requests, settings))
    checkpoint = artifact(project, node)
    reference = Sampler(checkpoint, "cpu", base=base and artifact(project, base)).sample(requests, settings)
    told = [
        (drawn[place].text, drawn[place].tokens, drawn[place].finish_reason) for place in range(len(requests))
    ]
    expected = [(one.text, one.tokens, one.finish_reason) for one in reference]
    assert sum(map(operator.eq, told, expected)) >= len(requests) - 1
    assert len({text for text, _, _ in told}) > 8
