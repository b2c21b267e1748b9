"""A project as it was at a git revision: declarations and data from git, artifacts from DVC's cache, the working tree untouched.

The view is a temporary directory of symbolic links into the cache, so it costs a few milliseconds whatever the artifacts'
sizes. Reading is all it is for: a write through it would reach the cache.

A plan also looks at the files that pipelines name (`data/`, `models/`); `dvc.yaml` and `dvc.lock` list them. Those that git
doesn't hold are known by the MD5 in `dvc.lock`: they come from DVC's cache or, if it still has that MD5, from the working tree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lineal.data.digests import NAME as DIGESTS
from lineal.data.digests import Digests
from lineal.data.git import git
from lineal.data.records import record_directory
from lineal.data.tracked import SUFFIX
from lineal.errors import ArtifactError, ProjectError, UsageError
from lineal.orchestrate.dvc_lock import DVC_LOCK, locked_artifacts, named_files
from lineal.orchestrate.dvc_record import directory_md5
from lineal.orchestrate.dvc_yaml import DVC_YAML
from lineal.recipe.accepted import ACCEPTED
from lineal.recipe.policies import POLICIES
from lineal.recipe.project import PARAMS, PIPELINES, Project, open_project
from lineal.recipe.retractions import RETRACTED, RETRACTIONS

if TYPE_CHECKING:
    from dvc.repo import Repo

DECLARED = (PARAMS, DVC_YAML, DVC_LOCK, RETRACTIONS, RETRACTED, ACCEPTED)
"""Paths that a view always has from git, beside `pipelines/` and `policies/`."""
_FILE_MODES = ("100644", "100755")


@dataclass(frozen=True)
class View:
    """A project at a revision.

    Attributes:
        project: the project, in a directory of its own that is removed with the view.
        revision: the commit's full SHA.
        missing: by artifact key, why it is not in the view, but for its record; empty when everything is there.
        absent: files that steps read and that are nowhere with the bytes that `dvc.lock` recorded.
    """

    project: Project
    revision: str
    missing: Mapping[str, str]
    absent: tuple[str, ...] = ()


@contextmanager
def project_at(root: Path, revision: str, wanted: Collection[str] = ()) -> Iterator[View]:
    """Opens the project as a git revision declares it, with the artifacts that its `dvc.lock` records.

    Args:
        root: the project's root.
        revision: a commit, branch, tag or `HEAD~1`.
        wanted: artifacts by key, or all of a round by its key, that must be there; they are fetched from DVC's remote when the
            cache lacks them, and their records do where the remote has none.

    Raises:
        UsageError: there is no such revision.
        ProjectError: the root is in no git repository, or was no project at that revision.
        ArtifactError: a wanted artifact is in neither cache nor remote, and has no record in the commit.
        DeclarationError: the revision's `params.yaml` is wrong.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    commit = commit_of(root, revision)
    with TemporaryDirectory(prefix="lineal-rev-") as name, ExitStack() as opened:
        view = Path(name) / root.name
        named = _write_from_git(root, commit, revision, view)
        _share_records(root, view)
        recorded = locked_artifacts(view)
        needed = [key for key in recorded if any(key == one or key.startswith(f"{one}/") for one in wanted)]
        try:
            repo = opened.enter_context(Repo(str(root)))
            missing = _link_artifacts(repo, view, recorded, needed)
            absent = [
                path for path, digest in named.items() if not _link_file(repo, root, view, path, digest)
            ]
        except DvcException as error:
            raise ProjectError(f"DVC cannot open {root}: {error}") from error
        _write_records(root, commit, view, {key: recorded[key] for key in missing})
        for key in needed:
            if key in missing and not record_directory(view, key, recorded[key]).is_dir():
                raise ArtifactError(f"{key} at {revision}: {missing[key]}. {fetch_hint([key])}")
        yield View(open_project(view), commit, missing, tuple(absent))


def _share_records(root: Path, view: Path) -> None:
    """Links DVC's cache and the digests of files that were already read into a view."""
    (view / ".dvc").symlink_to(root.resolve() / ".dvc")
    (root / "runs").mkdir(exist_ok=True)
    (view / "runs").mkdir()
    (view / "runs" / DIGESTS).symlink_to(root.resolve() / "runs" / DIGESTS)


def fetch_hint(keys: Collection[str]) -> str:
    """Returns the command that brings artifacts of any revision into the cache."""
    targets = " ".join(f"artifacts/{key}" for key in keys)
    return f"Bring it: dvc pull --all-commits {targets} (or `dvc fetch --all-commits`, which leaves the working tree alone)"


def commit_of(root: Path, revision: str) -> str:
    """Returns the full SHA of a commit, branch or tag.

    Raises:
        UsageError: there is no such revision.
        ProjectError: the root is in no git repository.
    """
    git(root, "rev-parse", "--git-dir")
    try:
        return (
            git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        )
    except ProjectError:
        shallow = git(root, "rev-parse", "--is-shallow-repository").strip() == b"true"
        fix = (
            "This clone is shallow: git fetch --unshallow"
            if shallow
            else f"See: git log --oneline -- {DVC_LOCK}"
        )
        raise UsageError(f"no git revision {revision!r} in {root}. {fix}") from None


def _write_from_git(root: Path, commit: str, revision: str, view: Path) -> dict[str, str]:
    """Writes the declarations, and the files that steps read as far as git holds them.

    Returns:
        by path, the recorded MD5 of files that git doesn't hold.
    """
    blobs = _tree(root, commit)
    for needed in (PARAMS, DVC_LOCK):
        if needed not in blobs:
            raise ProjectError(
                f"{needed} is not in git at {revision}: nothing was recorded there. Commit it after a run"
            )
    _write_blobs(root, view, {name: blob for name, blob in blobs.items() if _declares(name)})
    named = named_files(view)
    read = {name: blob for name, blob in blobs.items() if not _declares(name) and _is_named(name, named)}
    _write_blobs(root, view, read)
    return {name: digest for name, digest in named.items() if not (view / name).exists()}


def _is_named(name: str, named: Collection[str]) -> bool:
    """Tells whether steps read a file or a directory that holds it, or whether it is one of DVC's own files."""
    path = PurePosixPath(name)
    return name.endswith(SUFFIX) or any(str(place) in named for place in (path, *path.parents))


def _write_records(root: Path, commit: str, view: Path, missing: Mapping[str, str]) -> None:
    """Writes the records of artifacts that the cache lacks, as the commit has them."""
    wanted = tuple(f"{record_directory(Path(), key, md5).as_posix()}/" for key, md5 in missing.items())
    if wanted:
        _write_blobs(
            root, view, {name: blob for name, blob in _tree(root, commit).items() if name.startswith(wanted)}
        )


def _declares(name: str) -> bool:
    return name in DECLARED or name.startswith((f"{PIPELINES}/", f"{POLICIES}/"))


def _tree(root: Path, commit: str) -> dict[str, str]:
    """Returns by name the blobs of the project's regular files in a commit."""
    listed = git(root, "ls-tree", "-r", "-z", commit).decode(errors="surrogateescape")
    entries = [entry.split("\t", 1) for entry in listed.split("\0") if entry]
    return {name: meta.split(" ")[2] for meta, name in entries if meta.split(" ", 1)[0] in _FILE_MODES}


def _write_blobs(root: Path, view: Path, blobs: Mapping[str, str]) -> None:
    """Writes blobs as files; one git process reads them all: `SHA blob SIZE`, a line feed, the bytes, a line feed."""
    told = git(root, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs.values()).encode())
    place = 0
    for name in blobs:
        start = told.index(b"\n", place) + 1
        place = start + int(told[place:start].split()[2])
        (view / name).parent.mkdir(parents=True, exist_ok=True)
        (view / name).write_bytes(told[start:place])
        place += 1


def _link_file(repo: Repo, root: Path, view: Path, path: str, digest: str) -> bool:
    """Links a file or directory with this MD5 from the cache or the working tree; returns whether there is one."""
    if digest.endswith(".dir"):
        return _link_directory(repo, root, view, path, digest)
    from dvc_data.hashfile.hash import hash_file

    here = root / path
    cached = Path(repo.cache.local.oid_to_path(digest)) if digest else here
    source = cached if cached.is_file() else here
    if not source.is_file() or (
        source == here and hash_file(str(here), repo.fs, "md5", repo.state)[1].value != digest
    ):
        return False
    (view / path).parent.mkdir(parents=True, exist_ok=True)
    (view / path).symlink_to(source.resolve())
    return True


def _link_directory(repo: Repo, root: Path, view: Path, path: str, digest: str) -> bool:
    if not _lacking(repo, digest):
        _link(repo, digest, view / path)
        return True
    if not (root / path).is_dir() or directory_md5(root / path, Digests(root / "runs")) != digest:
        return False
    (view / path).parent.mkdir(parents=True, exist_ok=True)
    (view / path).symlink_to((root / path).resolve())
    return True


def _link_artifacts(
    repo: Repo, view: Path, recorded: Mapping[str, str], needed: Collection[str]
) -> dict[str, str]:
    """Links every recorded artifact that the cache holds whole; needed ones are fetched first.

    Returns:
        by key, why an artifact is not there.
    """
    missing: dict[str, str] = {}
    for key, digest in recorded.items():
        why = _lacking(repo, digest)
        if why and key in needed:
            why = _fetch(repo, digest) or _lacking(repo, digest)
        if why:
            missing[key] = why
        else:
            _link(repo, digest, view / "artifacts" / key)
    return missing


def _lacking(repo: Repo, digest: str) -> str:
    """Says why the cache cannot give a directory; empty when it can."""
    from dvc_objects.errors import ObjectFormatError

    try:
        absent = [name for name, path in _objects(repo, digest) if not path.is_file()]
    except FileNotFoundError:
        return f"its directory {digest} is not in DVC's cache"
    except ObjectFormatError:
        return f"its directory {digest} is corrupted in DVC's cache"
    return f"{len(absent)} of its files ({absent[0]}, ...) are not in DVC's cache" if absent else ""


def _objects(repo: Repo, digest: str) -> list[tuple[str, Path]]:
    """Returns the files of a directory and where the cache has (or would have) them."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    cache = repo.cache.local
    tree = Tree.load(cache, HashInfo("md5", digest))
    return [("/".join(parts), Path(cache.oid_to_path(info.value))) for parts, _, info in tree]


def _link(repo: Repo, digest: str, target: Path) -> None:
    for name, path in _objects(repo, digest):
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise ArtifactError(
                f"DVC's cache names a file {name!r} in directory {digest}: it leads out of the artifact"
            )
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).symlink_to(path.resolve())


def _fetch(repo: Repo, digest: str) -> str:
    """Brings a directory from DVC's remote into the cache, the list of its files first; returns why it failed."""
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    try:
        repo.cloud.pull([HashInfo("md5", digest)])
        repo.cloud.pull([info for _, _, info in Tree.load(repo.cache.local, HashInfo("md5", digest))])
    except FileNotFoundError:
        return f"its directory {digest} is in neither DVC's cache nor its remote"
    except (DvcException, OSError) as error:
        return f"it is not in DVC's cache, and there is no bringing it from a remote ({str(error).splitlines()[0]})"
    return ""
