"""All shipped pipelines in one project, cut down to two tiny rounds; the base is trained once and linked by the others."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow.parquet as pq

from lineal.components.base import Role
from lineal.plan import Plan, make_plan
from lineal.recipe.project import open_project
from lineal.step.contamination import evaluation_sets, held_out_prompts
from lineal.step.runner import run_step

from .toy_project import ROOT, make_project

PIPELINES = sorted(path.stem for path in (ROOT / "pipelines").glob("*.yaml"))
ROLES = "judge, meta, critique, refine, debate, follow_up, pose"
"""All that some pipeline needs, so that they share a base."""
OWN_SKILLS = "slow|easier|pose|split|question|simplify|clarify|by_rubric"
"""Skills that those bases don't learn."""
TINY = (
    (r"size: (19200|32000)", "size: 4000"),
    (r"length: \[5, 9\], size: \d+", "length: [3, 4], size: 48"),  # before what is cut down to these lengths
    (r"length: \[13, 23\], size: \d+", "length: [5, 9], size: 32"),
    (r"length: \[7, 23\], size: \d+", "length: [5, 9], size: 32"),
    (r"length: \[7, 10\], step: 4\}, size: \d+", "length: [4, 6], step: 2}, size: 32"),
    (r"length: \[9, 13\], step: 4\}, size: \d+", "length: [5, 8], step: 1}, size: 32"),
    (r"length: \[7, 18\], size: \d+", "length: [4, 9], size: 32"),
    (r"length: \[(9, 14|12, 22)\], size: \d+", "length: [3, 5], size: 24"),
    (r"skills: \[easier[^\]]*\], length: \[2, \d+\]", "skills: [easier, debate], length: [2, 8]"),
    (
        r"skills: \[slow(, [^\]]*)?\], length: \[2, (8|10|15)\]",
        "skills: [slow, pose, hinted, refine], length: [2, 6]",
    ),
    (r"skills: \[split, merge\], length: \[2, 8\]", "skills: [split, merge], length: [2, 6]"),
    (r"skills: \[pose(, refine)?\], length: \[2, 10\]", r"skills: [pose\1], length: [2, 6]"),
    (r"skills: \[by_rubric, rubric\], length: \[2, 10\]", "skills: [by_rubric, rubric], length: [2, 6]"),
    (r"skills: \[clarify, hinted\], length: \[2, 9\]", "skills: [clarify, hinted], length: [2, 6]"),
    (r"skills: \[split, merge\], length: \[2, 20\]", "skills: [split, merge], length: [2, 6]"),
    (r"length: \[\[7, 12\], \[7, 18\], \[7, 20\]\]\}, size: \d+", "length: [[3, 5], [4, 6]]}, size: 24"),
    (r"skills: \[question, read\], length: \[2, 20\]", "skills: [question, read], length: [2, 6]"),
    (
        r"skills: \[(?!slow|easier|pose|split|question|simplify|clarify|weigh)[^\]]*\], length: \[2, \d+\]",
        f"skills: [{ROLES}], length: [2, 6]",
    ),
    (r"length: \[7, 10\], size: 128, split", "length: [3, 5], size: 24, split"),
    (r"length: \[(7, 10|20, 26)\], size: \d+", "length: [3, 5], size: 24"),
    (r"tolerance: 1", "tolerance: 3"),
    (r"min_gap: 0.5", "min_gap: 0.0"),
    (
        r"rows: shown, target: completion, steps: 60",
        "rows: shown, target: completion, steps: 61",
    ),  # else it wins no game
    (
        r"rows: tasks.base, steps: 1000, batch_size: 32",
        "rows: tasks.base, steps: 40, batch_size: 16",
    ),
    (
        r"use: pretrain, (.*), steps: \d{3,4}, heads: 4",
        r"use: pretrain, \1, heads: 4, steps: 240, batch_size: 16, learning_rate: 2e-3",
    ),
    (
        r"steps: 300\}(\n +probed: +\{samples)",
        r"steps: 240, batch_size: 16, learning_rate: 2e-3}\1",
    ),  # it has to follow a hint
    (r"use: pretrain, (.*), steps: \d{3,4}(?!\d|, batch)", r"use: pretrain, \1, steps: 160, batch_size: 16"),
    (r"use: pretrain\n( *)", r"use: pretrain\n\1batch_size: 16\n\1"),
    (r"steps: (300|400|600|800|1000)(, |\n *)batch_size: \d+", r"steps: 160\2batch_size: 16"),
    (r"steps: (300|400|600|800|1000)", "steps: 160"),
    (r"steps: 50, learning_rate: 4e-4", "steps: 3, learning_rate: 1e-5"),  # else round 2 may solve nothing
    (r"steps: (12|30|40|50|60|100)\b", "steps: 3"),
    (r"slices: \[2, 3\], size: \d+", "slices: [2, 3], size: 24"),
    (r"length: \[5, 8\], size: \d+", "length: [3, 5], size: 24"),
    (r"level: \[4, 8\], size: \d+", "level: [1, 3], size: 24"),
    (r"level: \[(2, 12|1, 16)\], size: \d+", "level: [1, 3], size: 24"),
    (r"min_gap: 0.2", "min_gap: 0.0"),
    (r"batch_size: 128", "batch_size: 32"),
    (r"(?<!null, )size: 100", "size: 24"),
    (r"count: (96|160)", "count: 12"),
    (r"count: 400", "count: 24"),
    (r"max_turns: 12", "max_turns: 5"),
    (r"max_turns: 20, history: 2", "max_turns: 6, history: 2"),
    (r"level: \[6, 24\], entry: null, size: 100", "level: [4, 14], entry: null, size: 24"),
    (r"size: 12}", "size: 8}"),
    (r"episodes: 16", "episodes: 4"),
    (r"facts: 4, size: (16|24)", "facts: 2, size: 2"),
    (r"facts: 4, size: 4000", "facts: 2, size: 400"),
    (r"edits: \{samples: 4", "edits: {samples: 2"),
    (r"steps: 10, batch_size: 4", "steps: 2, batch_size: 4"),
    (r"shapes: \[1, 2\], size: \d+", "shapes: [1, 2], size: 24"),
    (r"epochs: null, steps: 150", "epochs: null, steps: 3"),
    (
        r"lines: \[1, 3\], alphabet: abcd(.*), size: \d+",
        r"lines: [1, 1], elements: [title], alphabet: abcd\1, size: 24",
    ),
    (r"steps: 550, batch_size: 16", "steps: 40, batch_size: 16"),
    (
        r"edits: \[colour\], grid: 3, shapes: \[1, 1\], size: \d+",
        "edits: [colour], grid: 3, shapes: [1, 1], size: 24",
    ),
    (r"steps: 420, batch_size: 16", "steps: 60, batch_size: 16"),
    (r"steps: 10, batch_size: 16", "steps: 2, batch_size: 16"),
    (r"steps: 20, batch_size: 64", "steps: 2, batch_size: 16"),
    (r"threshold: 0\.7\}", "threshold: 0.0}"),  # it reads nothing yet
    (r"steps: 320, batch_size: 32", "steps: 30, batch_size: 32"),
    (r"batch_size: 256", "batch_size: 32"),
)


def make_pipelines_project(root: Path) -> Path:
    """Writes the project; nothing has run in it."""
    make_project(root)
    for name in PIPELINES:
        head, mark, profiles = (ROOT / "pipelines" / f"{name}.yaml").read_text().partition("profiles:")
        for pattern, replacement in TINY:
            profiles = re.sub(pattern, replacement, profiles)
        (root / "pipelines" / f"{name}.yaml").write_text(head + mark + profiles)
    (root / "params.yaml").write_text(
        f"seed: 0\nrounds: 2\nprofile: laptop\nactive: [{', '.join(PIPELINES)}]\n"
    )
    return root


@contextmanager
def taking_turns(lock: Path) -> Iterator[None]:
    """Waits until no other process is in a block with this lock."""
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def made(root: Path, name: str) -> Plan:
    """The plan of a pipeline that has run; what an earlier test made is found again, whichever worker it ran in.

    A pipeline is made by one worker at a time. Checkpoints of one name that pipelines start with are made one after another, so
    that the later ones find an equal one.
    """
    plan = make_plan(open_project(root), [name])
    with taking_turns(root / f".pipeline-{name}.lock"):
        for key, step in plan.steps.items():
            shared = step.component.use == "pretrain"
            with taking_turns(root / f".{step.name.replace('/', '-')}.lock") if shared else nullcontext():
                run_step(plan, key)
    return plan


HOLDS_OTHER_TEXT = {
    "exit",
    "self_evolution",
    "self_lengthen",
    "self_correction",
    "spc",
    "mcts_dpo",
    "play",
    "control_play",
    "star_gate",
    "start",
    "matata",
    "play_online",
    "tti",
    "ipr",
    "spiral",
    "agent_r",
    "exit_play",
    "rest_react",
    "rest_em_pictures",
    "paprika",
    "memento",
    "magellan",
    "webevolver",
    "webrl",
    "seal",
    "vision_zero",
    "mm_upt",
    "head_tail",
    "openvlthinker",
    "points_reader",
    "panel_of_peers",
    "mstar",
    "process_self_rewarding",
    "alphallm",
    "itool",
    "knowrl",
    "self_correcting_mcts",
    "stasc",
    "multiagent",
}
"""Methods whose prompts hold a model's own text, which an untaught model may fill with anything, a game's, or questions."""


def check_two_rounds(plan: Plan) -> None:
    """Asserts that all is made, evaluation prompts are held out, and no trained row holds what only a sampler was given."""
    for step in plan.steps.values():
        for key in step.artifact_keys().values():
            assert (plan.project.directory(key) / "manifest.json").exists()
    (pipeline,) = plan.pipelines
    held_out = {prompt.key for prompt in held_out_prompts(plan, pipeline).prompts}
    assert held_out == {step.key for step in evaluation_sets(plan, pipeline)}
    trained = [
        step for step in plan.steps.values() if step.component.role is Role.TRAINER and step.round == 2
    ]
    assert trained, "two rounds end in a second checkpoint"
    for step in (step for step in trained if step.pipeline not in HOLDS_OTHER_TEXT):
        for key in (*step.inputs.get("rows", ()), *step.inputs.get("prompts", ())):
            for path in plan.project.directory(key).glob("*.parquet"):
                assert not [
                    prompt for prompt in pq.read_table(path)["prompt"].to_pylist() if prompt.count("=") != 1
                ]
