"""Generated scenes as an uncompressed video, which Chromium plays as its camera."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from phantom_edge.scenes import Scene, make_scene

FRAMES_PER_SECOND = 4
SMALL, LAPTOP, PHONE = (640, 480), (1280, 720), (480, 720)  # what Chromium does not cut for the app


def write_video(
    path: Path, scenes: Iterable[Scene], size: tuple[int, int] = SMALL, *, seconds: int = 1
) -> Path:
    """YUV4MPEG2, 4:2:0 full range: each scene fills the middle square."""
    width, height = size
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{FRAMES_PER_SECOND}:1 Ip A1:1 C420jpeg\n".encode())
        for scene in scenes:
            frame = b"FRAME\n" + _planes(extended(scene.render(min(size)), size))
            file.write(frame * FRAMES_PER_SECOND * seconds)
    return path


def some_scenes(count: int) -> list[Scene]:
    """The first test scenes of all kinds."""
    return [make_scene("test", index) for index in range(count)]


def extended(scene: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The scene in the middle of a larger picture, whose sides continue its edges without their noise."""
    across, down = ((full - side) // 2 for full, side in zip(size, scene.size, strict=True))
    wider = np.pad(np.asarray(scene), ((down, down), (across, across), (0, 0)), mode="edge")  # [H, W, 3]
    picture = Image.fromarray(wider).filter(ImageFilter.GaussianBlur(min(size) / 20))
    picture.paste(scene, (across, down))
    return picture


def _planes(image: Image.Image) -> bytes:
    y, cb, cr = image.convert("YCbCr").split()
    half = (image.width // 2, image.height // 2)
    return b"".join(plane.tobytes() for plane in (y, cb.resize(half), cr.resize(half)))
