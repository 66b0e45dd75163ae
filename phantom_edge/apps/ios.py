"""The app for iPhone and iPad: a complete Xcode project around a bundle, checked before anything is
written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from phantom_edge.apps import native
from phantom_edge.apps.native import NOTICES, SETTINGS
from phantom_edge.apps.notices import ios_notices
from phantom_edge.apps.xcode import XcodeApp
from phantom_edge.bundle.folder import Bundle, writing
from phantom_edge.errors import InputError
from phantom_edge.progress import Step, no_step

BUNDLE: Final = "bundle"
"""Folder reference of the project: the app finds its model there."""
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

    def resolve(self, output: Path) -> XcodeApp:
        """The project's names. Raises :class:`InputError` for one that Xcode or the App Store would
        refuse.
        """
        name = native.near_name(output.absolute().name) if self.name is None else native.check_name(self.name)
        title = native.settings(self.title)["title"] if self.title is None else native.check_title(self.title)
        team = self.team or ""
        if team and not _TEAM.fullmatch(team):
            raise InputError(
                f"{team!r} is no team id: ten capitals and digits, as developer.apple.com/account shows it"
            )
        # The team makes it unique, so that signing needs nothing but the team.
        own = self.bundle_id or f"org.example.{name.replace('_', '-')}$(DEVELOPMENT_TEAM)"
        if self.bundle_id and (len(own) > 155 or not _BUNDLE_ID.fullmatch(own)):
            raise InputError(
                f"{own!r} is no bundle id: letters, digits and '-' in two or more parts with dots; "
                f"for example --bundle-id com.company.{name.replace('_', '-').lower()}"
            )
        return XcodeApp(name, title, own, team)


def check_ios_bundle(bundle: Bundle) -> None:
    """Raise :class:`InputError` unless the bundle is one that the app runs."""
    native.check_format(bundle, "coreml", "iOS", "ios")


def write_ios_app(
    bundle: str | Path, output: str | Path, request: IosRequest | None = None, *, step: Step = no_step
) -> Path:
    """Write an Xcode project with ``bundle`` and the Swift library inside to ``output``, complete or not at
    all.

    Raises:
        InputError: a bundle of another format, a damaged one, a folder that is not empty, a name that Xcode
            refuses.
    """
    output = Path(output)
    native.check_place(output)
    app = (request or IosRequest()).resolve(output)
    step("checking the bundle")
    opened = Bundle.open(bundle)
    check_ios_bundle(opened)
    with writing(output) as folder:
        step("writing the project")
        native.copy_sources("ios", folder)
        project = folder / f"{app.name}.xcodeproj"
        native.write(project / "project.pbxproj", app.pbxproj())
        native.write(project / "xcshareddata" / "xcschemes" / f"{app.name}.xcscheme", app.scheme())
        native.write(folder / ".gitignore", _IGNORED)
        native.write_settings(folder / SETTINGS, native.settings(app.title))
        native.write(folder / NOTICES, ios_notices(opened))
        step("embedding the bundle")
        native.embed(opened, folder / BUNDLE)
    return output / project.name
