"""What a selection costs beside the same SQL in bare DuckDB. Run: python bench/selection.py

Ten million verified rows in the project's own files. One side is a `select` step: its query, its checks, and both outputs in
the rows' order. The other is what somebody would write by hand: the same query, and two COPY statements with its join. Each
runs in a process of its own, in turns; the steps' making of rows does not count. Exit status 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from manifests import manifest_of

from lineal.components.base import Surroundings
from lineal.components.selectors.header import read_selector
from lineal.components.selectors.query import UNIFORM
from lineal.components.selectors.select import Select
from lineal.data.manifest import list_files
from lineal.data.schema import row_key
from lineal.data.store import ROWS_PER_FILE, Artifact, open_artifact, write_rows
from lineal.data.workspace import Workspace
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

MOST_TIMES = 1.5
MOST_GB = 4.0
SELECTORS = Path(__file__).parents[1] / "pipelines" / "selectors"
SETTINGS: dict[str, dict[str, Any]] = {"keep_correct": {"max_per_prompt": 4}, "pass_rate_band": {}}
SAMPLES = 8
BATCH = 1 << 20
ROWS = """SELECT left(md5('s' || n), 20) AS sample_id, left(md5('p' || n // {samples}), 20) AS prompt_id, [prompt_id]
 AS parents, 'What is ' || (n // {samples}) || ' times ' || (n % 977) || ', and why?' AS prompt, (n % 10)::VARCHAR AS answer,
 'Since ' || repeat(md5('c' || n), 3) || ' it is ' || (hash(n) % 10) AS completion, 'stop' AS finish_reason, 30 + n % 50
 AS tokens, n % {samples} AS sample_index, hash(n) AS seed, CASE WHEN hash(n) % 10 < 4 THEN 'pass' ELSE 'fail' END AS verdict,
 CASE WHEN hash(n) % 10 < 4 THEN 1.0 ELSE 0.0 END AS score, 1 AS round FROM range({start}, {stop}) r(n)"""


def make_artifact(directory: Path, count: int) -> None:
    """Writes the verified rows as an artifact."""
    import duckdb

    connection = duckdb.connect(":memory:")

    def tables() -> Iterator[Any]:
        for start in range(0, count, BATCH):
            sql = ROWS.format(samples=SAMPLES, start=start, stop=min(count, start + BATCH))
            yield connection.sql(sql).to_arrow_table()

    counts = write_rows(directory, tables())
    files = list_files(directory, counts)
    columns = connection.sql(ROWS.format(samples=1, start=0, stop=1)).columns
    manifest_of("round_01/verified", ArtifactKind.ROWS, files, columns).write(directory)


def select_step(artifact: Artifact, selector: str, target: Path) -> None:
    """The step's own work."""
    settings = {"use": "select", "rows": "verified", "sql": selector, **SETTINGS[selector]}
    component = Select.parse(settings, Surroundings(SELECTORS.parents[1], SELECTORS.parent))
    target.mkdir()
    component.run(Workspace(target, "round_01/filtered", 1, 0, Compute(), {"rows": (artifact,)}, target))


def bare_session(inputs: Mapping[str, Artifact], selector: str, target: Path) -> Any:
    """A connection with a view for each input, and the table `decided` that the selector's query gives by hand."""
    import duckdb

    read = read_selector(selector, SELECTORS / f"{selector}.sql", selector)
    compute = Compute()
    config = {
        "threads": compute.worker_count,
        "memory_limit": compute.memory_limit,
        "temp_directory": str(target / "spill"),
    }
    connection = duckdb.connect(":memory:", config=config)
    connection.execute(UNIFORM)
    for name, artifact in inputs.items():
        columns = dict(artifact.manifest.columns)
        missing = [f"NULL::VARCHAR AS {one}" for one in read.optional if one not in columns]
        paths = ", ".join(f"'{path}'" for path in artifact.parquet_files())
        listed = ", ".join(["*", *missing, f"{row_key(tuple(columns))} AS row_id"])
        connection.execute(
            f"CREATE VIEW {name} AS SELECT {listed}, {ROWS_PER_FILE} * file_index::BIGINT + file_row_number AS position "
            f"FROM read_parquet([{paths}], file_row_number = true)"
        )
    arguments = {**read.arguments(SETTINGS.get(selector, {})), "seed": 0}
    used = {name: value for name, value in arguments.items() if f"${name}" in read.query}
    connection.execute(f"CREATE TEMP TABLE decided AS {read.query}", used)
    return connection


def bare_duckdb(artifact: Artifact, selector: str, target: Path) -> None:
    """The same SQL by hand."""
    target.mkdir()
    connection = bare_session({"rows": artifact}, selector, target)
    for decision in ("kept", "dropped"):
        connection.execute(
            f"COPY (SELECT r.*, d.decision, d.reason FROM rows r JOIN decided d ON r.row_id = d.row_id WHERE d.decision = "
            f"'{decision}') TO '{target / decision}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )


SIDES = {"lineal": select_step, "bare": bare_duckdb}


def one_side(side: str, directory: Path, selector: str) -> None:
    """Runs one side in this process and prints what it took."""
    artifact = open_artifact("bench/round_01/verified", directory)
    with tempfile.TemporaryDirectory(dir=directory.parent) as target:
        began = time.perf_counter()
        SIDES[side](artifact, selector, Path(target) / "out")
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def compare(directory: Path, selector: str, turns: int) -> bool:
    """Prints one selector's figures; whether its goals are met."""
    figures: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(turns):
        for side, measured in figures.items():
            command = [
                sys.executable,
                __file__,
                "--side",
                side,
                "--directory",
                str(directory),
                "--selector",
                selector,
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            measured.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = {
        side: statistics.median(one["seconds"] for one in measured) for side, measured in figures.items()
    }
    times = statistics.median(
        ours["seconds"] / bare["seconds"]
        for ours, bare in zip(figures["lineal"], figures["bare"], strict=True)
    )
    memory = {side: max(one["gb"] for one in measured) for side, measured in figures.items()}
    print(
        f"{selector}: {seconds['lineal']:.1f} s and {memory['lineal']:.2f} GB, bare {seconds['bare']:.1f} s and "
        f"{memory['bare']:.2f} GB: {times:.2f} times (goals: {MOST_TIMES} times, {MOST_GB:g} GB)"
    )
    return times <= MOST_TIMES and memory["lineal"] < MOST_GB


def main() -> int:
    """Prints the figures; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--selector", choices=SETTINGS, help="only this one")
    parser.add_argument(
        "--directory", type=Path, help="where the rows are kept; they are made if they are not there"
    )
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        one_side(arguments.side, arguments.directory, arguments.selector)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        directory = arguments.directory or Path(scratch) / "verified"
        if not (directory / "manifest.json").exists():
            make_artifact(directory, arguments.rows)
        met = [
            compare(directory, name, arguments.turns)
            for name in SETTINGS
            if arguments.selector in (None, name)
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
