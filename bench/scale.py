"""Plans far larger than a laptop's run: what planning, Dagster, DVC and status cost when rounds and shards grow.

    python bench/scale.py run [--rounds 50 --shards 1000]      one simulated project; the figures to docs/scale.json
    python bench/scale.py pages [--check]                      the tables and the plot of docs/scale.md

A simulated project holds every artifact of its plan with the manifest that a real run would have written; its row files hold
a few bytes each, all of them different, since planning, loading, status and DVC look at names and bytes and never at rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from plan import PIPELINE
from scratch import LINEAL, ROOT, scratch_project

FIGURES = ROOT / "docs" / "scale.json"
SIZES = ((10, 10), (50, 10), (200, 10), (10, 100), (50, 100), (10, 1000), (50, 1000))
"""(rounds, shards) of the page."""


def simulate(directory: Path, rounds: int, shards: int) -> None:
    """Makes a project of which every artifact is there; sources have one file, other rows `shards` files."""
    from lineal.orchestrate.dvc_yaml import write_dvc_yaml
    from lineal.plan import artifact_key, make_plan
    from lineal.recipe.project import open_project
    from lineal.step.identity import identify
    from lineal.step.runner import open_inputs, resolved

    scratch_project(directory, rounds=rounds)
    (directory / "pipelines" / "bench.yaml").write_text(PIPELINE, encoding="utf-8")
    (directory / "params.yaml").write_text(f"rounds: {rounds}\nactive: [bench]\n", encoding="utf-8")
    plan = make_plan(open_project(directory))
    write_dvc_yaml(plan)
    for step in plan.steps.values():
        inputs = open_inputs(plan, step, verify=False)
        identity = identify(step, resolved(plan, step), plan.project.seed_of(step.pipeline), inputs)
        for output in step.outputs:
            key = artifact_key(step.key, output)
            write_artifact(
                plan.project.directory(key), step, output, identity, 1 if step.group == "tasks" else shards
            )


def write_artifact(directory: Path, step: object, output: str, identity: object, shards: int) -> None:
    """Writes one output: files of a few bytes that no other artifact has, and the manifest."""
    from lineal.data.manifest import Manifest, content_digest, list_files
    from lineal.data.store import ROWS_PER_FILE
    from lineal.recipe.references import ArtifactKind

    directory.mkdir(parents=True)
    kind = step.outputs[output].kind
    names = (
        [f"part-{number:05d}.parquet" for number in range(shards)]
        if kind is ArtifactKind.ROWS
        else ["model.safetensors"]
    )
    if kind is ArtifactKind.METRICS:
        names = ["metrics.json"]
    for name in names:
        text = (
            json.dumps({"accuracy": 0.5, "count": 16})
            if name == "metrics.json"
            else f"{step.key} {output} {name}"
        )
        (directory / name).write_text(text, encoding="utf-8")
    rows = dict.fromkeys((name for name in names if name.endswith(".parquet")), ROWS_PER_FILE)
    files = list_files(directory, rows)
    total = sum(rows.values())
    counts = (
        {"in": total, "kept": total, "dropped": 0}
        if step.component.use == "select"
        else {"in": total, "expected": total}
    )
    Manifest(
        step=identity.step,
        output=output,
        kind=kind,
        component=identity.component,
        version=identity.version,
        identity=identity.digest,
        settings=identity.settings,
        seed=identity.seed,
        inputs=identity.inputs,
        files_read=identity.files_read,
        settings_from=identity.settings_from,
        counts=counts,
        columns={},
        files=files,
        digest=content_digest(files),
    ).write(directory)


def plan_it(directory: Path) -> int:
    """Unrolls and checks the plan; steps."""
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    return len(make_plan(open_project(directory)).steps)


def write_stages(directory: Path) -> int:
    """Plans and renders dvc.yaml; bytes."""
    from lineal.orchestrate.dvc_yaml import dvc_yaml_text
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    return len(dvc_yaml_text(make_plan(open_project(directory))))


def record(directory: Path) -> int:
    """`dvc commit`: hashes every file, fills the cache, writes dvc.lock; files."""
    from dvc.repo import Repo

    with Repo(str(directory)) as repo:
        repo.commit(force=True)
    return sum(1 for path in (directory / ".dvc" / "cache").rglob("*") if path.is_file())


def load_in_dagster(directory: Path) -> int:
    """Loads what `dagster dev` loads; returns asset keys."""
    from lineal.orchestrate.dagster_definitions import definitions

    return len(definitions(directory).resolve_asset_graph().get_all_asset_keys())


def tell_status(directory: Path) -> int:
    """`lineal status`; steps that are done."""
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project
    from lineal.step.status import State, status_of

    return sum(entry.state is State.DONE for entry in status_of(make_plan(open_project(directory))))


def command(*arguments: str) -> Callable[[Path], int]:
    """A command of lineal's; its exit status must be 0."""

    def run(directory: Path) -> int:
        subprocess.run([LINEAL, *arguments], cwd=directory, check=True, stdout=subprocess.DEVNULL)
        return 0

    return run


MEASURES: dict[str, Callable[[Path], int]] = {
    "plan": plan_it,
    "write dvc.yaml": write_stages,
    "load in Dagster": load_in_dagster,
    "lineal status": tell_status,
    "dvc commit": record,
    "lineal sync": command("sync"),
    "lineal run, nothing to do": command("run"),
}


def measured(directory: Path, name: str) -> dict[str, float]:
    """One measure in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, Path(__file__).resolve(), "one", name, directory],
        cwd=directory,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def one(name: str, directory: Path) -> None:
    """Runs a measure here and prints what it took, children included."""
    began = time.perf_counter()
    count = MEASURES[name](directory)
    seconds = time.perf_counter() - began
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    peak = max(usage.ru_maxrss for usage in usages) / 1e6
    print(
        json.dumps(
            {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "gb": round(peak, 2), "count": count}
        )
    )


def hash_rate(count: int = 1 << 26, turns: int = 7) -> float:
    """GB per second that one core hashes: SHA-256 for manifests and MD5 for DVC, the mean of their best rates."""
    data, rates = bytes(count), []
    for name in ("sha256", "md5"):
        took = []
        for _ in range(turns):
            began = time.perf_counter()
            hashlib.new(name, data, usedforsecurity=False)
            took.append(time.perf_counter() - began)
        rates.append(count / 1e9 / min(took))
    return round(sum(rates) / 2, 2)


def run(sizes: list[tuple[int, int]]) -> None:
    """Measures projects of these sizes and adds the figures to the file."""
    for rounds, shards in sizes:
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch) / "project"
            simulate(directory, rounds, shards)
            files = sum(len(names) for _, _, names in os.walk(directory / "artifacts"))
            print(f"{rounds} rounds x {shards:,} shards: {files:,} files", flush=True)
            found = {}
            for name in MEASURES:
                found[name] = measured(directory, name)
                print(f"  {name:26} {found[name]}", flush=True)
        figures = json.loads(FIGURES.read_text(encoding="utf-8"))["projects"] if FIGURES.exists() else {}
        figures[f"{rounds}x{shards}"] = {
            "rounds": rounds,
            "shards": shards,
            "files": files,
            "measures": found,
        }
        ordered = dict(sorted(figures.items(), key=lambda item: (item[1]["rounds"], item[1]["shards"])))
        text = json.dumps({"hash_gb_per_second": hash_rate(), "projects": ordered}, indent=1)
        FIGURES.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="measure simulated projects")
    runner.add_argument("--rounds", type=int)
    runner.add_argument("--shards", type=int)
    pages = commands.add_parser("pages", help="write the page's tables and plot")
    pages.add_argument("--check", action="store_true")
    single = commands.add_parser("one")
    single.add_argument("name")
    single.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "one":
        one(arguments.name, arguments.directory)
    elif arguments.command == "run":
        run([(arguments.rounds, arguments.shards)] if arguments.rounds and arguments.shards else list(SIZES))
    else:
        from scale_pages import pages as write_or_check

        raise SystemExit(write_or_check(arguments.check))


if __name__ == "__main__":
    main()
