"""`choice_likelihood`: the option of a multiple-choice prompt that a model finds likeliest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import exp, fsum
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import PrivateAttr

from lineal.components.base import Columns, ModelRef, Workspace
from lineal.components.selectors.query import with_columns
from lineal.components.trainers.ends import EndsSetting, answers_with_ends
from lineal.components.verifiers.base import ERROR, FAIL, PASS, VERDICT, Verifier
from lineal.components.verifiers.choice import LETTERS, options_of, right_option
from lineal.data.conversations import Prompt, prompts_of
from lineal.data.schema import arrow_type
from lineal.engines.factory import open_likelihood
from lineal.engines.sampling.protocols import LikelihoodSource

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.data.progress import Progress
    from lineal.engines.sampling.scoring import Pair

Told = tuple[str, float | None, str | None]


class ChoiceLikelihood(Verifier):
    """Passes a prompt of whose options the scorer finds the right one likeliest.

    The score is that option's share of the likelihood. It needs no completion; columns are as for `choice`.
    Two options that are equally likely are a failure: the model has not chosen.

    Attributes:
        scorer: the checkpoint that is asked.
        continuation: what follows the prompt: the option's text, or its letter.
        before: put between the prompt and the continuation, such as a space.
        per_token: whether log-probabilities are divided by the continuation's tokens, so that length does not count.
        chat: whether prompts pass through the tokenizer's chat template.
        ends: whether an end follows each option and is scored with it.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)
    reads: ClassVar[Columns] = ("prompt", "answer", "options")

    scorer: ModelRef
    continuation: Literal["text", "letter"] = "text"
    before: str = ""
    per_token: bool = False
    chat: bool = False
    ends: EndsSetting = True
    _model: LikelihoodSource = PrivateAttr()

    @contextmanager
    def ready(self, workspace: Workspace) -> Iterator[None]:
        """Loads the model."""
        self._model = open_likelihood(workspace, "scorer")
        yield

    def judge(self, table: pa.Table, progress: Progress) -> pa.Table:
        """Scores every option of every row."""
        rows = table.select(list(self.reads)).to_pylist()
        return self._columns(self._told(rows, prompts_of(table), self._model, progress.advance))

    def run(self, workspace: Workspace) -> None:
        """Judges all rows, slice by slice."""

        def transform(table: pa.Table, progress: Progress) -> pa.Table:
            with workspace.timed("score"):
                return with_columns(table, self.judged(table, progress))

        with self.ready(workspace):
            workspace.map_rows(workspace.rows("rows"), transform)
        self.finish(workspace)

    def _told(
        self,
        rows: list[dict[str, Any]],
        prompts: list[Prompt],
        model: LikelihoodSource,
        advance: Callable[[int], None],
    ) -> list[Told]:
        read = [self._read(row, prompt) for row, prompt in zip(rows, prompts, strict=True)]
        pairs = [pair for found in read if not isinstance(found, str) for pair in found[1]]
        scored = iter(model.score(pairs, self.chat))
        told: list[Told] = []
        for found in read:
            if isinstance(found, str):
                told.append((ERROR, None, found))
                continue
            likelihoods = [next(scored) for _ in found[1]]
            told.append(
                _judged(
                    found[0], [one.logprob / (one.tokens if self.per_token else 1) for one in likelihoods]
                )
            )
        advance(len(rows))
        return told

    def _read(self, row: dict[str, Any], prompt: Prompt) -> tuple[int, list[Pair]] | str:
        """Returns the right option's place and each option as a pair to score; else the problem of the row."""
        missing = [name for name in self.reads if row[name] is None]
        if missing:
            return f"the row has no {missing[0]}"
        try:
            options = options_of(row["options"])
            right = right_option(row["answer"], options)
        except ValueError as error:
            return str(error)
        texts = options if self.continuation == "text" else LETTERS[: len(options)]
        return right, [
            (prompt, answer)
            for answer in answers_with_ends([self.before + text for text in texts], self.ends)
        ]

    def _columns(self, told: list[Told]) -> pa.Table:
        import pyarrow as pa

        values = list(zip(*told, strict=True)) if told else [(), (), ()]
        return pa.table(
            {
                self.column(name): pa.array(column, arrow_type(name))
                for name, column in zip(VERDICT, values, strict=True)
            }
        )


def _judged(right: int, logprobs: Sequence[float]) -> Told:
    best = max(logprobs)
    share = exp(logprobs[right] - best) / fsum(exp(logprob - best) for logprob in logprobs)
    leaders = [place for place, logprob in enumerate(logprobs) if logprob == best]
    if leaders == [right]:
        return PASS, share, None
    return (
        FAIL,
        share,
        f"chose {LETTERS[leaders[0]]}" if len(leaders) == 1 else "several options are equally likely",
    )
