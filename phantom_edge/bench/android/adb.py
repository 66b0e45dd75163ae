"""One Android device behind an adb server (adbutils): clear errors, lost connections waited for."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from phantom_edge.bench.android import parse
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step

if TYPE_CHECKING:
    from adbutils import AdbClient, AdbDevice

Result = TypeVar("Result")
ATTEMPTS = 5
RECONNECT = 120  # seconds that a lost device is waited for
SHORT = 60  # seconds of silence that end a call
# What an adb server (transport.cpp, adb.cpp) answers when the device is gone.
LOST = ("device offline", "not found", "no devices/emulators found", "device still", "closed")
# What adbutils says of an answer that a broken connection cut.
CUT = ("unknown data", "shell output invalid")
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
    """One device, by its serial."""

    client: AdbClient
    serial: str
    step: Step

    @classmethod
    def connect(cls, serial: str | None, step: Step) -> Adb:
        """The device of that serial, or the only one. Raises :class:`InputError` for none or several."""
        import adbutils

        client = adbutils.AdbClient(socket_timeout=SHORT)
        try:
            with client.make_connection() as connection:
                connection.send_command("host:devices-l")
                connection.check_okay()
                listing = connection.read_string_block()
        except (adbutils.AdbError, OSError, ValueError) as error:
            raise InputError(f"no adb server answers ({error}); run `adb devices` and mend that") from None
        return cls(client, _choose(parse.devices(listing), serial).serial, step)

    @property
    def _device(self) -> AdbDevice:
        return self.client.device(serial=self.serial)

    def shell(self, command: str, *, check: bool = True, timeout: float = SHORT) -> str:
        """Output of a shell command, run again after a lost connection: so only commands that may run twice.

        ``timeout`` is in seconds of silence. Raises :class:`CheckError` when the command fails and ``check``
        is set, or when the device does not come back.
        """
        result = self._retried(lambda: self._device.shell2(command, timeout=timeout, v2=True))
        if check and result.returncode:
            reason = parse.last_line(result.stderr or result.output)
            raise CheckError(f"{self.serial}: `{command[:80]}` failed: {reason}")
        # Phones before Android 7 have one stream for both, with the line ends of a terminal.
        apart = result.stdout or result.stderr
        return str(result.stdout if apart else result.output).replace("\r\n", "\n")

    def push(self, local: Path, remote: str) -> None:
        """Copy a file to the device and compare sizes; a copy that was cut off is made again."""
        query = f"stat -c %s {shlex.quote(remote)} 2>/dev/null"
        for _ in range(ATTEMPTS):
            self._retried(lambda: self._device.sync.push(local, remote))
            if self.shell(query, check=False).strip() == str(local.stat().st_size):
                return
        raise CheckError(f"{local.name} did not arrive whole in {ATTEMPTS} attempts; check the cable")

    def read(self, remote: str) -> str | None:
        """A text file's content, None while there is none."""
        mark = "phantom-bench-no-such-file"
        text = self.shell(f"cat {shlex.quote(remote)} 2>/dev/null || echo {mark}", check=False)
        return None if text.strip().endswith(mark) else text

    def _wait(self) -> None:
        """Wait until the device is back. Raises :class:`LostError` when it stays away."""
        import adbutils

        self.step(f"{self.serial} is gone; waiting for it")
        end = time.monotonic() + RECONNECT
        while (left := end - time.monotonic()) > 0:
            try:
                self.client.wait_for(self.serial, timeout=max(1.0, left))
                return
            except (adbutils.AdbError, OSError):
                time.sleep(min(1.0, max(0.0, end - time.monotonic())))
        raise LostError(f"{self.serial} did not come back within {RECONNECT} s; check the cable, start again")

    def _retried(self, call: Callable[[], Result]) -> Result:
        """What ``call`` gives, called again after each lost connection."""
        from adbutils.errors import AdbConnectionError, AdbError, AdbTimeout

        for _ in range(ATTEMPTS):
            try:
                return call()
            except (EOFError, OSError, AdbTimeout, AdbConnectionError):
                self._wait()
            except AdbError as error:
                if not _is_lost(str(error)):
                    raise CheckError(f"{self.serial}: adb failed: {parse.last_line(str(error))}") from None
                self._wait()
        raise LostError(f"{self.serial}: the connection broke {ATTEMPTS} times; use another cable or port")


def _is_lost(message: str) -> bool:
    # A connection that broke within an answer leaves adbutils with an empty or cut one.
    return not message or any(sign in message.lower() for sign in (*LOST, *CUT))


def _choose(devices: list[parse.Listed], serial: str | None) -> parse.Listed:
    names = ", ".join(f"{d.serial}{f' ({d.model})' if d.model else ''}" for d in devices)
    if serial is not None:
        devices = [d for d in devices if d.serial == serial]
        if not devices:
            raise InputError(f"no device {serial!r}; adb sees {names or 'none'}")
    if not devices:
        raise InputError("adb sees no device; plug a phone in with USB debugging on, or `adb connect` to it")
    ready = [d for d in devices if d.state == "device"]
    if not ready:
        first = devices[0]
        mend = MEND.get(first.state, "run `adb devices` and mend what it says")
        raise InputError(f"{first.serial} is {first.state}; {mend}")
    if len(ready) > 1:
        raise InputError(f"adb sees several devices: {names}; say which with --device adb:SERIAL")
    return ready[0]
