"""The folded model in torch: what every exporter writes down and every artifact is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch

from phantom_edge.config import PhantomConfig
from phantom_edge.errors import InputError
from phantom_edge.model import graphs
from phantom_edge.model.fold import Fold, fold_weights
from phantom_edge.model.ops import KVCache, TorchOps, Weights
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.quantize.activations import ActivationGrid
from phantom_edge.quantize.grid import QuantizedTensor
from phantom_edge.quantize.recipe import Recipe, apply_recipe


@dataclass
class FoldedModel:
    """Folded weights and the torch graphs over them; the same calls as :class:`PhantomModel`.

    ``first_id`` is the token whose state is folded in: a prompt must begin with it. ``activation``, if given, puts the
    input of every quantised matmul on the grid that a runtime uses.

    >>> model = FoldedModel.of(checkpoint.config, checkpoint, Fold(), first_id=1)    # doctest: +SKIP
    >>> cache = model.make_cache(2048)                                              # doctest: +SKIP
    >>> logits = model.decode(model.embed(ids), cache)                              # doctest: +SKIP
    """

    spec: FoldedSpec
    weights: Weights
    fold: Fold
    first_id: int
    activation: Callable[[QuantizedTensor], ActivationGrid] | None = None
    recipe: Recipe | None = field(default=None)

    @classmethod
    def of(
        cls,
        config: PhantomConfig,
        weights: Weights,
        fold: Fold,
        first_id: int,
        progress: Callable[[Iterable, str], Iterable] | None = None,
    ) -> FoldedModel:
        """Fold ``weights`` (a :class:`Checkpoint` or any mapping of canonical names)."""
        spec, stream = fold_weights(config, weights, fold, first_id)
        return cls(spec, dict(progress(stream, "folding") if progress else stream), fold, first_id)

    @property
    def config(self) -> PhantomConfig:
        return self.spec.config

    def quantized(self, recipe: Recipe, progress: Callable[[Iterable, str], Iterable] | None = None) -> FoldedModel:
        """The same model with its weights on the recipe's grids.

        Vectors and the phantom constants stay in fp32: they are a thousandth of the size, and factors such as eta^2
        would be zero in fp16.
        """
        recipe.plan(self.module_shapes())  # refuses a rule that matches nothing
        items = progress(self.weights.items(), "quantising") if progress else self.weights.items()
        return replace(self, weights=dict(_on_grids(items, recipe)), recipe=recipe)

    def module_shapes(self) -> dict[str, tuple[int, int]]:
        """[out, in] of every weight matrix that a recipe may put on a grid, by module name."""
        names = (n for n, w in self.weights.items() if n.endswith(".weight") and len(w.shape) == 2 and is_module(n))
        return {name.removesuffix(".weight"): tuple(self.weights[name].shape) for name in names}

    def on_grid(self, activation: Callable[[QuantizedTensor], ActivationGrid] | None) -> FoldedModel:
        """The same integers with activations on a runtime's grid."""
        return replace(self, activation=activation)

    @torch.inference_mode()
    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time.

        So does every backend: where an activation grid spans a call, a tile must not depend on its neighbours.
        """
        return torch.cat([graphs.vision_encoder(self._ops(), self.spec, tile[None]) for tile in pixels])

    @torch.inference_mode()
    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Ids [1, S] to embeddings [1, S, hidden]."""
        return graphs.token_embedding(self._ops(), ids)

    def make_cache(self, context: int) -> KVCache:
        """An empty cache for ``context`` tokens."""
        return KVCache(self.spec, context)

    def decode(self, embeds: torch.Tensor, cache: KVCache, *, all_positions: bool = False) -> torch.Tensor:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [1, 1, vocab] of the last position, or of all."""
        return self._extend(graphs.text_decoder, embeds, cache, all_positions)

    def hidden(self, embeds: torch.Tensor, cache: KVCache, *, all_positions: bool = True) -> torch.Tensor:
        """Continue ``cache`` with embeddings [1, S, hidden]: hidden states [1, S, hidden] after the final norm."""
        return self._extend(graphs.hidden_states, embeds, cache, all_positions)

    @torch.inference_mode()
    def _extend(self, graph: Callable, embeds: torch.Tensor, cache: KVCache, all_positions: bool) -> torch.Tensor:
        steps = embeds.shape[1]
        if cache.length + steps > cache.context:
            raise InputError(f"{cache.length + steps} tokens do not fit a context of {cache.context}; raise --context")
        out = graph(self._ops(cache=cache, steps=steps), self.spec, embeds, all_positions=all_positions)
        cache.length += steps
        return out

    def _ops(self, **decoder) -> TorchOps:
        return TorchOps(self.spec, self.weights, activation=self.activation, **decoder)


def is_module(name: str) -> bool:
    """Whether a weight belongs to the recipe: anything but the phantom constants and the gate."""
    return ".phantom." not in name and ".gate." not in name


def _on_grids(items: Iterable, recipe: Recipe):
    for name, weight in items:
        if weight.ndim < 2 or not is_module(name):
            yield name, weight
            continue
        for module, converted in apply_recipe([(name.removesuffix(".weight"), weight)], recipe):
            yield (f"{module}.weight" if name.endswith(".weight") else module), converted
