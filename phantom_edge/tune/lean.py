"""The trainable model in little memory: for checkpoints of true size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.tune.lora import low_rank, merged
from phantom_edge.tune.trainable import PHANTOM_PARTS, TIED, TrainableModel

EMBEDDING = "token_embedding.weight"
PROJECTOR = "vision_encoder.projector."


def learns_first(name: str) -> bool:
    """Whether a weight learns in step 1: the projector's, the phantom cross-attention's and the gates'."""
    return name.startswith(PROJECTOR) or any(part in name for part in PHANTOM_PARTS)


class LeanModel(TrainableModel):
    """The same numbers, three ways to need less: only what learns is held in fp32, frozen matrices in the
    type they are stored in; ``recompute`` keeps one layer's intermediate results at a time and computes them
    again for the gradients; an adapter is two thin products, never a matrix of the weight's size.
    """

    def __init__(
        self,
        config: PhantomConfig,
        weights: Mapping[str, torch.Tensor],
        *,
        recompute: bool = False,
        device: str = "cpu",
        tell: Callable[[int, int], None] = lambda done, of: None,
    ):
        super().__init__(config, {})
        self.recompute = recompute
        for done, name in enumerate(weights, start=1):
            if not (self.tied and name == TIED):
                self.weights[name] = _at_rest(name, weights[name]).to(device, copy=True)
            tell(done, len(weights))

    def learn(self, wanted: Callable[[str], bool]) -> None:
        """Let these weights learn, in fp32, and freeze the others as they are. Adapters always learn."""
        for name, weight in self.weights.items():
            if not wanted(name):
                weight.requires_grad_(False)
            elif not weight.requires_grad:
                self.weights[name] = weight.float().requires_grad_()

    @torch.no_grad()
    def settle(self, dtype: torch.dtype) -> None:
        """End training: merge the adapters and round every weight to ``dtype``, as a checkpoint stores
        them.
        """
        for name, weight in self.weights.items():
            adapter = self.adapters.pop(name, None)
            final = weight.detach() if adapter is None else merged(weight, adapter)
            self.weights[name] = _at_rest(name, final.to(dtype))

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids, self.weights[EMBEDDING]).float()

    def _layer(self, x: torch.Tensor, layer: str, tables, bias: torch.Tensor) -> torch.Tensor:
        return self._kept_small(super()._layer, x, layer, tables, bias)

    def _vision_layer(self, x: torch.Tensor, layer: str) -> torch.Tensor:
        return self._kept_small(super()._vision_layer, x, layer)

    def _kept_small(self, function: Callable, *arguments) -> torch.Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*arguments)
        return checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)

    def _w(self, name: str) -> torch.Tensor:
        weight = self.weights[EMBEDDING if self.tied and name == TIED else name]
        if weight.dtype == torch.float32 or torch.is_autocast_enabled(weight.device.type):
            return weight
        return weight.float()

    def _linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        out = F.linear(x, self._w(f"{name}.weight"), self.weights.get(f"{name}.bias"))
        adapter = self.adapters.get(f"{name}.weight")
        return out if adapter is None else out + low_rank(x, adapter)


def stays_stored(name: str, dimensions: int) -> bool:
    """Whether a frozen weight stays in the type it comes in: matrices do; the small others, parts of sums,
    are fp32.
    """
    return name.endswith(".weight") and dimensions > 1


def _at_rest(name: str, weight: torch.Tensor) -> torch.Tensor:
    return weight if stays_stored(name, weight.dim()) else weight.float()
