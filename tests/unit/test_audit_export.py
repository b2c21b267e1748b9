"""`lineal export`: what others load, as it is: datasets, transformers, cards, Croissant."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import DatasetCard, ModelCard

from lineal.audit.catalog import read_catalog
from lineal.audit.export import write as exporting
from lineal.audit.export.croissant import croissant, data_type
from lineal.audit.export.write import export_artifact
from lineal.audit.markdown import code, prose
from lineal.cli.sharing import export
from lineal.data.ids import file_digest
from lineal.data.manifest import MANIFEST, content_digest, list_files
from lineal.data.store import open_artifact
from lineal.errors import ArtifactError, UsageError
from lineal.recipe.project import open_project
from lineal.recipe.references import ArtifactKind
from tests.unit.audit_project import made_project
from tests.unit.lab import Lab

HOSTILE = '<script>alert(1)</script> [x](javascript:1) ![y](http://e.vil) | `a` \x1b[31m\n---\nlicense: mit\n# www.e.vil "'


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return made_project(tmp_path_factory.mktemp("export"))


def exported(root, key, target):
    project = open_project(root)
    catalog = read_catalog(project)
    export_artifact(project, catalog, catalog.artifacts[key], target)
    return target


def load(target, cache, split="train"):
    from datasets import load_dataset

    return load_dataset(str(target), split=split, cache_dir=str(cache))


def files_of(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def rewrite(directory, key, **changed):
    """Gives an artifact's directory a manifest that fits its files again."""
    counts = {path.name: pq.read_metadata(path).num_rows for path in directory.glob("*.parquet")}
    files = list_files(directory, counts)
    manifest = open_artifact(key, directory).manifest
    (directory / MANIFEST).unlink()
    manifest.model_copy(update={"files": files, "digest": content_digest(files), **changed}).write(directory)


@pytest.mark.parametrize(
    "name", ["round_02/filtered", "round_01/generated", "round_02/mixed", "round_01/filtered.dropped"]
)
def test_exported_rows_load_with_datasets_as_they_are(plan, tmp_path, name):
    target = exported(plan.project.root, f"tiny/{name}", tmp_path / "deep" / "out")
    loaded = load(target, tmp_path / "cache")
    original = pq.read_table(plan.project.directory(f"tiny/{name}") / "part-00000.parquet")
    assert loaded.column_names == original.column_names
    assert loaded.to_list() == original.to_pylist()


def test_test_prompts_load_as_the_test_split_only(plan, tmp_path):
    target = exported(plan.project.root, "tiny/tasks/test", tmp_path / "out")
    assert load(target, tmp_path / "cache", "test").num_rows == 10
    with pytest.raises(ValueError, match="train"):
        load(target, tmp_path / "cache")


def test_dataset_card_tells_programs_and_people(plan, tmp_path):
    card = DatasetCard.load(
        exported(plan.project.root, "tiny/round_02/filtered", tmp_path / "out") / "README.md"
    )
    assert card.data.base_model == ["tiny/start/checkpoint"]
    assert card.data.source_datasets == ["original"]
    assert card.data.size_categories == ["n<1K"]
    counts = open_artifact("", plan.project.directory("tiny/round_02/filtered")).manifest.counts
    for name, count in counts.items():
        assert f"| `{name}` | {count} |" in card.text
    generated = open_artifact("", plan.project.directory("tiny/round_02/generated"))
    for fact in (
        "temperature=1",
        "samples=3",
        "exact_match@2",
        "Tiny &lt;method&gt;",
        generated.digest[:16],
        "sql=right",
    ):
        assert fact in card.text
    assert "tiny/round_01/generated" not in card.text


def test_croissant_files_and_fields_are_those_that_lie_there(plan, tmp_path):
    target = exported(plan.project.root, "tiny/round_01/filtered", tmp_path / "out")
    document = json.loads((target / "croissant.json").read_text())
    (file,) = document["distribution"]
    assert file["sha256"] == file_digest(target / file["contentUrl"])
    assert file["contentSize"] == f"{(target / file['contentUrl']).stat().st_size} B"
    fields = document["recordSet"][0]["field"]
    assert {field["source"]["extract"]["column"] for field in fields} == set(
        load(target, tmp_path / "cache").column_names
    )
    types = {field["name"]: (field["dataType"], field.get("repeated", False)) for field in fields}
    assert types["prompt"] == ("sc:Text", False)
    assert types["parents"] == ("sc:Text", True)
    assert types["seed"] == ("sc:Integer", False)
    assert types["score"] == ("sc:Float", False)
    assert types["hinted"] == ("sc:Boolean", False)
    ids = [node["@id"] for node in (*document["distribution"], *document["recordSet"], *fields)]
    assert len(ids) == len(set(ids))
    assert {field["source"]["fileObject"]["@id"] for field in fields} == {file["@id"]}
    assert document["citeAs"] == "arXiv:2312.06585"


def test_rows_in_several_files_load_whole_and_are_one_file_set(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    key = "tiny/round_02/mixed"
    directory = root / "artifacts" / key
    table = pq.read_table(directory / "part-00000.parquet")
    (directory / "part-00000.parquet").unlink()
    pq.write_table(table.slice(0, 40), directory / "part-00000.parquet")
    pq.write_table(table.slice(40), directory / "part-00001.parquet")
    rewrite(directory, key)
    target = exported(root, key, tmp_path / "out")
    assert load(target, tmp_path / "cache").to_list() == table.to_pylist()
    document = json.loads((target / "croissant.json").read_text())
    *files, together = document["distribution"]
    assert [file["sha256"] for file in files] == [
        file_digest(path) for path in sorted((target / "data").iterdir())
    ]
    assert (together["@type"], together["includes"]) == ("cr:FileSet", "data/*.parquet")
    assert {field["source"]["fileSet"]["@id"] for field in document["recordSet"][0]["field"]} == {
        together["@id"]
    }


def test_model_card_names_dataset_versions_base_and_metrics(plan, tmp_path):
    target = exported(plan.project.root, "tiny/round_02/checkpoint", tmp_path / "out")
    card = ModelCard.load(target / "README.md")
    assert card.data.base_model == ["tiny/start/checkpoint"]
    for key in ("tiny/tasks/base", "tiny/round_01/mixed", "tiny/round_02/mixed"):
        digest = open_artifact(key, plan.project.directory(key)).digest
        assert f"rows: `{key}` `{digest}`" in card.text
    accuracy = json.loads((plan.project.directory("tiny/round_02/evaluation") / "metrics.json").read_text())[
        "accuracy"
    ]
    measured = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert measured["accuracy"] == pytest.approx(accuracy)
    assert "| `tiny/round_02/evaluation` |" in card.text


@pytest.mark.model
def test_exported_checkpoint_loads_with_transformers(plan, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lineal.engines.training.train import ModelShape, initialise

    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    directory = root / "artifacts/tiny/round_02/checkpoint"
    (directory / "config.json").unlink()
    initialise(ModelShape(8, 1, 2, 8, 1e4, True, "ab c", 16), 0, directory)
    rewrite(directory, "tiny/round_02/checkpoint")
    target = exported(root, "tiny/round_02/checkpoint", tmp_path / "out")
    model = AutoModelForCausalLM.from_pretrained(target)
    expected = AutoModelForCausalLM.from_pretrained(directory).state_dict()
    assert all((expected[name] == weights).all() for name, weights in model.state_dict().items())
    assert AutoTokenizer.from_pretrained(target)("ab")["input_ids"]


@pytest.mark.parametrize("key", ["tiny/round_02/mixed", "tiny/round_02/checkpoint"])
def test_export_has_the_same_bytes_elsewhere(plan, tmp_path, key):
    first = files_of(exported(plan.project.root, key, tmp_path / "a"))
    second = files_of(
        exported(shutil.copytree(plan.project.root, tmp_path / "copy"), key, tmp_path / "b" / "c")
    )
    assert first == second
    assert not [name for name, data in first.items() if str(tmp_path).encode() in data]


def test_export_onto_something_is_refused_and_leaves_it(plan, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        exported(plan.project.root, "tiny/round_02/mixed", tmp_path / "out")
    assert files_of(tmp_path) == {"out/mine.txt": b"mine"}


def test_export_of_an_edited_artifact_is_refused_and_leaves_nothing(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    path = root / "artifacts/tiny/round_02/mixed/part-00000.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="is not what its manifest says"):
        exported(root, "tiny/round_02/mixed", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_export_that_fails_half_way_leaves_nothing(plan, tmp_path, monkeypatch):
    def broken(told):
        raise ArtifactError("no")

    monkeypatch.setattr(exporting, "dataset_card", broken)
    with pytest.raises(ArtifactError):
        exported(plan.project.root, "tiny/round_02/mixed", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_export_of_what_is_neither_rows_nor_model_is_refused(plan, tmp_path):
    artifact = open_artifact("tiny/start/checkpoint", plan.project.directory("tiny/start/checkpoint"))
    values = replace(artifact, manifest=artifact.manifest.model_copy(update={"kind": ArtifactKind.SETTINGS}))
    with pytest.raises(UsageError, match="only rows and models can be exported"):
        export_artifact(plan.project, read_catalog(plan.project), values, tmp_path / "out")


def test_hostile_text_stays_text_in_cards(plan, tmp_path):
    root = shutil.copytree(plan.project.root, tmp_path / "copy")
    method = root / "pipelines" / "tiny.yaml"
    text = re.sub(
        r"^(method|summary): .*$",
        lambda found: f"{found[1]}: {json.dumps(HOSTILE)}",
        method.read_text(),
        flags=re.M,
    )
    method.write_text(text)
    key = "tiny/round_02/filtered"
    directory = root / "artifacts" / key
    table = pq.read_table(directory / "part-00000.parquet").append_column(HOSTILE, pa.array([HOSTILE] * 31))
    (directory / "part-00000.parquet").unlink()
    pq.write_table(table, directory / "part-00000.parquet")
    old = open_artifact(key, directory).manifest
    rewrite(
        directory,
        key,
        counts={**old.counts, f"dropped: {HOSTILE}": 1},
        columns={**old.columns, HOSTILE: "string"},
    )
    target = exported(root, key, tmp_path / "out")
    card = (target / "README.md").read_text()
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    assert "license" not in yaml.safe_load(front)
    assert "\x1b" not in card
    outside = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", body)
    assert "<script" not in outside
    assert "](" not in re.sub(r"\\[\[\]()!]", "", outside)
    assert not [
        line for line in outside.splitlines() if line in ("---", "license: mit") or line.startswith("# w")
    ]
    rows = [line for line in outside.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} <= {3, 4, 5, 6}
    names = [
        field["name"]
        for field in json.loads((target / "croissant.json").read_text())["recordSet"][0]["field"]
    ]
    assert HOSTILE in names
    assert load(target, tmp_path / "cache").column_names[-1] == HOSTILE


def test_code_span_and_prose_show_the_text_itself():
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("a|b") == r"`a\|b`"
    assert prose("a <b>\n*c* www.d") == r"a &lt;b&gt; \*c\* www\.d"


@pytest.mark.parametrize(
    ("arrow", "expected"),
    [
        ("uint64", "sc:Integer"),
        ("large_string", "sc:Text"),
        ("timestamp[us]", "sc:DateTime"),
        ("struct<a: int64>", "sc:Text"),
    ],
)
def test_croissant_type_of_an_arrow_type(arrow, expected):
    assert data_type(arrow) == expected


def test_export_command_says_what_went_where(plan, tmp_path):
    done = CliRunner().invoke(
        export, ["tiny/round_02/mixed", str(tmp_path / "out")], obj=plan.project.root, catch_exceptions=False
    )
    assert done.output.startswith(f"{tmp_path / 'out'}: tiny/round_02/mixed ")
    assert {path.name for path in Path(tmp_path / "out").iterdir()} == {
        "README.md",
        "croissant.json",
        "data",
        "manifest.json",
    }


def test_croissant_conversations_are_repeated_turns_with_parts(tmp_path):
    turn = {"role": "user", "content": "?", "tool_calls": None, "name": None}
    artifact = Lab(tmp_path).put("tasks/train", [{"prompt_id": "a", "prompt": "?", "messages": [turn]}])
    fields = {field["name"]: field for field in croissant(artifact, "", None)["recordSet"][0]["field"]}
    messages = fields["messages"]
    assert messages["repeated"] is True and "dataType" not in messages
    assert {part["name"]: part["dataType"] for part in messages["subField"]} == dict.fromkeys(turn, "sc:Text")
    role = messages["subField"][0]
    assert role["@id"] == "rows/messages/role"
    assert role["source"]["extract"] == {"column": "messages"} and role["source"]["transform"] == {
        "jsonPath": "$[*].role"
    }
