"""`rollout`: a checkpoint plays episodes; every turn is a row, and every episode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from lineal.components.base import MAIN, Columns, Output, Role, SamplerRef, Workspace
from lineal.components.generators.sample import KeepsIds
from lineal.components.generators.stopping import StopSetting, stop_texts
from lineal.components.generators.temperatures import Temperature, TopK, TopP, require_different_draws
from lineal.components.playing.arena import Arena
from lineal.components.playing.episode import Episode
from lineal.components.playing.rows import EPISODES, episodes_in, turns_in
from lineal.components.playing.settings import Plays
from lineal.components.playing.waves import ModelPlayer, Player
from lineal.components.verifiers.base import ERROR, FAIL, PASS
from lineal.engines.factory import open_room, open_sampler
from lineal.engines.sampling import SamplingSettings
from lineal.recipe.compute import Positive
from lineal.recipe.references import ArtifactKind

if TYPE_CHECKING:
    import pyarrow as pa


class PlaysToRows(Plays):
    """Base of what plays and keeps all: turns as the main output, episodes beside them."""

    role: ClassVar[Role] = Role.GENERATOR

    def outputs(self, inputs: Mapping[str, Columns]) -> dict[str, Output]:
        turns, episodes = self.played_columns(inputs["prompts"], self.keeps_ids)
        return {MAIN: Output(ArtifactKind.ROWS, turns), EPISODES: Output(ArtifactKind.ROWS, episodes)}

    @property
    def keeps_ids(self) -> bool:
        """Whether turns have the ids of their tokens."""
        return False

    def write(self, step: Workspace, per_task: int, played: Iterable[pa.Table]) -> None:
        """Writes both outputs, and counts.

        Raises:
            CheckFailure: too many environments were broken.
        """
        prompts, verdicts, errors = step.rows("prompts"), Counter[str](), Counter[str]()
        turns = self.played_columns(tuple(prompts.columns), self.keeps_ids)[0]

        def parts() -> Iterator[Mapping[str, pa.Table]]:
            for table in played:
                verdicts.update(table["verdict"].to_pylist())
                broken = (verdict == ERROR for verdict in table["verdict"].to_pylist())
                errors.update(detail for detail, is_broken in zip(table["detail"].to_pylist(), broken, strict=True) if is_broken)
                yield {MAIN: turns_in(table, turns), EPISODES: episodes_in(table)}

        out = step.write_outputs(parts(), [MAIN, EPISODES])
        step.counts.update({"in": prompts.count, "expected": out[MAIN], "out": out[MAIN], EPISODES: out[EPISODES]})
        step.counts.update({verdict: verdicts[verdict] for verdict in (PASS, FAIL)})
        self.refuse_errors(step, out[EPISODES], errors)


class Rollout(PlaysToRows):
    """Plays episodes of every task with a checkpoint.

    A row of the main output is a turn: what the model was given, what it wrote, the action in it, what the environment answered;
    its parent is the turn before, or the task. `NODE.episodes` has a row for each episode, whose parents are what it began
    from and its last turn; its verdict is whether the goal was reached, its score the sum of the rewards. A broken environment
    is an error, never a lost game.

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
    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0
    max_tokens: Positive = 64
    stop: StopSetting = None
    token_ids: KeepsIds = False

    @model_validator(mode="after")
    def _episodes_differ(self) -> Self:
        require_different_draws(self.episodes, self.temperature)
        return self

    @property
    def keeps_ids(self) -> bool:
        return self.token_ids

    def run(self, step: Workspace) -> None:
        """Plays all episodes, slice by slice."""
        settings = SamplingSettings(self.temperature, self.top_p, self.top_k, self.max_tokens, self.chat, stop_texts(self.stop))
        checkpoint = step.model("model").digest
        sampler, room = open_sampler(step, "model"), open_room(step, "model")

        def player(arena: Arena, episodes: Sequence[Episode]) -> Player:
            return ModelPlayer(sampler, settings, room, step)

        facts = {"temperature": self.temperature, "round": step.round, "checkpoint": checkpoint}
        provenance = self.provenance(checkpoint, settings.described(), step)
        self.write(step, self.episodes, self.play_all(step, self.episodes, player, provenance, facts))
