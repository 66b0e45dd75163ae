"""The grid: scales that three formats hold, nibbles byte by byte, and a tensor that refuses what it could not
hold.
"""

import pytest
import torch

from phantom_edge.errors import InputError
from phantom_edge.numbers.grid import QuantizedTensor, pack_nibbles, round_scale, unpack_nibbles


def int8(*rows):
    return torch.tensor(rows, dtype=torch.int8)


def every_positive_bfloat16():
    codes = torch.arange(1, 0x7F80, dtype=torch.int16)  # 0x7F80 is infinity
    return codes.view(torch.bfloat16).to(torch.float32)


def every_positive_float16():
    codes = torch.arange(1, 0x7C00, dtype=torch.int16)  # 0x7C00 is infinity
    return codes.view(torch.float16).to(torch.float32)


class TestRoundScale:
    def test_result_is_the_same_number_in_bfloat16_float16_and_float32(self):
        generator = torch.Generator().manual_seed(0)
        anywhere = torch.exp(torch.empty(200_000).uniform_(-40, 40, generator=generator))
        for scale in (every_positive_bfloat16(), every_positive_float16(), anywhere):
            rounded = round_scale(scale)
            assert torch.equal(rounded.to(torch.bfloat16).to(torch.float32), rounded)
            assert torch.equal(rounded.to(torch.float16).to(torch.float32), rounded)
            assert (rounded > 0).all()

    def test_is_the_identity_on_exactly_the_common_values(self):
        """Any number that bfloat16 and float16 share must survive: nothing legal is lost."""
        half = every_positive_float16()
        common = half[half.to(torch.bfloat16).to(torch.float32) == half]
        assert torch.equal(round_scale(common), common)
        assert common.max() == 65280.0

    def test_picks_the_nearest_common_value(self):
        half = every_positive_float16()
        common = half[half.to(torch.bfloat16).to(torch.float32) == half].to(torch.float64)  # ascending
        generator = torch.Generator().manual_seed(1)
        scale = torch.exp(torch.empty(20_000).uniform_(-17, 11, generator=generator))
        above = torch.searchsorted(common, scale.to(torch.float64)).clamp(1, len(common) - 1)
        nearest = torch.minimum((common[above] - scale).abs(), (common[above - 1] - scale).abs())
        assert torch.equal((round_scale(scale).to(torch.float64) - scale).abs(), nearest)

    def test_moves_what_is_out_of_range_to_its_ends(self):
        scale = torch.tensor([0.0, 1e-12, 65500.0, torch.inf])
        assert round_scale(scale).tolist() == [2.0**-24, 2.0**-24, 65280.0, 65280.0]


class TestNibbles:
    def test_layouts_byte_by_byte(self):
        values = int8([-8, 7, 1, -1])  # two's complement 8 7 1 F; plus eight 0 F 9 7
        assert pack_nibbles(values).tolist() == [[0x78, 0xF1]]
        assert pack_nibbles(values, high_first=True).tolist() == [[0x87, 0x1F]]
        assert pack_nibbles(values, offset=8).tolist() == [[0xF0, 0x79]]
        assert pack_nibbles(values, high_first=True, offset=8).tolist() == [[0x0F, 0x97]]

    def test_an_odd_row_ends_in_an_encoded_zero(self):
        assert pack_nibbles(int8([3])).tolist() == [[0x03]]
        assert pack_nibbles(int8([3]), offset=8).tolist() == [[0x8B]]

    @pytest.mark.parametrize("high_first", [False, True])
    @pytest.mark.parametrize("offset", [0, 8])
    @pytest.mark.parametrize("count", [1, 6, 7])
    def test_unpacking_undoes_packing(self, high_first, offset, count):
        values = torch.randint(
            -8, 8, (5, 3, count), dtype=torch.int8, generator=torch.Generator().manual_seed(count)
        )
        packed = pack_nibbles(values, high_first, offset)
        assert torch.equal(unpack_nibbles(packed, count, high_first, offset), values)


class TestQuantizedTensor:
    def test_dequantises_each_block_with_its_own_scale(self):
        quantized = QuantizedTensor(int8([1, -2, 3, -8]), torch.tensor([[0.5, 2.0]]), bits=4, group=2)
        assert quantized.dequantize().tolist() == [[0.5, -1.0, 6.0, -16.0]]
        assert (quantized.shape, quantized.block, quantized.zero_point) == ((1, 4), 2, 0)

    def test_four_bit_weights_are_exact_in_float16(self):
        """Three bits of integer times eight of scale fit in eleven: Core ML's fp16 weights equal the fp32
        ones.
        """
        generator = torch.Generator().manual_seed(2)
        values = torch.randint(-8, 8, (256, 64), dtype=torch.int8, generator=generator)
        scales = round_scale(torch.exp(torch.empty(256, 2).uniform_(-16, 2, generator=generator)))
        quantized = QuantizedTensor(values, scales, bits=4, group=32)
        assert torch.equal(quantized.dequantize(torch.float16).to(torch.float32), quantized.dequantize())

    @pytest.mark.parametrize(
        ("bits", "group", "in_features"), [(4, 32, 64), (4, None, 7), (8, None, 7), (8, 7, 7)]
    )
    def test_state_round_trip_keeps_everything_in_the_announced_bytes(self, bits, group, in_features):
        generator = torch.Generator().manual_seed(3)
        values = torch.randint(-7, 8, (5, in_features), dtype=torch.int8, generator=generator)
        scales = round_scale(torch.rand(5, in_features // (group or in_features), generator=generator))
        quantized = QuantizedTensor(values, scales, bits, group)
        state = quantized.to_state()
        restored = QuantizedTensor.from_state(state)
        assert torch.equal(restored.values, values)
        assert torch.equal(restored.scales, scales)
        assert (restored.bits, restored.group) == (bits, group)
        assert quantized.nbytes == state["values"].nbytes + state["scales"].nbytes

    @pytest.mark.parametrize(
        ("values", "scales", "bits", "group", "message"),
        [
            (int8([8, 0]), torch.ones(1, 1), 4, None, "-8..7, not 0..8"),
            (int8([-128, 0]), torch.ones(1, 1), 8, None, "-127..127"),
            (int8([1, 1]), torch.ones(1, 1), 3, None, "4 or 8"),
            (int8([1, 1, 1]), torch.ones(1, 1), 4, 2, "do not divide 3"),
            (int8([1, 1]), torch.ones(2, 1), 4, None, r"float32 \[1, 1\]"),
            (int8([1, 1]), torch.ones(1, 1, dtype=torch.float16), 4, None, "float32"),
            (int8([1, 1]).float(), torch.ones(1, 1), 4, None, "int8"),
            (int8([1, 1]), torch.tensor([[0.1]]), 4, None, "round_scale"),
            (int8([1, 1]), torch.tensor([[0.0]]), 4, None, "round_scale"),
            (int8([1, 1]), torch.tensor([[-0.5]]), 4, None, "round_scale"),
            (int8([1, 1]), torch.tensor([[torch.nan]]), 4, None, "round_scale"),
        ],
    )
    def test_refuses_what_a_format_could_not_hold(self, values, scales, bits, group, message):
        with pytest.raises(InputError, match=message):
            QuantizedTensor(values, scales, bits, group)

    def test_refuses_a_damaged_state(self):
        state = QuantizedTensor(int8([1, 1]), torch.ones(1, 1), 8).to_state()
        with pytest.raises(InputError, match="expected values, scales, grid"):
            QuantizedTensor.from_state({"values": state["values"]})
        with pytest.raises(InputError, match="the grid says 3 input features, the values 2"):
            QuantizedTensor.from_state({**state, "grid": torch.tensor([8, 0, 3], dtype=torch.int32)})
