"""What the two apps for phones share: checks before anything is written, settings, the embedded bundle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from phantom_edge.apps.sources import app_sources, source_files
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.errors import InputError

LONGEST_TITLE: Final = 60
LONGEST_NAME: Final = 50
SETTINGS: Final = "app.json"
NOTICES: Final = "THIRD_PARTY_NOTICES.txt"
DEFAULT_NAME: Final = "PhantomAR"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NOT_COPIED: Final = {"DerivedData", "xcuserdata", "bundle"}


def check_format(bundle: Bundle, format_name: str, platform: str, target: str) -> None:
    """Raise :class:`InputError` unless a bundle is of a format, saying what to export instead."""
    if bundle.manifest.format != format_name:
        made = f"made for {bundle.manifest.target} ({bundle.manifest.format})"
        hint = f"export one with `phantom-edge export --target {target}`"
        raise InputError(f"{bundle.folder}: {made}, and the {platform} app runs {format_name}; {hint}")


def check_name(name: str) -> str:
    """The project's name again. Raises :class:`InputError` with a name that Xcode and Gradle take."""
    if len(name) <= LONGEST_NAME and _NAME.fullmatch(name):
        return name
    near = near_name(name)
    raise InputError(
        f"{name!r} is no name of a project: letters, digits, '-' and '_', beginning with a letter, "
        f"{LONGEST_NAME} at "
        f"most; for example --name {near}"
    )


def near_name(text: str) -> str:
    """A project's name as close to ``text`` as the rules allow."""
    words = re.findall(r"[A-Za-z0-9]+", text)
    near = "".join(word[:1].upper() + word[1:] for word in words).lstrip("0123456789")
    return near[:LONGEST_NAME] or DEFAULT_NAME


def check_title(title: str) -> str:
    """The title again, which a phone shows below the app's icon. Raises :class:`InputError`."""
    if not title.strip() or len(title) > LONGEST_TITLE or not title.isprintable():
        raise InputError(f"the title must be 1 to {LONGEST_TITLE} printable characters")
    return title


def settings(title: str | None) -> dict[str, Any]:
    """``app.json`` of all three apps: one file, the web app's, with another title if one is given."""
    shared = json.loads((app_sources("web") / "public" / SETTINGS).read_text(encoding="utf-8"))
    return shared if title is None else {**shared, "title": title}


def copy_sources(platform: str, folder: Path) -> None:
    """Every source of an app, without what was built or embedded beside it."""
    sources = app_sources(platform)
    for path in source_files(sources):
        if not _NOT_COPIED.intersection(Path(path).parts):
            copy(sources / path, folder / path)


def embed(bundle: Bundle, folder: Path, paths: Iterable[str] | None = None) -> None:
    """Copy a bundle's manifest and files, or only ``paths``, to ``folder``."""
    for path in [MANIFEST, *bundle.manifest.files] if paths is None else paths:
        copy(bundle.folder / path, folder / path)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_settings(path: Path, content: dict[str, Any]) -> None:
    write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def edit(path: Path, values: dict[str, str]) -> None:
    """Replace each key of ``values``, which must occur exactly once in the file, by its value."""
    text = path.read_text(encoding="utf-8")
    for old, new in values.items():
        if text.count(old) != 1:
            raise InputError(f"{path.name} of the app's sources lacks {old!r}; install phantom-edge again")
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
