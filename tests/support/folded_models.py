"""Tiny folded models, made once per run, and what the tests of every format do with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.export.base import Exported
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import load_recipe


@cache
def folded(checkpoint: Path, fold: str = "exact") -> FoldedModel:
    """The folded model of a checkpoint in fp32."""
    source = Pretrained.open(checkpoint)
    return FoldedModel.of(source.config, source.checkpoint, Fold.parse(fold), source.first_id)


@cache
def quantized(
    checkpoint: Path, recipe: str, fold: str = "exact", overrides: tuple[str, ...] = ()
) -> FoldedModel:
    """The same on a recipe's grids."""
    return folded(checkpoint, fold).quantized(load_recipe(recipe, overrides))


def integers(model: FoldedModel) -> dict[str, QuantizedTensor]:
    """The model's quantised weights by module name."""
    return {n.removesuffix(".weight"): w for n, w in model.weights.items() if isinstance(w, QuantizedTensor)}


class Exports:
    """Exports below one temporary folder, each made by ``write(model, out)`` when first asked for."""

    def __init__(self, root: Path, write: Callable[[FoldedModel, Path], Exported], recipe: str = "fp32"):
        self.root, self._write, self._recipe = root, write, recipe
        self._made: dict[tuple, tuple[Path, Exported]] = {}

    def __call__(
        self, checkpoint: Path, recipe: str = "", fold: str = "exact", overrides: tuple[str, ...] = ()
    ):
        """The export's folder and what the exporter said of it."""
        key = (checkpoint, recipe or self._recipe, fold, overrides)
        if key not in self._made:
            out = self.root / str(len(self._made))
            out.mkdir()
            self._made[key] = out, self._write(quantized(*key), out)
        return self._made[key]


def random_ids(model: FoldedModel, length: int, seed: int = 0) -> np.ndarray:
    """Ids [1, length] that begin with the folded first token."""
    ids = np.random.default_rng(seed).integers(model.config.decoder.vocab_size, size=(1, length))
    ids[0, 0] = model.first_id
    return ids


def torch_logits(model: FoldedModel, embeds: np.ndarray, pieces: list[int] | None = None) -> np.ndarray:
    """The torch model's logits [vocab] after ``embeds``, whole or in pieces."""
    cache = model.make_cache(embeds.shape[1])
    for part in torch.from_numpy(embeds).split(pieces or [embeds.shape[1]], dim=1):
        result = model.decode(part, cache)
    return result[0, -1].numpy()


def backend_logits(backend, embeds: np.ndarray, pieces: list[int]) -> np.ndarray:
    """A backend's logits [vocab] after ``embeds`` in pieces."""
    cache = backend.make_cache()
    for part in np.split(embeds, np.cumsum(pieces)[:-1], axis=1):
        result = backend.decode(part, cache)
    return result
