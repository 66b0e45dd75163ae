"""Under which licence a bundle's source stands: as its card says, or as the user says; never made up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.bundle.manifest import Manifest
from phantom_edge.checkpoint import hub, hub_job
from phantom_edge.checkpoint.origin import EMBEDDED, FOLDER, HUB, Origin
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, shown
from phantom_edge.progress import Step, no_step
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import is_file, read_bytes

CARD: Final = "README.md"
MOST_CARD: Final = 1 << 20
FIELDS: Final = ("license", "license_name", "license_link")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}")
_NAME: Final = re.compile(r"[\w][\w. +()-]{0,80}", re.ASCII)
_LINK: Final = re.compile(r"https://[\w./~%-]{1,200}", re.ASCII)
_LINE: Final = re.compile(r"^(license(?:_name|_link)?): *[\"']?([^\"'\n]*?)[\"']? *$", re.MULTILINE)


@dataclass(frozen=True)
class Licence:
    """A licence by its name on the hub, such as ``apache-2.0``, and how it is known, in words.

    ``name`` and ``link`` belong to one that the hub has no name for (``other``).
    """

    id: str
    known: str
    name: str = ""
    link: str = ""

    @classmethod
    def given(cls, text: str) -> Licence:
        """Raises :class:`InputError` for what can be no name of a licence.

        >>> Licence.given("apache-2.0").known
        'as whoever published this says'
        """
        if not _ID.fullmatch(text):
            raise InputError(
                f"--license {shown(text)}: give its short name, in lower case, such as apache-2.0 or other"
            )
        return cls(text, "as whoever published this says")

    @classmethod
    def of_card(cls, fields: Mapping[str, str], known: str) -> Licence | None:
        """What the fields of a card say; None where that is nothing, or nothing that a card may repeat."""
        identifier, name, link = (fields.get(field, "").strip() for field in FIELDS)
        if not _ID.fullmatch(identifier):
            return None
        name = name if _NAME.fullmatch(name) else ""
        return cls(identifier, known, name, link if _LINK.fullmatch(link) else "")


def licence_of(manifest: Manifest, step: Step = no_step) -> Licence | None:
    """The licence of the checkpoint that a bundle was made from, where its own card names one.

    The card is asked of the hub, or read in the checkpoint's folder if that is still the same.
    """
    origin = manifest.source.origin or Pretrained.origin_of(manifest.source.name)
    if origin.kind == EMBEDDED:
        return Licence("apache-2.0", "that of phantom-edge, whose embedded model it is")
    if origin.kind == HUB and hub.HUB_ID.fullmatch(origin.name):
        return _on_hub(origin, step)
    return _in_folder(Path(origin.name), manifest) if origin.kind == FOLDER else None


def _on_hub(origin: Origin, step: Step) -> Licence | None:
    step(f"asking the hub for the licence of {origin.name}")
    job = {"name": origin.name, "revision": origin.commit or origin.revision, "fields": FIELDS}
    fields = hub_job.work("licence", job).get("licence", {})
    return Licence.of_card(fields, f"as the card of {origin.name} says")


def _in_folder(folder: Path, manifest: Manifest) -> Licence | None:
    config = folder / "config.json"
    if not is_file(folder / CARD) or not is_file(config):
        return None
    if file_sha256(config) != manifest.source.sha256.get("config.json"):
        return None
    return Licence.of_card(front_matter(folder / CARD), "as the card in the source's folder says")


def front_matter(path: Path) -> dict[str, str]:
    """The licence's fields between the rules at the beginning of a card. Raises :class:`InputError`."""
    text = read_bytes(path, MOST_CARD).decode("utf-8", errors="replace")
    parts = re.split(r"^---\s*$", text, maxsplit=2, flags=re.MULTILINE)
    return dict(_LINE.findall(parts[1])) if len(parts) == 3 and not parts[0].strip() else {}
