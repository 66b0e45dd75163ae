"""What the exporters share: the options they take and the description they give back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from phantom_edge.errors import CheckError

if TYPE_CHECKING:
    from phantom_edge.bundle.manifest import Npu
    from phantom_edge.model.spec import FoldedSpec
    from phantom_edge.numbers.grid import QuantizedTensor

GRAPHS = ("vision_encoder", "token_embedding", "text_decoder")
VISION = GRAPHS[0]


def vision_graph(tile_size: int) -> str:
    """The name of the vision encoder for a further size of tiles.

    >>> vision_graph(336)
    'vision_encoder_336'
    """
    return f"{VISION}_{tile_size}"


def vision_graphs(spec: FoldedSpec) -> dict[str, int]:
    """The vision encoders of a model, with the size of tiles that each is built for; the default is first."""
    return {VISION: spec.config.tile_size, **{vision_graph(size): size for size in spec.other_tiles}}


def all_graphs(spec: FoldedSpec) -> dict[str, int]:
    """Every graph of a model, with the size of tiles that it is built for; the further ones come last."""
    return dict.fromkeys(GRAPHS, spec.config.tile_size) | vision_graphs(spec)


@dataclass(frozen=True)
class ExportOptions:
    """What one export needs beyond the folded, quantised model.

    ``context`` is the KV cache's length in tokens, ``chunk`` the most tokens one decoder call takes (prefill
    is cut into such pieces), ``float_type`` the type of everything that is not quantised (``fp32`` or
    ``fp16``), ``end_ids`` the ids that end an answer. ``share_data`` lets one graph read what lies in
    another's data file, where a format has several: not for browsers, which fetch each graph's own.
    """

    context: int
    chunk: int
    float_type: str
    end_ids: tuple[int, ...]
    share_data: bool = False
    chips: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """Files of one export relative to the output folder, by graph as :func:`all_graphs` names them.

    ``counts`` holds, per graph, how many of each checked operation the artifact has; :func:`require_counts`
    compared them with what the model must give. ``notes`` tell every deviation of an exporter. ``npu`` is
    what runs on one.
    """

    files: dict[str, Path]
    counts: dict[str, dict[str, int]]
    notes: tuple[str, ...] = field(default=())
    npu: Npu | None = None


class StoredWeights(Mapping[str, "QuantizedTensor"]):
    """An artifact's integers by module name, each read from its file at every access.

    Reading may raise :class:`InputError`, for data that are damaged or not as this toolkit writes them.
    """

    def __init__(self, readers: Mapping[str, Callable[[], QuantizedTensor]]):
        self._readers = dict(readers)

    def __getitem__(self, name: str) -> QuantizedTensor:
        return self._readers[name]()

    def __contains__(self, name: object) -> bool:  # Mapping's own would read the weight
        return name in self._readers

    def __iter__(self) -> Iterator[str]:
        return iter(self._readers)

    def __len__(self) -> int:
        return len(self._readers)


def require_counts(graph: str, counts: dict[str, int], expected: dict[str, int]) -> None:
    """Raise :class:`CheckError` unless an artifact has exactly the expected ops and quantised weights."""
    pairs = ((op, counts.get(op, 0), n) for op, n in expected.items())
    wrong = [f"{op} {count} (expected {n})" for op, count, n in pairs if count != n]
    if wrong:
        raise CheckError(f"{graph}: the exported graph is not what its model needs: {', '.join(wrong)}")


def float_tensor(weight: torch.Tensor | QuantizedTensor, name: str) -> torch.Tensor:
    """A weight that no recipe quantises, such as a norm, a bias or a phantom constant, by its name."""
    if not isinstance(weight, torch.Tensor):
        raise CheckError(f"{name}: is quantised, which no format takes here; report it")
    return weight
