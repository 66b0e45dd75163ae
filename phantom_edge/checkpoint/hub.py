"""The folder behind a path or a Hugging Face id: every wait has a bound, and every refusal its reason."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from phantom_edge.checkpoint import hub_job
from phantom_edge.checkpoint.refusals import refuse_file
from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step, no_step
from phantom_edge.system.outputs import MANIFEST, is_own_bundle
from phantom_edge.system.reading import is_file, is_folder

HUB_FILES: Final = ("*.safetensors", "*.json", "tokenizer.model")
HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_NOWHERE: Final = ("no such model", "the hub at", "not in the local cache")
_LOG: Final = logging.getLogger(__name__)


def is_hub_id(model: str | Path) -> bool:
    """Whether a model's name is that of one on the hub, and nothing of that name is here.

    >>> is_hub_id("BK-Lee/Phantom-0.5B"), is_hub_id("phantom-nano")
    (True, False)
    """
    here = Path(model).expanduser()
    return HUB_ID.fullmatch(str(model)) is not None and not is_folder(here) and not is_file(here)


def resolve(
    source: str | Path, *, revision: str | None = None, local: bool = False, step: Step = no_step
) -> Path:
    """The local folder behind a path or a Hugging Face id, which is downloaded if it is not in the cache.

    Of a bundle its manifest alone is downloaded. ``local`` asks nothing of the network. Where the hub does
    not answer, what the cache has is used, and a line on stderr says so.

    Raises :class:`InputError`: no such folder or id, no access, or no answer and nothing in the cache.
    """
    folder = Path(source).expanduser()
    if is_folder(folder):
        if revision is not None:
            raise InputError(
                f"{folder}: is a folder, and --revision goes with a Hugging Face id; leave it out"
            )
        return folder
    if is_file(folder):
        refuse_file(folder)
    if not HUB_ID.fullmatch(str(source)):
        name = one_line(str(source), 120)
        raise InputError(f"{name}: no such folder, and not a Hugging Face id of the form owner/name")
    return from_hub(str(source), revision, local=local, step=step, folders=True)


def fetch(name: str, commit: str, files: Sequence[tuple[str, str, int]], folder: Path, step: Step) -> None:
    """Bring files of one commit into ``folder``, where each is named by its digest.

    A file is a path, a SHA-256 and a size. What an interrupted call left goes on; the content is for the
    caller to check. Raises :class:`InputError`.
    """
    job = {"name": name, "commit": commit, "files": files, "folder": str(folder)}
    answer = hub_job.work("files", job, folder, _downloads(name, step))
    if "folder" not in answer:
        raise InputError(f"{name}: {answer['reason']}")


def check_id(name: str) -> None:
    """Raise :class:`InputError` for what can be no id of the hub."""
    if not HUB_ID.fullmatch(name):
        raise InputError(f"{one_line(name, 120)}: not a Hugging Face id of the form owner/name")


def from_hub(
    name: str,
    revision: str | None = None,
    *,
    local: bool = False,
    step: Step = no_step,
    folders: bool = False,
) -> Path:
    """As :func:`resolve`, for a name that is an id, whatever lies here; with ``folders`` it could be one."""
    hub_job.require_library()
    if local or (revision is not None and COMMIT.fullmatch(revision)):  # what a commit names never changes
        cached = _cached(name, revision)
        if cached is not None:
            return cached
        if local:
            at = "" if revision is None else f" at revision {revision[:60]}"
            raise InputError(
                f"{name}{at}: neither a folder nor in the local cache of the hub; "
                "give it with --model to have it downloaded"
            )
    answer = _download(name, revision, step)
    if "folder" in answer:
        return Path(answer["folder"])
    cached = None if answer["final"] else _cached(name, revision)
    if cached is None:
        nowhere = "no such folder, and " if folders and answer["reason"].startswith(_NOWHERE) else ""
        raise InputError(f"{name}: {nowhere}{answer['reason']}")
    if not answer["quiet"]:
        _LOG.warning("%s: %s; using the copy in the local cache", name, answer["reason"])
    return cached


def _cached(name: str, revision: str | None) -> Path | None:
    """What the hub's cache has: a bundle's manifest, or a whole checkpoint."""
    bundle = _cached_files(name, revision, (MANIFEST,))
    if bundle is not None and is_own_bundle(bundle):
        return bundle
    return _cached_files(name, revision, HUB_FILES)


def _cached_files(name: str, revision: str | None, patterns: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            name, revision=revision, allow_patterns=list(patterns), local_files_only=True
        )
    except (OSError, ValueError):  # LocalEntryNotFoundError is an OSError
        return None
    return Path(folder)


def _download(name: str, revision: str | None, step: Step) -> Any:
    from huggingface_hub.constants import HF_HUB_CACHE

    step(f"asking the hub for {name}")
    blobs = Path(HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "blobs"
    job = {"name": name, "revision": revision, "patterns": HUB_FILES}
    return hub_job.work("snapshot", job, blobs, _downloads(name, step))


def _downloads(name: str, step: Step) -> hub_job.Show:
    """What shows how much of a download has come."""
    return lambda done, size, _: step(f"downloading {name}: {done >> 20} of {size >> 20} MiB")
