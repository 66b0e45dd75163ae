"""The app for the browser: a complete project around a bundle, checked before anything is written."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from phantom_edge.apps import native
from phantom_edge.apps.sources import BUNDLE, app_sources, source_files
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate_bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.errors import InputError, shown
from phantom_edge.progress import Step, no_step
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

MOST_BYTES: Final = 1_600_000_000
"""Most bytes of graphs and weights. A browser's WebAssembly memory ends at 4 GiB, and a loaded model was
measured to take about twice its files: once as they are and once packed for the kernels."""
LONGEST_NAME: Final = 214  # npm's own
DEFAULT_NAME: Final = "phantom-edge-demo"
SUGGESTED: Final = 60  # characters of a name that an error suggests
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
RUNTIME_NOTICES: Final = "ONNXRUNTIME_THIRD_PARTY_NOTICES.txt"
ENGINE: Final = "phantom-edge-web"  # the package inside the project
_RESERVED: Final = ("node_modules", "favicon.ico", ENGINE)
_IGNORED: Final = "node_modules/\ndist/\n"


def check_web_bundle(bundle: Bundle) -> None:
    """Raise :class:`InputError` unless the bundle is one that a browser runs, and small enough."""
    if not bundle.browser:
        raise InputError(
            f"{bundle.folder}: made for {bundle.manifest.target} ({bundle.manifest.format}), which no "
            "browser runs; export one with `phantom-edge export --target web`"
        )
    size = model_bytes(bundle)
    if size > MOST_BYTES:
        raise InputError(
            f"{bundle.folder}: the model is {size / 1e9:.1f} GB, a browser holds {MOST_BYTES / 1e9:.1f} GB "
            "at most; export with --quant int8 or int4, or take a smaller checkpoint (Phantom-0.5B fits)"
        )


def model_bytes(bundle: Bundle) -> int:
    """Bytes of the graphs and the files of their weights, which is what a browser loads."""
    graphs = asdict(bundle.manifest.graphs).values()
    return sum(
        entry.bytes
        for name, entry in bundle.manifest.files.items()
        if any(name == graph or name.startswith(f"{graph}_data") for graph in graphs)
    )


def check_project_name(name: str) -> str:
    """The name again, if npm takes it for a package, else :class:`InputError` with one that it takes."""
    if len(name) <= LONGEST_NAME and _NAME.fullmatch(name) and name not in _RESERVED:
        return name
    near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:SUGGESTED] or DEFAULT_NAME
    near = f"{near}-app" if near in _RESERVED else near
    rule = "lower case letters, digits, '-', '.', '_', beginning with a letter or digit"
    reason = "is a name that is taken" if name in _RESERVED else f"is no name of an npm package: {rule}"
    raise InputError(f"{shown(name)} {reason}; for example --name {near}")


def check_request(output: str | Path, *, name: str | None = None, title: str | None = None) -> str:
    """The package's name for a project at ``output``. Raises :class:`InputError` if none can be written."""
    output = Path(output)
    package = check_project_name(name) if name is not None else _name_from(output)
    if title is not None:
        native.check_title(title)
    check_new_folder(output)
    return package


def write_web_app(
    bundle: str | Path,
    output: str | Path,
    *,
    name: str | None = None,
    title: str | None = None,
    step: Step = no_step,
) -> Path:
    """Write a project with ``bundle`` inside to ``output``, complete or not at all, and return its folder.

    ``npm ci && npm run dev`` runs it, ``npm run build`` makes static files for any web server. ``name`` is
    the package's name (default: the name of the folder, made to fit), ``title`` what the app is called on the
    screen.

    Raises :class:`InputError` for a wrong or damaged bundle, a folder in use, or a refused name.
    """
    output = Path(output)
    package = check_request(output, name=name, title=title)
    step("checking the bundle")
    opened = locate_bundle(bundle, step=step)
    check_web_bundle(opened)
    sources = app_sources("web")
    with replacing_folder(output, check_new_folder) as folder:
        step("writing the project")
        for path in source_files(sources):
            native.copy(sources / path, folder / path)
        (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
        _rename(folder, package, title)
        _add_runtime_notices(folder)
        step("embedding the bundle")
        for path in [MANIFEST, *opened.manifest.files]:
            native.copy(opened.folder / path, folder / BUNDLE / path)
    return output


def _name_from(output: Path) -> str:
    near = re.sub(r"[^a-z0-9._-]+", "-", output.absolute().name.lower()).strip("-._")[:LONGEST_NAME]
    return check_project_name(f"{near}-app" if near in _RESERVED else near or DEFAULT_NAME)


def _rename(folder: Path, package: str, title: str | None) -> None:
    _edit(folder / "package.json", {"name": package})
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    lock["name"] = lock["packages"][""]["name"] = package
    native.write_settings(folder / "package-lock.json", lock)
    if title is not None:
        _edit(folder / "public" / "app.json", {"title": title})
        _edit(folder / "public" / "app.webmanifest", {"name": title, "short_name": title})


def _add_runtime_notices(folder: Path) -> None:
    """What ONNX Runtime is built from: its npm package leaves that out, the Python package has it."""
    spec = importlib.util.find_spec("onnxruntime")
    for package in [] if spec is None else spec.submodule_search_locations or []:
        notices = Path(package) / "ThirdPartyNotices.txt"
        if notices.is_file():
            native.copy(notices, folder / "public" / RUNTIME_NOTICES)


def _edit(path: Path, values: dict[str, Any]) -> None:
    native.write_settings(path, {**json.loads(path.read_text(encoding="utf-8")), **values})
