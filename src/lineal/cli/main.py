"""`lineal`: the commands, and the one place where errors become messages and exit statuses."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from lineal import __version__
from lineal.cli import (
    ablating,
    accepting,
    checking,
    components,
    labelling,
    look,
    merging,
    planning,
    prove,
    pruning,
    retracting,
    running,
    schema,
    sharing,
    trying,
)
from lineal.cli.running import RUN
from lineal.errors import LinealError, RunFailure, Waiting

INTERRUPTED = 130


class _ByTask(click.Group):
    """Lists its commands by task."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a section for each task."""
        for task, commands in _BY_TASK.items():
            with formatter.section(task):
                formatter.write_dl([(command.name or "", command.short_help or "") for command in commands])


@click.group(cls=_ByTask, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lineal")
@click.option(
    "-C",
    "--project",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The project, or a directory in it.",
)
@click.pass_context
def lineal(context: click.Context, project: Path) -> None:
    """Declared, versioned, auditable rounds of self-improvement for language models."""
    context.obj = project
    context.color = False if os.environ.get("NO_COLOR") else None


_BY_TASK: dict[str, tuple[click.Command, ...]] = {
    "Write and check a project": (
        sharing.init,
        components.components,
        schema.schema,
        trying.try_,
        checking.check,
        planning.plan,
    ),
    "Run": (planning.status, running.run, labelling.label, running.sync, running.ui),
    "Ask about results": (
        look.show,
        look.trace,
        look.taint,
        prove.diff,
        prove.contamination,
        ablating.ablate,
        look.report,
        sharing.export,
        sharing.openlineage,
    ),
    "Maintain": (retracting.retract, accepting.accept, pruning.prune, merging.resolve),
}

for _command in (command for commands in _BY_TASK.values() for command in commands):
    _command.short_help = (
        " ".join((_command.help or "").split()).partition(". ")[0].rstrip(".")
    )  # click would truncate it
    lineal.add_command(_command)
for _hidden in (running.step, prove.round_):
    lineal.add_command(_hidden)


_ROOM = "Free some space, then run again: finished work is kept"
_TEAM = (
    "Several users of a project need one group, directories that keep it (chmod g+s), and umask 002; what somebody made "
    "before needs chmod g+w by its owner"
)
_FIXES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "Raise the limit of this process (ulimit -f), then run again: finished work is kept",
    errno.EACCES: _TEAM,
    errno.EPERM: _TEAM,
    errno.EROFS: "It is on a file system that is read-only",
}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised for: Dagster wraps what its database says."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _problem_of_machine(error: BaseException) -> str:
    """Says what the operating system or Dagster's database refused: a full disk, another user's file; empty for other errors."""
    database = getattr(sys.modules.get("sqlalchemy.exc"), "DBAPIError", None)
    if database is not None and isinstance(error, database):
        fix = _TEAM if "readonly" in str(error.orig) else f"{_ROOM}; if it lies elsewhere, see that it is up"
        return f"Dagster's database says: {error.orig}. {fix}"
    if not isinstance(error, OSError) or error.strerror is None:
        return ""
    where = f"{error.filename}: " if error.filename else ""
    fix = _FIXES.get(error.errno or 0, "")
    return f"{where}{error.strerror}" + (f". {fix}" if fix else "")


def run_command(arguments: list[str] | None = None) -> int:
    """Runs one command line; errors go to stderr.

    Returns:
        0 done, 1 a step or check failed, 2 wrong use, 3 waiting for a file, 130 interrupted.
    """
    try:
        lineal.main(arguments, prog_name="lineal", standalone_mode=False)
    except RunFailure as error:
        said = f"{error.reported} steps failed" if error.reported > 1 else "a step failed"
        click.echo(
            f"error: {said}, as reported above; what does not depend on it is made"
            if error.reported
            else f"error: {error}",
            err=True,
        )
        return error.exit_status
    except LinealError as error:
        if RUN not in os.environ:  # else `lineal run` reports it
            click.echo(f"{'waiting' if isinstance(error, Waiting) else 'error'}: {error}", err=True)
        return error.exit_status
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        if "DVC_STAGE" not in os.environ:  # else `lineal run` or `dvc repro` says it
            click.echo(
                "interrupted: what is finished is kept; the same command continues from there", err=True
            )
        return INTERRUPTED
    except Exception as error:
        problem = next(filter(None, map(_problem_of_machine, _chain(error))), None)
        if problem is None:
            raise
        click.echo(f"error: {problem}", err=True)
        return 1
    return 0
