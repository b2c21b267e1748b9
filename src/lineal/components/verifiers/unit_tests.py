"""Completions that are Python functions, judged by tests that they never see.

Sets with such tests: MBPP (arXiv:2108.07732), HumanEval (arXiv:2107.03374).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import pydantic

from lineal.components.base import Columns, Workspace, merged
from lineal.components.isolated.pool import WorkerPool
from lineal.components.verifiers.assertions import Tests, read_tests
from lineal.components.verifiers.base import ERROR, FAIL, PASS
from lineal.components.verifiers.programs import Answered, ProgramVerdict, ProgramVerifier, told

JUDGE = "lineal.components.verifiers.assertion_judge:judge"


class UnitTests(ProgramVerifier):
    """Passes a program of which every assertion in the column `tests` holds; the score is the share that does.

    Judging has the same limit of processor time as the program.
    """

    version: ClassVar[int] = 3
    reads: ClassVar[Columns] = ("completion", "tests")
    _judge: WorkerPool | None = pydantic.PrivateAttr(default=None)

    def needs(self) -> dict[str, Columns]:
        """Returns the columns that it reads; the prompt says what the program must define."""
        return {"rows": merged(self.reads, ("prompt",))}

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Opens sandboxes for programs, and processes that judge their answers."""
        with (
            super().ready(workspace),
            WorkerPool(JUDGE, workspace.compute.worker_count, float(self.timeout)) as judge,
        ):
            self._judge = judge
            yield
        self._judge = None

    def asks(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all assertions' calls, one after the other; or the tests themselves, which make their own requests."""
        tests = _tests(row)
        if tests.examination is not None:
            return {"imports": tests.imports, "tests": tests.examination.job}
        return {
            "imports": tests.imports,
            "calls": tuple(call for test in tests.assertions for call in test.calls),
        }

    def outcomes(self, answered: Iterable[Answered]) -> Iterator[ProgramVerdict]:
        """Computes the assertions from the calls' values, in processes that may be slow, die or be killed."""
        assert self._judge is not None
        places: list[ProgramVerdict | None] = []

        def lines() -> Iterator[dict[str, Any]]:
            for each in answered:
                examined = "tests" in each.asked
                places.append(_examined(_tests(each.row), each.line) if examined else None)
                if not examined:
                    line = each.line.decode("latin-1")
                    yield {"tests": each.row["tests"], "prompt": each.row.get("prompt") or "", "line": line}

        judged = self._judge.map(lines())
        return (_outcome(next(judged)) if outcome is None else outcome for outcome in places)


def _tests(row: Mapping[str, Any]) -> Tests:
    return read_tests(row["tests"], row.get("prompt") or "")


def _outcome(reply: Mapping[str, Any]) -> ProgramVerdict:
    """Returns the judge's verdict; values that are too much for it are wrong ones."""
    if "error" in reply:
        return ProgramVerdict(FAIL, 0.0, f"judging it {reply['error']}")
    held, count, detail = reply["answer"]
    return ProgramVerdict(PASS if held == count else FAIL, held / count, detail and told(detail))


def _examined(tests: Tests, line: bytes) -> ProgramVerdict:
    """Returns the outcome of tests that ran in a sandbox of their own."""
    assert tests.examination is not None
    texts, found = tests.examination.texts, json.loads(line)
    failed, ended = {int(number): text for number, text in found["failed"].items()}, found["ended"]
    if not found["answers"] and not failed:
        return ProgramVerdict(
            ERROR, None, told(f"the tests cannot be run: {ended or 'they never ask the program anything'}")
        )
    if not failed and ended is None:
        return ProgramVerdict(PASS, 1.0, None)
    held = (found["reached"] if ended is not None else len(texts)) - len(failed)
    first = min(failed, default=None)
    detail = f"the tests ended early: {ended}"
    if first is not None:
        detail = f"test {first + 1} of {len(texts)}: {texts[first][:120]}: {failed[first]}"
    return ProgramVerdict(FAIL, held / len(texts), told(detail))
