"""Time per training step through lineal against the plain TRL script that one would write by hand. Run: python bench/train.py

Both train the same model on the same prompts and completions with the same arguments, in turns in one process, so that what
else the machine does hits both sides. A step's time is the median between two logged losses. The losses must agree, or the two
did not do the same work; there is no warm-up, whose first rate is 0 in transformers and above 0 here. Memory is measured in a
process of its own for each side (on a GPU: what torch had allocated at most).
With --grpo both train on their own samples, eight of each prompt, rewarded by their length: in TRL by a function, in lineal by a
verifier, with every rollout saved as a row. Their losses are not compared, since they do not draw the same samples.
With --pictures both train a model that sees, with a picture before each prompt; TRL's data collator makes its pixels in every
step, of pictures that are decoded. Exit status 1 when a step through lineal takes more than 1.03 times as long.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny import SHAPE

from lineal.engines.training.execution import Execution
from lineal.engines.training.job import Checkpoint, TrainingJob
from lineal.engines.training.settings import Example, TrainingSettings
from lineal.engines.training.train import ModelShape, initialise, train_sft

MOST = 1.03
SAMPLES, MOST_TOKENS = 8, 24


def main() -> None:
    """Train on both sides in turns, print the table, and fail when lineal's step costs too much."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        checkpoint = arguments.checkpoint or directory / "init"
        if arguments.checkpoint is None:
            initialise(_shape(arguments), 0, checkpoint)
        if arguments.memory_of:
            _train(arguments.memory_of, checkpoint, arguments, directory)
            print(_peak_bytes())
            return
        figures = _compare(checkpoint, arguments, directory)
        for side in ("lineal", "plain"):
            figures[f"{side}_peak_mib"] = round(_memory(side, checkpoint, arguments) / 2**20)
            print(f"{side:<6} peak memory {figures[f'{side}_peak_mib']:,} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures), encoding="utf-8")
    ratio = figures["median_ratio"]
    print(f"goal at most {MOST}: {'met' if ratio <= MOST else 'MISSED'}")
    sys.exit(ratio > MOST)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=60, help="of each training (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=5, help="timed turns, at least 3 (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=64, help="examples per step (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="(default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--grpo", action="store_true", help="GRPO instead of SFT")
    parser.add_argument("--pictures", action="store_true", help="SFT of a model that sees")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--checkpoint", type=Path, help="a model to train instead of a tiny one")
    parser.add_argument("--memory-of", choices=["lineal", "plain"], help=argparse.SUPPRESS)
    return parser.parse_args()


def _shape(arguments: argparse.Namespace) -> ModelShape:
    from sights import SEEING

    return SEEING if arguments.pictures else SHAPE


def _settings(arguments: argparse.Namespace) -> TrainingSettings:
    return TrainingSettings(
        steps=arguments.steps,
        epochs=None,
        batch_size=arguments.batch_size,
        learning_rate=3e-3,
        warmup=0.0,
        beta2=0.99,
        weight_decay=0.01,
        seed=0,
        precision=arguments.precision,
        threads=arguments.threads,
    )


def _pairs(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """One batch of different prompts for every step."""
    generator = random.Random(0)
    count = arguments.batch_size * arguments.steps
    drawn = [
        "".join(generator.sample(string.ascii_lowercase, generator.randint(4, 22))) for _ in range(count)
    ]
    return [(f"{word}=", "".join(sorted(word))) for word in drawn]


def _compare(checkpoint: Path, arguments: argparse.Namespace, directory: Path) -> dict[str, float]:
    steps: dict[str, list[float]] = {"lineal": [], "plain": []}
    print(f"{'turn':>4} {'lineal steps/s':>15} {'plain steps/s':>14} {'ratio':>6}")
    for turn in range(arguments.turns + 1):
        losses = {}
        for side in sorted(steps, reverse=bool(turn % 2)):
            seconds, losses[side] = _train(side, checkpoint, arguments, directory)
            steps[side].append(seconds)
        if not arguments.grpo:
            _require_equal(losses)
        if turn:  # the first turn warms both up
            ours, plain = steps["lineal"][-1], steps["plain"][-1]
            print(f"{turn:>4} {1 / ours:>15.2f} {1 / plain:>14.2f} {ours / plain:>6.3f}")
    ratios = [ours / plain for ours, plain in zip(steps["lineal"][1:], steps["plain"][1:], strict=True)]
    best = min(steps["lineal"][1:]) / min(steps["plain"][1:])
    print(f"median ratio {statistics.median(ratios):.3f}, of the best turns {best:.3f}")
    rates = {
        f"{side}_steps_per_second": round(1 / statistics.median(seconds[1:]), 3)
        for side, seconds in steps.items()
    }
    return {"median_ratio": round(statistics.median(ratios), 3), **rates}


def _require_equal(losses: dict[str, list[float]]) -> None:
    apart = max(abs(ours - plain) for ours, plain in zip(losses["lineal"], losses["plain"], strict=True))
    if apart > 1e-3:
        sys.exit(f"the two sides' losses differ by {apart}: they did not do the same work")


def _train(
    side: str, checkpoint: Path, arguments: argparse.Namespace, directory: Path
) -> tuple[float, list[float]]:
    """Median seconds of a step, and the losses."""
    import torch

    clock: list[float] = []
    losses: list[float] = []

    def tick(loss: float) -> None:
        clock.append(time.perf_counter())
        losses.append(loss)

    sides = (
        {"lineal": _lineal_grpo, "plain": _plain_grpo}
        if arguments.grpo
        else {"lineal": _lineal, "plain": _plain}
    )
    sides = {"lineal": _lineal, "plain": _plain_seeing} if arguments.pictures else sides
    torch.set_num_threads(arguments.threads)
    sides[side](checkpoint, arguments, directory, tick)
    return statistics.median(after - before for before, after in zip(clock, clock[1:], strict=False)), losses


def _lineal(
    checkpoint: Path, arguments: argparse.Namespace, directory: Path, tick: Callable[[float], None]
) -> None:
    examples, pictures = [Example(prompt, completion) for prompt, completion in _pairs(arguments)], None
    if arguments.pictures:
        pictures, digests = _packed(arguments, directory)
        examples = [replace(one, images=(digest,)) for one, digest in zip(examples, digests, strict=True)]
    saving = Execution(saves=directory / "saves")
    report = lambda _, __, figures: tick(figures["loss"])  # noqa: E731
    train_sft(
        TrainingJob(
            Checkpoint(checkpoint),
            _settings(arguments),
            directory / "out",
            report,
            execution=saving,
            pictures=pictures,
        ),
        examples,
    )


def _packed(arguments: argparse.Namespace, directory: Path) -> tuple[Any, list[str]]:
    """One picture for each example."""
    from sights import packed

    shutil.rmtree(directory / "media", ignore_errors=True)
    return packed(directory / "media", arguments.batch_size * arguments.steps)


def _plain_seeing(
    checkpoint: Path, arguments: argparse.Namespace, directory: Path, tick: Callable[[float], None]
) -> None:
    from sights import plain
    from trl import SFTConfig, SFTTrainer

    pictures, digests = _packed(arguments, directory)
    texts = [
        [[{"role": role, "content": text}] for role, text in zip(("user", "assistant"), pair, strict=True)]
        for pair in _pairs(arguments)
    ]
    columns = {
        "prompt": [prompt for prompt, _ in texts],
        "completion": [completion for _, completion in texts],
        "images": [[pictures.decoded(digest)] for digest in digests],
    }
    model, processor = plain(checkpoint)
    config = SFTConfig(**_plain_arguments(arguments, directory), max_length=None)
    _run_plain(SFTTrainer, model.train(), processor, config, columns, tick)


def _plain(
    checkpoint: Path, arguments: argparse.Namespace, directory: Path, tick: Callable[[float], None]
) -> None:
    from trl import SFTConfig, SFTTrainer

    prompts, completions = zip(*_pairs(arguments), strict=True)
    own = {"max_length": None}
    config = SFTConfig(**_plain_arguments(arguments, directory), **own)
    _plain_train(
        SFTTrainer, checkpoint, config, {"prompt": list(prompts), "completion": list(completions)}, tick
    )


def _plain_grpo(
    checkpoint: Path, arguments: argparse.Namespace, directory: Path, tick: Callable[[float], None]
) -> None:
    from trl import GRPOConfig, GRPOTrainer

    own = {
        "num_generations": SAMPLES,
        "max_completion_length": MOST_TOKENS,
        "beta": 0.0,
        "loss_type": "dapo",
        "top_k": 0,
    }
    config = GRPOConfig(**_plain_arguments(arguments, directory), **own)
    _plain_train(
        GRPOTrainer, checkpoint, config, {"prompt": _prompts(arguments)}, tick, reward_funcs=[_reward]
    )


def _lineal_grpo(
    checkpoint: Path, arguments: argparse.Namespace, directory: Path, tick: Callable[[float], None]
) -> None:
    from lineal.engines.training.online_training import GrpoSettings, OnlinePrompts, train_grpo

    report = lambda _, __, figures: tick(figures["loss"])  # noqa: E731
    own = GrpoSettings(samples=SAMPLES, max_tokens=MOST_TOKENS)
    rollouts = _rollouts(arguments, directory)
    job = TrainingJob(Checkpoint(checkpoint), _settings(arguments), directory / "out", report)
    train_grpo(job, OnlinePrompts(_prompts(arguments)), rollouts, own)


def _rollouts(arguments: argparse.Namespace, directory: Path) -> Any:
    """What `grpo` judges completions with: a verifier, and every rollout a row."""
    import pyarrow as pa
    from size import artifact, model_artifact

    from lineal.components.base import Surroundings
    from lineal.components.trainers.judges import judges_of
    from lineal.components.trainers.rollouts import Rollouts
    from lineal.data.store import open_artifact
    from lineal.data.workspace import Workspace
    from lineal.recipe.compute import Compute

    directory = directory / "judged"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    prompts = _prompts(arguments)
    table = pa.table({"prompt_id": [f"p{place}" for place in range(len(prompts))], "prompt": prompts})
    artifact(directory / "prompts", iter([table]))
    model_artifact(directory / "init")
    (directory / "step").mkdir()
    opened = {name: (open_artifact(f"bench/tasks/{name}", directory / name),) for name in ("prompts", "init")}
    step = Workspace(directory, "round_01/checkpoint", 1, 0, Compute(), opened, directory / "step")
    judges = judges_of(
        {"length": {"use": "rule", "formula": "length(completion)"}}, {}, Surroundings(directory, directory)
    )
    return Rollouts(step, table, list(judges.values()), SAMPLES, 1.0, "bench")


def _reward(completions: list[str], **_: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def _prompts(arguments: argparse.Namespace) -> list[str]:
    """As many as the training samples, each once."""
    return list(dict.fromkeys(prompt for prompt, _ in _pairs(arguments)))[
        : arguments.batch_size * arguments.steps // SAMPLES
    ]


def _plain_arguments(arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    import torch

    settings = _settings(arguments)
    return {
        "output_dir": str(directory / "plain"),
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "adam_beta2": settings.beta2,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "bf16": settings.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "optim": "adamw_torch_fused",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "activation_checkpointing": False,
    }


def _plain_train(
    trainer_of: Any,
    checkpoint: Path,
    config: Any,
    columns: dict[str, list[str]],
    tick: Callable[[float], None],
    **own: Any,
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=torch.float32)
    _run_plain(
        trainer_of, model, AutoTokenizer.from_pretrained(str(checkpoint)), config, columns, tick, **own
    )


def _run_plain(
    trainer_of: Any,
    model: Any,
    processing: Any,
    config: Any,
    columns: dict[str, list[Any]],
    tick: Callable[[float], None],
    **own: Any,
) -> None:
    import datasets
    import transformers
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback

    class Clock(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" in logs:
                tick(logs["loss"])

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    trainer = trainer_of(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict(columns),
        processing_class=processing,
        callbacks=[Clock()],
        **own,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def _memory(side: str, checkpoint: Path, arguments: argparse.Namespace) -> int:
    """Peak bytes of a side's training in a process of its own."""
    options = {
        "steps": arguments.steps,
        "batch-size": arguments.batch_size,
        "precision": arguments.precision,
        "threads": arguments.threads,
        "checkpoint": checkpoint,
        "memory-of": side,
    }
    command = [
        sys.executable,
        __file__,
        *(["--grpo"] if arguments.grpo else []),
        *(["--pictures"] if arguments.pictures else []),
        *(str(part) for name, value in options.items() for part in (f"--{name}", value)),
    ]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _peak_bytes() -> int:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
