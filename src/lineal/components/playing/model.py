"""What a checkpoint that plays needs beside the game: how its completions are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from lineal.components.base import SamplerRef, Workspace
from lineal.components.generators.draws import StoppedDraws
from lineal.components.generators.sample import KeepsIds
from lineal.components.generators.temperatures import require_different_draws
from lineal.components.playing.arena import Arena
from lineal.components.playing.episode import Episode
from lineal.components.playing.settings import Plays
from lineal.components.playing.waves import ModelPlayer, Player
from lineal.engines.factory import open_room, open_sampler
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa


class ModelPlays(Plays, StoppedDraws):
    """Base of what plays with a checkpoint.

    Attributes:
        model: the checkpoint that plays.
        episodes: of each task.
        temperature, top_p, top_k, max_tokens, stop, token_ids: of each completion, as for `sample`.
        prompts, max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Plays`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    episodes: Positive = 1
    token_ids: KeepsIds = False

    @model_validator(mode="after")
    def _episodes_differ(self) -> Self:
        require_different_draws(self.episodes, self.temperature)
        return self

    @property
    def keeps_ids(self) -> bool:
        return self.token_ids

    def play_with_model(self, step: Workspace) -> Iterator[pa.Table]:
        """Plays `episodes` of every task; gives them with their turns inside."""
        settings = self.sampling
        checkpoint = step.model("model").digest
        sampler, room = open_sampler(step, "model"), open_room(step, "model")

        def player(arena: Arena, episodes: Sequence[Episode]) -> Player:
            return ModelPlayer(sampler, settings, room, step)

        facts = {"temperature": settings.temperature, "round": step.round, "checkpoint": checkpoint}
        return self.play_all(step, self.episodes, player, self.provenance(checkpoint, settings.described(), step), facts)
