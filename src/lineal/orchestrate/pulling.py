"""`lineal run --pull`: brings a selection from DVC's remote.

Artifacts come into DVC's cache, from where a run puts them into place; data files that DVC keeps, to their paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.records import lies_here
from lineal.data.tracked import tracked
from lineal.errors import ProjectError
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.plan import Plan, Step
from lineal.step.files import absent_files
from lineal.step.status import State, StepStatus

if TYPE_CHECKING:
    from dvc.repo import Repo


def wanted_from_remote(
    plan: Plan, decided: Mapping[str, StepStatus], chosen: Iterable[Step], making: Iterable[Step]
) -> dict[str, str]:
    """Returns by key the MD5 of artifacts that are not here: of the chosen steps, and of those that would be made."""
    asked = {
        step.key: step
        for step in (*chosen, *making)
        if decided[step.key].state in (State.RECORDED, State.MISSING)
    }
    recorded = locked_artifacts(plan.project.root)
    keys = [key for step in asked.values() for key in step.artifact_keys().values()]
    return {key: recorded[key] for key in keys if key in recorded and not lies_here(plan.project, key)}


def pull(root: Path, wanted: Mapping[str, str]) -> list[str]:
    """Brings directories from DVC's remote into its cache, the lists of their files first.

    Returns:
        the keys that the remote does not have whole.

    Raises:
        ProjectError: there is no remote, or it cannot be asked.
    """
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    with _remote_named(next(iter(wanted))), Repo(str(root)) as repo:
        repo.cloud.pull([HashInfo("md5", md5) for md5 in wanted.values()])
        files = {info for md5 in wanted.values() for info in _files(repo, md5)}
        repo.cloud.pull(sorted(files, key=lambda info: info.value))
        return [key for key, md5 in wanted.items() if not _is_whole(repo, md5)]


def wanted_data(plan: Plan, steps: Iterable[Step]) -> dict[Path, str]:
    """Returns files that steps read, that are missing, and that DVC keeps, with the fix where no remote has them."""
    root = plan.project.root.absolute()
    files = {
        file: None
        for step in steps
        for file in absent_files(step.component).values()
        if file.is_relative_to(root)
    }
    kept = {file: found for file in files if (found := tracked(root, file)) is not None}
    return {
        file: f"Make it: dvc repro {one.stage}" if one.stage else "Where it lies: dvc push"
        for file, one in kept.items()
    }


def pull_data(root: Path, files: Iterable[Path]) -> list[Path]:
    """Brings files that DVC keeps from its remote (or its cache) to their paths.

    Returns:
        those that are still not here.

    Raises:
        ProjectError: the remote cannot be asked.
    """
    from dvc.repo import Repo

    targets = [str(file) for file in files]
    with _remote_named(targets[0]), Repo(str(root)) as repo:
        repo.pull(targets=targets, allow_missing=True)
    return [Path(target) for target in targets if not Path(target).exists()]


@contextmanager
def _remote_named(first: str) -> Iterator[None]:
    """Reports DVC's errors with its remotes in the words of `--pull`."""
    from dvc.exceptions import DvcException

    try:
        yield
    except (DvcException, OSError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        if "no remote" in said:
            fix = f"Add one: dvc remote add --default NAME URL; or make it again: lineal run --remake {first}"
            raise ProjectError(
                f"--pull: the project has no DVC remote to bring {first} from. {fix}"
            ) from error
        raise ProjectError(f"--pull: DVC's remote gives nothing: {said}. See: dvc remote list") from error


def _files(repo: Repo, md5: str) -> Iterator[Any]:
    """Yields the files in a directory's list; nothing where the cache lacks the list."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    try:
        yield from (info for _, _, info in Tree.load(repo.cache.local, HashInfo("md5", md5)))
    except FileNotFoundError:
        return


def _is_whole(repo: Repo, md5: str) -> bool:
    files = list(_files(repo, md5))
    return bool(files) and all(Path(repo.cache.local.oid_to_path(info.value)).is_file() for info in files)
