"""Cost of small batches with the transformers engine on a CPU, and whether passes of fewer rows give the same bits.

    python bench/rows.py [--checkpoint DIR] [--threads N]     processor seconds for 1, 8, 20 and 128 prompts
    python bench/rows.py --sweep                              equality by rows, prompt lengths and threads; of products too

A tile has 128 rows. Where fewer give the same bits, passes have only the rows that they need (docs/engines.md). Both ways
sample the same prompts here, of different lengths; exit status 1 when a completion or a log-probability differs.
"""

from __future__ import annotations

import argparse
import random
import string
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tiny import SHAPE

from lineal.engines.arithmetic import pin_arithmetic

pin_arithmetic()

from lineal.engines.sampling.decoding import FEWEST, MOST_THREADS, TILE_ROWS, TileDecoder  # noqa: E402
from lineal.engines.sampling.sampler import Completion, Request, Sampler, SamplingSettings  # noqa: E402
from lineal.engines.training.train import initialise  # noqa: E402

PROMPTS = (1, 8, 20, 128)
SETTINGS = SamplingSettings(max_tokens=32)
LENGTHS, ROWS = (8, 16, 24, 40), (4, 8, 16, 32, 64)
MOST_ROWS = 1024
PRODUCTS = (
    *((64, 27), (64, 64), (100, 300), (128, 27), (128, 320), (128, 512), (320, 128), (512, 128), (256, 100)),
    *((576, 192), (576, 576), (576, 1536), (1536, 576), (576, 49152), (896, 4864), (4864, 896), (960, 2560)),
    *((1024, 1024), (2048, 256), (2048, 8192), (8192, 2048), (3072, 64), (11008, 512), (1536, 8960)),
)
"""Inputs and outputs of layers of small and of real models."""
THREADS = (1, 2, 3, 4, 8)
"""Of the sweep; fewer rows are used with few of them only."""


def main() -> None:
    """Measures, and prints a table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="default: a random model of two layers")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    parser.add_argument("--sweep", action="store_true", help="compare single passes instead")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        checkpoint = arguments.checkpoint or _random_model(Path(directory) / "model")
        if arguments.sweep:
            agree = [_sweep(checkpoint, threads) for threads in THREADS]
            agree += [_products_agree(threads) for threads in THREADS[:MOST_THREADS]]
        else:
            torch.set_num_threads(arguments.threads)
            agree = [_compared(checkpoint, count) for count in PROMPTS]
    sys.exit(not all(agree))


def _random_model(directory: Path) -> Path:
    initialise(SHAPE, 0, directory)
    return directory


def _compared(checkpoint: Path, count: int) -> bool:
    draw = random.Random(0)
    prompts = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 30))) for _ in range(count)]
    requests = [Request(prompt, seed) for seed, prompt in enumerate(prompts)]
    fewer, seconds = _sampled(checkpoint, requests)
    with _filled_up():
        whole, filled = _sampled(checkpoint, requests)
    words = "same bits" if fewer == whole else "OTHER BITS"
    print(
        f"{count:4} prompts: {seconds:7.2f} s, filled up {filled:7.2f} s ({filled / seconds:.1f} times), {words}"
    )
    return fewer == whole


def _sampled(checkpoint: Path, requests: list[Request]) -> tuple[list[Completion], float]:
    """Samples; also the processor seconds, without loading the model."""
    sampler = Sampler(checkpoint, device="cpu")
    began = time.process_time()
    return sampler.sample(requests, SETTINGS), time.process_time() - began


@contextmanager
def _filled_up() -> Iterator[None]:
    narrow: Any = TileDecoder.__dict__["narrow"]
    TileDecoder.narrow = False  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        TileDecoder.narrow = narrow  # type: ignore[method-assign]


def _sweep(checkpoint: Path, threads: int) -> bool:
    """Compares passes of fewer rows with those of a whole tile."""
    import torch

    torch.set_num_threads(threads)
    model = Sampler(checkpoint, device="cpu")._model
    decoder = TileDecoder(model, SimpleNamespace(temperature=1.0, top_p=1.0, top_k=0, max_tokens=4), (), 0)
    wrong = [(length, rows) for length in LENGTHS for rows in ROWS if not _agree(decoder, length, rows)]
    used = "used" if decoder.narrow else "not used"
    tried = len(LENGTHS) * len(ROWS)
    print(f"{threads} threads: {len(wrong)} of {tried} differ {wrong or ''}; fewer rows are {used}")
    return not wrong or not decoder.narrow


def _agree(decoder: TileDecoder, length: int, rows: int) -> bool:
    import torch

    prompts = [
        (tuple((7 * row + 3 * at) % 20 for at in range(length - row % 7)), ()) for row in range(TILE_ROWS)
    ]
    whole, some = decoder._read(prompts, length), decoder._read(prompts[:rows], length)
    read = torch.equal(whole.logits[:rows], some.logits)
    drawn = rows < FEWEST or torch.equal(_step(decoder, whole, length)[:rows], _step(decoder, some, length))
    return read and drawn


def _products_agree(threads: int) -> bool:
    """Compares matrix products of fewer rows with those of many, at the first and the last of them."""
    import torch

    torch.set_num_threads(threads)
    draw = torch.Generator().manual_seed(0)
    wrong = []
    for inner, outer in PRODUCTS:
        weights, rows = (torch.randn(size, inner, generator=draw) for size in (outer, MOST_ROWS))
        whole = torch.nn.functional.linear(rows, weights)
        for count in (4, 5, 6, 7, 8, 12, 13, 16, 20, 31, 32, 64, 100, 127, 128, 160, 256, 384, 512, 1000):
            for part in (slice(0, count), slice(MOST_ROWS - count, MOST_ROWS)):
                if not torch.equal(torch.nn.functional.linear(rows[part], weights), whole[part]):
                    wrong.append((inner, outer, count))
    print(f"{threads} threads: {len(PRODUCTS)} shapes of products; other bits: {wrong or 'none'}")
    return not wrong


def _step(decoder: TileDecoder, read: Any, length: int) -> Any:
    import torch

    ids = read.logits.argmax(-1, keepdim=True)
    with torch.inference_mode():
        return decoder._logits(ids, torch.full_like(ids, length), read.rows(range(len(ids))), 1)


if __name__ == "__main__":
    main()
