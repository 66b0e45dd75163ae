"""The reference backend in torch: the original, or the folded model with an artifact's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original import PhantomModel


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


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
