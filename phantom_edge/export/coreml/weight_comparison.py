"""A weight file compared with the arrays that belong there, in the order in which they would be written.

It takes the place of coremltools' own writer: the same places, and nothing is written.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phantom_edge.errors import InputError
from phantom_edge.export.half_constants import alike
from phantom_edge.mil.blob import ALIGNMENT, BlobFile
from phantom_edge.mil.types import BY_NAME


class WeightComparison:
    """Places of arrays in a weight file; ``wrong`` are those where ``stored`` holds something else."""

    def __init__(self, stored: BlobFile):
        self.stored, self.end = stored, ALIGNMENT
        self.wrong: list[int] = []

    def write_int4_data(self, array: NDArray[np.int8]) -> int:
        return self._place(array, "int4")

    def write_int8_data(self, array: NDArray[np.int8]) -> int:
        return self._place(array, "int8")

    def write_int32_data(self, array: NDArray[np.int32]) -> int:
        return self._place(array, "int32")

    def write_fp16_data(self, array: NDArray[np.uint16]) -> int:
        """``array`` are the bits of the numbers."""
        return self._place(array.view(np.float16), "fp16")

    def write_float_data(self, array: NDArray[np.float32]) -> int:
        return self._place(array, "fp32")

    def _place(self, array: NDArray[np.generic], name: str) -> int:
        """Where the record of ``array`` begins."""
        offset, dtype = -(-self.end // ALIGNMENT) * ALIGNMENT, BY_NAME[name]
        self.end = offset + ALIGNMENT + -(-array.size * dtype.bits // 8)
        try:
            same = alike(self.stored.read(offset, dtype, array.shape), array)
        except InputError:
            same = False
        if not same:
            self.wrong.append(offset)
        return offset
