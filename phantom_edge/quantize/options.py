"""How to quantise, as one set of options for ``quantize`` and ``export``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError
from phantom_edge.numbers.recipe import Recipe, ScaleGrid, load_recipe
from phantom_edge.quantize.calibration import check_count
from phantom_edge.quantize.methods import RoundingMethod
from phantom_edge.quantize.store import is_stored

MIXED: Final = "mixed"


@dataclass(frozen=True)
class QuantizeOptions:
    """How to quantise.

    Attributes:
        quant: ``mixed`` (a precision per module, by what each costs), a preset's name, a TOML recipe, or, for
            an export, the file of a finished quantisation; None is the target's own recipe for an export,
            else ``mixed``.
        overrides: ``PATTERN=PRECISION``, applied after the recipe.
        method: a name in :data:`~phantom_edge.quantize.methods.METHODS`; None takes GPTQ. An export rounds to
            the nearest, without data, unless ``quant`` is ``mixed`` or one of the following is given.
        calibrate: a folder of pictures; None takes drawn scenes.
        samples: how many of them; None takes what suits the model's size.
        budget_mb: with ``mixed``, the most that all weights may take, in 10^6 bytes.
        budget_kl: with ``mixed``, the most KL divergence from the original, in nats per next token.
        kv_cache: whether to calibrate an int8 KV cache too.
        scales: the grid of int4's scales: ``free``, or ``lpbq`` for the fast int4 of Qualcomm's NPU; None is
            the target's own for an export, else ``free``.

    Raises :class:`InputError`: options that do not go together or have no meaning.

    >>> pe.QuantizeOptions("int4", budget_mb=4.0)
    Traceback (most recent call last):
    phantom_edge.errors.InputError: --budget-mb chooses a precision per module: use it with --quant mixed
    """

    quant: str | None = None
    overrides: tuple[str, ...] = ()
    method: str | None = None
    calibrate: Path | None = None
    samples: int | None = None
    budget_mb: float | None = None
    budget_kl: float | None = None
    kv_cache: bool = True
    scales: str | None = None

    def __post_init__(self) -> None:
        _ = self.rounding, self.scale_grid  # refuses an unknown one
        if self.budget_mb is not None and self.budget_kl is not None:
            raise InputError("--budget-mb and --budget-kl: give one of the two")
        for name, value in (("--budget-mb", self.budget_mb), ("--budget-kl", self.budget_kl)):
            if value is None:
                continue
            if self.quant not in (None, MIXED) and not is_stored(self.quant):
                raise InputError(f"{name} chooses a precision per module: use it with --quant mixed")
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}; it must be above 0")
        if self.samples is not None:
            check_count(self.samples)

    @property
    def rounding(self) -> RoundingMethod:
        """The method, parsed."""
        return RoundingMethod.parse(self.method or "gptq")

    @property
    def scale_grid(self) -> ScaleGrid:
        """The grid of the scales, parsed."""
        return ScaleGrid.parse(self.scales or ScaleGrid.FREE)

    @property
    def calibrated(self) -> bool:
        """Whether an export chooses the integers by running samples."""
        options = (self.method, self.calibrate, self.samples, self.budget_mb, self.budget_kl)
        return self.quant == MIXED or any(option is not None for option in options)

    @property
    def base(self) -> Recipe:
        """The recipe to begin with; for ``mixed`` one that only says what its overrides do."""
        if self.quant is not None and self.quant != MIXED:
            recipe = load_recipe(self.quant, self.overrides)
        else:
            recipe = replace(load_recipe("fp16", self.overrides), name=MIXED)
        if self.scales is None:
            return recipe
        if not (self.quant in (None, MIXED) or recipe.grouped):
            raise InputError(f"--scales is for int4, of which {recipe.name} has none: leave it out")
        return recipe.on_grid(self.scale_grid)

    def for_target(self, recipe: str, scales: str | None) -> QuantizeOptions:
        """With a target's recipe and grid of scales where nothing else is chosen.

        >>> pe.QuantizeOptions(method="gptq").for_target("int4", "lpbq").base.name
        'int4'
        """
        options = replace(self, quant=self.quant or recipe)
        if options.scales is not None or is_stored(options.quant):
            return options
        int4 = options.quant == MIXED or options.base.grouped
        return replace(options, scales=scales if int4 else None)
