"""What each module becomes: precisions by name pattern, presets, recipe files, and a manifest's plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from phantom_edge.errors import InputError, did_you_mean, shown
from phantom_edge.system.reading import read_toml

if TYPE_CHECKING:
    import torch

GROUPS: Final = (32, 64, 128)
"""Group sizes that XNNPACK (multiples of 32), MatMulNBits (powers of two) and Core ML (any) all accept."""

_MATMUL: Final = re.compile(
    r"vision_encoder\.layers\.\d+\.(qkv|proj|fc1|fc2)"
    r"|vision_encoder\.projector\.(fc1|fc2)"
    r"|token_embedding"
    r"|text_decoder\.layers\.\d+\.(qkv|o|gate_up|down)"
    r"|text_decoder\.head"
)
"""The modules whose weight may become integers; norms, phantom constants, biases, patches stay floats."""

Shape = tuple[int, int]


class ScaleGrid(StrEnum):
    """Which scales the blocks of a weight may have, beside being exact in every format.

    >>> [str(grid) for grid in ScaleGrid]
    ['free', 'lpbq']
    """

    FREE = "free"
    """Each block its own."""
    LPBQ = "lpbq"
    """A scale of the output channel times an integer 1…16, as :mod:`phantom_edge.numbers.lpbq` has it."""

    @classmethod
    def parse(cls, text: str) -> ScaleGrid:
        """The grid of that name. Raises :class:`InputError`."""
        try:
            return cls(text)
        except ValueError:
            raise InputError(_unknown("scales", text, list(map(str, cls)))) from None


@dataclass(frozen=True)
class Precision:
    """The type of one module's weight.

    Attributes:
        bits: 32 or 16 for a float, 8 or 4 for integers.
        group: input features per scale for int4; None for floats and for int8, which is per output channel.
        scales: the grid of int4's scales.

    >>> Precision.parse("int4:64").group, str(Precision.parse("int4"))
    (64, 'int4:32')
    >>> Precision.parse("int4:32:lpbq").scales
    <ScaleGrid.LPBQ: 'lpbq'>
    """

    bits: int
    group: int | None = None
    scales: ScaleGrid = ScaleGrid.FREE

    @classmethod
    def parse(cls, text: str) -> Precision:
        """Read "fp32", "fp16", "int8", "int4" (group 32), "int4:64", "int4:128" or "int4:32:lpbq".

        Raises :class:`InputError`: anything else; lists what exists.
        """
        try:
            return _PRECISIONS[text]
        except KeyError:
            raise InputError(_unknown("precision", text, _PRECISIONS)) from None

    @property
    def is_integer(self) -> bool:
        """Whether the weight is stored as integers."""
        return self.bits <= 8

    @property
    def dtype(self) -> torch.dtype:
        """The float type of a float precision."""
        import torch

        return torch.float32 if self.bits == 32 else torch.float16

    def __str__(self) -> str:
        if not self.is_integer:
            return f"fp{self.bits}"
        if not self.group:
            return f"int{self.bits}"
        free = self.scales is ScaleGrid.FREE
        return f"int{self.bits}:{self.group}" + ("" if free else f":{self.scales}")

    def on_grid(self, scales: ScaleGrid) -> Precision:
        """The same with its scales on that grid, if it has groups."""
        return replace(self, scales=scales) if self.group else self


FP32, FP16, INT8 = Precision(32), Precision(16), Precision(8)
_PRECISIONS: Final[dict[str, Precision]] = {
    "fp32": FP32,
    "fp16": FP16,
    "int8": INT8,
    "int4": Precision(4, GROUPS[0]),
    **{str(p): p for grid in ScaleGrid for group in GROUPS for p in [Precision(4, group, grid)]},
}


@dataclass(frozen=True)
class Rule:
    """What the modules of one pattern become."""

    pattern: str = field(metadata={"json": "match"})
    """Over the modules' names, as fnmatch has it; ``*`` also crosses dots."""
    precision: Precision = field(metadata={"json": "to"})
    """Such as ``int4:32``, 4 bits in groups of 32; ``int4:32:lpbq`` has its scales on LPBQ's grid."""
    origin: str = "recipe"
    """Who gave the rule: a preset, a file or the command line."""


class Assignment(NamedTuple):
    """What one module becomes, the reason in words, and whether it is less precise than its rule."""

    name: str
    precision: Precision
    reason: str
    fallback: bool = False


@dataclass(frozen=True)
class Recipe:
    """Precisions by module name; the last rule that matches wins, so that overrides are appended.

    Raises :class:`InputError`: `float_type` is not a float.

    >>> recipe = load_recipe("int4", ["text_decoder.layers.0.*=int8"])
    >>> str(recipe.resolve("text_decoder.layers.0.down", (896, 4864)))
    'int8'
    """

    name: str
    """For messages."""
    rules: tuple[Rule, ...] = ()
    """In order."""
    float_type: Precision = field(default=FP16, metadata={"json": "float"})
    """What a module becomes that no rule matches, or that has no matrix product: ``fp32`` or ``fp16``."""

    def __post_init__(self) -> None:
        if self.float_type.is_integer:
            raise InputError(f"recipe {self.name}: float type must be fp32 or fp16, not {self.float_type}")

    def resolve(self, name: str, shape: Shape) -> Precision:
        """The precision of module `name`, whose weight is [out, in].

        Falls back, never fails: groups that do not divide `in` become int8 per output channel, and a module
        that is not a matrix product stays in the recipe's float type whatever an integer rule says of it.
        """
        return self._assign(name, shape).precision

    def plan(self, shapes: Mapping[str, Shape]) -> list[Assignment]:
        """What every module becomes and why, for the manifest.

        Args:
            shapes: (out, in) by module name.

        Raises :class:`InputError`: a rule that the user gave (not one of a preset's own) matches no module,
        or asks for integers and matches only modules that have no matrix product.
        """
        for rule in self.rules:
            if not rule.origin.startswith("preset "):  # of a preset's, a tied head leaves one without work
                _check_has_work(rule, shapes)
        return [self._assign(name, shape) for name, shape in shapes.items()]

    @property
    def grouped(self) -> bool:
        """Whether a rule gives groups of input features, whose scales can be on a grid."""
        return any(rule.precision.group for rule in self.rules)

    def on_grid(self, scales: ScaleGrid) -> Recipe:
        """The same with the scales of all groups on that grid.

        >>> str(PRESETS["int4"].on_grid(ScaleGrid.LPBQ).resolve("text_decoder.layers.0.o", (64, 64)))
        'int4:32:lpbq'
        """
        rules = tuple(replace(rule, precision=rule.precision.on_grid(scales)) for rule in self.rules)
        return replace(self, rules=rules)

    def _assign(self, name: str, shape: Shape) -> Assignment:
        rule = next((r for r in reversed(self.rules) if fnmatchcase(name, r.pattern)), None)
        if rule is None:
            return Assignment(name, self.float_type, f"no rule matches: {self.float_type}")
        precision = rule.precision
        why = f"{rule.pattern} = {precision} ({rule.origin})"
        if precision.is_integer and not _MATMUL.fullmatch(name):
            return Assignment(name, self.float_type, f"not a matrix product: {self.float_type}")
        if precision.group and shape[1] % precision.group:
            why += f"; groups of {precision.group} do not divide {shape[1]} input features"
            return Assignment(name, INT8, f"{why}: {INT8} per output channel", True)
        return Assignment(name, precision, why)


def _preset(name: str, float_type: Precision, *rules: str) -> Recipe:
    return Recipe(name, tuple(_parse_rule(rule, f"preset {name}") for rule in rules), float_type)


def _parse_rule(text: str, origin: str) -> Rule:
    pattern, equals, precision = (part.strip() for part in text.rpartition("="))
    if not equals or not pattern:
        raise InputError(f"{origin} {shown(text)}: write pattern=precision, as text_decoder.layers.0.*=int8")
    return Rule(pattern, Precision.parse(precision), origin)


PRESETS: Final[dict[str, Recipe]] = {
    "fp32": _preset("fp32", FP32),
    "fp16": _preset("fp16", FP16),
    "int8": _preset("int8", FP16, "vision_encoder.*=int8", "token_embedding=int8", "text_decoder.*=int8"),
    "int4": _preset(
        "int4",
        FP16,
        "vision_encoder.*=int8",
        "token_embedding=int8",
        "text_decoder.layers.*=int4",
        "text_decoder.head=int8",
    ),
}
"""`int4`: decoder layers in groups of 32; head, embedding and vision int8 per channel; the rest fp16."""


def load_recipe(text: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from a preset's name or a TOML file, with overrides appended.

    A file holds `base = "int4"` (a preset) and any number of
    `[[rule]]` tables with `match = "text_decoder.layers.*.down"` and `to = "int8"`.

    Args:
        text: a name in `PRESETS`, or the path of a `.toml` file.
        overrides: `pattern=precision`, such as `text_decoder.layers.0.*=int8`.

    Raises :class:`InputError`: unknown preset, field or precision, unreadable file, malformed override.

    >>> load_recipe("int8", ["vision_encoder.*=fp16"]).name
    'int8+1'
    """
    if text in PRESETS:
        recipe = PRESETS[text]
    elif text.endswith(".toml"):
        recipe = _load_file(Path(text))
    else:
        raise InputError(_unknown("recipe", text, PRESETS) + "; or give the path of a .toml file")
    extra = [_parse_rule(item, "override") for item in overrides]
    if not extra:
        return recipe
    return replace(recipe, name=f"{recipe.name}+{len(extra)}", rules=(*recipe.rules, *extra))


def _load_file(path: Path) -> Recipe:
    data = read_toml(path)
    origin = path.name
    _check_fields(origin, data, required=("base",), optional=("rule",))
    base = data["base"]
    if not isinstance(base, str) or base not in PRESETS:
        raise InputError(f"{origin}: {_unknown('base', str(base), PRESETS)}")
    rules = (*PRESETS[base].rules, *_rules(data.get("rule", []), origin))
    return replace(PRESETS[base], name=path.stem, rules=rules)


def _rules(tables: object, origin: str) -> Iterator[Rule]:
    if not isinstance(tables, list) or not all(isinstance(entry, Mapping) for entry in tables):
        raise InputError("recipe: rules are a list of tables; in a file, each begins with [[rule]]")
    for entry in tables:
        _check_fields(f"{origin}: rule", entry, required=("match", "to"))
        yield Rule(str(entry["match"]), Precision.parse(str(entry["to"])), origin)


def _check_fields(
    where: str, data: Mapping[str, object], required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    known = (*required, *optional)
    for name in data:
        if name not in known:
            raise InputError(f"{where}: {_unknown('field', name, known)}")
    missing = [name for name in required if name not in data]
    if missing:
        raise InputError(f"{where}: missing {', '.join(missing)}")


def _check_has_work(rule: Rule, shapes: Mapping[str, Shape]) -> None:
    matched = [name for name in shapes if fnmatchcase(name, rule.pattern)]
    if not matched:
        hint = did_you_mean(rule.pattern, shapes)
        raise InputError(f"{rule.origin}: {shown(rule.pattern)} matches no module of this model{hint}")
    if rule.precision.is_integer and not any(_MATMUL.fullmatch(name) for name in matched):
        raise InputError(f"{rule.origin}: {matched[0]} is no matrix product and cannot be {rule.precision}")


def _unknown(kind: str, text: str, known: Iterable[str]) -> str:
    return f"unknown {kind} {shown(text)}{did_you_mean(text, known)}; there are: {', '.join(known)}"
