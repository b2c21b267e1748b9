"""A small project for the audit tests: a method and its control, every artifact made by `run_step` with the fake engine."""

import json
from pathlib import Path

from lineal.data.digests import Digests
from lineal.data.manifest import MANIFEST
from lineal.orchestrate.dvc_lock import LOCK_HEAD
from lineal.orchestrate.dvc_record import directory_md5
from lineal.orchestrate.dvc_yaml import stage_name
from lineal.plan import Plan, make_plan
from lineal.recipe.project import open_project
from lineal.step.runner import run_step

METHOD = """
method: Tiny <method>
paper: arXiv:2312.06585
summary: Sorts letters & keeps what is right.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 30, split: train}
  train: {use: letter_sort, length: [5, 9], size: 20}
  test:  {use: letter_sort, length: [5, 9], size: 10}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
round:
  generated:  {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 3}
  verified:   {use: exact_match, rows: generated}
  filtered:   {use: select, rows: verified, sql: %s}
  mixed:      {use: select, rows: history.filtered, replay: tasks.base, sql: replayed}
  checkpoint: {use: sft, init: previous.checkpoint, rows: mixed, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
"""
CONTROL = METHOD.replace("paper: arXiv:2312.06585\n", "").replace("Tiny <method>", "Control")
SELECTORS = {
    "right": """-- summary: Right ones.
-- needs: verdict
SELECT row_id, CASE WHEN verdict = 'pass' THEN 'kept' ELSE 'dropped' END AS decision, verdict AS reason FROM rows
""",
    "everything": """-- summary: All of them.
SELECT row_id, 'kept' AS decision, '' AS reason FROM rows
""",
    "replayed": """-- summary: The rows, and ten rows of a replay set.
-- needs: prompt_id, prompt, completion
-- input replay: prompt_id, prompt, answer
-- makes rows: prompt_id, prompt, completion
SELECT [row_id] AS parents, prompt_id, prompt, completion FROM rows
UNION ALL
(SELECT [row_id], prompt_id, prompt, answer FROM replay ORDER BY position LIMIT 10)
""",
}


def write_project(root: Path, rounds: int = 2) -> Path:
    """Writes the project's files."""
    selectors = root / "pipelines" / "selectors"
    selectors.mkdir(parents=True)
    for name, sql in SELECTORS.items():
        (selectors / f"{name}.sql").write_text(sql)
    (root / "pipelines" / "tiny.yaml").write_text(METHOD % "right")
    (root / "pipelines" / "control.yaml").write_text(CONTROL % "everything")
    (root / "params.yaml").write_text(
        f"rounds: {rounds}\nactive: [tiny, control]\ncompute: {{engine: fake, workers: 1}}\n"
    )
    return root


def run_all(root: Path) -> Plan:
    """Makes every artifact of the active pipelines."""
    plan = make_plan(open_project(root))
    for key in plan.steps:
        run_step(plan, key)
    return plan


def made_project(root: Path) -> Plan:
    """A project with every artifact made."""
    return run_all(write_project(root))


def record_in_dvc(root: Path) -> None:
    """Records every artifact as DVC does: its MD5 in `dvc.lock`, listing and files in the cache."""
    lock = LOCK_HEAD
    for manifest in sorted((root / "artifacts").rglob(MANIFEST)):
        directory, key = manifest.parent, manifest.parent.relative_to(root / "artifacts").as_posix()
        md5s = {
            path.relative_to(directory).as_posix(): Digests().of(path, "md5")
            for path in directory.rglob("*")
            if path.is_file()
        }
        listing = json.dumps([{"md5": md5, "relpath": name} for name, md5 in sorted(md5s.items())])
        md5 = directory_md5(directory, Digests())
        for digest, data in {
            md5: listing.encode(),
            **{one: (directory / name).read_bytes() for name, one in md5s.items()},
        }.items():
            stored = root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_bytes(data)
        lock += f"  {stage_name(key)}:\n    cmd: x\n    outs:\n    - path: artifacts/{key}\n      hash: md5\n      md5: {md5}\n"
    (root / "dvc.lock").write_text(lock)
