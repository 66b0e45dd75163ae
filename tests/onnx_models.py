"""Tiny folded models and their ONNX exports, made once per test session."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from phantom_edge.export.base import Exported, ExportOptions
from phantom_edge.export.onnx import export
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.quantize.recipe import load_recipe
from phantom_edge.source import PhantomSource

CONTEXT, CHUNK = 96, 64


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
            self._made[key] = out, write(quantized(*key[:3], overrides), out)
        return self._made[key]


def write(model: FoldedModel, out: Path, context: int = CONTEXT) -> Exported:
    """Export ``model`` with the options that all tests share."""
    return export(model, ExportOptions(context, CHUNK, "fp32", (2,)), out, lambda _: None)


def prompt(model: FoldedModel, length: int, seed: int = 0) -> np.ndarray:
    """Random ids [1, length] that begin with the folded first token."""
    ids = np.random.default_rng(seed).integers(model.config.decoder.vocab_size, size=(1, length))
    ids[0, 0] = model.first_id
    return ids


def tile(model: FoldedModel, seed: int = 0) -> np.ndarray:
    """One random tile [1, 3, S, S] in 0..1: a smooth gradient with noise."""
    size, random = model.config.tile_size, np.random.default_rng(seed)
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    noise = random.random((1, 3, size, size), dtype=np.float32)
    return 0.7 * ramp[:, None] * ramp + 0.3 * noise


def embed(model: FoldedModel, ids: np.ndarray) -> np.ndarray:
    """The torch model's embeddings [1, S, hidden]."""
    return model.embed(torch.from_numpy(ids)).numpy()


def logits(model: FoldedModel, embeds: np.ndarray, pieces: list[int]) -> np.ndarray:
    """The torch model's logits [vocab] after ``embeds`` in pieces."""
    cache = model.make_cache(CONTEXT)
    for part in torch.from_numpy(embeds).split(pieces, dim=1):
        result = model.decode(part, cache)
    return result[0, -1].numpy()


def backend_logits(backend, embeds: np.ndarray, pieces: list[int]) -> np.ndarray:
    """A backend's logits [vocab] after ``embeds`` in pieces."""
    cache = backend.make_cache()
    for part in np.split(embeds, np.cumsum(pieces)[:-1], axis=1):
        result = backend.decode(part, cache)
    return result
