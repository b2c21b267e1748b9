"""How long a contamination check takes, and that it misses no planted copy. Run: python bench/contamination.py

Rows and evaluation prompts are made of words that are drawn by rank, as words are in texts. Copies of evaluation prompts are
planted as they are, in other letters' case, with other spaces, within longer text, and there in punctuation. Exit status 1 when
one is missed or the check takes longer than the limit. What making the rows takes does not count.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manifests import manifest_of

from lineal.data.manifest import list_files
from lineal.data.overlap import EvaluationPrompt
from lineal.data.store import Artifact, write_rows
from lineal.recipe.references import ArtifactKind
from lineal.step.contamination import HeldOut

LIMIT_SECONDS = 60
N = 13
BATCH = 20_000
DISGUISES = {
    "exact": lambda text: text,
    "re-cased": lambda text: text.upper(),
    "re-spaced": lambda text: text.replace(" ", " \n\t"),
    "embedded": lambda text: f"so he asked {text} and went on",
    "in punctuation": lambda text: f'so he asked ("{text}"), and went on',
}


def texts(generator: Any, vocabulary: Any, count: int, shortest: int, longest: int) -> list[str]:
    """Texts of words with the frequencies of a language."""
    import numpy as np

    lengths = generator.integers(shortest, longest + 1, count)
    ranks = np.minimum(generator.zipf(1.2, lengths.sum()), len(vocabulary)) - 1
    stops = np.cumsum(lengths)
    words = vocabulary[ranks]
    return [" ".join(words[stop - length : stop]) for stop, length in zip(stops, lengths, strict=True)]


def tables(generator: Any, vocabulary: Any, rows: int, prompts: list[str], planted: int) -> Iterator[Any]:
    """Rows in tables: 4 samples of each prompt; `planted` completions are disguised copies of evaluation prompts."""
    import pyarrow as pa

    every = max(1, rows // max(1, planted))
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        asked = texts(generator, vocabulary, (count + 3) // 4, 30, 70)
        told = texts(generator, vocabulary, count, 60, 140)
        for place in range(-start % every, count, every):
            told[place] = disguised(start + place, every, prompts)
        yield pa.table(
            {
                "sample_id": [f"s{start + place:09d}" for place in range(count)],
                "prompt_id": [f"p{(start + place) // 4:09d}" for place in range(count)],
                "prompt": [asked[place // 4] for place in range(count)],
                "completion": told,
            }
        )


def disguised(position: int, every: int, prompts: list[str]) -> str:
    """The copy that stands at a position."""
    number = position // every
    return list(DISGUISES.values())[number % len(DISGUISES)](prompts[number % len(prompts)])


def artifact_of(directory: Path, made: Iterator[Any]) -> Artifact:
    """An artifact with these rows."""
    counts = write_rows(directory, made)
    files = list_files(directory, counts)
    manifest = manifest_of("round_01/mixed", ArtifactKind.ROWS, files, ["sample_id"])
    return Artifact("bench/round_01/mixed", directory, manifest)


def main() -> int:
    """Prints the figures; 1 when a copy is missed or the limit is broken."""
    import numpy as np

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--planted", type=int, default=4_000)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    vocabulary = np.array([f"{chr(97 + rank % 26)}{rank:x}" for rank in range(50_000)], object)
    asked = texts(generator, vocabulary, arguments.prompts, 5, 80)
    with tempfile.TemporaryDirectory() as directory:
        made = tables(generator, vocabulary, arguments.rows, asked, arguments.planted)
        artifact = artifact_of(Path(directory) / "rows", made)
        size = sum(entry.size_bytes for entry in artifact.manifest.files.values())
        began, busy = time.perf_counter(), time.process_time()
        held_out = HeldOut(
            [EvaluationPrompt("bench/tasks/test", str(n), text) for n, text in enumerate(asked)], N
        )
        indexed = time.perf_counter()
        found = {match.position for match in held_out.matches(artifact)}
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
    every = max(1, arguments.rows // max(1, arguments.planted))
    missed = [position for position in range(0, arguments.rows, every) if position not in found]
    print(
        f"{arguments.rows:,} rows ({size / 1e6:,.0f} MB of Parquet) against {arguments.prompts:,} prompts: {seconds:.1f} s"
    )
    print(f"processor seconds of it: {busy:.1f}")
    print(
        f"of that {indexed - began:.1f} s to read the prompts; peak memory {peak_gb():.2f} GB, the making of rows included"
    )
    print(
        f"copies planted: {len(range(0, arguments.rows, every)):,}, missed: {len(missed)}; rows found: {len(found):,}"
    )
    return int(bool(missed) or seconds > LIMIT_SECONDS)


def peak_gb() -> float:
    """This process's largest memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    sys.exit(main())
