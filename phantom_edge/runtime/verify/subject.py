"""What is verified: a bundle, its checkpoint, and the torch model that holds what the bundle must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, NoRoomError, first_line
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.qnn_chips import chip_for
from phantom_edge.model.folded import FoldedModel
from phantom_edge.report.report import Check
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.targets import Format

LISTED: Final = 3  # names that a check's detail shows


@dataclass(frozen=True)
class Subject:
    """A bundle with its source; ``model`` is folded and quantised as the manifest says.

    ``reference`` is the model with the numbers and the roundings of the bundle's format. ``spec`` and
    ``options`` follow from the source, so that no check believes what the bundle says of itself.
    """

    bundle: Bundle
    source: Pretrained
    artifact_format: Format
    model: FoldedModel
    reference: FoldedModel
    spec: PromptSpec
    options: ExportOptions

    @classmethod
    def of(cls, bundle: Bundle, source: Pretrained, artifact_format: Format, model: FoldedModel) -> Subject:
        """Everything that follows from the two and the quantised model.

        Raises :class:`Broken` for files that were compiled for no known chip.
        """
        m = bundle.manifest
        spec = PromptSpec.of_source(source, folded=True, max_tiles=m.tiles.max)
        floats = str(m.recipe.float_type)
        with part("chips that files were compiled for"):
            chips = tuple(chip_for(name).name for name in (m.npu.compiled if m.npu is not None else ()))
        shared = not m.browser
        options = ExportOptions(
            m.context, m.chunk, floats, source.config.end_ids, share_data=shared, chips=chips
        )
        return cls(bundle, source, artifact_format, model, artifact_format.reference(model), spec, options)

    @property
    def further_tiles(self) -> tuple[int, ...]:
        """The sizes of tiles besides the default that the bundle has a vision encoder for."""
        return self.model.spec.other_tiles

    def spec_at(self, tile_size: int) -> PromptSpec:
        """What prompts are made of with tiles of one of the bundle's sizes."""
        return self.spec.at_tile(tile_size, self.source.config.tokens_of(tile_size))

    @property
    def plain(self) -> FoldedModel:
        """The reference in fp32: no activation and no cache is rounded."""
        return self.reference.unrounded


class Broken(Exception):
    """A part of the artifact cannot be read or run; ``check`` says which, and why."""

    def __init__(self, check: Check):
        super().__init__(check.detail)
        self.check = check


@contextmanager
def part(name: str) -> Iterator[None]:
    """Turn whatever a reader or a runtime raises inside the block into :class:`Broken`.

    A damaged artifact is a finding, and what its runtime raises is not of this toolkit's choosing. Want of
    memory and a fault of the checkpoint are no findings about the artifact and pass through.
    """
    try:
        yield
    except (NoRoomError, CheckError, MemoryError):
        raise
    except Exception as error:
        raise Broken(Check(name, "broken", passed=False, detail=first_line(error))) from error


def listed(names: Sequence[str], separator: str = ", ") -> str:
    """The first few names, for a check's detail."""
    return separator.join(names[:LISTED])


def differs(names: Sequence[str]) -> str:
    """What a check's detail says of names that are not as they must be; nothing for none."""
    return f"differs: {listed(names)}" if names else ""


def attempt(name: str, checks: Callable[[], list[Check]]) -> list[Check]:
    """The checks, or the one that says why there are none."""
    try:
        with part(name):
            return checks()
    except Broken as broken:
        return [broken.check]
