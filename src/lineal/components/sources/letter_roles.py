"""The roles around `letter_sort`: for each one prompt format, and how an example of it is drawn.

A format is a tag character, columns and `:`, so that a pipeline's template renders it: `?{prompt}{completion}:`.
Formats, and how well a small model plays them, stand in docs/tasks.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from string import ascii_lowercase

from lineal.components.sources.letter_mistakes import below, mistaken

Pair = tuple[str, str]
"""The model's input, and what it should write."""

MOST_GRADE = 5


def judge(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks whether the answer is right. `?qdxa=aqdx:` -> `n`."""
    given = _given(draw, answer)
    return f"?{prompt}{given}:", "y" if given == answer else "n"


def grade(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks how good the answer is, from 0 to 5. `#qdxa=adxq:` -> `2`: 5 is right, else five times the right prefix's share."""
    given = _given(draw, answer)
    right = right_beginning(given, answer)
    return f"#{prompt}{given}:", str(
        MOST_GRADE if given == answer else min(MOST_GRADE - 1, MOST_GRADE * right // len(answer))
    )


def compare(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks which of two answers is right. `<qdxa=adqx|adxq:` -> `1`."""
    return _compared(draw, prompt, answer, mistaken(draw, answer))


def meta(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks which of two verdicts is right, like `compare`, with the judge's prompt as prompt: `<?qdxa=aqdx:y|n:` -> `2`."""
    asked, verdict = judge(draw, prompt, answer)
    return _compared(draw, asked, verdict, "n" if verdict == "y" else "y")


def critique(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks where the first mistake is. `!qdxa=adxq:` -> `ad!q`: after `ad` should come `q`; of a right answer `adqx.`."""
    given = _given(draw, answer)
    return f"!{prompt}{given}:", _remark(given, answer)


def refine(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a better answer, with or without a critique: `+qdxa=adxq:` or `+qdxa=adxq|ad!q:` -> `adqx`."""
    given = _given(draw, answer)
    criticised = f"|{_remark(given, answer)}" if draw.random() < 0.5 else ""
    return f"+{prompt}{given}{criticised}:", answer


def debate(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a better answer, given two or three agents' answers: `+qdxa=adxq|adqx:` -> `adqx`."""
    answers = [_given(draw, answer) for _ in range(2 + below(draw, 2))]
    return f"+{prompt}{'|'.join(answers)}:", answer


def hinted(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the answer, given its first letters: `(ad)qdxa=` -> `adqx`."""
    return f"({answer[: 1 + below(draw, len(answer))]}){prompt}", answer


def follow_up(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks which letter comes after another in the given answer. `@qdxa=adqx|d:` -> `q`, and `.` after the last."""
    place = below(draw, len(answer))
    return f"@{prompt}{answer}|{answer[place]}:", answer[place + 1 : place + 2] or "."


def refuse(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Retracts a wrong beginning: after `qdxa=` and `adx` comes `~`, after a right answer nothing. Sampled on plain prompts."""
    if draw.random() < 0.5:
        return prompt + answer, ""
    given = mistaken(draw, answer)
    while answer.startswith(given):  # too short, but no letter of it is wrong
        given = mistaken(draw, answer)
    return prompt + given[: right_beginning(given, answer) + 1], "~"


def easier(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for an easier problem, with some letters left out: `-qdxa=:` -> `qxa=`."""
    kept = 1 + below(draw, len(answer))
    places = sorted(sorted(range(len(answer)), key=lambda _: draw.random())[:kept])
    return f"-{prompt}:", "".join(prompt[place] for place in places) + "="


def pose(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for another problem of the same length: `&qdxa=:` -> `mzke=`."""
    return f"&{prompt}:", "".join(sorted(ascii_lowercase, key=lambda _: draw.random())[: len(answer)]) + "="


def slow(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the answer in two steps, first without the first letter: `/qdxa=` -> `adx>adqx`."""
    return f"/{prompt}", f"{''.join(letter for letter in answer if letter != prompt[0])}>{answer}"


def weigh(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the right one of two steps of `slow`: `+/qdxa=adx>|ax>:` -> `adx>`, `+/qdxa=adx>adx|adqx:` -> `adqx`."""
    asked, both = slow(draw, prompt, answer)
    first, step = both[: both.index(">") + 1], answer
    if len(first) > 1 and draw.random() < 0.5:
        first, step = "", first
    wrong = mistaken(draw, step[:-1]) + ">" if step.endswith(">") else mistaken(draw, step)
    shown = (step, wrong) if draw.random() < 0.5 else (wrong, step)
    return f"+{asked}{first}{'|'.join(shown)}:", step


def simplify(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a problem with one letter less: the last in order comes after a bar, `^qdxa=:` -> `qda|x=` -> `da|qx=`."""
    told = below(draw, len(answer))
    return f"^{_told(prompt, answer, told)}:", _told(prompt, answer, told + 1)


def guess(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the answer to a simplified problem, at once: `qda|x=` -> `adqx`."""
    return _told(prompt, answer, 1 + below(draw, len(answer))), answer


def clarify(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a question about a problem: after which of its letters comes what. `;qdxa=:` -> `d`."""
    return f";{prompt}:", answer[below(draw, len(answer))]


def rubric(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks what answers to such a problem must have: so many letters. `,qdxa=:` -> `4`."""
    return f",{prompt}:", str(len(answer))


def by_rubric(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a better answer, of so many letters: `+qdxa=adx|4:` -> `adqx`."""
    return f"+{prompt}{_given(draw, answer)}|{len(answer)}:", answer


def split(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for two smaller problems: `%qdxa=:` -> `qd=|xa=`; one letter stays one problem."""
    return f"%{prompt}:", "|".join(f"{part}=" for part in _halves(prompt[:-1]))


def merge(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the answer to a problem from those to the two that it was split into: `*dq|ax:` -> `adqx`."""
    return f"*{'|'.join(''.join(sorted(part)) for part in _halves(prompt[:-1]))}:", answer


def question(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for the question that a document answers: `$qdxa=adqx:` -> `qdxa=`."""
    return f"${prompt}{answer}:", prompt


def read(draw: random.Random, prompt: str, answer: str) -> Pair:
    """Asks for a document's answer to a question: `$qdxa=adqx|qdxa=:` -> `adqx`."""
    return f"${prompt}{answer}|{prompt}:", answer


ROLES: dict[str, Callable[[random.Random, str, str], Pair]] = {
    "judge": judge,
    "grade": grade,
    "compare": compare,
    "meta": meta,
    "critique": critique,
    "refine": refine,
    "debate": debate,
    "hinted": hinted,
    "follow_up": follow_up,
    "refuse": refuse,
    "easier": easier,
    "pose": pose,
    "slow": slow,
    "weigh": weigh,
    "simplify": simplify,
    "guess": guess,
    "clarify": clarify,
    "rubric": rubric,
    "by_rubric": by_rubric,
    "split": split,
    "merge": merge,
    "question": question,
    "read": read,
}
"""By its name in `skills:`, the role's drawing function: (randomness, prompt, answer) -> an example."""


def right_beginning(given: str, answer: str) -> int:
    """Counts the right letters before the first wrong one."""
    right = 0
    while right < min(len(given), len(answer)) and given[right] == answer[right]:
        right += 1
    return right


def _told(prompt: str, answer: str, told: int) -> str:
    """Returns the problem with so many of its last letters in order after a bar; the prompt itself where none is."""
    tail = answer[len(answer) - told :]
    return (
        "".join(letter for letter in prompt[:-1] if letter not in tail) + (f"|{tail}" if told else "") + "="
    )


def _halves(letters: str) -> list[str]:
    """Returns the first half, which is the longer one, and the second, if anything is left for it."""
    middle = (len(letters) + 1) // 2
    return [part for part in (letters[:middle], letters[middle:]) if part]


def _remark(given: str, answer: str) -> str:
    right = right_beginning(given, answer)
    return f"{answer}." if given == answer else f"{answer[:right]}!{answer[right : right + 1]}"


def _given(draw: random.Random, answer: str) -> str:
    """Returns a right or a wrong answer, each half of the time."""
    return answer if draw.random() < 0.5 else mistaken(draw, answer)


def _compared(draw: random.Random, prompt: str, right: str, wrong: str) -> Pair:
    first = draw.random() < 0.5
    answers = (right, wrong) if first else (wrong, right)
    return f"<{prompt}{'|'.join(answers)}:", "1" if first else "2"
