"""Files that are sent compressed: what shrinks is packed once, in a thread, and kept."""

from __future__ import annotations

import gzip
import os
from functools import lru_cache
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PACKED: Final = frozenset({".wasm", ".js", ".mjs", ".css", ".html", ".json", ".svg", ".txt", ".webmanifest"})
"""Kinds of files that shrink to a third; weights and pictures do not."""
LEAST: Final = 1 << 10
MOST: Final = 64 << 20
"""Fewest and most bytes of a file that is packed."""
LEVEL: Final = 2  # a fifth of the time of the usual level, for an eighth more bytes
KEPT: Final = 64  # files


def packs(path: Path, stat: os.stat_result) -> bool:
    """Whether a file is one that is sent compressed to who takes it."""
    return path.suffix in PACKED and LEAST <= stat.st_size <= MOST


def takes_gzip(request: Headers) -> bool:
    """Whether a request takes gzip for the whole of a file; a part of one is sent as it is."""
    offers = [offer.replace(" ", "") for offer in request.get("accept-encoding", "").lower().split(",")]
    names = [
        offer.partition(";")[0] for offer in offers if not offer.endswith((";q=0", ";q=0.0", ";q=0.000"))
    ]
    return "gzip" in names and "range" not in request


class PackedFile(Response):
    """A file as gzip, with the headers of the response that would send it as it is."""

    def __init__(self, path: Path, stat: os.stat_result, plain: Response):
        super().__init__(status_code=plain.status_code)
        self.path, self.stat = path, stat
        self.raw_headers = [
            (name, value)
            for name, value in plain.raw_headers
            if name not in (b"content-length", b"accept-ranges")
        ]
        self.headers["Content-Encoding"] = "gzip"
        self.headers["ETag"] = f"W/{plain.headers['ETag']}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await run_in_threadpool(_packed, self.path, self.stat.st_mtime_ns, self.stat.st_size)
        self.headers["Content-Length"] = str(len(body))
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


@lru_cache(maxsize=KEPT)
def _packed(path: Path, changed: int, size: int) -> bytes:
    """The file's bytes as gzip; when it was changed and its size tell it from an earlier one."""
    return gzip.compress(path.read_bytes(), LEVEL, mtime=0)
