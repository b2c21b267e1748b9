"""Every error that lineal raises on purpose.

    LinealError
    ├── DeclarationError     a YAML or SQL file says something that cannot be (exit status 2)
    ├── UsageError           a command or an argument that cannot be (exit status 2)
    ├── ProjectError         the project on disk is not as it must be (dvc.yaml is stale, no project here)
    ├── ArtifactError        an artifact is missing, half-written or not what its manifest says
    ├── DataError            rows that cannot be used: a column, an id, a value
    ├── EngineError          a model cannot be loaded, sampled or trained
    ├── MachineError         this machine lacks what a step asks for: a GPU, memory, a package
    ├── SandboxError         programs that a model wrote cannot be run safely on this machine
    ├── CheckFailure         a blocking check of a step's result failed
    ├── Waiting              a step waits for a file that people or other programs write (exit status 3)
    ├── StepBusy             another process is making the same step
    └── StepFailure          a step failed while it ran under DVC or Dagster

A message says what happened, what was got, what was expected, and the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

MOST_NAMES = 30
"""How many known names a message lists."""
MOST_PROBLEMS = 20
"""How many problems of one file a message lists."""


class LinealError(Exception):
    """Base of every deliberate error; its text is meant for the person at the terminal."""

    exit_status = 1


class DeclarationError(LinealError):
    """A declaration (YAML, SQL) is wrong; the text starts with file, line and key."""

    exit_status = 2


class ManyErrors(DeclarationError):
    """Several independent errors of one declaration, a line for each.

    Attributes:
        errors: all of them; the text shows the first.
    """

    def __init__(self, text: str, errors: Sequence[DeclarationError]) -> None:
        super().__init__(text)
        self.errors = errors


class UsageError(LinealError):
    """A command line asks for something that does not exist."""

    exit_status = 2


class ProjectError(LinealError):
    """The project's files do not fit together."""


class ArtifactError(LinealError):
    """An artifact is missing or its bytes are not what its manifest says."""


class DataError(LinealError):
    """Rows that cannot be used as they are."""


class EngineError(LinealError):
    """A model cannot be loaded, sampled or trained."""


class MachineError(LinealError):
    """This machine lacks what a step or a setting asks for."""


class SandboxError(LinealError):
    """Programs that a model wrote cannot be run safely on this machine."""


class CheckFailure(LinealError):
    """A blocking check failed, so the step's result was not published.

    Attributes:
        check: the check's name, as Dagster shows it.
    """

    def __init__(self, check: str, message: str) -> None:
        super().__init__(message)
        self.check = check


class MissingFile(ValueError):
    """A declaration names a file of the project that is not there; who reads the YAML adds file, line and key."""


class Waiting(LinealError):
    """A file that arrives between rounds is not here yet; nothing went wrong."""

    exit_status = 3


class StepBusy(LinealError):
    """Another process is making the same step right now."""


class StepFailure(LinealError):
    """A step failed; the text is the step's own error."""


class Problems:
    """Independent declaration errors, collected so that one message reports them all."""

    def __init__(self) -> None:
        self.found: list[DeclarationError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the declaration error that ends the block; what follows the block goes on."""
        try:
            yield
        except DeclarationError as error:
            self.found.append(error)

    def raise_all(self) -> None:
        """Raises what was noted, if anything was."""
        if self.found:
            raise joined(self.found)


def joined(errors: Sequence[DeclarationError]) -> DeclarationError:
    """One error as it is, several as one with a line for each."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    if len(texts) == 1:
        return errors[0]
    shown = texts[:MOST_PROBLEMS] + (
        [f"and {len(texts) - MOST_PROBLEMS} more"] if len(texts) > MOST_PROBLEMS else []
    )
    return ManyErrors("\n".join(shown), errors)


def each_of(error: DeclarationError) -> Iterator[DeclarationError]:
    """Yields the errors that one stands for."""
    if isinstance(error, ManyErrors):
        yield from chain.from_iterable(map(each_of, error.errors))
    else:
        yield error


def is_missing_file(error: DeclarationError) -> bool:
    """Tells whether nothing is wrong but that a file of the project is not there."""
    return isinstance(error.__cause__, MissingFile)


class RunFailure(StepFailure):
    """Steps of a run failed; the text is their own errors.

    Attributes:
        reported: how many of them the terminal has shown already.
    """

    def __init__(self, message: str, reported: int) -> None:
        super().__init__(message)
        self.reported = reported


def number_of(count: int, noun: str) -> str:
    """A count and its noun: `1 row`, `2,130 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A sentence that helps with an unknown name: the nearest known one, or all of them."""
    names = sorted(set(known))
    near = difflib.get_close_matches(got, names, n=1)
    if near:
        return f"Did you mean {near[0]!r}?"
    if not names:
        return "There are none."
    rest = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"Known: {', '.join(names[:MOST_NAMES])}{rest}."
