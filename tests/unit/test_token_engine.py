"""Engines of packages: equal texts to the reference engine's, and what happens when one misbehaves."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pydantic
import pytest
import torch

from lineal.engines.sampling.sampler import Request, Sampler, SamplingSettings
from lineal.engines.sampling.token_engine import TokenEngine, engine_class
from lineal.engines.text.stop_texts import StopTexts
from lineal.errors import EngineError
from lineal.recipe import plugins
from lineal.recipe.compute import Compute

from .tiny_models import tiny_model

pytestmark = pytest.mark.model


class Greedy(TokenEngine):
    """The likeliest token each time, by whole forward passes; answers the last request first."""

    def load(self, checkpoint: Path, base: Path | None, device: str, *, steps: int = 1000) -> None:
        from transformers import AutoModelForCausalLM

        self.model, self.steps = AutoModelForCausalLM.from_pretrained(checkpoint), steps

    def draw(self, requests, settings):
        for place in reversed(range(len(requests))):
            ids, total = list(requests[place].prompt_ids), 0.0
            drawn = []
            while not drawn or (
                drawn[-1] not in requests[place].end_ids and len(drawn) < settings.max_tokens
            ):
                with torch.no_grad():
                    told = self.model(torch.tensor([ids + drawn])).logits[0, -1].log_softmax(-1)
                told[self.never_ids] = -torch.inf
                drawn.append(int(told.argmax()))
                total += float(told.max())
            yield place, drawn, total


class Broken(Greedy):
    """Gives what it is told to give."""

    answers: tuple = ()

    def draw(self, requests, settings):
        yield from self.answers


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("engine") / "model")


REQUESTS = [Request("dcba=", 1), Request("x=", 2), Request("dcba=", 3)]


@pytest.mark.parametrize("stop", [None, "a"])
def test_engine_of_a_package_gives_the_texts_and_probabilities_of_the_reference_engine(checkpoint, stop):
    settings = SamplingSettings(
        temperature=0.0, max_tokens=12, stop=None if stop is None else StopTexts((stop,))
    )
    own = Greedy(checkpoint, None, "cpu", {"steps": 3})
    found = list(own.stream(REQUESTS, settings))
    assert [place for place, _ in found] == [2, 1, 0] and own.steps == 3
    expected = Sampler(checkpoint, "cpu").sample(REQUESTS, settings)
    for place, one in found:
        assert (one.text, one.finish_reason) == (expected[place].text, expected[place].finish_reason)
        if stop is None:
            assert one.token_ids == expected[place].token_ids and one.logprob == pytest.approx(
                expected[place].logprob, abs=1e-4
            )


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (((5, [1], 0.0),), "answered request 5, which was not asked"),
        (((0, [1], 0.0), (0, [1], 0.0)), "answered request 0, which was not asked or is answered already"),
        (((0, [], 0.0),), "drew 0 tokens for request 0, expected 1 to 4"),
        (((0, [1] * 5, 0.0),), "drew 5 tokens"),
        (((0, [1], 0.0),), "left 2 of 3 requests unanswered"),
    ],
)
def test_engine_that_misbehaves_is_named(checkpoint, answers, message):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.answers = answers
    with pytest.raises(EngineError, match=f"the engine Broken {message}"):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))


@pytest.mark.parametrize("number", [1, -1, 1_000_000])
def test_id_without_a_token_is_refused(checkpoint, number):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.never_ids, engine.answers = [1], ((0, [number], 0.0),)
    with pytest.raises(EngineError, match=f"drew id {number} for request 0, which no token has"):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))


def test_prompt_that_does_not_fit_and_options_that_are_not_known_are_refused(checkpoint):
    with pytest.raises(EngineError, match=r"more than the \d+ positions of the model"):
        list(Greedy(checkpoint, None, "cpu", {}).stream(REQUESTS, SamplingSettings(max_tokens=1000)))
    with pytest.raises(EngineError, match=r"engine_options: {'speed': 2} don't fit Greedy.load: .*'speed'"):
        Greedy(checkpoint, None, "cpu", {"speed": 2})


def test_unknown_engine_and_options_without_one_are_refused():
    with pytest.raises(
        pydantic.ValidationError, match="unknown engine 'vlm'. Did you mean 'vllm'.*install that package here"
    ):
        Compute(engine="vlm")
    with pytest.raises(
        pydantic.ValidationError,
        match="engine_options are for engines of packages; for engine: vllm write compute.vllm",
    ):
        Compute(engine="vllm", engine_options={"dtype": "float32"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json:dumps", "is a function, expected a subclass"),
        ("json:nothing", "cannot be loaded from .*AttributeError"),
    ],
)
def test_entry_point_that_is_no_engine_is_told(monkeypatch, value, message):
    point = importlib.metadata.EntryPoint("odd", value, "lineal.engines")
    monkeypatch.setattr(plugins, "outside", lambda group: (point,))
    assert Compute(engine="odd").engine == "odd"
    with pytest.raises(EngineError, match=f"engine 'odd' .*{message}"):
        engine_class("odd")


def test_what_an_engine_raises_names_it(checkpoint):
    engine = Broken(checkpoint, None, "cpu", {})
    engine.answers = None
    with pytest.raises(
        EngineError, match="the engine Broken failed: TypeError: 'NoneType' object is not iterable"
    ):
        list(engine.stream(REQUESTS, SamplingSettings(max_tokens=4)))
