"""A small model that sees and pictures for it: what the benchmarks of sampling and of training show with --pictures."""

from __future__ import annotations

import random
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

from media import opened
from tiny import SHAPE

from lineal.components.sources.bitmaps import COLOURS, SHAPES, Mark, drawn
from lineal.data.media import PackWriter, Pictures
from lineal.engines.models.vision_model import VisionShape
from lineal.engines.training.train import ModelShape

GRID = 4
SEEING: ModelShape = replace(
    SHAPE,
    characters=string.ascii_lowercase + "=",
    vision=VisionShape(pixels=32, patch=8, merge=2, hidden_size=64, layers=2, heads=4, intermediate_size=128),
)
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Writes what lineal writes: the picture after the first token, then the texts, and the end."""


def packed(folder: Path, count: int) -> tuple[Pictures, list[str]]:
    """Draws pictures of three shapes and packs them; returns the packs and the digest of each."""
    draw, digests = random.Random(0), []
    with PackWriter(folder) as packs:
        for _ in range(count):
            cells = draw.sample(range(GRID**2), 3)
            marks = [
                Mark(*divmod(cell, GRID), SHAPES[draw.choice(list(SHAPES))], draw.choice(list(COLOURS)))
                for cell in cells
            ]
            picture = drawn(GRID, 1, marks)
            packs.add([picture])
            digests.append(picture.sha256)
        packs.close()
    return Pictures([opened(folder)]), digests


def plain(checkpoint: Path) -> tuple[Any, Any]:
    """Loads the model and its processor as one would by hand."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = AutoModelForImageTextToText.from_pretrained(
        str(checkpoint), dtype=torch.float32, local_files_only=True
    ).eval()
    processor = AutoProcessor.from_pretrained(str(checkpoint), local_files_only=True)
    processor.tokenizer.padding_side, processor.chat_template = "left", TEMPLATE
    return model, processor
