"""Every tolerance of ``verify``, in one place, each with its reason.

Errors of *structure* are the largest absolute difference divided by the root mean square of the reference, so
that one number serves image tokens, embeddings and logits of any scale.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """A limit and why it is where it is."""

    limit: float
    reason: str


_ORDER = (
    "fp32 on both sides: only the order of summation differs; a wrong scale, mask or weight shows above 1e-2"
)
_LAYER_NORM = (
    "fp32, but the runtime's layer_norm loses digits where a row's mean is large beside its spread; a "
    "structural fault "
    "shows above 1e-2"
)
_HALF = "every result is rounded to the 11 bits of fp16, through all layers"
STRUCTURE: dict[tuple[str, str], Tolerance] = {
    ("onnx", "unrounded"): Tolerance(1e-4, _ORDER),
    ("onnx", "float"): Tolerance(1e-4, _ORDER),
    ("onnx", "integer"): Tolerance(1e-4, _ORDER),
    ("onnx-webgpu", "unrounded"): Tolerance(1e-4, _ORDER),
    ("onnx-webgpu", "float"): Tolerance(0.03, _HALF),
    ("onnx-webgpu", "integer"): Tolerance(0.03, _HALF),
    ("onnx-qnn", "unrounded"): Tolerance(1e-4, _ORDER),
    ("onnx-qnn", "float"): Tolerance(1e-4, _ORDER),
    ("onnx-qnn", "integer"): Tolerance(1e-4, _ORDER),
    ("executorch", "unrounded"): Tolerance(1e-4, _ORDER),
    ("executorch", "float"): Tolerance(1e-4, _ORDER),
    ("executorch", "integer"): Tolerance(1e-4, _ORDER),
    ("executorch-coreml", "unrounded"): Tolerance(1e-4, _ORDER),
    ("executorch-coreml", "float"): Tolerance(0.03, _HALF),
    ("executorch-coreml", "integer"): Tolerance(0.03, _HALF),
    ("coreai", "float"): Tolerance(1e-3, _LAYER_NORM),
    ("coreai", "integer"): Tolerance(1e-3, _LAYER_NORM),
    ("coreml", "unrounded"): Tolerance(1e-4, _ORDER),
    ("coreml", "float"): Tolerance(0.03, _HALF),
    ("coreml", "integer"): Tolerance(0.03, _HALF),
}
"""By format and by what runs: the shipped file with float or integer weights, or the run without platform
rounding.

Where a runtime rounds activations to integers, ``integer`` is for a stage that it leaves alone; else
:data:`GRID`.
"""

GRID = Tolerance(
    2.0,
    "root mean square difference over what rounding the activations costs. Same integers and same grid, "
    "but a value on "
    "a rounding boundary may fall to the other side and the layers carry that on: at worst the two "
    "roundings are "
    "independent, which is sqrt(2); a structural fault is not bounded by it",
)

NPU = Tolerance(
    2.0,
    "root mean square difference from fp32 over what rounding costs torch, in fp16 and on the same grids: "
    "the same operations round as often, in another order; a structural fault is not bounded by it",
)
ACROSS = Tolerance(
    1.5,
    "root mean square difference over what rounding the activations costs on both machines together: the "
    "roundings are independent at worst, which is 1; as with torch, a structural fault is not bounded by it",
)
"""As :data:`GRID`, between two machines."""

QUALITY: dict[int, Tolerance] = {
    32: Tolerance(1e-6, "nothing is rounded"),
    16: Tolerance(1e-4, "weights, and on Core ML activations, keep 11 bits"),
    8: Tolerance(0.01, "8-bit weights and activations: about 1 % noise per matmul"),
    4: Tolerance(
        0.5, "4-bit weights: about 8 % noise per matmul before calibration; trained weights lose far less"
    ),
}
"""Mean KL divergence in nats from the original's next-token distribution, by the smallest width a recipe
uses.
"""

_SUMMATION = (
    "fp32 on both sides, over the whole context: only the order of summation differs; one position of 2,048 "
    "that is masked, or rotated wrongly, shows above 1e-4"
)
FAR: dict[tuple[str, str], Tolerance] = {("coreai", "float"): STRUCTURE["coreai", "float"]}
FAR |= {("coreai", "integer"): STRUCTURE["coreai", "integer"]}
"""As :data:`STRUCTURE`, for a probe of the whole context; where there is no row, :data:`FAR_UNROUNDED`."""
FAR_UNROUNDED = Tolerance(3e-5, _SUMMATION)

CONSTANTS = Tolerance(
    1e-5, "computed in fp32 when the model is folded: another number of threads sums in another order"
)
HALF_CONSTANTS = Tolerance(
    1e-3, "as CONSTANTS, and on the edge of two numbers of fp16 a value falls to either"
)
TABLES = Tolerance(1e-6, "sines of one machine's library; another's may differ in the last bit")
"""Of constants that are computed and not read, over the largest value of each tensor."""

CUT = Tolerance(
    0.05, "calibration leaves as much room again beyond its values, so a prompt's are hardly ever cut off"
)
WIDE = Tolerance(
    64.0,
    "a prompt's values may fill a range badly, as attention does that is sharp in another picture, but not "
    "leave six of sixteen bits unused",
)
"""Of an NPU's ranges, over the extent of the values that the prompts give."""

PIXELS = Tolerance(1e-6, "the same picture cut into the same tiles")
GOLDEN = Tolerance(
    2.0,
    "largest difference over the largest that rounding the activations makes, as for the runtime itself: the "
    "file was computed with another order of summation at most, and a value on a rounding boundary may fall "
    "to the other side",
)
GOLDEN_UNIT = 1e-4
"""Over the rms, the unit of :data:`GOLDEN` where nothing is rounded: another order of summation."""

EMBEDDING = Tolerance(1e-6, "a table look-up, and for integers one product: nothing is summed")
HALF_EMBEDDING = Tolerance(
    5e-3, "a table look-up, rounded to fp16: half a unit of its largest value, several times the rms"
)


def embedding(format_name: str, kind: str) -> Tolerance:
    """The limit for embeddings, as :func:`structure`."""
    return HALF_EMBEDDING if format_name == "coreml" and kind != "unrounded" else EMBEDDING


def structure(format_name: str, kind: str) -> Tolerance:
    """The limit of the largest difference over the rms; kind is ``float``, ``integer`` or ``unrounded``."""
    return STRUCTURE[format_name, kind]


def far(format_name: str, kind: str) -> Tolerance:
    """The limit of the largest difference over the rms for a probe of the whole context."""
    return FAR.get((format_name, kind), FAR_UNROUNDED)


def quality(bits: int) -> Tolerance:
    """The KL budget for a recipe whose smallest weights have ``bits`` bits."""
    return QUALITY[bits]
