"""Calls of ``xcrun devicectl``: one iPhone or iPad, its app's files, and the app's start and output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.bench import protocol
from phantom_edge.bench.apple import parse
from phantom_edge.bench.results import Run
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step
from phantom_edge.system.children import child, run

SHORT, LONG = 60, 3600  # seconds for a question; for copying gigabytes over Wi-Fi
# Environment variable of the started app: the folder with the job, below its container.
JOB = "PHANTOM_EDGE_BENCH"


@dataclass(frozen=True)
class Devicectl:
    """One device behind ``devicectl``."""

    device: parse.AppleDevice

    @classmethod
    def connect(cls, name: str | None) -> Devicectl:
        """The device of that name, or the only one. Raises :class:`InputError` without Xcode or device."""
        if shutil.which("xcrun") is None:
            raise InputError("--device ios needs Xcode's command-line tools, on a Mac; there is no xcrun")
        try:
            document = _call(["list", "devices"], SHORT)
        except CheckError as error:
            raise InputError(f"xcrun devicectl does not work ({error}); it needs Xcode 15 or newer") from None
        return cls(_choose(parse.devices(document), name))

    def push(self, app: str, local: Path, remote: str) -> None:
        """Copy one file into the app's container: of a folder devicectl copies only the folder itself."""
        arguments = ["device", "copy", "to", "--device", self.device.identifier, *_container(app)]
        _call([*arguments, "--source", str(local), "--destination", remote], LONG)

    def launch(self, app: str, folder: str, step: Step) -> Run:
        """Start the app and follow its lines until its result. Raises :class:`CheckError` without one."""
        arguments = ["device", "process", "launch", "--device", self.device.identifier, "--console"]
        arguments += ["--terminate-existing", "--environment-variables", json.dumps({JOB: folder}), app]
        with _json_output() as path:
            command = ["xcrun", "devicectl", *arguments, "--json-output", str(path)]
            pipe = subprocess.PIPE
            options = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT}
            with child(command, text=True, errors="replace", **options) as process:
                result = protocol.read(process.stdout or (), step)
                if result is not None:
                    return result
                process.wait()
            document = _read(path)
        parse.outcome(document)
        code = parse.exit_code(document)
        ended = f"{app} ended{f' with {code}' if code is not None else ''} and no result"
        raise CheckError(f"{ended}; see its log in Xcode (iOS ends an app that takes too much memory)")


def _choose(devices: list[parse.AppleDevice], name: str | None) -> parse.AppleDevice:
    names = ", ".join(f"{d.name} ({d.identifier})" for d in devices)
    if name is not None:
        devices = [d for d in devices if name in d.names]
        if not devices:
            raise InputError(f"no iPhone or iPad {name!r}; Xcode knows {names or 'none'}")
    if not devices:
        raise InputError("Xcode knows no iPhone or iPad; connect one and trust this Mac on it")
    ready = [d for d in devices if d.paired and d.reachable and d.developer]
    if not ready:
        raise InputError(f"{devices[0].name} cannot be used: {_why(devices[0])}")
    if len(ready) > 1:
        raise InputError(f"Xcode knows several devices: {names}; say which with --device ios:UDID")
    return ready[0]


def _why(device: parse.AppleDevice) -> str:
    if not device.paired:
        return "it is not paired; unlock it, connect it and trust this Mac"
    if not device.reachable:
        return "it cannot be reached; connect it by cable or join its Wi-Fi"
    return "developer mode is off; switch it on in Settings, Privacy and Security"


def _container(app: str) -> list[str]:
    return ["--domain-type", "appDataContainer", "--domain-identifier", app]


def _call(arguments: list[str], timeout: float) -> dict[str, Any]:
    """Run one command to its end: its JSON. Raises :class:`CheckError` when it fails."""
    with _json_output() as path:
        command = ["xcrun", "devicectl", *arguments, "--json-output", str(path)]
        try:
            done = run(command, timeout=timeout)
        except subprocess.TimeoutExpired:
            raise CheckError(f"`devicectl {' '.join(arguments[:3])}` took over {timeout:.0f} s") from None
        document = _read(path)
    if not document:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise CheckError(f"devicectl: {lines[-1].strip()[:200]}")
    parse.outcome(document)
    return document


@contextmanager
def _json_output() -> Iterator[Path]:
    handle, name = tempfile.mkstemp(suffix=".json", prefix="devicectl-")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    return protocol.parsed(path.read_text(encoding="utf-8", errors="replace"))
