"""Results of calibration, kept under a hash of what they follow from: checkpoint, samples, options and code.

A file that is missing or damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import phantom_edge
from phantom_edge import __version__
from phantom_edge.errors import InputError, UnwritableError
from phantom_edge.numbers.recipe import Precision
from phantom_edge.quantize import store
from phantom_edge.quantize.result import Quantization
from phantom_edge.quantize.sensitivity import Option, Options
from phantom_edge.system.reading import read_json, reading
from phantom_edge.system.writing import replacing_file

LOG: Final = logging.getLogger(__name__)
MAX_BYTES: Final = 256 << 20
"""Of one kept quantisation: larger ones are worth a file of their own, which ``quantize -o`` writes."""
ROOMS: Final = ("numbers", "model", "quantize")
"""Folders of this package whose code results follow from."""


class Cache:
    """A folder of results; ``folder`` None keeps nothing.

    >>> Cache(None).options("key") is None
    True
    """

    def __init__(self, folder: Path | None):
        self.folder = folder

    def options(self, key: str) -> Options | None:
        """The sensitivities kept under ``key``."""
        if self.folder is None:
            return None
        path = self.folder / f"{key}.json"
        try:
            with reading(path):
                return {
                    name: [Option(Precision.parse(p), int(size), float(kl)) for p, size, kl in rows]
                    for name, rows in read_json(path).items()
                }
        except InputError:
            return None

    def keep_options(self, key: str, options: Options) -> None:
        """Keep sensitivities under ``key``."""
        rows = {name: [[str(o.precision), o.bytes, o.kl] for o in own] for name, own in options.items()}

        def write(path: Path) -> None:
            with replacing_file(path) as partial:
                partial.write_text(json.dumps(rows), encoding="utf-8")

        self._keep(f"{key}.json", write)

    def quantization(self, key: str) -> Quantization | None:
        """The whole result kept under ``key``."""
        try:
            return store.load(self.folder / f"{key}{store.SUFFIX}") if self.folder else None
        except InputError:
            return None

    def keep_quantization(self, key: str, quantization: Quantization) -> None:
        """Keep a whole result under ``key``, unless it is very large."""
        small = sum(weight.nbytes for weight in quantization.integers.values()) <= MAX_BYTES
        if small:
            self._keep(f"{key}{store.SUFFIX}", lambda path: store.write(path, quantization))

    def _keep(self, name: str, write: Callable[[Path], object]) -> None:
        """Write a file, if there is a folder; that it cannot be done costs time in the next run, no more."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write(self.folder / name)
        except (OSError, UnwritableError) as error:
            LOG.warning("not kept for the next run (%s)", error)


def key_of(facts: dict[str, Any], rooms: Iterable[str] = ROOMS) -> str:
    """SHA-256 of what a result follows from, and of the code in ``rooms`` of this package that computes it.

    >>> key_of({"a": 1}) == key_of({"a": 1}) != key_of({"a": 2})
    True
    """
    digest = hashlib.sha256(json.dumps([__version__, facts], sort_keys=True, default=str).encode())
    package = Path(phantom_edge.__path__[0])
    for path in sorted(path for room in rooms for path in (package / room).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
