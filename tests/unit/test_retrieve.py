"""Retrieval: documents that share words with a row stand in its templates, and among its parents."""

from __future__ import annotations

import pydantic
import pytest

from lineal.errors import DataError
from lineal.recipe.compute import Compute
from tests.unit.lab import Lab, rows_of

pytest.importorskip("bm25s")
TEXTS = (
    "The cat sat on the mat.",
    "A dog barked at a cat, and another cat ran.",
    "Rain fell.",
    "The mat was red.",
)


def prompts(*texts, prefix="d"):
    return [{"prompt_id": f"{prefix}{number}", "prompt": text} for number, text in enumerate(texts)]


def retrieved(lab, questions, documents=TEXTS, **settings):
    inputs = {
        "rows": lab.put("tasks/questions", prompts(*questions, prefix="q")),
        "documents": lab.put("tasks/documents", prompts(*documents)),
    }
    return rows_of(lab.run("retrieve", "round_01/found", inputs, **{"context": "{found}", **settings})[""])


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


def test_documents_that_share_most_words_come_first_and_are_parents(lab):
    made = retrieved(lab, ["Which cat?", "What colour is the MAT?", "Snow"], count=2, separator=" | ")
    assert [row["context"] for row in made] == [f"{TEXTS[1]} | {TEXTS[0]}", f"{TEXTS[0]} | {TEXTS[3]}", ""]
    assert [row["parents"] for row in made] == [["q0", "d1", "d0"], ["q1", "d0", "d3"], ["q2"]]
    assert lab.counts == {"in": 3, "out": 3, "without_match": 1}
    assert [row["prompt_id"] for row in made] == ["q0", "q1", "q2"]


def test_found_texts_may_make_the_prompt_and_be_made_by_a_template_themselves(lab):
    (made,) = retrieved(
        lab,
        ["mat"],
        context="{found}",
        prompt="{found}\n{prompt}?",
        document="- {prompt}",
        query="red {prompt}",
    )
    assert made["prompt"] == "- The mat was red.\nmat?" and made["prompt_id"] != "q0"


def test_a_row_does_not_find_itself(lab):
    rows = lab.put("tasks/questions", prompts("one cat", "two cats and a cat", "cat"))
    made = rows_of(
        lab.run("retrieve", "round_01/found", {"rows": rows, "documents": rows}, context="{found}")[""]
    )
    assert [row["parents"][1:] for row in made] == [["d2"], ["d2"], ["d0"]]


def test_bytes_do_not_depend_on_shards(tmp_path):
    digests = set()
    for number, shard_rows in enumerate((1, 4096)):
        lab = Lab(tmp_path / str(number), Compute(workers=1, shard_rows=shard_rows))
        inputs = {
            "rows": lab.put("tasks/q", prompts("cat", "mat", "snow")),
            "documents": lab.put("tasks/d", prompts(*TEXTS)),
        }
        digests.add(lab.run("retrieve", "round_01/found", inputs, context="{found}")[""].digest)
    assert len(digests) == 1


def test_templates_without_what_was_found_and_a_column_of_that_name_are_refused(lab):
    with pytest.raises((pydantic.ValidationError, ValueError), match="no template uses {found}"):
        retrieved(lab, ["cat"], context="{prompt}")
    rows = lab.put("tasks/questions", [{"prompt_id": "q", "prompt": "cat", "found": "x"}])
    documents = lab.put("tasks/documents", prompts(*TEXTS))
    with pytest.raises(
        DataError, match="the rows have a column 'found', which retrieve's templates need. Rename it"
    ):
        lab.run("retrieve", "round_01/found", {"rows": rows, "documents": documents}, context="{found}")
