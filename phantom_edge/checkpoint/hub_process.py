"""One piece of work with the hub in a process of its own, as a job that comes as a line of JSON on its input.

The hub's library has waits without a bound and threads that outlive an interrupt; a process can be ended. It
runs as a script and imports nothing of this package, so that it starts at once. Each line that it writes is a
JSON object: ``{"ready": true}``, signs of life (``{"bytes": N}`` of all that is to be had, ``{"bar": …}`` of
what is sent), then the last word: what the job gives, or ``{"reason": …, "final": …, "quiet": …}``: whether
the cache must not stand in, and whether that is no news. It ends when its input is closed, as it is when
whoever started it is gone. No token leaves it but to the hub.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BUNDLE = "manifest.json"
CARD = "README.md"
MOST_MANIFEST = 16 << 20
MOST_CARD = 1 << 20
HUBS_OWN = (CARD, ".gitattributes", "LICENSE", "LICENSE.txt", "LICENSE.md")
"""What a repository may hold before a bundle is put there; all but the first is never touched."""
NO_TOKEN = "a push needs a token that may write: log in with `hf auth login`, or set HF_TOKEN"
BAR_SECONDS = 0.5


def snapshot(job: dict[str, Any]) -> dict[str, Any]:
    """The files of some patterns, in the hub's cache; of a bundle its manifest alone."""
    from huggingface_hub import HfApi, snapshot_download

    name, revision, seconds = job["name"], job["revision"], job["seconds"]
    info = HfApi().model_info(name, revision=revision, timeout=seconds, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
    patterns = job["patterns"]
    if BUNDLE in sizes and listed_files(name, info.sha, sizes[BUNDLE], seconds) is not None:
        patterns = [BUNDLE]
    chosen = [size for file, size in sizes.items() if any(fnmatch.fnmatchcase(file, p) for p in patterns)]
    say(bytes=sum(chosen))
    folder = snapshot_download(name, revision=revision, allow_patterns=patterns, etag_timeout=seconds)
    return {"folder": folder}


def listed_files(name: str, commit: str | None, size: int, seconds: float) -> set[str] | None:
    """The files that the manifest of a bundle lists; None where ``manifest.json`` is another program's."""
    from huggingface_hub import hf_hub_download

    if size > MOST_MANIFEST:
        return None
    path = hf_hub_download(name, BUNDLE, revision=commit, etag_timeout=seconds)
    try:
        values = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not {"schema", "format"} <= values.keys():
        return None
    files = values.get("files")
    return set(files) if isinstance(files, dict) else None


def files(job: dict[str, Any]) -> dict[str, Any]:
    """Files of one commit into a folder, each under its digest; what an earlier call left there goes on."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    say(bytes=sum(size for _, _, size in job["files"]))
    for path, digest, size in job["files"]:
        arriving = Path(job["folder"], digest)
        here = arriving.stat().st_size if arriving.exists() else -1
        if here == size:
            continue
        if here > size:
            arriving.unlink()
        url = hf_hub_url(job["name"], path, revision=job["commit"])
        about = get_hf_file_metadata(url, timeout=job["seconds"])
        if about.size is not None and about.size != size:
            return refused(f"{path[:80]} is not of the size that the bundle's manifest says")
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if urlsplit(about.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)  # the hub's storage is another host, whom no token concerns
        with AtMost(io.FileIO(arriving, "ab"), size) as file:
            http_get(about.location, file, resume_size=file.tell(), headers=headers, expected_size=size)
    return {"folder": job["folder"]}


class AtMost(io.BufferedWriter):
    """A file that takes no more than so many bytes, however many a server sends."""

    def __init__(self, raw: io.FileIO, most: int):
        super().__init__(raw)
        self._most = most

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._most:
            raise ValueError("it sends more bytes than the bundle's manifest says")
        return super().write(data)


def token(job: dict[str, Any]) -> dict[str, Any]:
    """Whether there is a token to write with; never what it is."""
    from huggingface_hub import get_token
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return refused("HF_HUB_OFFLINE forbids to ask the hub; unset it to push")
    return {"token": True} if get_token() else refused(NO_TOKEN)


def licence(job: dict[str, Any]) -> dict[str, Any]:
    """The licence that a model's card on the hub names, field by field."""
    from huggingface_hub import HfApi

    card = HfApi().model_info(job["name"], revision=job["revision"], timeout=job["seconds"]).card_data
    fields: dict[str, Any] = {} if card is None else vars(card)
    return {"licence": {name: str(fields[name]) for name in job["fields"] if fields.get(name)}}


def push(job: dict[str, Any]) -> dict[str, Any]:
    """A bundle as one commit, after which its repository holds that bundle and no file of an earlier one."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    if "reason" in (without := token(job)):
        return without
    api, name, sent = HfApi(), job["name"], dict(job["files"])
    info, created = repository(api, job)
    names = {file.rfilename: file.size or 0 for file in (info.siblings or [])} if info else {}
    earlier = set[str]()
    if BUNDLE in names:
        listed = listed_files(name, info.sha, names[BUNDLE], job["seconds"])
        if listed is None:
            return refused(f"holds a {BUNDLE} that is no bundle's; push to another name")
        earlier = {BUNDLE, *listed}
    other = sorted(names.keys() - earlier - set(HUBS_OWN))
    if other and (not earlier or sent.keys() & set(other)):
        return refused(f"holds {other[0][:80]}, which is no bundle's; push to another name")
    if job["private"] and info is not None and not info.private:
        return refused("is public; make it private on the hub first, or leave out --private")
    keep = CARD in names and not job["replace_card"] and not is_card(name, info.sha, names[CARD], job)
    operations: list[Any] = [CommitOperationAdd(path, file) for path, file in sent.items()]
    operations += [] if keep else [CommitOperationAdd(CARD, job["card"].encode())]
    gone = sorted((earlier & names.keys()) - sent.keys() - set(HUBS_OWN))
    operations += [CommitOperationDelete(path) for path in gone]
    commit = api.create_commit(
        name,
        operations,
        commit_message=job["message"],
        revision=job["revision"],
        parent_commit=info.sha if info else None,
    )
    if fault := fault_of(api.model_info(name, revision=commit.oid, files_metadata=True), job):
        return refused(f"{fault} did not arrive as it was sent; push again")
    return {"commit": commit.oid, "url": f"{api.endpoint}/{name}", "created": created, "kept_card": keep}


def repository(api: Any, job: dict[str, Any]) -> tuple[Any, bool]:
    """What the hub has at the place of a push, which is made if need be; and whether it was made."""
    from huggingface_hub import errors as hub

    name, branch, created = job["name"], job["revision"], False
    options = {"timeout": job["seconds"], "files_metadata": True}
    try:
        info = api.model_info(name, **options)
    except hub.GatedRepoError:
        raise
    except hub.RepositoryNotFoundError:
        api.create_repo(name, private=job["private"] or None, exist_ok=False)
        info, created = None, True
    if branch is None:
        return info, created
    try:
        return api.model_info(name, revision=branch, **options), created
    except hub.RevisionNotFoundError:
        api.create_branch(name, branch=branch, exist_ok=True)
        return api.model_info(name, revision=branch, **options), created


def is_card(name: str, commit: str, size: int, job: dict[str, Any]) -> bool:
    """Whether the card on the hub is one that was written here and nobody has changed."""
    import hashlib

    from huggingface_hub import hf_hub_download

    if size > MOST_CARD:
        return False
    path = hf_hub_download(name, CARD, revision=commit, etag_timeout=job["seconds"])
    text, _, rest = Path(path).read_text("utf-8", errors="replace").partition(job["mark"])
    return rest.strip().startswith(hashlib.sha256(text.encode()).hexdigest())


def fault_of(info: Any, job: dict[str, Any]) -> str:
    """The first file that the hub does not have as it was sent; a `.gitignore` there leaves files out."""
    there = {file.rfilename: file for file in info.siblings or []}
    for path, digest, size in job["digests"]:
        file = there.get(path)
        if file is None or (file.size is not None and file.size != size):
            return str(path[:80])
        if file.lfs is not None and file.lfs.sha256 != digest:
            return str(path[:80])
    return ""


def refused(reason: str) -> dict[str, Any]:
    """The last word of a job that cannot be done, and that the cache does not help."""
    return {"reason": reason, "final": True, "quiet": False}


JOBS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "snapshot": snapshot, "files": files, "token": token, "licence": licence, "push": push
}  # fmt: skip


def main(job: dict[str, Any]) -> None:
    """Do a job, and say how it went."""
    from huggingface_hub import errors as hub

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    say(ready=True)
    try:
        say(**JOBS[job["do"]](job))
    except Exception as error:  # a wide family; all of them mean "cannot be had"
        final = isinstance(error, hub.RevisionNotFoundError)
        why = push_reason(error) if job["do"] == "push" else reason(job, error)
        say(reason=without_token(why), final=final, quiet=isinstance(error, hub.OfflineModeIsEnabled))


def reason(job: dict[str, Any], error: Exception) -> str:
    """Why the hub gave nothing, and what to do about it."""
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import ENDPOINT, HF_HUB_CACHE

    name, place = job["name"], job.get("folder") or f"the hub's cache ({HF_HUB_CACHE})"
    mend = "set XDG_CACHE_HOME" if job.get("folder") else "set HF_HOME"
    match error:
        case hub.GatedRepoError():
            return f"is gated: ask for access on {ENDPOINT}/{name} and log in with `hf auth login`"
        case hub.RevisionNotFoundError():
            revision = str(job.get("revision"))[:60]
            return f"has no revision {revision!r}; {ENDPOINT}/{name}/refs lists branches and tags"
        case hub.RemoteEntryNotFoundError():
            return "lacks a file that the bundle's manifest lists; push the bundle again"
        case hub.RepositoryNotFoundError():
            return "no such model on the hub; if it is private, log in with `hf auth login`"
        case hub.OfflineModeIsEnabled():
            return "not in the local cache, and HF_HUB_OFFLINE forbids to ask the hub"
        case hub.HfHubHTTPError() if (status := error.response.status_code) in (401, 403):
            return (
                f"the hub refuses it ({status}): log in with `hf auth login`, and look at {ENDPOINT}/{name}"
            )
        case hub.HfHubHTTPError():
            return f"the hub answers {error.response.status_code}; try again later"
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no room in {place}; free some, or {mend} to another place"
        case OSError() if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{place} cannot be written; {mend} to another place"
        case ValueError():
            return f"the hub's answer is not what it should be ({first_line(error)}); try again"
    return f"the hub at {ENDPOINT} cannot be reached ({first_line(error)}); try again"


def push_reason(error: BaseException) -> str:
    """Why the hub took nothing, and what to do about it; all that has arrived is not sent again."""
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import ENDPOINT

    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, hub.HfHubHTTPError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, hub.GatedRepoError):
        return "is gated, and this token has no access to it; push to a name of your own"
    if isinstance(cause, hub.HfHubHTTPError):
        status = cause.response.status_code
        return REFUSALS.get(status, f"the hub answers {status}; push again later, {RESUMED}")
    if isinstance(error, OSError) and error.filename:
        return f"{str(error.filename)[-80:]} cannot be read ({error.strerror}); push again"
    if isinstance(error, ValueError):
        return f"the hub does not take it ({first_line(error)}); update huggingface_hub, and push again"
    return f"the hub at {ENDPOINT} cannot be reached ({first_line(error)}); push again, {RESUMED}"


RESUMED = "what has arrived is not sent twice"
REFUSALS = {
    400: "the hub does not take it as it is (400); update huggingface_hub, and push again",
    401: "the hub does not know the token (401): log in again with `hf auth login`, or renew HF_TOKEN",
    402: "the hub asks for a payment first (402): look at your account's storage, then push again",
    403: "the token may not write there (403): make one that may, or push to a name of your own",
    404: "the hub has no such user or organisation, or the token may not see it (404)",
    409: "the hub is busy with another change there (409), or the name is taken; push again, or to another",
    412: "was changed by someone while this was sent (412); look at it, then push again",
    413: "a file is larger than the hub takes (413); export with fewer bits, or look at the hub's limits",
    429: f"the hub wants fewer questions (429); push again in some minutes, {RESUMED}",
}


def first_line(error: BaseException) -> str:
    """What an error of a library says, shortened."""
    lines = str(error).strip().splitlines()
    return lines[0][:90] if lines else type(error).__name__


def without_token(text: str) -> str:
    """A text without the token, should a library have put it there."""
    from huggingface_hub import get_token

    secret = get_token()
    return text.replace(secret, "…") if secret else text


class Bars(io.TextIOBase):
    """In the place of stderr: the library's progress bars, as signs of life."""

    def __init__(self) -> None:
        self._last = 0.0

    def write(self, text: str) -> int:
        now = time.monotonic()
        if text.strip() and now - self._last > BAR_SECONDS:
            self._last = now
            say(bar=text.strip()[-100:])
        return len(text)


def say(**message: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def end_with_input() -> None:
    """End this process at once when nobody is at the other end of its input any more."""
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    line = sys.stdin.readline()
    threading.Thread(target=end_with_input, daemon=True).start()
    sys.stderr = Bars()
    main(json.loads(line))
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads of the library
