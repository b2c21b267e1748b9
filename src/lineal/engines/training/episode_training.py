"""Online training over episodes: TRL's GRPO, whose rollouts are games that the model in training plays by `rollout_func`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.models.checkpoints import quiet
from lineal.engines.sampling.live_policy import LivePolicy
from lineal.engines.sampling.rollouts import EpisodeJudge
from lineal.engines.text.tokens import load_tokenizer
from lineal.engines.text.turns import turns_of_prompts
from lineal.engines.training.grpo_trainer import grpo_arguments, judged_trainer
from lineal.engines.training.job import Loaded, TrainingJob
from lineal.engines.training.online_training import lend, require_one_process
from lineal.engines.training.optimizer_steps import with_own_steps
from lineal.engines.training.runs import Run, advantages_of, nothing, padded, runs_of, tensors_of
from lineal.engines.training.train import run_training

if TYPE_CHECKING:
    import torch

    from lineal.engines.training.online_training import GrpoSettings
    from lineal.engines.training.train import TrainingReport


def train_episodes(job: TrainingJob, tasks: int, judge: EpisodeJudge, grpo: GrpoSettings) -> TrainingReport:
    """Trains a checkpoint on the episodes that it plays itself.

    A group is the episodes of one task. The advantage of an episode is that of every token that the model wrote in it, unless the
    judge gives its turns their own; what the environment said is read and not learnt.

    Args:
        job: its `init` is the reference too where `beta` is above 0; its `batch_size` counts episodes. It saves only where
            every step has a generation of its own.
        tasks: how many there are; they come in shuffled order, and in another one every epoch.
        judge: plays each generation, and then gets its advantages.
        grpo: GRPO's own; `samples` are episodes of a task.

    Raises:
        EngineError: the checkpoint does not fit the settings.
    """
    tokenizer = load_tokenizer(job.init.directory)
    visits = turns_of_prompts(tasks, grpo.learned(job.settings, tasks) // grpo.samples, job.settings.seed)
    job = grpo.applied(job, tasks)
    policy = LivePolicy()

    def prepare(model: Any, scratch: Path) -> Any:
        loaded = job.loaded(model, tokenizer, scratch)
        with quiet():
            trainer = _trainer(loaded, grpo, visits, judge, policy)
        require_one_process(trainer.accelerator.num_processes)
        lend(policy, loaded)
        return trainer

    return run_training(job, prepare, tasks)


def _trainer(
    loaded: Loaded,
    grpo: GrpoSettings,
    visits: Sequence[tuple[int, int]],
    judge: EpisodeJudge,
    policy: LivePolicy,
) -> Any:
    """Makes a GRPO trainer whose rollouts the judge plays. The text of a prompt is the number of its visit."""
    from datasets import Dataset

    played: list[list[Run]] = []

    def rollout(prompts: list[str], trainer: Any) -> Mapping[str, Any]:
        tasks = [_episode(visits[int(prompt)], place, grpo.samples) for place, prompt in enumerate(prompts)]
        turns = judge.play(tasks, trainer.state.global_step, policy)
        played[:] = [runs_of(loaded.tokenizer, own, not grpo.mask_truncated) for own in turns]
        return given_to_trl([next(iter(own), nothing(loaded.tokenizer.eos_token_id)) for own in played])

    def reward(**_: Any) -> list[float | None]:
        return judge.reward()

    arguments = {**grpo_arguments(loaded), **grpo.arguments(loaded.settings.gradient_accumulation)}
    return with_own_steps(_playing_trainer(judge, played), loaded.settings)(
        model=loaded.model,
        reward_funcs=[reward],
        rollout_func=rollout,
        args=_config({**arguments, "mask_truncated_completions": False}),
        train_dataset=Dataset.from_dict({"prompt": [str(place) for place in range(len(visits))]}),
        processing_class=loaded.tokenizer,
    )


def _config(arguments: Mapping[str, Any]) -> Any:
    from trl.trainer.grpo_config import GRPOConfig

    return GRPOConfig(**arguments)


def _episode(visit: tuple[int, int], place: int, samples: int) -> tuple[int, int]:
    """Returns a task's place, and which of its episodes this is; TRL gives every prompt `samples` times in a row."""
    task, number = visit
    return task, number * samples + place % samples


def given_to_trl(runs: Sequence[Run]) -> dict[str, Any]:
    """Returns the result of `rollout_func`: one sequence for each prompt, and which of its tokens the model wrote."""
    return {
        "prompt_ids": [run.prompt_ids for run in runs],
        "completion_ids": [run.ids for run in runs],
        "logprobs": None,
        "env_mask": [run.learnt for run in runs],
    }


def _playing_trainer(judge: EpisodeJudge, played: list[list[Run]]) -> Any:
    """Makes a GRPO trainer that learns all runs of every episode, where TRL's `rollout_func` takes one sequence for each."""
    base: Any = judged_trainer(judge)

    class PlayingGRPOTrainer(base):  # type: ignore[misc]
        """Advantages are TRL's, of episodes; the tensors that it learns are made of their runs."""

        def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
            scored = super()._generate_and_score_completions(inputs)
            runs = [run for own in played for run in own]
            self._metrics["train"]["completions/mean_length"][-1] = sum(map(_written, runs)) / len(played)
            first = sum(len(own[0].prompt_ids) + _written(own[0]) for own in played if own)
            self.state.num_input_tokens_seen += (
                sum(len(run.prompt_ids) + _written(run) for run in runs) - first
            )
            return self._of_runs(scored, runs)

        def _of_runs(self, scored: Mapping[str, Any], runs: list[Run]) -> dict[str, Any]:
            missing = -len(runs) % self.args.steps_per_generation or (
                0 if runs else self.args.steps_per_generation
            )
            device, rows = (
                self.accelerator.device,
                [*runs, *[nothing(self._tokenizer.eos_token_id)] * missing],
            )
            tensors = tensors_of(rows, self._tokenizer.pad_token_id, device)
            made = {
                **tensors,
                "advantages": _advantages(judge, scored["advantages"], played, missing).to(device),
                "num_items_in_batch": tensors["tool_mask"].sum(),
            }
            return {**made, **self._earlier_logprobs(scored, tensors)}

        def _earlier_logprobs(
            self, scored: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
        ) -> dict[str, torch.Tensor]:
            """Returns the log-probabilities of the model before its updates and of the reference, where TRL asks for them."""
            found = {}
            if "old_per_token_logps" in scored:
                found["old_per_token_logps"] = self._said_by(self.model, tensors)
            if "ref_per_token_logps" in scored and self.ref_model is not None:
                found["ref_per_token_logps"] = self._said_by(self.ref_model, tensors)
            elif "ref_per_token_logps" in scored:
                from trl.trainer.utils import use_adapter

                model = self.accelerator.unwrap_model(self.model)
                with use_adapter(model, adapter_name="ref" if "ref" in model.peft_config else None):
                    found["ref_per_token_logps"] = self._said_by(self.model, tensors)
            return found

        def _said_by(self, model: Any, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
            """Returns the log-probabilities of what follows the prompts, (runs, tokens)."""
            import torch

            ids = torch.cat([tensors["prompt_ids"], tensors["completion_ids"]], dim=1)
            mask = torch.cat([tensors["prompt_mask"], tensors["completion_mask"]], dim=1)
            size = self.args.per_device_train_batch_size
            with torch.no_grad():
                said, *_ = self._get_per_token_logps_and_entropies(
                    model, ids, mask, tensors["completion_ids"].size(1), batch_size=size
                )
            return said  # type: ignore[no-any-return]

    return PlayingGRPOTrainer


def _advantages(
    judge: EpisodeJudge, of_episodes: torch.Tensor, played: Sequence[Sequence[Run]], missing: int
) -> torch.Tensor:
    """Returns the advantages of the runs, (runs), or of their tokens, (runs, tokens), where turns have their own."""
    by_turn = judge.by_turn(of_episodes.tolist())
    if by_turn is None:
        runs = [value for value, own in zip(of_episodes.tolist(), played, strict=True) for _ in own]
        return of_episodes.new_tensor([*runs, *[0.0] * missing])
    tokens = [advantages_of(run, turns) for turns, own in zip(by_turn, played, strict=True) for run in own]
    return padded([*tokens, *[[0.0]] * missing], 0.0, "right").to(of_episodes.dtype)


def _written(run: Run) -> int:
    return sum(run.learnt)
