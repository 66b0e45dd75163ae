"""Files with a known SHA-256 from one of several mirrors: resumed where an earlier try ended."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError, one_line
from phantom_edge.progress import Step
from phantom_edge.runtime.arm.packages import DebianPackage
from phantom_edge.system.files import file_sha256
from phantom_edge.system.reading import is_file
from phantom_edge.system.writing import explaining

PART: Final = ".part"
BLOCK: Final = 1 << 20
TIMEOUT: Final = 30.0
NOT_THERE: Final = (403, 404, 410, 416)
PARTIAL_CONTENT: Final = 206


def fetch(package: DebianPackage, mirrors: Sequence[str], folder: Path, step: Step) -> Path | None:
    """The package's file in ``folder``, downloaded if need be; None where a mirror answers but has it not.

    What arrives is kept under another name until its SHA-256 is right, and the next try goes on from there.
    Raises :class:`InputError` where no mirror answers, and for a file that is another than the pinned one.
    """
    path, partial = folder / package.file, folder / (package.file + PART)
    if is_file(path) and file_sha256(path) == package.sha256:
        return path
    answered, problems = False, []
    for mirror in mirrors:
        try:
            _receive(f"{mirror}/{package.path}", package, partial, step)
        except urllib.error.HTTPError as error:
            answered = answered or error.code in NOT_THERE
            problems.append(f"HTTP {error.code}")
        except (OSError, http.client.HTTPException) as error:  # no network, or a connection that broke
            problems.append(str(getattr(error, "reason", None) or error))
        else:
            if file_sha256(partial) == package.sha256:
                partial.replace(path)
                return path
            partial.unlink()
            raise InputError(
                f"{package.name} {package.version}: the download is not the pinned file (SHA-256 differs) "
                "and was thrown away; try again, or on another network"
            )
    if answered:
        return None
    raise InputError(
        f"{package.name}: cannot be downloaded ({one_line(problems[0], 120)}); the first run with --machine "
        "needs the network, and goes on where an earlier one stopped"
    )


def _receive(url: str, package: DebianPackage, partial: Path, step: Step) -> None:
    """Append to ``partial`` what it lacks. Raises :class:`OSError`."""
    there = partial.stat().st_size if is_file(partial) else 0
    if there >= package.size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        resumed = answer.status == PARTIAL_CONTENT
        done = there if resumed else 0
        with explaining(partial), partial.open("ab" if resumed else "wb") as file:
            # One byte more than there should be shows that it is another file.
            while done <= package.size and (block := answer.read(min(BLOCK, package.size + 1 - done))):
                file.write(block)
                done += len(block)
                step(f"downloading {package.name}, {done / 1e6:.1f} of {package.size / 1e6:.1f} MB")
    if done < package.size:
        raise OSError(f"the connection ended after {done} of {package.size} bytes")
