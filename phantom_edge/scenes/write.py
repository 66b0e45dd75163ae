"""Scenes as files: PNG pictures, and a line of JSON per question, as `phantom-edge tune` reads them."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from phantom_edge.errors import InputError
from phantom_edge.scenes.scene import make_scene
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

TRIPLES = "triples.jsonl"
MOST = 1_000_000  # scenes in one folder


def write_scenes(
    folder: str | Path,
    split: str = "train",
    count: int = 100,
    seed: int = 0,
    size: int = 224,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write scenes 0 to `count` - 1 of a split: `000000.png`… [size, size] RGB, and `triples.jsonl`.

    A line of the latter is {"image", "task", "question", "answer", "wrong"}. The folder appears when it is
    complete; it may not exist before or be empty. `progress(done, count)` is called after each scene. Raises:
    InputError for a folder that is in use, or a split, count or size that is not to be had.
    """
    folder = Path(os.path.abspath(folder))
    if not 1 <= count <= MOST:
        raise InputError(f"{count} scenes cannot be written: give a count of 1 to {MOST}")
    check_new_folder(folder)
    make_scene(split, 0, seed).render(size)  # refuses what is wrong before any work
    with (
        replacing_folder(folder, check_new_folder) as partial,
        open(partial / TRIPLES, "w", encoding="utf-8") as lines,
    ):
        for index in range(count):
            scene = make_scene(split, index, seed)
            name = f"{index:06d}.png"
            scene.render(size).save(partial / name)
            for triple in scene.triples():
                lines.write(json.dumps({"image": name, **asdict(triple)}, ensure_ascii=False) + "\n")
            if progress is not None:
                progress(index + 1, count)
    return folder
