"""The comparison of scale grids on hand-made divergences; its exhaustive search on weights of the grid."""

import pytest
import torch

from benchmarks.scale_grids import Cost, by_position, least_error, table


def test_a_ratio_by_position_is_geometric_and_leaves_out_rounding():
    free, products = torch.tensor([1e-4, 2e-6, 0.0, 1e-15]), torch.tensor([2e-4, 1e-6, 1e-3, 1e-3])
    assert by_position(free, products) == pytest.approx(1.0)
    assert by_position(free[:1], products[:1]) == pytest.approx(2.0)


def test_the_table_pairs_the_grids_by_calibration_set():
    costs = [
        Cost("gptq", grid, number, 1000, error, torch.tensor([kl]))
        for number, error in enumerate((0.1, 0.2))
        for grid, error, kl in (("free", error, 1e-4), ("lpbq", 1.05 * error, 1.1e-4))
    ]
    row = table(costs).splitlines()[-1]
    cells = ["gptq", "1,000", "1,000", "1.050 ± 0.000", "1.100 ± 0.000", "1.000 ± 0.000", "1.100 ± 0.000"]
    assert row == f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("bits", [4, 5])
def test_trying_all_products_ends_at_a_weight_on_the_grid(bits):
    codes = torch.randint(-8, 8, (4, 4, 32), generator=torch.Generator().manual_seed(0)).float()
    codes[..., 0], codes[..., 1] = -8, 7
    factors = torch.tensor([16.0, 9, 12, 5]).view(1, 4, 1)
    assert least_error((codes * factors * 9 * 2.0**-10).flatten(1), bits) < 1e-12
    off = codes * (factors + torch.tensor([0.0, 0.5, 0.5, 0.5]).view(1, 4, 1)) * 9 * 2.0**-10
    assert least_error(off.flatten(1), bits) > 1e-6
