"""The demo in one step: the embedded model's bundle and the built app, each made once and then cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

from phantom_edge import __version__
from phantom_edge.apps.sources import BUNDLE
from phantom_edge.apps.web import check_web_bundle
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate_bundle
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.caching import cached


def nano_bundle(step: Step = no_step, *, target: str = "web") -> Path:
    """Phantom-Nano, exported and verified for browsers or another target: from the cache, or made now."""
    from phantom_edge.checkpoint.pretrained import nano_folder

    files = sorted(path for path in nano_folder().iterdir() if path.is_file())
    digest = hashlib.sha256(__version__.encode())
    for path in files:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    name = f"phantom-nano-{target}-{digest.hexdigest()[:16]}"

    def make(folder: Path) -> None:
        from phantom_edge.pipeline.export import ExportRequest, export

        export(ExportRequest(target=target, output=folder), step=step)

    return cached(Path("bundles", name), _is_whole, make, step)


def _is_whole(folder: Path) -> bool:
    try:
        Bundle.open(folder)
    except InputError:
        return False
    return True


def demo_mounts(bundle: str | Path | None = None, step: Step = no_step) -> dict[str, Path]:
    """What to serve for a live demo: the built app, and ``bundle`` (default: the embedded model's) beside it.

    Raises :class:`InputError` for a bundle that browsers do not run, or no Node.js to build with.
    """
    from phantom_edge.apps.build import built_app

    opened = locate_bundle(nano_bundle(step) if bundle is None else bundle, step=step)
    check_web_bundle(opened)
    return {"": built_app(step), "bundle": opened.folder}


def project_mounts(folder: str | Path) -> dict[str, Path]:
    """What to serve for a built app, or a project with one. Raises :class:`InputError` for neither."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; write one with `phantom-edge app web`")
    built = folder / "dist" if (folder / "package.json").is_file() else folder
    if not (built / "index.html").is_file():
        hint = "run `npm ci && npm run build` there first" if built != folder else "it has no index.html"
        raise InputError(f"{folder}: no built app; {hint}")
    if not (built / Path(BUNDLE).name / "manifest.json").is_file():
        raise InputError(f"{folder}: the app has no bundle in it; write it again with `phantom-edge app web`")
    return {"": built}
