"""The best of a training's optimizer steps by a figure of each: its weights are kept, and the training may end early.

The weights are held in memory and put back at the end. A save of the training holds them too, so that a killed one that resumes
ends with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.training.saves import WHOLE

if TYPE_CHECKING:
    import torch

FILE, STATE = "best.safetensors", "state"


@dataclass(frozen=True)
class BestSettings:
    """The rule for the best step.

    Attributes:
        window: the figure of a step is the mean over so many steps, itself the last, so that chance is no gain.
        patience: after so many figures without a better one the training ends; None: it does not end early.
        figure: that of the step whose generation was judged last.
    """

    window: int
    patience: int | None
    figure: Callable[[], float]


class BestStep:
    """Keeps the weights of the best step of one training.

    Attributes:
        step: the optimizer steps that the kept weights had been trained; None before the first window is full.
    """

    def __init__(self, settings: BestSettings) -> None:
        self._settings = settings
        self._figures: list[float] = []
        self._best = float("-inf")
        self._waited = 0
        self._weights: dict[str, torch.Tensor] = {}
        self.step: int | None = None

    def judged(self, model: Any, step: int) -> None:
        """Records the figure of the weights that have just sampled."""
        self._figures = [*self._figures, self._settings.figure()][-self._settings.window :]
        if len(self._figures) < self._settings.window:
            return
        mean = fsum(self._figures) / len(self._figures)
        self._waited += 1
        if mean > self._best:
            self._best, self._waited, self.step = mean, 0, step
            self._weights = {name: weight.detach().to("cpu", copy=True) for name, weight in _trained(model)}

    @property
    def ends(self) -> bool:
        """True if the training has run long enough without a better step."""
        return self._settings.patience is not None and self._waited >= self._settings.patience

    def callback(self, trainer: Any) -> Any:
        """Returns a callback for a trainer of transformers; to be added before the one that names its saves."""
        from transformers import TrainerCallback

        keeper = self

        class Keeper(TrainerCallback):
            """Ends the training, and puts the best weights into its saves and its result."""

            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                keeper._read(Path(args.output_dir) / f"{WHOLE}{state.global_step}" / FILE)

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = control.should_training_stop or keeper.ends

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                keeper._write(Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                trainer.kept_step = keeper.step
                keeper._put_back(trainer.accelerator.unwrap_model(trainer.model))

        return Keeper()

    def _write(self, path: Path) -> None:
        from safetensors.torch import save_file

        state = {"figures": self._figures, "best": self._best, "waited": self._waited, "step": self.step}
        save_file(self._weights, str(path), {STATE: json.dumps(state)})

    def _read(self, path: Path) -> None:
        from safetensors import safe_open

        if not path.exists():
            return
        with safe_open(str(path), framework="pt") as saved:
            state = json.loads(saved.metadata()[STATE])
            self._weights = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 - it is no mapping
        self._figures, self._best, self._waited, self.step = (
            state[name] for name in ("figures", "best", "waited", "step")
        )

    def _put_back(self, model: Any) -> None:
        import torch

        with torch.no_grad():
            for name, weight in _trained(model):
                if name in self._weights:
                    weight.copy_(self._weights[name])


def _trained(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Returns the weights that a training changes; tied ones once."""
    return ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
