"""GPTQ against its formula worked out the long way, and the descent after it against trying everything."""

import itertools

import pytest
import torch

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import RANGES, QuantizedTensor, round_scale
from phantom_edge.numbers.lpbq import factor_scales
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize import gptq as gptq_module
from phantom_edge.quantize.coordinate_descent import refine
from phantom_edge.quantize.gptq import DAMPING, damped, gptq, objective


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(rows, width, seed=1):
    """Correlated, some channels much larger than the others: what a layer of a trained model meets."""
    x = gaussian(rows, width, seed=seed) @ gaussian(width, width, seed=seed + 1) * width**-0.5
    x[:, ::7] *= 6
    return x


def one_by_one(weight, h, grid, order):
    """Optimal brain quantisation in a fixed order: the inverse of what is left, anew for every column."""
    low, high = RANGES[grid.bits]
    w, codes, left = weight.double().clone(), torch.zeros_like(weight), list(order)
    while left:
        inverse = torch.linalg.inv(h.double()[left][:, left])
        j = left[0]
        scale = grid.scales[:, j // grid.block].double()
        codes[:, j] = (w[:, j] / scale).round().clamp(low, high).float()
        error = (w[:, j] - codes[:, j].double() * scale) / inverse[0, 0]
        w[:, left] -= error[:, None] * inverse[0]
        left.pop(0)
    return codes.to(torch.int8)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize(("bits", "group"), [(4, 32), (8, None)])
def test_rounds_as_optimal_brain_quantisation_in_the_same_order(act_order, bits, group):
    weight, x = gaussian(6, 160), inputs(400, 160)  # wider than one lazy batch
    h = x.T @ x
    h = h / h.diagonal().mean()
    grid = quantize_weight(weight, bits, group, importance=h.diagonal())
    order = h.diagonal().argsort(descending=True, stable=True) if act_order else torch.arange(160)
    expected = one_by_one(weight, damped(h, DAMPING)[0], grid, order.tolist())
    quantized = gptq(weight, x.T @ x, bits, group, act_order=act_order, sweeps=0)
    assert (
        quantized.values == expected
    ).float().mean() > 0.999  # fp32 against fp64: a half may fall to the other side
    assert torch.equal(quantized.scales, grid.scales)


def test_changes_the_output_less_than_rounding_to_nearest_and_order_helps():
    weight, x = gaussian(32, 128), inputs(1024, 128)
    h = x.T @ x
    nearest = objective(weight, quantize_weight(weight, 4, 32), h)
    plain, ordered, descended = (
        objective(weight, gptq(weight, h, 4, 32, **options), h)
        for options in ({"act_order": False, "sweeps": 0}, {"sweeps": 0}, {})
    )
    assert plain < 0.6 * nearest
    assert ordered < plain
    assert descended < 0.95 * ordered
    moved = (gptq(weight, h, 4, 32).dequantize() - weight) @ x.T
    assert moved.square().sum().item() == pytest.approx(
        descended, rel=1e-3
    )  # the objective is the outputs' change


def test_the_grid_of_lpbq_is_kept_at_a_few_percent_of_the_output(monkeypatch):
    weight, x = gaussian(64, 256), inputs(1024, 256)
    h = x.T @ x
    monkeypatch.setattr(gptq_module, "_ELEMENTS", 20 * 256)  # output features go in several parts
    products, free = gptq(weight, h, 4, 32, scales=ScaleGrid.LPBQ), gptq(weight, h, 4, 32)
    channels, factors = factor_scales(products.scales)
    assert torch.equal(channels.unsqueeze(1) * factors, products.scales)
    assert objective(weight, products, h) < 1.1 * objective(weight, free, h)
    unseen = gptq(weight, torch.zeros(256, 256), 4, 32, scales=ScaleGrid.LPBQ)
    assert torch.equal(unseen.scales, quantize_weight(weight, 4, 32, scales=ScaleGrid.LPBQ).scales)


def test_the_descent_never_climbs_and_ends_where_no_single_step_helps():
    weight, x = gaussian(4, 32), inputs(200, 32)
    h, _ = damped(x.T @ x / len(x), DAMPING)
    quantized = quantize_weight(weight, 4, 32)
    path = [objective(weight, quantized, h)]
    for _ in range(12):
        quantized = refine(weight, quantized, h, sweeps=1)
        path.append(objective(weight, quantized, h))
    assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(path))
    for row, column, step in itertools.product(range(4), range(32), (-1, 1)):
        values = quantized.values.clone()
        values[row, column] = (
            (int(values[row, column]) + step) if -8 <= values[row, column] + step <= 7 else 0
        )
        other = QuantizedTensor(values, quantized.scales, 4, 32)
        assert objective(weight, other, h) >= path[-1] * (1 - 1e-5)


def one_column_at_a_time(weight, quantized, h, grid=ScaleGrid.FREE):
    """One sweep of the descent in fp64: every integer in turn at its best, a group's scale after its last
    column.
    """
    low, high = RANGES[quantized.bits]
    w, h, block = weight.double(), h.double(), quantized.block
    codes, scales = quantized.values.double(), quantized.scales.double()
    channel, largest = scales.amax(1) / 16, scales.argmax(1)

    def legal(scale, g):
        if grid is ScaleGrid.FREE:
            return round_scale(scale.float()).double()
        return torch.where(largest == g, 16, (scale / channel).round().clamp(1, 16)) * channel

    def slope():
        return (w - codes * scales.repeat_interleave(block, 1)) @ h

    for j in range(w.shape[1]):
        g = j // block
        codes[:, j] = (codes[:, j] + slope()[:, j] / (h[j, j] * scales[:, g])).round().clamp(low, high)
        if (j + 1) % block == 0:
            inside = slice(g * block, (g + 1) * block)
            q = codes[:, inside]
            gain, curve = (slope()[:, inside] * q).sum(1), ((q @ h[inside, inside]) * q).sum(1)
            new = legal(scales[:, g] + gain / curve, g)
            moved = new - scales[:, g]
            scales[:, g] = torch.where(moved * (moved * curve - 2 * gain) < 0, new, scales[:, g])
    return codes.to(torch.int8), scales.float()


@pytest.mark.parametrize("grid", list(ScaleGrid))
@pytest.mark.parametrize("group", [32, 128, 160, None])
def test_the_descent_in_batches_is_one_column_at_a_time(group, grid):
    """320 columns: groups that share a batch of 128, one that fills it, and groups that take several."""
    width = 256 if group == 128 else 320
    weight, x = gaussian(6, width), inputs(4 * width, width)
    h, _ = damped(x.T @ x / len(x), DAMPING)
    start = quantize_weight(weight, 4, group, scales=grid)
    values, scales = one_column_at_a_time(weight, start, h, grid)
    quantized = refine(weight, start, h, sweeps=1, grid=grid)
    assert (quantized.values != start.values).any()
    if grid is ScaleGrid.FREE or group == 32:  # LPBQ's steps are too coarse for the few scales of the others
        assert not torch.equal(quantized.scales, start.scales)
    assert (
        quantized.values == values
    ).float().mean() > 0.999  # fp32 against fp64: a half may fall to the other side
    assert (quantized.scales == scales).float().mean() > 0.98


def test_comes_near_to_trying_all_integers():
    weight, x = gaussian(1, 6, seed=5), inputs(60, 6)
    h, _ = damped(x.T @ x / len(x), DAMPING)
    quantized = gptq(weight, x.T @ x, 8, sweeps=4)
    scale = float(quantized.scales)
    nearest = (weight / scale).floor().squeeze(0).tolist()
    best = min(
        objective(weight, QuantizedTensor(torch.tensor([codes], dtype=torch.int8), quantized.scales, 8), h)
        for codes in itertools.product(*((int(n) - 1, int(n), int(n) + 1, int(n) + 2) for n in nearest))
        if max(map(abs, codes)) <= 127
    )
    assert objective(weight, quantized, h) <= 1.6 * best
    assert best < 0.7 * objective(weight, quantize_weight(weight, 8), h)


def test_uncorrelated_inputs_of_one_size_leave_nothing_to_gain_but_the_scales():
    weight = gaussian(16, 64)
    quantized = gptq(weight, torch.eye(64), 4, 32)
    assert torch.equal(quantized.values, quantize_weight(weight, 4, 32).values)


def test_inputs_that_never_came_or_repeat_each_other_still_give_a_good_weight():
    weight, x = gaussian(8, 64), inputs(20, 64)  # rank 20 of 64
    x[:, 40:] = 0
    quantized = gptq(weight, x.T @ x, 4, 32)
    error = ((quantized.dequantize() - weight) @ x.T).norm() / (weight @ x.T).norm()
    assert error < 0.05
    unseen = quantized.dequantize()[:, 40:] - weight[:, 40:]
    assert unseen.norm() < 0.16 * weight[:, 40:].norm()
    zero = gptq(weight, torch.zeros(64, 64), 4, 32)
    assert torch.equal(zero.values, quantize_weight(weight, 4, 32).values)


@pytest.mark.parametrize(
    ("hessian", "message"),
    [
        (torch.full((64, 64), torch.nan), "not finite"),
        (torch.eye(63), r"second moments are \[63, 63\]"),
        (torch.eye(64) - 40 * torch.ones(64, 64) + 40 * torch.diag(torch.ones(64)), "singular"),
    ],
)
def test_refuses_what_are_no_second_moments(hessian, message):
    with pytest.raises(InputError, match=message):
        gptq(gaussian(8, 64), hessian, 4, 32)


def test_is_repeatable():
    weight, x = gaussian(8, 64), inputs(200, 64)
    a, b = (gptq(weight, x.T @ x, 4, 32) for _ in range(2))
    assert torch.equal(a.values, b.values)
    assert torch.equal(a.scales, b.scales)


def test_a_few_rows_at_a_time_give_the_same_integers(monkeypatch):
    weight, x = gaussian(13, 64), inputs(200, 64)
    whole, cost = gptq(weight, x.T @ x, 4, 32), objective(weight, quantize_weight(weight, 4, 32), x.T @ x)
    monkeypatch.setattr(gptq_module, "_ELEMENTS", 5 * 64)
    parts = gptq(weight, x.T @ x, 4, 32)
    assert torch.equal(whole.values, parts.values)
    assert torch.equal(whole.scales, parts.scales)
    assert objective(weight, quantize_weight(weight, 4, 32), x.T @ x) == pytest.approx(cost, rel=1e-5)
