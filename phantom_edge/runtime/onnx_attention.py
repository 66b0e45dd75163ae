"""Which of ONNX Runtime's two forms of attention over a KV cache a session takes.

Its tiled form is plain C++ for one row, compiled for any x86 processor. The other calls the vectorised matrix
product, which takes 0.6 of the time behind 2048 tokens (``benchmarks.kernels``) if it need not copy the keys
first: that is so where the product has no factor, which is why the graph scales the queries. It holds the
scores of a whole call; where these are large, and on other processors than x86, the tiled form stays.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

DISABLE_TILED: Final = "ORT_GQA_DISABLE_FLASH_ATTENTION"
"""ONNX Runtime reads it when it makes a session's kernels; it has no session option for this."""
MAX_SCORE_BYTES: Final = 128 << 20
X86: Final = ("x86_64", "amd64")

_environment = threading.Lock()


def suits_untiled(decoder: Message, context: int, chunk: int) -> bool:
    """Whether the untiled form is the faster one here for ``decoder``, with scores of a size to hold.

    A graph from before, whose attention has a scale of its own, is served by the tiled form.
    """
    nodes = [node for node in decoder.graph.node if node.op_type == "GroupQueryAttention"]
    attributes = [{a.name: a for a in node.attribute} for node in nodes]
    heads = max((a["num_heads"].i for a in attributes if "num_heads" in a), default=0)
    scaled = any("scale" not in a or a["scale"].f != 1 for a in attributes)
    fits = 4 * heads * chunk * context <= MAX_SCORE_BYTES
    return bool(nodes) and fits and not scaled and platform.machine().lower() in X86


@contextlib.contextmanager
def untiled(use: bool) -> Iterator[None]:
    """While the block runs, sessions are made with the untiled form if ``use`` says so."""
    if not use or DISABLE_TILED in os.environ:
        yield
        return
    with _environment:
        os.environ[DISABLE_TILED] = "1"
        try:
            yield
        finally:
            del os.environ[DISABLE_TILED]
