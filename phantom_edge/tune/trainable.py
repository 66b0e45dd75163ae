"""The model with gradients: the original's arithmetic in a form that is quick to train, in little memory.

Same numbers as :class:`~phantom_edge.model.original.PhantomModel` (a test compares them), but whole sequences
at once, any mask, y computed per kv head and the value's phantom half kept apart from v until after attention
(points 1, 4 and 5 of the fold: exact, and with eta = 1e-4 better conditioned in 16 bits).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from phantom_edge.checkpoint.config import PhantomConfig
from phantom_edge.images import IMAGENET_MEAN, IMAGENET_STD
from phantom_edge.model.original import pixel_shuffle
from phantom_edge.model.rope import rotary_tables
from phantom_edge.model.spec import ETA
from phantom_edge.tune.lora import Adapter, low_rank, merged

TIED = "text_decoder.head.weight"
EMBEDDING = "token_embedding.weight"
PROJECTOR = "vision_encoder.projector."
PHANTOM_PARTS = (".phantom.", ".gate1.", ".gate2.")

Tables = tuple[Tensor, Tensor]
"""Cosines and sines of the rotary embedding, each [B or 1, 1, S, D / 2]."""


def learns_first(name: str) -> bool:
    """Whether a weight learns in step 1: the projector's, the phantom cross-attention's and the gates'."""
    return name.startswith(PROJECTOR) or any(part in name for part in PHANTOM_PARTS)


class TrainableModel:
    """Weights under canonical names, with autograd; ``phantom=False`` leaves the phantom dimension out.

    Three ways to need less memory change no number: only what learns is kept in fp32, frozen matrices in the
    type they are stored in; ``recompute`` keeps one layer's intermediate results at a time and computes them
    again for the gradients; an adapter is two thin products, never a matrix of the weight's size.
    ``progress`` is called with how many weights are read, and of how many.

    >>> nano = pe.Pretrained.open()
    >>> model = TrainableModel(nano.config, nano.checkpoint)
    >>> model.decode(model.embed(torch.tensor([[nano.first_id, 5]]))).shape
    torch.Size([1, 2, 768])
    """

    def __init__(
        self,
        config: PhantomConfig,
        weights: Mapping[str, Tensor],
        *,
        phantom: bool = True,
        recompute: bool = False,
        device: str = "cpu",
        progress: Callable[[int, int], None] = lambda done, of: None,
    ):
        self.config, self.phantom, self.recompute = config, phantom, recompute
        self.tied = config.decoder.tied_head
        self.weights: dict[str, Tensor] = {}
        self.adapters: dict[str, Adapter] = {}
        for done, name in enumerate(weights, start=1):
            if not (self.tied and name == TIED):
                self.weights[name] = _at_rest(name, weights[name]).to(device, copy=True)
            progress(done, len(weights))

    def learn(self, learns: Callable[[str], bool]) -> None:
        """Let these weights learn, in fp32, and freeze the others as they are. Adapters always learn."""
        for name, weight in self.weights.items():
            if not learns(name):
                weight.requires_grad_(False)
            elif not weight.requires_grad:
                self.weights[name] = weight.float().requires_grad_()

    def trained(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor that learns at the moment, adapters among them, under a stable name."""
        yield from ((name, tensor) for name, tensor in self.weights.items() if tensor.requires_grad)
        for name, adapter in self.adapters.items():
            yield from ((f"{name}.{part}", getattr(adapter, part)) for part in ("down", "up"))

    @torch.no_grad()
    def settle(self, dtype: torch.dtype) -> None:
        """End training: merge the adapters and round every weight to ``dtype``, as a checkpoint stores it."""
        for name, weight in self.weights.items():
            adapter = self.adapters.pop(name, None)
            final = weight.detach() if adapter is None else merged(weight, adapter)
            self.weights[name] = _at_rest(name, final.to(dtype))

    def _w(self, name: str) -> Tensor:
        weight = self.weights[EMBEDDING if self.tied and name == TIED else name]
        if weight.dtype == torch.float32 or torch.is_autocast_enabled(weight.device.type):
            return weight
        return weight.float()

    def _linear(self, x: Tensor, name: str) -> Tensor:
        out = F.linear(x, self._w(f"{name}.weight"), self.weights.get(f"{name}.bias"))
        adapter = self.adapters.get(f"{name}.weight")
        return out if adapter is None else out + low_rank(x, adapter)

    def _recomputed(self, function: Callable[..., Tensor], *arguments: object) -> Tensor:
        """A layer's output, of which only the arguments are kept for the gradients."""
        if not (self.recompute and torch.is_grad_enabled()):
            return function(*arguments)
        out: Tensor = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
        return out

    # --- vision ---------------------------------------------------------------------------------------------

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Tiles [T, 3, S, S] of RGB in 0..1 to image tokens [T, N, hidden]."""
        return self.project(self.vision_features(pixels))

    def vision_features(self, pixels: Tensor) -> Tensor:
        """Tiles [T, 3, S, S] to what the projector reads, [T, N, 4 * vision hidden]."""
        v, at = self.config.vision, "vision_encoder"
        constants = (IMAGENET_MEAN, IMAGENET_STD)
        mean, std = (torch.tensor(c, dtype=pixels.dtype)[:, None, None] for c in constants)
        pixels, p = (pixels - mean) / std, v.patch_size
        patches = pixels.unflatten(3, (v.grid, p)).unflatten(2, (v.grid, p))  # [T, 3, row, p, column, p]
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # [T, P, 3 * p * p]
        weight = self._w(f"{at}.patch_embedding.weight").flatten(1)  # [C, 3 * p * p]
        x = F.linear(patches, weight, self._w(f"{at}.patch_embedding.bias"))
        x = torch.cat([self._w(f"{at}.class_embedding").expand(len(x), 1, -1).to(x.dtype), x], dim=1)
        x = x + self._w(f"{at}.position_embedding")
        for n in range(v.layers):
            x = self._recomputed(self._vision_layer, x, f"{at}.layers.{n}")
        return pixel_shuffle(x[:, 1:], v.grid, self.config.downsample)

    def _vision_layer(self, x: Tensor, layer: str) -> Tensor:
        v = self.config.vision
        qkv = self._linear(self._layer_norm(x, f"{layer}.norm1"), f"{layer}.qkv")
        qkv = qkv.unflatten(-1, (3, v.heads, v.head_dim))
        q, k, value = qkv.permute(2, 0, 3, 1, 4)  # each [T, H, N, D]
        out = attend(q, k, value, v.head_dim**-0.5).transpose(1, 2).flatten(2)  # [T, N, C]
        x = x + self._linear(out, f"{layer}.proj") * self._w(f"{layer}.scale1")
        hidden = F.gelu(self._linear(self._layer_norm(x, f"{layer}.norm2"), f"{layer}.fc1"))
        return x + self._linear(hidden, f"{layer}.fc2") * self._w(f"{layer}.scale2")

    def project(self, features: Tensor) -> Tensor:
        """The projector: features [T, N, 4 * vision hidden] to image tokens [T, N, hidden]."""
        at = "vision_encoder.projector"
        x = self._layer_norm(features, f"{at}.norm", eps=1e-5)
        return self._linear(F.gelu(self._linear(x, f"{at}.fc1")), f"{at}.fc2")

    def _layer_norm(self, x: Tensor, name: str, eps: float | None = None) -> Tensor:
        eps = self.config.vision.layer_norm_eps if eps is None else eps
        return F.layer_norm(x, x.shape[-1:], self._w(f"{name}.weight"), self._w(f"{name}.bias"), eps)

    # --- decoder --------------------------------------------------------------------------------------------

    def embed(self, ids: Tensor) -> Tensor:
        """Ids [B, S] to embeddings [B, S, hidden]."""
        return F.embedding(ids, self.weights[EMBEDDING]).float()

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., hidden] to logits [..., vocab]."""
        return self._linear(hidden, "text_decoder.head")

    def decode(self, embeds: Tensor) -> Tensor:
        """Embeddings [B, S, hidden] of whole sequences to the logits [B, S, vocab] of every position."""
        return self.head(self.hidden(embeds))

    def hidden(self, x: Tensor, positions: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Hidden states [B, S, hidden] after the final norm.

        ``positions`` [S] or [B, S], all below S, default to 0, 1, …; ``mask`` ([S, S] or [B, S, S], True
        where a query may look) to causal. Every sequence must begin with the prompt's first token: its state
        shapes the phantom dimension.
        """
        d, length = self.config.decoder, x.shape[1]
        positions = torch.arange(length)[None] if positions is None else positions.view(-1, length)
        mask = torch.ones(length, length, dtype=torch.bool).tril() if mask is None else mask
        bias = torch.zeros(mask.shape, dtype=x.dtype).masked_fill_(~mask, -math.inf)
        bias = bias.view(-1, 1, length, length)
        cos, sin = rotary_tables(d.rope, d.head_dim, positions.flatten(), length)  # [B or 1 * S, D / 2]
        tables = (cos.view(len(positions), 1, length, -1), sin.view(len(positions), 1, length, -1))
        for n in range(d.layers):
            x = self._recomputed(self._layer, x, f"text_decoder.layers.{n}", tables, bias)
        return self._rms_norm(x, "text_decoder.norm")

    def _layer(self, x: Tensor, layer: str, tables: Tables, bias: Tensor) -> Tensor:
        x = x + self._attention(self._rms_norm(x, f"{layer}.norm1"), layer, tables, bias)
        gate, up = self._linear(self._rms_norm(x, f"{layer}.norm2"), f"{layer}.gate_up").chunk(2, dim=-1)
        return x + self._linear(F.silu(gate) * up, f"{layer}.down")

    def _rms_norm(self, x: Tensor, name: str) -> Tensor:
        weight = self._w(f"{name}.weight").to(x.dtype)
        return F.rms_norm(x, x.shape[-1:], weight, self.config.decoder.rms_norm_eps)

    def _attention(self, x: Tensor, layer: str, tables: Tables, bias: Tensor) -> Tensor:
        d = self.config.decoder
        qkv = self._linear(x, f"{layer}.qkv").unflatten(-1, (-1, d.head_dim))  # [B, S, H + 2 Hkv, D]
        q, k, v = qkv.transpose(1, 2).split([d.heads, d.kv_heads, d.kv_heads], dim=1)  # [B, H or Hkv, S, D]
        q, k = _rotate(q, *tables), _rotate(k, *tables)
        out = self._phantom_attention(q, k, v, layer, bias)  # [B, H, S, D]
        return self._linear(out.transpose(1, 2).flatten(2), f"{layer}.o")

    def _phantom_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: str, bias: Tensor) -> Tensor:
        scale = q.shape[-1] ** -0.5  # of the plain head dimension, also when it is doubled below
        if not self.phantom:
            return attend(q, k, v, scale, bias)
        kinds = ((q, "query"), (k, "key"), (v, "value"))
        y_q, y_k, y_v = (self._xattention(x, f"{layer}.phantom.{kind}") for x, kind in kinds)
        q, k, v = (torch.cat(pair, dim=-1) for pair in ((q, ETA * y_q), (k, ETA * y_k), (v, y_v)))
        o1, z = attend(q, k, v, scale, bias).chunk(2, dim=-1)  # [B, H, S, D]
        o2 = o1 + ETA * z
        share = torch.sigmoid(self._linear(o2, f"{layer}.gate2") - self._linear(o1, f"{layer}.gate1"))
        return o1 + share * (ETA * z)

    def _xattention(self, x: Tensor, name: str) -> Tensor:
        first = x[:, :, 0]  # [B, H, D]: a softmax over repeated heads is the one over the heads themselves
        a = F.gelu(self._linear(first, f"{name}.k")) * x.shape[-1] ** -0.5
        m = F.gelu(self._linear(first, f"{name}.v"))
        weights = F.gelu(self._linear(x, f"{name}.q")) @ a.transpose(1, 2)[:, None]  # [B, H, S, heads]
        return F.gelu(self._linear(weights.softmax(-1) @ m[:, None], f"{name}.o"))


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """Softmax attention q [B, H, S, D], k and v [B, Hkv, N, D], bias [B or 1, 1, S, N] to [B, H, S, D].

    Written out, because torch's fused operation is slower where this trains: on a CPU in bfloat16 its
    backward pass takes three to seven times as long at these lengths. Query groups become rows, so k and v
    are never repeated.
    """
    group = q.shape[1] // k.shape[1]
    rows = (q * scale).unflatten(1, (-1, group)).flatten(2, 3)  # [B, Hkv, g * S, D]
    scores = (rows @ k.transpose(-2, -1)).view(*q.shape[:3], -1)  # [B, H, S, N]
    weights = (scores if bias is None else scores + bias.to(scores.dtype)).softmax(-1)
    out: Tensor = weights.view(*k.shape[:2], -1, k.shape[2]) @ v  # [B, Hkv, g * S, D]
    return out.view(*q.shape[:3], -1)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate ``x`` [B, H, S, D], whose two halves are the pairs, by tables [B or 1, 1, S, D/2]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def stays_stored(name: str, dimensions: int) -> bool:
    """Whether a frozen weight stays in its stored type: matrices do; the rest, parts of sums, are fp32."""
    return name.endswith(".weight") and dimensions > 1


def _at_rest(name: str, weight: Tensor) -> Tensor:
    return weight if stays_stored(name, weight.dim()) else weight.float()
