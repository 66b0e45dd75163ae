"""The machine that `verify --machine` names: what it can run, and its environment."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phantom_edge.errors import InputError, did_you_mean, shown
from phantom_edge.runtime.arm.cores import MACHINE, Core, core_for, kernel_features
from phantom_edge.runtime.arm.environment import Environment, check_host

if TYPE_CHECKING:
    from phantom_edge.numbers.activations import GridOf
    from phantom_edge.runtime.arm.backend import ArmBackend

FORMAT: Final = "onnx"


@dataclass(frozen=True)
class Machine:
    """An emulated core with its environment."""

    core: Core
    environment: Environment

    def load(self, folder: Path, *, context: int, chunk: int, **options: Any) -> ArmBackend:
        """The runtime for an ONNX artifact in ``folder``, as a format's own ``load``."""
        from phantom_edge.runtime.arm.backend import ArmBackend

        here = self.environment
        return ArmBackend(folder, context=context, chunk=chunk, core=self.core, environment=here, **options)

    def grids(self, features: Sequence[str]) -> GridOf:
        """How the runtime rounds activations on a machine that announces ``features``."""
        from phantom_edge.runtime.arm.grids import grids_of

        return grids_of(features)

    def facts(self, features: Sequence[str]) -> dict[str, str]:
        """What a report says of the machine, which announced ``features``."""
        emulated = f"{self.core.name} ({self.core.devices}), emulated by QEMU {self.environment.version}"
        facts = {"machine": emulated, "kernels": kernel_features(features)}
        if self.environment.newer:
            facts["not the pinned packages"] = ", ".join(self.environment.newer)
        return facts


def chosen_core(name: str | None, cpu: str | None, format_name: str) -> Core | None:
    """The core of machine ``name`` that is called ``cpu``, for a bundle of format ``format_name``.

    None for no machine. Raises :class:`InputError` for another machine, core or format, and where nothing can
    be emulated.
    """
    if name is None and cpu is None:
        return None
    if name is None:
        raise InputError(f"--cpu names a processor of an emulated machine; add --machine {MACHINE}")
    if name != MACHINE:
        raise InputError(f"unknown machine {shown(name)}{did_you_mean(name, [MACHINE])}; there is {MACHINE}")
    core = core_for(cpu)
    if format_name != FORMAT:
        raise InputError(
            f"--machine {MACHINE} runs bundles of format {FORMAT}, and this is one of {format_name}; "
            "export with --target linux-arm64 or desktop"
        )
    check_host(platform.system(), platform.machine())
    return core
