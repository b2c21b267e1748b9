"""A bench for single components: a real project directory, real workspaces, real artifacts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from lineal.components.base import Surroundings
from lineal.components.controllers.values import values_of
from lineal.components.registry import Registry
from lineal.data.manifest import Manifest, content_digest, list_files
from lineal.data.store import Rows, open_artifact
from lineal.data.workspace import Workspace
from lineal.recipe.compute import Compute
from lineal.recipe.references import ArtifactKind

ROOT = Path(__file__).parents[2]


class Lab:
    """Runs components one by one and keeps what they wrote."""

    def __init__(self, path: Path, compute: Compute | None = None, seed: int = 0) -> None:
        self.path, self.compute, self.seed = path, compute or Compute(workers=1), seed
        self.surroundings = Surroundings(path, path / "pipelines")
        for folder in ("selectors", "measures"):
            if not (path / "pipelines" / folder).exists():
                shutil.copytree(ROOT / "pipelines" / folder, path / "pipelines" / folder)
        self.counts: dict[str, int] = {}
        self.facts: dict[str, Any] = {}
        self.retracted: dict[str, str] = {}

    def selector(self, name, text):
        """Writes a selector file."""
        (self.path / "pipelines" / "selectors" / f"{name}.sql").write_text(text)

    def parse(self, use, inputs=None, **settings):
        """A component from its settings; inputs get made-up references."""
        told = [name for name in inputs or {} if "." not in name and not name.endswith(("_base", "_media"))]
        references = dict.fromkeys(
            told, "node"
        )  # the settings speak of those with a dot, the plan finds bases and media
        return Registry().find(use).parse({"use": use, **references, **settings}, self.surroundings)

    def put(self, step, *tables):
        """An artifact with these rows."""
        workspace = self._workspace(step, {})
        workspace.write_rows(
            [table if isinstance(table, pa.Table) else pa.Table.from_pylist(table) for table in tables]
        )
        return self._publish(workspace, "", ArtifactKind.ROWS)

    def run(self, use, step, inputs=None, /, round_number=1, **settings):
        """By output name, the artifacts that a component makes."""
        component = self.parse(use, inputs, **settings)
        fields = {
            name: value if isinstance(value, tuple) else (value,) for name, value in (inputs or {}).items()
        }
        planned = component.outputs({name: Rows(artifacts).columns for name, artifacts in fields.items()})
        workspace = self._workspace(step, fields, round_number)
        self.counts, self.facts = workspace.counts, workspace.facts
        component.run(workspace)
        made = {name: self._publish(workspace, name, output.kind) for name, output in planned.items()}
        for name, output in planned.items():
            assert set(made[name].manifest.columns) == set(output.columns)
            assert output.values is None or set(values_of(made[name])) <= set(output.values)
        return made

    def _workspace(self, step, inputs, round_number=0):
        partial = self.path / f".{step.replace('/', '-')}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        return Workspace(
            self.path, step, round_number, self.seed, self.compute, inputs, partial, retracted=self.retracted
        )

    def _publish(self, workspace, output, kind):
        directory = workspace.directory(output)
        files = list_files(directory, workspace._row_counts.get(output, {}))
        key = f"p/{workspace.step}{'.' + output if output else ''}"
        Manifest(
            step=workspace.step,
            output=output,
            kind=kind,
            component="x",
            version=1,
            identity="x",
            settings={},
            seed=self.seed,
            inputs={},
            files_read={},
            counts=workspace.counts,
            columns=workspace._columns.get(output, {}),
            files=files,
            digest=content_digest(files),
        ).write(directory)
        target = self.path / "artifacts" / key
        shutil.rmtree(target, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        directory.rename(target)
        return open_artifact(key, target)


def rows_of(artifact):
    """An artifact's rows as dicts."""
    return Rows((artifact,)).read().to_pylist()


def evaluated(artifact):
    """Reads an evaluation: its numbers, and the rest under the names in its files."""
    return {
        **json.loads((artifact.directory / "metrics.json").read_text()),
        **json.loads((artifact.directory / "details.json").read_text()),
        "prompts.json": json.loads((artifact.directory / "prompts.json").read_text()),
    }


def rows(*entries, **columns):
    """`("a1", "p", "x")` is sample a1 of prompt p with completion x."""
    return [
        {"sample_id": name, "prompt_id": prompt, "prompt": f"{prompt}=", "completion": text}
        | {column: values[index] for column, values in columns.items()}
        for index, (name, prompt, text) in enumerate(entries)
    ]


def samples(verdicts, **columns):
    """Judged samples: `{"p0": "pfe"}` gives prompt p0 three samples with verdicts pass, fail and error."""
    words = {"p": "pass", "f": "fail", "e": "error"}
    return [
        {
            "sample_id": f"{prompt}-{index}",
            "prompt_id": prompt,
            "prompt": f"{prompt}=",
            "completion": f"{prompt}:{index}",
            "answer": "a",
            "difficulty": float(len(verdicts[prompt])),
            "verdict": words[letter],
            "sample_index": index,
            "score": None if letter == "e" else float(letter == "p"),
            **{name: make(prompt, index) for name, make in columns.items()},
        }
        for prompt in verdicts
        for index, letter in enumerate(verdicts[prompt])
    ]
