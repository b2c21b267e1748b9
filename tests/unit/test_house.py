"""The house's own rules: imports go one way, sizes stay small, the command line and the plan stay light."""

import ast
import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lineal"
FILES = sorted([*SOURCE.rglob("*.py"), *(ROOT / "assets").rglob("*.py")])
LAYERS = [
    {"errors", "recipe"},
    {"data"},
    {"environments"},
    {"components", "engines"},
    {"plan"},
    {"step"},
    {"orchestrate", "audit"},
    {"cli", "testing"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "dagster", "dvc", "PIL"}


def imports_of(path):
    """(line, module, whether at module level) of every lineal import in a file."""
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("lineal."):
            yield node.lineno, node.module.split(".")[1], id(node) in top


def test_house_has_files():
    assert len(FILES) > 60


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.is_relative_to(SOURCE)], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_imports_go_one_way(path):
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own not in LEVEL:
        return
    wrong = [(line, layer) for line, layer, _ in imports_of(path) if LEVEL[layer] > LEVEL[own]]
    assert not wrong, f"{path}: {own} must not import {wrong}"


def module_of(path):
    return ".".join(("lineal", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES if path.is_relative_to(SOURCE)}
SEE_EACH_OTHERS_TYPES = {
    ("lineal.components.generators.search_waves", "lineal.components.generators.tree_search"),
    ("lineal.plan.oracle", "lineal.plan.plan"),
}
"""The first names a type of the second, which imports it; no other module may."""


def imported_by(name):
    """The modules that one imports, wherever in its file, but for types that it may see."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys() or {node.module}
            yield from (
                other
                for other in found & MODULES.keys() - {name}
                if (name, other) not in SEE_EACH_OTHERS_TYPES
            )


def test_no_imports_go_in_a_circle():
    """Neither at the top of a file, nor in a function, nor for types; the error names the circle."""
    TopologicalSorter({name: set(imported_by(name)) for name in MODULES}).prepare()


def lines_of(node):
    return node.end_lineno - node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            classes = [
                one for one in node.body if isinstance(one, ast.ClassDef)
            ]  # made in it, out of functions of their own
            assert lines_of(node) - sum(map(lines_of, classes)) < 60, f"{path}:{node.lineno} {node.name}"


QUESTIONS = {"what", "how", "which", "whether", "those", "who", "where", "when", "why"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_docstrings_do_not_begin_like_a_question(path):
    """A function's docstring begins with a verb, all others with what they describe."""
    described = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node)
    ]
    first_words = [
        (getattr(node, "name", "the module"), ast.get_docstring(node).split()[0]) for node in described
    ]
    assert not [(name, word) for name, word in first_words if word.strip(",.:").lower() in QUESTIONS]


def test_public_classes_have_a_name_of_their_own():
    places = {}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert not {name: found for name, found in places.items() if len(found) > 1}


def modules_after(code):
    script = (
        f"import json, sys\n{code}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    code = "from lineal.cli.main import run_command\ntry:\n    run_command(['--help'])\nexcept SystemExit:\n    pass"
    assert not modules_after(code) & (HEAVY | {"pyarrow", "duckdb", "numpy", "pydantic"})


def test_plan_imports_neither_torch_nor_dagster_nor_dvc():
    code = (
        "from pathlib import Path\nfrom lineal.plan import make_plan\nfrom lineal.recipe.project import open_project\n"
        "project = open_project(Path('.'))\nplan = make_plan(project, project.pipeline_names())\nassert len(plan.steps) > 100"
    )
    assert not modules_after(code) & HEAVY


def test_definitions_import_neither_torch_nor_dvc():
    assert not modules_after("import assets.definitions") & {"torch", "transformers", "trl", "dvc"}


def calls_of(path):
    """Every called function in a file, as it is written."""
    return {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }


RUNS_PROGRAMS = {SOURCE / "components" / "sandbox" / name for name in ("inside.py", "examiner.py")}
"""The files that run code from data, because they are what runs inside the sandboxes."""


@pytest.mark.parametrize(
    "path", [p for p in FILES if p not in RUNS_PROGRAMS], ids=lambda p: str(p.relative_to(ROOT))
)
def test_source_runs_no_code_from_data(path):
    modules = {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert not modules & {"pickle", "cloudpickle", "dill", "shelve", "marshal"}
    calls = calls_of(path)
    assert not calls & {"eval", "exec", "compile", "os.system", "yaml.unsafe_load", "torch.load"}
    assert "yaml.load" not in calls or "BaseLoader" in path.read_text(), (
        "only with a loader that makes plain values"
    )
    text = path.read_text()
    assert "trust_remote_code=True" not in text
    assert "shell=True" not in text


def test_the_files_that_run_programs_are_imported_by_nothing_outside():
    words = ("sandbox.inside", "import inside", "sandbox.examiner", "import examiner")
    assert not [
        path
        for path in FILES
        if path not in RUNS_PROGRAMS and any(word in path.read_text() for word in words)
    ]


def test_decisions_have_one_number_each():
    numbers = [path.name[:4] for path in (ROOT / "docs" / "decisions").glob("*.md")]
    assert sorted(numbers) == [f"{number:04d}" for number in range(1, len(numbers) + 1)]
