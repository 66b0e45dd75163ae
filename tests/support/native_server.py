"""A real backend for a native library's session under test: its three graphs, served over two named pipes.

A request is a letter, two little-endian int32 (a position and a count) and ``count`` values of 4 bytes; an
answer is a count and as many float32, or -1, a length and a message. ``v``: pixels of a tile to image tokens.
``e``: int32 ids to embeddings. ``c``: a new cache. ``d``: embeddings at a position to logits. ``q``: the end.
"""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from phantom_edge.runtime.session import Session


class LiveServer:
    """Serves ``session``'s backend below ``folder`` while the block runs; ``calls`` are the requests it
    had.
    """

    def __init__(self, session: Session, folder: Path):
        self.backend, self.folder = session.backend, folder
        self.calls: list[tuple[str, int, int]] = []
        self._cache: Any = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> LiveServer:
        for name in ("requests", "answers"):
            os.mkfifo(self.folder / name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            # A client that never came or ended without a word: open both ends so that the thread can leave.
            with open(self.folder / "requests", "r+b", buffering=0) as requests:
                requests.write(struct.pack("<cii", b"q", 0, 0))
                with open(self.folder / "answers", "r+b", buffering=0):
                    self._thread.join(timeout=10)

    def _serve(self) -> None:
        with open(self.folder / "requests", "rb") as requests, open(self.folder / "answers", "wb") as answers:
            while len(head := requests.read(9)) == 9:
                kind, position, count = struct.unpack("<cii", head)
                if kind == b"q":
                    return
                self._answer(kind.decode(), position, requests.read(4 * count), answers)

    def _answer(self, kind: str, position: int, payload: bytes, answers: BinaryIO) -> None:
        try:
            values = np.ascontiguousarray(self._compute(kind, position, payload), dtype="<f4")
            reply = struct.pack("<i", values.size) + values.tobytes()
        except Exception as error:  # whatever it is, the client has to hear of it
            message = repr(error).encode()
            reply = struct.pack("<ii", -1, len(message)) + message
        answers.write(reply)
        answers.flush()

    def _compute(self, kind: str, position: int, payload: bytes) -> np.ndarray:
        self.calls.append((kind, position, len(payload) // 4))
        if kind == "v":
            pixels = np.frombuffer(payload, "<f4")
            side = round((pixels.size / 3) ** 0.5)
            return self.backend.encode_image(pixels.reshape(1, 3, side, side))
        if kind == "e":
            return self.backend.embed(np.frombuffer(payload, "<i4").astype(np.int64)[None])
        if kind == "c":
            self._cache = self.backend.make_cache()
            return np.zeros(0)
        self._cache.length = position
        hidden = self.backend.embed(np.zeros((1, 1), dtype=np.int64)).shape[-1]
        return self.backend.decode(np.frombuffer(payload, "<f4").reshape(1, -1, hidden), self._cache)
