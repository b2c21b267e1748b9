"""Tracing and tainting against a naive walk over the same rows in plain Python, on random rounds, decisions and parents."""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from lineal.audit.catalog import Catalog, step_name
from lineal.audit.show.prompt_samples import prompt_samples
from lineal.audit.trace.backward import trace_back
from lineal.audit.trace.forward import trace_forward
from lineal.audit.trace.taint import taint
from lineal.audit.trace.target import SHORTEST_PREFIX, Target, TargetKind, find_target
from lineal.data.manifest import FileEntry, InputEntry, Manifest
from lineal.data.store import Artifact, write_rows
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

COMPUTE = Compute(workers=1)
SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("prompt_id", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("round", pa.int64()),
        ("checkpoint", pa.string()),
        ("decision", pa.string()),
    ]
)


PROMPTS = {f"p{number}" for number in range(3)}


@dataclass
class World:
    """A run of one pipeline: by key, rows (None for a checkpoint) and inputs."""

    rows: dict[str, list[dict] | None] = field(default_factory=dict)
    inputs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, key, rows, *inputs):
        self.rows[key] = rows
        self.inputs[key] = list(inputs)
        return key


@st.composite
def worlds(draw):
    world, counter = World(), iter(range(10, 10**6))
    prompts = [{"prompt_id": f"p{number}"} for number in range(draw(st.integers(1, 3)))]
    tasks = world.add("m/tasks/train", prompts)
    base = world.add("m/start/checkpoint", None, ("rows", tasks))
    previous, pool = base, []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        group = f"m/round_{number:02d}"
        samples = [
            {
                "sample_id": f"s{next(counter)}",
                "prompt_id": prompt["prompt_id"],
                "parents": [prompt["prompt_id"]],
                "round": number,
                "checkpoint": previous,
            }
            for prompt in prompts
            for _ in range(draw(st.integers(1, 2)))
        ]
        generated = world.add(f"{group}/generated", samples, ("model", previous), ("prompts", tasks))
        kept = [draw(st.booleans()) for _ in samples]
        inputs = ("rows", generated)
        decided = [
            row | {"decision": "kept" if keep else "dropped"} for row, keep in zip(samples, kept, strict=True)
        ]
        pool.append(
            world.add(f"{group}/filtered", [row for row in decided if row["decision"] == "kept"], inputs)
        )
        world.add(
            f"{group}/filtered.dropped", [row for row in decided if row["decision"] == "dropped"], inputs
        )
        if draw(st.booleans()):  # says that the rows are passed on, so that they are not looked for here
            world.counts |= dict.fromkeys(
                [f"{group}/filtered", f"{group}/filtered.dropped"], {"kept": 1, "dropped": 1}
            )
        sources = [row["sample_id"] for key in pool for row in world.rows[key]]
        made = []
        for _ in range(
            draw(st.integers(0, 5)) if sources else 0
        ):  # a tree: rows made from rows of the same artifact, too
            chosen = draw(
                st.lists(
                    st.sampled_from([*sources, *(row["sample_id"] for row in made)]), min_size=1, max_size=2
                )
            )
            made.append(
                {"sample_id": f"d{next(counter)}", "prompt_id": "x", "parents": chosen, "round": number}
            )
        pairs = world.add(f"{group}/pairs", draw(st.permutations(made)), *(("rows", key) for key in pool))
        read = draw(st.lists(st.sampled_from([*pool, pairs]), min_size=1, max_size=2, unique=True))
        init = draw(st.sampled_from([base, previous]))
        previous = world.add(f"{group}/checkpoint", None, ("init", init), *(("rows", key) for key in read))
    return world


def row_id(row):
    return row.get("sample_id") or row["prompt_id"]


def write(world, root):
    """The world as artifacts on disk; a checkpoint's digest is its key, and every artifact's too."""
    artifacts = {}
    for key, rows in world.rows.items():
        files, names = {}, []
        if rows is not None:
            names = ["prompt_id"] if key.endswith("tasks/train") else SCHEMA.names
            names = [name for name in names if name != "decision" or not key.endswith("generated")]
            table = pa.Table.from_pylist(rows, schema=pa.schema([SCHEMA.field(name) for name in names]))
            counts = write_rows(root / key, [table])
            files = {name: FileEntry(sha256="0", size_bytes=0, rows=count) for name, count in counts.items()}
        inputs = {}
        for name, source in world.inputs[key]:
            inputs.setdefault(name, []).append(InputEntry(step=step_name(source), digest=source))
        kind = ArtifactKind.MODEL if rows is None else ArtifactKind.ROWS
        manifest = Manifest(
            output=key.partition(".")[2],
            step=step_name(key),
            kind=kind,
            component="x",
            version=1,
            identity=key,
            settings={},
            seed=0,
            inputs=inputs,
            files_read={},
            counts=world.counts.get(key, {}),
            columns=dict.fromkeys(names, "x"),
            files=files,
            digest=key,
        )
        artifacts[key] = Artifact(key, root / key, manifest)
    return Catalog(dict(sorted(artifacts.items())))


def closure(lines, known, every):
    """The rows that are, or were made from, known ones or one another, all the way."""
    found = set(lines) if every else set()
    while more := {name for name, near in lines.items() if near & (known | found)} - found:
        found |= more
    return found


def naive_forward(world, target, own_rows):
    """By key, (rows made from the target, rows otherwise influenced), or True for a checkpoint; the slow and plain way."""
    made, influenced, touched = set(own_rows), set(), {}
    for key in world.rows:  # worlds are built in running order
        rows, models = (
            world.rows[key],
            [source for _, source in world.inputs[key] if world.rows[source] is None],
        )
        if rows is None:
            if key == target or any(source in touched for _, source in world.inputs[key]):
                touched[key] = True
            continue
        lines = {row_id(row): {row_id(row), *(row.get("parents") or [])} for row in rows}
        own = closure(lines, made, every=key == target)
        other = closure(lines, influenced, every=any(model in touched for model in models)) - own
        made |= own
        influenced |= other
        if own or other or key == target:
            touched[key] = (len(own), len(other))
    return touched


@settings(max_examples=15)
@given(st.data())
def test_forward_equals_the_naive_walk(data):
    world = data.draw(worlds())
    ids = sorted({row_id(row) for rows in world.rows.values() for row in rows or []})
    name = data.draw(st.sampled_from([*ids, *world.rows]))
    with TemporaryDirectory() as root:
        found = trace_forward(*written(world, Path(root), name), COMPUTE)
    own = set() if name in world.rows else {name}
    assert summary(found) == naive_forward(world, name if name in world.rows else None, own)


def written(world, root, name):
    """The world on disk, and the thing of this name in it as the command line finds it."""
    catalog = write(world, root)
    long_enough = len(name) >= SHORTEST_PREFIX and name not in world.rows
    kind = TargetKind.ARTIFACT if name in world.rows else TargetKind.ROW
    return catalog, find_target(catalog, name, COMPUTE) if long_enough else Target(kind, name)


def summary(found):
    return {one.key: True if one.total is None else (one.made, one.influenced) for one in found}


@settings(max_examples=15)
@given(st.data())
def test_taint_equals_the_naive_walk(data):
    world = data.draw(worlds())
    ids = sorted({row_id(row) for rows in world.rows.values() for row in rows or []})
    chosen = data.draw(st.sets(st.sampled_from(ids), max_size=4))
    listed = ", ".join(f"'{name}'" for name in sorted(chosen)) or "NULL"
    keys = [key for key, rows in world.rows.items() if rows and "sample_id" in rows[0]]
    key = data.draw(st.sampled_from([None, *keys]))
    with TemporaryDirectory() as root:
        catalog = write(world, Path(root))
        within = None if key is None else catalog.artifacts[key]
        found = [
            taint(catalog, f"{name} IN ({listed})", COMPUTE, within)
            for name in ("sample_id", "prompt_id")[: 1 if key else 2]
        ]
    samples = (
        {name for name in chosen if any(row.get("sample_id") == name for row in world.rows[key] or [])}
        if key
        else chosen
    )
    assert found[0].rows == len(samples - PROMPTS)
    assert summary(found[0].touched) == naive_forward(world, None, samples - PROMPTS)
    of_prompts = [row for rows in world.rows.values() for row in rows or [] if row["prompt_id"] in chosen]
    assert key or summary(found[1].touched) == naive_forward(world, None, {row_id(row) for row in of_prompts})


@settings(max_examples=15)
@given(st.data())
def test_backward_equals_the_naive_walk(data):
    world = data.draw(worlds())
    rows = {row_id(row): row for rows in world.rows.values() for row in rows or []}
    name = data.draw(st.sampled_from(sorted(rows)))
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        found.add(one)
        waiting += [parent for parent in rows[one].get("parents") or [] if parent not in found]
    with TemporaryDirectory() as root:
        graph = trace_back(*written(world, Path(root), name), COMPUTE)
    assert {node.name for node in graph.nodes.values() if node.kind in ("sample", "prompt")} == found
    edges = {(edge.source, edge.target) for edge in graph.edges}
    assert {
        (f"row:{one}", f"row:{parent}") for one in found for parent in rows[one].get("parents") or []
    } <= edges


@settings(max_examples=15)
@given(st.data())
def test_samples_of_a_prompt_equal_a_naive_list(data):
    world = data.draw(worlds())
    prompt = data.draw(st.sampled_from([row["prompt_id"] for row in world.rows["m/tasks/train"]]))
    lost = data.draw(st.sets(st.sampled_from([key for key in world.rows if key.endswith(".dropped")])))
    with TemporaryDirectory() as root:
        artifacts = write(world, Path(root)).artifacts
        catalog = Catalog({key: artifact for key, artifact in artifacts.items() if key not in lost})
        found = prompt_samples(catalog, Target(TargetKind.ROW, prompt), COMPUTE)
    expected = {
        row["sample_id"]: row["checkpoint"]
        for key, rows in world.rows.items()
        if key.endswith("generated")
        for row in rows
        if row["prompt_id"] == prompt
    }
    assert {sample.sample_id: sample.facts["checkpoint"] for sample in found.samples} == expected
    assert all(sample.made_in.endswith("generated") for sample in found.samples)
    decided = {
        row["sample_id"]: row["decision"]
        for key, rows in world.rows.items()
        if key in world.counts and key not in lost
        for row in rows
        if row["prompt_id"] == prompt
    }
    assert {one.sample_id: told["decision"] for one in found.samples for told in one.decisions} == decided


def naive_back(world, name):
    """The checkpoints and the rows that something came from."""
    rows = {row_id(row): row for rows in world.rows.values() for row in rows or []}
    found, waiting = set(), [name]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        if current in rows:
            waiting += [
                *(rows[current].get("parents") or []),
                *filter(None, [rows[current].get("checkpoint")]),
            ]
        else:
            for _, source in world.inputs[current]:
                waiting += [source] if world.rows[source] is None else samplers(rows, world.rows[source])
    return found


def samplers(rows, held):
    """The checkpoints that sampled these rows; of a row made from several samples, the latest round's."""
    found = set()
    for row in held:
        origins = [row] if row.get("checkpoint") else [rows[parent] for parent in row.get("parents") or []]
        named = [(origin["round"], origin["checkpoint"]) for origin in origins if origin.get("checkpoint")]
        found |= {max(named)[1]} if named else set()
    return sorted(found)


@settings(max_examples=15)
@given(st.data())
def test_back_equals_the_naive_walk(data):
    world = data.draw(worlds())
    checkpoints = [key for key, rows in world.rows.items() if rows is None]
    ids = sorted({row_id(row) for rows in world.rows.values() for row in rows or []})
    name = data.draw(st.sampled_from([*ids, *checkpoints]))
    with TemporaryDirectory() as root:
        graph = trace_back(*written(world, Path(root), name), COMPUTE)
    got = {node.name for node in graph.nodes.values() if node.kind in ("sample", "prompt", "model")}
    assert got == naive_back(world, name)
