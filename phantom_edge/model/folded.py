"""The folded model in torch: what every exporter writes down and every artifact is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.loading import Checkpoint
from phantom_edge.checkpoint.tailored import POSITIONS, at_tile_size
from phantom_edge.errors import InputError
from phantom_edge.model import graphs
from phantom_edge.model.fold import Fold, fold_weights
from phantom_edge.model.ops import CacheScales, KVCache, TorchOps, Weights
from phantom_edge.model.original_run import OriginalRun
from phantom_edge.model.rounded_ops import RoundedOps, Rounding
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import LazyWeights, Maker, Weight, dense, is_module, shape_of, view
from phantom_edge.numbers.activations import GridOf
from phantom_edge.numbers.apply import apply_recipe
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.progress import Step, Track, no_step, no_track


@dataclass
class FoldedModel:
    """Folded weights and the torch graphs over them; the same calls as :class:`PhantomModel`.

    ``first_id`` is the token whose state is folded in: a prompt must begin with it. ``activation`` puts the
    input of every quantised matmul on a runtime's grid, ``kv`` the cache on a grid of int8; ``rounding`` is
    an NPU's, for the graphs that it computes.

    >>> nano = pe.Pretrained.open()
    >>> model = FoldedModel.of(nano.config, nano.checkpoint, pe.Fold(), nano.first_id)
    >>> model.decode(model.embed(torch.tensor([[nano.first_id, 5]])), model.make_cache(64)).shape
    torch.Size([1, 1, 768])
    """

    spec: FoldedSpec
    weights: Weights
    fold: Fold
    first_id: int
    activation: GridOf | None = None
    recipe: Recipe | None = field(default=None)
    kv: CacheScales | None = None
    rounding: Rounding | None = None

    @classmethod
    def of(
        cls,
        config: PhantomConfig,
        weights: Mapping[str, Tensor],
        fold: Fold,
        first_id: int,
        progress: Track = no_track,
        original: OriginalRun | None = None,
    ) -> FoldedModel:
        """Fold ``weights``, a :class:`Checkpoint` or any mapping of canonical names, read as needed.

        ``original`` is their run if it is at hand.
        """
        firsts = original.firsts if original else None
        spec, folded = fold_weights(config, weights, fold, first_id, progress, firsts)
        return cls(spec, folded, fold, first_id)

    @property
    def rounds_activations(self) -> bool:
        """Whether a runtime's rounding of activations or of the KV cache is part of the model."""
        plan = self.recipe.plan(self.module_shapes()) if self.recipe else []
        grid = self.activation is not None and any(assignment.precision.is_integer for assignment in plan)
        return self.kv is not None or self.rounding is not None or grid

    @property
    def unrounded(self) -> FoldedModel:
        """The same weights with activations and KV cache in fp32."""
        return replace(self, activation=None, kv=None, rounding=None)

    @property
    def config(self) -> PhantomConfig:
        return self.spec.config

    def quantized(self, recipe: Recipe, step: Step = no_step) -> FoldedModel:
        """The same model with its weights on the recipe's grids, each made at its first access and then kept.

        Vectors and the phantom constants stay in fp32: they are a thousandth of the size, and factors such as
        eta^2 would be zero in fp16. ``step`` reports each weight.
        """
        recipe.plan(self.module_shapes())  # refuses a rule that matches nothing

        def convert(name: str) -> Weight:
            step(f"quantising {name}")
            module = name.removesuffix(".weight")
            ((_, converted),) = apply_recipe([(module, dense(self.weights[name]))], recipe)
            return converted

        def goes_on_a_grid(name: str) -> bool:
            return len(shape_of(self.weights, name)) >= 2 and is_module(name)

        makers = view(self.weights, lambda _: True)
        makers |= {n: Maker(m.shape, partial(convert, n)) for n, m in makers.items() if goes_on_a_grid(n)}
        return replace(self, weights=LazyWeights(makers, keep=True), recipe=recipe)

    def module_shapes(self) -> dict[str, tuple[int, int]]:
        """[out, in] of every weight matrix that a recipe may put on a grid, by module name."""
        names = [n for n in self.weights if n.endswith(".weight") and is_module(n)]
        shapes = {name.removesuffix(".weight"): shape_of(self.weights, name) for name in names}
        return {name: shape for name, shape in shapes.items() if len(shape) == 2}

    def matrix(self, module: str) -> Tensor:
        """The weight [out, in] of a module in fp32."""
        return dense(self.weights[f"{module}.weight"])

    def on_grid(self, activation: GridOf | None) -> FoldedModel:
        """The same integers with activations on a runtime's grid."""
        return replace(self, activation=activation)

    def with_kv(self, kv: CacheScales | None) -> FoldedModel:
        """The same model with its KV cache in int8 on the grid ``kv``, or in fp32."""
        heads = self.config.decoder.kv_heads
        shapes = [(heads, self.spec.width(n)) for n in range(self.config.decoder.layers)]
        for scales in (kv.keys, kv.values) if kv is not None else ():
            if [tuple(scale.shape) for scale in scales] != shapes:
                raise InputError("the KV cache's scales are not those of this model and fold; calibrate them")
        return replace(self, kv=kv)

    def with_tiles(self, checkpoint: Checkpoint, sizes: Sequence[int]) -> FoldedModel:
        """The same model with position embeddings of ``checkpoint`` for further sizes of tiles.

        Raises :class:`InputError` for a size that the checkpoint's patches do not give.
        """
        if not sizes:
            return self
        spec = replace(self.spec, other_tiles=tuple(sizes))
        makers = view(self.weights, lambda _: True)
        for size in sizes:
            own = at_tile_size(checkpoint, size)
            makers[spec.positions(size)] = Maker(own.shape(POSITIONS), partial(_in_fp32, own, POSITIONS))
        return replace(self, spec=spec, weights=LazyWeights(makers))

    def at_tile(self, size: int) -> FoldedModel:
        """The same model for tiles of that side alone: what one vision encoder of several computes."""
        return replace(self, spec=self.spec.at_tile(size))

    def with_rounding(self, rounding: Rounding | None) -> FoldedModel:
        """The same model as an NPU rounds it, or without such rounding."""
        return replace(self, rounding=rounding)

    @torch.inference_mode()
    def encode_image(self, pixels: Tensor) -> Tensor:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time.

        So does every backend: where a grid spans a call, a tile must not depend on its neighbours.
        """
        return torch.cat(
            [graphs.vision_encoder(self._ops("vision_encoder"), self.spec, tile[None]) for tile in pixels]
        )

    @torch.inference_mode()
    def embed(self, ids: Tensor) -> Tensor:
        """Ids [1, S] to embeddings [1, S, hidden]."""
        return self._ops("token_embedding").embedding(ids)

    def make_cache(self, context: int) -> KVCache:
        """An empty cache for ``context`` tokens."""
        return KVCache(self.spec, context)

    def decode(self, embeds: Tensor, cache: KVCache, *, all_positions: bool = False) -> Tensor:
        """Continue ``cache`` with embeddings [1, S, hidden]: logits of the last position, or of all."""
        return self._extend(graphs.text_decoder, embeds, cache, all_positions)

    def hidden(self, embeds: Tensor, cache: KVCache, *, all_positions: bool = True) -> Tensor:
        """:meth:`decode` up to the head: hidden states [1, S, hidden] after the final norm."""
        return self._extend(graphs.hidden_states, embeds, cache, all_positions)

    @torch.inference_mode()
    def _extend(
        self, graph: Callable[..., Tensor], embeds: Tensor, cache: KVCache, all_positions: bool
    ) -> Tensor:
        steps, end = embeds.shape[1], cache.length + embeds.shape[1]
        if end > cache.context:
            raise InputError(f"{end} tokens do not fit a context of {cache.context}; raise --context")
        out = graph(self._ops("text_decoder", cache, steps), self.spec, embeds, all_positions=all_positions)
        cache.length = end
        return out

    def _ops(self, graph: str, cache: KVCache | None = None, steps: int = 0) -> TorchOps:
        if self.rounding is not None and self.rounding.covers(graph):
            at = self.rounding.at
            return RoundedOps(self.spec, self.weights, at=at, kv=self.kv, cache=cache, steps=steps)
        return TorchOps(
            self.spec, self.weights, activation=self.activation, kv=self.kv, cache=cache, steps=steps
        )


def _in_fp32(checkpoint: Checkpoint, name: str) -> Tensor:
    return checkpoint[name].float()
