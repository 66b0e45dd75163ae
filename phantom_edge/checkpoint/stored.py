"""The tensors that a checkpoint's folder stores: where each lies, and whether those that are not used repeat
others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phantom_edge.errors import MAX_SHOWN, InputError, one_line, shown
from phantom_edge.system.reading import is_file, open_safetensors, read_json

if TYPE_CHECKING:
    import torch

FLOAT_TYPES = {"F32": 4, "F16": 2, "BF16": 2}
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
MAX_INDEX_BYTES = 64 << 20
LISTED = 2  # names shown before an error says "and N more"
WRAPPERS = ("module.", "_orig_mod.")
"""What DistributedDataParallel and ``torch.compile`` put before every name of a model that they wrap."""
_COMPARED = 1 << 24  # values compared at a time


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: its file, its shape, dtype (``F32``, ``F16``, ``BF16``) and name there."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    key: str

    def read(self) -> torch.Tensor:
        """All of it, in its own dtype."""
        # It was whole when it was opened.
        with open_safetensors(self.file, mend="it changed while it was in use; leave it alone") as file:
            tensor: torch.Tensor = file.get_tensor(self.key)
            return tensor

    def rows(self) -> Iterator[torch.Tensor]:
        """It in parts of at most some millions of values, so that no second copy fills the memory."""
        step = max(1, _COMPARED // max(1, math.prod(self.shape[1:])))
        with open_safetensors(self.file) as file:
            part = file.get_slice(self.key)
            for start in range(0, self.shape[0], step):
                yield part[start : start + step]


def repeats(copy: StoredTensor, original: StoredTensor) -> bool:
    """Whether two stored tensors hold the same values, in whatever float types."""
    if copy.shape != original.shape or not {copy.dtype, original.dtype} <= FLOAT_TYPES.keys():
        return False
    pairs = zip(copy.rows(), original.rows(), strict=True)
    return all(bool((a.float() == b.float()).all()) for a, b in pairs)


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Every tensor of a folder's safetensors files by its published name; only headers are read.

    Raises :class:`InputError`: no such files, a damaged one, or an index and files that disagree.
    """
    index, single = folder / INDEX, folder / SINGLE
    if is_file(index):
        tensors = _sharded(folder, read_json(index, MAX_INDEX_BYTES))
    elif is_file(single):
        _refuse_others(folder, {SINGLE}, "without an index")
        tensors = _headers(single)
    else:
        raise InputError(f"{folder}: neither {SINGLE} nor {INDEX} is there")
    return _unwrapped(tensors)


def _unwrapped(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Without the prefix that a training wrapper puts before every name."""
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _unwrapped({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})
    return dict(tensors)


def _sharded(folder: Path, index: dict[str, Any]) -> dict[str, StoredTensor]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{folder / INDEX}: weight_map is missing or empty")
    for name in places.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{folder / INDEX}: {shown(name)} is not the plain name of a safetensors file")
    names = set(places.values())
    absent = sorted(name for name in names if not is_file(folder / name))
    if absent:
        raise InputError(f"{folder}: shard missing: {listing(absent)}")
    _refuse_others(folder, names, f"not in {INDEX}")
    tensors: dict[str, StoredTensor] = {}
    for name in sorted(names):
        headers = _headers(folder / name)
        if twice := sorted(headers.keys() & tensors.keys()):
            raise InputError(f"{folder}: in more than one shard: {listing(twice)}; keep one of each")
        tensors |= headers
    lost = [key for key, name in places.items() if key not in tensors or tensors[key].file.name != name]
    if lost:
        raise InputError(f"{folder}: the index and the shards disagree about {listing(lost)}")
    return tensors


def _refuse_others(folder: Path, names: set[str], why: str) -> None:
    """Raise :class:`InputError` for weights beside those that are used: nobody could say which are meant."""
    paths = [folder / SINGLE, *folder.glob("model-*-of-*.safetensors")]
    if others := sorted(path.name for path in paths if path.exists() and path.name not in names):
        raise InputError(f"{folder}: {listing(others)} beside the weights, {why}; remove what is not meant")


def _headers(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of one file; the safetensors library checks header and offsets against its length."""
    with open_safetensors(path, mend="download it again") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  (a file is not iterable)
        return {k: StoredTensor(path, tuple(s.get_shape()), s.get_dtype(), k) for k, s in slices.items()}


def listing(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    listed = ", ".join(one_line(name, MAX_SHOWN) for name in names[:LISTED])
    return listed if len(names) <= LISTED else f"{listed} and {len(names) - LISTED} more"
