"""Losses over pairs that TRL's DPO trainer does not have, as functions of a batch's log-probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from lineal.engines.models.sight import PIXELS

if TYPE_CHECKING:
    import torch

IGNORED_LABEL = -100
LARGEST_LOGP = -1e-6
"""Odds are infinite at a log-probability of 0; a mean this near to it learns no more."""


@dataclass(frozen=True)
class PairBatch:
    """A batch of pairs: the chosen completions' rows, and below them the rejected ones'.

    Attributes:
        logps: of each token after the first, (2 * pairs, tokens - 1); 0 where a loss does not learn.
        completion: 1 at the completions' tokens, 0 elsewhere; (2 * pairs, tokens - 1).
        known: columns of the pairs by name, each (pairs,): the reference's log-probabilities, weights, margins.
        evening: the factor of a loss per token beside a loss per pair, so that all tokens of an optimizer step weigh
            the same, however it is cut into batches.
    """

    logps: torch.Tensor
    completion: torch.Tensor
    known: Mapping[str, torch.Tensor]
    evening: float = 1.0

    def sums(self) -> Sequence[torch.Tensor]:
        """Returns the log-probabilities of the chosen and of the rejected completions, (pairs,) each."""
        return self.logps.mul(self.completion).sum(1).chunk(2)

    def means(self) -> Sequence[torch.Tensor]:
        """Returns the same per token."""
        return (self.logps.mul(self.completion).sum(1) / self.completion.sum(1)).chunk(2)

    def told(self, share: float) -> torch.Tensor:
        """Returns the chosen completions' log-probability per token, each pair's times its weight, all times `share`."""
        return (
            self.evening
            * share
            * (self.known.get("weight", 1.0) * self.sums()[0]).sum()
            / self.completion.chunk(2)[0].sum()
        )


class PairLoss(Protocol):
    """A loss over pairs; `learns_prompts` where the prompts' tokens count too."""

    learns_prompts: ClassVar[bool]

    def __call__(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the loss, and by how much each pair's chosen completion leads, (pairs,)."""
        ...


@dataclass(frozen=True)
class SigmoidLoss:
    """The mean of weight * DPO's sigmoid loss (arXiv:2305.18290, equation 7), with a margin that the lead must reach.

    Margins are subtracted inside the sigmoid (arXiv:2402.10571, equation 3). With NLL it adds weight * the chosen tokens' loss,
    divided by the optimizer step's chosen tokens. Weights of 1 without margins give what TRL computes with the losses `sigmoid`
    and `sft`.
    """

    learns_prompts: ClassVar[bool] = False
    beta: float
    nll_weight: float

    def __call__(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.nn.functional import logsigmoid

        chosen, rejected = batch.sums()
        lead = chosen - batch.known["ref_chosen_logps"] - (rejected - batch.known["ref_rejected_logps"])
        scaled = self.beta * lead
        if "margin" in batch.known:
            scaled = scaled - batch.known["margin"]
        loss = -(batch.known.get("weight", 1.0) * logsigmoid(scaled)).mean()
        return (loss - batch.told(self.nll_weight) if self.nll_weight else loss), lead


@dataclass(frozen=True)
class SimpoLoss:
    """SimPO (arXiv:2405.14734, equation 6): log-probabilities per token, a margin for all pairs, and no reference.

    Attributes:
        beta: the paper's beta.
        gamma: the margin that the scaled lead must reach.
        nll_weight: weight of the chosen completions' loss per token beside it.
    """

    learns_prompts: ClassVar[bool] = False
    beta: float = 2.0
    gamma: float = 0.5
    nll_weight: float = 0.0

    def __call__(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.nn.functional import logsigmoid

        chosen, rejected = batch.means()
        loss = -logsigmoid(self.beta * (chosen - rejected) - self.gamma).mean()
        return (loss - batch.told(self.nll_weight) if self.nll_weight else loss), chosen - rejected


@dataclass(frozen=True)
class OrpoLoss:
    """ORPO (arXiv:2403.07691, equations 6 and 7): supervised learning of the chosen rows, and the log odds ratio beside it.

    As in the authors' code and in TRL the supervised part is over prompt and completion.

    Attributes:
        beta: weight of the odds ratio, the paper's lambda.
    """

    learns_prompts: ClassVar[bool] = True
    beta: float = 0.1

    def __call__(self, batch: PairBatch) -> tuple[torch.Tensor, torch.Tensor]:
        from torch.nn.functional import logsigmoid

        chosen, rejected = (logp.clamp(max=LARGEST_LOGP) for logp in batch.means())
        lead = (chosen - rejected) - (_log_of_rest(chosen) - _log_of_rest(rejected))
        whole = batch.logps.chunk(2)[0]
        nll = -batch.evening * whole.sum() / batch.known["learnt"].chunk(2)[0].sum()
        return nll - self.beta * logsigmoid(lead).mean(), lead


def _log_of_rest(logp: torch.Tensor) -> torch.Tensor:
    """Computes log(1 - exp(logp)), exact near 0 and far below it."""
    import torch

    return torch.where(logp > -0.6931, (-logp.expm1()).log(), (-logp.exp()).log1p())


def pair_batch(
    model: Any, inputs: Mapping[str, Any], learns_prompts: bool, evening: float = 1.0
) -> PairBatch:
    """Computes the log-probabilities of a collated batch of TRL's DPO trainer."""
    completion, attention = inputs["completion_mask"], inputs["attention_mask"]
    learnt = attention if learns_prompts else completion
    labels = inputs["input_ids"].masked_fill(learnt == 0, IGNORED_LABEL)
    call = {name: inputs[name] for name in ("input_ids", "attention_mask", *PIXELS) if name in inputs}
    logps = model(**call, use_cache=False, labels=labels, fused_lm_head=True).log_probs
    known = {
        name: inputs[name]
        for name in ("ref_chosen_logps", "ref_rejected_logps", "weight", "margin")
        if name in inputs
    }
    return PairBatch(logps, completion[:, 1:], {**known, "learnt": learnt[:, 1:]}, evening)
