"""Execution settings of a training: they decide how it runs, not what it learns. Nothing here enters a digest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Execution settings of one training.

    Attributes:
        saves: directory of checkpoints inside the step, which outlives a killed process; None saves none.
        save_seconds: seconds from one of them to the next, at least; 0 saves after every step.
        device: 'auto' (the GPU if there is one), 'cpu' or 'cuda'.
        recompute_activations: computes activations again in the backward pass instead of keeping them.
        report_to: trackers that get each step's figures.
        run_name: what trackers call the run.
        reports: directory for what trackers write on this machine.
    """

    saves: Path | None = None
    save_seconds: float = 300.0
    device: str = "auto"
    recompute_activations: bool = False
    report_to: tuple[str, ...] = ()
    run_name: str = ""
    reports: Path | None = None

    @property
    def on_cpu(self) -> bool:
        """True if the training runs on the CPU."""
        import torch

        return self.device == "cpu" or not torch.cuda.is_available()


ALONE = Execution()
"""One process that saves nothing during the training and reports to nobody."""
