"""Packs of small pictures beside single files: files, bytes, writing, looking up in order and at random.

    python bench/media.py [--pictures 1000000] [--bytes 700]

The pictures are random bytes, which nothing compresses: a PNG or a JPEG is compressed already.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from manifests import manifest_of

from lineal.data.manifest import FileEntry
from lineal.data.media import PackWriter, Pictures
from lineal.data.pictures import Picture
from lineal.data.store import Artifact
from lineal.recipe.references import ArtifactKind

LOOKED_UP = 20_000
SINGLE_FILES = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--bytes", type=int, default=700)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packed, single = Path(folder) / "packed", Path(folder) / "single"
        digests: list[str] = []
        took = timed(lambda: write_packs(packed, chosen.pictures, chosen.bytes, digests))
        files = sorted(packed.iterdir())
        size = sum(path.stat().st_size for path in files)
        said(
            f"{chosen.pictures:,} pictures of {chosen.bytes} bytes in {len(files)} files",
            f"{size / chosen.pictures:.0f} bytes each, written in {took:.1f} s",
        )
        pictures: list[Pictures] = []
        said("index of digests", f"{timed(lambda: pictures.append(Pictures([opened(packed)]))):.2f} s")
        for name, order in (
            ("in order", digests),
            ("at random", random.Random(0).sample(digests, min(LOOKED_UP, len(digests)))),
        ):
            seconds = timed(lambda order=order: [pictures[0][digest] for digest in order[:LOOKED_UP]])
            said(f"looked up {name}", f"{1e6 * seconds / min(LOOKED_UP, len(order)):.0f} us each")
        count = min(SINGLE_FILES, chosen.pictures)
        took = timed(lambda: write_files(single, count, chosen.bytes))
        blocks = sum(path.stat().st_blocks * 512 for path in single.iterdir())
        said(
            f"{count:,} of them as single files",
            f"{blocks / count:.0f} bytes of disk each, written in {took:.1f} s",
        )
        said("peak memory", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,} MiB")


def drawn(count: int, size: int) -> Iterator[Picture]:
    draw = random.Random(0)
    for _ in range(count):
        data = draw.randbytes(size)
        yield Picture(hashlib.sha256(data).hexdigest(), "image/png", 16, 16, data)


def write_packs(folder: Path, count: int, size: int, digests: list[str]) -> None:
    with PackWriter(folder) as packs:
        for picture in drawn(count, size):
            packs.add([picture])
            digests.append(picture.sha256)
        packs.close()


def write_files(folder: Path, count: int, size: int) -> None:
    folder.mkdir()
    for picture in drawn(count, size):
        (folder / f"{picture.sha256}.png").write_bytes(picture.data)


def opened(folder: Path) -> Artifact:
    files = {path.name: FileEntry(sha256="", size_bytes=0) for path in folder.iterdir()}
    manifest = manifest_of("tasks/train", ArtifactKind.MEDIA, files, output="media")
    return Artifact("bench/tasks/train.media", folder, manifest)


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def said(what: str, figure: str) -> None:
    print(f"{what:<55} {figure}", flush=True)


if __name__ == "__main__":
    main()
