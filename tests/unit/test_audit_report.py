"""The report: the same bytes for the same artifacts, nothing loaded, nothing that a model wrote obeyed."""

import json
import re
import shutil
from html.parser import HTMLParser

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lineal.audit.report import write_report
from lineal.audit.report.render import LONGEST_TEXT, visible
from lineal.data.manifest import read_manifest
from lineal.errors import ProjectError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from tests.unit.audit_project import made_project, write_project

CHARTS = (
    "Evaluation",
    "Yield of filtered",
    "Passes of verified",
    "Distinct completions in generated",
    "Length of generated",
)
HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)> \x1b[31m {{ 7 * 7 }} </td></table>\n\u202etxt"
)


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("report"))


def page_of(root, path):
    write_report(make_plan(open_project(root)), path)
    return path.read_text()


def without_run_facts(page):
    shorter, count = re.subn(r"<!-- run facts.*<!-- end of run facts -->", "", page, flags=re.DOTALL)
    assert count == 1
    return shorter


class Reader(HTMLParser):
    """Collects tags, ids, links and text; fails on tags that do not close in order."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name):
        return [value for key, value in self.attributes if key == name]


def test_report_has_the_same_bytes_elsewhere_and_later_but_for_run_facts(plan, tmp_path):
    first = page_of(plan.project.root, tmp_path / "a.html")
    copy = shutil.copytree(plan.project.root, tmp_path / "elsewhere")
    for log in (copy / "runs").rglob("*.json"):
        log.write_text(json.dumps(json.loads(log.read_text()) | {"seconds": 123.4}))
    second = page_of(copy, tmp_path / "b.html")
    assert without_run_facts(first) == without_run_facts(second)
    assert "123.4" in second
    assert str(tmp_path) not in second


def test_report_tells_every_pipeline_round_and_number(plan, tmp_path):
    text = "".join(Reader(page_of(plan.project.root, tmp_path / "r.html")).text)
    for word in (
        "Tiny <method>",
        "control",
        "arXiv:2312.06585",
        "Sorts letters & keeps what is right.",
        "seed",
        "paper",
    ):
        assert word in text
    metrics = json.loads((plan.project.directory("tiny/round_02/evaluation") / "metrics.json").read_text())
    assert f"{100 * metrics['accuracy']:.1f}%" in text
    for title in CHARTS:
        assert title in text


def test_report_shows_rows_of_every_round_and_verdict_with_decision_and_ancestry(plan, tmp_path):
    page = page_of(plan.project.root, tmp_path / "r.html")
    assert page.count('<details class="row') == 6 * 2 * 2 * 2
    table = pq.read_table(plan.project.directory("tiny/round_02/verified") / "part-00000.parquet")
    for verdict, sign, decision in (("pass", "✓", "kept"), ("fail", "✗", "dropped")):
        first = min(
            (row for row in table.to_pylist() if row["verdict"] == verdict), key=lambda row: row["sample_id"]
        )
        end = page.index(f"<code>{first['sample_id']}</code>")
        row = page[page.rindex('<details class="row', 0, end) :].partition("</details>")[0]
        assert first["completion"] in row
        for word in (
            f"{sign} {verdict}",
            decision,
            "tiny/round_02/generated",
            "tiny/tasks/train",
            first["prompt_id"],
        ):
            assert word in row
        assert re.search(
            r"tiny/round_01/checkpoint.*sft@2.*tiny/start/checkpoint.*pretrain@2.*base", row, re.DOTALL
        )


def test_lineage_draws_a_box_for_every_step_and_a_line_for_every_input(plan, tmp_path):
    page = page_of(plan.project.root, tmp_path / "r.html")
    own = [step for step in plan.steps.values() if step.pipeline == "tiny"]
    picture = page[page.index('aria-label="Lineage of tiny: ') :].partition("</svg>")[0]
    assert picture.count('class="box"') == len(own)
    assert picture.count('class="edge ') == sum(len(step.all_inputs()) for step in own)
    for step in own:
        assert f'href="#{step.key}"' in picture


def test_report_costs_come_from_run_logs_of_what_ran(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    path = root / "runs/tiny/round_01/generated.json"
    facts = {"tokens": 4321, "seconds_by_phase": {"sample": 2.5}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"facts": facts}))
    page = page_of(root, tmp_path / "r.html")
    table = page[page.index('aria-label="Cost per round"') :].partition("</table>")[0]
    assert "<td>1</td><td>60</td><td>4,321</td><td>2.5</td><td>1,728</td>" in table
    reused = table[table.index("control</th><td>1</td>") :].partition("</tr>")[0]
    assert "4,321" not in reused


def test_report_says_what_the_fake_engine_made_up(plan, tmp_path):
    page = page_of(plan.project.root, tmp_path / "page.html")
    made_up = [key for key in plan.makers if read_manifest(plan.project.directory(key), key).made_up]
    assert (
        made_up and f"{len(made_up)} artifacts, <code>{made_up[0]}</code> among them, were made up by" in page
    )


def test_report_loads_nothing_and_runs_nothing(plan, tmp_path):
    page = Reader(page_of(plan.project.root, tmp_path / "r.html"))
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert all(link.startswith(("#", "https://arxiv.org/abs/")) for link in page.values("href"))
    assert any("default-src 'none'" in value for value in page.values("content"))


def test_report_links_point_at_things_on_the_page(plan, tmp_path):
    page = Reader(page_of(plan.project.root, tmp_path / "r.html"))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href") if link.startswith("#")} <= set(ids)
    assert set(plan.steps) <= set(ids)


def test_report_shows_hostile_text_and_obeys_none_of_it(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    for key in ("tasks/train", "round_01/generated", "round_01/verified", "round_01/filtered"):
        path = root / f"artifacts/tiny/{key}/part-00000.parquet"
        table = pq.read_table(path)
        for name in (
            "prompt",
            "completion",
            "answer",
            "detail",
            "verdict",
            "task",
            "finish_reason",
            "decision",
            "reason",
        ):
            if name in table.column_names:
                table = table.set_column(
                    table.column_names.index(name), name, pa.array([HOSTILE] * table.num_rows)
                )
        path.unlink()
        pq.write_table(table, path)
    page = page_of(root, tmp_path / "r.html")
    reader = Reader(page)
    assert not {"script", "img"} & set(reader.tags)
    assert "".join(reader.text).count("<script>alert(1)</script>") > 50
    assert "{{ 7 * 7 }}" in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_report_of_a_project_where_nothing_is_made_says_so(tmp_path):
    page = Reader(page_of(write_project(tmp_path / "p"), tmp_path / "r.html"))
    text = "".join(page.text)
    assert "Nothing is made yet" in text
    assert "not made yet" in text
    assert "No step has run here." in text


def test_report_goes_on_beside_an_unreadable_shard(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    shard = root / "artifacts/tiny/round_01/verified/part-00000.parquet"
    data = shard.read_bytes()[:100]
    shard.unlink()
    shard.write_bytes(data)
    text = "".join(Reader(page_of(root, tmp_path / "r.html")).text)
    assert "tiny/round_01/verified: its rows cannot be read" in text


def test_report_that_cannot_be_written_leaves_the_old_one(plan, tmp_path):
    (tmp_path / "r.html").write_text("old")
    (tmp_path / ".r.html.writing").mkdir()
    with pytest.raises(ProjectError, match="cannot be written"):
        write_report(plan, tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text() == "old"


def test_long_text_is_cut_and_says_how_much_is_missing():
    assert visible("x" * (LONGEST_TEXT + 1500)).endswith("… (1,500 more letters)")
    assert visible("a\nb\x00") == "a\nb\\x00"


def test_report_says_what_its_numbers_stand_on(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    path, commit = tmp_path / "r.html", "0123456789ab" + "c" * 28
    write_report(make_plan(open_project(root)), path, (commit, True))
    text = " ".join("".join(Reader(path.read_text()).text).split())
    assert (
        "git0123456789ab with uncommitted changes" in text and "34 done" in text and "retractionsnone" in text
    )
    assert (
        "artifacts that trainers read passed the check against evaluation prompts (13 words in a row; ngrams stop a step)"
        in text
    )
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "seed: 7\n")
    entry = "unit:\n  reason: no <unit>\n  date: '2026-11-21'\n  where: verdict = 'pass'\n"
    (root / "retractions.yaml").write_text(entry)
    text = " ".join("".join(Reader(page_of(root, path)).text).split())
    assert "34 stale" in text and "tiny/tasks/base: seed 0 -> 7" in text and "unit: no <unit>" in text
    assert "taintedtiny/round_01/checkpoint" in text
