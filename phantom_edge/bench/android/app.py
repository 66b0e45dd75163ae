"""The benchmark app on a phone: for a folder with a bundle and a job it writes the protocol's lines.

Any app with the Kotlin library of ``apps/android/phantomedge`` is one. The contract: an activity
``BenchActivity`` that adb may start takes the string extra ``folder`` with the bundle's files and
``job.json`` (``settings`` as in the report, ``check``, ``soak``; ``processor`` is ``npu`` where the files in
``npu`` are to run on that, or an error). It appends the lines of
:mod:`phantom_edge.bench.protocol` to ``bench.jsonl`` in its external files folder, emptied first, and ends.
"""

from __future__ import annotations

import contextlib
import time

from phantom_edge.bench import protocol
from phantom_edge.bench.android.adb import Adb
from phantom_edge.bench.results import Run
from phantom_edge.errors import CheckError, PhantomEdgeError
from phantom_edge.progress import Step

DEFAULT = "org.phantomedge.app"
ACTIVITY = ".BenchActivity"
RESULT = "bench.jsonl"
POLL = 1.0  # seconds
SILENCE = 900.0


def is_installed(adb: Adb, app: str) -> bool:
    """Whether the phone has the app."""
    return f"package:{app}" in adb.shell(f"pm list packages {app}", check=False).split()


def measure(adb: Adb, app: str, folder: str, step: Step) -> Run:
    """Follow the activity's lines until its result. Raises :class:`CheckError` if it dies or is silent."""
    result, stop = f"/sdcard/Android/data/{app}/files/{RESULT}", f"am force-stop {app}"
    adb.shell(f"rm -f {result}; {stop}", check=False)
    answer = adb.shell(f"am start -W -n {app}/{app}{ACTIVITY} --es folder {folder}", check=False)
    if "Error" in answer or "Status: ok" not in answer:  # am's own words; its exit status is 0 all the same
        errors = [line.strip() for line in answer.splitlines() if "Error" in line]
        why = errors[0] if errors else "no answer from am start"
        raise CheckError(f"{app} could not be started: {why}; install a build with {ACTIVITY.lstrip('.')}")
    try:
        return _followed(adb, app, result, step)
    except BaseException:  # an interruption, too: nothing goes on measuring what nobody waits for
        with contextlib.suppress(PhantomEdgeError):
            adb.shell(stop, check=False)
        raise


def _followed(adb: Adb, app: str, result: str, step: Step) -> Run:
    seen, heard = 0, time.monotonic()
    while True:
        text = adb.read(result) or ""
        # The last line may still be written; it counts once it is ended.
        lines = text.splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) > seen:
            heard = time.monotonic()
            run = protocol.read(whole[seen:], step)
            seen = len(whole)
            if run is not None:
                return run
        if not adb.shell(f"pidof {app}", check=False).strip() and len(whole) == seen:
            text = adb.read(result) or ""
            run = protocol.read(text.splitlines()[seen:], step)
            if run is not None:
                return run
            raise CheckError(f"{app} ended without a result; see `adb logcat` (too much memory ends an app)")
        if time.monotonic() - heard > SILENCE:
            raise CheckError(f"{app} said nothing for {SILENCE:.0f} s; use smaller --depths")
        time.sleep(POLL)
