"""Sampling from an endpoint, against a real server that fails in every way that servers fail."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace

import pytest

from lineal.data.conversations import Conversation, Turn
from lineal.data.manifest import Manifest
from lineal.data.store import Artifact
from lineal.engines.endpoints.address import address_of_checkpoint, address_of_served
from lineal.engines.endpoints.rates import RatePace
from lineal.engines.endpoints.sampler import EndpointSampler
from lineal.engines.endpoints.served import Served
from lineal.engines.endpoints.spending import Spending
from lineal.engines.sampling.sampler import Request, SamplingSettings
from lineal.engines.sampling.saved_completions import SavedSampler
from lineal.engines.text.stop_texts import StopTexts
from lineal.errors import EngineError
from lineal.recipe.compute import Compute
from tests.unit.endpoint_server import completion, endpoint_server

SETTINGS = SamplingSettings(temperature=0.7, top_p=0.9, max_tokens=16)
CHAT = SamplingSettings(max_tokens=16, chat=True)
REQUESTS = [
    Request(f"{letters}=", seed) for letters in ("cab", "zyx", "bd") for seed in (2**64 - 1, 2**63, 5, 6)
]
KEY = "sk-do-not-tell-me-1234567890"
JUDGE = Served("judge", "2026-11-01")


@pytest.fixture
def server():
    with endpoint_server() as running:
        yield running


def compute(url, **settings) -> Compute:
    endpoint = {"url": url, "backoff_seconds": 0.001, "concurrency": 4, **settings}
    return Compute.model_validate({"endpoints": {"judge": endpoint}})


def quiet(line):
    """Takes what is said."""


def sampler(server, tmp_path, facts=None, served=JUDGE, say=quiet, **settings) -> EndpointSampler:
    address = address_of_served(compute(server.url, **settings), served)
    spending = Spending(tmp_path / "spent" / "model.jsonl", address.endpoint.price)
    return EndpointSampler(address, spending, {} if facts is None else facts, say)


def drawn(engine, requests=REQUESTS, settings=SETTINGS):
    found = dict(engine.stream(requests, settings))
    return [found[place] for place in range(len(requests))]


def expected(requests=REQUESTS):
    choices = [
        completion({"prompt": request.prompt, "seed": request.seed >> 1})["choices"][0]
        for request in requests
    ]
    return [choice["text"] for choice in choices]


# -- what is sent, and what comes back ----------------------------------------------------------------------------------


def test_completions_come_back_at_their_requests_places(server, tmp_path):
    found = drawn(sampler(server, tmp_path))
    assert [one.text for one in found] == expected()
    assert [one.tokens for one in found] == [len(text) + 1 for text in expected()]
    assert {(one.finish_reason, one.logprob) for one in found} == {("stop", None)}


def test_request_says_every_setting_and_nothing_else(server, tmp_path):
    drawn(sampler(server, tmp_path), REQUESTS[:1])
    assert server.asked == [
        {
            "path": "/v1/completions",
            "model": "judge",
            "prompt": "cab=",
            "max_tokens": 16,
            "temperature": 0.7,
            "top_p": 0.9,
            "seed": 2**63 - 1,
        }
    ]


def test_chat_sends_messages_with_the_served_models_system_prompt_and_parameters(server, tmp_path):
    served = Served("judge", "1", "Be just.", {"reasoning_effort": "low"})
    found = drawn(
        sampler(server, tmp_path, served=served, seed=False, max_tokens_name="max_completion_tokens"),
        settings=CHAT,
    )
    assert {one.text for one in found} == {"cba", "zyx", "db"}
    assert server.asked[0]["path"] == "/v1/chat/completions"
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "Be just."}
    assert server.asked[0]["messages"][1]["role"] == "user"
    assert server.asked[0]["reasoning_effort"] == "low" and server.asked[0]["max_completion_tokens"] == 16
    assert not server.asked[0].keys() & {"seed", "max_tokens", "prompt"}


def test_model_and_top_k_are_said_as_the_server_knows_them(server, tmp_path):
    server.models = ["vendor/judge-large"]
    drawn(sampler(server, tmp_path, model="vendor/judge-large", top_k=True), REQUESTS[:1])
    assert server.asked[0]["model"] == "vendor/judge-large" and server.asked[0]["top_k"] == 0


@pytest.mark.parametrize(("settings", "total"), [(SETTINGS, -1.0), (CHAT, -1.5)])
def test_logprobs_are_summed_where_the_server_gives_them(server, tmp_path, settings, total):
    assert {one.logprob for one in drawn(sampler(server, tmp_path, logprobs=True), settings=settings)} == {
        total
    }


def test_logprob_is_none_where_a_tokens_is_missing(server, tmp_path):
    choice = {"text": "a", "finish_reason": "stop", "logprobs": {"token_logprobs": [-0.5, None]}}
    server.faults.append({"choices": [choice]})
    assert drawn(sampler(server, tmp_path, logprobs=True), REQUESTS[:1])[0].logprob is None


def test_length_and_content_filter_are_kept_as_finish_reasons(server, tmp_path):
    server.faults.append({"choices": [{"text": "a", "finish_reason": "content_filter"}]})
    (one,) = drawn(sampler(server, tmp_path), REQUESTS[:1])
    assert (one.text, one.finish_reason) == ("a", "content_filter")
    (one,) = drawn(sampler(server, tmp_path), REQUESTS[:1], SamplingSettings(max_tokens=2))
    assert (one.text, one.finish_reason) == ("ab", "length")


def test_empty_content_and_halves_of_characters_become_text_that_a_row_can_hold(server, tmp_path):
    server.faults += [
        {"choices": [{"message": {"content": content}, "finish_reason": "length"}]}
        for content in (None, "a\ud83d!")
    ]
    found = drawn(sampler(server, tmp_path, concurrency=1), REQUESTS[:2], CHAT)
    assert [one.text for one in found] == ["", "a\N{REPLACEMENT CHARACTER}!"]


STOPS = StopTexts(("b", "y"))


def test_stop_texts_are_said_and_end_completions_here_too(server, tmp_path):
    found = drawn(sampler(server, tmp_path, concurrency=1), settings=replace(SETTINGS, stop=STOPS))
    assert {tuple(body["stop"]) for body in server.asked} == {("b", "y")}
    assert [one.text for one in found] == [re.split("[by]", text)[0] for text in expected()]
    assert {one.finish_reason for one in found} == {"stop"}


def test_stop_texts_are_kept_where_the_server_can_keep_them(server, tmp_path):
    settings = replace(SETTINGS, stop=replace(STOPS, keep=True))
    with pytest.raises(EngineError, match=r"endpoints\.judge\.keep_stop: true if this server knows"):
        drawn(sampler(server, tmp_path), settings=settings)
    found = drawn(sampler(server, tmp_path, keep_stop=True), settings=settings)
    assert server.asked[0]["include_stop_str_in_output"] is True
    assert [one.text for one in found] == [re.match("[^by]*[by]?", text)[0] for text in expected()]


def test_server_is_not_asked_to_go_on_inside_a_turn(server, tmp_path):
    begun = Conversation((Turn("user", "cab="), Turn("assistant", "a")))
    with pytest.raises(
        EngineError, match="ends with the beginning of an answer: the OpenAI API would start another"
    ):
        drawn(sampler(server, tmp_path), [Request(begun, 1)], CHAT)
    assert not server.asked


# -- what heals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        (429, "slow down", {"Retry-After": "0"}),
        (429, ""),
        (500, {"error": {"message": "oh"}}),
        (502, "<html>"),
        (503, ""),
        (504, ""),
        (408, ""),
        "drop",
        "half",
        "torn",
        "stall",
        {"error": {"code": 502, "message": "upstream"}},
        {"choices": [{"text": "a", "finish_reason": "abort"}]},
        {"choices": [{"text": "a"}]},
    ],
    ids=str,
)
def test_request_that_fails_in_passing_is_sent_again(server, tmp_path, fault):
    facts: dict[str, object] = {}
    server.faults.append(fault)
    timeout = 0.3 if fault == "stall" else 60
    found = drawn(sampler(server, tmp_path, facts, timeout_seconds=timeout), REQUESTS[:3])
    assert [one.text for one in found] == expected(REQUESTS[:3])
    assert len(server.answered) == 3 and len(server.asked) == 4
    assert facts["endpoint_requests"] == 4 and facts["endpoint_retries"] == 1


def test_retry_after_holds_all_requests_back(server, tmp_path):
    server.faults.append((429, "", {"Retry-After": "0.4"}))
    drawn(sampler(server, tmp_path, concurrency=1), REQUESTS[:3])
    assert server.times[1] - server.times[0] >= 0.39


def test_retry_after_of_hours_ends_the_step(server, tmp_path):
    server.faults.append((429, "", {"Retry-After": "7200"}))
    with pytest.raises(EngineError, match=r"answers 429.*asks to wait 7,200 s.*run again later"):
        drawn(sampler(server, tmp_path))


def test_server_that_stalls_ends_the_step_and_finished_rows_are_not_asked_again(server, tmp_path):
    server.stall_after, path = 5, tmp_path / "unsaved.jsonl"
    engine = sampler(server, tmp_path, retries=1, timeout_seconds=0.2, concurrency=2)
    with pytest.raises(
        EngineError,
        match=r"gives no answer within 0.2 s \(compute.endpoints.judge.timeout_seconds\), 2 times",
    ):
        SavedSampler(engine, path, {}).sample(REQUESTS, SETTINGS)
    first, server.stall_after = list(server.answered), None
    facts: dict[str, object] = {}
    found = SavedSampler(sampler(server, tmp_path, facts), path, facts).sample(REQUESTS, SETTINGS)
    assert [one.text for one in found] == expected()
    assert len(first) == 5 and len(server.answered) == len(REQUESTS) and facts["resumed_completions"] == 5
    asked = [(body["prompt"], body["seed"]) for body in server.answered]
    assert len(set(asked)) == len(asked)


# -- what does not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            (400, {"error": {"message": "maximum context length is 32 tokens"}}),
            r"answers 400: 'maximum context length is 32 tokens'",
        ),
        (
            (401, {"error": {"message": "bad key"}}),
            r"answers 401: 'bad key'\. Name the variable .*judge.key_variable",
        ),
        ((403, "no"), r"answers 403: 'no'"),
        (
            (404, {"detail": "Not Found"}),
            r"answers 404: 'Not Found'\. Check compute.endpoints.judge.url \(it usually ends in /v1\)",
        ),
        ((422, {"detail": "Unexpected fields"}), "answers 422: 'Unexpected fields'"),
        ((307, "", {"Location": "http://elsewhere/"}), "answers 307: ''. It sends elsewhere"),
        (
            (429, {"error": {"code": "insufficient_quota", "message": "pay"}}),
            "answers 429: 'pay'.*when there is quota",
        ),
        (
            {"choices": [{"text": "", "finish_reason": "tool_calls"}]},
            "gives finish_reason 'tool_calls'.*calls of tools as text",
        ),
        ({"usage": None}, "answers what is no completion.*Expected choices and usage"),
    ],
    ids=str,
)
def test_request_that_cannot_heal_ends_the_step_at_once(server, tmp_path, fault, words):
    server.faults.append(fault)
    with pytest.raises(EngineError, match=words):
        drawn(sampler(server, tmp_path, concurrency=1))
    assert len(server.asked) == 1


def test_words_of_a_server_are_escaped_and_cut(server, tmp_path):
    server.faults.append((400, {"error": {"message": "\x1b[31m<script>" + "x" * 5000}}))
    with pytest.raises(EngineError) as caught:
        drawn(sampler(server, tmp_path))
    assert (
        "\x1b" not in str(caught.value)
        and r"\x1b[31m<script>" in str(caught.value)
        and len(str(caught.value)) < 700
    )


def test_refused_request_leaves_those_in_flight_to_finish(server, tmp_path):
    server.faults += [None, (400, "no"), None, None]
    server.delay = 0.2
    found = {}
    with pytest.raises(EngineError, match="answers 400"):
        for place, one in sampler(server, tmp_path).stream(REQUESTS, SETTINGS):
            found[place] = one.text
    assert len(found) == len(server.answered) == 3 and len(server.asked) == 4


def test_nothing_is_sent_again_after_a_request_was_refused(server, tmp_path):
    server.faults += [(500, ""), (400, "no")]
    with pytest.raises(EngineError, match="answers 400"):
        drawn(sampler(server, tmp_path, concurrency=2, backoff_seconds=0.5))
    assert len(server.asked) == 2


def test_dead_endpoint_is_an_error_before_anything_is_drawn(tmp_path):
    with endpoint_server() as gone:
        pass
    with pytest.raises(
        EngineError,
        match=rf"{gone.url} cannot be reached .*Start the server, or correct compute.endpoints.judge.url",
    ):
        sampler(gone, tmp_path)
    with pytest.raises(EngineError, match="nowhere.invalid/v1 cannot be reached"):
        EndpointSampler(
            address_of_served(compute("http://nowhere.invalid/v1"), JUDGE),
            Spending(tmp_path / "s", None),
            {},
            quiet,
        )


def test_missing_endpoint_names_the_setting(server, tmp_path):
    with pytest.raises(
        EngineError, match=r"no server for the served model 'jugde'. Did you mean 'judge'\?.*jugde: \{url"
    ):
        sampler(server, tmp_path, served=Served("jugde", "1"))


def test_default_endpoint_has_served_models_without_one_of_their_own(server):
    settings = Compute.model_validate({"endpoints": {"default": {"url": server.url}}})
    assert address_of_served(settings, JUDGE).setting == "compute.endpoints.default"


# -- which model --------------------------------------------------------------------------------------------------------


def checkpoint(tmp_path, digest="0123456789abcdef"):
    manifest = Manifest.model_construct(digest=digest)
    return Artifact("p/round_01/checkpoint", tmp_path / "a b" / "checkpoint", manifest)


def of_checkpoint(server, tmp_path, base=None):
    settings = Compute.model_validate({"endpoints": {"default": {"url": server.url, "model": "judge"}}})
    address = address_of_checkpoint(settings, checkpoint(tmp_path), base)
    return EndpointSampler(address, Spending(tmp_path / "spent.jsonl", None), {}, quiet)


def test_checkpoint_must_be_listed_under_its_digest(server, tmp_path):
    with pytest.raises(EngineError) as caught:
        of_checkpoint(server, tmp_path)
    assert "has no model 'lineal-0123456789ab'. Known: judge." in str(caught.value)
    assert f"vllm serve '{tmp_path}/a b/checkpoint' --served-model-name lineal-0123456789ab" in str(
        caught.value
    )
    server.models = ["judge", "lineal-0123456789ab"]
    drawn(of_checkpoint(server, tmp_path), REQUESTS[:1])
    assert server.asked[0]["model"] == "lineal-0123456789ab"


def test_adapter_is_served_over_its_base(server, tmp_path):
    with pytest.raises(
        EngineError, match=r"vllm serve \S+/base --enable-lora --lora-modules lineal-0123456789ab='"
    ):
        of_checkpoint(server, tmp_path, base=tmp_path / "base")


def test_server_that_has_no_list_may_have_served_models_but_no_checkpoint(server, tmp_path):
    server.models = None
    assert drawn(sampler(server, tmp_path), REQUESTS[:1])
    with pytest.raises(EngineError, match="lists no models, and 'lineal-0123456789ab' must be listed"):
        of_checkpoint(server, tmp_path)


def test_server_with_an_empty_list_has_no_model(server, tmp_path):
    server.models = []
    with pytest.raises(
        EngineError, match=r"has no model 'judge'. Its list of models is empty. Serve it there, or set"
    ):
        sampler(server, tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, "oh", "answers 500: 'oh'"),
        (200, "<html>", r"answers what is no list of models \(its url .* /v1\): '<html>'"),
    ],
)
def test_list_of_models_that_fails_is_asked_for_again_and_says_so_once(server, tmp_path, status, body, words):
    said: list[str] = []
    server.listing_faults += [(status, body)] * 2
    sampler(server, tmp_path, say=said.append, retries=2)
    assert len(said) == 1 and re.search(words + "; it is asked again, 2 times at most$", said[0])
    server.listing_faults += [(status, body)] * 3
    with pytest.raises(EngineError, match=words + ", 3 times in a row"):
        sampler(server, tmp_path, retries=2)


def test_served_model_that_the_server_does_not_list_is_an_error(server, tmp_path):
    server.models = ["judge-2"]
    with pytest.raises(EngineError, match=r"has no model 'judge'. Did you mean 'judge-2'\?.*judge.model"):
        sampler(server, tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (SamplingSettings(top_k=5), "the OpenAI API has no top_k. Set compute.endpoints.judge.top_k: true"),
        (SETTINGS, "judge has a system prompt, which only chats have"),
    ],
)
def test_settings_that_cannot_be_said_are_an_error_before_anything_is_drawn(
    server, tmp_path, settings, words
):
    with pytest.raises(EngineError, match=words):
        drawn(sampler(server, tmp_path, served=Served("judge", "1", "Be just.")), settings=settings)
    assert not server.asked


# -- keys ---------------------------------------------------------------------------------------------------------------


def test_key_goes_into_requests_and_nowhere_else(server, tmp_path, monkeypatch, caplog, capfd):
    monkeypatch.setenv("JUDGE_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    server.faults += [(500, f"internal: {KEY}"), (401, {"error": {"message": f"Incorrect key {KEY}"}})]
    facts: dict[str, object] = {}
    engine = sampler(server, tmp_path, facts, key_variable="JUDGE_KEY", concurrency=1)
    with pytest.raises(
        EngineError, match=r"answers 401: 'Incorrect key \[key\]'. Check the key in JUDGE_KEY"
    ) as caught:
        SavedSampler(engine, tmp_path / "unsaved.jsonl", facts).sample(REQUESTS, SETTINGS)
    SavedSampler(engine, tmp_path / "unsaved.jsonl", facts).sample(REQUESTS, SETTINGS)
    assert all(headers["Authorization"] == f"Bearer {KEY}" for headers in server.headers)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert written and KEY not in written + repr(caught.value) + json.dumps(facts) + caplog.text + "".join(
        capfd.readouterr()
    )


@pytest.mark.parametrize(
    ("value", "words"), [("", "JUDGE_KEY is not set"), (f"{KEY} x", "JUDGE_KEY holds spaces")]
)
def test_key_that_is_missing_or_malformed_names_the_variable(server, tmp_path, monkeypatch, value, words):
    monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(EngineError, match=words) as caught:
        sampler(server, tmp_path, key_variable="JUDGE_KEY")
    assert KEY not in str(caught.value) and not server.headers


# -- limits and cost ----------------------------------------------------------------------------------------------------


def test_concurrency_is_reached_and_not_exceeded(server, tmp_path):
    server.delay = 0.05
    drawn(sampler(server, tmp_path, concurrency=3))
    assert server.most == 3


def test_requests_per_minute_spread_requests_over_slices_too(server, tmp_path):
    engine = sampler(server, tmp_path, requests_per_minute=1200)
    drawn(engine, REQUESTS[:4])
    drawn(engine, REQUESTS[4:8])
    assert server.times[-1] - server.times[0] >= 7 * 0.05 / 2, (
        "on a busy machine the first one may arrive late"
    )


@pytest.mark.parametrize("concurrency", [1, 4])
def test_tokens_per_minute_count_what_was_used(server, tmp_path, concurrency):
    drawn(sampler(server, tmp_path, tokens_per_minute=6000, concurrency=concurrency), REQUESTS[:6])
    used = sum(2 * len(request.prompt) + 1 for request in REQUESTS[:5])
    estimated = sum(len(request.prompt) + 64 + 16 for request in REQUESTS[:5])
    assert used / 100 - 0.01 <= server.times[5] - server.times[0] < 0.6 * estimated / 100 + 1


def test_tokens_per_minute_below_one_completion_is_an_error_before_anything_is_asked(server, tmp_path):
    words = r"judge.tokens_per_minute: 16, and one completion may have 16 tokens \(max_tokens\).* Raise it .*lower the step's"
    with pytest.raises(EngineError, match=words):
        drawn(sampler(server, tmp_path, tokens_per_minute=16), REQUESTS[:1])
    assert not server.asked


@pytest.mark.parametrize(
    ("fault", "settings", "limit"),
    [
        ((429, "", {"Retry-After": "0.3"}), {}, "the server's Retry-After"),
        (None, {"requests_per_minute": 200}, "requests_per_minute"),
        (None, {"tokens_per_minute": 1800}, "tokens_per_minute"),
    ],
)
def test_requests_that_wait_long_for_a_limit_say_so_once(
    server, tmp_path, monkeypatch, fault, settings, limit
):
    monkeypatch.setattr("lineal.engines.endpoints.client.QUIET_SECONDS", 0.1)
    said: list[str] = []
    server.faults.append(fault)
    engine = sampler(server, tmp_path, say=said.append, concurrency=1, **settings)
    drawn(engine, REQUESTS[:3])
    drawn(engine, REQUESTS[3:5])
    assert said == [f"compute.endpoints.judge: requests wait for {limit}; the next goes in 0 s at most"]


def test_requests_that_wait_for_a_moment_say_nothing(server, tmp_path):
    said: list[str] = []
    drawn(sampler(server, tmp_path, say=said.append, requests_per_minute=1200), REQUESTS[:4])
    assert not said


def test_pace_spreads_units_and_takes_back_what_was_not_needed():
    pace = RatePace(60)
    assert pace.wait() <= 0
    pace.take(10)
    assert 9 < pace.wait() <= 10
    pace.give_back(8)
    assert 1 < pace.wait() <= 2
    assert RatePace(None).wait() <= 0


def test_budget_stops_before_it_is_exceeded_and_counts_what_was_spent_before(server, tmp_path):
    path, limit = tmp_path / "unsaved.jsonl", 130
    with pytest.raises(
        EngineError, match=r"max_tokens_total: \d+ of 130 tokens are spent, and the next request may take 84"
    ):
        SavedSampler(sampler(server, tmp_path, max_tokens_total=limit), path, {}).sample(REQUESTS, SETTINGS)
    first = len(server.answered)
    assert 4 <= first < len(REQUESTS) and limit - 84 < server.tokens <= limit
    with pytest.raises(EngineError, match="What is finished is kept"):
        SavedSampler(sampler(server, tmp_path, max_tokens_total=limit), path, {}).sample(REQUESTS, SETTINGS)
    assert len(server.answered) == first
    facts: dict[str, object] = {}
    SavedSampler(sampler(server, tmp_path, facts, max_tokens_total=10**6), path, facts).sample(
        REQUESTS, SETTINGS
    )
    assert len(server.answered) == len(REQUESTS)
    assert facts["prompt_tokens"] + facts["completion_tokens"] == server.tokens


def test_cost_is_that_of_all_tokens_whether_or_not_the_step_was_resumed(server, tmp_path):
    facts: dict[str, object] = {}
    price = {"prompt": 2.0, "completion": 8.0, "currency": "EUR"}
    drawn(sampler(server, tmp_path, facts, price=price), REQUESTS[:2])
    drawn(sampler(server, tmp_path, facts, price=price), REQUESTS[2:4])
    assert facts["prompt_tokens"] == 4 * 5 and facts["completion_tokens"] == 4 * 4
    assert facts["cost"] == pytest.approx((20 * 2 + 16 * 8) / 1e6) and facts["currency"] == "EUR"
    assert sampler(server, tmp_path, again := {}, price=price) and again == facts


def test_a_slow_server_holds_back_nobody_but_its_own_request(server, tmp_path):
    server.faults.append("stall")
    started, places = time.monotonic(), []
    with pytest.raises(EngineError, match="no answer within 1 s"):
        for place, _ in sampler(server, tmp_path, retries=0, timeout_seconds=1, concurrency=2).stream(
            REQUESTS, SETTINGS
        ):
            places.append((place, time.monotonic() - started))
    assert len(places) == len(REQUESTS) - 1 and all(seconds < 0.9 for _, seconds in places)


# -- whether it samples -------------------------------------------------------------------------------------------------

TWICE = [Request(f"{number}=", seed) for number in range(10, 42) for seed in (1, 2)]
OTHER = {"choices": [{"text": "other", "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("requests", "temperature", "faults", "times"),
    [
        (TWICE, 0.7, [], 1),
        (TWICE * 2, 0.7, [], 1),
        (TWICE[:-1], 0.7, [], 0),
        (TWICE, 0.0, [], 0),
        (TWICE, 0.7, [OTHER], 0),
        (TWICE, 0.7, [None] * 63 + [OTHER], 0),
    ],
)
def test_server_that_answers_many_prompts_alike_is_told_of_once(
    server, tmp_path, requests, temperature, faults, times
):
    said: list[str] = []
    server.faults += faults
    engine = sampler(
        server, tmp_path, say=said.append, seed=False, concurrency=1
    )  # without a seed, the server answers alike
    drawn(engine, requests, SamplingSettings(temperature=temperature, max_tokens=16))
    assert len(said) == times and all(
        "all answers to each of 32 prompts are alike at temperature 0.7" in line for line in said
    )
