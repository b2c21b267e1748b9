"""What the audit commands cost on rounds of a million rows, beside hand-written DuckDB SQL (and hashing) over the same files.

Run: python bench/audit.py [--rounds 10] [--rows 1000000] [--keep DIRECTORY]

Makes a synthetic project (bench/synthetic.py; 2.3 GB at the default size; --keep makes it once and uses it again), then runs each
command and its SQL in turns, each in a fresh process on two threads, after one turn that is not counted and warms the file
cache. Printed, each the best of the turns, since what else a machine does only adds: wall seconds of the command; the same less
the time in which it does nothing but start and read the manifests' catalog; its processor seconds, likewise; its peak resident
memory; the SQL's wall seconds less those of a process that only imports DuckDB, and the ratio; the same of processor seconds,
which other work on the machine disturbs less. `round --verify` stands beside SQL that counts the same rows and SHA-256 over the
same files. Exit status 1 when a limit is broken.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
LINEAL = """
import sys
from lineal.cli.main import run_command
status = run_command(sys.argv[1:])
peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
sys.stderr.write(f"\\npeak KB {peak}")
sys.exit(status)
"""
START = (
    "import pydantic, yaml, duckdb, pyarrow; from pathlib import Path; from lineal.audit.catalog import read_catalog; "
    "from lineal.recipe.project import open_project; import lineal.audit.trace.target; "
    "import lineal.audit.trace.forward, lineal.audit.trace.backward; "
    "read_catalog(open_project(Path('.'))).consumers"
)
SQL_START = "import duckdb"
SQL = """
import hashlib, sys, duckdb
connection = duckdb.connect(config={"threads": 2})
for path in sys.argv[1:]:
    with open(path, "rb") as stream:
        hashlib.file_digest(stream, "sha256")
for sql in sys.stdin.read().split(";"):
    connection.execute(sql).fetchall()
"""
LIMIT_MB = 1024
TAINT, RETRACT, MOST_TIMES = "taint --where of one PROMPT", "retract of one PROMPT", 1.5
"""A retraction takes at most so many times the processor seconds of the taint that looks for the same."""


@dataclass(frozen=True)
class Case:
    """One command, the SQL that somebody would write for the same answer, the command's limit, and files to hash by hand."""

    name: str
    command: list[str]
    sql: str | None
    limit_seconds: float
    hashed: tuple[Path, ...] = ()


def rows_of(root: Path, *names: str) -> str:
    """`read_parquet` of these nodes' files in all rounds."""
    patterns = ", ".join(f"'{root}/artifacts/bench/{name}/*.parquet'" for name in names)
    return f"read_parquet([{patterns}], union_by_name = true, filename = true)"


def trace_sql(root: Path, sample: str, last: int) -> str:
    """The sample, its way and its prompt, and of every checkpoint before it how its training rows and pairs were sampled."""
    found = f"FROM {rows_of(root, 'round_*/generated', 'round_*/verified', 'round_*/filtered', 'round_*/filtered.dropped')}"
    kept, pairs, verified = (
        rows_of(root, *(f"round_{number:02d}/{name}" for number in range(1, last)))
        for name in ("filtered", "pairs", "verified")
    )
    return f"""CREATE TABLE way AS {found} WHERE sample_id = '{sample}';
        FROM {rows_of(root, "tasks/train")} WHERE prompt_id = (SELECT any_value(prompt_id) FROM way);
        SELECT filename, checkpoint, round, count(*) FROM {kept} GROUP BY ALL;
        SELECT p.filename, v.checkpoint, v.round, count(*) FROM {pairs} p JOIN {verified} v ON p.parents[1] = v.sample_id
        GROUP BY ALL"""


def forward_sql(root: Path, prompt: str) -> str:
    """The prompt's samples in all artifacts, counted by what was judged of them, and the pairs of them."""
    names = ("round_*/generated", "round_*/verified", "round_*/filtered", "round_*/filtered.dropped")
    rows = rows_of(root, *names)
    made = f"SELECT sample_id FROM {rows_of(root, names[0])} WHERE list_contains(parents, '{prompt}')"
    return f"""CREATE TABLE made AS {made};
        SELECT filename, verdict, decision, count(*), min(sample_id) FROM {rows} SEMI JOIN made USING (sample_id) GROUP BY ALL;
        SELECT filename, count(*) FROM (SELECT *, unnest(parents) AS parent FROM {rows_of(root, "round_*/pairs")}) p
        SEMI JOIN made ON p.parent = made.sample_id GROUP BY ALL"""


def samples_sql(root: Path, prompt: str) -> str:
    """The prompt's samples with verdict and decision, and its pairs."""
    rows, pairs = (
        rows_of(root, "round_*/filtered", "round_*/filtered.dropped"),
        rows_of(root, "round_*/pairs"),
    )
    columns = "sample_id, round, sample_index, completion, verdict, score, detail, decision, reason, weight"
    return f"""SELECT {columns} FROM {rows} WHERE prompt_id = '{prompt}';
        SELECT sample_id, round, parents, chosen, rejected FROM {pairs} WHERE prompt_id = '{prompt}'"""


def diff_sql(root: Path, before: str, after: str) -> str:
    """Rows that came, went, or were judged otherwise, and prompts solved in either round."""
    parts = []
    for names in (("generated",), ("verified",), ("filtered", "filtered.dropped"), ("pairs",)):
        old, new = (rows_of(root, *(f"{group}/{name}" for name in names)) for group in (before, after))
        judged = {"verified": "verdict", "filtered": "decision"}.get(names[0], "sample_id")
        parts.append(
            f"""SELECT old.{judged}, new.{judged}, count(*) FROM {old} old FULL JOIN {new} new USING (sample_id)
            GROUP BY ALL"""
            if judged != "sample_id"
            else f"""SELECT old.sample_id IS NULL, new.sample_id IS NULL, count(*)
            FROM {old} old FULL JOIN {new} new USING (sample_id) GROUP BY ALL"""
        )
    solved = "SELECT prompt_id, bool_or(verdict = 'pass') AS solved FROM {} GROUP BY prompt_id"
    old, new = (solved.format(rows_of(root, f"{group}/verified")) for group in (before, after))
    parts.append(f"""SELECT old.solved, new.solved, count(*), list(prompt_id ORDER BY prompt_id) FILTER (old.solved <> new.solved)
        FROM ({old}) old FULL JOIN ({new}) new USING (prompt_id) GROUP BY ALL""")
    return ";".join(parts)


def verify_sql(root: Path) -> str:
    """Rows of every file, by verdict or by reason."""
    plain = rows_of(root, "tasks/*", "round_*/generated", "round_*/filtered", "round_*/pairs")
    dropped, verified = rows_of(root, "round_*/filtered.dropped"), rows_of(root, "round_*/verified")
    return f"""SELECT filename, count(*) FROM {plain} GROUP BY 1; SELECT filename, reason, count(*) FROM {dropped} GROUP BY 1, 2;
        SELECT filename, verdict, count(*) FROM {verified} GROUP BY 1, 2"""


def cases(root: Path, rounds: int) -> list[Case]:
    import duckdb

    last, earlier = f"round_{rounds:02d}", f"round_{rounds - 1:02d}"
    rows = f"read_parquet('{root}/artifacts/bench/{last}/filtered/*.parquet')"
    middle = f"SELECT sample_id, prompt_id FROM {rows} LIMIT 1 OFFSET (SELECT count(*) // 2 FROM {rows})"
    sample, prompt = duckdb.sql(middle).fetchall()[0]
    pairs = f"read_parquet('{root}/artifacts/bench/{last}/pairs/*.parquet')"
    pair = duckdb.sql(
        f"SELECT sample_id FROM {pairs} LIMIT 1 OFFSET (SELECT count(*) // 2 FROM {pairs})"
    ).fetchall()[0][0]
    back, forward = trace_sql(root, sample, rounds), forward_sql(root, prompt)
    condition = f"prompt_id = '{prompt}'"
    every = rows_of(
        root, "tasks/*", *(f"round_*/{name}" for name in ("generated", "verified", "filtered*", "pairs"))
    )
    files = tuple(path for path in sorted((root / "artifacts").rglob("*")) if path.is_file())
    return [
        Case("trace SAMPLE", ["trace", sample], back, 1.0),
        Case("trace SAMPLE, first 10 letters", ["trace", sample[:10]], back, 1.0),
        Case("trace a PAIR", ["trace", pair], None, 2.0),
        Case("trace PROMPT", ["trace", prompt], None, 1.0),
        Case("trace the last CHECKPOINT", ["trace", f"bench/{last}/checkpoint"], None, 1.0),
        Case("trace --forward SAMPLE", ["trace", sample, "--forward"], None, 5.0),
        Case("trace --forward PROMPT", ["trace", prompt, "--forward"], forward, 5.0),
        Case("trace --forward first CHECKPOINT", ["trace", "bench/start/checkpoint", "--forward"], None, 5.0),
        Case("trace --samples PROMPT", ["trace", prompt, "--samples"], samples_sql(root, prompt), 5.0),
        Case(
            TAINT,
            ["taint", "--where", condition],
            f"SELECT filename, count(*) FROM {every} WHERE {condition} GROUP BY ALL; {forward}",
            5.0,
        ),
        Case(RETRACT, ["retract", "--dry-run", "--reason", "x", "--id", prompt], None, 7.5),
        Case(
            "diff of two rounds",
            ["diff", f"bench/{earlier}", f"bench/{last}"],
            diff_sql(root, earlier, last),
            5.0,
        ),
        Case(
            "show ROUND --verify of the last",
            ["show", f"bench/{last}", "--verify"],
            verify_sql(root),
            math.inf,
            files,
        ),
        Case("report", ["report"], None, 30.0),
    ]


@dataclass(frozen=True)
class Cost:
    """The cost of a process: wall and processor seconds, and the peak resident MB that it reports."""

    seconds: float
    cpu: float
    megabytes: float


def timed(command: list[str], directory: Path, text: str = "") -> Cost:
    """Measures a command, which must succeed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        command, cwd=directory, env=environment, input=text, text=True, capture_output=True, check=False
    )
    seconds, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    peak = done.stderr.rpartition("peak KB ")[2]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(seconds, cpu, int(peak) / 1024 if peak.isdigit() else 0.0)


def best(costs: list[Cost]) -> Cost:
    """The least of each, but for memory the most."""
    return Cost(
        min(one.seconds for one in costs), min(one.cpu for one in costs), max(one.megabytes for one in costs)
    )


def measure(case: Case, root: Path, repeats: int, start: Cost, sql_start: Cost) -> tuple[list[str], bool]:
    """A line of the table, and whether the case keeps its limits."""
    turns = []
    for _ in range(repeats + 1):
        own = timed([sys.executable, "-c", LINEAL, *case.command], root)
        turns.append(
            (
                own,
                timed([sys.executable, "-c", SQL, *map(str, case.hashed)], root, case.sql)
                if case.sql
                else own,
            )
        )
    own, by_hand = (best(list(costs)) for costs in zip(*turns[1:], strict=True))
    net, cpu = own.seconds - start.seconds, own.cpu - start.cpu
    sql, sql_cpu = by_hand.seconds - sql_start.seconds, by_hand.cpu - sql_start.cpu
    told = (
        [f"{sql:.2f}", f"{net / sql:.2f}", f"{sql_cpu:.2f}", f"{cpu / sql_cpu:.2f}"]
        if case.sql
        else ["-"] * 4
    )
    limits = net < case.limit_seconds and own.megabytes < LIMIT_MB
    limit = "-" if math.isinf(case.limit_seconds) else f"< {case.limit_seconds:g}"
    line = [case.name, f"{own.seconds:.2f}", f"{net:.2f}", limit, f"{cpu:.2f}", f"{own.megabytes:.0f}", *told]
    return [*line, "yes" if limits else "NO"], limits


def start_of(code: str, root: Path, repeats: int) -> Cost:
    return best([timed([sys.executable, "-c", code], root) for _ in range(repeats + 1)])


def with_project(arguments: argparse.Namespace, work: Callable[[Path], int]) -> int:
    """Does the work on the kept project, or on one that goes away."""
    from bench.synthetic import write_project

    if arguments.keep is not None:
        root = arguments.keep.resolve() / f"{arguments.rounds}x{arguments.rows}"
        if not (root / "complete").exists():
            write_project(root, arguments.rounds, arguments.rows)
            (root / "complete").touch()
        return work(root)
    with tempfile.TemporaryDirectory() as directory:
        return work(write_project(Path(directory) / "project", arguments.rounds, arguments.rows))


def main() -> int:
    """Prints the table; 1 when a limit is broken."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1_000_000, help="samples of each round")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="where the synthetic project stays, for the next run")
    parser.add_argument("--only", default="", help="only the commands whose names hold this")
    arguments = parser.parse_args()
    if arguments.rounds < 2:
        parser.error("--rounds: at least 2, since the SQL asks for the rounds before the last")
    return with_project(arguments, lambda root: report(arguments, root))


def report(arguments: argparse.Namespace, root: Path) -> int:
    from lineal.audit.terminal import table

    start = start_of(START, root, arguments.repeats)
    sql_start = start_of(SQL_START, root, arguments.repeats)
    chosen = [case for case in cases(root, arguments.rounds) if arguments.only in case.name]
    found = [measure(case, root, arguments.repeats, start, sql_start) for case in chosen]
    print(f"{arguments.rounds} rounds x {arguments.rows:,} samples; best of {arguments.repeats} turns, s")
    print(f"start of a command {start.seconds:.2f}, of the SQL's process {sql_start.seconds:.2f}")
    head = [
        "command",
        "whole",
        "less start",
        "limit",
        "CPU",
        "peak MB",
        "SQL",
        "ratio",
        "SQL's CPU",
        "ratio",
        "kept",
    ]
    print("\n".join(table(head, [line for line, _ in found])))
    return int(not all(kept for _, kept in found) or retracts_slowly([line for line, _ in found]))


def retracts_slowly(lines: list[list[str]]) -> bool:
    """Tells whether a retraction takes too long compared with taint; prints how long."""
    cpu = {line[0]: float(line[4]) for line in lines if line[0] in (TAINT, RETRACT)}
    if len(cpu) < 2:
        return False
    times = cpu[RETRACT] / cpu[TAINT]
    print(f"a retraction takes {times:.2f} times the processor seconds of taint (limit {MOST_TIMES})")
    return times > MOST_TIMES


if __name__ == "__main__":
    sys.exit(main())
