from __future__ import annotations

from lineal.components.base import Role
from lineal.orchestrate.dagster_assets import _description, _shown_file
from lineal.orchestrate.dagster_keys import asset_key
from lineal.orchestrate.dagster_metadata import CELL_CHARACTERS, artifact_metadata
from lineal.plan import make_plan
from lineal.recipe.project import open_project

from .lab import ROOT, Lab


class _Step:
    class component:
        role = Role.SELECTOR


def test_sample_of_hostile_text_is_cut_visibly_and_escaped(tmp_path):
    text = "\x1b[31m![](http://x)\n" + "y" * 1000
    artifact = Lab(tmp_path).put(
        "round_01/generated", [{"prompt_id": "a", "prompt": text, "completion": None}]
    )
    (record,) = artifact_metadata(_Step, artifact, {}, "done")["sample"].records
    shown = record.data["prompt"]
    assert shown.startswith(r"\x1b[31m![](http://x)\ny") and "\x1b" not in shown
    assert (
        shown.endswith(f"(+{len(text) - CELL_CHARACTERS:,} characters)") and record.data["completion"] == ""
    )


def test_asset_key_of_an_output_is_under_its_node():
    assert asset_key("rest_em/round_01/filtered.dropped").path == [
        "rest_em",
        "round_01",
        "filtered",
        "dropped",
    ]


def test_description_of_a_selection_is_its_selectors_summary():
    plan = make_plan(open_project(ROOT), ["rest_em"])
    (step,) = [step for step in plan.steps.values() if step.key == "rest_em/round_01/filtered"]
    text = _description(plan, step, "")
    assert text.startswith("Keep completions that the verifier accepts") and "ReST-EM" in text
    assert "`keep_correct.sql`:\n\n```sql\n-- summary: Keep completions" in text and text.endswith("\n```")


def test_description_holds_the_template_and_no_data(tmp_path):
    template, data = tmp_path / "judge.txt", tmp_path / "rows.jsonl"
    template.write_text("Is it ```right```? {completion}\n")
    data.write_text("{}")
    assert _shown_file(template) == "\n\n`judge.txt`:\n\n```txt\nIs it '''right'''? {completion}\n```"
    assert _shown_file(data) == _shown_file(tmp_path / "gone.sql") == ""
