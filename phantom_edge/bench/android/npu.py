"""A bundle's part for the NPU of the phone that is measured: what is pushed, and that the NPU is what ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from phantom_edge.bench.results import Run
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.manifest import MANIFEST
from phantom_edge.bundle.npu import check_pair, chip_files, chip_name, npu_of
from phantom_edge.errors import CheckError, InputError

FOLDER = "npu"
"""Below a job's folder, where the app looks for the part."""
QUALCOMM = ("QTI", "Qualcomm")  # as Android's ro.soc.manufacturer has it


@dataclass(frozen=True)
class Part:
    """What one chip needs of a bundle for NPUs."""

    bundle: Bundle
    chip: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, bundles: Sequence[Bundle], soc: str) -> Part:
        """The part for the phone whose maker and chip ``soc`` names.

        Raises :class:`InputError` for a bundle that holds nothing for an NPU, that is of another model than
        one of ``bundles``, or that this phone's chip cannot run.
        """
        part = Bundle.open(folder)
        npu = npu_of(part)
        for bundle in bundles:
            check_pair(bundle, part)
        maker, _, chip = soc.partition(" ")
        if chip_name(chip) not in npu.compiled and maker not in QUALCOMM:
            compiled = ", ".join(sorted(npu.compiled)) or "chips of Qualcomm's"
            raise InputError(f"the phone's chip is {soc or 'unknown'}, {part.folder} is for {compiled}")
        return cls(part, chip_name(chip), tuple(chip_files(part.manifest, chip)))

    @property
    def files(self) -> dict[str, Path]:
        """Files to push, by their path below a job's folder."""
        return {f"{FOLDER}/{name}": self.bundle.folder / name for name in (MANIFEST, *self.names)}

    @property
    def bytes(self) -> int:
        return sum(self.bundle.manifest.files[name].bytes for name in self.names)

    def facts(self) -> dict[str, str]:
        """What the report says of it."""
        compiled = self.chip in npu_of(self.bundle).compiled
        return {
            "npu": self.bundle.folder.resolve().name,
            "npu graphs": f"compiled for {self.chip}" if compiled else "compiled by the phone",
        }


def check_ran(run: Run, app: str) -> None:
    """Raise :class:`CheckError` unless what was measured ran on the NPU."""
    if not str(run.runtime.get("processor", "")).startswith("NPU"):
        raise CheckError(f"{app} left the NPU's part aside; build it again from this release with --npu")
