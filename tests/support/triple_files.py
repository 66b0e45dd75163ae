"""Small files of triples that the tests of tuning share, with pictures of one and of several tiles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.training.triples import Triples, read_triples
from phantom_edge.tune.batches import Collator
from phantom_edge.tune.pictures import survey

# At 56 px per tile: one tile, two and a thumbnail, and a row of six and a thumbnail.
SIZES = {"square.png": (56, 56), "wide.png": (130, 60), "deep/long.png": (400, 60)}
LINES = (
    {
        "image": "square.png",
        "question": "What colour is it?",
        "answer": "red",
        "wrong": "a small white circle",
    },
    {
        "image": "wide.png",
        "question": "How many?",
        "answer": "There are three green triangles.",
        "wrong": "2",
    },
    {"image": "square.png", "question": "Is there a sign?", "answer": "No, there is not.", "wrong": "Yes"},
    {"question": "Which shape is closest?", "answer": "The orange cylinder", "wrong": "(B) a cone"},
    {
        "image": "deep/long.png",
        "question": "Read the sign.",
        "answer": "STOP",
        "wrong": "0123456789",
        "task": "sign",
    },
    {
        "image": "square.png",
        "question": "Describe the image in detail.",
        "answer": "A purple star lies behind it.",
    },
    {"question": "What?", "answer": "Nothing."},
)


def write_triples(folder: Path, lines=LINES) -> tuple[Path, Path]:
    """Write lines and pictures; the file of triples and the folder of the pictures."""
    path, pictures = folder / "triples.jsonl", folder / "pictures"
    rng = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        (pictures / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(pictures / name)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path, pictures


def read(folder: Path, lines=LINES) -> Triples:
    return read_triples(*write_triples(folder, lines))


def collator(source: Pretrained, triples: Triples, max_tiles: int = 6) -> Collator:
    return Collator(source, triples, survey(triples, {}), max_tiles)
