"""Completions that were finished before a step died are not sampled again."""

import json
import time

import pytest

from lineal.data.conversations import conversation_of, plain_values
from lineal.data.ids import digest_of
from lineal.data.whole_lines import whole_lines
from lineal.engines.fake import FakeSampler
from lineal.engines.sampling.sampler import Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler

SETTINGS = SamplingSettings(max_tokens=8)
REQUESTS = [Request(f"{letters}=", seed) for letters in ("cab", "zyx", "bd") for seed in range(4)]


class Dying:
    """The fake engine that counts, and dies before its nth completion."""

    in_flight = 1

    def __init__(self, lives=100):
        self.drawn, self.lives = [], lives

    def stream(self, requests, settings):
        for index, completion in FakeSampler().stream(requests, settings):
            if len(self.drawn) == self.lives:
                raise RuntimeError("killed")
            self.drawn.append(requests[index])
            yield index, completion


def saved(tmp_path, engine, facts=None):
    return SavedSampler(engine, tmp_path / "unsaved" / "model.jsonl", {} if facts is None else facts)


def whole():
    return [completion for _, completion in FakeSampler().stream(REQUESTS, SETTINGS)]


def test_sampling_again_after_a_kill_draws_only_what_was_missing(tmp_path):
    with pytest.raises(RuntimeError):
        saved(tmp_path, Dying(lives=5)).sample(REQUESTS, SETTINGS)
    second, facts = Dying(), {}
    assert saved(tmp_path, second, facts).sample(REQUESTS, SETTINGS) == whole()
    assert second.drawn == REQUESTS[5:]
    assert facts == {"resumed_completions": 5}


def test_sampling_again_after_a_line_was_cut_off_draws_that_row_too(tmp_path):
    saved(tmp_path, Dying()).sample(REQUESTS[:3], SETTINGS)
    path = tmp_path / "unsaved" / "model.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    second = Dying()
    assert saved(tmp_path, second).sample(REQUESTS, SETTINGS) == whole()
    assert second.drawn == REQUESTS[2:]
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == len(REQUESTS)


def test_sampling_with_other_settings_finds_nothing_saved(tmp_path):
    saved(tmp_path, Dying()).sample(REQUESTS, SETTINGS)
    second = Dying()
    saved(tmp_path, second).sample(REQUESTS, SamplingSettings(max_tokens=2))
    assert second.drawn == REQUESTS


def test_progress_counts_saved_and_drawn_rows(tmp_path):
    calls = []
    saved(tmp_path, Dying()).sample(REQUESTS[:5], SETTINGS)
    saved(tmp_path, Dying()).sample(REQUESTS, SETTINGS, calls.append)
    assert calls == [5] + [1] * 7


class Waiting:
    """The fake engine that gives a few completions and then none, until the file holds them."""

    in_flight = 1

    def __init__(self, path):
        self.path, self.found = path, []

    def stream(self, requests, settings):
        for index, completion in FakeSampler().stream(requests, settings):
            if index == 3:
                deadline = time.monotonic() + 30
                while len(self.found) < 3 and time.monotonic() < deadline:
                    self.found = whole_lines(self.path)
            yield index, completion


def test_finished_completions_are_saved_while_the_engine_waits(tmp_path):
    engine = Waiting(tmp_path / "unsaved" / "model.jsonl")
    saved(tmp_path, engine).sample(REQUESTS, SETTINGS)
    assert len(engine.found) == 3
    assert len(whole_lines(engine.path)) == len(REQUESTS)


def test_requests_are_known_by_the_digest_of_prompt_seed_and_settings(tmp_path):
    """As ever: a step that an earlier version began goes on with what that one saved."""
    talk = conversation_of([{"role": "user", "content": "cab="}])
    requests = [*REQUESTS, Request(talk, 7), Request(talk, 8)]
    saved(tmp_path, Dying()).sample(requests, SETTINGS)
    keys = [json.loads(line)[0] for line in whole_lines(tmp_path / "unsaved" / "model.jsonl")]
    assert keys == [digest_of([plain_values(one.prompt), one.seed, SETTINGS.described()]) for one in requests]
