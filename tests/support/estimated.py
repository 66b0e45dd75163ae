"""Models and rates to estimate with: Phantom-0.5B's dimensions, and rates of which few count."""

from __future__ import annotations

from phantom_edge.bench.estimate.count import Model
from phantom_edge.bench.estimate.roofline import Rates
from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.checkpoint.published import Sizes, published_config
from phantom_edge.model.fold import Fold
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.numbers.recipe import load_recipe

VISION = {
    "vision_hidden": 1024,
    "vision_ffn": 4096,
    "vision_layers": 24,
    "vision_heads": 16,
    "image_size": 448,
}
SMALL = Sizes("qwen2", 896, 4864, 24, 14, 2, 151655, context=32768, tied=True, **VISION)  # Phantom-0.5B


def config_of(sizes: Sizes) -> PhantomConfig:
    return PhantomConfig.from_dict(published_config(sizes, 5, 2))


def model(
    sizes: Sizes = SMALL, recipe: str = "int4", format: str = "executorch", fold: str = "exact"
) -> Model:
    config = config_of(sizes)
    return Model(FoldedSpec(config, Fold.parse(fold).phantom_dims(config)), load_recipe(recipe), format)


def flat(**rates) -> Rates:
    kinds = ("int4", "int8", "float")
    base = dict.fromkeys(("attend_one", "attend_many", "attend_image", "cache", "write", "write_image"), 1e30)
    read, multiply = rates.pop("read", 1e30), dict.fromkeys(kinds, rates.pop("multiply", 1e30))
    return Rates(dict.fromkeys(kinds, read), multiply, multiply, **{**base, "call": 0.0, **rates})
