"""Kills runs at random moments, reruns them to the end, and checks that nothing was lost, doubled, changed or left behind.

    python bench/kills.py --kills 1000 --output docs/kills.json

Each cycle starts a command and sends SIGKILL after a random amount of work (processor seconds, so that a busy machine kills at
the same places, and up to 0.3 s more): to the command alone, to a process below it, or to all of them at once. The same command
follows until it ends by itself; then the project is checked and a new series begins. Commands are forked from this process, which
has the imports done, so that kills hit the work and not `import`; the series `cold` starts the installed script instead.
The moments follow from --seed, what they hit does not quite. Exit status 1 when a check fails; such a project is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from kill_project import (
    copy_project,
    dead_entries,
    drop_push_index,
    faults,
    half_written,
    kind_of_step,
    make_project,
    most_common,
    remote_faults,
    reported_twice,
    state_of,
)

ORPHAN_SECONDS = 180.0
"""How long a process may live on after its run was killed. Steps look for their parent every 0.5 s. A run that Dagster launched
goes on without what launched it, and its code server ends 45 s later."""
END_SECONDS = 900.0
MOST_SHOWN = 5
AT_ONCE = "run_coordinator:\n  module: dagster.core.run_coordinator\n  class: DefaultRunCoordinator\n"
"""Launches runs without the daemon, which would take them from its queue."""
LAUNCH = ("dagster", "job", "launch", "-m", "assets.definitions", "-j", "kills")


@dataclass
class Tally:
    """The results of one kind of series."""

    kills: int = 0
    series: int = 0
    victims: Counter[str] = field(default_factory=Counter)
    during: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    dvc_stopped: Counter[str] = field(default_factory=Counter)
    slowest_orphan: float = 0.0
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "kills": self.kills,
            "series": self.series,
            "faults": self.faults,
            "dvc_stopped": most_common(self.dvc_stopped),
            "victims": most_common(self.victims),
            "during": most_common(self.during),
            "slowest_orphan": round(self.slowest_orphan, 2),
            "seconds": round(self.seconds),
        }


EARLY = (0.3, 0.3, 1.0)
"""The share of a span in which a kill comes, drawn for each."""


@dataclass(frozen=True)
class Campaign:
    """The common state of all series."""

    directory: Path
    moments: random.Random
    templates: dict[str, Path]
    expected: dict[str, Any]


def main() -> None:
    """Runs the series in turns until there were enough kills; prints and writes what came of them."""
    arguments = _arguments()
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    _import_everything()
    from lineal.step.forkserver import fork_server

    os.environ["DAGSTER_HOME"] = ""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    directory = Path(tempfile.mkdtemp(prefix="kills-", dir=arguments.directory))
    chosen = arguments.series.split(",")
    tallies = _earlier(arguments.output)
    tallies |= {name: Tally() for name in chosen if name not in tallies}
    goal = sum(tally.kills for tally in tallies.values()) + arguments.kills
    with fork_server((), "fake"):
        campaign = _prepared(directory, random.Random(arguments.seed), chosen)
        turns = 0
        while sum(tally.kills for tally in tallies.values()) < goal:
            name = chosen[turns % len(chosen)]
            _one_series(campaign, name, tallies[name], turns)
            turns += 1
            _write(arguments.output, tallies)
    wrong = [fault for tally in tallies.values() for fault in tally.faults]
    if not wrong:
        shutil.rmtree(directory)
    sys.exit(bool(wrong))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="stop after so many (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the moments and the victims (default: %(default)s)"
    )
    parser.add_argument(
        "--series", default=",".join(SERIES), help="which, in this order (default: %(default)s)"
    )
    parser.add_argument(
        "--directory", type=Path, help="where the projects go (default: the system's temporary directory)"
    )
    parser.add_argument(
        "--output", type=Path, help="a JSON file for the figures; those of earlier calls are added up"
    )
    return parser.parse_args()


def _earlier(output: Path | None) -> dict[str, Tally]:
    """The figures of earlier calls."""
    if output is None or not output.exists():
        return {}
    series = json.loads(output.read_text(encoding="utf-8"))["series"]
    counters = ("victims", "during", "dvc_stopped")
    return {
        name: Tally(**{key: Counter(value) if key in counters else value for key, value in one.items()})
        for name, one in series.items()
    }


def _write(output: Path | None, tallies: dict[str, Tally]) -> None:
    """Prints the figures, and writes them."""
    said = [
        f"{name} {one.kills} kills, {one.series} series, {len(one.faults)} faults"
        for name, one in tallies.items()
    ]
    print("; ".join(said), flush=True)
    if output:
        figures = {"series": {name: one.as_json() for name, one in tallies.items()}}
        output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


# -- commands ---------------------------------------------------------------------------------------------------------


def _import_everything() -> None:
    """Imports what the commands need, so that forked ones begin to work at once."""
    import dagster._cli  # noqa: F401
    import dvc.cli
    import dvc.commands.data_sync
    import dvc.commands.repro
    import dvc.repo.reproduce  # noqa: F401

    import lineal.audit.catalog
    import lineal.audit.trace.retraction
    import lineal.cli.main
    import lineal.orchestrate.dagster_run
    import lineal.orchestrate.dagster_sync
    import lineal.orchestrate.dvc_repo
    import lineal.orchestrate.retracting  # noqa: F401


def forked(root: Path, action: Callable[[], int | None], log: Path) -> int:
    """Starts an action in a child that leads a process group of its own, in the project; returns the child's id."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        os.setsid()
        os.chdir(root)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ["PWD"] = str(root)
        status = int(action() or 0)
    except SystemExit as error:
        status = int(error.code or 0) if not isinstance(error.code, str) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _command(words: tuple[str, ...], cold: bool) -> Callable[[], int | None]:
    if cold:
        return lambda: os.execv(str(Path(sys.executable).with_name(words[0])), list(words))
    return lambda: _commands()[words[0]](list(words[1:]))


def _commands() -> dict[str, Callable[[list[str]], int | None]]:
    import dagster._cli
    import dvc.cli

    from lineal.cli.main import run_command

    def launch(arguments: list[str]) -> int:
        os.environ["DAGSTER_HOME"] = str(Path.cwd() / ".dagster")
        dagster._cli.cli(arguments, standalone_mode=False)
        return 0

    return {"lineal": run_command, "dvc": dvc.cli.main, "dagster": launch}


def in_child(root: Path, ask: Callable[[], Any]) -> Any:
    """Runs a function in a forked child, so that this process opens no database of a project."""
    answer = root.with_suffix(".answer")
    log = root.with_suffix(".check.log")
    process = forked(root, lambda: answer.write_text(json.dumps(ask()), encoding="utf-8") and 0, log)
    if os.waitpid(process, 0)[1]:
        raise SystemExit(f"a check failed in {root}:\n{log.read_text(encoding='utf-8')}")
    return json.loads(answer.read_text(encoding="utf-8"))


def to_the_end(root: Path, *words: str, cold: bool = False) -> tuple[int, str]:
    """Runs a command undisturbed; its exit status and what it printed."""
    log = root.with_suffix(".log")
    process = forked(root, _command(words, cold), log)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    _gone(root)
    return status, log.read_text(encoding="utf-8", errors="replace")


# -- killing ----------------------------------------------------------------------------------------------------------


def below(root: Path) -> list[psutil.Process]:
    """The living processes whose working directory is the project: all that a command starts is there."""
    found, place = [], f"{root}/"
    for name in os.listdir("/proc"):
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            if f"{os.readlink(f'/proc/{int(name)}/cwd')}/".startswith(place):
                found.append(psutil.Process(int(name)))
    return found


def _work(root: Path) -> float:
    """Processor seconds that the processes of the project and their dead children have taken."""
    seconds = 0.0
    for process in below(root):
        with contextlib.suppress(psutil.Error):
            seconds += sum(process.cpu_times()[:4])
    return seconds


def _gone(root: Path) -> float:
    """Waits until no process of the project is left; how long it took.

    Raises:
        TimeoutError: one lives on.
    """
    began = time.monotonic()
    while below(root):
        if time.monotonic() - began > ORPHAN_SECONDS:
            left = [" ".join(process.cmdline()) for process in below(root)]
            for process in below(root):
                process.kill()
            raise TimeoutError(f"orphans: {left}")
        time.sleep(0.05)
    return time.monotonic() - began


def until_it_ends(
    campaign: Campaign,
    root: Path,
    words: tuple[str, ...],
    tally: Tally,
    span: tuple[float, float],
    cold: bool = False,
) -> str:
    """Kills a command again and again until it ends by itself; what it printed at last.

    Two of three kills come early, so that a series has more of them; with each attempt they come a little later.
    """
    log = root.with_suffix(".log")
    attempt = 0
    while True:
        attempt += 1
        process = forked(root, _command(words, cold), log)
        ended = _wait(
            root,
            process,
            campaign.moments.uniform(*span) * campaign.moments.choice(EARLY) * (1 + attempt / 20),
            campaign.moments.uniform(0, 0.3),
        )
        killed = None if ended is not None else _kill(campaign, root, process, tally)
        status = ended if ended is not None else _reaped(process)
        try:
            tally.slowest_orphan = max(tally.slowest_orphan, _gone(root))
        except TimeoutError as error:
            tally.faults.append(f"{root.name}: after a kill of {killed}: {error}")
        text = log.read_text(encoding="utf-8", errors="replace")
        # a launch ends before its run, so its end says nothing
        ended_well = status == 0 and killed != "the command" and words != LAUNCH
        if killed is None or ended_well:
            if status:
                raise RuntimeError(f"{' '.join(words)} ended with {status} on its own: {text[-600:]}")
            return text
        if attempt > 200:
            raise RuntimeError(f"{' '.join(words)} came to no end in 200 attempts")


def _wait(root: Path, process: int, work: float, pause: float) -> int | None:
    """Waits until a command has done some work, and a moment longer; its exit status when it ends before that.

    A launched run counts as running while its processes do.
    """
    deadline, status, reached = time.monotonic() + END_SECONDS, None, False
    while time.monotonic() < deadline:
        if status is None:
            done, raw = os.waitpid(process, os.WNOHANG)
            status = os.waitstatus_to_exitcode(raw) if done else None
        if status is not None and not below(root):
            return status
        if not reached and _work(root) >= work:
            deadline, reached = time.monotonic() + pause, True
        time.sleep(0.02)
    return None


def _kill(campaign: Campaign, root: Path, process: int, tally: Tally) -> str:
    """Sends SIGKILL to the command, to a process below it or to all; says to whom."""
    others = [one for one in below(root) if one.pid != process]
    steps = {kind for one in others for kind in [_kind(one)] if kind}
    victim = campaign.moments.choice(["the command", "the command", "a process below it", "all"])
    if victim == "a process below it" and others:
        campaign.moments.choice(sorted(others, key=lambda one: one.pid)).kill()
    elif victim == "all":
        for one in others:
            with contextlib.suppress(psutil.Error):
                one.kill()
    if victim != "a process below it" or not others:
        victim = "all" if victim == "all" else "the command"
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    tally.kills += 1
    tally.victims[victim] += 1
    tally.during.update(steps or ["between steps"])
    return victim


def _reaped(process: int) -> int:
    """The exit status of a command that may have ended, and been reaped, before what it started."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except ChildProcessError:
        return 0


def _kind(process: psutil.Process) -> str:
    try:
        return kind_of_step(" ".join(process.cmdline()))
    except psutil.Error:
        return ""


# -- series -----------------------------------------------------------------------------------------------------------


def _prepared(directory: Path, moments: random.Random, chosen: list[str]) -> Campaign:
    """The projects that series begin from, made undisturbed, and what they must come to."""
    fresh = make_project(directory / "fresh", "fake", "spawn")
    templates = {"fresh": fresh, "cold": make_project(directory / "cold", "fake", "fork")}
    templates["finished"] = _made(copy_project(fresh, directory / "finished"), "lineal", "run")
    expected = {"finished": in_child(templates["finished"], lambda: state_of(templates["finished"]))}
    if "sync" in chosen:
        templates["outside"] = _made(copy_project(fresh, directory / "outside"), "dvc", "repro")
    if "real" in chosen:
        templates["real"] = make_project(directory / "real", "transformers", "spawn")
        done = _made(copy_project(templates["real"], directory / "real-finished"), "lineal", "run")
        expected["real"] = in_child(done, lambda: state_of(done))
    if "retract" in chosen:
        retracted = copy_project(templates["finished"], directory / "retracted")
        _made(retracted, "lineal", *retraction_of(retracted))
        _made(retracted, "lineal", "run")
        expected["retracted"] = in_child(retracted, lambda: state_of(retracted))
    return Campaign(directory, moments, templates, expected)


def _made(root: Path, *words: str) -> Path:
    status, text = to_the_end(root, *words)
    if status:
        raise SystemExit(f"{' '.join(words)} failed in {root}:\n{text}")
    return root


def _one_series(campaign: Campaign, name: str, tally: Tally, number: int) -> None:
    began = time.monotonic()
    root = campaign.directory / f"{name}-{number:04d}"
    try:
        found = SERIES[name](campaign, root, tally)
    except RuntimeError as error:
        found = [str(error)]
    tally.faults += [f"{root.name}: {fault}" for fault in found]
    for fault in found[:MOST_SHOWN]:
        print(f"FAULT {root}: {fault}", flush=True)
    tally.series += 1
    tally.seconds += time.monotonic() - began
    if not found:
        shutil.rmtree(root)


def _run(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["fresh"], root)
    until_it_ends(campaign, root, ("lineal", "run"), tally, (0.0, 5.0))
    return _checked(root, campaign.expected["finished"])


def _cold(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["cold"], root)
    until_it_ends(campaign, root, ("lineal", "run"), tally, (0.5, 8.0), cold=True)
    return _checked(root, campaign.expected["finished"])


def _real(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["real"], root)
    until_it_ends(campaign, root, ("lineal", "run"), tally, (0.0, 12.0))
    return _checked(root, campaign.expected["real"])


def _repro(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["fresh"], root)
    while True:
        try:
            until_it_ends(campaign, root, ("dvc", "repro"), tally, (0.0, 4.0))
            break
        except RuntimeError as error:  # DVC writes both files in place, and stops for good on half of one
            left = {
                "RWLock-file": ".dvc/tmp/rwlock",
                "dvc.lock' validation": "dvc.lock",
                "dvc.lock' is invalid": "dvc.lock",
            }
            half = next((path for said, path in left.items() if said in str(error)), None)
            if half is None:
                raise
            (root / half).unlink()
            tally.dvc_stopped[f"half-written {half}"] += 1
    if dead_entries(root):  # DVC passes over them until their process ids are given to others
        (root / ".dvc" / "tmp" / "rwlock").unlink()
        tally.dvc_stopped["entries of dead processes in .dvc/tmp/rwlock"] += 1
    return _checked(root, campaign.expected["finished"])


def _launched(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["fresh"], root)
    with (root / ".dagster" / "dagster.yaml").open("a", encoding="utf-8") as settings:
        settings.write(AT_ONCE)
    until_it_ends(campaign, root, LAUNCH, tally, (0.0, 8.0))
    return _checked(root, campaign.expected["finished"])


def retraction_of(root: Path) -> tuple[str, ...]:
    """The arguments that retract one prompt of the project."""
    import pyarrow.parquet as pq

    (path, *_) = sorted((root / "artifacts" / "kills" / "tasks" / "train").glob("*.parquet"))
    prompt = min(pq.read_table(path, columns=["prompt_id"])["prompt_id"].to_pylist())
    return ("retract", "--id", prompt, "--reason", "a kill campaign", "--name", "campaign")


def _retract(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["finished"], root)
    words = ("lineal", *in_child(root, lambda: list(retraction_of(root))))
    try:
        until_it_ends(campaign, root, words, tally, (0.0, 1.5))
    except RuntimeError as error:
        if "has a retraction" not in str(error):
            raise
    until_it_ends(campaign, root, ("lineal", "run"), tally, (0.0, 5.0))
    return _checked(root, campaign.expected["retracted"])


def _sync(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["outside"], root)
    until_it_ends(campaign, root, ("lineal", "sync"), tally, (0.0, 1.5))
    return [*in_child(root, lambda: reported_twice(root)), *_checked(root, campaign.expected["finished"])]


def _push(campaign: Campaign, root: Path, tally: Tally) -> list[str]:
    copy_project(campaign.templates["finished"], root)
    remote = root.with_suffix(".remote")
    subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", str(remote)], cwd=root, check=True
    )
    while True:
        try:
            until_it_ends(campaign, root, ("dvc", "push"), tally, (0.0, 0.8))
            break
        except (
            RuntimeError
        ) as error:  # DVC copies into place: a half-written object of a directory stops every later push
            if " is corrupted" not in str(error):
                raise
            _remove_half_written(remote, tally)
    _remove_half_written(remote, tally)
    if remote_faults(remote, root / ".dvc" / "cache"):
        # killed while it collects, DVC takes the part for the whole from then on
        tally.dvc_stopped["push left objects out"] += 1
        in_child(root, lambda: drop_push_index(root))
        _made(root, "dvc", "push")
    if remote_faults(remote, root / ".dvc" / "cache"):
        tally.dvc_stopped["directory's list in the remote without its files"] += 1
        _remove_lists(remote)
        _made(root, "dvc", "push")
    found = remote_faults(remote, root / ".dvc" / "cache")
    shutil.rmtree(remote)
    return [*found, *_checked(root, campaign.expected["finished"])]


def _remove_half_written(remote: Path, tally: Tally) -> None:
    """Removes such objects, and every directory's list: DVC takes the files of a list that is there for pushed."""
    found = half_written(remote)
    for path in found.values():
        path.unlink()
    if found:
        tally.dvc_stopped["half-written object in the remote"] += len(found)
        _remove_lists(remote)


def _remove_lists(remote: Path) -> None:
    for path in list(remote.rglob("*.dir")):
        path.unlink()


def _checked(root: Path, expected: dict[str, Any]) -> list[str]:
    status, text = to_the_end(root, "lineal", "sync")
    if status:
        return [f"lineal sync ended with {status}: {text[-600:]}"]
    return list(in_child(root, lambda: faults(root, expected)))


SERIES = {
    "run": _run,
    "repro": _repro,
    "retract": _retract,
    "sync": _sync,
    "push": _push,
    "real": _real,
    "launched": _launched,
    "cold": _cold,
}


if __name__ == "__main__":
    main()
