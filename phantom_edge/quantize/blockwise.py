"""Running a folded model block by block over many samples, with an ear at every matrix product.

The graphs are those of :mod:`phantom_edge.model.graphs`; what differs from a session is that all samples pass
one block before any passes the next, so that only one block's weights and statistics are in memory, and that
a sample is one packed sequence without a cache. Numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from phantom_edge.errors import CheckError
from phantom_edge.model import graphs
from phantom_edge.model.ops import TorchOps, Weights
from phantom_edge.model.rope import rotary_tables
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.progress import Step, no_step
from phantom_edge.quantize.calibration import Sample

if TYPE_CHECKING:
    from phantom_edge.text.packing import Packed

Observer = Callable[[str, Tensor], None]
GridOf = Callable[[QuantizedTensor], ActivationGrid]
RoundCache = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
PROJECTOR = "vision_encoder.projector"
EMBEDDING = "token_embedding"
HEAD = "text_decoder.head"


class PackedOps(TorchOps):
    """:class:`TorchOps` over one packed sequence, whole and without a cache.

    ``observe`` is told the module's name and its input [..., in] before every linear; ``round_cache`` may
    change the keys and values [1, S, Hkv, W] of a layer as a cache in few bits would.
    """

    def __init__(
        self,
        spec: FoldedSpec,
        weights: Weights,
        *,
        packed: Packed | None = None,
        observe: Observer | None = None,
        activation: GridOf | None = None,
        round_cache: RoundCache | None = None,
    ):
        super().__init__(spec, weights, activation=activation)
        self.observe, self.round_cache = observe, round_cache
        if packed is not None:
            d = spec.config.decoder
            positions = packed.positions[0]
            self.tables = rotary_tables(d.rope, d.head_dim, positions, int(positions.max()) + 1)
            self.mask = packed.mask[0]

    def linear(self, x, name):
        if self.observe is not None:
            self.observe(name, x)
        return super().linear(x, name)

    def cached_attention(self, q, k, v, layer, scale):
        if self.round_cache is not None:
            k, v = self.round_cache(layer, k, v)
        group = q.shape[2] // k.shape[2]
        q, k, v = (t.transpose(1, 2) for t in (q, *(t.repeat_interleave(group, dim=2) for t in (k, v))))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, scale=scale)  # [1, H, S, W]
        return out.transpose(1, 2)


@dataclass(frozen=True)
class Block:
    """A stretch of the model between two points where its state is one tensor. ``modules`` are in order of
    use.
    """

    name: str
    modules: tuple[str, ...]
    vision: bool
    run: Callable[[PackedOps, Tensor], Tensor]


def vision_blocks(spec: FoldedSpec) -> list[Block]:
    """The vision encoder's layers and the projector; states are [T, 1 + patches, C], then [T, tokens,
    hidden].
    """
    blocks = []
    for n in range(spec.config.vision.layers):
        at = f"vision_encoder.layers.{n}"
        modules = tuple(f"{at}.{part}" for part in ("qkv", "proj", "fc1", "fc2"))
        blocks.append(Block(at, modules, True, lambda ops, x, n=n: graphs.vision_layer(ops, spec, n, x)))
    modules = (f"{PROJECTOR}.fc1", f"{PROJECTOR}.fc2")
    return [*blocks, Block(PROJECTOR, modules, True, graphs.projector)]


def decoder_blocks(spec: FoldedSpec) -> list[Block]:
    """The decoder's layers; states are [1, S, hidden]."""
    blocks = []
    for n in range(spec.config.decoder.layers):
        at = f"text_decoder.layers.{n}"
        modules = tuple(f"{at}.{part}" for part in ("qkv", "o", "gate_up", "down"))
        blocks.append(Block(at, modules, False, lambda ops, x, n=n: graphs.decoder_layer(ops, spec, n, x)))
    return blocks


def weights_of(weights: Weights, block: str) -> dict[str, Tensor | QuantizedTensor]:
    """The weights of one block, made once: a lazy mapping would make them at every access."""
    return {name: weights[name] for name in weights if name.startswith(f"{block}.")}


def plain(weights: Mapping[str, Tensor | QuantizedTensor]) -> dict[str, Tensor]:
    """The same with integers multiplied out."""
    return {n: w.dequantize() if isinstance(w, QuantizedTensor) else w.float() for n, w in weights.items()}


def patches(spec: FoldedSpec, weights: Weights, samples: Sequence[Sample]) -> list[Tensor]:
    """The vision encoder's first states, [T, 1 + patches, C] of each sample."""
    at = "vision_encoder"
    names = [f"{at}.patch_embedding.weight", f"{at}.patch_embedding.bias", f"{at}.class_embedding"]
    held = {name: weights[name] for name in [*names, f"{at}.position_embedding"]}
    return [PackedOps(spec, held).patches(sample.pixels) for sample in samples]


def join(
    spec: FoldedSpec, weights: Weights, samples: Sequence[Sample], images: Sequence[Tensor]
) -> list[Tensor]:
    """The decoder's first states [1, S, hidden]: embeddings, image tokens [T, tokens, hidden] in their
    places.
    """
    ops = PackedOps(spec, {f"{EMBEDDING}.weight": plain({"": weights[f"{EMBEDDING}.weight"]})[""]})
    return [join_one(ops, spec, sample, image) for sample, image in zip(samples, images, strict=True)]


def join_one(ops: PackedOps, spec: FoldedSpec, sample: Sample, image: Tensor) -> Tensor:
    """The same for one sample."""
    embeds = ops.embedding(sample.packed.ids)
    places = sample.packed.ids == spec.config.image_token_id  # [1, S]
    return embeds.masked_scatter(places[..., None], image.flatten(0, 1).to(embeds.dtype))


def logits_of_one(ops: PackedOps, spec: FoldedSpec, sample: Sample) -> Tensor:
    """Logits [N, vocab] of one sample through all blocks at once, with a graph behind them where weights have
    one.
    """
    x = ops.patches(sample.pixels)
    for block in vision_blocks(spec):
        x = block.run(ops, x)
    x = join_one(ops, spec, sample, x)
    for block in decoder_blocks(spec):
        x = block.run(ops, x)
    x = ops.rms_norm(x[0, sample.packed.sources], "text_decoder.norm", spec.config.decoder.rms_norm_eps)
    return ops.linear(x, HEAD)


def advance(
    spec: FoldedSpec,
    block: Block,
    weights: Weights,
    samples: Sequence[Sample],
    states: Sequence[Tensor],
    **options,
) -> Iterator[Tensor]:
    """The states after ``block``, one by one. ``options`` are :class:`PackedOps`'s; ``weights`` the
    block's.
    """
    for sample, x in zip(samples, states, strict=True):
        ops = PackedOps(spec, weights, packed=None if block.vision else sample.packed, **options)
        if block.vision and options.get("activation") is not None:
            out = torch.cat(
                [block.run(ops, tile[None]) for tile in x]
            )  # a grid may span a call: one tile at a time
        else:
            out = block.run(ops, x)
        if not bool(torch.isfinite(out).all()):
            raise CheckError(
                f"{block.name}: an activation is not finite for {sample.name}; "
                "the checkpoint is broken, or a weight of it"
            )
        yield out


def final_states(spec: FoldedSpec, weights: Weights, samples: Sequence[Sample], states) -> list[Tensor]:
    """What the head reads [N, hidden] at the positions whose next token is compared, after the final norm."""
    norm = {"text_decoder.norm.weight": weights["text_decoder.norm.weight"]}
    eps = spec.config.decoder.rms_norm_eps
    return [
        PackedOps(spec, norm).rms_norm(x[0, sample.packed.sources], "text_decoder.norm", eps)
        for sample, x in zip(samples, states, strict=True)
    ]


def head(spec: FoldedSpec, weights: Weights, states: Sequence[Tensor], **options) -> list[Tensor]:
    """Logits [N, vocab] of each sample."""
    ops = PackedOps(spec, weights_of(weights, HEAD), **options)
    return [ops.linear(x, HEAD) for x in states]


@torch.inference_mode()
def image_tokens(
    spec: FoldedSpec,
    weights: Weights,
    samples: Sequence[Sample],
    *,
    activation: GridOf | None = None,
    step: Step = no_step,
) -> list[Tensor]:
    """What the vision encoder makes of each sample, [T, tokens, hidden], block by block."""
    states = patches(spec, weights, samples)
    for block in vision_blocks(spec):
        step(f"running {block.name}")
        held = weights_of(weights, block.name)
        held = held if activation else plain(held)
        states = list(advance(spec, block, held, samples, states, activation=activation))
    return states


@torch.inference_mode()
def logits(
    spec: FoldedSpec,
    weights: Weights,
    samples: Sequence[Sample],
    *,
    images: Sequence[Tensor] | None = None,
    activation: GridOf | None = None,
    round_cache: RoundCache | None = None,
    step: Step = no_step,
) -> list[Tensor]:
    """Logits [N, vocab] of each sample at its compared positions, block by block.

    ``images`` are :func:`image_tokens` of the same vision encoder, where they are at hand.
    """
    if images is None:
        images = image_tokens(spec, weights, samples, activation=activation, step=step)
    states = join(spec, weights, samples, images)
    for block in decoder_blocks(spec):
        step(f"running {block.name}")
        held = weights_of(weights, block.name)
        held = held if activation else plain(held)
        options = {"activation": activation, "round_cache": round_cache}
        states = list(advance(spec, block, held, samples, states, **options))
    return head(spec, weights, final_states(spec, weights, samples, states), activation=activation)
