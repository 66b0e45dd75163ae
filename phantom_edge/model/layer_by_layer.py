"""Folded models on whole sequences, one block after the other.

Attention is causal, so all tokens at once give what a prefill and cached steps give, up to the order of
summation. All inputs, of all models that share their weights, pass one block before any passes the next: each
weight is read and multiplied out once, and one block at a time is in memory. Calibration, the references of
``verify`` and the certificate of a fold all run this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch
from torch import Tensor

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.errors import CheckError
from phantom_edge.model import graphs
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import TorchOps, Weights
from phantom_edge.model.rounded_ops import RoundedOps, RoundedSequenceOps, Rounding
from phantom_edge.model.sequence_ops import ModelInput, Observer, SequenceOps
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import Weight, is_module
from phantom_edge.progress import Step, no_step

EMBEDDING: Final = "token_embedding"
HEAD: Final = "text_decoder.head"
TILES_AT_ONCE: Final = 4

Inputs = Sequence[ModelInput]
Images = Sequence[Tensor | None]
Graph = Callable[[TorchOps, Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """A stretch of a model between two points where its state is one tensor.

    Attributes:
        name: what its tensors' names begin with.
        parts: its matrices that a recipe may put on a grid, in order of use.
        graph: what it computes.
    """

    name: str
    parts: tuple[str, ...]
    graph: Graph

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of its matrices in a recipe."""
        return tuple(f"{self.name}.{part}" for part in self.parts)

    @property
    def vision(self) -> bool:
        """Whether it is of the vision encoder, which a runtime calls tile by tile."""
        return self.name.startswith("vision_encoder.")


def vision_blocks(config: PhantomConfig) -> list[Block]:
    """The layers of the vision encoder, and the projector.

    States are [T, 1 + patches, C], and at the end [T, tokens, hidden].
    """

    def graph(n: int) -> Graph:
        return lambda ops, x: graphs.vision_layer(ops, ops.spec, n, x)

    names = enumerate(f"vision_encoder.layers.{n}" for n in range(config.vision.layers))
    layers = [Block(name, ("qkv", "proj", "fc1", "fc2"), graph(n)) for n, name in names]
    return [*layers, Block("vision_encoder.projector", ("fc1", "fc2"), graphs.projector)]


def decoder_blocks(config: PhantomConfig) -> list[Block]:
    """The layers of the decoder; states are [B, S, hidden]."""

    def graph(n: int) -> Graph:
        return lambda ops, x: graphs.decoder_layer(ops, ops.spec, n, x)

    names = enumerate(f"text_decoder.layers.{n}" for n in range(config.decoder.layers))
    return [Block(name, ("qkv", "o", "gate_up", "down"), graph(n)) for n, name in names]


_HEAD = Block(HEAD, (), lambda ops, x: ops.linear(x, HEAD))


@dataclass(frozen=True, eq=False)
class LoadedBlock:
    """A block of a model with its weights in memory, in fp32 from their first use on."""

    block: Block
    model: FoldedModel
    weights: Weights
    matrices: dict[str, Tensor] = field(default_factory=dict)

    def __call__(self, x: Tensor, sequence: ModelInput, observe: Observer | None = None) -> Tensor:
        """The state after the block."""
        model, vision = self.model, self.block.vision
        own, matrices = None if vision else sequence, self.matrices
        if model.rounding is not None and model.rounding.covers(self.block.name):
            rounded = RoundedSequenceOps(
                model.spec, self.weights, at=model.rounding.at, kv=model.kv, sequence=own, matrices=matrices
            )
            return self.block.graph(rounded, x)
        ops = SequenceOps(
            model.spec,
            self.weights,
            activation=model.activation,
            kv=model.kv,
            sequence=own,
            calls=[1] * len(x) if vision else sequence.calls,
            axis=0 if vision else 1,
            observe=observe,
            matrices=matrices,
        )
        return self.block.graph(ops, x)

    def run(self, inputs: Inputs, states: Sequence[Tensor], observe: Observer | None = None) -> list[Tensor]:
        """The states after the block. Raises :class:`CheckError` for one that is not finite."""
        after = []
        for sequence, x in zip(inputs, states, strict=True):
            after.append(self(x, sequence, observe))
            if not bool(torch.isfinite(after[-1]).all()):
                where = f"{self.block.name}: an activation is not finite for {sequence.name}"
                raise CheckError(f"{where}; the checkpoint is broken, or a weight of it")
        return after


def load(block: Block, models: Sequence[FoldedModel]) -> list[LoadedBlock]:
    """A block of each of ``models``, whose recipe's modules hold the same weights: each is made once.

    They may differ in their fold, in its constants and in the grids of activations and cache.
    """
    shared: dict[str, Weight] = {}
    matrices: dict[str, Tensor] = {}

    def one(model: FoldedModel) -> LoadedBlock:
        weights: dict[str, Weight] = {}
        for name in model.weights:
            if name.startswith(f"{block.name}."):
                weights[name] = shared[name] if name in shared else model.weights[name]
                if is_module(name):
                    shared[name] = weights[name]
        return LoadedBlock(block, model, weights, matrices)

    return [one(model) for model in models]


def patches(
    spec: FoldedSpec, weights: Weights, pixels: Sequence[Tensor], rounding: Rounding | None = None
) -> list[Tensor]:
    """The first states of the vision encoder [T, 1 + patches, C]; ``pixels`` are tiles [T, 3, size, size]."""
    parts = ("patch_embedding.weight", "patch_embedding.bias", "class_embedding")
    positions = {spec.positions(tiles.shape[-1]) for tiles in pixels}
    own = {name: weights[name] for name in (*(f"vision_encoder.{part}" for part in parts), *positions)}
    ops = _plain_ops(spec, own, "vision_encoder", rounding)
    return [ops.patches(tiles) for tiles in pixels]


def _plain_ops(spec: FoldedSpec, weights: Weights, graph: str, rounding: Rounding | None) -> TorchOps:
    """Operations outside of the blocks."""
    if rounding is not None and rounding.covers(graph):
        return RoundedOps(spec, weights, at=rounding.at)
    return TorchOps(spec, weights)


def embed(spec: FoldedSpec, weights: Weights, inputs: Inputs, images: Images) -> list[Tensor]:
    """The first states of the decoder [1, S, hidden]; ``images`` are image tokens [T, tokens, hidden]."""
    name = f"{EMBEDDING}.weight"
    ops = TorchOps(spec, {name: weights[name]})
    return [one.join(ops.embedding(one.ids), image) for one, image in zip(inputs, images, strict=True)]


def final_states(
    spec: FoldedSpec,
    weights: Weights,
    inputs: Inputs,
    states: Sequence[Tensor],
    rounding: Rounding | None = None,
) -> list[Tensor]:
    """What the head reads [B, N, hidden]: the last states after the final norm, where they predict."""
    name, eps = "text_decoder.norm", spec.config.decoder.rms_norm_eps
    own = {f"{name}.weight": weights[f"{name}.weight"]}
    return [
        _plain_ops(spec, own, "text_decoder", rounding).rms_norm(x[:, s.sources], name, eps)
        for s, x in zip(inputs, states, strict=True)
    ]


def head(
    models: Sequence[FoldedModel], inputs: Inputs, states: Sequence[Sequence[Tensor]]
) -> list[list[Tensor]]:
    """Logits [B, N, vocab] from the decoder's last states, per model and input.

    A runtime computes those of each position in a call of its own.
    """
    one_by_one = [replace(s, calls=None if s.calls is None else [1] * len(s.sources)) for s in inputs]

    def logits_of(loaded: LoadedBlock, row: Sequence[Tensor]) -> list[Tensor]:
        model = loaded.model
        return loaded.run(one_by_one, final_states(model.spec, model.weights, inputs, row, model.rounding))

    return [logits_of(loaded, row) for loaded, row in zip(load(_HEAD, models), states, strict=True)]


def image_tokens(model: FoldedModel, inputs: Inputs, step: Step = no_step) -> list[Tensor | None]:
    """:func:`image_tokens_of_all` of one model."""
    return image_tokens_of_all([model], inputs, step)[0]


@torch.inference_mode()
def image_tokens_of_all(
    models: Sequence[FoldedModel], inputs: Inputs, step: Step = no_step
) -> list[list[Tensor | None]]:
    """Image tokens [T, tokens, hidden] per model and input, None where an input has no picture."""
    parts = [(s, part) for s in inputs if s.pixels is not None for part in s.pixels.split(TILES_AT_ONCE)]
    owners, pixels = [s for s, _ in parts], [part for _, part in parts]
    states = [patches(m.spec, m.weights, pixels, m.rounding) for m in models]
    for block in vision_blocks(models[0].config):
        step(f"running {block.name}")
        loaded = load(block, models)
        states = [one.run(owners, row) for one, row in zip(loaded, states, strict=True)]

    def joined(row: list[Tensor], sequence: ModelInput) -> Tensor | None:
        own = [x for owner, x in zip(owners, row, strict=True) if owner is sequence]
        return torch.cat(own) if own else None

    return [[joined(row, sequence) for sequence in inputs] for row in states]


def logits(
    model: FoldedModel,
    inputs: Inputs,
    images: Images | None = None,
    *,
    observe: Observer | None = None,
    step: Step = no_step,
) -> list[Tensor]:
    """Logits [N, vocab] of each input at its sources.

    ``images`` are :func:`image_tokens` of the same vision encoder, where they are at hand.
    """
    images = image_tokens(model, inputs, step) if images is None else images
    (row,) = logits_of_all([model], inputs, [images], observe=observe, step=step)
    return row


@torch.inference_mode()
def logits_of_all(
    models: Sequence[FoldedModel],
    inputs: Inputs,
    images: Sequence[Images],
    *,
    observe: Observer | None = None,
    step: Step = no_step,
) -> list[list[Tensor]]:
    """Logits [N, vocab] per model and input, from the image tokens per model and input."""
    states = [embed(m.spec, m.weights, inputs, row) for m, row in zip(models, images, strict=True)]
    for block in decoder_blocks(models[0].config):
        step(f"running {block.name}")
        loaded = load(block, models)
        states = [one.run(inputs, row, observe) for one, row in zip(loaded, states, strict=True)]
    return [[x[0] for x in row] for row in head(models, inputs, states)]


def logits_in_one_graph(
    spec: FoldedSpec, weights: Weights, sequence: ModelInput, observe: Observer | None = None
) -> Tensor:
    """Logits [N, vocab] of one input, with a graph behind them where the weights have one."""
    ops, image = SequenceOps(spec, weights, sequence=sequence, observe=observe), None
    if sequence.pixels is not None:
        image = ops.patches(sequence.pixels)
        for block in vision_blocks(spec.config):
            image = block.graph(ops, image)
    (x,) = embed(spec, weights, [sequence], [image])
    for block in decoder_blocks(spec.config):
        x = block.graph(ops, x)
    (x,) = final_states(spec, weights, [sequence], [x])
    return ops.linear(x, HEAD)[0]
