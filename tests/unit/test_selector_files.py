"""Selector files: their header types the settings, and hostile or unrepeatable SQL never runs."""

import hashlib
from pathlib import Path

import pydantic
import pytest

from lineal.components.selectors.header import read_selector
from lineal.errors import DeclarationError
from lineal.recipe.references import Reference, Scope, SettingReference
from tests.unit.lab import ROOT, Lab, samples
from tests.unit.test_selector_decide import HEADER, select

SHIPPED = sorted((ROOT / "pipelines" / "selectors").glob("*.sql"))
REQUIRED = {"integer": 1, "number": 1.0, "text": "~"}
OWN_SETTINGS = {"split_thought": {"pattern": "(a)"}, "hard_to_follow": {"below": 2.0}}
DECIDE = "SELECT row_id, 'kept' AS decision, '' AS reason"


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_shipped_selectors_are_found():
    assert len(SHIPPED) >= 12


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_selector_runs_and_is_short(tmp_path, path):
    lab = Lab(tmp_path)
    selector = read_selector(path.stem, path, path.name)
    assert selector.summary.endswith(".") and len(path.read_text().splitlines()) <= 40
    rows = samples(
        {"a": "pf", "b": "ffe"},
        vote_share=lambda p, i: 0.5,
        vote_margin=lambda p, i: 0.5,
        voted=lambda p, i: str(i),
        votes=lambda p, i: i + 1,
        round=lambda p, i: 1,
        hint=lambda p, i: "/",
        input=lambda p, i: p,
        output=lambda p, i: str(i),
        parents=lambda p, i: ["further-a", "second"],
        asked=lambda p, i: f"+{p}:{i}",
        entry=lambda p, i: '{"options": ["a", "b"], "correct": 1}',
        task=lambda p, i: "talk",
        logprob=lambda p, i: -1.0,
        advantage=lambda p, i: 0.5,
        chosen=lambda p, i: p,
        rejected=lambda p, i: str(i),
        step_index=lambda p, i: 0,
        prefix=lambda p, i: "",
        terminal=lambda p, i: True,
        value=lambda p, i: i / 4,
        turns=lambda p, i: 1,
        episode_id=lambda p, i: f"further-{p}",
        turn=lambda p, i: i + 1,
        action=lambda p, i: str(i),
        observation=lambda p, i: p,
        done=lambda p, i: False,
        past=lambda p, i: "{}",
        player=lambda p, i: "white",
        passage=lambda p, i: f"{p}{i}",
        question=lambda p, i: p,
        topic=lambda p, i: p,
        ocr=lambda p, i: f"{p}:{i}",
        game=lambda p, i: p,
        player_number=lambda p, i: str(i + 1),
        players=lambda p, i: "2",
        spy=lambda p, i: "1",
        others_picture=lambda p, i: "0" * 64,
        rm_score=lambda p, i: float(i),
        now_score=lambda p, i: 0.5,
        before_score=lambda p, i: 0.25,
        liked_score=lambda p, i: -0.2,
    )
    further = samples(
        {"a": "p", "z": "p"},
        sample_id=lambda p, i: f"further-{p}",
        parents=lambda p, i: ["further-a", "a-1"],
        voted=lambda p, i: f"other {i}",
        votes=lambda p, i: 1,
        vote_share=lambda p, i: 0.25,
        task=lambda p, i: "talk",
        value=lambda p, i: 0.5,
        pulls=lambda p, i: 2,
        earned=lambda p, i: 0.5,
        part=lambda p, i: 1,
        chosen=lambda p, i: p,
        entry=lambda p, i: "{}",
        player=lambda p, i: "white",
    )
    inputs = {
        "rows": lab.put("round_01/rows", rows),
        **{name: lab.put(f"tasks/{name}", further) for name in selector.inputs},
    }
    if path.stem == "hard_to_follow":  # its scores are of these very rows
        inputs["alone"] = lab.put("tasks/alone", [{**row, "parents": ["a-0"]} for row in further])
    required = {
        name: REQUIRED[parameter.type]
        for name, parameter in selector.parameters.items()
        if parameter.required
    }
    assert set(selector.needs) <= set(rows[0])
    chosen = OWN_SETTINGS.get(path.stem, {})
    lab.run("select", "round_01/filtered", inputs, sql=path.stem, **required, **chosen)


# -- the header -----------------------------------------------------------------------------------------------------

HEADERS = [
    ("SELECT 1", r"x\.sql:1: the header has no '-- summary: \.\.\.' line"),
    ("-- sumary: A.\nSELECT 1", r"x\.sql:1: unknown header line 'sumary'\. Did you mean 'summary'"),
    (
        HEADER + "-- param k: int = 1\n",
        r"x\.sql:2: unknown type 'int'\. Did you mean 'integer'|x\.sql:2: unknown type 'int'\. Known",
    ),
    (HEADER + "-- param k: integer = 1.5\n", r"x\.sql:2: default '1\.5' must be an integer"),
    (HEADER + "-- param k: integer in 1.. = 0\n", r"x\.sql:2: default '0' must be in 1\.\."),
    (HEADER + "-- param k: text in 1..2 = '1'\n", r"x\.sql:2: default \"'1'\" must be one of 1\.\.2"),
    (HEADER + "-- param k: number in 1..0\n", r"x\.sql:2: the range 1\.\.0 holds no value, or every value"),
    (HEADER + "-- param k: number in ..\n", r"x\.sql:2: the range \.\. holds no value, or every value"),
    (
        HEADER + "-- param k: number in low, high\n",
        r"x\.sql:2: write 'in LOW\.\.HIGH' for a number and 'in A, B, C' for a text",
    ),
    (HEADER + "-- param: integer = 1\n", r"x\.sql:2: write '-- param NAME: TYPE = DEFAULT'"),
    (HEADER + "-- param rows: integer\n", r"x\.sql:2: 'rows' is no name for a setting"),
    (HEADER + "-- param k: integer\n-- input k: prompt\n", r"x\.sql:3: 'k' occurs twice"),
    (HEADER + "-- needs: a\n-- needs: b\n", r"x\.sql:3: 'needs' occurs twice"),
    (HEADER + "-- needs: A b\n", r"x\.sql:2: 'A b' is no column name"),
    (HEADER + "-- optional: nonsense\n", r"x\.sql:2: optional column 'nonsense' has no known type"),
    (HEADER + "-- makes: prompt\n", r"x\.sql:2: write '-- makes rows: or makes prompts:'"),
    (HEADER + "-- makes prompts: prompt\n", r"x\.sql:2: new rows have a prompt, and prompts a prompt_id"),
    (HEADER + "-- makes rows: prompt, position\n", r"x\.sql:2: position: every view has that for a row"),
    (HEADER + "-- input lineal_made: prompt\n", r"x\.sql:2: 'lineal_made' is no name for a setting"),
    (HEADER + "-- makes rows: prompt\n-- adds: rank\n", r"x\.sql:1: 'adds' is for queries that decide"),
    (
        HEADER + "-- adds: rank, weight\n",
        r"x\.sql:1: 'adds' names weight, which a query that decides gives anyway",
    ),
]


@pytest.mark.parametrize(("text", "message"), HEADERS)
def test_header_mistake_is_named_with_its_line(lab, text, message):
    lab.selector("x", text)
    with pytest.raises(DeclarationError, match=message):
        lab.parse("select", {"rows": ()}, sql="x")


def test_header_free_text_and_comments_on_settings_are_allowed(lab):
    lab.selector(
        "x",
        HEADER
        + "-- This says more about it.\n-- param k: number = 0.5  -- a share: of all\n\n"
        + DECIDE
        + " FROM rows WHERE $k > 0",
    )
    component = lab.parse("select", {"rows": ()}, sql="x")
    assert component.identity() == {"sql": "x", "k": 0.5}
    assert component.files() == {"selectors/x.sql": lab.path / "pipelines" / "selectors" / "x.sql"}


SETTINGS = [
    (
        "keep_correct",
        {"max_per_promt": 4},
        "max_per_promt",
        "has no setting 'max_per_promt'. Did you mean 'max_per_prompt'",
    ),
    ("keep_correct", {"max_per_prompt": 1.5}, "max_per_prompt", "must be an integer"),
    ("keep_correct", {"max_per_prompt": True}, "max_per_prompt", "must be an integer"),
    ("keep_correct", {"deduplicate": None}, "deduplicate", "must be a boolean"),
    ("keep_correct", {"max_per_prompt": 0}, "max_per_prompt", "must be in 1.."),
    ("nearest_difficulty", {"count": 3, "target": float("nan")}, "target", "must be a number"),
    (
        "draw_by_bandit",
        {"arms": "a", "count": 1, "policy": "boltzman"},
        "policy",
        "must be one of boltzmann, ucb, exp3, got 'boltzman'",
    ),
    ("draw_by_bandit", {"arms": "a", "count": 1, "explore": 1.5}, "explore", "must be in 0..1"),
    ("nearest_difficulty", {"count": 3}, "target", "needs this setting"),
    (
        "with_replay",
        {},
        "replay",
        "needs rows here (rows to mix in; one without a completion teaches its answer)",
    ),
    (
        "keep_corect",
        {},
        "sql",
        "no selector file pipelines/selectors/keep_corect.sql. Did you mean 'keep_correct'",
    ),
    ("../selectors/keep_correct", {}, "sql", "no selector file"),
]


@pytest.mark.parametrize(("sql", "settings", "key", "message"), SETTINGS)
def test_select_setting_that_does_not_fit_is_named(lab, sql, settings, key, message):
    with pytest.raises(pydantic.ValidationError) as caught:
        lab.parse("select", {"rows": ()}, sql=sql, **settings)
    (problem,) = caught.value.errors()
    assert problem["loc"] == (key,) and message in problem["msg"]


def test_select_setting_from_a_controller_is_checked_when_it_is_known(lab):
    reference = SettingReference(Reference(Scope.PREVIOUS, "target", None, "difficulty"))
    component = lab.parse("select", {"rows": ()}, sql="nearest_difficulty", target=reference, count=3)
    assert component.resolved({"target": 2}).identity() == {
        "sql": "nearest_difficulty",
        "target": 2,
        "count": 3,
    }
    with pytest.raises(pydantic.ValidationError, match="must be a number"):
        component.resolved({"target": "high"})


def test_select_inputs_of_the_header_are_references(lab):
    component = lab.parse("select", {"rows": ()}, sql="with_replay", replay=["tasks.base", "start.more"])
    assert component.references()["replay"][0] == ["tasks.base", "start.more"]
    assert component.needs()["replay"] == ("prompt_id", "prompt") and component.identity() == {
        "sql": "with_replay",
        "fraction": 0.25,
    }


def test_select_without_a_file_in_the_project_takes_the_packaged_one(tmp_path, monkeypatch):
    import lineal

    package = tmp_path / "package"
    (package / "_project" / "pipelines" / "selectors").mkdir(parents=True)
    (package / "_project" / "pipelines" / "selectors" / "mine.sql").write_text(HEADER + DECIDE + " FROM rows")
    monkeypatch.setattr(lineal, "__file__", str(package / "__init__.py"))
    lab = Lab(tmp_path / "project")
    assert Path(lab.parse("select", {"rows": ()}, sql="mine").files()["selectors/mine.sql"]).is_relative_to(
        package
    )


# -- the guard ------------------------------------------------------------------------------------------------------

REFUSED = [
    (DECIDE + " FROM rows; DROP VIEW rows", "2 statements|only a SELECT"),
    (DECIDE + " FROM rows; " + DECIDE + " FROM rows", "2 statements; a selector is exactly one SELECT"),
    ("COPY rows TO '/tmp/stolen.csv'", "only a SELECT may stand in a selector"),
    ("ATTACH '/tmp/x.db'", "only a SELECT"),
    ("INSTALL httpfs", "only a SELECT"),
    ("LOAD httpfs", "only a SELECT"),
    ("PRAGMA database_list", "only a SELECT"),
    ("SET threads = 1", "only a SELECT"),
    ("CREATE TABLE t AS SELECT 1", "only a SELECT"),
    ("INSERT INTO rows VALUES (1)", "only a SELECT"),
    ("EXPLAIN SELECT 1", "only a SELECT"),
    (DECIDE + " FROM", "syntax error"),
    ("", "0 statements|only a SELECT|SELECT"),
    (DECIDE + " FROM read_csv('/etc/passwd')", r"table function read_csv\(\) is not allowed"),
    (DECIDE + " FROM read_text('/etc/passwd')", r"table function read_text\(\) is not allowed"),
    (DECIDE + " FROM glob('/*')", r"table function glob\(\)"),
    (DECIDE + " FROM duckdb_settings()", r"table function duckdb_settings\(\)"),
    (DECIDE + " FROM query('SELECT 1')", r"table function query\(\)"),
    (DECIDE + " FROM '/etc/passwd'", "unknown table '/etc/passwd'"),
    (DECIDE + " FROM 'https://example.org/x.parquet'", "unknown table"),
    (DECIDE + " FROM information_schema.tables", "unknown table 'tables'"),
    (
        DECIDE + " FROM rows WHERE row_id IN (SELECT a FROM read_csv('/etc/passwd'))",
        r"read_csv\(\) is not allowed",
    ),
    (DECIDE + " FROM (DESCRIBE rows)", "DESCRIBE, SHOW and SUMMARIZE"),
    (
        DECIDE + " FROM rows WHERE random() < 0.5",
        r"random gives another value each time.*uniform\(row_id, \$seed\)",
    ),
    (DECIDE + " FROM rows ORDER BY RANDOM()", "random gives another value"),
    (DECIDE + " FROM rows WHERE now() > '2020-01-01'", "now gives another value"),
    (DECIDE + " FROM rows WHERE current_date > '2020-01-01'", "current_date gives another value"),
    (DECIDE + " FROM rows WHERE CURRENT_TIMESTAMP > '2020-01-01'", "current_timestamp gives another value"),
    (DECIDE + " FROM rows WHERE age(TIMESTAMP '2020-01-01') > INTERVAL 1 DAY", "age gives another value"),
    (DECIDE + " FROM rows WHERE ago(INTERVAL 1 DAY) > '2020-01-01'", "ago gives another value"),
    (DECIDE + " FROM rows WHERE uuid() > 'a'", "uuid gives another value"),
    (DECIDE + " FROM rows WHERE current_setting('threads') = '1'", "current_setting gives another value"),
    (DECIDE + " FROM rows WHERE getvariable('x') = '1'", "getvariable gives another value"),
    (DECIDE + " FROM rows USING SAMPLE 10%", "a SAMPLE draws other rows"),
    (DECIDE + " FROM rows TABLESAMPLE 10%", "a SAMPLE draws other rows"),
    (DECIDE + " FROM rows LIMIT 3", "LIMIT needs an ORDER BY"),
    (DECIDE + " FROM rows ORDER BY verdict LIMIT 3", "LIMIT needs an ORDER BY"),
    (
        "SELECT DISTINCT ON (prompt_id) row_id, 'kept' AS decision, '' AS reason FROM rows",
        "DISTINCT ON leaves ties",
    ),
    (
        "SELECT any_value(row_id) AS row_id, 'kept' AS decision, '' AS reason FROM rows GROUP BY prompt_id",
        r"any_value\(\) depends on the order",
    ),
    (
        "SELECT max_by(row_id, score) AS row_id, 'kept' AS decision, '' AS reason FROM rows",
        r"max_by\(\) leaves ties",
    ),
    (
        DECIDE + " FROM rows QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY score) = 1",
        r"row_number\(\) OVER .* leaves ties to chance",
    ),
    (DECIDE + " FROM rows QUALIFY lag(score) OVER (ORDER BY score) = 1", r"lag\(\) OVER"),
    (
        DECIDE + " FROM rows QUALIFY sum(1) OVER (ORDER BY score ROWS UNBOUNDED PRECEDING) = 1",
        r"sum\(\) OVER",
    ),
    (DECIDE + " FROM rows POSITIONAL JOIN rows AS other", "POSITIONAL join depends on the order"),
    (DECIDE + " FROM rows WHERE $unknown = 1", r"\$unknown is no parameter of the header"),
    (DECIDE + " FROM rows WHERE ? = 1", "is no parameter of the header"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED)
def test_hostile_or_unrepeatable_sql_is_refused(lab, query, message):
    lab.selector("x", HEADER + query)
    with pytest.raises(DeclarationError, match=r"pipelines/selectors/x\.sql(:\d)?: .*(" + message + ")"):
        select(lab, samples({"a": "pf"}), "x")


def test_refusal_names_the_line_of_the_file(lab):
    lab.selector(
        "x", HEADER + "-- param k: integer = 1\n" + DECIDE + "\nFROM rows\nWHERE $k = 1 AND random() < 1\n"
    )
    with pytest.raises(DeclarationError, match=r"x\.sql:5: random"):
        select(lab, samples({"a": "pf"}), "x")


def test_parameter_that_the_query_never_uses_is_named(lab):
    lab.selector("x", HEADER + "-- param k: integer = 1\n" + DECIDE + " FROM rows")
    with pytest.raises(DeclarationError, match=r"never uses its parameter \$k"):
        select(lab, samples({"a": "pf"}), "x")


def test_python_variables_are_no_tables(lab):
    secret = [1, 2, 3]
    lab.selector("x", HEADER + DECIDE + " FROM secret")
    with pytest.raises(DeclarationError, match="unknown table 'secret'"):
        select(lab, samples({"a": "pf"}), "x")
    assert secret


def test_locked_session_reads_and_writes_no_other_files(lab, tmp_path):
    import duckdb

    from lineal.components.selectors.query import open_session
    from lineal.data.store import Rows

    (tmp_path / "secret.csv").write_text("a\n1\n")
    artifact = lab.put("round_01/rows", samples({"a": "pf"}))
    with open_session(lab._workspace("round_01/x", {}), {"rows": Rows((artifact,))}) as session:
        for query in (
            f"SELECT * FROM read_csv('{tmp_path}/secret.csv')",
            f"COPY rows TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/x.db'",
            "SET enable_external_access = true",
            "SET allowed_directories = ['/']",
            "RESET lock_configuration",
        ):
            with pytest.raises(duckdb.Error):
                session.fetch(query)
    assert not (tmp_path / "out.csv").exists()


def test_uniform_is_even_and_the_same_everywhere(lab):
    lab.selector(
        "x",
        HEADER
        + "-- adds: draw\nSELECT row_id, 'kept' AS decision, '' AS reason, uniform(row_id, $seed) AS draw FROM rows",
    )
    rows = [{"sample_id": f"s{i}", "prompt_id": "p", "prompt": "?"} for i in range(2000)]
    draws = [row["draw"] for row in select(lab, rows, "x")[0]]
    assert all(0 <= draw < 1 for draw in draws) and abs(sum(draws) / 2000 - 0.5) < 0.03
    assert draws[0] == pytest.approx(uniform("0/s0"), abs=1e-15)


def uniform(text):
    """The macro worked out by hand: 13 hex digits of MD5."""
    return int(hashlib.md5(text.encode()).hexdigest()[:13], 16) / 16**13
