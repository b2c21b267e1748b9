"""One training as every trainer takes it: what it starts from, how it learns, where its checkpoint goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.engines.models.sight import Sight, sight_of
from lineal.engines.text.tokens import load_tokenizer
from lineal.engines.training.execution import ALONE, Execution
from lineal.engines.training.settings import TrainingSettings
from lineal.engines.training.trainer_run import Progress, trainer_arguments

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from lineal.data.media import Pictures


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory, and the full model under it where it is an adapter."""

    directory: Path
    base: Path | None = None


@dataclass(frozen=True)
class TrainingJob:
    """One training.

    Attributes:
        init: where it starts: a full model, or an adapter with its base.
        settings: hyperparameters.
        output: directory to write; a temporary sibling is used and removed.
        progress: called after each optimizer step with the step, all steps, and the step's figures.
        execution: how it runs.
        pictures: those that its rows show; None where there are none.
    """

    init: Checkpoint
    settings: TrainingSettings
    output: Path
    progress: Progress | None = None
    execution: Execution = ALONE
    pictures: Pictures | None = None

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Loads the tokenizer, with a chat template where the settings ask for one."""
        return load_tokenizer(self.init.directory, self.settings.chat)

    def sight(self) -> Sight | None:
        """Returns what shows the model pictures; None where there are none."""
        return sight_of(self.init.directory, self.init.base, self.pictures)

    def loaded(self, model: Any, tokenizer: Any, scratch: Path, sight: Sight | None = None) -> Loaded:
        """Returns what a trainer of this job is made of."""
        return Loaded(model, tokenizer, self.settings, scratch, self.execution, sight)


@dataclass(frozen=True)
class Loaded:
    """The parts that a TRL trainer is made of.

    Attributes:
        model: the model to train.
        tokenizer: its tokenizer.
        settings: hyperparameters.
        scratch: the trainer's own directory.
        execution: how the training runs.
        sight: what shows the model the pictures that rows name in `SHOWN`; None where there are none.
    """

    model: Any
    tokenizer: Any
    settings: TrainingSettings
    scratch: Path
    execution: Execution = ALONE
    sight: Sight | None = None

    def arguments(self) -> dict[str, Any]:
        """Returns the arguments for any of TRL's configurations."""
        return trainer_arguments(self.settings, self.scratch, self.execution)
