"""`grpo`: online training with TRL's GRPO, rewarded by verifiers; its samples are kept as rows of their own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from annotated_types import Ge, Gt
from pydantic import Field, PrivateAttr, model_validator

from lineal.components.base import Columns, ModelRef, Output, RowsRef, Surroundings, Workspace, merged
from lineal.components.generators.drawing import require_distinct
from lineal.components.generators.sample import KeepsIds
from lineal.components.generators.temperatures import TopK, TopP, Warm
from lineal.components.playing.rows import EPISODES
from lineal.components.trainers.base import LearningRate, Trainer, checkpoint_in
from lineal.components.trainers.episodes import EnvironmentSetting, Rewarding, TrainingEpisodes, imagine
from lineal.components.trainers.judges import PROBE, REWARDS, KeepBest, Refill, judges_of
from lineal.components.trainers.lora import Lora
from lineal.components.trainers.outside import BESIDE, OUTSIDE, BesideRows
from lineal.components.trainers.preference import Factor
from lineal.components.trainers.rollouts import (
    REPLACED,
    ROLLOUT_COLUMNS,
    ROLLOUTS,
    Rollouts,
    WeightedVerifier,
    no_rollouts,
    rollout_columns,
)
from lineal.components.verifiers.base import AddsColumns
from lineal.components.verifiers.embedded import (
    columns_read,
    identity_of,
    live_fields,
    ready,
)
from lineal.data.conversations import prompts_of, require_answerable
from lineal.data.ids import digest_of
from lineal.data.media import IMAGES
from lineal.data.schema import row_key
from lineal.errors import DataError, EngineError, did_you_mean
from lineal.recipe.compute import Positive
from lineal.recipe.references import SELF, Accepts, ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa

    from lineal.engines.training.best_step import BestSettings
    from lineal.engines.training.online_training import GrpoSettings, Vllm
    from lineal.engines.training.refill import RefillSettings

Loss = Literal["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
OF_SEQUENCES: tuple[Loss, ...] = ("grpo", "sapo", "luspo")
"""Losses with one ratio per completion; in the others it would count once for every token."""


class Grpo(Trainer):
    """Group relative policy optimization (arXiv:2402.03300): samples of one prompt are better or worse than their mean.

    `NODE.rollouts` holds every completion that was sampled, with verdict, score, advantage, and the optimizer steps that the
    model had taken.

    Attributes:
        prompts: what to sample; several nodes' rows are put together in the order given.
        init: the checkpoint to start from, and the reference where `beta` is above 0.
        rewards: by a name of your choice, a verifier: its name, or its settings with `use:` and a `weight`. Where one takes a
            model, `self` is the model in training as it is at that optimizer step.
        environment: instead of `rewards`: the prompts are tasks, a sample is an episode, and what it is worth its environment
            says. The keys are those of `rollout` from `max_turns` on, and `reward`: 'return', or 'success' (1 or 0).
            `NODE.rollouts` holds the turns then, `NODE.episodes` the episodes; `samples` and `batch_size` count episodes, and
            `max_tokens` is a turn's.
        batch_size: completions per forward pass; together with `gradient_accumulation` and `updates_per_generation` it says
            how many are sampled at once, which decides every draw.
        probe: as `rewards`, verifiers that judge the rollouts and reward nothing: the truth beside a vote, say.
        keep_best: the checkpoint is that of the best optimizer step by a probe, see `KeepBest`; without it the last one's.
        beside: completions from outside, such as an expert's or hinted ones, by `prompt_id`: one joins each group of its prompt
            in the place of the last sample, and is judged and learned like the others.
        refill: groups that teach nothing are replaced by groups of the next prompts, see `Refill`.
        samples: completions per prompt, the group.
        temperature, top_p, top_k: how they are drawn.
        max_tokens: the longest completion; a longer one is cut, and fails.
        updates_per_generation: optimizer steps that share out one generation's completions.
        iterations: passes over one generation, GRPO's mu.
        beta: weight of the divergence from `init`.
        epsilon, epsilon_high: how far the ratio may fall and rise; `epsilon` for both where the other is left out.
        loss: by TRL's name.
        scale_rewards: what advantages are divided by.
        importance_sampling_level: ratios of tokens, or of whole completions (GSPO).
        mask_truncated: whether completions that were cut teach nothing.
        token_ids: keeps the ids of the drawn tokens in the rollouts; trainers learn these then.
        lora: trains an adapter instead of the full weights.
    """

    shares_training: ClassVar[bool] = False  # its rollouts are in the one process that samples them
    learns_from: ClassVar[str] = "prompts"
    sees: ClassVar[Columns] = ("prompts", BESIDE)

    prompts: RowsRef
    init: ModelRef
    rewards: dict[str, str | dict[str, Any]] = Field(default_factory=dict)
    environment: EnvironmentSetting = None
    probe: Annotated[dict[str, str | dict[str, Any]], Field(exclude_if=lambda value: not value)] = {}
    keep_best: Annotated[KeepBest | None, Field(exclude_if=lambda value: value is None)] = None
    beside: Annotated[RowsRef | None, Field(exclude_if=lambda value: value is None)] = None
    refill: Annotated[Refill | None, Field(exclude_if=lambda value: value is None)] = None
    samples: Annotated[int, Ge(2)] = 8
    temperature: Warm = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    max_tokens: Positive = 64
    updates_per_generation: Positive = 1
    iterations: Positive = 1
    beta: Factor = 0.0
    epsilon: Annotated[float, Gt(0)] = 0.2
    epsilon_high: Annotated[float, Gt(0)] | None = None
    loss: Loss = "dapo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    mask_truncated: bool = False
    token_ids: KeepsIds = False
    lora: Lora | None = None
    learning_rate: LearningRate = Field(default=1e-6)
    _judges: dict[str, WeightedVerifier] = PrivateAttr()
    """By place, `rewards.right`: the rewards, then the probes."""

    @model_validator(mode="after")
    def _generation_has_whole_groups(self) -> Self:
        sizes = (self.batch_size, self.gradient_accumulation, self.updates_per_generation)
        if all(isinstance(size, int) for size in (*sizes, self.samples)) and prod(sizes) % self.samples:
            product = "batch_size * gradient_accumulation * updates_per_generation"
            raise ValueError(
                f"{product} is {prod(sizes)}, but must be a multiple of samples ({self.samples})"
            )
        return self

    @model_validator(mode="after")
    def _level_fits_the_loss(self) -> Self:
        if self.importance_sampling_level == "sequence" and self.loss not in OF_SEQUENCES:
            raise ValueError(
                f"importance_sampling_level: sequence works with the losses {', '.join(OF_SEQUENCES)} only"
            )
        if self.loss == "luspo" and self.importance_sampling_level == "token":
            raise ValueError("loss: luspo needs importance_sampling_level: sequence")
        return self

    @model_validator(mode="after")
    def _one_kind_of_reward(self) -> Self:
        if bool(self.rewards) == (self.environment is not None):
            raise ValueError(
                f"give exactly one of {REWARDS} (of single completions) and environment (of episodes)"
            )
        if self.environment is not None and (self.probe or self.keep_best or self.refill or self.beside):
            raise ValueError(
                "environment: probe, keep_best, refill and beside are about single completions; leave them out"
            )
        if (
            self.environment is not None
            and self.environment.turn_advantage is not None
            and self.loss == "vespo"
        ):
            raise ValueError(
                "environment.turn_advantage: the loss vespo has one weight for a whole completion; take another"
            )
        if self.environment is not None and self.chat:
            raise ValueError("chat: with an environment, write it there, as environment.chat")
        return self

    @classmethod
    def parse(cls, settings: Mapping[str, Any], surroundings: Surroundings) -> Self:
        made = cls.model_validate(dict(settings))
        if made.environment is not None:
            made.environment.read_template(surroundings)
        made._judges = judges_of(made.rewards, made.probe, surroundings)
        made._require_fitting()
        return made

    def _require_fitting(self) -> None:
        rewards = [judge for judge in self._judges.values() if judge.weight is not None]
        if rewards and all(reward.weight == 0 for reward in rewards):
            raise ValueError(
                f"{REWARDS}: every weight is 0, so that no rollout is better than another. Give one a weight"
            )
        if self.refill is not None and not any("verdict" in reward.judge.added for reward in rewards):
            raise ValueError(
                "refill: no reward gives verdicts, so that groups have no pass rate. Add one that does, with weight 0"
            )
        if self.keep_best is not None and self.keep_best.probe not in self.probe:
            known = (
                did_you_mean(self.keep_best.probe, self.probe)
                if self.probe
                else "There is none: declare one under probe"
            )
            raise ValueError(f"keep_best.probe: {self.keep_best.probe!r} is no probe. {known}")
        if self.keep_best is not None and self.keep_optimizer:
            raise ValueError(
                "keep_optimizer: keep_best may write earlier weights than the state is of; drop one"
            )

    def embedded(self) -> dict[str, AddsColumns]:
        """Returns the verifiers of rewards and probes."""
        return {place: judge.judge for place, judge in self._judges.items()}

    def probed(self) -> dict[str, Columns]:
        return {
            ROLLOUTS: tuple(
                judge.judge.column("score") for judge in self._judges.values() if judge.weight is None
            )
        }

    def references(self) -> dict[str, tuple[list[str], Accepts]]:
        """Returns the references as of any component; `self` in a reward or probe is the model in training, and no input."""
        return {
            field: entry
            for field, entry in super().references().items()
            if "." not in field or entry[0] != [SELF]
        }

    def identity(self) -> dict[str, Any]:
        found = super().identity()
        for place, judge in self._judges.items():
            setting, name = place.split(".")
            weight = {} if judge.weight is None else {"weight": judge.weight}
            found[setting] = {**found[setting], name: {**identity_of(judge.judge), **weight}}
        return found

    def files(self) -> dict[str, Path]:
        return {**super().files(), **(self.environment.template_files() if self.environment else {})}

    def needs(self) -> dict[str, Columns]:
        if self.environment is not None:
            return {**super().needs(), "prompts": self.environment.task_columns()}
        reads = (columns_read(judge, ROLLOUT_COLUMNS) for judge in self.embedded().values())
        beside = {BESIDE: ("prompt_id", "completion")} if self.beside else {}
        return {**super().needs(), "prompts": merged(("prompt_id", "prompt"), *reads), **beside}

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        model = Output(ArtifactKind.MODEL, adapter_of="init" if self.lora else None)
        if self.environment is not None:
            if IMAGES in inputs["prompts"]:
                raise ValueError(
                    "environment: the tasks have pictures, which the model would not see; it plays by texts"
                )
            turns, episodes = self.environment.learnt_columns(inputs["prompts"], self.token_ids)
            return {
                "": model,
                ROLLOUTS: Output(ArtifactKind.ROWS, turns),
                EPISODES: Output(ArtifactKind.ROWS, episodes),
            }
        rollouts = rollout_columns(inputs["prompts"], self._judges.values(), self._adds)
        return {"": model, ROLLOUTS: Output(ArtifactKind.ROWS, rollouts)}

    def keep_init(self, workspace: Workspace) -> None:
        """Keeps the checkpoint, and writes no rollouts: nothing was sampled."""
        super().keep_init(workspace)
        if self.environment is not None:
            self._episodes(workspace, workspace.rows("prompts").read(), self.environment).write_none()
            return
        workspace.write_rows(
            [no_rollouts(workspace.rows("prompts").read(), list(self._judges.values()), self._adds)], ROLLOUTS
        )

    @property
    def _judges_itself(self) -> bool:
        return any(live_fields(judge) for judge in self.embedded().values())

    @property
    def _adds(self) -> Columns:
        return (*self._ids, *((OUTSIDE,) if self.beside else ()), *((REPLACED,) if self.refill else ()))

    @property
    def _ids(self) -> Columns:
        return ("token_ids",) if self.token_ids else ()

    def run(self, workspace: Workspace) -> None:
        """Trains from `init` on what it samples, completions or episodes."""
        if self.environment is not None:
            self._learn_by_playing(workspace, self.environment)
        else:
            self._learn_by_answering(workspace)

    def _learn_by_answering(self, workspace: Workspace) -> None:
        """Trains from `init`; verifiers' processes stay open all the while."""
        from lineal.engines.sampling.live_policy import LivePolicy
        from lineal.engines.training.hooked_trainer import Hooks
        from lineal.engines.training.online_training import OnlinePrompts, train_grpo

        prompts = self._prompts(workspace)
        settings = self.training_settings(workspace, self.lora.settings() if self.lora else None)
        provenance = digest_of([self.identity(), self._read(workspace), settings.seed])
        judges = list(self._judges.values())
        outside = BesideRows(workspace, prompts["prompt_id"].to_pylist()) if self.beside else None
        rollouts = Rollouts(
            workspace,
            prompts,
            judges,
            self.samples,
            self.temperature,
            provenance,
            self._ids,
            self._band,
            outside,
        )
        texts, grpo, vllm = prompts_of(prompts), self._settings(), self._vllm(workspace)
        given = OnlinePrompts(texts, workspace.shown(prompts), {} if outside is None else outside.answers)
        for prompt in texts:
            require_answerable(prompt)
        policy = LivePolicy() if self._judges_itself else None
        hooks = Hooks(policy, self._best(rollouts), self._refilled(rollouts))
        with ExitStack() as held:
            for place, judge in self.embedded().items():
                live = {field: (workspace.model("init"), policy) for field in live_fields(judge)}
                held.enter_context(ready(judge, workspace, place, live))
            self.learn(
                workspace,
                len(texts),
                checkpoint_in(workspace, "init"),
                settings,
                lambda job: rollouts.described(train_grpo(job, given, rollouts, grpo, vllm, hooks)),
            )
            if workspace.made_with == "fake":
                expected = rollouts.imagine(texts, self.max_tokens)
            else:  # keep_best may have ended it early
                expected = grpo.learned(
                    replace(settings, steps=int(workspace.facts["steps"]), epochs=None), len(texts)
                )
        rollouts.write(expected)

    def _learn_by_playing(self, workspace: Workspace, environment: Rewarding) -> None:
        """Trains from `init` on the episodes that it plays."""
        from lineal.engines.training.episode_training import train_episodes

        if workspace.compute.grpo_vllm:
            raise EngineError(
                "compute.grpo_vllm: episodes are played by transformers. Leave it out for this step"
            )
        tasks, settings = (
            self._prompts(workspace),
            self.training_settings(workspace, self.lora.settings() if self.lora else None),
        )
        grpo, init = self._settings(), checkpoint_in(workspace, "init")
        with self._episodes(workspace, tasks, environment) as episodes:
            self.learn(
                workspace,
                tasks.num_rows,
                init,
                settings,
                lambda job: train_episodes(job, tasks.num_rows, episodes, grpo),
            )
            expected = grpo.learned(settings, tasks.num_rows)
            if workspace.made_with == "fake":
                expected = imagine(workspace, episodes, tasks.num_rows, self.samples)
        episodes.write(expected)

    def _episodes(self, workspace: Workspace, tasks: pa.Table, environment: Rewarding) -> TrainingEpisodes:
        from lineal.engines.factory import open_room
        from lineal.engines.sampling.sampler import SamplingSettings

        drawing = SamplingSettings(self.temperature, self.top_p, self.top_k, self.max_tokens)
        provenance = digest_of(
            [
                self.identity(),
                self._read(workspace),
                workspace.seed,
                workspace.step,
                workspace.model("init").digest,
            ]
        )
        room = open_room(workspace, "init")
        ids, scale = self.token_ids, self.scale_rewards
        return TrainingEpisodes(
            workspace, tasks, environment, self.samples, drawing, room, provenance, ids, scale
        )

    def _refilled(self, rollouts: Rollouts) -> RefillSettings | None:
        from lineal.engines.training.refill import RefillSettings

        refill = self.refill
        return (
            None
            if refill is None
            else RefillSettings(refill.attempts, rollouts.fits, rollouts.sampled_before)
        )

    @property
    def _band(self) -> tuple[float, float] | None:
        return None if self.refill is None else (self.refill.above, self.refill.below)

    def _best(self, rollouts: Rollouts) -> BestSettings | None:
        from lineal.engines.training.best_step import BestSettings

        if self.keep_best is None:
            return None
        column = self._judges[f"{PROBE}.{self.keep_best.probe}"].judge.column("score")
        return BestSettings(self.keep_best.window, self.keep_best.patience, lambda: rollouts.mean(column))

    def _read(self, workspace: Workspace) -> list[Any]:
        """Returns the digests of what decides the rollouts beside the checkpoint: the prompts, and what the rewards read."""
        rewards = [
            [field, artifact.digest]
            for field, artifacts in sorted(workspace.inputs.items())
            if field.startswith((f"{REWARDS}.", f"{PROBE}."))
            for artifact in artifacts
        ]
        beside = [artifact.digest for artifact in workspace.inputs.get(BESIDE, ())]
        return [*(artifact.digest for artifact in workspace.inputs["prompts"]), *rewards, *beside]

    def _settings(self) -> GrpoSettings:
        from lineal.engines.training.online_training import GrpoSettings

        return GrpoSettings(**{one.name: getattr(self, one.name) for one in fields(GrpoSettings)})

    def _vllm(self, workspace: Workspace) -> Vllm | None:
        """Returns the settings of sampling with vLLM, if any, and names the sampler in the manifest."""
        from lineal.engines.training.online_training import Vllm

        mode = workspace.compute.grpo_vllm
        workspace.made_with, workspace.equal_bytes = (
            (f"vllm {mode}", False) if mode else ("transformers", None)
        )
        return Vllm(mode, workspace.compute.grpo_vllm_server) if mode else None

    def _prompts(self, workspace: Workspace) -> pa.Table:
        """Returns the prompt rows.

        Raises:
            DataError: there are none, or one has no text or occurs twice.
        """
        rows = workspace.rows("prompts")
        require_distinct(
            rows, row_key(rows.columns) if self.environment is not None else "prompt_id", workspace.step
        )
        table = rows.read()
        if table["prompt"].null_count:
            raise DataError(
                f"{workspace.step}: {table['prompt'].null_count:,} of {table.num_rows:,} prompts have no text"
            )
        if not table.num_rows:
            raise DataError(f"{workspace.step}: 0 prompts to train on. Look at what selection dropped")
        return table
