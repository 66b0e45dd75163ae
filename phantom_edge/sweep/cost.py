"""What one combination takes: memory to declare, and seconds to warn of. From measured runs.

A row is an export with its whole verification and questions, of a format and a number of parameters. The
peaks are those of ``docs/performance.md``, whichever of export and verification took more; Phantom-Nano's
were measured the same way. A larger model has never less than a smaller one, of which more was run. In
between they are interpolated, beyond the last row they grow as before it.
"""

from __future__ import annotations

from typing import Final

MARGIN: Final = 1.25
"""Of memory that is declared over what was measured: other prompts, pictures and allocators."""
Row = tuple[float, float, float]
"""Parameters in 10^9, peak memory in GB, processor seconds."""

_ONNX: Final[tuple[Row, ...]] = (
    (0.006, 0.5, 12), (0.94, 6.0, 240), (2.21, 7.3, 300), (4.15, 11.6, 930), (8.08, 18.3, 1000),
)  # fmt: skip
_EXECUTORCH: Final[tuple[Row, ...]] = (
    (0.006, 0.6, 15), (0.94, 6.0, 240), (2.21, 13.2, 310), (4.15, 13.2, 520), (8.08, 17.2, 1160),
)  # fmt: skip
_COREML: Final[tuple[Row, ...]] = (
    (0.006, 0.7, 15), (0.94, 8.7, 250), (2.21, 18.9, 410), (4.15, 18.9, 600), (8.08, 20.7, 1180),
)  # fmt: skip
_QNN: Final[tuple[Row, ...]] = ((0.006, 1.5, 60), (0.94, 14.9, 3400))
ROWS: Final = {
    "onnx": _ONNX,
    "onnx-webgpu": _ONNX,
    "onnx-qnn": _QNN,
    "executorch": _EXECUTORCH,
    "executorch-coreml": _COREML,
    "coreml": _COREML,
}


def memory(format_name: str, parameters: int) -> int:
    """Bytes that a task declares.

    >>> round(memory("onnx", 940_000_000) / 1e9, 1)
    7.5
    """
    return round(MARGIN * 1e9 * _interpolated(_rows(format_name), parameters / 1e9, 1))


def seconds(format_name: str, parameters: int) -> float:
    """Processor seconds of an export with its verification."""
    return _interpolated(_rows(format_name), parameters / 1e9, 2)


def _rows(format_name: str) -> tuple[Row, ...]:
    return ROWS.get(format_name, _COREML)  # a format of another package: the most that is known


def _interpolated(rows: tuple[Row, ...], x: float, column: int) -> float:
    right = next((n for n, row in enumerate(rows) if n and row[0] >= x), len(rows) - 1)
    (x0, y0), (x1, y1) = ((rows[n][0], rows[n][column]) for n in (right - 1, right))
    return max(y0 + (y1 - y0) * (x - x0) / (x1 - x0), rows[0][column])
