"""The folded model in torch: what every exporter writes down and every artifact is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.errors import InputError
from phantom_edge.model import graphs
from phantom_edge.model.fold import Fold, fold_weights
from phantom_edge.model.ops import CacheScales, KVCache, TorchOps, Weights
from phantom_edge.model.original_run import OriginalRun
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import LazyWeights, Maker, Weight, shape_of, view
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.apply import apply_recipe
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import Recipe
from phantom_edge.progress import Step, Track, no_step, no_track


@dataclass
class FoldedModel:
    """Folded weights and the torch graphs over them; the same calls as :class:`PhantomModel`.

    ``first_id`` is the token whose state is folded in: a prompt must begin with it. ``activation``, if given,
    puts the input of every quantised matmul on the grid that a runtime uses; ``kv``, if given, makes the KV
    cache one of int8.

    >>> nano = pe.Pretrained.open()
    >>> model = FoldedModel.of(nano.config, nano.checkpoint, pe.Fold(), nano.first_id)
    >>> model.decode(model.embed(torch.tensor([[nano.first_id, 5]])), model.make_cache(64)).shape
    torch.Size([1, 1, 768])
    """

    spec: FoldedSpec
    weights: Weights
    fold: Fold
    first_id: int
    activation: Callable[[QuantizedTensor], ActivationGrid] | None = None
    recipe: Recipe | None = field(default=None)
    kv: CacheScales | None = None

    @classmethod
    def of(
        cls,
        config: PhantomConfig,
        weights: Weights,
        fold: Fold,
        first_id: int,
        progress: Track = no_track,
        original: OriginalRun | None = None,
    ) -> FoldedModel:
        """Fold ``weights`` (a :class:`Checkpoint` or any mapping of canonical names), read when needed.

        ``original`` is their run if it is at hand.
        """
        firsts = original and original.firsts
        spec, folded = fold_weights(config, weights, fold, first_id, progress, firsts)
        return cls(spec, folded, fold, first_id)

    @property
    def config(self) -> PhantomConfig:
        return self.spec.config

    def quantized(self, recipe: Recipe, step: Step = no_step) -> FoldedModel:
        """The same model with its weights on the recipe's grids, each when it is first asked for, and then
        kept.

        Vectors and the phantom constants stay in fp32: they are a thousandth of the size, and factors such as
        eta^2 would be zero in fp16. ``step`` is told the name of each weight as it is converted.
        """
        recipe.plan(self.module_shapes())  # refuses a rule that matches nothing

        def convert(name: str) -> Callable[[], Weight]:
            def make() -> Weight:
                step(f"quantising {name}")
                ((_, converted),) = apply_recipe([(name.removesuffix(".weight"), self.weights[name])], recipe)
                return converted

            return make

        def goes_on_a_grid(name: str) -> bool:
            return len(shape_of(self.weights, name)) >= 2 and is_module(name)

        makers = view(self.weights, lambda _: True)
        makers |= {n: Maker(m.shape, convert(n)) for n, m in makers.items() if goes_on_a_grid(n)}
        return replace(self, weights=LazyWeights(makers, keep=True), recipe=recipe)

    def module_shapes(self) -> dict[str, tuple[int, int]]:
        """[out, in] of every weight matrix that a recipe may put on a grid, by module name."""
        shapes = {
            n: shape_of(self.weights, n) for n in self.weights if n.endswith(".weight") and is_module(n)
        }
        return {name.removesuffix(".weight"): shape for name, shape in shapes.items() if len(shape) == 2}

    def matrix(self, module: str) -> torch.Tensor:
        """The weight [out, in] of a module in fp32."""
        weight = self.weights[f"{module}.weight"]
        return weight.dequantize() if isinstance(weight, QuantizedTensor) else weight.float()

    def on_grid(self, activation: Callable[[QuantizedTensor], ActivationGrid] | None) -> FoldedModel:
        """The same integers with activations on a runtime's grid."""
        return replace(self, activation=activation)

    def with_kv(self, kv: CacheScales | None) -> FoldedModel:
        """The same model with a KV cache in int8 on the grid ``kv``, or in fp32. Raises
        :class:`InputError`.
        """
        heads = self.config.decoder.kv_heads
        wanted = [(heads, self.spec.width(n)) for n in range(self.config.decoder.layers)]
        for scales in (kv.keys, kv.values) if kv is not None else ():
            if [tuple(scale.shape) for scale in scales] != wanted:
                raise InputError(
                    "the KV cache's scales are not those of this model and fold; calibrate them for it"
                )
        return replace(self, kv=kv)

    @torch.inference_mode()
    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden], one tile at a time.

        So does every backend: where an activation grid spans a call, a tile must not depend on its
        neighbours.
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
        """Continue ``cache`` with embeddings [1, S, hidden]: logits [1, 1, vocab] of the last position, or of
        all.
        """
        return self._extend(graphs.text_decoder, embeds, cache, all_positions)

    def hidden(self, embeds: torch.Tensor, cache: KVCache, *, all_positions: bool = True) -> torch.Tensor:
        """Continue ``cache`` with embeddings [1, S, hidden]: hidden states [1, S, hidden] after the final
        norm.
        """
        return self._extend(graphs.hidden_states, embeds, cache, all_positions)

    @torch.inference_mode()
    def _extend(
        self, graph: Callable, embeds: torch.Tensor, cache: KVCache, all_positions: bool
    ) -> torch.Tensor:
        steps = embeds.shape[1]
        if cache.length + steps > cache.context:
            raise InputError(
                f"{cache.length + steps} tokens do not fit a context of {cache.context}; raise --context"
            )
        out = graph(self._ops(cache=cache, steps=steps), self.spec, embeds, all_positions=all_positions)
        cache.length += steps
        return out

    def _ops(self, **decoder) -> TorchOps:
        return TorchOps(self.spec, self.weights, activation=self.activation, kv=self.kv, **decoder)


def is_module(name: str) -> bool:
    """Whether a weight belongs to the recipe: anything but the phantom constants and the gate."""
    return ".phantom." not in name and ".gate." not in name
