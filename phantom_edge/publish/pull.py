"""Taking a bundle over: from a hub into a folder, for which only what differs is fetched."""

from __future__ import annotations

from pathlib import Path

from phantom_edge.bundle.arrival import Pulled, pulled, remote_bundle
from phantom_edge.checkpoint import hub
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.outputs import check_bundle_folder


def pull(
    name: str, output: str | Path | None = None, *, revision: str | None = None, step: Step = no_step
) -> Pulled:
    """Fetch the bundle ``name`` (owner/name) of the hub into a folder; default: its name.

    Exactly the files of its manifest come, each checked by its SHA-256. A folder with an earlier version is
    exchanged in one step, and what that has already is not fetched again; a pull that ended early goes on
    where it was. Raises :class:`InputError`, and leaves the folder as it was.

    >>> pe.pull("nano")
    Traceback (most recent call last):
    phantom_edge.errors.InputError: nano: not a Hugging Face id of the form owner/name
    """
    hub.check_id(name)
    folder = Path(name.rpartition("/")[2] if output is None else output)
    check_bundle_folder(folder)
    remote = remote_bundle(name, revision, step=step)
    if remote is None:
        way = "run it by its id, or make one with `phantom-edge export --model`"
        raise InputError(f"{name}: is a checkpoint, no bundle; {way}")
    return pulled(remote, folder, step=step)
