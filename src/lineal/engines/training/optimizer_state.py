"""AdamW's state beside a checkpoint, so that a later training of the same weights continues with it.

    checkpoint/optimizer/state.safetensors    `step/NAME`, `exp_avg/NAME` and `exp_avg_sq/NAME` of each trained weight

It lies in a directory of its own, since engines read every safetensors file beside `config.json` as weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lineal.engines.training.processes import is_sharded
from lineal.errors import EngineError

FILE = Path("optimizer") / "state.safetensors"
PARTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's own names: how many updates a weight had, and the running means of its gradient and of its square."""


def write_optimizer(trainer: Any, output: Path) -> None:
    """Writes the state of a finished training into its checkpoint; where several processes trained, the main one does."""
    if not trainer.accelerator.is_main_process:
        return
    from safetensors.torch import save_file

    state = trainer.optimizer.state
    found = {name: state[weight] for name, weight in _trained(trainer) if weight in state}
    (output / FILE).parent.mkdir()
    save_file(
        {f"{part}/{name}": own[part].contiguous() for name, own in found.items() for part in PARTS},
        output / FILE,
    )


def optimizer_restorer(trainer: Any, init: Path) -> Any:
    """Makes a callback that gives the optimizer the state beside `init`; without one there it begins with none.

    Raises:
        EngineError: the processes hold parts of the weights each.
    """
    if is_sharded(trainer.accelerator):
        raise EngineError(
            "keep_optimizer: got weights that are shared out among processes, expected each process to hold them all. "
            "Train without sharding, or set keep_optimizer: false."
        )
    from transformers import TrainerCallback

    class Restorer(TrainerCallback):
        """Restores when a training begins; one that resumes from a save has a later state already."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 0 and (init / FILE).exists():
                _restore(trainer, init)

    return Restorer()


def _restore(trainer: Any, init: Path) -> None:
    from safetensors.torch import load_file

    stored, weights = load_file(init / FILE), dict(_trained(trainer))
    _require_same_weights(stored, weights, init)
    for name in sorted({key.partition("/")[2] for key in stored}):
        weight = weights[name]
        trainer.optimizer.state[weight] = {part: stored[f"{part}/{name}"].to(weight.device) for part in PARTS}


def _require_same_weights(stored: Mapping[str, Any], weights: Mapping[str, Any], init: Path) -> None:
    kept = {
        key.removeprefix("exp_avg/"): tuple(value.shape)
        for key, value in stored.items()
        if key.startswith("exp_avg/")
    }
    here = {name: tuple(weight.shape) for name, weight in weights.items()}
    others = sorted(name for name, shape in kept.items() if here.get(name) != shape)
    if others:
        expected = f"{here[others[0]]}" if others[0] in here else "no such weight"
        raise EngineError(
            f"{init / FILE}: got the optimizer's state for {others[0]} of shape {kept[others[0]]}, expected {expected}: it is of "
            "a training of other weights. Set keep_optimizer: false where init was trained in another way."
        )


def _trained(trainer: Any) -> Iterator[tuple[str, Any]]:
    """Yields the weights that are trained, by name."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
