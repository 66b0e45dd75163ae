"""The one place that imports Apple's packages, which are an extra."""

from __future__ import annotations

import logging
import warnings
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from phantom_edge.errors import InputError
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import is_file, opened, read_bytes, reading

HASH_BYTES = 32
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

    The program is parsed first, because Apple's reader ends the process over a damaged one. Raises
    as :func:`coreai_torch`, and for an asset that is missing or damaged.
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
        sha256 = file_sha256(program)
        if bytes.fromhex(sha256) != read_bytes(digest, HASH_BYTES):
            raise InputError(
                f"{path}: its program is not the exported one (SHA-256 differs); export it again"
            )
        _parse(program, sha256)
        return AIModelAsset.load(path)


@cache
def _parse(program: Path, sha256: str) -> None:
    """Raise :class:`InputError` for a program that cannot be parsed; once for each content."""
    from coreai.authoring import Context

    compiler: Any = import_module("coreai._compiler.ir")
    with opened(program) as file:
        text = file.read()
    with reading(program, "export it again", "not a Core AI program"), Context()._mlir_context as context:
        compiler.Module.parse(text, context)
