"""A trained Phantom checkpoint in the published format: safetensors, read lazily under canonical names.

Everything about files and published key names ends here: other modules read a tensor by its canonical name
(``text_decoder.layers.3.qkv.weight``), and it comes in the layout that the whole toolkit uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.checkpoint.config import PhantomConfig, knowledge
from phantom_edge.checkpoint.hub import resolve
from phantom_edge.checkpoint.key_map import TensorSource, head_key, is_buffer, tensor_sources
from phantom_edge.checkpoint.refusals import refuse_other_folders
from phantom_edge.checkpoint.stored import FLOAT_TYPES, StoredTensor, listing, repeats, stored_tensors
from phantom_edge.errors import InputError
from phantom_edge.system.reading import read_json

if TYPE_CHECKING:
    import torch


class Checkpoint(Mapping[str, "torch.Tensor"]):
    """A mapping from canonical names to tensors; each is read when it is used.

    >>> checkpoint = pe.Pretrained.open().checkpoint
    >>> checkpoint["text_decoder.layers.0.qkv.weight"].shape
    torch.Size([320, 192])
    """

    def __init__(
        self, folder: Path, config: PhantomConfig, stored: dict[str, StoredTensor], knows: str | None = None
    ):
        self.folder, self.config, self.knows = folder, config, knows
        self.stored = _used(folder, config, stored)
        self.sources: dict[str, TensorSource] = tensor_sources(config)
        self._finite: set[str] = set()
        self._check()

    @classmethod
    def open(cls, source: str | Path, *, revision: str | None = None) -> Checkpoint:
        """Open a folder or a Hugging Face id (``BK-Lee/Phantom-0.5B``; the offline cache is honoured).

        Raises :class:`InputError` listing every tensor that is missing, extra, mis-shaped or of another type,
        before any weight is used. A stored tensor is left out only if it repeats another. Pickled weights are
        refused; code inside the folder is never run.
        """
        folder = resolve(source, revision=revision)
        refuse_other_folders(folder)
        data = read_json(folder / "config.json")
        config, knows = PhantomConfig.from_dict(data), knowledge(data)
        return cls(folder, config, stored_tensors(folder), knows)

    def __getitem__(self, name: str) -> torch.Tensor:
        """The tensor in the dtype it is stored in, in canonical layout.

        Raises :class:`InputError`: a value is NaN or infinite, or the file can no longer be read.
        """
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
        return sum(math.prod(tensor.shape) for tensor in self.stored.values())

    def _read(self, key: str) -> torch.Tensor:
        tensor = self.stored[key].read()
        if key not in self._finite:  # once, because a model's weights are read several times
            if not _is_finite(tensor):
                raise InputError(
                    f"{self.folder}: {key} holds a value that is not finite; the checkpoint is broken"
                )
            self._finite.add(key)
        return tensor

    def _check(self) -> None:
        expected = {key: shape for source in self.sources.values() for key, shape in source.shapes().items()}
        stored = self.stored
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
        problems = [f"{label}: {listing(names)}" for label, names in by_kind.items() if names]
        if problems:
            raise InputError(f"{self.folder}: the weights do not match config.json; " + "; ".join(problems))


def _used(folder: Path, config: PhantomConfig, stored: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Without known buffers, which are computed anew, and without a tied head that repeats the embedding.

    Raises :class:`InputError` for a head of its own: older versions of transformers drop it unseen where the
    config ties it, newer ones use it, so that nobody can say which of the two was trained.
    """
    used = {key: tensor for key, tensor in stored.items() if not is_buffer(key)}
    embedding, head = (tensor_sources(config)["token_embedding.weight"].keys[0], head_key(config.decoder))
    if config.decoder.tied_head and head in used and embedding in used:
        if not repeats(used[head], used[embedding]):
            raise InputError(
                f"{folder}: {head} differs from the token embedding, but config.json ties the two; "
                "set tie_word_embeddings to false to use it, or remove the tensor"
            )
        del used[head]
    return used


def _is_finite(tensor: torch.Tensor) -> bool:
    import torch

    # NaN is the least and the largest of any values. Several times as fast as looking at each.
    return not tensor.is_floating_point() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())
