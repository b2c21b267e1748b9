"""One episode: the task, the turns so far, the model's next input, and how it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lineal.components.generators.template import Template
from lineal.components.playing.arena import Game
from lineal.data.conversations import Conversation, Prompt, Turn, conversation_of
from lineal.data.ids import canonical_json
from lineal.engines.sampling.sampler import Completion

Format = Literal["text", "tag"]
Unparsable = Literal["answer", "end"]
DONE, TURN_LIMIT, CONTEXT, UNPARSABLE, FAILED = (
    "done",
    "turn_limit",
    "context",
    "unparsable",
    "environment_error",
)
"""The ways in which episodes end."""
NO_TAG = "No action found: write it as <action>...</action>."
_TAG = re.compile(r"<action>(.*?)</action>", re.DOTALL)


@dataclass(frozen=True)
class Rules:
    """The rules by which episodes are played.

    Attributes:
        template: what the first turn that the model sees becomes, of the task's columns and `{observation}`.
        system: a system turn, for conversations.
        chat: whether the model is given a conversation.
        history: of how many turns, the present one included, the model sees the observation; None: of all.
        max_turns: after how many an episode is ended.
        format: where in a completion the action is.
        unparsable: what follows an action that cannot be read.
    """

    template: Template
    system: str | None
    chat: bool
    history: int | None
    max_turns: int
    format: Format
    unparsable: Unparsable

    def action_in(self, completion: str) -> str | None:
        """Returns the action in a completion; None where there is none."""
        if self.format == "text":
            return completion.strip()
        found = _TAG.findall(completion)
        return found[-1].strip() if found else None


@dataclass
class Past:
    """The state besides its task that an episode needs to continue at a turn.

    Attributes:
        goal: the task's own prompt.
        head: turns of a conversation before the goal.
        turns: each completion and its action, null where none was found.
        tools: of the conversation.
    """

    goal: str
    head: list[dict[str, Any]] = field(default_factory=list)
    turns: list[tuple[str, str | None]] = field(default_factory=list)
    tools: str | None = None

    def text(self) -> str:
        """Returns the text in the column `past`."""
        return canonical_json(vars(self))

    @classmethod
    def of(cls, row: Mapping[str, Any], rules: Rules) -> Past:
        """Returns the past of a row: of a turn, with the turn itself; of a task, nothing."""
        if row.get("past") is not None:
            read = json.loads(row["past"])
            return cls(
                read["goal"], read["head"], [(text, action) for text, action in read["turns"]], read["tools"]
            )
        system = [] if rules.system is None else [vars(Turn("system", rules.system))]
        if row.get("messages") is None:
            return cls(str(row["prompt"]), system)
        talk = conversation_of(row["messages"], row.get("tools"))
        last = max(
            (place for place, turn in enumerate(talk.turns) if turn.role == "user"), default=len(talk.turns)
        )
        return cls(talk.question, [*system, *(vars(turn) for turn in talk.turns[:last])], [], talk.tools)


@dataclass
class NewTurn:
    """One turn that was played here.

    Attributes:
        given: the model's input.
        completion: its output.
        seed: of its noise.
        action: the action in it.
        observation, reward: the environment's answer.
        invalid: why the action could not be read.
        past: the episode up to and including this turn.
    """

    given: Prompt
    completion: Completion
    seed: int
    action: str | None
    observation: str
    reward: float
    invalid: str | None
    past: str


class Episode:
    """An episode that is being played.

    Args:
        row: the task's row, or the row of a turn to continue.
        index: which of the row's episodes it is.
        key: the row's id.
        name: the episode's id.
        game: its environment.
        rules: its rules.
        past: its turns before it is continued here.

    Attributes:
        finish: how it ended; None while it continues.
        facts: further values of its rows.
    """

    def __init__(
        self, row: Mapping[str, Any], index: int, key: str, name: str, game: Game, rules: Rules, past: Past
    ) -> None:
        self.row, self.index, self.key, self.name, self.game, self._rules, self.past = (
            row,
            index,
            key,
            name,
            game,
            rules,
            past,
        )
        self.before = len(self.past.turns)
        self.made: list[NewTurn] = []
        self.finish: str | None = None
        self.facts: dict[str, Any] = {}
        self._seen: list[str] = []
        self._rewards = 0.0

    @property
    def seed_key(self) -> str:
        """The key of its turns' seeds, beside its index and the turn."""
        return self.key

    @property
    def turns(self) -> int:
        """The number of turns so far, including those before it is continued here."""
        return len(self.past.turns)

    def begun(self) -> None:
        """Takes the game's observation, once it has begun and made the moves of the past."""
        if self.game.problem is None and self.game.answers[0].player is not None:
            self.game.problem = (
                "it is a game of two. Name who plays the other side: opponent, or one of its own in the entry"
            )
        if self.game.problem is not None:
            self.finish = FAILED
            return
        answers = iter(self.game.answers)
        self._seen = [next(answers).observation]
        self._seen += [
            NO_TAG if action is None else next(answers).observation for _, action in self.past.turns
        ]
        self._rewards = sum(answer.reward for answer in self.game.answers)
        if self.game.answers[-1].done:
            self.finish = DONE
        elif self.turns >= self._rules.max_turns:
            self.finish = TURN_LIMIT

    def given(self, whole: bool = False) -> Prompt:
        """Returns the model's next input; `whole`: with all of the history."""
        history = None if whole else self._rules.history
        first = 0 if history is None else max(0, len(self._seen) - history)
        seen, written = self._seen[first:], [text for text, _ in self.past.turns[first:]]
        if not self._rules.chat:
            between = [part for pair in zip(seen, written, strict=False) for part in pair]
            return self._rendered("\n".join([*between, *seen[len(written) :]]))
        turns = [Turn("user", self._rendered(seen[0]))]
        for place, text in enumerate(written):
            turns += [Turn("assistant", text), *(Turn("user", one) for one in seen[place + 1 : place + 2])]
        return Conversation((*(Turn(**turn) for turn in self.past.head), *turns), self.past.tools)

    def _rendered(self, observation: str) -> str:
        return self._rules.template.render({**self.row, "prompt": self.past.goal, "observation": observation})

    def wrote(self, given: Prompt, completion: Completion, seed: int) -> str | None:
        """Adds the model's output and returns the move to make, None where none was found."""
        action = self._rules.action_in(completion.text)
        self.past.turns.append((completion.text, action))
        told = NO_TAG if action is None else None
        self.made.append(NewTurn(given, completion, seed, action, told or "", 0.0, told, self.past.text()))
        return action

    def answered(self) -> None:
        """Adds the game's answer to the last move, and returns whether the episode ends with it."""
        turn = self.made[-1]
        if self.game.problem is not None:
            turn.observation, self.finish = "", FAILED
            return
        answer = self.game.answers[-1]
        if turn.action is not None:
            turn.invalid = answer.invalid
            self._told(answer.observation, answer.reward, answer.done)
        else:
            self._told(NO_TAG, 0.0, False)

    def _told(self, observation: str, reward: float, done: bool) -> None:
        """Adds what followed the last move."""
        turn, rules = self.made[-1], self._rules
        turn.observation, turn.reward = observation, reward
        self._seen.append(observation)
        self._rewards += reward
        if done:
            self.finish = DONE
        elif turn.invalid is not None and rules.unparsable == "end":
            self.finish = UNPARSABLE
        elif self.turns >= rules.max_turns:
            self.finish = TURN_LIMIT

    @property
    def total(self) -> float:
        """The sum of all rewards."""
        return self._rewards

    @property
    def invalid(self) -> int:
        """The number of turns played here without a readable action."""
        return sum(turn.invalid is not None for turn in self.made)

    @property
    def won(self) -> bool:
        """True if the goal is reached: by the environment's last word, else by a reward at the end of the game."""
        last = self.game.answers[-1]
        return last.terminated and last.reward > 0 if last.success is None else last.success

    def transcript(self) -> str:
        """Returns all text after the model's first input."""
        parts = [
            part
            for pair in zip(
                self._seen[self.before :], (turn.completion.text for turn in self.made), strict=False
            )
            for part in pair
        ]
        return "\n".join([*parts[1:], *self._seen[self.before + len(self.made) :]])


class PlayerSide(Episode):
    """A game of two as one of its players sees it: the other's move belongs to the environment's answer.

    Attributes:
        player: its name in the game.
    """

    player = ""
    _owed = 0.0

    @property
    def seed_key(self) -> str:
        return self.name

    def begun(self) -> None:
        """Takes the game's observation, once it has begun; the player who moves second sees nothing yet."""
        if self.game.problem is None and self.game.answers[0].player is None:
            self.game.problem = "it is no game of two: its environment names no player. Leave opponent out"
        if self.game.problem is not None:
            self.finish = FAILED
        elif self.game.answers[-1].player == self.player:
            self._seen = [self.game.seen]

    @property
    def waits(self) -> bool:
        """True if its last move is not answered yet."""
        return len(self._seen) == len(self.past.turns) and bool(self.made)

    def follows(self) -> None:
        """Takes the answer to a move, its own or the other's."""
        if self.game.problem is not None:
            self.finish = FAILED
            if self.waits:
                self.made[-1].observation = ""
            return
        answer = self.game.answers[-1]
        self._owed += answer.rewards.get(self.player, 0.0)
        if not (answer.done or answer.player == self.player):
            return
        if self.waits:
            owed, self._owed = self._owed, 0.0
            self._told(answer.observation, owed, answer.done)
        elif answer.done:  # it never moved
            self._rewards += self._owed
            self.finish = DONE
        else:
            self._seen.append(answer.observation)

    @property
    def won(self) -> bool:
        """True if the game gave it more than it took."""
        return self.finish == DONE and self._rewards > 0
