"""What calibration found, kept by the content it follows from: checkpoint, samples, options and this
package's code.

Nothing in here is needed: a file that is missing or damaged is made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from phantom_edge import __version__
from phantom_edge.errors import InputError
from phantom_edge.numbers.recipe import Precision
from phantom_edge.quantize import store
from phantom_edge.quantize.layerwise import Quantization
from phantom_edge.quantize.sensitivity import Option, Options

MAX_BYTES: Final = 256 << 20
"""Of one kept quantisation: larger ones are worth a file of their own, which ``quantize -o`` writes."""


class Cache:
    """A folder of results; ``folder`` None keeps nothing.

    >>> Cache(None).options("key") is None
    True
    """

    def __init__(self, folder: Path | None):
        self.folder = folder

    def options(self, key: str) -> Options | None:
        """The sensitivities kept under ``key``."""
        try:
            data = (
                json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8")) if self.folder else None
            )
            if data is None:
                return None
            return {
                name: [Option(Precision.parse(p), int(size), float(kl)) for p, size, kl in rows]
                for name, rows in data.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, InputError):
            return None

    def keep_options(self, key: str, options: Options) -> None:
        """Keep sensitivities under ``key``."""
        rows = {name: [[str(o.precision), o.bytes, o.kl] for o in found] for name, found in options.items()}
        if self._made():
            partial = self.folder / f"{key}.json.partial"
            partial.write_text(json.dumps(rows), encoding="utf-8")
            partial.replace(self.folder / f"{key}.json")

    def quantization(self, key: str) -> Quantization | None:
        """The whole result kept under ``key``."""
        try:
            return store.load(self.folder / f"{key}{store.SUFFIX}") if self.folder else None
        except InputError:
            return None

    def keep_quantization(self, key: str, found: Quantization) -> None:
        """Keep a whole result under ``key``, unless it is very large."""
        if sum(weight.nbytes for weight in found.integers.values()) <= MAX_BYTES and self._made():
            store.save(self.folder / f"{key}{store.SUFFIX}", found)

    def _made(self) -> bool:
        try:
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            return self.folder is not None
        except OSError:
            return False


def key_of(facts: dict[str, Any]) -> str:
    """SHA-256 of everything that a result follows from, this package's own code included.

    >>> key_of({"a": 1}) == key_of({"a": 1}) != key_of({"a": 2})
    True
    """
    digest = hashlib.sha256(json.dumps([__version__, facts], sort_keys=True, default=str).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
