"""What a name leads to: a folder here, an id of the hub, or the embedded model; a bundle, or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.bundle.folder import Bundle, is_bundle
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step

if TYPE_CHECKING:
    from phantom_edge.checkpoint.pretrained import Pretrained


def locate(
    model: str | Path | None = None, *, revision: str | None = None, step: Step = no_step, check: bool = True
) -> Bundle | Pretrained:
    """Open what ``model`` names: a folder or a Hugging Face id, of a bundle or a checkpoint; None for Nano.

    Of a bundle on the hub exactly the files of its manifest are fetched, once, and checked on arrival.
    ``check=False`` skips the SHA-256 of files that are here. Raises :class:`InputError`.

    >>> type(locate("nano-desktop")).__name__, type(locate()).__name__
    ('Bundle', 'Pretrained')
    """
    if model is not None and is_bundle(model):
        if revision is not None:
            raise InputError("--revision goes with a Hugging Face id; give one with --model")
        return Bundle.open(model, check=check)
    from phantom_edge.checkpoint.pretrained import Pretrained

    if model is None or not _is_hub_id(model):
        return Pretrained.open(model, revision=revision, step=step)
    from phantom_edge.bundle.arrival import opened, remote_bundle

    remote = remote_bundle(str(model), revision, step=step, folders=True)
    if remote is not None:
        return opened(remote, check=check, step=step)
    # Its files have just come, or the hub has just been asked in vain: once is enough.
    return Pretrained.open(model, revision=revision, local=True)


def locate_bundle(
    model: str | Path, *, revision: str | None = None, step: Step = no_step, check: bool = True
) -> Bundle:
    """As :func:`locate`, for who needs a bundle. Raises :class:`InputError` for a checkpoint, too.

    >>> locate_bundle("nano-desktop").manifest.target
    'desktop'
    """
    if not _is_hub_id(model):
        return Bundle.open(model, check=check)
    from phantom_edge.bundle.arrival import opened, remote_bundle

    remote = remote_bundle(str(model), revision, step=step, folders=True)
    if remote is None:
        raise InputError(f"{model}: is a checkpoint, no bundle; make one with `phantom-edge export --model`")
    return opened(remote, check=check, step=step)


def bundle_folder(model: str | Path | None, *, step: Step = no_step) -> str | None:
    """The folder of a bundle that an id of the hub names; any other name as it is.

    >>> bundle_folder("nano-desktop"), bundle_folder(None)
    ('nano-desktop', None)
    """
    if model is None or not _is_hub_id(model):
        return None if model is None else str(model)
    located = locate(model, step=step, check=False)
    return str(located.folder if isinstance(located, Bundle) else model)


def _is_hub_id(model: str | Path) -> bool:
    if is_bundle(model):
        return False
    from phantom_edge.checkpoint.hub import is_hub_id

    return is_hub_id(model)
