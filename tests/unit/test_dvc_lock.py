from __future__ import annotations

import subprocess

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lineal.errors import ProjectError
from lineal.orchestrate.dvc_lock import LOCK_HEAD, entry_text, locked_artifacts, locked_stage, replaced_entry

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}(-[a-z0-9_]{1,8}){1,2}", fullmatch=True)
ENTRIES = st.lists(
    st.sampled_from(["cmd: x", "outs:", "- path: a", "  md5: b", "toy-a:"]), min_size=1, max_size=4
)


def text_of(entries):
    return LOCK_HEAD + "".join(
        f"  {name}:\n" + "".join(f"    {line}\n" for line in lines) for name, lines in entries.items()
    )


@given(st.dictionaries(NAMES, ENTRIES, min_size=1, max_size=5), st.data())
def test_replaced_entry_changes_that_entry_and_no_other(entries, data):
    name = data.draw(st.sampled_from(sorted(entries)))
    lines = data.draw(ENTRIES)
    replacement = text_of({name: lines}).removeprefix(LOCK_HEAD)
    assert replaced_entry(text_of(entries), name, replacement) == text_of({**entries, name: lines})


def test_replaced_entry_of_a_new_stage_stands_at_the_end():
    entries = {"toy-a": ["cmd: x"]}
    assert replaced_entry(text_of(entries), "toy-b", "  toy-b:\n    cmd: y\n") == text_of(
        {**entries, "toy-b": ["cmd: y"]}
    )
    assert replaced_entry("", "toy-a", "  toy-a:\n    cmd: x\n") == text_of(entries)


def test_entry_of_a_stage_whose_name_begins_anothers_is_its_own():
    text = text_of({"toy-ab": ["cmd: x"], "toy-a": ["cmd: y"]})
    assert entry_text(text, "toy-a") == "  toy-a:\n    cmd: y\n" and entry_text(text, "toy-c") is None


@pytest.mark.parametrize(
    "text",
    [
        "stages: {}\n",
        "schema: '2.0'\n",
        LOCK_HEAD + "  toy-a:\n    cmd: x\ndatasets:\n- name: d\n",
        LOCK_HEAD + "  toy-a:\n    cmd: x",
        LOCK_HEAD + "  toy-a:\n    cmd: x\n  'toy-b':\n    cmd: z\n    outs: []",
        '# kept\nstages:\n    "toy-b":   # was z\n        cmd: z\n    # of c\n    toy-c: {cmd: w}\n\nschema: "2.0"\n',
        LOCK_HEAD.replace("\n", "\r\n") + "  toy-a:\r\n    cmd: x\r\n",
    ],
)
def test_replaced_entry_of_any_layout_keeps_the_rest(text):
    changed = replaced_entry(text, "toy-b", "  toy-b:\n    cmd: y\n    outs: [a]\n")
    before, after = yaml.safe_load(text), yaml.safe_load(changed)
    assert after["stages"] == {**(before.get("stages") or {}), "toy-b": {"cmd": "y", "outs": ["a"]}}
    assert {**before, **after} == after and after["schema"] == "2.0"
    assert [line for line in text.splitlines() if "#" in line and "z" not in line] == [
        line for line in changed.splitlines() if "#" in line
    ]
    assert replaced_entry(changed, "toy-b", "  toy-b:\n    cmd: y\n    outs: [a]\n") == changed
    assert yaml.safe_load(entry_text(changed, "toy-b") or "") == {"toy-b": {"cmd": "y", "outs": ["a"]}}


@pytest.mark.parametrize("spaces", [1, 3, 4])
def test_new_entry_of_a_lock_that_is_indented_otherwise_fits_it(spaces):
    text = LOCK_HEAD + f"{' ' * spaces}toy-a:\n{' ' * 2 * spaces}cmd: x\n"
    added = replaced_entry(text, "toy-b", "  toy-b:\n    cmd: y\n")
    assert yaml.safe_load(added)["stages"] == {"toy-a": {"cmd": "x"}, "toy-b": {"cmd": "y"}}
    assert added.startswith(text)


def test_lock_that_names_a_stage_twice_is_refused(tmp_path):
    text = text_of({"toy-a": ["cmd: x"]}) + "  toy-a:\n    cmd: y\n"
    (tmp_path / "dvc.lock").write_text(text)
    for look in (
        lambda: locked_artifacts(tmp_path),
        lambda: replaced_entry(text, "toy-a", ""),
        lambda: entry_text(text, "toy-a"),
    ):
        with pytest.raises(ProjectError, match=r"dvc.lock:5: toy-a occurs twice. .*lineal resolve"):
            look()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("  foo: 7\n", "foo: expected cmd, deps and outs, got '7'"),
        ("  foo:\n    outs: 7\n", "foo: outs: expected a list of paths with their MD5s, got '7'"),
        ("  foo:\n    outs:\n    - md5: aa.dir\n", "foo: outs: expected a list"),
        (
            "  foo:\n    outs:\n    - path: artifacts/x\n      md5: ../../x.dir\n",
            "foo: outs: expected a list",
        ),
        ("  foo: [\n", "is not valid YAML"),
    ],
)
def test_lock_that_somebody_edited_is_refused_with_what_restores_it(tmp_path, entry, said):
    (tmp_path / "dvc.lock").write_text(LOCK_HEAD + entry)
    for look in (lambda: locked_artifacts(tmp_path), lambda: locked_stage(LOCK_HEAD + entry, "foo")):
        with pytest.raises(ProjectError, match="Restore it: git checkout HEAD -- dvc.lock") as caught:
            look()
        assert said in str(caught.value)


def test_lock_with_a_merge_conflict_is_refused_with_advice_that_git_takes(tmp_path):
    def git(*arguments, status=0):
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
        assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == status, (
            arguments
        )

    def commit(md5):
        (tmp_path / "dvc.lock").write_text(
            LOCK_HEAD + f"  a:\n    outs:\n    - path: artifacts/x\n      md5: {md5}.dir\n"
        )
        git("add", "dvc.lock")
        git("commit", "-qm", md5)

    git("init", "-q", "-b", "main")
    commit("aa")
    git("checkout", "-qb", "other")
    commit("bb")
    git("checkout", "-q", "main")
    commit("cc")
    git("merge", "-q", "other", status=1)
    text = (tmp_path / "dvc.lock").read_text()
    for look in (lambda: locked_artifacts(tmp_path), lambda: locked_stage(text, "a")):
        with pytest.raises(ProjectError, match=r"merge conflict. .* lineal resolve. Then: git add dvc.lock"):
            look()
    git("checkout", "--ours", "dvc.lock")
    assert locked_artifacts(tmp_path) == {"x": "cc.dir"}
    git("checkout", "--theirs", "dvc.lock")
    assert locked_artifacts(tmp_path) == {"x": "bb.dir"}
    git("checkout", "HEAD", "--", "dvc.lock")
    assert locked_artifacts(tmp_path) == {"x": "cc.dir"}
