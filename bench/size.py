"""What rows cost: every kind of step that needs no model, by number of rows, beside a plain loop or bare DuckDB.

    python bench/size.py run [--rows 1000000] [--only KIND]    one size; the figures to docs/size.json
    python bench/size.py pages [--check]                       the table of docs/scale.md
    python bench/size.py profile KIND [--rows 200000]          where one kind's time goes

Each kind runs in a process of its own. Figures are processor seconds of its work alone (without starting Python and importing),
all threads together, which other work on the machine disturbs least; and the process's largest memory. The other side does
the leaner work that somebody would write by hand: the same query and COPY in bare DuckDB, a loop over JSON lines.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import json
import pstats
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from manifests import manifest_of
from scratch import ROOT
from selection import SELECTORS, bare_session, make_artifact

from lineal.components.base import Surroundings
from lineal.components.registry import Registry
from lineal.data.manifest import list_files
from lineal.data.store import Artifact, open_artifact, write_rows
from lineal.data.workspace import Workspace
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

FIGURES = ROOT / "docs" / "size.json"
PAGE = ROOT / "docs" / "scale.md"
MARKS = ("<!-- rows: written by bench/size.py pages -->", "<!-- end of rows -->")
ROWS = 1_000_000
SAMPLES = 8
WIDE = 1000
"""Columns of the user's own in the wide kind, which has a thousandth of the rows."""


# -- inputs -------------------------------------------------------------------------------------------------------------


def lines(rows: int) -> Iterator[str]:
    """JSON lines of prompts."""
    for number in range(rows):
        yield json.dumps(
            {
                "prompt": f"What is {number} times {number % 977}, and why?",
                "answer": str(number * (number % 977)),
            }
        )


def prompts(rows: int, own: int = 0) -> Iterator[Any]:
    """Prompt rows in Arrow, with columns of the user's own."""
    import pyarrow as pa

    for start in range(0, rows, 1 << 16):
        numbers = range(start, min(rows, start + (1 << 16)))
        extra = {f"own_{place}": [number * place for number in numbers] for place in range(own)}
        columns = {
            "prompt_id": [
                hashlib.md5(b"p%d" % number, usedforsecurity=False).hexdigest()[:20] for number in numbers
            ],
            "prompt": [f"What is {number} times {number % 977}?" for number in numbers],
            "answer": [str(number % 10) for number in numbers],
        }
        yield pa.table({**columns, **extra})


def artifact(directory: Path, tables: Iterator[Any]) -> None:
    """Writes tables as an artifact's rows."""
    names: list[str] = []

    def noted() -> Iterator[Any]:
        for table in tables:
            names[:] = table.column_names
            yield table

    counts = write_rows(directory, noted())
    files = list_files(directory, counts)
    manifest_of(f"tasks/{directory.name}", ArtifactKind.ROWS, files, names).write(directory)


def inputs(directory: Path, rows: int) -> None:
    """Makes what the kinds read; what is there stays."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "prompts.jsonl").exists():
        (directory / "prompts.jsonl").write_text("\n".join(lines(rows)) + "\n", encoding="utf-8")
    made = {
        "prompts": lambda place: artifact(place, prompts(rows // SAMPLES)),
        "wide": lambda place: artifact(place, prompts(max(1, rows // WIDE), WIDE)),
        "replay": lambda place: artifact(place, prompts(rows)),
        "verified": lambda place: make_artifact(place, rows),
    }
    for name, make in made.items():
        if not (directory / name / "manifest.json").exists():
            make(directory / name)
    if not (directory / "model").exists():
        model_artifact(directory / "model")


def model_artifact(directory: Path) -> None:
    """Writes a checkpoint that the fake engine can sample from."""
    directory.mkdir()
    (directory / "config.json").write_text("{}", encoding="utf-8")
    manifest_of("start/checkpoint", ArtifactKind.MODEL, list_files(directory, {})).write(directory)


# -- the kinds ----------------------------------------------------------------------------------------------------------


def step(
    directory: Path, target: Path, settings: dict[str, Any], given: dict[str, str], limit: str = "4GB"
) -> None:
    """Runs one component over artifacts of the directory; `limit` is `compute.memory_limit`."""
    surroundings = Surroundings(directory, SELECTORS.parent)
    component = Registry().find(settings["use"]).parse({**settings, **given}, surroundings)
    opened = {
        field: (open_artifact(f"bench/round_01/{name}", directory / name),) for field, name in given.items()
    }
    compute = Compute(engine="fake", workers=2, memory_limit=limit)
    component.run(Workspace(directory, "round_01/made", 1, 0, compute, opened, target))


def show(directory: Path, target: Path) -> None:
    """`lineal show`: 20 rows of many."""
    from lineal.audit.query import matching_rows

    matching_rows(
        open_artifact("bench/round_01/verified", directory / "verified"), None, 20, Compute(workers=2)
    )


def tokenise(directory: Path, target: Path) -> None:
    """Measures what `sft` holds of its rows: 13 characters each, one token a character."""
    from lineal.engines.text.tokens import character_tokenizer
    from lineal.engines.training.settings import Example
    from lineal.engines.training.sft_rows import tokenised

    rows = int(directory.name)
    examples = [Example(f"{number:08d}=", f"{number % 1000:03d}") for number in range(rows)]
    tokenised(character_tokenizer("0123456789="), examples, False, "sft")


def select_bare(directory: Path, target: Path, selector: str, given: dict[str, Artifact], out: str) -> None:
    """The selector's query in bare DuckDB, and COPY of what it gives."""
    connection = bare_session(given, selector, target)
    connection.execute(f"COPY ({out}) TO '{target / 'made.parquet'}' (FORMAT parquet, COMPRESSION zstd)")


def opened(directory: Path, **names: str) -> dict[str, Artifact]:
    return {field: open_artifact(f"bench/round_01/{name}", directory / name) for field, name in names.items()}


def read_lines(directory: Path, target: Path) -> None:
    """JSON lines to Parquet, with a digest for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = []
    with (directory / "prompts.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            values = json.loads(line)
            values["prompt_id"] = hashlib.sha256(line.encode()).hexdigest()[:20]
            rows.append(values)
    pq.write_table(pa.Table.from_pylist(rows), target / "made.parquet", compression="zstd")


def sample_loop(directory: Path, target: Path) -> None:
    """Eight fake completions for each prompt, each with a seed and an id, to Parquet in batches."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lineal.engines.fake import FakeSampler
    from lineal.engines.sampling.sampler import Request, SamplingSettings

    engine, settings, writer = FakeSampler(), SamplingSettings(), None
    for path in sorted((directory / "prompts").glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(4096):
            rows = []
            for row in batch.to_pylist():
                for index in range(SAMPLES):
                    digest = hashlib.sha256(f"{row['prompt_id']}/{index}".encode()).digest()
                    seed = int.from_bytes(digest[:7], "big")
                    ((_, drawn),) = engine.stream([Request(row["prompt"], seed)], settings)
                    rows.append(
                        row
                        | {
                            "sample_id": digest.hex()[:20],
                            "seed": seed,
                            "completion": drawn.text,
                            "index": index,
                        }
                    )
            table = pa.Table.from_pylist(rows)
            writer = writer or pq.ParquetWriter(target / "made.parquet", table.schema, compression="zstd")
            writer.write_table(table)
    assert writer is not None
    writer.close()


Work = Callable[[Path, Path], None]
IN_ORDER = "FROM decided ORDER BY parents"
DECIDED = "SELECT r.*, d.decision FROM rows r JOIN decided d ON r.row_id = d.row_id ORDER BY r.position"
KINDS: dict[str, tuple[Work, Work | None, float]] = {
    "dataset": (lambda d, t: step(d, t, {"use": "dataset", "path": "prompts.jsonl"}, {}), read_lines, 3),
    "sample, fake engine": (
        lambda d, t: step(
            d, t, {"use": "sample", "samples": SAMPLES}, {"model": "model", "prompts": "prompts"}
        ),
        sample_loop,
        2,
    ),
    f"sample, fake engine, {WIDE:,} own columns": (
        lambda d, t: step(d, t, {"use": "sample", "samples": SAMPLES}, {"model": "model", "prompts": "wide"}),
        None,
        0,
    ),
    "exact_match": (
        lambda d, t: step(d, t, {"use": "exact_match", "name": "own"}, {"rows": "verified"}),
        None,
        0,
    ),
    "majority_vote": (
        lambda d, t: step(d, t, {"use": "majority_vote", "name": "own"}, {"rows": "verified"}),
        None,
        0,
    ),
    "select: keep_correct": (
        lambda d, t: step(d, t, {"use": "select", "sql": "keep_correct"}, {"rows": "verified"}),
        lambda d, t: select_bare(d, t, "keep_correct", opened(d, rows="verified"), DECIDED),
        3,
    ),
    "select: with_replay (makes rows)": (
        lambda d, t: step(
            d, t, {"use": "select", "sql": "with_replay"}, {"rows": "verified", "replay": "replay"}
        ),
        lambda d, t: select_bare(d, t, "with_replay", opened(d, rows="verified", replay="replay"), IN_ORDER),
        3,
    ),
    "select: correct_against_incorrect (pairs)": (
        lambda d, t: step(d, t, {"use": "select", "sql": "correct_against_incorrect"}, {"rows": "verified"}),
        lambda d, t: select_bare(d, t, "correct_against_incorrect", opened(d, rows="verified"), IN_ORDER),
        3,
    ),
    "majority_vote, memory_limit 300MB": (
        lambda d, t: step(d, t, {"use": "majority_vote", "name": "own"}, {"rows": "verified"}, "300MB"),
        None,
        0,
    ),
    "select: keep_correct, memory_limit 300MB": (
        lambda d, t: step(d, t, {"use": "select", "sql": "keep_correct"}, {"rows": "verified"}, "300MB"),
        None,
        0,
    ),
    "select: with_replay, memory_limit 1GB": (
        lambda d, t: step(
            d, t, {"use": "select", "sql": "with_replay"}, {"rows": "verified", "replay": "replay"}, "1GB"
        ),
        None,
        0,
    ),
    "select: correct_against_incorrect, memory_limit 300MB": (
        lambda d, t: step(
            d, t, {"use": "select", "sql": "correct_against_incorrect"}, {"rows": "verified"}, "300MB"
        ),
        None,
        0,
    ),
    "sft's rows as tokens": (tokenise, None, 0),
    "show": (show, None, 0),
}
"""By kind: the work, the same by hand, and how many times its processor seconds it may take."""


# -- measuring ----------------------------------------------------------------------------------------------------------


def one(directory: Path, kind: str, side: int) -> None:
    """Runs one side of a kind here and prints what it took."""
    work = KINDS[kind][side]
    assert work is not None
    with tempfile.TemporaryDirectory(dir=directory) as target:
        import duckdb  # noqa: F401
        import pyarrow.dataset  # noqa: F401

        before = resource.getrusage(resource.RUSAGE_SELF)
        work(directory, Path(target))
        after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu_seconds": round(cpu, 2), "mb": round(peak_kb() / 1024)}))


def peak_kb() -> int:
    """The process's largest memory; unlike `ru_maxrss` it does not begin with that of the process that started this one."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def measured(directory: Path, kind: str, side: int) -> dict[str, float]:
    command = [sys.executable, __file__, "one", str(directory), kind, str(side)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(arguments: argparse.Namespace) -> int:
    """Measures one size; keeps the figures of others."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {}
    with tempfile.TemporaryDirectory() as scratch:
        directory = (arguments.directory or Path(scratch)) / str(arguments.rows)
        inputs(directory, arguments.rows)
        for kind, (_, by_hand, _) in KINDS.items():
            if arguments.only and arguments.only not in kind:
                continue
            found: dict[str, Any] = {"own": measured(directory, kind, 0)}
            found |= {"by_hand": measured(directory, kind, 1)} if by_hand and not arguments.alone else {}
            figures.setdefault(kind, {}).setdefault(str(arguments.rows), {}).update(found)
            print(f"{kind}: {found}", flush=True)
    figures = {kind: figures[kind] for kind in KINDS if kind in figures}
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


def profile(arguments: argparse.Namespace) -> int:
    """Profiles one kind."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = (arguments.directory or Path(scratch)) / str(arguments.rows)
        inputs(directory, arguments.rows)
        kind = next(kind for kind in KINDS if arguments.kind in kind)
        profiler = cProfile.Profile()
        with tempfile.TemporaryDirectory(dir=directory) as target:
            profiler.runcall(KINDS[kind][0], directory, Path(target))
        pstats.Stats(profiler).sort_stats(arguments.sort).print_stats(30)
    return 0


# -- the page -----------------------------------------------------------------------------------------------------------


def table(figures: dict[str, Any]) -> str:
    """A line for each kind: processor seconds and memory at each size; the same by hand at the largest that has it."""
    sizes = sorted({int(size) for found in figures.values() for size in found})
    heads = [f"{size:,} rows: CPU, peak" for size in sizes]
    cells = ["kind of step", *heads, "times the CPU", "by hand", "times that", "goal"]
    out = [f"| {' | '.join(cells)} |", "|" + "---|" * len(cells)]
    for kind, found in figures.items():
        first, last = (found.get(str(size), {}).get("own") for size in (sizes[0], sizes[-1]))
        grown = f"{last['cpu_seconds'] / max(0.01, first['cpu_seconds']):.1f}" if first and last else "-"
        beside = next(
            (found[str(size)] for size in reversed(sizes) if "by_hand" in found.get(str(size), {})), None
        )
        line = [kind, *(_size_cells(found.get(str(size))) for size in sizes), grown]
        line += _beside(beside["own"], beside["by_hand"]) if beside else ["-", "-"]
        out.append(f"| {' | '.join([*line, f'{KINDS[kind][2]:g}' if KINDS[kind][2] else '-'])} |")
    return "\n".join(out)


def _beside(own: dict[str, float], by_hand: dict[str, float]) -> list[str]:
    return [f"{by_hand['cpu_seconds']:.1f} s", f"{own['cpu_seconds'] / by_hand['cpu_seconds']:.1f}"]


def _size_cells(found: dict[str, Any] | None) -> str:
    return f"{found['own']['cpu_seconds']:.1f} s, {found['own']['mb']:,} MB" if found else "-"


def pages(arguments: argparse.Namespace) -> int:
    """Writes the table into the page, or says that the page is not current."""
    text = PAGE.read_text(encoding="utf-8")
    head, _, rest = text.partition(MARKS[0])
    new = f"{head}{MARKS[0]}\n{table(json.loads(FIGURES.read_text(encoding='utf-8')))}\n{MARKS[1]}{rest.partition(MARKS[1])[2]}"
    if arguments.check and new != text:
        print("docs/scale.md is not what the figures say: run python bench/size.py pages", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("run")
    measuring.add_argument("--rows", type=int, default=ROWS)
    measuring.add_argument("--only", default="", help="only the kinds whose names hold this")
    measuring.add_argument("--alone", action="store_true", help="without the same by hand")
    measuring.add_argument(
        "--directory", type=Path, help="where the inputs are kept; they are made if they are not there"
    )
    profiling = commands.add_parser("profile")
    profiling.add_argument("kind")
    profiling.add_argument("--rows", type=int, default=200_000)
    profiling.add_argument("--sort", default="tottime")
    profiling.add_argument("--directory", type=Path)
    writing = commands.add_parser("pages")
    writing.add_argument("--check", action="store_true")
    if sys.argv[1:2] == ["one"]:
        one(Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
        return 0
    arguments = parser.parse_args()
    return {"run": run, "profile": profile, "pages": pages}[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
