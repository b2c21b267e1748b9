"""The results of `bench/gpu.sh`: collected into one JSON, and shown in docs/gpu.md.

python bench/gpu_page.py bench/results/gpu/gpu.json
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gpu.md"
WHAT = {
    "vllm": "sampling with vLLM against `LLM.generate`",
    "sample": "sampling with transformers against plain `generate`",
    "sft": "an SFT step in bf16 against plain TRL",
    "grpo": "a GRPO step in bf16 against plain TRL",
    "handover": "GPU memory is free for the next step; trainings in bf16 and 4 bits",
    "invariant": "batch-invariant digests with vLLM",
    "slice": "length generalisation, as far as it came",
    "real": "rounds of SmolLM2, as far as they came",
}
ENDS = {0: "done", 1: "failed", -1: "skipped", 124: "out of time", 137: "out of time"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="?", help="gpu.json, to be shown in docs/gpu.md")
    parser.add_argument(
        "--collect", type=Path, metavar="DIRECTORY", help="print the results of all parts as one JSON"
    )
    parser.add_argument("--run", type=Path, metavar="PROJECT", help="print what a project's run came to")
    arguments = parser.parse_args()
    if arguments.collect:
        print(json.dumps(collected(arguments.collect), indent=2))
    elif arguments.run:
        print(json.dumps(figures_of_run(arguments.run)))
    else:
        head, _, _ = PAGE.read_text(encoding="utf-8").partition("<!-- results -->")
        PAGE.write_text(
            f"{head}<!-- results -->\n\n{shown(json.loads(arguments.results.read_text()))}", encoding="utf-8"
        )


def collected(directory: Path) -> dict[str, Any]:
    """The parts in their order, each with how it ended and its figures; the hardware by name, without the host's."""
    ended = [directory / f"{part}.part" for part in WHAT]
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in ended if path.exists()]
    for part in parts:
        part["status"] = ENDS.get(part["status"], f"failed ({part['status']})")
        figures = directory / f"{part['part']}.figures"
        text = figures.read_text(encoding="utf-8") if figures.exists() else ""
        part["figures"] = json.loads(text) if text.strip() else {}
    hardware = directory / "hardware.txt"
    return {
        "hardware": hardware.read_text(encoding="utf-8").strip() if hardware.exists() else processor(),
        "parts": parts,
    }


def processor() -> str:
    """A dry run's hardware: its figures mean nothing."""
    found = re.search(
        r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    return f"dry run on a processor ({found[1] if found else 'unknown'})"


def figures_of_run(project: Path) -> dict[str, Any]:
    """The accuracy of each evaluation that was made, and the seconds inside steps."""
    found: dict[str, Any] = {}
    for path in sorted((project / "artifacts").rglob("metrics.json")):
        metrics = json.loads(path.read_text(encoding="utf-8"))
        if "accuracy" in metrics:
            found["/".join(path.parts[-3:-1])] = metrics["accuracy"]
    logs = [json.loads(path.read_text(encoding="utf-8")) for path in (project / "runs").rglob("*.json")]
    return {**found, "steps": sum(log.get("status") == "done" for log in logs)}


def shown(results: dict[str, Any]) -> str:
    """The results as a table."""
    lines = [f"On {results['hardware']}:", "", "| part | ended | seconds | figures |", "|---|---|---|---|"]
    for part in results["parts"]:
        figures = ", ".join(f"{name} {value}" for name, value in part["figures"].items())
        lines.append(f"| {WHAT[part['part']]} | {part['status']} | {part['seconds']} | {figures} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
