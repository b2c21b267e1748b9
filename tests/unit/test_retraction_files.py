"""`retractions.yaml` and `retracted.json`: what may stand in them, and errors that name file, line and key."""

import pytest

from lineal.errors import DeclarationError, ProjectError, UsageError
from lineal.plan import make_plan
from lineal.recipe.project import open_project
from lineal.recipe.retraction_files import name_for, read_retractions, with_entry, write_resolutions
from lineal.recipe.retractions import Resolution, Retraction, of
from tests.unit.audit_project import write_project

GOOD = "bad:\n  reason: they are wrong\n  date: 2026-11-21\n  where: verdict = 'pass'\n"
SELECTION = "tiny/round_01/filtered"


def entry(**values):
    return Retraction.model_validate({"reason": "they are wrong", "date": "2026-11-21", **values})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- reason: x\n", r"retractions.yaml:1: must hold a name for each retraction"),
        ("Bad-Name:\n  reason: x\n", r"retractions.yaml:1: Bad-Name: 'Bad-Name' is no name"),
        ("bad:\n  date: 2026-11-21\n  where: 'true'\n", r"retractions.yaml:1: bad.reason: is missing"),
        ("bad:\n  reason: x\n  where: 'true'\n", r"retractions.yaml:1: bad.date: is missing"),
        (
            GOOD.replace("where", "wher"),
            r"retractions.yaml:4: bad.wher: unknown key 'wher'. Did you mean 'where'",
        ),
        (
            GOOD.replace("2026-11-21", "21.11.2026"),
            r"retractions.yaml:3: bad.date: must be a day .*, got '21.11.2026'",
        ),
        (GOOD.replace("2026-11-21", "2026-13-21"), r"retractions.yaml:3: bad.date: "),
        (GOOD.replace("they are wrong", "''"), r"retractions.yaml:2: bad.reason: say in one line why"),
        (GOOD + "  ids: [a]\n", r"retractions.yaml:1: bad: give exactly one of where .* and ids"),
        ("bad:\n  reason: x\n  date: 2026-11-21\n", r"retractions.yaml:1: bad: give exactly one of where"),
        ("bad:\n  reason: x\n  date: 2026-11-21\n  ids: []\n", r"bad: names no row"),
        ("bad:\n  reason: x\n  date: 2026-11-21\n  ids: [a]\n  in: tiny\n", r"bad: `in` goes with where"),
        (
            "bad:\n  reason: x\n  date: 2026-11-21\n  ids: [12]\n",
            r"retractions.yaml:4: bad.ids.0: got 12, expected a text",
        ),
        (GOOD + "  in: ../tiny\n", r"retractions.yaml:5: bad.in: "),
    ],
)
def test_retractions_file_that_is_wrong_is_refused_with_line_and_key(tmp_path, text, message):
    write_project(tmp_path)
    (tmp_path / "retractions.yaml").write_text(text)
    with pytest.raises(DeclarationError, match=message):
        open_project(tmp_path)


def test_retracted_json_that_is_damaged_says_how_to_restore_it(tmp_path):
    (tmp_path / "retractions.yaml").write_text(GOOD)
    for text in ("{", "[]", '{"bad": {"untouched": 1}}'):
        (tmp_path / "retracted.json").write_text(text)
        with pytest.raises(
            ProjectError, match=r"retracted.json is not what lineal wrote .*git checkout retracted.json"
        ):
            read_retractions(tmp_path)


def test_new_retraction_is_in_force_on_every_selection_of_its_pipeline(tmp_path):
    write_project(tmp_path)
    (tmp_path / "retractions.yaml").write_text(GOOD + "  in: tiny/round_02\n")
    plan = make_plan(open_project(tmp_path))
    under = {step.key for step in plan.steps.values() if step.retractions}
    assert under == {f"tiny/round_0{number}/{name}" for number in (1, 2) for name in ("filtered", "mixed")}
    assert plan.step(SELECTION).retractions[0].identity() == {
        "reason": "they are wrong",
        "where": "verdict = 'pass'",
        "in": "round_02",
    }


def test_untouched_selections_are_left_out_until_the_retraction_changes(tmp_path):
    write_project(tmp_path)
    (tmp_path / "retractions.yaml").write_text(GOOD)
    resolved = read_retractions(tmp_path).declared
    write_resolutions(tmp_path, {"bad": Resolution(of=of(resolved["bad"]), untouched=[SELECTION])})
    assert make_plan(open_project(tmp_path)).step(SELECTION).retractions == ()
    (tmp_path / "retractions.yaml").write_text(GOOD.replace("pass", "fail"))
    assert make_plan(open_project(tmp_path)).step(SELECTION).retractions != ()


def test_ids_of_a_resolution_are_retracted_in_every_pipeline(tmp_path):
    write_project(tmp_path)
    (tmp_path / "retractions.yaml").write_text(GOOD + "  in: tiny\n")
    declared = read_retractions(tmp_path).declared
    write_resolutions(tmp_path, {"bad": Resolution(of=of(declared["bad"]), ids=["a"])})
    (rule,) = make_plan(open_project(tmp_path)).step("control/round_01/filtered").retractions
    assert rule.identity() == {"reason": "they are wrong", "ids": ["a"]}


@pytest.mark.parametrize(
    "where", ["a = 'b'", 'prompt = "x: y" # no comment', "a = 1\n  AND b = 'é\\n'", "no", "1e5"]
)
def test_entry_written_by_lineal_reads_back_as_it_was(tmp_path, where):
    for name in ("first", "second"):
        (tmp_path / "retractions.yaml").write_text(with_entry(tmp_path, name, entry(where=where)))
    assert read_retractions(tmp_path).declared == {"first": entry(where=where), "second": entry(where=where)}


def test_entry_leaves_what_people_wrote_and_refuses_a_name_that_is_taken(tmp_path):
    (tmp_path / "retractions.yaml").write_text(f"# ours\n{GOOD}")
    text = with_entry(tmp_path, "more", entry(ids=["12345678901234567890", "12e45"]))
    assert text.startswith(f"# ours\n{GOOD}more:\n")
    (tmp_path / "retractions.yaml").write_text(text)
    assert read_retractions(tmp_path).declared["more"].ids == ["12345678901234567890", "12e45"]
    with pytest.raises(UsageError, match="has a retraction 'bad' already"):
        with_entry(tmp_path, "bad", entry(where="true"))


def test_name_is_made_of_the_reasons_first_words_and_is_new():
    assert name_for("The verifier accepted answers without units!", []) == "the_verifier_accepted_answers"
    assert name_for("The Verifier", ["the_verifier", "the_verifier_2"]) == "the_verifier_3"
    assert name_for("1234", []) == "retraction"
