"""States: a counter, a KV cache against torch, and updates in place that must not be seen by older values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from mil_programs import IOS18, save

from phantom_edge.errors import InputError
from phantom_edge.mil import MilModel, MilState, TensorType
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
    return mb.reshape(x=_rows(x, cache, 1), shape=[4, 3], name="y")


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
    return mb.reshape(x=_rows(own, cache, 1), shape=[4, 3], name="y")


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
    expected, after = _expect(body.__name__, x, start)
    assert np.array_equal(output, expected)
    assert np.array_equal(state["cache"], after)
    package = Package(path)
    function = compile_function("main", package.model.mlProgram.functions["main"], package, "typed")
    assert use_state_in_place(function) == in_place


CONTEXT, WIDTH = 16, 8


@pytest.fixture(scope="module")
def attention(tmp_path_factory) -> Path:
    """Attention over a cache of two states: keys are the inputs, values half of them; two rows a call."""
    caches = [mb.StateTensorSpec((1, CONTEXT, WIDTH), dtype=types.fp16) for _ in range(2)]

    @mb.program(
        input_specs=[
            mb.TensorSpec((1, 2, WIDTH), dtype=types.fp16),
            mb.TensorSpec((1,), dtype=types.int32),
            mb.TensorSpec((2, CONTEXT), dtype=types.fp16),
            *caches,
        ],
        opset_version=IOS18,
    )
    def program(x, start, mask, k_cache, v_cache):
        begin = mb.concat(values=[[0], start, [0]], axis=0)
        end = mb.concat(values=[[1], mb.add(x=start, y=np.int32(2)), [WIDTH]], axis=0)

        def appended(state, rows):
            updated = mb.slice_update(x=mb.read_state(input=state), update=rows, begin=begin, end=end)
            return mb.coreml_update_state(state=state, value=updated)

        k, v = appended(k_cache, x), appended(v_cache, mb.mul(x=x, y=np.float16(0.5)))
        return mb.scaled_dot_product_attention(query=x, key=k, value=v, attn_mask=mask, name="y")

    return save(program, tmp_path_factory.mktemp("attention") / "m.mlpackage")


def _mask(start: int) -> np.ndarray:
    """0 up to each row's own position, -1e4 after it."""
    return np.where(np.arange(CONTEXT) <= start + np.arange(2)[:, None], 0.0, -1e4).astype(np.float32)


def _call(model: MilModel, x: np.ndarray, start: int, state: MilState) -> np.ndarray:
    return model.predict({"x": x, "start": np.int32([start]), "mask": _mask(start)}, state)["y"]


@pytest.mark.parametrize(
    ("mode", "tolerance"), [("lifted", LIFTED_STATE_TOLERANCE), ("typed", TYPED_STATE_TOLERANCE)]
)
def test_a_kv_cache_equals_attention_over_all_rows(attention, mode, tolerance):
    model = MilModel.load(attention, mode)
    assert set(model.states()) == {"k_cache", "v_cache"}
    state = model.make_state()
    rows = np.random.default_rng(1).normal(size=(1, CONTEXT, WIDTH)).astype(np.float16).astype(np.float32)
    for start in range(0, CONTEXT, 2):
        keys = torch.from_numpy(rows[:, : start + 2])
        expected = torch.nn.functional.scaled_dot_product_attention(
            keys[:, -2:], keys, keys / 2, torch.from_numpy(_mask(start)[:, : start + 2])
        )
        answer = _call(model, rows[:, start : start + 2], start, state)
        assert np.abs(answer - expected.numpy()).max() < tolerance
    assert np.array_equal(state["k_cache"], rows)
    assert np.array_equal(state["v_cache"], rows / 2)


def test_a_copied_state_is_independent(attention):
    model = MilModel.load(attention)
    x = np.ones((1, 2, WIDTH), np.float32)
    state = model.make_state()
    _call(model, x, 0, state)
    copy = state.copy()
    before = copy["k_cache"]
    _call(model, -x, 0, state)
    assert np.array_equal(copy["k_cache"], before)
    assert not np.array_equal(state["k_cache"], before)


def test_refuses_a_state_that_does_not_fit(attention):
    lifted, typed = (MilModel.load(attention, mode) for mode in ("lifted", "typed"))
    inputs = {"x": np.ones((1, 2, WIDTH)), "start": np.int32([0]), "mask": _mask(0)}
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
