"""`text_metric`: how much of the reference a text shares, by the metrics of machine translation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal

from lineal.components.base import Columns, missing_package
from lineal.components.verifiers.base import Share
from lineal.components.verifiers.scored import ThresholdVerifier

DECIMALS = 6


class TextMetric(ThresholdVerifier):
    """Scores a completion by sacrebleu against the answer, from 0 to 1; passes from `threshold` on.

    Attributes:
        metric: 'chrf' (n-grams of letters), 'chrf++' (of words too), or 'bleu' of the one sentence, without the orders of
            n-grams for which it is too short. BLEU is made for whole corpora, and coarse for single sentences.
        threshold: the least score that is a pass.
    """

    function: ClassVar[str] = "lineal.components.verifiers.text_metric:score_text"
    reads: ClassVar[Columns] = ("completion", "answer")

    metric: Literal["chrf", "chrf++", "bleu"] = "chrf"
    threshold: Share

    def lacks(self) -> list[str]:
        return missing_package("sacrebleu", "sacrebleu", "text-metric")

    def also_sent(self) -> dict[str, Any]:
        """Returns further arguments of the function."""
        return {"metric": self.metric}


def prepare() -> None:
    """Imports what scoring needs.

    Raises:
        ModuleNotFoundError: sacrebleu is not installed; says how to.
    """
    try:
        import sacrebleu  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{error}; install it: pip install 'lineal[text-metric]'") from error


def score_text(row: Mapping[str, str]) -> tuple[float, None]:
    """Scores one row. Runs in a child process.

    Raises:
        ValueError: the reference is empty.
    """
    if not row["answer"].strip():
        raise ValueError("the reference answer is empty")
    return round(
        _metric(row["metric"]).sentence_score(row["completion"], [row["answer"]]).score / 100, DECIMALS
    ), None


@cache
def _metric(name: str) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(effective_order=True) if name == "bleu" else CHRF(word_order=2 if name == "chrf++" else 0)
