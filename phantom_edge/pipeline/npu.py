"""What of a model an NPU runs, and the ranges of its values there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.export import qnn_provider
from phantom_edge.export.qnn_chips import Chip, chips_of
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.rounded_ops import Rounding
from phantom_edge.numbers.recipe import ScaleGrid
from phantom_edge.progress import Step
from phantom_edge.quantize.calibration import calibration_sets
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.quantize.ranges import activation_ranges
from phantom_edge.targets import Format, Target, format_for, targets

GRAPHS: Final = {
    "vision": frozenset({"vision_encoder"}),
    "all": frozenset({"vision_encoder", "text_decoder"}),
}
ACTIVATIONS: Final = ("uint16", "fp16")


@dataclass(frozen=True)
class NpuOptions:
    """``parts`` is what the NPU runs: ``vision`` (default), or ``all``, which is the decoder too.

    ``activations`` are ``uint16`` (default) with ranges from calibration pictures, or ``fp16``, which needs
    none; ``soc`` are names of chips to compile for, such as ``sm8650``, each part by commas.
    """

    parts: str | None = None
    activations: str | None = None
    soc: tuple[str, ...] = field(default=())

    @property
    def given(self) -> list[str]:
        """The options that are not left to their defaults, as the command line names them."""
        named = {"--npu": self.parts, "--activations": self.activations, "--soc": self.soc}
        return [name for name, value in named.items() if value]

    @property
    def graphs(self) -> frozenset[str]:
        """The graphs that the NPU runs."""
        return GRAPHS[self.parts or "vision"]

    @cached_property
    def chips(self) -> tuple[Chip, ...]:
        """The chips of :attr:`soc`. Raises :class:`InputError` for an unknown or too old one."""
        return chips_of(self.soc)


def check_npu(options: NpuOptions, target: Target, artifact_format: Format, *, verify: bool) -> None:
    """Raise :class:`InputError` for options that are none, or of no use, or need what is not here."""
    if not artifact_format.npu:
        if options.given:
            able = [t.name for t in targets().values() if format_for(t.format).npu]
            raise InputError(
                f"{options.given[0]}: nothing of {target.name} runs on an NPU; leave it out, or export for "
                f"{' or '.join(able)}"
            )
        return
    for name, value, known in (
        ("--npu", options.parts, GRAPHS),
        ("--activations", options.activations, ACTIVATIONS),
    ):
        if value is not None and value not in known:
            raise InputError(f"{name} {value!r}: it is {' or '.join(known)}")
    if options.chips or verify:
        qnn_provider.require()


def scales_for(options: NpuOptions, artifact_format: Format) -> str | None:
    """The grid of int4's scales that an NPU's fast int4 takes; None where no int4 weight is the NPU's."""
    decodes = artifact_format.npu and "text_decoder" in options.graphs and options.activations != "fp16"
    return str(ScaleGrid.LPBQ) if decodes else None


def rounding(
    options: NpuOptions, source: Pretrained, model: FoldedModel, quantize: QuantizeOptions, step: Step
) -> Rounding:
    """What the NPU runs, with ranges measured over the calibration samples where it rounds to uint16."""
    if options.activations == "fp16":
        return Rounding(options.graphs)
    fit, _ = calibration_sets(source, quantize.calibrate, quantize.samples)
    ranges = activation_ranges(model, fit.samples, options.graphs, lambda what: step(f"ranges: {what}"))
    return Rounding(options.graphs, ranges)
