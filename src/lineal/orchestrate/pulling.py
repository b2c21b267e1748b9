"""`lineal run --pull`: artifacts from DVC's remote into its cache, from where a run puts them into place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineal.data.records import lies_here
from lineal.errors import ProjectError
from lineal.orchestrate.dvc_lock import locked_artifacts
from lineal.plan import Plan, Step
from lineal.step.status import State, StepStatus

if TYPE_CHECKING:
    from dvc.repo import Repo


def wanted_from_remote(
    plan: Plan, decided: Mapping[str, StepStatus], chosen: Iterable[Step], making: Iterable[Step]
) -> dict[str, str]:
    """By key, the MD5 in `dvc.lock` of artifacts that are not here: of the chosen steps, and of those that would be made."""
    asked = {step.key: step for step in (*chosen, *making) if decided[step.key].state in (State.RECORDED, State.MISSING)}
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
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        with Repo(str(root)) as repo:
            repo.cloud.pull([HashInfo("md5", md5) for md5 in wanted.values()])
            files = {info for md5 in wanted.values() for info in _files(repo, md5)}
            repo.cloud.pull(sorted(files, key=lambda info: info.value))
            return [key for key, md5 in wanted.items() if not _is_whole(repo, md5)]
    except (DvcException, OSError) as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        if "no remote" in said:
            fix = f"Add one: dvc remote add --default NAME URL; or make it again: lineal run --remake {next(iter(wanted))}"
            raise ProjectError(f"--pull: the project has no DVC remote to bring {next(iter(wanted))} from. {fix}") from error
        raise ProjectError(f"--pull: DVC's remote gives nothing: {said}. See: dvc remote list") from error


def _files(repo: Repo, md5: str) -> Iterator[Any]:
    """What a directory's list names; nothing where the cache lacks the list."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    try:
        yield from (info for _, _, info in Tree.load(repo.cache.local, HashInfo("md5", md5)))
    except FileNotFoundError:
        return


def _is_whole(repo: Repo, md5: str) -> bool:
    files = list(_files(repo, md5))
    return bool(files) and all(Path(repo.cache.local.oid_to_path(info.value)).is_file() for info in files)
