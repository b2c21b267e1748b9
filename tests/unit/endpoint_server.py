"""A small server of the OpenAI API in threads of the test, with faults to order."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EndpointServer(ThreadingHTTPServer):
    """Answers like the fake engine: the letters of the prompt up or down, by the seed.

    Attributes:
        models: what it lists; None: it doesn't list.
        listing_faults: status and body that the next requests for the list meet instead.
        faults: what the next completion requests meet instead: a status with body and headers, JSON, or a word of `Handler`.
        asked: bodies of all completion requests, in order, each with its path.
        answered: bodies of those that were answered well.
        times: when each request came.
        answer: makes the answer to a request's body.
        stall_after: stalls once so many are answered.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.models, self.faults, self.stall_after = ["judge"], deque(), None
        self.listing_faults = deque()
        self.asked, self.answered, self.headers, self.times = [], [], [], []
        self.lock, self.closing = threading.Lock(), threading.Event()
        self.now = self.most = self.tokens = 0
        self.delay = 0.0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request, client_address):
        """Clients may go away."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.headers.append(dict(self.headers))
        if self.server.listing_faults:
            self.reply(*self.server.listing_faults.popleft())
        elif self.server.models is None:
            self.reply(404, {"detail": "Not Found"})
        else:
            self.reply(200, {"object": "list", "data": [{"id": name} for name in self.server.models]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append({**body, "path": self.path})
            server.headers.append(dict(self.headers))
            server.times.append(time.monotonic())
            server.now += 1
            server.most = max(server.most, server.now)
            fault = server.faults.popleft() if server.faults else None
            if server.stall_after is not None and len(server.answered) >= server.stall_after:
                fault = "stall"
            elif fault is None:
                server.answered.append(body)
        try:
            self.meet(fault, server.answer(body))
        finally:
            with server.lock:
                server.now -= 1

    def meet(self, fault, whole):
        if fault is None:
            self.server.closing.wait(self.server.delay)
            self.server.tokens += sum(whole["usage"].values())
            self.reply(200, whole)
        elif fault == "stall":
            self.server.closing.wait()
        elif fault == "drop":
            self.close_connection = True
        elif fault == "half":  # a whole HTTP answer that holds half of the JSON
            text = json.dumps(whole)
            self.reply(200, text[: len(text) // 2])
        elif fault == "torn":  # half of an HTTP answer
            self.reply(200, json.dumps(whole), missing=10)
            self.close_connection = True
        elif isinstance(fault, dict):
            self.reply(200, {**whole, **fault})
        else:
            self.reply(*fault)

    def reply(self, status, body="", headers=(), missing=0):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) - missing])


def completion(body):
    """The answer to a request: up with an odd seed, down with an even one; 'Score: n' to a judge's prompt."""
    chat = "messages" in body
    prompt = body["messages"][-1]["content"] if chat else body["prompt"]
    prompt = prompt if isinstance(prompt, str) else prompt[-1]["text"]
    letters = sorted(prompt.strip("="))
    text = "".join(letters if body.get("seed", 0) % 2 else reversed(letters))
    if "Score" in prompt:
        text = f"It sorts. Score: {len(letters) % 6}"
    return answered(body, prompt, text)


def answered(body, prompt, text):
    """A text as the answer to a request, cut at the most tokens that it asks for: each letter is one."""
    chat = "messages" in body
    text = text[: body.get("max_tokens", 64)]
    choice = {"index": 0, "finish_reason": "stop" if len(text) < body.get("max_tokens", 64) else "length"}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"logprob": -0.5}] * 3} if chat else {"token_logprobs": [-0.25] * 4}
    return {
        "choices": [choice],
        "usage": {"prompt_tokens": len(prompt) + 1, "completion_tokens": len(text) + 1},
    }


@contextmanager
def endpoint_server(answer=completion):
    """A running server."""
    server = EndpointServer(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
