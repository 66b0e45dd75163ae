"""A download from the hub in a process of its own: ``python hub_process.py NAME REVISION SECONDS PATTERN…``.

The hub's library has waits without a bound and threads that outlive an interrupt; a process can be ended. It
runs as a script and imports nothing of this package, so that it starts at once. Each line that it writes is a
JSON object: ``{"ready": true}``, ``{"bytes": N}`` of all that is to be had, then ``{"folder": …}``, or
``{"reason": …, "final": …, "quiet": …}``: whether the cache must not stand in, and whether that is no news.
It ends when its input is closed, as it is when whoever started it is gone.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import sys
import threading
from fnmatch import fnmatchcase


def main(name: str, revision: str | None, seconds: float, patterns: list[str]) -> None:
    """Ask the hub, then download what the cache lacks."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub import errors as hub

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    say(ready=True)
    try:
        info = HfApi().model_info(name, revision=revision, timeout=seconds, files_metadata=True)
        files = [f for f in info.siblings or [] if any(fnmatchcase(f.rfilename, p) for p in patterns)]
        say(bytes=sum(f.size or 0 for f in files))
        folder = snapshot_download(name, revision=revision, allow_patterns=patterns, etag_timeout=seconds)
        say(folder=folder)
    except Exception as error:  # a wide family; all of them mean "cannot be had"
        final = isinstance(error, hub.RevisionNotFoundError)
        say(
            reason=reason(name, revision, error),
            final=final,
            quiet=isinstance(error, hub.OfflineModeIsEnabled),
        )


def reason(name: str, revision: str | None, error: Exception) -> str:
    """Why the hub gave nothing, and what to do about it."""
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    match error:
        case hub.GatedRepoError():
            return f"is gated: ask for access on {ENDPOINT}/{name} and log in with `hf auth login`"
        case hub.RevisionNotFoundError():
            return f"has no revision {str(revision)[:60]!r}; {ENDPOINT}/{name}/refs lists branches and tags"
        case hub.RepositoryNotFoundError():
            return (
                "no such folder, and no such model on the hub; if it is private, log in with `hf auth login`"
            )
        case hub.OfflineModeIsEnabled():
            return "no such folder, not in the local cache, and HF_HUB_OFFLINE forbids to ask the hub"
        case hub.HfHubHTTPError() if (status := error.response.status_code) in (401, 403):
            return (
                f"the hub refuses it ({status}): log in with `hf auth login`, and look at {ENDPOINT}/{name}"
            )
        case hub.HfHubHTTPError():
            return f"the hub answers {error.response.status_code}; try again later"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no room in the hub's cache ({HF_HUB_CACHE}); free some, or set HF_HOME to another place"
        case OSError() if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"the hub's cache cannot be written ({HF_HUB_CACHE}); set HF_HOME to another place"
    lines = str(error).strip().splitlines()
    what = lines[0][:90] if lines else type(error).__name__
    return f"no such folder, and the hub at {ENDPOINT} cannot be reached ({what}); try again"


def say(**message: object) -> None:
    """Write one line."""
    print(json.dumps(message), flush=True)


def end_with_input() -> None:
    """End this process at once when nobody is at the other end of its input any more."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_input, daemon=True).start()
    main(sys.argv[1], sys.argv[2] or None, float(sys.argv[3]), sys.argv[4:])
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads of the library
