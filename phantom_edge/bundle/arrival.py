"""A bundle on the hub: its manifest first, then exactly the files that it lists and that are not here yet.

Every file is checked against the manifest's SHA-256 on arrival, and what is here already, of an earlier
version too, is not fetched again: a bundle is updated by file and digest.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.bundle.folder import Bundle, is_bundle, writing
from phantom_edge.bundle.manifest import MANIFEST, FileEntry, Manifest
from phantom_edge.checkpoint import hub
from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step, no_step
from phantom_edge.system.caching import alone
from phantom_edge.system.files import cache_folder, file_sha256
from phantom_edge.system.outputs import is_own_bundle
from phantom_edge.system.reading import is_file
from phantom_edge.system.writing import explaining, replacing_folder

PLACE: Final = "hub"
ARRIVING: Final = ".arriving"


@dataclass(frozen=True)
class Remote:
    """A bundle's manifest at one commit of a repository; ``folder`` is where the hub's cache has it."""

    name: str
    folder: Path
    manifest: Manifest

    @classmethod
    def of(cls, name: str, folder: Path) -> Remote:
        """Raises :class:`InputError` for a manifest that is wrong, also for a path that leaves the bundle."""
        try:
            manifest = Manifest.read(folder / MANIFEST)
        except InputError as error:
            what = str(error).removeprefix(f"{folder / MANIFEST}: ")
            raise InputError(f"{name}: {MANIFEST}: {what}") from None
        return cls(name, folder, manifest)

    @property
    def commit(self) -> str:
        return self.folder.name

    @property
    def repository(self) -> Path:
        """Of all its commits in this toolkit's cache."""
        return cache_folder() / PLACE / self.name.replace("/", "--")

    @property
    def place(self) -> Path:
        """Of the bundle at this commit in this toolkit's cache, under its own name."""
        return self.repository / self.commit / self.name.rpartition("/")[2]


@dataclass(frozen=True)
class Pulled:
    """A bundle that came from the hub, with the sizes of the ``fetched`` files by path.

    ``commit`` is the one that it is of.
    """

    bundle: Bundle
    commit: str
    fetched: Mapping[str, int]


def remote_bundle(
    name: str, revision: str | None = None, *, step: Step = no_step, folders: bool = False
) -> Remote | None:
    """The bundle behind an id of the hub, of which only the manifest is fetched; None for a checkpoint.

    With ``folders`` an error says that the id could have been a folder's name. Raises :class:`InputError`:
    there is no such id, it cannot be had, or its manifest is wrong.
    """
    folder = hub.from_hub(name, revision, step=step, folders=folders)
    return Remote.of(name, folder) if is_own_bundle(folder) else None


def opened(remote: Remote, *, check: bool = True, step: Step = no_step) -> Bundle:
    """The bundle itself in this toolkit's cache, fetched unless it is there whole.

    Raises :class:`InputError`: a file cannot be had, or is not the one that the manifest lists.
    """
    bundle = _whole(remote.place, check)
    if bundle is not None:
        return bundle
    with alone(remote.repository, step):
        if (bundle := _whole(remote.place, check)) is not None:  # another process was faster
            return bundle
        with replacing_folder(remote.place) as partial:
            _fill(partial, remote, _known(remote), step)
    return Bundle.open(remote.place, check=False)


def pulled(remote: Remote, output: Path, *, step: Step = no_step) -> Pulled:
    """The bundle in a folder of the user's: new, or exchanged for an earlier version in one step.

    Files that the earlier version has are taken from it. Raises :class:`InputError`, and leaves the folder as
    it was.
    """
    earlier = [Bundle.open(output, check=False)] if is_bundle(output) else []
    if earlier and earlier[0].manifest == remote.manifest and _whole(output, check=True):
        return Pulled(earlier[0], remote.commit, {})
    with alone(remote.repository, step), writing(output) as partial:
        fetched = _fill(partial, remote, [*earlier, *_known(remote)], step)
    return Pulled(Bundle.open(output, check=False), remote.commit, fetched)


def _fill(folder: Path, remote: Remote, known: Sequence[Bundle], step: Step) -> Mapping[str, int]:
    """Put a bundle's files into ``folder``, the manifest last; gives the sizes of those that were fetched.

    ``known`` bundles, and the hub's own cache, give what they have. Raises :class:`InputError`.
    """
    missing: dict[str, FileEntry] = {}
    here: dict[str, list[Path]] = {}
    for bundle in known:
        for path, entry in bundle.manifest.files.items():
            here.setdefault(entry.sha256, []).append(bundle.folder / path)
    step(f"looking what of {remote.name} is here")
    for path, entry in remote.manifest.files.items():
        sources = [*here.get(entry.sha256, ()), remote.folder / path]
        if not any(_copied(source, folder / path, entry) for source in sources):
            missing[path] = entry
    if missing:
        _fetch(folder, remote, missing, step)
    shutil.copyfile(remote.folder / MANIFEST, folder / MANIFEST)
    return {path: entry.bytes for path, entry in missing.items()}


def _fetch(folder: Path, remote: Remote, missing: Mapping[str, FileEntry], step: Step) -> None:
    """Fetch files, and move them to their places in ``folder``.

    They grow in the cache, for the next call to go on with should this one end early, also for another
    version.
    """
    arriving = remote.repository / ARRIVING
    with explaining(arriving, always=True):
        arriving.mkdir(parents=True, exist_ok=True)
    by_digest = {entry.sha256: (path, entry.sha256, entry.bytes) for path, entry in missing.items()}
    hub.fetch(remote.name, remote.commit, list(by_digest.values()), arriving, step)
    step(f"checking what came of {remote.name}")
    for path, digest, size in by_digest.values():
        if (arriving / digest).stat().st_size != size or file_sha256(arriving / digest) != digest:
            (arriving / digest).unlink()
            what = f"{one_line(path, 80)} that came is not the one of the manifest (SHA-256 differs)"
            raise InputError(f"{remote.name}: {what}; try again, and trust it no further if it stays so")
    left = [entry.sha256 for entry in missing.values()]
    for path, entry in missing.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        left.remove(entry.sha256)
        move = shutil.copyfile if entry.sha256 in left else shutil.move
        move(arriving / entry.sha256, folder / path)
    shutil.rmtree(arriving, ignore_errors=True)


def _copied(source: Path, target: Path, entry: FileEntry) -> bool:
    """Whether ``source`` was the file that is to be there; then it is."""
    if not is_file(source) or source.stat().st_size != entry.bytes:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if file_sha256(target) == entry.sha256:
        return True
    target.unlink()
    return False


def _known(remote: Remote) -> list[Bundle]:
    """What the cache has of the same repository, at this commit or at others."""
    return list(_bundles(remote.repository))


def _bundles(repository: Path) -> Iterator[Bundle]:
    for manifest in sorted(repository.glob(f"*/*/{MANIFEST}")):
        with contextlib.suppress(InputError):
            yield Bundle.open(manifest.parent, check=False)


def _whole(folder: Path, check: bool) -> Bundle | None:
    """The bundle in a folder; None where it is none, or not whole."""
    try:
        return Bundle.open(folder, check=check)
    except InputError:
        return None
