"""What a server is to serve: each model's name and place, checked before the server begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.bundle.arrival import opened, remote_bundle
from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.checkpoint.config import knowledge
from phantom_edge.checkpoint.hub import is_hub_id, resolve
from phantom_edge.checkpoint.pretrained import NANO, NANO_NAME, nano_folder
from phantom_edge.errors import InputError, one_line, shown
from phantom_edge.progress import Step, no_step
from phantom_edge.system.reading import is_file, is_folder, read_json

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")


@dataclass(frozen=True)
class Model:
    """A model to serve: a folder, None for Phantom-Nano, and the ``bytes`` of its files.

    ``knows`` is what it says of itself.
    """

    place: str | None
    bytes: int
    knows: str | None = None


def models(places: Sequence[str], step: Step = no_step) -> dict[str, Model]:
    """The models of ``NAME=PLACE`` or ``PLACE``, by name; what is on the Hub is fetched. Default: Nano.

    Raises :class:`InputError`: a name that two have, or a place that is no model's.

    >>> from phantom_edge.serve.models import models
    >>> list(models(["nano-desktop", "small=phantom-nano"]))
    ['nano-desktop', 'small']
    """
    return {name: _checked(place, step) for name, place in named(places).items()}


def named(places: Sequence[str]) -> dict[str, str]:
    """Places by their models' names, which are their last parts where none is given.

    >>> from phantom_edge.serve.models import named
    >>> named(["BK-Lee/Phantom-0.5B", "small=bundles/nano-desktop"])
    {'Phantom-0.5B': 'BK-Lee/Phantom-0.5B', 'small': 'bundles/nano-desktop'}
    """
    result: dict[str, str] = {}
    for given in places or [NANO_NAME]:
        name, place = _split(given)
        if not _NAME.fullmatch(name):
            raise InputError(f"{shown(name)} is no name for a model; give one with --model NAME={place}")
        if name in result:
            raise InputError(f"two models are called {name}; name one of them with --model NAME=PLACE")
        result[name] = place
    return result


def _split(given: str) -> tuple[str, str]:
    name, equals, place = given.partition("=")
    if equals and not is_folder(Path(given)):  # a folder's name may have such a sign
        return name, place
    folder = Path(given).expanduser()
    return folder.resolve().name if is_folder(folder) else given.split("/")[-1], given


def _checked(place: str, step: Step) -> Model:
    """A model whose files are here and look like one: it is checked in full when it is loaded."""
    if place == NANO_NAME:
        return Model(None, _size(NANO), _knowledge(nano_folder()))
    folder = _fetched(place, step) if is_hub_id(place) else resolve(place)
    if is_bundle(folder):
        bundle = Bundle.open(folder, check=False)
        return Model(str(folder), bundle.bytes, bundle.manifest.knows)
    if not is_file(folder / "config.json"):
        what = "neither a bundle nor a checkpoint; make a bundle with `phantom-edge export`"
        raise InputError(f"{one_line(place, 120)}: {what}")
    return Model(str(folder), _size(folder), _knowledge(folder))


def _fetched(name: str, step: Step) -> Path:
    """The folder of what the Hub has under a name."""
    remote = remote_bundle(name, step=step)
    return resolve(name, local=True) if remote is None else opened(remote, step=step).folder


def _knowledge(folder: Path) -> str | None:
    """What a checkpoint says of itself."""
    return knowledge(read_json(folder / "config.json"))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
