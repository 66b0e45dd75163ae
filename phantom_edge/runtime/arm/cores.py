"""The Arm processors that can be asked for by name, and which of their features choose a kernel.

User-mode emulation executes a core's instructions and announces its features to programs, as Linux on such a
core would; caches and clocks it does not know. So cores with the same features compute the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from phantom_edge.errors import InputError, did_you_mean, shown

MACHINE: Final = "arm64"
DEFAULT: Final = "cortex-a76"
KERNELS: Final = {
    "asimddp": "int8 dot products",
    "i8mm": "int8 matrix products",
    "sve": "SVE",
    "asimdhp": "fp16 arithmetic",
    "bf16": "bf16",
    "sme": "SME",
}
"""Features, as ``/proc/cpuinfo`` spells them, by which ONNX Runtime chooses among its kernels."""


@dataclass(frozen=True)
class Core:
    """A processor: ``cpu`` is what QEMU takes for it, ``devices`` where one meets it or its like."""

    name: str
    cpu: str
    devices: str


CORES: Final = {
    core.name: core
    for core in (
        Core("cortex-a53", "cortex-a53", "Raspberry Pi 3 and Zero 2; no dot products"),
        Core("cortex-a72", "cortex-a72", "Raspberry Pi 4; no dot products"),
        Core("cortex-a76", "cortex-a76", "Raspberry Pi 5; Jetson Orin's A78AE has the same features"),
        Core("neoverse-n1", "neoverse-n1", "Ampere Altra, Graviton 2"),
        Core("armv8-i8mm", "max,sve=off,sme=off", "int8 matrix products without SVE: most phones since 2022"),
        Core("neoverse-v1", "neoverse-v1", "Graviton 3: int8 matrix products and SVE"),
        Core("neoverse-n2", "neoverse-n2", "Azure Cobalt 100: int8 matrix products and SVE2"),
        Core("armv9-sme", "max", "SME, which the newest phones have"),
    )
}


def core_for(name: str | None) -> Core:
    """The core of that name, or the default one. Raises :class:`InputError` with the nearest name.

    >>> core_for("cortex-a72").devices
    'Raspberry Pi 4; no dot products'
    """
    name = DEFAULT if name is None else name
    if name in CORES:
        return CORES[name]
    raise InputError(f"unknown CPU {shown(name)}{did_you_mean(name, CORES)}; there are {', '.join(CORES)}")


def kernel_features(features: Iterable[str]) -> str:
    """Which of :data:`KERNELS` are among a processor's features, in words.

    >>> kernel_features(["fp", "asimd", "asimddp"])
    'int8 dot products'
    """
    names = set(features)
    return ", ".join(title for name, title in KERNELS.items() if name in names) or "none beyond NEON"
