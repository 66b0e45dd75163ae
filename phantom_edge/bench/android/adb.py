"""Calls of the ``adb`` program: one device, every failure one clear line, and a lost connection waited
for.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from phantom_edge.bench.android import parse
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step

# What adb (client/commandline.cpp, transport.cpp, sync) says when the cable or the Wi-Fi is gone.
LOST = (
    "device offline",
    "not found",
    "no devices/emulators found",
    "error: closed",
    "connection reset",
    "protocol fault",
    "device still connecting",
    "couldn't read from device",
    "failed to read",
    "write failed: broken pipe",
)
ATTEMPTS = 5
# Printed after a command: adb ends with 0 and half an output when the connection breaks.
END = "phantom-bench-end"
RECONNECT = 120  # seconds that a lost device is waited for
SHORT, LONG = 60, 3600  # seconds for a shell command; for pushing gigabytes over USB 2
MEND = {
    "unauthorized": "unlock the phone and accept its question about USB debugging",
    "authorizing": "wait a moment and try again",
    "offline": "unplug it and plug it in again, or run `adb reconnect offline`",
    "no permissions": "add a udev rule for it (https://developer.android.com/tools/device)",
    "recovery": "start its normal system",
    "sideload": "start its normal system",
    "bootloader": "start its normal system",
}


class LostError(CheckError):
    """The connection to the device broke."""


@dataclass(frozen=True)
class Adb:
    """One device behind the ``adb`` program."""

    program: str
    serial: str
    step: Step

    @classmethod
    def connect(cls, serial: str | None, step: Step) -> Adb:
        """The device of that serial, or the only one. Raises :class:`InputError` for none or several."""
        program = shutil.which("adb")
        if program is None:
            raise InputError(
                "adb is not installed; install Android's platform tools (Debian: apt install adb)"
            )
        try:
            done = subprocess.run([program, "devices", "-l"], capture_output=True, text=True, timeout=SHORT)
        except subprocess.TimeoutExpired:
            raise InputError(f"adb said nothing for {SHORT} s; run `adb kill-server` and try again") from None
        if done.returncode:
            raise InputError(
                f"adb does not work here ({_last(done.stderr)}); run `adb devices` and mend what it says"
            )
        return cls(program, _choose(parse.devices(done.stdout), serial).serial, step)

    def shell(self, command: str, *, check: bool = True, timeout: float = SHORT) -> str:
        """Output of a shell command, run again after a lost connection: so only commands that may run twice.

        The exit status comes with the output, because phones before Android 7 send none. Raises
        :class:`CheckError` when it fails and ``check`` is set, or when the device does not come back.
        """
        return self._kept(lambda: self._shell(command, check, timeout))

    def _shell(self, command: str, check: bool, timeout: float) -> str:
        done = self._run(["shell", f"{command}\necho {END} $?"], timeout)
        output, end, status = done.stdout.replace("\r\n", "\n").rpartition(END)
        if not end or not status.strip().isdigit():
            raise LostError(f"{self.serial}: the connection broke")
        if check and int(status):
            raise CheckError(f"{self.serial}: `{command[:80]}` failed: {_last(done.stderr or output)}")
        return output

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device and compare sizes; a copy that was cut off is made again."""
        size, ask = local.stat().st_size, f"stat -c %s {shlex.quote(remote)} 2>/dev/null"
        for _ in range(ATTEMPTS):
            self._kept(lambda: self._copy(local, remote))
            if self.shell(ask, check=False).strip() == str(size):
                return
        raise CheckError(
            f"{local.name} did not arrive whole on the device after {ATTEMPTS} attempts; check the cable"
        )

    def _copy(self, local: Path, remote: str) -> str:
        done = self._run(["push", str(local), remote], LONG)
        if not done.returncode:
            return done.stdout
        said = (
            f"{done.stdout}{done.stderr}"  # adb tells on stdout why a copy failed, and then how far it came
        )
        why = next((line for line in said.splitlines() if "error" in line), _last(said))
        if self._is_lost(said):
            raise LostError(f"{self.serial}: {why}")
        raise CheckError(f"{self.serial}: {local.name} could not be copied: {why}")

    def read(self, remote: str) -> str | None:
        """A text file's content, None while there is none."""
        mark = "phantom-bench-no-such-file"
        text = self.shell(f"cat {shlex.quote(remote)} 2>/dev/null || echo {mark}", check=False)
        return None if text.strip().endswith(mark) else text

    def wait(self) -> None:
        """Wait until the device is back. Raises :class:`LostError` when it stays away."""
        self.step(f"{self.serial} is gone; waiting for it")
        end = time.monotonic() + RECONNECT
        while time.monotonic() < end:
            try:
                command = [self.program, "-s", self.serial, "wait-for-device", "shell", "true"]
                if (
                    subprocess.run(
                        command, capture_output=True, timeout=max(1, end - time.monotonic())
                    ).returncode
                    == 0
                ):
                    return
            except subprocess.TimeoutExpired:
                break
            time.sleep(1)
        raise LostError(
            f"{self.serial} did not come back within {RECONNECT} s; check the cable and start again"
        )

    def _kept(self, call: Callable[[], str]) -> str:
        for _ in range(ATTEMPTS):
            try:
                return call()
            except LostError:
                self.wait()
        raise LostError(f"{self.serial}: the connection broke {ATTEMPTS} times; use another cable or port")

    def _run(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        """One call of adb. Raises :class:`LostError` when it says that the device is gone, or nothing at
        all.
        """
        command = [self.program, "-s", self.serial, *arguments]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
            )
        except subprocess.TimeoutExpired:
            raise LostError(f"{self.serial}: `adb {arguments[0]}` took more than {timeout:.0f} s") from None
        if done.returncode and self._is_lost(done.stderr):
            raise LostError(_last(done.stderr))
        return done

    def _is_lost(self, said: str) -> bool:
        lines = [
            line for line in said.lower().splitlines() if line.startswith(("adb:", "error:", "- waiting"))
        ]
        return any(sign in line for line in lines for sign in LOST)


def _choose(found: list[parse.Listed], serial: str | None) -> parse.Listed:
    names = ", ".join(f"{d.serial}{f' ({d.model})' if d.model else ''}" for d in found)
    if serial is not None:
        found = [d for d in found if d.serial == serial]
        if not found:
            raise InputError(f"no device {serial!r}; adb sees {names or 'none'}")
    if not found:
        raise InputError(
            "adb sees no device; plug a phone in and switch USB debugging on, or `adb connect` to it"
        )
    ready = [d for d in found if d.state == "device"]
    if not ready:
        first = found[0]
        mend = MEND.get(first.state, "run `adb devices` and mend what it says")
        raise InputError(f"{first.serial} is {first.state}; {mend}")
    if len(ready) > 1:
        raise InputError(f"adb sees several devices: {names}; say which with --device adb:SERIAL")
    return ready[0]


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "no reason given"
