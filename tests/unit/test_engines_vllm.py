"""The vLLM engine from lineal's side, and its real worker on a package that stands in for vLLM."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from lineal.engines.factory import open_likelihood, open_sampler
from lineal.engines.models.checkpoints import ADAPTER_CONFIG
from lineal.engines.sampling.sampler import Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, LoraSettings, TrainingSettings
from lineal.engines.training.train import initialise, train_sft
from lineal.engines.vllm.sampler import VllmSampler, engine_seed
from lineal.errors import EngineError
from lineal.recipe.compute import Compute, VllmCompute

from .lab import Lab
from .stand_in_vllm import make_program, make_stand_in
from .tiny_models import SHAPE, put_model, tiny_model

SETTINGS = SamplingSettings(max_tokens=8)
REQUESTS = [Request(prompt, seed) for prompt in ("cab=", "zyxw=") for seed in range(6)]
ROOT = Path(__file__).parents[2]
UNKNOWN = f"""\
1 validation error for ModelConfig
  Value error, Model architectures ['OpenAIGPTLMHeadModel'] are not supported for now. Supported architectures: \
dict_keys({[f"Model{number}ForCausalLM" for number in range(300)]}) [type=value_error, input_value=ArgsKwargs(()), input_type=X]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error"""
"""As vLLM 0.32 words it, through pydantic."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("vllm") / "model")


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """The file in which the stand-in notes its draws."""
    monkeypatch.setenv("STAND_IN_DRAWN", str(tmp_path / "drawn"))
    return tmp_path / "drawn"


def sampler(model, tmp_path, python=None, base=None, **settings):
    chosen = str(python or make_stand_in(tmp_path))
    return VllmSampler(model, VllmCompute(python=chosen, **settings), tmp_path / "vllm.log", base)


def saved(engine, tmp_path, facts=None):
    return SavedSampler(engine, tmp_path / "unsaved" / "model.jsonl", {} if facts is None else facts)


def pids(drawn):
    return {int(line.split()[0]) for line in drawn.read_text().splitlines()}


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_stream_gives_every_request_its_own_completion(model, tmp_path, drawn):
    engine = sampler(model, tmp_path)
    found = dict(engine.stream(REQUESTS, SETTINGS))
    assert sorted(found) == list(range(len(REQUESTS)))
    letters = [chr(ord("a") + (len(request.prompt) + 1 + request.seed) % 20) for request in REQUESTS]
    assert [found[place].text for place in sorted(found)] == letters, "the prompt is encoded with its bos"
    assert {(one.tokens, one.finish_reason, one.logprob) for one in found.values()} == {(2, "stop", -1.5)}
    assert {one.finish_reason for _, one in engine.stream(REQUESTS, SamplingSettings(max_tokens=1))} == {
        "length"
    }
    assert len(pids(drawn)) == 1, "one worker serves all calls"
    engine.close()
    assert all(map(is_gone, pids(drawn)))


def test_worker_killed_ends_the_step_and_the_next_run_draws_only_what_was_missing(
    model, tmp_path, drawn, monkeypatch
):
    monkeypatch.setenv("STAND_IN", json.dumps({"dies_after": 5}))
    with pytest.raises(
        EngineError, match=r"ended by SIGKILL \(the kernel does that when memory runs out\).*run again"
    ):
        saved(sampler(model, tmp_path), tmp_path).sample(REQUESTS, SETTINGS)
    monkeypatch.setenv("STAND_IN", "{}")
    facts = {}
    completions = saved(sampler(model, tmp_path), tmp_path, facts).sample(REQUESTS, SETTINGS)
    assert len(completions) == len(REQUESTS)
    assert facts["resumed_completions"] == 5
    assert len(drawn.read_text().splitlines()) == len(REQUESTS), "nothing that was finished is drawn again"


def test_step_killed_takes_the_worker_along_and_the_next_run_draws_only_what_was_missing(
    model, tmp_path, drawn
):
    python = make_stand_in(tmp_path)
    code = (
        "from pathlib import Path\nfrom tests.unit.test_engines_vllm import *\n"
        f"engine = sampler(Path({str(model)!r}), Path({str(tmp_path)!r}), {str(python)!r})\n"
        f"saved(engine, Path({str(tmp_path)!r})).sample(REQUESTS, SETTINGS)"
    )
    environment = {
        **os.environ,
        "STAND_IN": json.dumps({"hangs_after": 4}),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
    }
    step = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    journal = tmp_path / "unsaved" / "model.jsonl"
    wait_until(lambda: journal.exists() and journal.read_text().count("\n") == 4, 120)
    os.kill(step.pid, signal.SIGKILL)
    step.wait()
    wait_until(lambda: all(map(is_gone, pids(drawn))))
    assert len(saved(sampler(model, tmp_path, python), tmp_path).sample(REQUESTS, SETTINGS)) == len(REQUESTS)
    assert len(drawn.read_text().splitlines()) == len(REQUESTS), "nothing that was finished is drawn again"


def test_stream_left_early_ends_the_worker(model, tmp_path, drawn, monkeypatch):
    monkeypatch.setenv("STAND_IN", json.dumps({"seconds": 0.1}))
    engine = sampler(model, tmp_path)
    stream = engine.stream(REQUESTS, SETTINGS)
    next(stream)
    stream.close()
    assert all(map(is_gone, pids(drawn)))
    assert len(dict(engine.stream(REQUESTS[:2], SETTINGS))) == 2, "the next call loads it again"
    engine.close()


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ("sys.exit(3)", "ended with exit status 3 before it had answered"),
        ("os.write(answers, b'{\"ready\"')", "ended with exit status 0"),
        ("os.write(answers, b'nonsense\\n'); sys.stdin.read()", "answered b'nonsense.*expected 'ready'"),
        ("print('ValueError: too hot'); sys.exit(1)", "Last error in its log: ValueError: too hot"),
    ],
)
def test_worker_that_misbehaves_is_an_error_that_names_its_log(model, tmp_path, does, expected):
    python = make_program(
        tmp_path / "python", sys.executable, f"import os, sys\nanswers = int(sys.argv[3])\n{does}"
    )
    with pytest.raises(EngineError, match=expected) as error:
        list(sampler(model, tmp_path, python).stream(REQUESTS, SETTINGS))
    assert str(tmp_path / "vllm.log") in str(error.value)


@pytest.mark.parametrize(
    ("environment", "settings", "expected"),
    [
        ({}, {"tensor_parallel": 4}, "tensor_parallel is 4, visible devices: 1. Set it to 1 at most"),
        (
            {"STAND_IN_MEMORY": "1000"},
            {"kv_cache_gb": 1},
            r"memory: the weights take .* to use\. Raise compute.vllm.gpu_memory_utilization",
        ),
        (
            {},
            {"kv_cache_gb": 500},
            r"memory: compute.vllm.kv_cache_gb asks for 500.00 GiB, and the weights take 0.00 GiB on each of 1 device\(s\), of "
            r"8.00 GiB x gpu_memory_utilization 0.9 = 7.20 GiB to use\. Lower compute.vllm.kv_cache_gb, or raise",
        ),
        (
            {"STAND_IN": json.dumps({"refuses": UNKNOWN})},
            {},
            r"^vLLM cannot load: it does not know OpenAIGPTLMHeadModel\. Set compute.engine: transformers, .* Its log: \S+$",
        ),
        (
            {"STAND_IN": '{"refuses": "got an unexpected keyword argument \'max_num_seq\'"}'},
            {},
            r"'max_num_seq'\. Correct the names in compute.vllm.extra",
        ),
        (
            {"STAND_IN": '{"refuses": "No available memory for the cache blocks"}'},
            {},
            "lower max_model_len or kv_cache_gb",
        ),
        ({"STAND_IN": '{"reason": "abort"}'}, {}, "vLLM cannot draw: .*ended with 'abort'"),
        ({}, {"max_model_len": 6}, "has 14 tokens.* more than the 6 .*compute.vllm.max_model_len"),
    ],
)
def test_what_vllm_cannot_do_is_refused_with_the_setting_to_change(
    model, tmp_path, drawn, monkeypatch, environment, settings, expected
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(EngineError, match=expected):
        list(sampler(model, tmp_path, **settings).stream(REQUESTS, SETTINGS))


def test_too_low_a_temperature_is_refused_before_anything_is_loaded(model, tmp_path):
    with pytest.raises(EngineError, match=r"expected 0 or at least 0.01 with vLLM"):
        list(sampler(model, tmp_path).stream(REQUESTS, SamplingSettings(0.001)))
    assert not (tmp_path / "vllm.log").exists()


def test_missing_vllm_is_refused_with_the_setting_that_names_one(model, tmp_path):
    with pytest.raises(EngineError, match=r"has no vLLM.*compute.vllm.python.*lineal\[vllm\]"):
        VllmSampler(model, VllmCompute(), tmp_path / "log")
    with pytest.raises(
        EngineError, match=r"got 'no/python', expected an interpreter.*pip install vllm.*docs/engines.md"
    ):
        VllmSampler(model, VllmCompute(python="no/python"), tmp_path / "log")
    with pytest.raises(
        EngineError, match=r"No module named 'vllm'\. Name an interpreter .*compute.vllm.python: \.venv-vllm"
    ):
        list(sampler(model, tmp_path, sys.executable).stream(REQUESTS, SETTINGS))


def test_adapter_is_served_on_its_base_and_on_no_other(model, tmp_path, drawn, monkeypatch):
    adapter, other = tmp_path / "adapter", tmp_path / "other"
    lora = LoraSettings(2, 4, 0.0, "all-linear")
    settings = TrainingSettings(
        steps=1, epochs=None, batch_size=2, learning_rate=1e-3, warmup=0.0, seed=0, threads=1, lora=lora
    )
    train_sft(TrainingJob(Checkpoint(model), settings, adapter), [Example("cab=", "abc")] * 2)
    assert (adapter / ADAPTER_CONFIG).exists()
    engine = sampler(adapter, tmp_path, base=model)
    assert len(dict(engine.stream(REQUESTS, SETTINGS))) == len(REQUESTS)
    engine.close()
    monkeypatch.setenv("STAND_IN_CUDA", "1")
    with pytest.raises(
        EngineError,
        match="loaded as float32, expected bfloat16 or float16, .* Set compute.vllm.dtype: bfloat16",
    ):
        list(sampler(adapter, tmp_path, base=model).stream(REQUESTS, SETTINGS))
    half = sampler(adapter, tmp_path, base=model, dtype="bfloat16")
    assert len(dict(half.stream(REQUESTS, SETTINGS))) == len(REQUESTS)
    half.close()
    monkeypatch.delenv("STAND_IN_CUDA")
    initialise(SHAPE.__class__(**{**SHAPE.__dict__, "hidden_size": 64}), 0, other)
    with pytest.raises(EngineError, match="does not fit its base"):
        sampler(adapter, tmp_path, base=other)
    with pytest.raises(EngineError, match="without its base"):
        sampler(adapter, tmp_path)


def test_seeds_are_the_same_64_bits_but_for_the_one_that_means_none():
    assert engine_seed(0) == 0
    assert engine_seed(2**63 - 1) == 2**63 - 1
    assert engine_seed(2**63) == -(2**63)
    assert engine_seed(2**64 - 2) == engine_seed(2**64 - 1) == -2


def test_settings_refuse_arguments_that_lineal_sets_itself():
    with pytest.raises(ValidationError, match="trust_remote_code: set by lineal"):
        VllmCompute(extra={"trust_remote_code": True})


@pytest.mark.parametrize(("invariant", "promise"), [(False, False), (True, None)])
def test_step_that_samples_with_vllm_says_what_is_promised(model, tmp_path, drawn, invariant, promise):
    vllm = VllmCompute(python=str(make_stand_in(tmp_path)), batch_invariant=invariant, in_flight=5000)
    lab = Lab(tmp_path / "lab", Compute(engine="vllm", workers=1, vllm=vllm))
    step = lab._workspace("round_01/generated", {"model": (put_model(lab, "start/checkpoint", model),)})
    drawing = open_sampler(step, "model")
    assert (step.made_with, step.equal_bytes, step.slice_rows) == ("vllm", promise, 5000)
    assert len(drawing.sample(REQUESTS, SETTINGS)) == len(REQUESTS)
    assert step.facts["vllm"] == "stand-in"
    assert step.facts["seconds_by_phase"]["load"] > 0
    open_likelihood(step, "model")
    assert step.made_with == "vllm", "what draws is named, not what scores"
