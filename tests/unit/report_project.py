"""A project whose report has everything: a vote, a second verifier, rows made from rows, pass@k, and a base that is evaluated."""

import shutil
from pathlib import Path

from lineal.plan import Plan
from tests.unit.audit_project import run_all

ROOT = Path(__file__).parents[2]
PIPELINE = """
method: Everything
paper: arXiv:2203.11171
summary: Votes, verifies, rationalizes what nobody solved, and trains on what is right.
tasks:
  base:  {use: letter_sort, length: [2, 4], size: 30, split: train}
  train: {use: letter_sort, length: [3, 6], size: 12}
  test:  {use: letter_sort, length: [3, 6], size: 10}
start:
  checkpoint: {use: pretrain, rows: tasks.base, steps: 1}
  evaluation: {use: accuracy, model: checkpoint, prompts: tasks.test}
round:
  generated:    {use: sample, model: previous.checkpoint, prompts: tasks.train, samples: 5}
  voted:        {use: majority_vote, rows: generated}
  verified:     {use: exact_match, rows: voted, name: exact}
  judged:       {use: exact_match, rows: generated}
  unsolved:     {use: select, rows: judged, sql: failed}
  rationalized: {use: rationalize, model: previous.checkpoint, prompts: unsolved, hint: "{prompt} ({answer})"}
  rescued:      {use: exact_match, rows: rationalized}
  filtered:     {use: select, rows: [judged, rescued], sql: right}
  checkpoint:   {use: sft, init: previous.checkpoint, rows: filtered, steps: 1}
  probed:       {use: sample, model: checkpoint, prompts: tasks.test, samples: 4}
  probe:        {use: exact_match, rows: probed}
  at_k:         {use: pass_at_k, rows: probe, k: [1, 4], warnings: {pass_at_4: {above: 0}, pass_at_1: {below: 0}}}
  evaluation:   {use: accuracy, model: checkpoint, prompts: tasks.test}
"""
SELECTORS = {
    "right": """-- summary: Right ones.
-- needs: verdict
SELECT row_id, CASE WHEN verdict = 'pass' THEN 'kept' ELSE 'dropped' END AS decision, verdict AS reason FROM rows
""",
    "failed": """-- summary: Prompts with a wrong sample, made from its first one.
-- needs: prompt_id, prompt, answer, difficulty, verdict
-- makes prompts: prompt_id, prompt, answer, difficulty
SELECT [min(row_id)] AS parents, prompt_id, min(prompt) AS prompt, min(answer) AS answer,
    min(difficulty) AS difficulty
FROM rows WHERE verdict = 'fail' GROUP BY prompt_id ORDER BY prompt_id
""",
}


def made_report_project(root: Path) -> Plan:
    """The project with every artifact of three rounds made."""
    selectors = root / "pipelines" / "selectors"
    shutil.copytree(ROOT / "pipelines" / "selectors", selectors)
    for name, sql in SELECTORS.items():
        (selectors / f"{name}.sql").write_text(sql)
    (root / "pipelines" / "everything.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text(
        "rounds: 3\nactive: [everything]\ncompute: {engine: fake, workers: 1}\n"
    )
    return run_all(root)
