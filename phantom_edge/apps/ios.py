"""The app for iPhone and iPad: the Xcode project of `apps/ios`, filled in around a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.apps import native
from phantom_edge.apps.native import NOTICES, SETTINGS
from phantom_edge.apps.notices import ios_notices
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.locate import locate_bundle
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step
from phantom_edge.system.outputs import check_new_folder
from phantom_edge.system.writing import replacing_folder

BUNDLE: Final = "bundle"
"""Folder reference of the project: the app finds its model there."""
PROJECT: Final = f"{native.DEFAULT_NAME}.xcodeproj"
CONFIGURATION: Final = f"{native.DEFAULT_NAME}.xcconfig"
_OWN_BUNDLE_ID: Final = "org.example.$(PHANTOM_NAME)$(DEVELOPMENT_TEAM)"  # unique through the team
# Targets and products in a project file. The folder and the module keep their name in every app.
_NAMED: Final = re.compile(
    rf"\b(name|productName|remoteInfo|path) = {native.DEFAULT_NAME}(|Tests|UITests)(|\.app|\.xctest);"
)
_BUNDLE_ID: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_TEAM: Final = re.compile(r"[A-Z0-9]{10}")
_IGNORED: Final = "xcuserdata/\n.build/\nDerivedData/\n"


@dataclass(frozen=True)
class IosRequest:
    """How the project is called. None: the name follows from the folder, the rest from the name.

    ``team`` is the ten characters of an Apple developer team, without which Xcode asks before it signs.
    """

    name: str | None = None
    title: str | None = None
    bundle_id: str | None = None
    team: str | None = None

    def resolve(self, output: Path) -> IosRequest:
        """With every field filled in. Raises :class:`InputError` for what Xcode or the store refuses."""
        name = native.near_name(output.absolute().name) if self.name is None else native.check_name(self.name)
        title = native.settings(self.title)["title"] if self.title is None else native.check_title(self.title)
        team = self.team or ""
        if team and not _TEAM.fullmatch(team):
            raise InputError(f"{team!r} is no team id: ten capitals and digits (developer.apple.com/account)")
        own = self.bundle_id or _OWN_BUNDLE_ID.replace("$(PHANTOM_NAME)", name.replace("_", "-"))
        if self.bundle_id and (len(own) > 155 or not _BUNDLE_ID.fullmatch(own)):
            raise InputError(
                f"{own!r} is no bundle id: letters, digits and '-' in two or more parts with dots; "
                f"for example --bundle-id com.company.{name.replace('_', '-').lower()}"
            )
        return IosRequest(name, title, own, team)


def check_ios_bundle(bundle: Bundle) -> None:
    """Raise :class:`InputError` unless the bundle is one that the app runs."""
    native.check_format(bundle, "coreml", "iOS", "ios")


def write_ios_app(
    bundle: str | Path, output: str | Path, request: IosRequest | None = None, *, step: Step = no_step
) -> Path:
    """Write an Xcode project with ``bundle`` and the Swift library to ``output``, complete or not at all.

    Raises :class:`InputError` for a wrong or damaged bundle, a folder in use, or a refused name.
    """
    output = Path(output)
    check_new_folder(output)
    app = (request or IosRequest()).resolve(output)
    step("checking the bundle")
    opened = locate_bundle(bundle, step=step)
    check_ios_bundle(opened)
    with replacing_folder(output, check_new_folder) as folder:
        step("writing the project")
        native.copy_sources("ios", folder)
        _rename(folder, app)
        native.write(folder / ".gitignore", _IGNORED)
        native.write_settings(folder / SETTINGS, native.settings(app.title))
        native.write(folder / NOTICES, ios_notices(opened))
        step("embedding the bundle")
        native.embed(opened, folder / BUNDLE)
    return output / f"{app.name}.xcodeproj"


def _rename(folder: Path, app: IosRequest) -> None:
    values = {
        f"PHANTOM_NAME = {native.DEFAULT_NAME}\n": f"PHANTOM_NAME = {app.name}\n",
        "PHANTOM_TITLE = Phantom Edge\n": f"PHANTOM_TITLE = {_setting(app.title or '')}\n",
        f"PHANTOM_BUNDLE_ID = {_OWN_BUNDLE_ID}\n": f"PHANTOM_BUNDLE_ID = {app.bundle_id}\n",
        "DEVELOPMENT_TEAM =\n": f"DEVELOPMENT_TEAM = {app.team}".rstrip() + "\n",
    }
    native.edit(folder / CONFIGURATION, values)
    project = (folder / PROJECT).rename(folder / f"{app.name}.xcodeproj") / "project.pbxproj"
    project.write_text(_NAMED.sub(lambda match: _named(match, app), project.read_text("utf-8")), "utf-8")
    schemes = project.parent / "xcshareddata" / "xcschemes"
    scheme = (schemes / f"{native.DEFAULT_NAME}.xcscheme").rename(schemes / f"{app.name}.xcscheme")
    scheme.write_text(scheme.read_text("utf-8").replace(native.DEFAULT_NAME, app.name or ""), "utf-8")


def _named(match: re.Match[str], app: IosRequest) -> str:
    key, kind, suffix = match.groups()
    is_folder = key == "path" and not suffix
    return match[0] if is_folder else f'{key} = "{app.name}{kind}{suffix}";'


def _setting(text: str) -> str:
    """A text as the value of a setting: two slashes would begin a comment."""
    return text.replace("//", "/$()/")
