"""Edits a finished project at random and holds three answers against each other: status, dry run, and what a run makes.

    python bench/edits.py --edits 1000 --seed 0

After each edit (YAML, SQL, params.yaml, dvc.lock, DVC's cache, artifacts, component versions; one to three at once):
what `status` calls stale or missing is what `run --dry-run` lists; what is made is among it; what was listed and is not made
came out of its upstream with the inputs that it had; nothing is made whose identity stands, in artifacts or in DVC's cache, as a
naive look at every byte finds; afterwards all is done or recorded, and (every tenth time) DVC says the same. Exit status 1 at the
first edit that breaks one of these; its project is kept.

The engine is the fake one: what is tested is the plan. Real steps make the rows, verdicts and selections.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scratch import scratch_project

PIPELINE = """\
method: Edits
summary: What random edits are made to.
tasks:
  base:  {use: letter_sort, length: [2, 3], size: 16, split: train}
  train: {use: letter_sort, length: [4, 6], size: 12}
  test:  {use: letter_sort, length: [4, 6], size: 6}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 2}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 2, max_tokens: 16}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}
  checkpoint: {use: sft, init: previous.checkpoint, rows: filtered, steps: 2}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test, max_tokens: 16}
"""
PARAMS = "seed: 0\nrounds: 1\nactive: [edits]\ncompute: {engine: fake, workers: 1}\n"
VALUES = {
    "size: ": ["12", "13"],
    "samples: ": ["2", "3"],
    "max_per_prompt: ": ["1", "2"],
    "rows: filtered, steps: ": ["2", "3"],
    "prompts: tasks.test, max_tokens: ": ["16", "12"],
    "rows: tasks.base, steps: ": ["2", "3"],
}
"""Settings by what stands before them in the pipeline's first line that has it, and the values that they take."""

Edit = Callable[[Path, random.Random], None]


def pipeline_of(root: Path) -> Path:
    return root / "pipelines" / "edits.yaml"


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")


# -- edits that may change an identity ----------------------------------------------------------------------------------


def another_setting(root: Path, drawn: random.Random) -> None:
    before, values = drawn.choice(list(VALUES.items()))

    def change(text: str) -> str:
        start = text.index(before) + len(before)
        stop = min(place for place in (text.find(",", start), text.find("}", start)) if place >= 0)
        return text[:start] + drawn.choice(values) + text[stop:]

    rewrite(pipeline_of(root), change)


def another_query(root: Path, drawn: random.Random) -> None:
    where = drawn.choice(["FROM rows\n", "FROM rows WHERE true\n", "FROM rows WHERE 1 = 1\n"])
    rewrite(
        root / "pipelines/selectors/keep_correct.sql",
        lambda text: next(text.replace(old, where, 1) for old in OLD_WHERES if old in text),
    )


OLD_WHERES = ("FROM rows WHERE true\n", "FROM rows WHERE 1 = 1\n", "FROM rows\n")


def another_number(root: Path, drawn: random.Random) -> None:
    key, values = drawn.choice([("seed: ", "01"), ("rounds: ", "12"), ("workers: ", "12")])

    def change(text: str) -> str:
        place = text.index(key) + len(key)
        return text[:place] + drawn.choice(values) + text[place + 1 :]

    rewrite(root / "params.yaml", change)


# -- edits of words -----------------------------------------------------------------------------------------------------


def other_words_in_yaml(root: Path, drawn: random.Random) -> None:
    pairs = [
        ("samples: 2, max_tokens", "samples: 2, temperature: 1.0, max_tokens"),
        ("rows: filtered, steps", "precision: fp32, rows: filtered, steps"),
        ("{use: exact_match, rows: generated}", "{rows: generated, use: exact_match}"),
        ("round:\n", "# a comment\nround:   # here\n"),
        ("sql: keep_correct", 'sql: "keep_correct"'),
    ]
    old, new = drawn.choice(pairs)
    rewrite(
        pipeline_of(root),
        lambda text: text.replace(new, old, 1) if new in text else text.replace(old, new, 1),
    )


def other_words_in_sql(root: Path, drawn: random.Random) -> None:
    number = drawn.randint(0, 99)
    kind = drawn.choice(
        [
            "-- summary: Other words {}.\n{}",
            "-- summary: Words.\n-- free text {}\n{}",
            "-- summary: W {}.\n\n\n{}",
        ]
    )

    def change(text: str) -> str:
        rest = text.split("\n", 1)[1].lstrip("\n")
        rest = (
            rest.removeprefix("-- free text ").split("\n", 1)[-1] if rest.startswith("-- free text") else rest
        )
        return kind.format(number, rest).replace(
            "SELECT row_id,", drawn.choice(["SELECT row_id,", "SELECT /* id */\n row_id,"])
        )

    rewrite(root / "pipelines/selectors/keep_correct.sql", change)


# -- edits of records, caches and artifacts -----------------------------------------------------------------------------


def lost_lock_entries(root: Path, drawn: random.Random) -> None:
    import yaml

    if not (root / "dvc.lock").exists():
        return
    lock = yaml.safe_load((root / "dvc.lock").read_text(encoding="utf-8"))
    names = list(lock["stages"])
    for name in drawn.sample(names, drawn.randint(1, len(names))):
        del lock["stages"][name]
    (root / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False), encoding="utf-8")


def rewritten_lock(root: Path, drawn: random.Random) -> None:
    """As another tool, an editor or a merge writes it: no last newline, quoted keys, other order."""
    import yaml

    if not (root / "dvc.lock").exists():
        return
    text = (root / "dvc.lock").read_text(encoding="utf-8")
    lock = yaml.safe_load(text)
    names = drawn.sample(list(lock["stages"]), len(lock["stages"]))
    shuffled = {"schema": "2.0", "stages": {name: lock["stages"][name] for name in names}}
    texts = [
        text.rstrip("\n"),
        yaml.safe_dump(shuffled, sort_keys=False),
        yaml.safe_dump(shuffled, sort_keys=False, indent=4),
    ]
    (root / "dvc.lock").write_text(drawn.choice(texts), encoding="utf-8")


def lost_lock(root: Path, drawn: random.Random) -> None:
    (root / "dvc.lock").unlink(missing_ok=True)


def lost_cache(root: Path, drawn: random.Random) -> None:
    shutil.rmtree(root / ".dvc/cache", ignore_errors=True)


def lost_objects(root: Path, drawn: random.Random) -> None:
    for path in _some_objects(root, drawn):
        path.unlink()


def corrupt_objects(root: Path, drawn: random.Random) -> None:
    for path in _some_objects(root, drawn):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data[:-1] + b"?")


def _some_objects(root: Path, drawn: random.Random) -> list[Path]:
    found = sorted(path for path in (root / ".dvc/cache/files").rglob("*") if path.is_file())
    return drawn.sample(found, min(len(found), 3))


def _an_artifact(root: Path, drawn: random.Random) -> Path:
    found = sorted(
        path.parent
        for path in (root / "artifacts").rglob("manifest.json")
        if not path.parent.name.startswith(".")
    )
    return drawn.choice(found) if found else root / "artifacts/none"


def lost_artifacts(root: Path, drawn: random.Random) -> None:
    for _ in range(drawn.randint(1, 4)):
        shutil.rmtree(_an_artifact(root, drawn), ignore_errors=True)


def damaged_artifact(root: Path, drawn: random.Random) -> None:
    directory = _an_artifact(root, drawn)
    if not directory.is_dir():
        return
    path = drawn.choice(sorted(path for path in directory.rglob("*") if path.is_file()))
    kind = drawn.choice(["truncate", "delete", "add"])
    data = path.read_bytes()
    path.unlink()
    if kind == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif kind == "add":
        path.write_bytes(data)
        (directory / "more.txt").write_text("more", encoding="utf-8")


def swapped_artifacts(root: Path, drawn: random.Random) -> None:
    first, second = _an_artifact(root, drawn), _an_artifact(root, drawn)
    if (
        first.is_dir()
        and second.is_dir()
        and first != second
        and first not in second.parents
        and second not in first.parents
    ):
        aside = root / "artifacts" / "aside"
        first.rename(aside)
        second.rename(first)
        aside.rename(second)


def others_in_dvc_yaml(root: Path, drawn: random.Random) -> None:
    """Somebody's own stage, which stays."""
    name = f"own_{drawn.randint(0, 9)}"
    if f"  {name}:\n" not in (root / "dvc.yaml").read_text(encoding="utf-8"):
        rewrite(
            root / "dvc.yaml",
            lambda text: text.replace(
                "stages:\n", f"stages:\n  # {name}\n  {name}:\n    cmd: echo {name}\n", 1
            ),
        )


EDITS: tuple[Edit, ...] = (
    another_setting,
    another_setting,
    another_query,
    another_number,
    another_number,
    other_words_in_yaml,
    other_words_in_yaml,
    other_words_in_sql,
    other_words_in_sql,
    lost_lock_entries,
    rewritten_lock,
    lost_lock,
    lost_cache,
    lost_objects,
    corrupt_objects,
    lost_artifacts,
    damaged_artifact,
    swapped_artifacts,
    others_in_dvc_yaml,
)


# -- what must hold -----------------------------------------------------------------------------------------------------


def standing(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """By artifact key, the identity of what lies here whole, and of what DVC's cache holds whole: every byte is read."""
    from lineal.data.digests import Digests
    from lineal.data.manifest import content_digest, read_manifest, verify_files
    from lineal.errors import ArtifactError
    from lineal.orchestrate.dvc_record import DvcRecord

    here: dict[str, str] = {}
    for path in (root / "artifacts").rglob("manifest.json"):
        key = path.parent.relative_to(root / "artifacts").as_posix()
        try:
            manifest = read_manifest(path.parent, key)
            verify_files(path.parent, manifest, key)
        except ArtifactError:
            continue
        name = f"{manifest.step}.{manifest.output}" if manifest.output else manifest.step
        if manifest.digest == content_digest(manifest.files) and key == f"edits/{name}":
            here[key] = manifest.identity
    record = DvcRecord(root)
    kept = {key: artifact for key in record.recorded if (artifact := record.kept(key, Digests(fresh=True)))}
    return here, {key: artifact.manifest.identity for key, artifact in kept.items()}


def check(root: Path, dvc_too: bool) -> Counter[str]:
    """Brings the project up to date, and counts what was made, restored and recorded.

    Raises:
        AssertionError: something that must hold does not.
    """
    from lineal.data.manifest import read_manifest
    from lineal.orchestrate.decision import decide, to_do
    from lineal.orchestrate.dvc_repo import DvcProject
    from lineal.orchestrate.dvc_yaml import stage_name, write_dvc_yaml
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project
    from lineal.step.status import Act, State

    own = [line for line in (root / "dvc.yaml").read_text(encoding="utf-8").splitlines() if "own_" in line]
    plan = make_plan(open_project(root))
    decided = decide(plan)
    stale = {key for key, entry in decided.items() if told_stale(entry)}
    acts = to_do(plan, decided, plan.steps.values())
    listed = {step.key for step in (*acts[Act.MAKE], *acts[Act.RESTORE])}
    require(stale == listed, f"status: {sorted(stale)}, dry run: {sorted(listed)}")
    here, kept = standing(root)
    write_dvc_yaml(plan)
    project, outcomes = DvcProject(root), {}
    for step in plan.steps.values():
        if step.key in listed or step in acts[Act.RECORD]:
            outcomes[step.key] = project.reproduce(plan, step).outcome
    project.close()
    made = {key for key, outcome in outcomes.items() if outcome.ran}
    require(made <= {step.key for step in acts[Act.MAKE]}, f"made, and not listed: {sorted(made - listed)}")
    for step in plan.steps.values():
        keys = step.artifact_keys().values()
        if not all(plan.project.directory(key).is_dir() for key in keys):
            continue  # by its record it is up to date, and nothing read it
        identity = {read_manifest(plan.project.directory(key), key).identity for key in keys}
        stood = any(all({place.get(key)} == identity for key in keys) for place in (here, kept))
        require(not (stood and step.key in made), f"{step.key} was made, and stood: {decided[step.key]}")
        came = stood or outcomes.get(step.key) is not None
        require(
            step.key in made or step.key not in listed or came,
            f"{step.key} was listed, and nothing was done about it",
        )
    after = decide(make_plan(open_project(root)))
    left = {key: entry.act for key, entry in after.items() if entry.act is not Act.NONE}
    require(not left, f"not all is done afterwards: {left}")
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    require(all(line in text for line in own), "somebody's own stage or comment is gone")
    if dvc_too:
        said = command(root, "dvc", "status", "--json")
        absent = {key for key, entry in after.items() if entry.state is State.RECORDED}
        reading = {
            step.key for step in plan.steps.values() if absent & {one.key for one in plan.upstream(step)}
        }
        stages = {name for name in json.loads(said) if not name.startswith("own_")}
        require(stages <= {stage_name(key) for key in absent | reading}, f"dvc status: {said}")
    return Counter(str(outcome) for outcome in outcomes.values()) + Counter(
        listed=len(listed), made=len(made)
    )


def told_stale(entry: Any) -> bool:
    """Tells whether `status` lists a step as work: a recorded one elsewhere only where a stale step reads it."""
    from lineal.step.status import NOT_HERE, State

    if entry.state is State.RECORDED:
        return any("reads it" in reason for reason in entry.reasons if reason != NOT_HERE)
    return bool(entry.state is not State.DONE)


def require(holds: bool, said: str) -> None:
    """Fails with what was found."""
    if not holds:
        raise AssertionError(said)


def command(root: Path, *arguments: str) -> str:
    """Returns the output of an installed command."""
    program = Path(sys.executable).with_name(arguments[0])
    return subprocess.run(
        [program, *arguments[1:]], cwd=root, text=True, check=True, stdout=subprocess.PIPE
    ).stdout


def require_version_told(root: Path, drawn: random.Random) -> None:
    """A component with a raised version: status and dry run name its steps and all that follows, before anything is written."""
    from lineal.components.registry import Registry
    from lineal.orchestrate.decision import decide
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project

    plan = make_plan(open_project(root))
    raised = drawn.choice([step.component.use for step in plan.steps.values()])
    component = Registry().find(raised)
    version = component.version
    component.version = version + 1
    try:
        expected = {
            step.key
            for step in plan.steps.values()
            if any(one.component.use == raised for one in plan.with_upstream([step]))
        }
        stale = {key for key, entry in decide(plan).items() if told_stale(entry)}
    finally:
        component.version = version
    require(stale == expected, f"{raised}@{version + 1}: {sorted(stale ^ expected)}")


@contextmanager
def finished_project() -> Iterator[Path]:
    """A project in which all is made, with a server for its steps."""
    from lineal.plan import make_plan
    from lineal.recipe.project import open_project
    from lineal.step.forkserver import fork_server

    with tempfile.TemporaryDirectory(prefix="lineal-edits-") as name:
        root = Path(name) / "project"
        scratch_project(root)
        for path in (root / "pipelines").glob("*.yaml"):
            path.unlink()
        pipeline_of(root).write_text(PIPELINE, encoding="utf-8")
        (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
        (root / "dvc.lock").unlink(missing_ok=True)
        with fork_server(make_plan(open_project(root)).steps.values(), "fake"):
            check(root, dvc_too=False)
            yield root


def edit_at_random(root: Path, edits: int, seed: int, say: Callable[[str], Any]) -> Counter[str]:
    """Edits a finished project and checks it after each time; counts what all came to.

    Raises:
        AssertionError: something does not hold; names the edits.
    """
    total: Counter[str] = Counter()
    for number in range(edits):
        drawn = random.Random(f"{seed} {number}")
        chosen = drawn.choices(EDITS, k=drawn.choice([1, 1, 2, 3]))
        names = ", ".join(edit.__name__ for edit in chosen)
        for edit in chosen:
            edit(root, drawn)
        try:
            found = check(root, dvc_too=number % 10 == 9)
            if number % 10 == 4:
                require_version_told(root, drawn)
        except Exception as error:
            raise AssertionError(f"edit {number} of seed {seed} ({names}): {error}") from error
        total += found
        say(f"{number} {names}: {dict(found)}")
    return total


def main() -> int:
    """Prints what each edit came to; 1 at the first that breaks a promise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--edits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with finished_project() as root:
        try:
            total = edit_at_random(root, arguments.edits, arguments.seed, print)
        except AssertionError as error:
            kept = shutil.copytree(root, Path(tempfile.mkdtemp()) / "project", symlinks=True)
            print(f"FAILED {error}\nkept in {kept}")
            return 1
    print(f"{arguments.edits} edits, seed {arguments.seed}: {dict(total)}, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
