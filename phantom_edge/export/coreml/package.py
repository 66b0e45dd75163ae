"""A MIL program as an .mlpackage on disk, complete or not there at all."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from phantom_edge import __version__
from phantom_edge.export.coreml.programs import BuiltProgram
from phantom_edge.export.coreml.toolkit import coremltools, quiet

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
        _convert(built, package, DESCRIPTIONS[graph])
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


def _convert(built: BuiltProgram, package: Path, description: str) -> None:
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
    spec.description.metadata.shortDescription = description
    spec.description.metadata.versionString = __version__
    spec.description.metadata.author = "phantom-edge"
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").write_bytes(spec.SerializeToString())
