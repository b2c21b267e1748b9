"""Chat templates: the rendering of conversations, and the part that the model writes, in one place for engines and trainers.

A turn of the model begins where the rendered prompt ends, and ends with the first token that the template puts behind an
answer. Sampling stops there and training teaches to stop there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, cast

from lineal.data.conversations import Conversation, Turn, short
from lineal.engines.text.control_tokens import ControlTokens
from lineal.engines.text.spelling import spelling_of
from lineal.engines.text.time_limit import TimeLimitError, time_limit
from lineal.errors import EngineError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS, SECONDS_EACH = (
    20.0,
    0.1,
)  # for a batch and for each of its conversations; usual templates take 0.1 ms for one
LINE_BREAK = "\n"
_MARKS = re.compile(r"\{%-?\s*generation\s*-?%\}")
Span = tuple[int, int]


@dataclass(frozen=True)
class Frame:
    """The text that a template puts around an answer.

    Attributes:
        opening: the text between the prompt and the answer, such as an empty think block.
        end: the text after the answer, including the token that ends the turn.
        stop: that token; None where the template writes none, and only eos ends an answer.
    """

    opening: str
    end: str
    stop: str | None


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: a checkpoint's.

    Raises:
        EngineError: it has no chat template, or its chat template renders no answers.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        require_template(tokenizer)
        self._tokenizer = tokenizer
        self._tokens = ControlTokens(tokenizer)
        if self._frame.stop is not None and self._frame.stop not in tokenizer.all_special_tokens:
            # Some tokenizers forget to call it special; then it would be left in completions, and texts could spell it.
            tokenizer.add_special_tokens(
                {"extra_special_tokens": [self._frame.stop]}, replace_extra_special_tokens=False
            )
            self._tokens = ControlTokens(tokenizer)

    @cached_property
    def end_id(self) -> int:
        """The token that ends a turn of the model."""
        return self._tokens.encode([self._frame.end])[0][-1]

    @property
    def opening(self) -> str:
        """Space that the template writes before an answer and no sampled answer keeps; none where spelling does not move."""
        opening = self._frame.opening
        return opening if opening.isspace() and spelling_of(self._tokenizer).moves else ""

    def prompt_texts(self, conversations: Sequence[Conversation]) -> list[str]:
        """Renders conversations that the model is to answer, with spelled-out control tokens masked.

        A last turn of the assistant begins the answer, and stays open.

        Raises:
            EngineError: the template refuses a conversation, or the beginning of an answer calls tools.
        """
        asked = [each if each.begun is None else _without_beginning(each) for each in conversations]
        texts = self._rendered(asked, to_answer=True)
        begun = [place for place, each in enumerate(conversations) if each.begun is not None]
        pairs = [(asked[place], str(conversations[place].begun)) for place in begun]
        openings = self._openings(pairs, [texts[place] for place in begun])
        for place, opening, (_, beginning) in zip(begun, openings, pairs, strict=True):
            texts[place] += opening + self._tokens.masked(beginning)
        return texts

    def encode_prompts(self, conversations: Sequence[Conversation]) -> list[list[int]]:
        """Encodes conversations as token ids that an answer follows."""
        return self._tokens.encode(self.prompt_texts(conversations))

    def shown(self, text: str) -> str:
        """Returns a rendered text without masks."""
        return self._tokens.unmasked(text)

    def encode_answers(
        self, asked: Sequence[tuple[Conversation, str, bool]]
    ) -> list[tuple[list[int], list[int]]]:
        """Encodes conversations, and what the model is to write: the answers, with the end of the turns that end.

        They meet as when the model samples: no token spans the border.

        Args:
            asked: a conversation, the answer to it, and whether its turn ends there.

        Raises:
            EngineError: as in `prompt_texts`.
        """
        prompts = self.prompt_texts([conversation for conversation, _, _ in asked])
        anew = [place for place, (conversation, _, _) in enumerate(asked) if conversation.begun is None]
        openings = [""] * len(asked)
        for place, opening in zip(
            anew,
            self._openings([asked[place][:2] for place in anew], [prompts[place] for place in anew]),
            strict=True,
        ):
            openings[place] = opening
        texts = [
            opening + self._tokens.masked(answer) + (self._frame.end if ends else "")
            for opening, (_, answer, ends) in zip(openings, asked, strict=True)
        ]
        begun = {place for place, (conversation, _, _) in enumerate(asked) if conversation.begun}
        written = self._continued(list(zip(prompts, texts, strict=True)), keeps_spaces=True, inside=begun)
        return list(zip(self._tokens.encode(prompts), written, strict=True))

    def encode_whole(self, conversations: Sequence[Conversation]) -> list[tuple[list[int], list[bool]]]:
        """Encodes whole conversations, and returns which of their tokens the model writes.

        Where the template marks that itself (`{% generation %}`), its marks decide.

        Raises:
            EngineError: a conversation has no turn of the assistant, or the template writes it differently from the prompt.
        """
        texts, spans = self._with_spans(conversations)
        pieces = [_pieces(text, own) for text, own in zip(texts, spans, strict=True)]
        joined = iter(self._continued([(before, piece) for each in pieces for before, piece, _ in each]))
        found = []
        for each in pieces:
            parts = [(next(joined), written) for _, _, written in each]
            ids = [token for part, _ in parts for token in part]
            found.append((ids, [written for part, written in parts for _ in part]))
        return found

    @cached_property
    def _frame(self) -> Frame:
        """The text around an answer, read from the rendering of a word that occurs nowhere else."""
        asked = Conversation((Turn("user", "?"),))
        answer = self._tokens.probe()
        prompt, whole = (
            self._rendered([asked], to_answer=True)[0],
            self._rendered([asked.answered(answer)])[0],
        )
        place = whole.find(answer)
        if place < 0:
            raise EngineError(
                f"chat template: it renders an assistant turn of {answer!r} as {whole[-60:]!r}, without its text, expected the "
                "text and what ends the turn. Correct the template, or set chat: false."
            )
        opening = whole[len(prompt) : place] if whole.startswith(prompt) else ""
        tail = whole[place + len(answer) :]
        stop = self._tokens.search_added(tail)
        if stop is None:
            return Frame(opening, cast(str, self._tokenizer.eos_token), None)
        return Frame(opening, tail[: stop.end()], stop[0])

    def _openings(self, pairs: Sequence[tuple[Conversation, str]], prompts: Sequence[str]) -> list[str]:
        """Returns the template's text before each answer; nothing where the answer begins with it or with another of its kind."""
        opening = self._frame.opening
        if not opening:
            return [""] * len(pairs)
        whole = self._rendered([conversation.answered(answer) for conversation, answer in pairs])
        own_space = bool(self.opening)
        return [
            opening
            if text.startswith(prompt + opening) and (own_space or not _begins_alike(answer, opening))
            else ""
            for text, prompt, (_, answer) in zip(whole, prompts, pairs, strict=True)
        ]

    def _with_spans(self, conversations: Sequence[Conversation]) -> tuple[list[str], list[list[Span]]]:
        """Renders conversations, and returns the spans that the model writes."""
        for each in conversations:
            if not any(turn.role == "assistant" for turn in each.turns):
                raise EngineError(
                    f"conversation {short(each)}: got no turn of the assistant, expected at least 1 to learn."
                )
        if all(_MARKS.search(self._text(each.tool_schemas())) for each in conversations):
            return self._marked(conversations)
        texts = self._rendered(conversations)
        return texts, [self._spans(each, text) for each, text in zip(conversations, texts, strict=True)]

    def _spans(self, conversation: Conversation, text: str) -> list[Span]:
        """Returns the spans from the end of each prompt to the first token that ends a turn."""
        answers = [place for place, turn in enumerate(conversation.turns) if turn.role == "assistant"]
        starts = []
        for place in answers:
            before = Conversation(conversation.turns[:place], conversation.tools)
            prompt = self._rendered([before], to_answer=True)[0] if place else ""
            if not place or not text.startswith(prompt):
                raise EngineError(
                    f"conversation {short(conversation)}: the chat template does not write turn {place}, the assistant's, as the "
                    "model is prompted for it, expected a template that leaves earlier turns as they are. Learn such "
                    "conversations turn by turn: rows of `messages` up to a turn, and the turn as `completion`."
                )
            starts.append(len(prompt))
        return [
            (start, self._end(conversation, text, start, stop))
            for start, stop in zip(starts, [*starts[1:], len(text)], strict=True)
        ]

    def _end(self, conversation: Conversation, text: str, start: int, stop: int) -> int:
        """Returns the end of a model's turn that begins at `start`."""
        token = self._frame.stop
        place = -1 if token is None else text.find(token, start, stop)
        if token is None or place < 0:
            expected = "a control token at its end" if token is None else repr(token)
            raise EngineError(
                f"conversation {short(conversation)}: the chat template writes an assistant turn as "
                f"{self.shown(text[start:stop])[-60:]!r}, expected {expected}. Learn such conversations turn by turn."
            )
        return place + len(token)

    def _continued(
        self, pairs: Sequence[tuple[str, str]], keeps_spaces: bool = False, inside: Set[int] = frozenset()
    ) -> list[list[int]]:
        """Encodes texts as continuations of others.

        A text is encoded together with what precedes it, back to the last control token, since a tokenizer may write the
        beginning of a text in another way. Where a token spans the border, the text is encoded by itself, and with
        `keeps_spaces` also where the token before it swallows the spaces that it begins with, as Phi-3's do. At the places
        `inside` a text continues in the middle of another; a tokenizer must not begin it with a space then.
        """
        contexts = [before[self._tokens.last_start(before) :] for before, _ in pairs]
        known = dict.fromkeys(contexts)
        encoded = dict(zip(known, self._tokens.encode(list(known)), strict=True))
        together = self._tokens.encode(
            [context + text for context, (_, text) in zip(contexts, pairs, strict=True)]
        )
        found = []
        for place, (context, (_, text), ids) in enumerate(zip(contexts, pairs, together, strict=True)):
            own = encoded[context]
            swallowed = keeps_spaces and text[:1].isspace() and self._tokens.swallows_spaces(own)
            joins = ids[: len(own)] == own and not swallowed
            alone = self._inside if place in inside or self._goes_on(own) else self._alone
            found.append(ids[len(own) :] if joins else alone(text))
        return found

    def _goes_on(self, before: Sequence[int]) -> bool:
        """Tells whether a text after these tokens is spelled as inside another, and not as by itself."""
        spelling = spelling_of(self._tokenizer)
        control = bool(before) and before[-1] in self._tokenizer.all_special_ids
        return spelling.moves and not (control and spelling.begins_after_control)

    def _alone(self, text: str) -> list[int]:
        return self._tokens.encode([text])[0]

    def _inside(self, text: str) -> list[int]:
        """Encodes a text after another, without the other's ids: Llama 2's kind begins every text with a space."""
        for anchor in spelling_of(self._tokenizer).anchors or (LINE_BREAK,):
            before, whole = self._tokens.encode([anchor, anchor + text])
            if whole[: len(before)] == before:
                return whole[len(before) :]
        return self._alone(text)

    def _rendered(self, conversations: Sequence[Conversation], to_answer: bool = False) -> list[str]:
        return [text for text, _ in self._render(conversations, to_answer, marks=False)]

    def _marked(self, conversations: Sequence[Conversation]) -> tuple[list[str], list[list[Span]]]:
        found = self._render(conversations, to_answer=False, marks=True)
        return [text for text, _ in found], [spans for _, spans in found]

    def _text(self, tools: list[Any] | None) -> str:
        """Returns the template itself; a model may have another one for tools."""
        return str(self._tokenizer.get_chat_template(None, cast(Any, tools)))

    def _render(
        self, conversations: Sequence[Conversation], to_answer: bool, marks: bool
    ) -> list[tuple[str, list[Span]]]:
        """Renders each conversation, and with `marks` returns the spans that the template marks as the model's.

        Raises:
            EngineError: the template refuses a conversation, is no template, or takes too long.
        """
        found: list[tuple[str, list[Span]]] = []
        try:
            with time_limit(SECONDS + SECONDS_EACH * len(conversations)):
                for tools, group in groupby(conversations, key=lambda each: each.tools):
                    found += self._render_alike(list(group), tools, to_answer, marks)
        except TimeLimitError as error:
            raise EngineError(
                f"conversation {short(conversations[len(found)])}: the chat template takes longer than {error}, expected far "
                "below a second. Use a model with a template that comes to an end."
            ) from error
        return found

    def _render_alike(
        self, conversations: list[Conversation], tools: str | None, to_answer: bool, marks: bool
    ) -> list[tuple[str, list[Span]]]:
        """Renders conversations with the same tools in one call: 1,024 short ones take two thirds of the time."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        schemas = conversations[0].tool_schemas()
        try:
            texts, spans = cast(Any, render_jinja_template)(
                conversations=[self._tokens.masked_values(each.for_template()) for each in conversations],
                tools=self._tokens.masked_values(schemas),
                chat_template=self._text(schemas),
                return_assistant_tokens_mask=marks,
                add_generation_prompt=to_answer,
                **self._tokenizer.special_tokens_map,
            )
        except (TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            if len(conversations) > 1:  # one by one, to find the one that it refuses
                return [
                    found
                    for each in conversations
                    for found in self._render_alike([each], tools, to_answer, marks)
                ]
            roles = ", ".join(turn.role for turn in conversations[0].turns)
            raise EngineError(
                f"conversation {short(conversations[0])}: the chat template refuses it: {error}. Got turns of {roles}, expected "
                "turns that this model's template takes. Correct the rows' messages, or use another model."
            ) from error
        own: list[list[Span]] = (
            [[(start, stop) for start, stop in each] for each in spans] if marks else [[]] * len(texts)
        )
        return list(zip(texts, own, strict=True))


def _without_beginning(conversation: Conversation) -> Conversation:
    """Returns the model's input before it began to answer.

    Raises:
        EngineError: it began with a call of tools, or unasked.
    """
    if conversation.turns[-1].tool_calls is not None or len(conversation.turns) == 1:
        raise EngineError(
            f"conversation {short(conversation)}: its last turn, the assistant's, calls tools or stands alone, expected the "
            "beginning of an answer in words. Leave that turn out."
        )
    return Conversation(conversation.turns[:-1], conversation.tools)


def _begins_alike(answer: str, opening: str) -> bool:
    """Tells whether an answer itself brings what the template would write before it: `<think>`, or the same space."""
    words = opening.split()
    return answer.lstrip().startswith(words[0]) if words else answer.startswith(opening)


def require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Checks that a tokenizer has a chat template.

    Raises:
        EngineError: it has none.
    """
    if not tokenizer.chat_template:
        raise EngineError(
            "chat: true needs a chat template, got a tokenizer without one, and so do rows with messages. "
            "Set chat: false, or use a model whose tokenizer has a chat template."
        )


def _pieces(text: str, spans: Sequence[Span]) -> list[tuple[str, str, bool]]:
    """Cuts a text at the spans: the text before each piece, the piece, and whether it is one of the spans."""
    borders = [0, *(border for span in spans for border in span), len(text)]
    cuts = [(start, stop, bool(place % 2)) for place, (start, stop) in enumerate(pairwise(borders))]
    return [(text[:start], text[start:stop], written) for start, stop, written in cuts if start < stop]
