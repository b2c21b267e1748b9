"""Sampling settings and checkpoints of components that play with a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from lineal.components.base import SAMPLER, SamplerRef, Workspace
from lineal.components.generators.draws import StoppedDraws
from lineal.components.generators.sample import KeepsIds
from lineal.components.generators.temperatures import require_different_draws
from lineal.components.playing.matches import MODEL, OPPONENT
from lineal.components.playing.settings import Plays
from lineal.components.playing.waves import ModelPlayer, Player
from lineal.engines.factory import open_room, open_sampler
from lineal.recipe.compute import Positive

if TYPE_CHECKING:
    import pyarrow as pa


class ModelPlays(Plays, StoppedDraws):
    """Base of components that play with a checkpoint.

    Attributes:
        model: the checkpoint that plays.
        opponent: in a game of two, the checkpoint of the other side; it may be the same. Both sides are episodes, and `seat`
            says whose. In every second episode of a task the opponent begins.
        episodes: of each task.
        temperature, top_p, top_k, max_tokens, stop, token_ids: of each completion, as for `sample`.
        prompts, max_turns, history, template, system, chat, format, unparsable, timeout, max_error_rate: see `Plays`.
    """

    loads_model: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("huggingface",)

    model: SamplerRef
    opponent: Annotated[str | None, SAMPLER, Field(exclude_if=lambda value: value is None)] = None
    episodes: Positive = 1
    token_ids: KeepsIds = False

    @model_validator(mode="after")
    def _episodes_differ(self) -> Self:
        require_different_draws(self.episodes, self.temperature)
        return self

    @property
    def keeps_ids(self) -> bool:
        return self.token_ids

    @property
    def of_two(self) -> bool:
        return self.opponent is not None

    def play_with_model(self, workspace: Workspace) -> Iterator[pa.Table]:
        """Plays `episodes` of every task; yields them with their turns inside."""
        checkpoint = workspace.model("model").digest
        facts = {"temperature": self.temperature, "round": workspace.round, "checkpoint": checkpoint}
        if self.opponent is not None:
            return self._play_against(workspace, facts)
        made = self._player(workspace, "model")
        provenance = self.provenance(checkpoint, self.sampling.described(), workspace)
        return self.play_all(workspace, self.episodes, lambda arena, episodes: made, provenance, facts)

    def _play_against(self, workspace: Workspace, facts: Mapping[str, Any]) -> Iterator[pa.Table]:
        other = workspace.model("opponent").digest
        players = {MODEL: self._player(workspace, "model"), OPPONENT: self._player(workspace, "opponent")}
        by_seat = {MODEL: facts, OPPONENT: {**facts, "checkpoint": other}}
        provenance = self.provenance(f"{facts['checkpoint']}/{other}", self.sampling.described(), workspace)
        return self.play_all_matches(workspace, self.episodes, players, provenance, by_seat)

    def _player(self, workspace: Workspace, field: str) -> Player:
        return ModelPlayer(
            open_sampler(workspace, field), self.sampling, open_room(workspace, field), workspace
        )
