"""Components of other packages: what an entry point that gives no component says, and what a class must declare."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import pyarrow as pa
import pytest

from lineal.components.registry import Registry
from lineal.components.verifiers.base import Judged, RowVerifier, Verifier
from lineal.data.progress import progress_of
from lineal.errors import DataError, DeclarationError
from lineal.plan import make_plan
from lineal.recipe.project import open_project

MODULE = """\
from lineal.components.base import Component
NUMBER = 7
class Plain:
    pass
class Roleless(Component):
    pass
"""
PIPELINE = """\
method: Theirs
summary: A task set of another package.
tasks: {train: {use: theirs}}
start: {}
round: {again: {use: select, rows: tasks.train, sql: keep_all}}
"""


@pytest.fixture
def install(site, install):
    """Installs packages with components, beside modules that they may name."""
    (site / "their_module.py").write_text(MODULE)
    (site / "their_broken_module.py").write_text("import a_package_that_is_gone\n")
    (site / "their_refused_module.py").write_text("raise RuntimeError('no licence')\n")
    return partial(install, "lineal.components")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "their_module_that_is_gone:Theirs",
            "cannot be loaded from .*: No module named 'their_module_that_is_gone'",
        ),
        ("their_broken_module:Theirs", "cannot be loaded from .*: No module named 'a_package_that_is_gone'"),
        (
            "their_refused_module:Theirs",
            "cannot be loaded from .*: RuntimeError: no licence. Correct the class or the entry",
        ),
        ("their_module:Absent", "cannot be loaded from .*: module 'their_module' has no attribute 'Absent'"),
        ("their_module:NUMBER", "is of type int, expected a subclass of lineal.components.base.Component"),
        (
            "their_module:Plain",
            "is the class Plain, which is no subclass of lineal.components.base.Component",
        ),
        ("their_module:Roleless", "is the class Roleless without a role"),
        ("their_module", "is of type module, expected a subclass"),
    ],
)
def test_entry_point_that_is_no_component_says_why_and_names_its_package(install, value, said):
    install("their_package", theirs=value)
    with pytest.raises(KeyError, match=f"component 'theirs' .*{said}") as caught:
        Registry().find("theirs")
    assert (
        f"the package their_package 1.0 (entry point theirs = {value!r} of 'lineal.components')"
        in caught.value.args[0]
    )
    assert Registry().role_of("theirs") is None


def test_pipeline_that_uses_it_names_its_own_line_and_others_are_not_disturbed(install, tmp_path):
    install("their_package", theirs="their_module:NUMBER")
    root = tmp_path / "project"
    (root / "pipelines" / "selectors").mkdir(parents=True)
    (root / "pipelines" / "mine.yaml").write_text(PIPELINE)
    (root / "params.yaml").write_text("seed: 0\nrounds: 1\nactive: [mine]\n")
    with pytest.raises(
        DeclarationError,
        match=r"pipelines/mine.yaml:3: tasks.train.use: component 'theirs' .* is of type int",
    ):
        make_plan(open_project(root))
    assert Registry().find("exact_match").role == "verifier"


def test_two_packages_with_one_name_are_both_named(install):
    install("their_package", theirs="their_module:Plain")
    install("other_package", theirs="their_module:Plain")
    with pytest.raises(
        DeclarationError,
        match="'theirs' is registered twice: .*_package 1.0 .*, and the package .*_package 1.0",
    ):
        Registry()


def test_name_of_lineals_own_component_cannot_be_taken(install):
    install("their_package", sample="their_module:Plain")
    with pytest.raises(
        DeclarationError,
        match="'sample' is registered twice: lineal's own, and the package their_package 1.0",
    ):
        Registry()


def test_unknown_component_may_be_of_a_package_that_is_not_installed():
    with pytest.raises(
        KeyError,
        match=r"unknown component 'theirs'.*entry points 'lineal.components'\), install that package",
    ):
        Registry().find("theirs")


class Words(RowVerifier):
    """Passes everything, and counts words."""

    added: ClassVar[dict[str, str]] = {**RowVerifier.added, "words": "int64"}

    gives: str = "right"

    def score(self, table, progress):
        texts = table["completion"].to_pylist()
        verdicts, further = ["pass"] * len(texts), {"words": pa.array([len(text.split()) for text in texts])}
        if self.gives == "none":
            further = {}
        if self.gives == "text":
            further = {"words": pa.array(["many"] * len(texts))}
        if self.gives == "fewer":
            verdicts = verdicts[1:]
        if self.gives == "other":
            verdicts[0] = "good"
        if self.gives == "nothing":
            return None
        if self.gives == "tuple":
            return verdicts, further
        if self.gives == "list":
            return Judged(verdicts, [1.0] * len(texts), [None] * len(texts), further)
        if self.gives == "wrods":
            further["wrods"] = further["words"]
        scores, details = pa.array([1.0] * len(texts)), pa.array([None] * len(texts))
        return Judged(pa.array(verdicts), scores, details, further)


def judged(gives, name=""):
    rows = pa.table({"completion": pa.array(["one", "one two", None])})
    with progress_of("words", 3, "rows") as progress:
        return Words(use="words", rows="rows", gives=gives, name=name).judge(rows, progress)


def test_verifiers_own_column_has_its_type_and_is_null_where_nothing_was_judged():
    made = judged("right", name="our")
    assert made.schema.field("our_words").type == pa.int64()
    assert made["our_words"].to_pylist() == [1, 2, None]
    assert made["our_verdict"].to_pylist() == ["pass", "pass", "error"]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("none", "gave no column 'words'"),
        ("text", "gave 'words' as string; expected int64"),
        ("fewer", "gave 1 values of 'verdict' for 2 rows; expected one a row"),
        ("other", "gave the verdict 'good'; expected 'pass', 'fail' or 'error'"),
        ("nothing", r"gave None \(a NoneType\); expected a Judged"),
        ("tuple", r"gave .*\(a tuple\); expected a Judged"),
        ("list", r"gave 'verdict' as .*\(a list\); expected a pyarrow array: pa.array"),
        ("wrods", "gave a column 'wrods'; expected only those that `added` names: .*, words"),
    ],
)
def test_verifier_that_gives_something_else_than_it_declares_is_named(gives, said):
    with pytest.raises(DataError, match=rf"verifier 'words': .*Words.score {said}.*raise its version"):
        judged(gives)


class Votes(Verifier):
    """Judges a whole table by itself, without `score`."""

    added: ClassVar[dict[str, str]] = {**Verifier.added, "words": "int64"}

    gives: str = "right"

    def judge(self, table, progress):
        given = {
            self.column("verdict"): ["pass", "fail", "good" if self.gives == "other" else "error"],
            self.column("score"): [1.0, 0.0, None],
            self.column("detail"): pa.nulls(3, pa.string()),
            self.column("words"): ["many"] * 3 if self.gives == "text" else [1, 2, 3],
        }
        if self.gives == "none":
            del given[self.column("words")]
        if self.gives == "fewer":
            given = {name: values[:2] for name, values in given.items()}
        return given if self.gives == "dict" else pa.table(given)


def voted(gives, name=""):
    rows = pa.table({"completion": pa.array(["one", "one two", None])})
    with progress_of("votes", 3, "rows") as progress:
        return Votes(use="votes", rows="rows", gives=gives, name=name).judged(rows, progress)


def test_table_of_a_verifier_that_judges_tables_is_given_as_it_is():
    assert voted("right", name="our")["our_words"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        ("none", "gave no column 'our_words'"),
        ("text", "gave 'our_words' as string; expected int64"),
        ("fewer", "gave 2 values of 'our_verdict' for 3 rows; expected one a row"),
        ("other", "gave the verdict 'good'; expected 'pass', 'fail' or 'error'"),
        ("dict", r"gave .*\(a dict\); expected a pyarrow table"),
    ],
)
def test_verifier_of_tables_that_gives_something_else_than_it_declares_is_named(gives, said):
    with pytest.raises(DataError, match=rf"verifier 'votes': .*Votes.judge {said}.*raise its version"):
        voted(gives, name="our")


def test_row_verifier_that_does_not_read_completions_is_refused_when_the_class_is_made():
    with pytest.raises(TypeError, match=r"Blind.reads is \('answer',\), expected 'completion' too"):
        type(
            "Blind",
            (RowVerifier,),
            {"__module__": __name__, "__annotations__": {"reads": ClassVar}, "reads": ("answer",)},
        )


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (("verdict", "score", "detail", "words"), "expected each column with its type, such as"),
        (
            {**RowVerifier.added, "words": "number"},
            "has 'words': 'number', expected a lower-case word and one of",
        ),
        (
            {**RowVerifier.added, "votes": "string"},
            "has 'votes': 'string', but that column is of type int64 everywhere",
        ),
    ],
)
def test_columns_without_a_type_of_their_own_are_refused_when_the_class_is_made(added, said):
    with pytest.raises(TypeError, match=f"Untyped.added .*{said}"):
        type(
            "Untyped",
            (RowVerifier,),
            {"__module__": __name__, "__annotations__": {"added": ClassVar}, "added": added},
        )
