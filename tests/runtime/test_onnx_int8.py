"""Large int8 products: with the option they are exact on every CPU, without it where ``saturates`` says
so.
"""

from phantom_edge.runtime.onnx_int8 import EXACT_INT8, INPUTS, LARGEST, ROWS, products, saturates


def test_the_option_makes_every_product_exact():
    assert products({EXACT_INT8: "1"}) == [INPUTS * LARGEST] * len(ROWS)


def test_without_it_they_are_exact_unless_they_are_said_to_saturate():
    plain = products({})
    assert (plain == [INPUTS * LARGEST] * len(ROWS)) == (not saturates())
    assert max(plain) <= INPUTS * LARGEST
