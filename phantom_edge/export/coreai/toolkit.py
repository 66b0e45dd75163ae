"""The one place that imports Apple's packages, which are an extra."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.files import file_sha256
from phantom_edge.reading import is_file, read_bytes, reading

HASH_BYTES = 32
LOAD = "import sys; from coreai.authoring import AIModelAsset; AIModelAsset.load(sys.argv[1]).program"
TIMEOUT = 600  # seconds, for a program of gigabytes on a busy machine
EXTRA = 'pip install "phantom-edge[coreai]"'


def coreai_torch() -> ModuleType:
    """The converter, with its operators registered. Raises :class:`InputError` where it does not run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the torch versions that it was validated with
            import coreai_torch
            import coreai_torch._compression.custom_layers
    except ImportError as error:
        raise InputError(f"format coreai needs Apple's coreai-torch ({error}); {EXTRA}") from None
    logging.getLogger("coreai_torch").setLevel(logging.ERROR)
    return coreai_torch


def open_asset(path: Path) -> Any:
    """The ``coreai.authoring.AIModelAsset`` of a folder, its program compared with the hash beside it.

    The hash comes first, and then a process that may end: Apple's reader ends its own over a damaged program.
    Raises as :func:`coreai_torch`, and for an asset that is missing or damaged.
    """
    try:
        from coreai.authoring import AIModelAsset
    except ImportError as error:
        raise InputError(f"format coreai needs Apple's coreai-core ({error}); {EXTRA}") from None
    program, digest = Path(path) / "main.mlirb", Path(path) / "main.hash"
    if not is_file(program) or not is_file(digest):
        raise InputError(
            f"{path}: not a Core AI asset (no {program.name} and {digest.name}); export it again"
        )
    with reading(path, "export it again", "not a Core AI asset"):
        sound = bytes.fromhex(digest_of := file_sha256(program)) == read_bytes(digest, HASH_BYTES)
        if not sound:
            raise InputError(
                f"{path}: its program is not the exported one (SHA-256 differs); export it again"
            )
        _try_loading(Path(path).absolute(), digest_of)
        return AIModelAsset.load(path)


@cache
def _try_loading(path: Path, sha256: str) -> None:
    """Load an asset in a process of its own, which may end over it. Raises ValueError where it does.

    Once for a program's ``sha256``: what it ends over is the program, and the hash may have been made to fit.
    """
    words = [sys.executable, "-c", LOAD, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        raise ValueError(lines[0].partition("error: ")[2] if lines else "Apple's reader ends over it")
