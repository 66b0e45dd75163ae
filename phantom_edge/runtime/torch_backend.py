"""The reference backend in torch: the original, or the folded model with an artifact's integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from phantom_edge.bundle.backend import front, refill
from phantom_edge.errors import InputError
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import KVCache
from phantom_edge.model.original import LayerState, OriginalCache, PhantomModel

PARTS: Final = 5
"""Of a layer of the original's cache: k and v, and the first token's q, k and v."""


class TorchBackend:
    """A :class:`PhantomModel` or :class:`FoldedModel` behind the :class:`Backend` calls."""

    name = "torch"

    def __init__(self, model: PhantomModel | FoldedModel, context: int, chunk: int):
        self.model, self.context, self.chunk = model, context, chunk

    def encode_image(self, pixels: np.ndarray) -> np.ndarray:
        return self.model.encode_image(_tensor(pixels)).numpy()

    def embed(self, ids: np.ndarray) -> np.ndarray:
        return self.model.embed(_tensor(ids)).numpy()

    def make_cache(self) -> Any:
        return self.model.make_cache(self.context)

    def decode(self, embeds: np.ndarray, cache: Any) -> np.ndarray:
        return self.model.decode(_tensor(embeds), cache)[0, -1].numpy()

    def snapshot(self, cache: Any) -> list[np.ndarray]:
        """Copies of what is filled: keys and values [1, length, Hkv, W]; what the original keeps beside."""
        if isinstance(cache, OriginalCache):
            layers = [(layer.k, layer.v, *layer.first) for layer in cache.layers]
            return [tensor.numpy().copy() for layer in layers for tensor in layer]
        return [front(buffer, cache.length, axis=1).copy() for buffer in _buffers(cache)]

    def restore(self, arrays: Sequence[np.ndarray]) -> Any:
        """A new cache with the content of a snapshot. Raises :class:`InputError` for other arrays."""
        cache = self.make_cache()
        if isinstance(cache, OriginalCache):
            self._check_original(arrays)
            tensors = [torch.tensor(array) for array in arrays]
            for n in range(0, len(tensors), PARTS):
                k, v, *first = tensors[n : n + PARTS]
                cache.layers.append(LayerState(k, v, (first[0], first[1], first[2])))
            cache.length = arrays[0].shape[1]
        else:
            cache.length = refill(_buffers(cache), arrays, axis=1)
        return cache

    def _check_original(self, arrays: Sequence[np.ndarray]) -> None:
        d = self.model.config.decoder
        length = arrays[0].shape[1] if arrays and arrays[0].ndim == 4 else 0
        layer = [(1, length, d.kv_heads, d.head_dim)] * 2 + [(1, 1, d.heads, d.head_dim)] * (PARTS - 2)
        kinds = [(array.shape, array.dtype.name) for array in arrays]
        if not 0 < length <= self.context or kinds != [(shape, "float32") for shape in layer * d.layers]:
            raise InputError("the stored KV cache is none of this checkpoint's; compute it again")


def _buffers(cache: KVCache) -> list[np.ndarray]:
    return [tensor.numpy() for pair in zip(cache.keys, cache.values, strict=True) for tensor in pair]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
