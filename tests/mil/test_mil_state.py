"""States: a counter, a KV cache against torch, and updates in place that must not be seen by older values."""

from __future__ import annotations

from pathlib import Path

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from mil_programs import IOS18, convert, save

from phantom_edge.errors import InputError
from phantom_edge.mil import MilModel, TensorType
from phantom_edge.mil.compile import compile_function
from phantom_edge.mil.inplace import use_state_in_place
from phantom_edge.mil.package import Package

# Weights are fp16 numbers, arithmetic is fp32 on both sides: what is left is the order of sums (measured:
# 2.4e-7).
LIFTED_STATE_TOLERANCE = 2e-6
# About fifteen roundings to fp16 (relative 5e-4 each) on the way to values near 2, cache included (measured:
# 9e-4).
TYPED_STATE_TOLERANCE = 5e-3


def _program(path: Path, shape: tuple[int, ...], body) -> Path:
    """A package with an fp16 input x of two rows and a state of `shape`; `body` makes the output y of
    both.
    """
    specs = [mb.TensorSpec((2, shape[-1]), dtype=types.fp16), mb.StateTensorSpec(shape, dtype=types.fp16)]
    return save(mb.program(input_specs=specs, opset_version=IOS18)(lambda x, cache: body(x, cache)), path)


@pytest.mark.parametrize(("mode", "after_two"), [("typed", 1.0), ("lifted", 1.0 + 2.0**-11)])
def test_counter_adds_up_and_rounds_as_its_mode_says(tmp_path, mode, after_two):
    def body(x, cache):
        total = mb.add(x=mb.read_state(input=cache), y=x)
        return mb.coreml_update_state(state=cache, value=total)

    model = MilModel.load(_program(tmp_path / "m.mlpackage", (2, 1), body), mode)
    assert model.states() == {"cache": TensorType("fp16", (2, 1))}
    state = model.make_state()
    for step in ([[1.0], [3.0]], [[2.0**-11], [4.0]]):  # 1 + 2^-11 is no fp16 number: typed rounds it away
        (result,) = model.predict({"x": np.float32(step)}, state).values()
    assert result.tolist() == state["cache"].tolist() == [[after_two], [7.0]]
    assert result.dtype == state["cache"].dtype == (np.float16 if mode == "typed" else np.float32)


def _rows(x, cache, first: int):
    """Rows first..first+2 of the cache become x; the cache after that."""
    updated = mb.slice_update(x=mb.read_state(input=cache), update=x, begin=[first, 0], end=[first + 2, 3])
    return mb.coreml_update_state(state=cache, value=updated)


def _simple(x, cache):
    return mb.identity(x=_rows(x, cache, 1), name="y")


def _old_value_lives(x, cache):
    before = mb.read_state(input=cache)
    after = _rows(x, cache, 1)
    return mb.sub(x=after, y=before, name="y")


def _old_view_lives(x, cache):
    top = mb.slice_by_index(x=mb.read_state(input=cache), begin=[1, 0], end=[3, 3])
    after = _rows(x, cache, 1)
    return mb.concat(values=[mb.reshape(x=top, shape=[2, 3]), after], axis=0, name="y")


def _update_from_itself(x, cache):
    own = mb.slice_by_index(x=_rows(x, cache, 0), begin=[0, 0], end=[2, 3])
    return mb.identity(x=_rows(own, cache, 1), name="y")


def _not_written_back(x, cache):
    updated = mb.slice_update(x=mb.read_state(input=cache), update=x, begin=[1, 0], end=[3, 3])
    return mb.sub(x=updated, y=mb.read_state(input=cache), name="y")


def _read_before_write(x, cache):
    updated = mb.slice_update(x=mb.read_state(input=cache), update=x, begin=[1, 0], end=[3, 3])
    seen = mb.read_state(input=cache)
    return mb.sub(x=mb.coreml_update_state(state=cache, value=updated), y=seen, name="y")


def _written_since_read(x, cache):
    before = mb.read_state(input=cache)
    mb.coreml_update_state(state=cache, value=mb.concat(values=[x, x], axis=0))
    updated = mb.slice_update(x=before, update=x, begin=[1, 0], end=[3, 3])
    seen = mb.mul(x=mb.read_state(input=cache), y=np.float16(2))
    return mb.add(x=mb.coreml_update_state(state=cache, value=updated), y=seen, name="y")


def _twice(x, cache):
    first = _rows(x, cache, 0)
    used = mb.mul(x=first, y=np.float16(2))
    return mb.add(x=_rows(x, cache, 2), y=used, name="y")


def _expect(name: str, x: np.ndarray, cache: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(output, cache after), in numpy, where every value is its own copy."""

    def rows(values: np.ndarray, source: np.ndarray, first: int) -> np.ndarray:
        result = source.copy()
        result[first : first + 2] = values
        return result

    after = rows(x, cache, 1)
    if name == "_simple":
        return after, after
    if name in ("_old_value_lives", "_read_before_write"):
        return after - cache, after
    if name == "_old_view_lives":
        return np.concatenate([cache[1:3], after]), after
    if name == "_update_from_itself":
        first = rows(x, cache, 0)
        second = rows(first[:2], first, 1)
        return second, second
    if name == "_not_written_back":
        return after - cache, cache
    if name == "_written_since_read":
        return after + 2 * np.concatenate([x, x]), after
    first = rows(x, cache, 0)
    second = rows(x, first, 2)
    return second + 2 * first, second


IN_PLACE = [
    (_simple, 1),
    (_old_value_lives, 0),
    (_old_view_lives, 0),
    (_update_from_itself, 1),
    (_not_written_back, 0),
    (_read_before_write, 0),
    (_written_since_read, 0),
    (_twice, 2),
]


@pytest.mark.parametrize(
    ("body", "in_place"), IN_PLACE, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_updates_in_place_only_where_nobody_sees_it(tmp_path, body, in_place):
    path = _program(tmp_path / "m.mlpackage", (4, 3), body)
    x = np.arange(6, dtype=np.float32).reshape(2, 3) + 1
    start = -np.arange(12, dtype=np.float32).reshape(4, 3)
    model = MilModel.load(path)
    state = model.make_state()
    state["cache"] = start
    output = model.predict({"x": x}, state)["y"]
    want, after = _expect(body.__name__, x, start)
    assert np.array_equal(output, want)
    assert np.array_equal(state["cache"], after)
    package = Package(path)
    function = compile_function("main", package.model.mlProgram.functions["main"], package, "typed")
    assert use_state_in_place(function) == in_place


class _Attention(torch.nn.Module):
    """One decoder layer with its cache in buffers, positions from the mask's width."""

    def __init__(self, width: int = 32, heads: int = 2, context: int = 16):
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.qkv, self.out = torch.nn.Linear(width, 3 * width), torch.nn.Linear(width, width)
        for name in ("k_cache", "v_cache"):
            self.register_buffer(name, torch.zeros(1, heads, context, self.head_dim))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        length, end = x.shape[1], mask.shape[-1]
        q, k, v = (
            self.qkv(x).reshape(1, length, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        )
        self.k_cache[:, :, end - length : end] = k
        self.v_cache[:, :, end - length : end] = v
        k, v = self.k_cache[:, :, :end], self.v_cache[:, :, :end]
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, mask)
        return x + self.out(mixed.transpose(1, 2).reshape(1, length, -1))


def _mask(length: int, end: int) -> torch.Tensor:
    return torch.full((length, end), -1e4).triu(end - length + 1)[None, None]


@pytest.fixture(scope="module")
def attention(tmp_path_factory) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    module = _Attention().eval()
    module.load_state_dict({name: value.half().float() for name, value in module.state_dict().items()})
    sizes = {
        "x": {1: torch.export.Dim("q", min=1, max=15)},
        "mask": {2: torch.export.Dim("q", min=1, max=15), 3: torch.export.Dim("end", min=1, max=15)},
    }
    states = [
        ct.StateType(wrapped_type=ct.TensorType(shape=tuple(buffer.shape), dtype=np.float16), name=name)
        for name, buffer in module.named_buffers()
    ]
    path = tmp_path_factory.mktemp("attention") / "m.mlpackage"
    example = (torch.zeros(1, 3, 32), _mask(3, 5))
    return module, convert(module, example, path, "fp16", dynamic_shapes=sizes, states=states)


@pytest.mark.parametrize(
    ("mode", "tolerance"), [("lifted", LIFTED_STATE_TOLERANCE), ("typed", TYPED_STATE_TOLERANCE)]
)
def test_kv_cache_equals_torch_over_prefill_chunks_and_decode(attention, mode, tolerance):
    module, path = attention
    model = MilModel.load(path, mode)
    assert model.op_counts()["scaled_dot_product_attention"] == 1
    assert set(model.states()) == {"k_cache", "v_cache"}
    state, end = model.make_state(), 0
    generator = torch.Generator().manual_seed(1)
    for buffer in module.buffers():
        buffer.zero_()
    for length in (4, 3, 1, 1, 2):
        end += length
        x = torch.randn(1, length, 32, generator=generator).half().float()
        with torch.no_grad():
            want = module(x, _mask(length, end)).numpy()
        (got,) = model.predict({"x": x.numpy(), "mask": _mask(length, end).numpy()}, state).values()
        assert np.abs(got - want).max() < tolerance
    for name, buffer in module.named_buffers():
        assert np.abs(state[name] - buffer.numpy()).max() < tolerance


def test_a_copied_state_is_independent(attention):
    model = MilModel.load(attention[1])
    inputs = {"x": np.ones((1, 2, 32), np.float32), "mask": _mask(2, 2).numpy()}
    state = model.make_state()
    model.predict(inputs, state)
    kept = state.copy()
    before = kept["k_cache"]
    model.predict({**inputs, "x": -inputs["x"]}, state)
    assert np.array_equal(kept["k_cache"], before)
    assert not np.array_equal(state["k_cache"], before)


def test_refuses_a_state_that_does_not_fit(attention):
    lifted, typed = (MilModel.load(attention[1], mode) for mode in ("lifted", "typed"))
    inputs = {"x": np.ones((1, 2, 32), np.float32), "mask": _mask(2, 2).numpy()}
    with pytest.raises(InputError, match=r"has states .*; give make_state"):
        typed.predict(inputs)
    with pytest.raises(InputError, match="the state is lifted, the model typed"):
        typed.predict(inputs, lifted.make_state())
    with pytest.raises(InputError, match="no state 'nothing'; there is"):
        typed.make_state()["nothing"]
    with pytest.raises(InputError, match="has shape"):
        typed.make_state()["k_cache"] = np.zeros(3)
    state = typed.make_state()
    del state.buffers["v_cache"]
    with pytest.raises(InputError, match="the state has no 'v_cache' of fp16"):
        typed.predict(inputs, state)
