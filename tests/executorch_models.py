"""Tiny folded models and their ExecuTorch exports, made once per test module."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.executorch import export
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.quantize.grid import QuantizedTensor
from phantom_edge.quantize.recipe import load_recipe
from phantom_edge.source import PhantomSource

CONTEXT, CHUNK = 48, 16
OPTIONS = ExportOptions(CONTEXT, CHUNK, "fp32", (2, 5))


@cache
def folded(checkpoint: Path, fold: str = "exact") -> FoldedModel:
    """The folded model of a checkpoint in fp32."""
    source = PhantomSource.open(checkpoint)
    return FoldedModel.of(source.config, source.checkpoint, Fold.parse(fold), source.first_id)


@cache
def quantized(checkpoint: Path, recipe: str, fold: str = "exact", overrides: tuple[str, ...] = ()) -> FoldedModel:
    """The same on a recipe's grids."""
    return folded(checkpoint, fold).quantized(load_recipe(recipe, overrides))


class Exports:
    """Exports below one temporary folder, each made when first asked for."""

    def __init__(self, root: Path):
        self.root = root
        self._made: dict[tuple, tuple[Path, Exported]] = {}

    def __call__(self, checkpoint: Path, recipe: str = "fp32", fold: str = "exact", overrides: tuple[str, ...] = ()):
        """The export's folder and what :func:`export` said of it."""
        key = (checkpoint, recipe, fold, overrides)
        if key not in self._made:
            out = self.root / str(len(self._made))
            out.mkdir()
            self._made[key] = out, export(quantized(*key), OPTIONS, out, lambda _: None)
        return self._made[key]


def integers(model: FoldedModel) -> dict[str, QuantizedTensor]:
    """The model's quantised weights by module name."""
    return {n.removesuffix(".weight"): w for n, w in model.weights.items() if isinstance(w, QuantizedTensor)}


def random_ids(model: FoldedModel, length: int, seed: int = 0) -> np.ndarray:
    """Ids [1, length] that begin with the folded first token."""
    ids = np.random.default_rng(seed).integers(model.config.decoder.vocab_size, size=(1, length))
    ids[0, 0] = model.first_id
    return ids


def random_tiles(model: FoldedModel, count: int = 1) -> np.ndarray:
    """Tiles [count, 3, S, S] in 0..1."""
    side = model.config.tile_size
    return np.random.default_rng(1).random((count, 3, side, side), dtype=np.float32)


def torch_logits(model: FoldedModel, embeds: np.ndarray) -> np.ndarray:
    """The torch model's logits [vocab] after ``embeds``."""
    return model.decode(torch.from_numpy(embeds), model.make_cache(CONTEXT))[0, -1].numpy()


def logits_in(backend, embeds: np.ndarray, pieces: list[int]) -> np.ndarray:
    """A backend's logits [vocab] after ``embeds`` in pieces."""
    cache = backend.make_cache()
    for part in np.split(embeds, np.cumsum(pieces)[:-1], axis=1):
        result = backend.decode(part, cache)
    return result
