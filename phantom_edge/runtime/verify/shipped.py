"""Every file that ships: each is run, made again and compared, or it does not belong there."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from phantom_edge import __version__
from phantom_edge.bundle.folder import TOKENIZER
from phantom_edge.bundle.golden import GOLDEN, golden_file
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.bundle.vocabulary import KEPT
from phantom_edge.export.base import vision_graph
from phantom_edge.quantize.store import SIDECAR
from phantom_edge.records import to_json
from phantom_edge.report.report import Check
from phantom_edge.runtime.verify.subject import Subject, differs, listed
from phantom_edge.system.outputs import SYSTEMS_OWN
from phantom_edge.system.reading import has_bytes
from phantom_edge.versions import installed

REPORT: Final = "report.html"
"""For people; no runtime reads it."""
DECLARED: Final = "declarations that differ"
UNREAD: Final = "files that no check reads"
BESIDE: Final = "files beside the graphs that differ"


def files(subject: Subject) -> list[Check]:
    """Every file is run, compared or computed again, and those beside the graphs are as an export writes."""
    artifact, folder = subject.artifact_format, subject.bundle.folder
    derived = artifact.derived_files(subject.model, subject.options, folder)
    known = {MANIFEST, TOKENIZER, GOLDEN, REPORT, *derived, *artifact.artifact_files(folder)}
    known |= {golden_file(size) for size in subject.further_tiles}
    if subject.bundle.manifest.quantization is not None:
        known.add(SIDECAR)
    if subject.bundle.manifest.vocabulary is not None:
        known.add(KEPT)
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    stray = sorted(name for name in present - known if Path(name).name not in SYSTEMS_OWN)
    unread = Check.at_most(UNREAD, len(stray), 0, "what is not checked does not ship", listed(stray))
    if not derived:
        return [unread]
    other = sorted(name for name, data in derived.items() if not has_bytes(folder / name, data))
    detail = f"of {len(derived)}" + (f"; {differs(other)}" if other else "")
    return [unread, _judged(subject, BESIDE, other, "made again from the checkpoint, byte for byte", detail)]


def declared(subject: Subject) -> Check:
    """Inputs, outputs, functions, operations and metadata of the graphs are those that an export writes."""
    artifact, folder = subject.artifact_format, subject.bundle.folder
    lines = artifact.differences(folder, subject.model, subject.options)
    m = subject.bundle.manifest
    graphs = to_json(m.graphs) | {vision_graph(other.size): other.vision_encoder for other in m.tiles.others}
    if graphs != dict(artifact.graph_files(folder)):
        lines.append("the manifest's graphs lie elsewhere")
    reason = "inputs, outputs, functions and metadata are what runtimes go by"
    return _judged(subject, DECLARED, lines, reason, listed(lines, "; "))


def _judged(subject: Subject, name: str, wrong: list[str], reason: str, detail: str) -> Check:
    """A count of what differs from what is written today: undecided where other versions wrote the bundle."""
    producer = subject.bundle.manifest.producer
    now = {"phantom_edge": __version__, **installed(*producer)}
    other = [
        f"{key} {version}" for key, version in sorted(producer.items()) if now.get(key, version) != version
    ]
    if wrong and other:
        words = f"undecided: made with {listed(other)}, which may write it otherwise; {detail}"
        return Check(name, len(wrong), 0, None, words, reason)
    return Check.at_most(name, len(wrong), 0, reason, detail)
