"""A trained Phantom checkpoint in the published format: safetensors, read lazily under canonical names.

Everything about files and published key names ends here: other modules read a tensor by its canonical name
(``text_decoder.layers.3.qkv.weight``), and it comes in the layout that the whole toolkit uses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.key_map import TensorSource, is_ignored, tensor_sources
from phantom_edge.errors import InputError
from phantom_edge.files import read_json

if TYPE_CHECKING:
    import torch

FLOAT_TYPES = {"F32": 4, "F16": 2, "BF16": 2}
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
INDEX = "model.safetensors.index.json"
MAX_INDEX_BYTES = 64 << 20
HUB_FILES = ("*.safetensors", "*.json", "tokenizer.model")
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
LISTED = 6  # names shown before an error says "and N more"


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies: its file, shape and safetensors dtype (``F32``, ``F16``, ``BF16``)."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


class Checkpoint(Mapping[str, "torch.Tensor"]):
    """A mapping from canonical names to tensors; each is read when it is used.

    >>> checkpoint = pe.Pretrained.open().checkpoint
    >>> checkpoint["text_decoder.layers.0.qkv.weight"].shape
    torch.Size([320, 192])
    """

    def __init__(self, folder: Path, config: PhantomConfig, stored: dict[str, StoredTensor]):
        self.folder, self.config = folder, config
        self.stored = stored
        self.sources: dict[str, TensorSource] = tensor_sources(config)
        self._check()

    @classmethod
    def open(cls, source: str | Path, *, revision: str | None = None) -> Checkpoint:
        """Open a folder or a Hugging Face id (``BK-Lee/Phantom-0.5B``; the offline cache is honoured).

        Raises :class:`InputError` listing every tensor that is missing, extra, mis-shaped or of another type,
        before any weight is read. Pickled weights are refused; code inside the folder is never run.
        """
        folder = resolve(source, revision=revision)
        config = PhantomConfig.from_file(folder / "config.json")
        return cls(folder, config, _stored_tensors(folder))

    def __getitem__(self, name: str) -> torch.Tensor:
        """The tensor in the dtype it is stored in, in canonical layout."""
        source = self.sources[name]
        return source.assemble([self._read(key) for key in source.keys])

    def __iter__(self) -> Iterator[str]:
        return iter(self.sources)

    def __len__(self) -> int:
        return len(self.sources)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a canonical tensor; nothing is read."""
        shapes = list(self.sources[name].shapes().values())
        return sum(shape[0] for shape in shapes), *shapes[0][1:]

    @property
    def files(self) -> list[Path]:
        """The weight files, sorted."""
        return sorted({tensor.file for tensor in self.stored.values()})

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(sorted({tensor.dtype for tensor in self.stored.values()}))

    @property
    def parameters(self) -> int:
        """Number of stored parameters."""
        return sum(math.prod(t.shape) for key, t in self.stored.items() if not is_ignored(key, self.config))

    def _read(self, key: str) -> torch.Tensor:
        from safetensors import safe_open

        with safe_open(self.stored[key].file, framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(key)
            return tensor

    def _check(self) -> None:
        expected = {key: shape for source in self.sources.values() for key, shape in source.shapes().items()}
        stored = {key: tensor for key, tensor in self.stored.items() if not is_ignored(key, self.config)}
        missing = [key for key in expected if key not in stored]
        extra = [key for key in stored if key not in expected]
        wrong = [
            f"{key} is {list(stored[key].shape)}, expected {list(shape)}"
            for key, shape in expected.items()
            if key in stored and stored[key].shape != shape
        ]
        known = {key: tensor.dtype for key, tensor in stored.items() if key in expected}
        types = [f"{key} is {dtype}" for key, dtype in known.items() if dtype not in FLOAT_TYPES]
        by_kind = {"missing": missing, "not part of a Phantom": extra, "wrong shape": wrong}
        by_kind["not fp32, fp16 or bf16"] = types
        problems = [f"{label}: {_listing(names)}" for label, names in by_kind.items() if names]
        if problems:
            raise InputError(f"{self.folder}: the weights do not match config.json; " + "; ".join(problems))


def resolve(source: str | Path, *, revision: str | None = None) -> Path:
    """The local folder behind a path or a Hugging Face id, downloading it if it is not in the cache."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{folder}: is a file; give the checkpoint's folder")
    if not HUB_ID.match(str(source)):
        raise InputError(f"{source}: no such folder, and not a Hugging Face id of the form owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), revision=revision, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # the hub library raises a wide family; all of them mean "cannot be had"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{source}: no such folder, and the hub gave no checkpoint ({reason})") from None


def _stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    index = folder / INDEX
    if index.exists():
        return _sharded(folder, read_json(index, MAX_INDEX_BYTES))
    single = folder / "model.safetensors"
    if single.exists():
        return _headers(single)
    pickles = sorted(p.name for pattern in PICKLES for p in folder.glob(pattern))
    if pickles:
        raise InputError(f"{folder}: only pickled weights ({pickles[0]}), which can run code; convert them")
    raise InputError(f"{folder}: neither model.safetensors nor {INDEX} is there")


def _sharded(folder: Path, index: dict[str, Any]) -> dict[str, StoredTensor]:
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise InputError(f"{folder / INDEX}: weight_map is missing or empty")
    names = set(places.values())
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"{folder / INDEX}: {name!r} is not the plain name of a safetensors file")
    absent = sorted(name for name in names if not (folder / name).is_file())
    if absent:
        raise InputError(f"{folder}: shard missing: {_listing(absent)}")
    tensors = {key: tensor for name in sorted(names) for key, tensor in _headers(folder / name).items()}
    lost = [key for key, name in places.items() if key not in tensors or tensors[key].file.name != name]
    if lost:
        raise InputError(f"{folder}: the index and the shards disagree about {_listing(lost)}")
    return tensors


def _headers(path: Path) -> dict[str, StoredTensor]:
    """Every tensor of one file; the safetensors library checks header and offsets against its length."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118  (a file is not iterable)
            return {k: StoredTensor(path, tuple(s.get_shape()), s.get_dtype()) for k, s in slices.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: truncated, or no safetensors file ({error}); download it again") from None


def _listing(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"
