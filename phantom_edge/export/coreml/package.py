"""A MIL program as an .mlpackage on disk, complete or not there at all."""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from phantom_edge import __version__
from phantom_edge.export.coreml.programs import BuiltProgram
from phantom_edge.export.coreml.toolkit import coremltools, quiet
from phantom_edge.system.partials import temporary_folder

MANIFEST: Final = "Manifest.json"
MODEL: Final = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS: Final = "Data/com.apple.CoreML/weights/weight.bin"
FILES: Final = (MANIFEST, MODEL, WEIGHTS)
"""All files of a package."""
CONVERSION_DAY: Final = "com.github.apple.coremltools.conversion_date"
"""What coremltools writes of itself into every model's metadata."""
DESCRIPTIONS = {
    "vision_encoder": "Phantom vision encoder: one RGB tile in 0..1 to image tokens",
    "token_embedding": "Phantom token embedding: ids to embeddings",
    "text_decoder": "Phantom text decoder: embeddings and their positions to the logits of the last one; "
    "keys and values are the model's state. Positions run on from call to call and stay below the cache's "
    "length.",
}


def write_package(built: BuiltProgram, graph: str, out: Path) -> Path:
    """Convert for iOS 18 and write ``out/{graph}.mlpackage``, replacing an earlier one; returns its path."""
    final = out / f"{graph}.mlpackage"
    with tempfile.TemporaryDirectory(prefix=f".{graph}-", dir=out) as scratch:
        package = Path(scratch) / final.name
        spec = _convert(built, package, DESCRIPTIONS[graph])
        (package / MODEL).write_bytes(spec.SerializeToString(deterministic=True))
        if final.exists():
            os.rename(final, Path(scratch) / "earlier")
        os.rename(package, final)
    return final


@contextmanager
def _frozen() -> Iterator[None]:
    """Spare what exists from garbage collection, of which a conversion ends with a slow full one."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def described(built: BuiltProgram, graph: str, weights: Any) -> tuple[Any, dict[str, Any]]:
    """The model description and the manifest of a package that is not kept.

    ``weights`` takes the place of coremltools' writer of the weight file: its ``write_*`` methods are given
    each array and return where its record begins.
    """
    from coremltools.converters.mil.backend.mil import load

    writer = load.BlobWriter
    with temporary_folder() as scratch:
        package = scratch / f"{graph}.mlpackage"
        load.BlobWriter = lambda path: weights
        try:
            spec = _convert(built, package, DESCRIPTIONS[graph])
        finally:
            load.BlobWriter = writer
        return spec, json.loads((package / MANIFEST).read_bytes())


def _convert(built: BuiltProgram, package: Path, description: str) -> Any:
    """Write ``package`` but for what is said here of the model; returns the whole model."""
    ct = coremltools()
    with quiet(), _frozen():
        model = ct.convert(
            built.program,
            inputs=built.inputs or None,
            minimum_deployment_target=ct.target.iOS18,
            # The program is typed as it should be; no pass may fold, merge, retype or duplicate a constant.
            compute_precision=ct.precision.FLOAT32,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
            package_dir=str(package),
        )
        spec = model.get_spec()
    # The same export is the same package on every day: a device compiles it once.
    spec.description.metadata.userDefined.pop(CONVERSION_DAY, None)
    spec.description.metadata.shortDescription = description
    spec.description.metadata.versionString = __version__
    spec.description.metadata.author = "phantom-edge"
    return spec
