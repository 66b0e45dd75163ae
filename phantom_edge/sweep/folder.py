"""The folder of a sweep: results by what they follow from, so that a second call goes on where one ended."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.pipeline.export import LIBRARIES
from phantom_edge.quantize.cache import key_of
from phantom_edge.records import from_json, to_json
from phantom_edge.sweep.axes import Combination
from phantom_edge.sweep.request import SETTINGS, SweepRequest
from phantom_edge.system.causes import short
from phantom_edge.system.files import file_sha256
from phantom_edge.system.outputs import check_folder
from phantom_edge.system.partials import BUSY, locked
from phantom_edge.system.reading import is_file, read_json
from phantom_edge.system.writing import explaining, replacing_file
from phantom_edge.targets import target_for
from phantom_edge.versions import installed

MARK: Final = "sweep.json"
KIND: Final = {"kind": "sweep", "schema": 1}
RESULTS: Final = "results"
ROOMS: Final = (
    "numbers", "text", "checkpoint", "scenes", "model", "bundle", "mil", "quantize", "export", "runtime",
    "evaluate", "pipeline", "bench", "sweep",
)  # fmt: skip
"""Folders of this package whose code results follow from."""
Result = TypeVar("Result")


class Folder:
    """A sweep's folder: ``sweep.json`` marks it, ``results`` holds a file per combination and phase."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Folder]:
        """The folder while this process alone works in it; made where there is none.

        Raises :class:`InputError` for a folder with something else in it, and where another sweep works.
        """
        check(path)
        with explaining(path, always=True):
            (path / RESULTS).mkdir(parents=True, exist_ok=True)
        with locked(path) as state:
            if state == BUSY:
                raise InputError(f"{short(path)}: another sweep works in it; wait for it, or name another")
            if not is_file(path / MARK):
                with replacing_file(path / MARK) as partial:
                    partial.write_text(json.dumps(KIND), encoding="utf-8")
            yield cls(path)

    def read(self, kind: type[Result], key: str) -> Result | None:
        """The result kept under ``key``; None where there is none or it is damaged: then it is made again."""
        path = self.path / RESULTS / f"{key}.json"
        with contextlib.suppress(InputError):
            if is_file(path):
                data = read_json(path)
                if data.get("sha256") == _digest(data.get("result")):
                    return from_json(kind, data["result"])
        return None

    def write(self, key: str, result: Any) -> None:
        """Keep a result. Raises :class:`UnwritableError`."""
        value = to_json(result)
        with replacing_file(self.path / RESULTS / f"{key}.json") as partial:
            text = json.dumps({"sha256": _digest(value), "result": value})
            partial.write_text(text, encoding="utf-8")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def check(path: Path) -> None:
    """Raise :class:`InputError` for a place where no sweep's folder is or can be."""
    check_folder(path)
    if not path.is_dir() or not any(path.iterdir()):
        return
    with contextlib.suppress(InputError):
        mark = read_json(path / MARK)
        if mark.get("kind") == KIND["kind"] and mark.get("schema") == KIND["schema"]:
            return
    raise InputError(f"{short(path)}: is not the folder of a sweep; choose another --output")


def made_key(request: SweepRequest, combination: Combination, source: Pretrained) -> str:
    """Digest of what an export and its answers follow from: checkpoint, options, questions, versions."""
    target = target_for(combination.request(request.base).target)
    facts = {
        "source": source.sha256(),
        "tokenizer": source.tokenizer.to_json(),
        "values": combination.values,
        "files": [file_sha256(path) for path in combination.files()],
        "target": to_json(target),
        "context": request.context,
        "questions": [request.tasks, request.samples],
        "versions": installed(*LIBRARIES),
    }
    return key_of(facts, ROOMS)


def timed_key(made: str) -> str:
    """Digest of what its speed follows from, the machine aside."""
    return key_of({"made": made, "settings": SETTINGS.to_dict()}, ())
