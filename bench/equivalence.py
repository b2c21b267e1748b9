"""How far the same update is from itself when it is cut otherwise. Run: python bench/equivalence.py

Every trainer and every loss learns the same ten rows for two epochs: as one forward pass per optimizer step, as several, and
in two processes. A step of 12 sees all ten rows; of 8, the second step of an epoch has two rows. The figure is the length of
the difference of two updates (weights after minus before) as a share of the update's length. AdamW divides each gradient by its
own size, so gradients that are almost 0 show the rounding of floats. Exit status 1 where a figure is above 1e-4.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.unit.every_trainer import ONLINE, TRAINERS  # noqa: E402
from tests.unit.tiny_models import SETTINGS, tiny_model  # noqa: E402

MOST = 1e-4
SETTING = replace(SETTINGS, warmup=0.0, schedule="constant", learning_rate=1e-3, seed=3)
CUTS = {(12, 1): [(6, 2), (4, 3), (3, 4), (1, 12)], (8, 1): [(4, 2), (2, 4)]}
ONLINE_CUTS = {(12, 1): [(4, 3)], (8, 1): [(4, 2)]}
"""A forward pass has whole groups of four."""
SHARED = [(12, 1), (8, 1)]
"""What two processes learn."""
PROCESSES = "2 processes"
PAGE = ROOT / "docs" / "training.md"
BEGIN, END = "<!-- bench/equivalence.py -->", "<!-- end -->"


def main() -> None:
    """Compare, write the table, and fail where an update depends on how it is cut."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="trainers, as the table names them (default: all)")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--write", action="store_true", help="write the table into docs/training.md")
    parser.add_argument("--shared", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.names or list(TRAINERS)
    if arguments.shared:
        _train_shared(arguments.shared, names)
        return
    found = figures(names)
    lines = table(found)
    print("\n".join(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if arguments.write:
        _write(lines)
    sys.exit(max(worst(found).values()) > MOST)


def figures(names: list[str]) -> dict[str, dict[str, float]]:
    """By trainer and cut, how far the update is from the one of a single forward pass per step."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        found = {}
        share(directory, [name for name in names if name not in ONLINE])
        for trainer in names:
            found[trainer] = _of_trainer(trainer, directory)
            print(
                f"{trainer:<32}",
                *(f"{cut} {figure:.1e}" for cut, figure in found[trainer].items()),
                flush=True,
            )
        return found


def _of_trainer(trainer: str, directory: Path) -> dict[str, float]:
    found = {}
    for whole, cuts in (ONLINE_CUTS if trainer in ONLINE else CUTS).items():
        expected = update(trainer, directory, whole)
        for cut in cuts:
            found[_shown(cut)] = apart(expected, update(trainer, directory, cut))
        if trainer not in ONLINE:
            found |= shared_figures(trainer, directory, whole, expected)
    return found


def shared_figures(
    trainer: str, directory: Path, whole: tuple[int, int], expected: dict[str, Any]
) -> dict[str, float]:
    """Measures how far the updates of two processes are from that of one, for steps of the same size."""
    cuts = [cut for cut in SHARED if math.prod(cut) == math.prod(whole)]
    return {
        f"{_shown(cut)}, {PROCESSES}": apart(
            expected, _moved(_place(directory, trainer, cut, "shared"), directory)
        )
        for cut in cuts
    }


def update(trainer: str, directory: Path, cut: tuple[int, int]) -> dict[str, Any]:
    """Trains, and gives each weight's change."""
    return _moved(_train(trainer, directory, cut, "alone"), directory)


def _train(trainer: str, directory: Path, cut: tuple[int, int], kind: str) -> Path:
    size, passes = cut
    length = {"steps": 2, "epochs": None} if trainer in ONLINE else {"steps": None, "epochs": 2.0}
    out = _place(directory, trainer, cut, kind)
    TRAINERS[trainer](
        directory / "init",
        replace(SETTING, batch_size=size, gradient_accumulation=passes, **length),
        out,
        None,
    )
    return out


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The difference's length as a share of the first one's."""
    difference = sum(float(((one[name] - other[name]).double() ** 2).sum()) for name in one)
    return math.sqrt(difference / sum(float((weight.double() ** 2).sum()) for weight in one.values()))


def _moved(out: Path, directory: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (path,) = out.glob("*.safetensors")
    before = load_file(directory / "init" / "model.safetensors")
    after = load_file(path)
    return {name: after[name] - before[name] for name in after if name in before} or {
        name: after[name]
        for name in after
        if "lora_B" in name  # 0 before
    }


def _place(directory: Path, trainer: str, cut: tuple[int, int], kind: str) -> Path:
    return directory / kind / f"{trainer} {_shown(cut)}".replace(" ", "_")


def _shown(cut: tuple[int, int]) -> str:
    return f"{cut[0]} x {cut[1]}"


def share(directory: Path, names: list[str]) -> None:
    """Makes the model to start from, and trains it in two processes."""
    tiny_model(directory / "init")
    tiny_model(directory / "reference", seed=5)
    if not names:
        return
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*start, __file__, "--shared", str(directory), *names], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(done.stderr[-9000:])


def _train_shared(directory: Path, names: list[str]) -> None:
    for name in names:
        for cut in SHARED:
            _train(name, directory, cut, "shared")


def worst(found: dict[str, dict[str, float]]) -> dict[str, float]:
    """By trainer, the largest figure."""
    return {trainer: max(by_cut.values()) for trainer, by_cut in found.items()}


def table(found: dict[str, dict[str, float]]) -> list[str]:
    """The table's lines."""
    rows = []
    for trainer, by_cut in found.items():
        alone = [figure for cut, figure in by_cut.items() if not cut.endswith(PROCESSES)]
        shared = [figure for cut, figure in by_cut.items() if cut.endswith(PROCESSES)]
        rows.append([trainer, f"{max(alone):.0e}", f"{max(shared):.0e}" if shared else "one process only"])
    head = ["trainer", "batch x accumulation", "two processes"]
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _write(lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text("\n".join([before + BEGIN, *lines, END + rest.partition(END)[2]]), encoding="utf-8")


if __name__ == "__main__":
    main()
