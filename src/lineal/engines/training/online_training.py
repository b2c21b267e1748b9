"""Online training with TRL's GRPO: the model samples and a judge rewards. Same data, settings and seed, same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lineal.data.conversations import Prompt, short, shown_prompt
from lineal.engines.models.checkpoints import positions_of, quiet, vocabulary_of
from lineal.engines.models.sight import Images
from lineal.engines.text.tokens import (
    Answer,
    encode_pairs,
    encode_prompts,
    is_chat,
    leads_of,
    load_tokenizer,
    stop_ids,
)
from lineal.engines.text.turns import Turns, Visit
from lineal.engines.text.vocabulary import ids_without_token
from lineal.engines.training.grpo_trainer import grpo_trainer
from lineal.engines.training.hooked_trainer import Hooks
from lineal.engines.training.job import Loaded, TrainingJob
from lineal.engines.training.train import run_training
from lineal.errors import EngineError

if TYPE_CHECKING:
    from lineal.engines.sampling.live_policy import LivePolicy
    from lineal.engines.sampling.rollouts import RolloutJudge
    from lineal.engines.training.settings import TrainingSettings
    from lineal.engines.training.train import TrainingReport


@dataclass(frozen=True, kw_only=True)
class GrpoSettings:
    """The settings of GRPO (arXiv:2402.03300) besides those of any training.

    Attributes:
        samples: completions per prompt, the group G that advantages are relative to.
        temperature, top_p, top_k: how completions are drawn; 1.0 and 0 switch the filters off.
        max_tokens: the longest completion, eos included.
        updates_per_generation: optimizer steps that share out one generation's completions.
        iterations: passes over one generation, the paper's mu.
        beta: weight of the divergence from the initial checkpoint; 0 loads no reference.
        epsilon, epsilon_high: how far the ratio may fall and rise before it is clipped.
        loss: how token losses are aggregated, by TRL's name.
        scale_rewards: what advantages are divided by: the group's deviation, the batch's, or nothing.
        importance_sampling_level: ratios of tokens, or of whole completions (GSPO, arXiv:2507.18071).
        mask_truncated: whether truncated completions are excluded from the loss.
    """

    samples: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int
    updates_per_generation: int = 1
    iterations: int = 1
    beta: float = 0.0
    epsilon: float = 0.2
    epsilon_high: float | None = None
    loss: str = "dapo"
    scale_rewards: str = "group"
    importance_sampling_level: str = "token"
    mask_truncated: bool = False

    def completions_at_once(self, settings: TrainingSettings) -> int:
        """Returns the number of completions of one generation."""
        return settings.batch_size * settings.gradient_accumulation * self.updates_per_generation

    def generations(self, settings: TrainingSettings, prompts: int) -> int:
        """Returns how often the training samples: enough for its steps, or to give every prompt its epochs."""
        if settings.steps is not None:
            return ceil(settings.steps / (self.updates_per_generation * self.iterations))
        assert settings.epochs is not None
        return ceil(settings.epochs * prompts * self.samples / self.completions_at_once(settings))

    def learned(self, settings: TrainingSettings, prompts: int) -> int:
        """Returns how many completions the training learns from."""
        return self.generations(settings, prompts) * self.completions_at_once(settings)

    def with_steps(self, settings: TrainingSettings, prompts: int) -> TrainingSettings:
        """Returns the settings with the number of steps for their epochs, where they have epochs."""
        if settings.steps is not None:
            return settings
        steps = self.generations(settings, prompts) * self.updates_per_generation * self.iterations
        return replace(settings, steps=steps, epochs=None)

    def applied(self, job: TrainingJob, prompts: int) -> TrainingJob:
        """Returns the job with its number of steps; without saves where steps share a generation: a save would lose its rest."""
        execution = job.execution
        if self.updates_per_generation * self.iterations > 1:
            execution = replace(execution, saves=None)
        return replace(job, settings=self.with_steps(job.settings, prompts), execution=execution)

    def arguments(self, gradient_accumulation: int) -> dict[str, Any]:
        """Returns the arguments by TRL's names, whose `steps_per_generation` counts forward passes."""
        return {
            "num_generations": self.samples,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "max_completion_length": self.max_tokens,
            "num_iterations": self.iterations,
            "beta": self.beta,
            "steps_per_generation": self.updates_per_generation * gradient_accumulation,
            "epsilon": self.epsilon,
            "epsilon_high": self.epsilon_high,
            "loss_type": self.loss,
            "scale_rewards": self.scale_rewards,
            "importance_sampling_level": self.importance_sampling_level,
            "mask_truncated_completions": self.mask_truncated,
            "shuffle_dataset": False,
        }


@dataclass(frozen=True)
class Vllm:
    """Sampling by vLLM instead of transformers: faster, and not bit for bit the same.

    Attributes:
        mode: inside this process ('colocate'), or by a server that takes the weights of each step.
        server: the server's address.
    """

    mode: Literal["colocate", "server"]
    server: str

    def arguments(self, stops: Sequence[int]) -> dict[str, Any]:
        """Returns the arguments by TRL's names; `stops` are the tokens that end a completion."""
        server = {"vllm_server_base_url": self.server} if self.mode == "server" else {}
        own = {"generation_kwargs": {"stop_token_ids": list(stops)}}
        return {"use_vllm": True, "vllm_mode": self.mode, **server, **own}


@dataclass(frozen=True)
class OnlinePrompts:
    """The prompts of an online training, in an order that is part of the identity.

    Attributes:
        prompts: the prompts.
        images: by prompt the digests of its pictures; empty where the job has no pictures.
        beside: by a prompt's place, completions from outside; one joins each of its groups, in the place of the last sample.
    """

    prompts: Sequence[Prompt]
    images: Sequence[Images] = ()
    beside: Mapping[int, Sequence[Answer]] = field(default_factory=dict)


NO_HOOKS = Hooks()


def train_grpo(
    job: TrainingJob,
    given: OnlinePrompts,
    judge: RolloutJudge,
    grpo: GrpoSettings,
    vllm: Vllm | None = None,
    hooks: Hooks = NO_HOOKS,
) -> TrainingReport:
    """Trains a checkpoint on what it samples itself.

    Prompts come in shuffled order, and in another one every epoch. A generation may reach over an epoch's end, so none is
    left out; with `epochs` the last generation is filled up with prompts of a further one.

    Args:
        job: its `init` is the reference too where `beta` is above 0; the settings' `max_tokens` is ignored. It saves only
            where every step has a generation of its own.
        given: what to sample.
        judge: rewards each generation, and then gets its advantages.
        grpo: GRPO's own.
        vllm: samples with vLLM.
        hooks: what takes part beside the judge.

    Raises:
        EngineError: a prompt or a completion from outside is too long or has unknown characters, the checkpoint does not fit
            the settings, or vLLM does not run.
    """
    if vllm is not None:
        require_vllm(vllm, bool(given.beside), job.pictures is not None)
    tokenizer, prompts = load_tokenizer(job.init.directory), given.prompts
    stops = stop_ids(tokenizer, [], any(is_chat(prompt, job.settings.chat) for prompt in prompts))
    arguments = grpo.arguments(job.settings.gradient_accumulation) | (vllm.arguments(stops) if vllm else {})
    total = grpo.learned(job.settings, len(prompts))
    job = grpo.applied(job, len(prompts))

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch, job.sight())
        turns, outside = _turns(loaded, given, grpo.max_tokens), _outside(loaded, given, grpo.max_tokens)
        taking_part = replace(hooks, outside=outside, sight=loaded.sight)
        how = arguments | _generating(arguments, _never(loaded), vllm)
        with quiet(), _explained(vllm), _stopping_at(model, stops):
            trainer = grpo_trainer(loaded, turns, total, judge, how, taking_part)
        require_one_process(trainer.accelerator.num_processes)
        lend(hooks.policy, loaded)
        return trainer

    return run_training(job, prepare, len(prompts))


def _turns(loaded: Loaded, given: OnlinePrompts, max_tokens: int) -> Turns:
    """Returns the order in which prompts are sampled, with their pictures and token ids.

    Raises:
        EngineError: one is too long, or has unknown characters.
    """
    tokenizer, chat, prompts = loaded.tokenizer, loaded.settings.chat, given.prompts
    images = given.images or [()] * len(prompts)
    ids = encode_prompts(tokenizer, prompts, chat)
    leads = leads_of(tokenizer, prompts, ids, chat)
    if loaded.sight is not None:
        ids = [loaded.sight.placed(*row, chat) for row in zip(prompts, ids, images, strict=True)]
    _refuse_long(prompts, ids, max_tokens, positions_of(loaded.model.config))
    texts = [shown_prompt(prompt) for prompt in prompts]
    seed = loaded.settings.seed
    return Turns(
        len(ids), seed, lambda at, number: Visit(at, number, texts[at], ids[at], leads[at], images[at])
    )


def _outside(loaded: Loaded, given: OnlinePrompts, most: int) -> dict[int, list[list[int]]]:
    """Returns the token ids of completions from outside.

    Raises:
        EngineError: one is longer than what the model may sample.
    """
    found: dict[int, list[list[int]]] = {}
    for place, answers in given.beside.items():
        prompt = given.prompts[place]
        pairs = encode_pairs(loaded.tokenizer, [(prompt, answer) for answer in answers], loaded.settings.chat)
        found[place] = [ids for _, ids in pairs]
        longest = max(map(len, found[place]))
        if longest > most:
            raise EngineError(
                f"grpo: a completion beside the samples of prompt {short(prompt)} has {longest} tokens, expected at most "
                f"max_tokens ({most}). Raise max_tokens, or drop such rows before."
            )
    return found


def _never(loaded: Loaded) -> list[int]:
    """Returns the ids that are never sampled: those without a token, and those that stand for pictures."""
    without_token = ids_without_token(loaded.tokenizer, vocabulary_of(loaded.model.config))
    return [*without_token, *([] if loaded.sight is None else loaded.sight.never)]


def lend(policy: LivePolicy | None, loaded: Loaded) -> None:
    """Passes the model in training to a judge that needs it."""
    if policy is not None:
        policy.hold(loaded.model, loaded.tokenizer, loaded.settings.precision != "fp32", loaded.sight)


def require_vllm(vllm: Vllm, beside: bool = False, pictures: bool = False) -> None:
    """Checks that vLLM can sample for a training in this process; of completions from outside and pictures it knows nothing.

    Raises:
        EngineError: it is not installed here, or there is no GPU.
    """
    import torch

    setting = f"compute.grpo_vllm: {vllm.mode}"
    if pictures:
        raise EngineError(
            f"{setting}: the prompts have pictures, which vLLM is not shown. Leave grpo_vllm out for this step"
        )
    if beside:
        fix = "Leave grpo_vllm out to sample with transformers"
        raise EngineError(
            f"{setting}: vLLM says how likely its own samples are and not those of beside. {fix}"
        )
    if find_spec("vllm") is None:
        fix = "Install one that TRL knows (pip install 'trl[vllm]') into the interpreter that trains, or leave grpo_vllm out"
        raise EngineError(f"{setting} needs the package vllm, which is not installed here. {fix}")
    if not torch.cuda.is_available():
        raise EngineError(
            f"{setting} needs a GPU, and torch finds none here. Leave grpo_vllm out to sample with transformers"
        )


def _generating(arguments: Mapping[str, Any], never: Sequence[int], vllm: Vllm | None) -> dict[str, Any]:
    """Returns TRL's `generation_kwargs` that exclude some ids from sampling; a vLLM server has no such option."""
    if not never or (vllm is not None and vllm.mode == "server"):
        return {}
    own = {"suppress_tokens": list(never)} if vllm is None else {"logit_bias": dict.fromkeys(never, -100.0)}
    return {"generation_kwargs": {**arguments.get("generation_kwargs", {}), **own}}


@contextmanager
def _stopping_at(model: Any, stops: Sequence[int]) -> Iterator[None]:
    """Makes TRL find in the model that these tokens end a completion too; the model itself stays unchanged."""
    declared = model.generation_config.eos_token_id
    known = declared if isinstance(declared, list) else [] if declared is None else [declared]
    model.generation_config.eos_token_id = [*known, *(stop for stop in stops if stop not in known)]
    try:
        yield
    finally:
        model.generation_config.eos_token_id = declared


@contextmanager
def _explained(vllm: Vllm | None) -> Iterator[None]:
    """Names the setting that asked for a vLLM that does not start."""
    try:
        yield
    except (ImportError, ValueError, OSError) as error:
        if vllm is None:
            raise
        where = f" at {vllm.server} (compute.grpo_vllm_server)" if vllm.mode == "server" else ""
        raise EngineError(f"compute.grpo_vllm: {vllm.mode}: vLLM{where} does not start: {error}") from error


def _refuse_long(
    prompts: Sequence[Prompt], ids: Sequence[Sequence[int]], max_tokens: int, positions: int | None
) -> None:
    longest = max(range(len(ids)), key=lambda place: len(ids[place]))
    if positions is not None and len(ids[longest]) + max_tokens > positions:
        fix = (
            "Lower max_tokens" if max_tokens >= positions else "Lower max_tokens or drop such prompts before"
        )
        raise EngineError(
            f"grpo: prompt {short(prompts[longest])} has {len(ids[longest])} tokens, with max_tokens {max_tokens} that is more "
            f"than the {positions} positions of the model. {fix}."
        )


def require_one_process(processes: int) -> None:
    """Checks that a training runs in one process.

    Raises:
        EngineError: it does not.
    """
    if processes > 1:
        raise EngineError(
            f"grpo: got {processes} processes, expected 1: rollouts of several processes are not put together yet. "
            "Train in one process, and sample with vLLM on more GPUs (compute.grpo_vllm: server)."
        )
