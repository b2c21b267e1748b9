"""Synthetic projects of any size: real manifests and rows of rounds with a pool and pairs, without a model; for bench/audit.py.

Rows are what DuckDB makes of their number; they are written by the project's own store, so that every command reads them as it
reads the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from lineal.audit.catalog import step_name
from lineal.data.manifest import InputEntry, Manifest, content_digest, list_files
from lineal.data.schema import COLUMNS, arrow_schema
from lineal.data.store import write_rows
from lineal.recipe.references import ArtifactKind
from lineal.step.identity import Identity

NAME = "bench"
SAMPLES = 4
"""Samples of each prompt in each round."""
KEPT_OF_TEN = 4
PIPELINE = f"""
method: Benchmark
summary: Rounds that train on all right samples so far, then on pairs of a right and a wrong one of this round.
tasks:
  train: {{use: letter_sort, length: [13, 23], size: %d}}
  test:  {{use: letter_sort, length: [13, 23], size: %d}}
start:
  checkpoint: {{use: model, path: models/base}}
round:
  generated:  {{use: sample, model: previous.checkpoint, prompts: tasks.train, samples: {SAMPLES}}}
  verified:   {{use: exact_match, rows: generated}}
  filtered:   {{use: select, rows: verified, sql: keep_correct}}
  pairs:      {{use: select, rows: verified, sql: correct_against_incorrect}}
  tuned:      {{use: sft, init: previous.checkpoint, rows: history.filtered, epochs: 1}}
  checkpoint: {{use: dpo, init: tuned, rows: pairs, epochs: 1}}
  evaluation: {{use: accuracy, model: checkpoint, prompts: tasks.test}}
"""
SELECTORS = Path(__file__).parents[1] / "pipelines" / "selectors"
PROMPTS = """SELECT md5('{name}' || i)[:20] AS prompt_id, 'Sort the letters: ' || {letters} AS prompt, {letters} AS answer,
 13 + i % 11 AS difficulty, 'letter_sort' AS task, '{{}}' AS entry FROM range({count}) r(i)"""
LETTERS = "translate(md5('{name}' || (i * 7)), '0123456789', 'ghijklmnop')[:13 + (i % 11)::INT]"
GENERATED = """SELECT prompt_id, md5('s{round}/' || n)[:20] AS sample_id, [prompt_id] AS parents, prompt, answer, difficulty,
 task, entry, CASE WHEN n % 3 = 0 THEN answer ELSE reverse(answer) || n % 1000 END AS completion, 'stop' AS finish_reason,
 20 + n % 20 AS tokens, (hash(n) % 100000)::INT / -1000.0 AS logprob, 1.0 AS temperature, false AS hinted, {round} AS round,
 n % {samples} AS sample_index, hash(n + {round}) AS seed, '{checkpoint}' AS checkpoint, n AS place
 FROM (SELECT i * {samples} + k AS n, p.* FROM (SELECT row_number() OVER () - 1 AS i, * FROM prompts) p, range({samples}) t(k))
 ORDER BY n"""
VERIFIED = """SELECT *, CASE WHEN hash(n) % 10 < {kept} THEN 'pass' ELSE 'fail' END AS verdict,
 CASE WHEN hash(n) % 10 < {kept} THEN 1.0 ELSE 0.0 END AS score, CASE WHEN hash(n) % 10 < {kept} THEN '' ELSE 'not equal' END
 AS detail FROM (SELECT *, place * 31 + {round} AS n FROM generated)"""
DECIDED = """SELECT *, CASE WHEN verdict = 'pass' THEN 'kept' ELSE 'dropped' END AS decision,
 CASE WHEN verdict = 'pass' THEN '' ELSE 'verdict is fail' END AS reason, 1.0 AS weight FROM verified"""
PAIRS = """SELECT prompt_id, md5('p{round}/' || prompt_id)[:20] AS sample_id, [kept.id, dropped.id] AS parents, prompt, answer,
 difficulty, kept.text AS chosen, dropped.text AS rejected, {round} AS round
 FROM (SELECT prompt_id, any_value(prompt) AS prompt, any_value(answer) AS answer, any_value(difficulty) AS difficulty,
 min({{id: sample_id, text: completion}}) FILTER (verdict = 'pass') AS kept,
 min({{id: sample_id, text: completion}}) FILTER (verdict = 'fail') AS dropped FROM decided GROUP BY prompt_id)
 WHERE kept IS NOT NULL AND dropped IS NOT NULL ORDER BY kept.id"""
BATCH_ROWS = 1 << 16


class Writer:
    """Writes the artifacts of one synthetic project; remembers each one's digest, for the inputs of later ones."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._digests: dict[str, str] = {}
        self._connection = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "6GB"})

    def prompts(self, key: str, name: str, count: int) -> None:
        sql = PROMPTS.format(name=name, count=count, letters=LETTERS.format(name=name))
        self._connection.execute(f"CREATE OR REPLACE TABLE prompts AS {sql}")
        self._rows(key, "letter_sort", "SELECT * FROM prompts", {"size": count}, {})

    def model(self, key: str, component: str, inputs: dict[str, list[str]]) -> None:
        files = {"config.json": "{}", "weights.txt": f"weights of {step_name(key)}"}
        self._values(key, component, ArtifactKind.MODEL, files, inputs)

    def metrics(self, key: str, number: int, inputs: dict[str, list[str]]) -> None:
        text = json.dumps({"accuracy": min(0.95, 0.1 + number / 12), "count": 512})
        self._values(key, "accuracy", ArtifactKind.METRICS, {"metrics.json": text}, inputs)

    def round(self, number: int) -> None:
        """One round: generated, verified, filtered, filtered.dropped, pairs, tuned, checkpoint, evaluation."""
        group = f"{NAME}/round_{number:02d}"
        previous = f"{NAME}/start/checkpoint" if number == 1 else f"{NAME}/round_{number - 1:02d}/checkpoint"
        facts = {
            "round": number,
            "samples": SAMPLES,
            "kept": KEPT_OF_TEN,
            "checkpoint": self._digests[previous],
        }
        for view, sql in (("generated", GENERATED), ("verified", VERIFIED)):
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {sql.format(**facts)}")
        self._connection.execute(f"CREATE OR REPLACE TABLE decided AS {DECIDED}")
        total, kept = self._connection.sql(
            "SELECT count(*), count(*) FILTER (decision = 'kept') FROM decided"
        ).fetchall()[0]
        sources = {"model": [previous], "prompts": [f"{NAME}/tasks/train"]}
        sql = "SELECT * EXCLUDE (verdict, score, detail, decision, reason, weight) FROM decided"
        self._rows(f"{group}/generated", "sample", sql, {"samples": SAMPLES}, sources)
        sql, told = (
            "SELECT * EXCLUDE (decision, reason, weight) FROM decided",
            {"pass": kept, "fail": total - kept, "error": 0},
        )
        self._rows(
            f"{group}/verified",
            "exact_match",
            sql,
            {},
            {"rows": [f"{group}/generated"]},
            {"in": total, **told},
        )
        told = {
            "in": total,
            "kept": kept,
            "dropped": total - kept,
            "dropped: verdict is fail": total - kept,
            "out": None,
        }
        for output, decision in (("", "kept"), (".dropped", "dropped")):
            sql, settings = f"FROM decided WHERE decision = '{decision}'", {"sql": "keep_correct"}
            self._rows(
                f"{group}/filtered{output}", "select", sql, settings, {"rows": [f"{group}/verified"]}, told
            )
        sql, settings = PAIRS.format(**facts), {"sql": "correct_against_incorrect"}
        self._rows(f"{group}/pairs", "select", sql, settings, {"rows": [f"{group}/verified"]}, {"in": total})
        pool = [f"{NAME}/round_{earlier:02d}/filtered" for earlier in range(1, number + 1)]
        self.model(f"{group}/tuned", "sft", {"init": [previous], "rows": pool})
        self.model(f"{group}/checkpoint", "dpo", {"init": [f"{group}/tuned"], "rows": [f"{group}/pairs"]})
        sources = {"model": [f"{group}/checkpoint"], "prompts": [f"{NAME}/tasks/test"]}
        self.metrics(f"{group}/evaluation", number, sources)

    def _rows(
        self, key: str, component: str, sql: str, settings: dict, inputs: dict, told: dict | None = None
    ) -> None:
        """Writes a query's rows; their number is the count `out`, unless what is told of them says otherwise."""
        reader = self._connection.sql(sql).to_arrow_reader(BATCH_ROWS)
        columns = tuple(name for name in COLUMNS if name in reader.schema.names)
        schema = arrow_schema(columns)

        def tables() -> Iterator[pa.Table]:
            for batch in reader:
                yield pa.Table.from_batches([batch]).select(schema.names).cast(schema)

        counts = write_rows(self._root / "artifacts" / key, tables())
        found = {"out": sum(counts.values())} | (told or {})
        names = {field.name: str(field.type) for field in schema}
        found = {name: count for name, count in found.items() if count is not None}
        self._publish(key, component, ArtifactKind.ROWS, counts, names, found, settings, inputs)

    def _values(
        self,
        key: str,
        component: str,
        kind: ArtifactKind,
        files: dict[str, str],
        inputs: dict[str, list[str]],
    ) -> None:
        directory = self._root / "artifacts" / key
        directory.mkdir(parents=True)
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
        self._publish(key, component, kind, {}, {}, {}, {}, inputs)

    def _publish(self, key, component, kind, row_counts, columns, counts, settings, inputs) -> None:
        directory = self._root / "artifacts" / key
        files = list_files(directory, row_counts)
        entries = {
            name: [InputEntry(step=step_name(k), digest=self._digests[k]) for k in keys]
            for name, keys in inputs.items()
        }
        name, _, output = key.rpartition("/")[2].partition(".")
        step = f"{step_name(key).rpartition('/')[0]}/{name}"
        identity = Identity(step, component, 1, settings, 0, entries, {}, {})
        manifest = Manifest(
            step=step,
            output=output,
            kind=kind,
            component=component,
            version=1,
            identity=identity.digest,
            settings=settings,
            seed=0,
            inputs=entries,
            files_read={},
            counts=counts,
            columns=columns,
            files=files,
            digest=content_digest(files),
        )
        manifest.write(directory)
        self._digests[key] = manifest.digest


def write_project(root: Path, rounds: int, rows: int, test_prompts: int = 10_000) -> Path:
    """A project with all artifacts of `rounds` rounds of `rows` samples each."""
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "selectors").symlink_to(SELECTORS)
    prompts = rows // SAMPLES
    (root / "pipelines" / f"{NAME}.yaml").write_text(PIPELINE % (prompts, test_prompts), encoding="utf-8")
    (root / "params.yaml").write_text(
        f"rounds: {rounds}\nactive: [{NAME}]\ncompute: {{workers: 2}}\n", encoding="utf-8"
    )
    writer = Writer(root)
    writer.prompts(f"{NAME}/tasks/test", "test", test_prompts)
    writer.prompts(f"{NAME}/tasks/train", "train", prompts)
    writer.model(f"{NAME}/start/checkpoint", "model", {})
    for number in range(1, rounds + 1):
        writer.round(number)
    return root
