"""What a server is started with, checked before anything is begun."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from phantom_edge.errors import InputError
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.serve.models import Model
from phantom_edge.system.reading import read_bytes

MAX_KEY: Final = 1024  # bytes of a key's file
_KEY: Final = re.compile(r"[\x21-\x7e]{8,512}")


@dataclass(frozen=True)
class ServeOptions:
    """A server's settings; the first of the ``models`` is the default.

    ``memory`` and ``max_body`` are bytes, ``timeout`` and ``grace`` seconds.
    """

    models: dict[str, Model]
    queue: int = 64
    memory: int | None = None
    timeout: float = 300.0
    grace: int = 30
    max_body: int = 20 << 20
    api_key: str | None = field(default=None, repr=False)
    allow_url: bool = False
    allow_private_url: bool = False
    cors: tuple[str, ...] = ()
    cache: int = 256 << 20
    """Bytes of what each model keeps of pictures in memory; 0 keeps nothing."""
    cache_folder: Path | None = None
    """Where it is kept on disk as well, at most ``cache_disk`` bytes of it."""
    cache_disk: int = 4 << 30

    def facts(self, model: Model) -> dict[str, Any]:
        """What a model's process is told."""
        folder = None if self.cache_folder is None else str(self.cache_folder.absolute())
        place = None if model.place is None else str(Path(model.place).absolute())
        return {"model": place, "cache": self.cache, "cache_folder": folder, "cache_disk": self.cache_disk}

    def __post_init__(self) -> None:
        if self.cache_folder is not None:
            PictureCache(0, self.cache_folder, self.cache_disk)  # says now what is wrong with it
        if self.allow_private_url and not self.allow_url:
            raise InputError("--allow-private-url goes with --allow-url; give both")
        if self.api_key is not None and not _KEY.fullmatch(self.api_key):
            raise InputError("the API key is none; give 8 to 512 printable ASCII characters without spaces")


def api_key(key: str | None, file: Path | None) -> str | None:
    """The API key as given, or from its file. Raises :class:`InputError`."""
    if key is not None and file is not None:
        raise InputError("two API keys are given; give --api-key, its variable or --api-key-file")
    return key if file is None else read_bytes(file, MAX_KEY).decode(errors="replace").strip()


def is_local(host: str) -> bool:
    """Whether a host to listen on lets this machine alone in."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
