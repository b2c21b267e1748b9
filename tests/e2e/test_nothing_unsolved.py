"""A second pass over what the first left unsolved goes on when nothing is left, and says so."""

from __future__ import annotations

from lineal.data.store import Rows, open_artifact

from .toy_project import TOY, UP_TO_DATE, command, make_project, plan_of

SECOND_PASS = """\
  unsolved:   {use: select, rows: verified, sql: prompts_without_pass}
  hinted:
    {use: ask, model: previous.checkpoint, rows: unsolved, template: "{prompt}{answer}=", row_prompt: own, max_tokens: 16}
  rescued:    {use: exact_match, rows: hinted}
  filtered:   {use: select, rows: [verified, rescued], sql: keep_correct, max_per_prompt: 1}
"""
FIRST_PASS = "  filtered:   {use: select, rows: verified, sql: keep_correct, max_per_prompt: 1}\n"


def test_second_pass_without_prompts_gives_no_rows_and_the_round_goes_on(tmp_path):
    assert FIRST_PASS in TOY
    pipeline = TOY.replace(FIRST_PASS, SECOND_PASS).replace("samples: 2", "samples: 24")
    root = make_project(tmp_path / "project", pipeline)
    command(root, "lineal", "run")
    plan = plan_of(root)

    def rows(name):
        return Rows((open_artifact(f"toy/round_02/{name}", plan.project.directory(f"toy/round_02/{name}")),))

    assert [rows(name).count for name in ("unsolved", "hinted", "rescued")] == [0, 0, 0]
    assert rows("unsolved.dropped").count == rows("verified").count == 24 * 24
    assert rows("filtered").count == 24
    assert UP_TO_DATE in command(root, "dvc", "status")
    assert (
        "toy/round_02/unsolved"
        in command(root, "lineal", "report", "-o", "report.html") + (root / "report.html").read_text()
    )
