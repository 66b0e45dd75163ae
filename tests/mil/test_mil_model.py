"""Whole torch modules through coremltools: what the interpreter answers against what torch does."""

from __future__ import annotations

from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from mil_programs import convert

from phantom_edge.errors import InputError
from phantom_edge.mil import MilModel, TensorType

# fp32 on both sides, weights that fp16 holds exactly: only the order of sums differs (measured: 3.6e-7).
LIFTED_TOLERANCE = 2e-6
# Some twenty roundings to fp16 (relative 5e-4 each) of values near 1.5 (measured: 1.1e-3).
TYPED_TOLERANCE = 5e-3


class _Vision(torch.nn.Module):
    """A vision encoder in small: patches, a class token, one block, pixel shuffle."""

    def __init__(self, width: int = 32, heads: int = 4):
        super().__init__()
        self.patches = torch.nn.Conv2d(3, width, 4, stride=4)
        self.cls = torch.nn.Parameter(torch.randn(1, 1, width))
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 2 * width), torch.nn.Linear(2 * width, width)
        self.heads = heads

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.patches(pixels).flatten(2).transpose(1, 2)  # [1, 16, width]
        x = torch.cat([self.cls, x], 1)
        parts = self.qkv(self.norm1(x)).chunk(3, -1)
        q, k, v = (part.reshape(1, 17, self.heads, -1).transpose(1, 2) for part in parts)
        x = x + self.out(
            torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(1, 17, -1)
        )
        x = x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))
        x = x[:, 1:].reshape(1, 4, 4, -1)
        return (
            x.reshape(1, 4, 2, -1)
            .permute(0, 2, 1, 3)
            .reshape(1, 2, 2, -1)
            .permute(0, 2, 1, 3)
            .reshape(1, 4, -1)
        )


class _Decoder(torch.nn.Module):
    """Pieces of a decoder over embeddings: rotary halves, norm, a gated MLP, the last token's logits."""

    def __init__(self, width: int = 32, vocabulary: int = 40):
        super().__init__()
        self.norm, self.head = torch.nn.LayerNorm(width), torch.nn.Linear(width, vocabulary, bias=False)
        self.gate, self.up = torch.nn.Linear(width, 48, bias=False), torch.nn.Linear(width, 48, bias=False)
        self.down = torch.nn.Linear(48, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
        x = x * cos + torch.cat([x[..., 16:], x[..., :16]], -1)
        x = self.norm(x)
        x = x + self.down(torch.nn.functional.silu(self.gate(x)) * self.up(x))
        return self.head(x[:, -1:])


def _half_exact(module: torch.nn.Module) -> torch.nn.Module:
    module.load_state_dict({name: value.half().float() for name, value in module.state_dict().items()})
    return module.eval()


@pytest.fixture(scope="module")
def vision(tmp_path_factory) -> tuple[torch.nn.Module, dict[str, Path]]:
    torch.manual_seed(0)
    module = _half_exact(_Vision())
    root = tmp_path_factory.mktemp("vision")
    example = (torch.zeros(1, 3, 16, 16),)
    return module, {p: convert(module, example, root / f"{p}.mlpackage", p) for p in ("fp32", "fp16")}


@pytest.fixture(scope="module")
def decoder(tmp_path_factory) -> tuple[torch.nn.Module, dict[str, Path]]:
    torch.manual_seed(0)
    module = _half_exact(_Decoder())
    root = tmp_path_factory.mktemp("decoder")
    example = (torch.zeros(1, 5, 32), torch.zeros(1, 5, 32))
    length = torch.export.Dim("length", min=1, max=32)
    shapes = {"x": {1: length}, "cos": {1: length}}
    return module, {
        p: convert(module, example, root / f"{p}.mlpackage", p, dynamic_shapes=shapes)
        for p in ("fp32", "fp16")
    }


SETTINGS = [
    ("fp32", "lifted", LIFTED_TOLERANCE),
    ("fp32", "typed", LIFTED_TOLERANCE),
    ("fp16", "lifted", LIFTED_TOLERANCE),
    ("fp16", "typed", TYPED_TOLERANCE),
]


@pytest.mark.parametrize(("precision", "mode", "tolerance"), SETTINGS)
def test_vision_equals_torch(vision, precision, mode, tolerance):
    module, paths = vision
    pixels = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2)).half().float()
    (answer,) = MilModel.load(paths[precision], mode).predict({"pixels": pixels.numpy()}).values()
    error = np.abs(answer - module(pixels).detach().numpy()).max()
    assert error < tolerance
    if (precision, mode) == ("fp16", "typed"):
        assert error > LIFTED_TOLERANCE  # typed mode does round


@pytest.mark.parametrize("length", [1, 5, 32])
@pytest.mark.parametrize(("precision", "mode", "tolerance"), SETTINGS)
def test_decoder_equals_torch_at_every_length(decoder, precision, mode, tolerance, length):
    module, paths = decoder
    generator = torch.Generator().manual_seed(length)
    x, cos = torch.randn(2, 1, length, 32, generator=generator).half().float()
    model = MilModel.load(paths[precision], mode)
    (answer,) = model.predict({"x": x.numpy(), "cos": cos.numpy()}).values()
    expected = module(x, cos).detach().numpy()
    assert np.abs(answer - expected).max() / np.abs(expected).max() < tolerance


def test_input_ranges_are_known_and_kept(decoder):
    model = MilModel.load(decoder[1]["fp32"])
    assert model.inputs()["x"] == TensorType("fp32", (1, None, 32), ranges=((1, 1), (1, 32), (32, 32)))
    with pytest.raises(InputError, match=r"'x' takes fp32 \[1, 1..32, 32\], not shape \[1, 33, 32\]"):
        model.predict(dict.fromkeys(("x", "cos"), np.zeros((1, 33, 32))))


def test_enumerated_shapes_are_known_and_kept(tmp_path):
    shapes = ct.EnumeratedShapes(shapes=[[1, 4], [1, 8]], default=[1, 4])
    traced = torch.jit.trace(torch.nn.SiLU(), torch.zeros(1, 4))
    ct.convert(
        traced,
        inputs=[ct.TensorType(name="x", shape=shapes)],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    ).save(str(tmp_path / "m.mlpackage"))
    model = MilModel.load(tmp_path / "m.mlpackage")
    assert model.inputs()["x"] == TensorType("fp16", (1, None), enumerated=((1, 4), (1, 8)))
    assert next(iter(model.predict({"x": np.ones((1, 8))}).values())).shape == (1, 8)
    with pytest.raises(InputError, match=r"takes fp16 one of \[1, 4\], \[1, 8\], not shape \[1, 5\]"):
        model.predict({"x": np.ones((1, 5))})


def test_fp16_overflow_shows_in_typed_mode_only(tmp_path):
    class Square(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * x

    path = convert(Square(), (torch.ones(1, 4),), tmp_path / "m.mlpackage", "fp16")
    x = np.full((1, 4), 300.0, np.float32)
    assert np.isinf(next(iter(MilModel.load(path, "typed").predict({"x": x}).values()))).all()
    assert next(iter(MilModel.load(path, "lifted").predict({"x": x}).values()))[0, 0] == 90000.0
