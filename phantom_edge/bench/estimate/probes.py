"""Small random models that a calibration runs: the toolkit's own graphs, in the runtime's own kernels.

Their weights are drawn as integers, not quantised, so that one is written in seconds. The large one is larger
than a processor's caches; the thin one lacks most of the weights, so that the difference is reading them.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from phantom_edge.bench.estimate.count import Model
from phantom_edge.bench.estimate.shapes import Shape, folded_shapes
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.published import Sizes, published_config
from phantom_edge.model.fold import Fold
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import Precision, Recipe, Rule
from phantom_edge.targets import Format

if TYPE_CHECKING:
    import torch

    from phantom_edge.model.weights import Weight

CONTEXT, CHUNK = 1280, 256
IMAGE_TOKEN, END_TOKEN = 5, 2


@dataclass(frozen=True)
class Probe:
    """A model to run: its sizes, the precision of the decoder's layers, and of the head."""

    name: str
    sizes: Sizes
    layers: Precision
    head: Precision
    vision: Precision

    @property
    def recipe(self) -> Recipe:
        rules = {"text_decoder.layers.*": self.layers, "vision_encoder.*": self.vision}
        rules |= {"text_decoder.head": self.head, "token_embedding": self.head}
        return Recipe(self.name, tuple(Rule(pattern, p, "preset probe") for pattern, p in rules.items()))

    def model(self, format_name: str) -> Model:
        """What it reads and computes."""
        config = PhantomConfig.from_dict(published_config(self.sizes, IMAGE_TOKEN, END_TOKEN))
        return Model(FoldedSpec(config, Fold().phantom_dims(config)), self.recipe, format_name)

    def write(self, artifact_format: Format, folder: Path, step: Callable[[str], None]) -> None:
        """Export it as a bundle's artifact is exported."""
        from phantom_edge.export.base import ExportOptions
        from phantom_edge.model.folded import FoldedModel
        from phantom_edge.model.weights import LazyWeights, Maker

        model = self.model(artifact_format.name)
        shapes = folded_shapes(model.spec)
        makers = {name: Maker(shape, partial(_weight, model, name, shape)) for name, shape in shapes.items()}
        folded = FoldedModel(model.spec, LazyWeights(makers), Fold(), first_id=1, recipe=self.recipe)
        folder.mkdir(parents=True)
        artifact_format.export(folded, ExportOptions(CONTEXT, CHUNK, "fp16", (END_TOKEN,)), folder, step)


def probes(layers: Precision, head: Precision, vision: Precision) -> tuple[Probe, Probe, Probe]:
    """The large, the thin and the headed probe for a model whose parts have these precisions."""
    large = Sizes("qwen2", 1024, 4096, 6, 16, 4, 512, context=4096, tied=False, **_vision(448, 2))
    thin = Sizes("qwen2", 1024, 128, 6, 16, 4, 512, context=4096, tied=False, **_vision(224, 2))
    headed = Sizes("qwen2", 1024, 1024, 1, 16, 4, 65536, context=4096, tied=False, **_vision(224, 1, 256))
    return (
        Probe("large", large, layers, head, vision),
        Probe("thin", thin, layers, head, vision),
        Probe("headed", headed, layers, head, vision),
    )


def _vision(side: int, layers: int, width: int = 1024) -> dict[str, int]:
    sizes = {"vision_hidden": width, "vision_ffn": 4 * width, "vision_layers": layers}
    return sizes | {"vision_heads": width // 64, "image_size": side, "patch_size": 14}


def _weight(model: Model, name: str, shape: Shape) -> Weight:
    """Norms of ones, biases of zeros, floats and integers that keep the size of what they multiply."""
    import torch

    if len(shape) < 2 or name.endswith("bias"):
        return torch.ones(shape) if "norm" in name and name.endswith("weight") else torch.full(shape, 1e-3)
    # By name: an artifact holds equal tensors once, and then the probe would be smaller than it counts.
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if model.kind(name, shape) == "float":
        return torch.randn(shape, generator=generator).mul_(math.prod(shape[1:]) ** -0.5)
    precision = model.recipe.resolve(name.removesuffix(".weight"), (shape[0], shape[1]))
    return _integers(shape, precision, generator)


def _integers(shape: Shape, precision: Precision, generator: torch.Generator) -> Weight:
    import torch

    from phantom_edge.numbers.grid import RANGES, QuantizedTensor, round_scale

    low, high = RANGES[precision.bits]
    values = torch.randint(low, high + 1, shape, dtype=torch.int8, generator=generator)
    groups = shape[1] // precision.group if precision.group else 1
    scale = round_scale(torch.tensor(2.0 / (high * shape[1] ** 0.5)))
    scales = scale.expand(shape[0], groups).contiguous()
    return QuantizedTensor(values, scales, precision.bits, precision.group)
