"""The app for Android phones: the Gradle project of `apps/android`, filled in around a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

from phantom_edge.apps import native
from phantom_edge.apps.native import NOTICES, SETTINGS
from phantom_edge.apps.notices import android_notices
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate_bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.bundle.npu import check_pair, npu_of, part_files
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

ASSETS: Final = "app/src/main/assets"
PACK: Final = "model/src/main/assets"
"""Where the model's files and those of its part for an NPU lie: an asset pack, in the debug build the app's
own assets."""
BUNDLE, NPU = "bundle", "npu"
TITLE: Final = "app/src/main/res/values/title.xml"
WRAPPER: Final = "gradlew"
PACK_BYTES: Final = 1_000_000_000
"""Most bytes that Google Play delivers with an app at its installation
(https://developer.android.com/guide/playcore/asset-delivery#size-limits)."""
_APPLICATION_ID: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*(\.[a-zA-Z][a-zA-Z0-9_]*)+")
_JAVA: Final = """
 abstract assert boolean break byte case catch char class const continue default do double else enum extends
 final finally float for goto if implements import instanceof int interface long native new package private
 protected public return short static strictfp super switch synchronized this throw throws transient try void
 volatile while true false null """
_IGNORED: Final = ".gradle/\nbuild/\nlocal.properties\n.idea/\n"


@dataclass(frozen=True)
class AndroidRequest:
    """How the project is called. None: the name follows from the folder, the rest from the name.

    ``model_url`` is the https address of a folder with the bundle's files: the app then fetches them, checked
    against the manifest that it carries, and they are not part of the project. ``npu`` is a bundle for
    ``snapdragon`` of the same model: each phone takes what its chip needs, from ``npu_url`` if that is given.
    """

    name: str | None = None
    title: str | None = None
    application_id: str | None = None
    model_url: str | None = None
    npu: Path | None = None
    npu_url: str | None = None

    def resolve(self, output: Path) -> AndroidRequest:
        """With every field filled in. Raises :class:`InputError` for what Gradle or the store refuses."""
        name = native.near_name(output.absolute().name) if self.name is None else native.check_name(self.name)
        title = native.settings(None)["title"] if self.title is None else native.check_title(self.title)
        own = self.application_id or f"org.example.{_segment(name)}"
        if not _APPLICATION_ID.fullmatch(own) or set(own.split(".")) & set(_JAVA.split()):
            raise InputError(
                f"{own!r} is no application id: two or more parts with dots, each a letter and then letters, "
                f"digits or '_', none a word of Java; for example --bundle-id com.company.{_segment(name)}"
            )
        if self.npu_url and self.npu is None:
            raise InputError(
                "--npu-url says where the part for the NPU is fetched from: name its bundle with --npu"
            )
        addresses = [_checked(address) if address else "" for address in (self.model_url, self.npu_url)]
        return AndroidRequest(name, title, own, addresses[0], self.npu, addresses[1])


def _segment(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "", name.lower())


def _checked(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or not _plain(address):
        raise InputError(f"{address!r} is no https address of a folder, such as https://host/nano-android")
    return address


def _plain(address: str) -> bool:
    return re.fullmatch(r"[!-~]+", address) is not None and not set(address) & set("\"'\\<>^`{|}")


def check_android_bundle(bundle: Bundle, *, fetched: bool = False, more: int = 0) -> None:
    """Raise :class:`InputError` unless the app runs the bundle and Google Play takes it, or it is fetched.

    ``more`` are bytes that the asset pack holds besides.
    """
    native.check_format(bundle, "executorch", "Android", "android")
    size = more + (0 if fetched else sum(entry.bytes for entry in bundle.manifest.files.values()))
    if size > PACK_BYTES:
        what, option = ("part for the NPU", "--npu-url") if more and fetched else ("model", "--model-url")
        raise InputError(
            f"{bundle.folder}: the {what} is {size / 1e9:.1f} GB, Google Play installs at most "
            f"{PACK_BYTES / 1e9:.1f} GB with an app; let it fetch the {what}, {option}, or use fewer bits"
        )


def write_android_app(
    bundle: str | Path, output: str | Path, request: AndroidRequest | None = None, *, step: Step = no_step
) -> Path:
    """Write a Gradle project with ``bundle`` and the Kotlin library to ``output``, complete or not at all.

    Raises :class:`InputError` for a wrong, damaged or too large bundle, a folder in use, or a refused name.
    """
    output = Path(output)
    check_new_folder(output)
    app = (request or AndroidRequest()).resolve(output)
    step("checking the bundle")
    opened, part = locate_bundle(bundle, step=step), _part(app, step)
    packed = [] if part is None or app.npu_url else part_files(part.manifest)
    more = sum(part.manifest.files[path].bytes for path in packed) if part is not None else 0
    check_android_bundle(opened, fetched=bool(app.model_url), more=more)
    if part is not None:
        check_pair(opened, part)
    with replacing_folder(output, check_new_folder) as folder:
        step("writing the project")
        native.copy_sources("android", folder)
        (folder / WRAPPER).chmod(0o755)  # an installed package keeps no modes
        _rename(folder, app)
        native.write(folder / ".gitignore", _IGNORED)
        native.write_settings(folder / ASSETS / SETTINGS, native.settings(app.title))
        native.write(folder / ASSETS / NOTICES, android_notices(opened, npu=part is not None))
        step("embedding the bundle")
        native.embed(opened, folder / ASSETS, [MANIFEST])
        native.embed(opened, folder / PACK / BUNDLE, [] if app.model_url else opened.manifest.files)
        if part is not None:
            step("embedding the part for the NPU")
            native.embed(part, folder / ASSETS / NPU, [MANIFEST])
            native.embed(part, folder / PACK / NPU, packed)
    return output


def _part(app: AndroidRequest, step: Step) -> Bundle | None:
    if app.npu is None:
        return None
    part = locate_bundle(app.npu, step=step)
    npu_of(part)
    return part


def _rename(folder: Path, app: AndroidRequest) -> None:
    root = {'rootProject.name = "PhantomAR"': f'rootProject.name = "{app.name}"'}
    native.edit(folder / "settings.gradle.kts", root)
    properties = {
        "phantom.applicationId=org.example.phantomar\n": f"phantom.applicationId={app.application_id}\n",
        "phantom.modelUrl=\n": f"phantom.modelUrl={app.model_url}\n",
        "phantom.npu=false\n": f"phantom.npu={'false' if app.npu is None else 'true'}\n",
        "phantom.npuUrl=\n": f"phantom.npuUrl={app.npu_url}\n",
    }
    native.edit(folder / "gradle.properties", properties)
    native.edit(folder / TITLE, {">Phantom Edge<": f">{_resource(app.title or '')}<"})


def _resource(text: str) -> str:
    """A text as Android's resources want it: quotes, and a first character that would refer, escaped."""
    quoted = re.sub(r"([\\'\"])", r"\\\1", text)
    return escape(f"\\{quoted}" if quoted[:1] in ("@", "?") else quoted)
