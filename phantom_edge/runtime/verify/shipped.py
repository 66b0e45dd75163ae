"""Every file that ships: each is run, made again and compared, or it does not belong there."""

from __future__ import annotations

from typing import Final

from phantom_edge.bundle.folder import TOKENIZER
from phantom_edge.bundle.golden import GOLDEN
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.quantize.store import SIDECAR
from phantom_edge.records import to_json
from phantom_edge.report.report import Check
from phantom_edge.runtime.verify.subject import Subject

REPORT: Final = "report.html"
"""For people; no runtime reads it."""
DECLARED: Final = "declarations that differ"
SHOWN: Final = 3


def files(subject: Subject) -> list[Check]:
    """No file without a check; those beside the graphs as the exporter makes them; what graphs declare."""
    artifact, folder = subject.artifact_format, subject.bundle.folder
    derived = artifact.derived_files(subject.model, subject.options, folder)
    graphs = artifact.artifact_files(folder)
    known = {MANIFEST, TOKENIZER, GOLDEN, REPORT, *derived, *graphs}
    if subject.bundle.manifest.quantization is not None:
        known.add(SIDECAR)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    other = sorted(name for name, data in derived.items() if not _holds(subject, name, data))
    declared = artifact.differences(folder, subject.model, subject.options)
    if to_json(subject.bundle.manifest.graphs) != dict(artifact.graph_files(folder)):
        declared.append("the manifest's graphs lie elsewhere")
    counted = [
        Check.at_most(
            "files that no check reads",
            len(present - known),
            0,
            "what is not checked does not ship",
            ", ".join(sorted(present - known)[:SHOWN]),
        ),
        Check.at_most(
            DECLARED,
            len(declared),
            0,
            "inputs, outputs, functions and metadata are what runtimes go by",
            "; ".join(declared[:SHOWN]),
        ),
    ]
    if derived:
        title, reason = "files beside the graphs that differ", "made again from the checkpoint, byte for byte"
        detail = f"of {len(derived)}" + (f"; differs: {', '.join(other[:SHOWN])}" if other else "")
        counted.append(Check.at_most(title, len(other), 0, reason, detail))
    return counted


def _holds(subject: Subject, name: str, data: bytes) -> bool:
    path = subject.bundle.folder / name
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data
