"""Energy counters of this machine, where the platform has one that may be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
NONE = "no energy counter may be read here (Linux: /sys/class/powercap, readable by root alone)"


@dataclass
class EnergyCounter:
    """Joules since an arbitrary start: the sum of the processor packages (RAPL, by Linux's powercap).

    ``zones`` are the folders of the packages. A counter that wraps is unrolled, so two reads must not be
    further apart than one turn (a minute at 4 kW for the usual 262 kJ).
    """

    zones: tuple[Path, ...]
    _turns: dict[Path, int] = field(default_factory=dict)
    _last: dict[Path, int] = field(default_factory=dict)

    @classmethod
    def find(cls, root: Path = POWERCAP) -> EnergyCounter | None:
        """The counter of this machine, None when there is none or it may not be read."""
        packages = (p for p in root.glob("*:*") if _name(p).startswith("package") and _is_readable(p))
        zones = tuple(sorted(packages))
        return cls(zones) if zones else None

    def joules(self) -> float:
        """The sum now."""
        return sum(self._unrolled(zone) for zone in self.zones) / 1e6

    def _unrolled(self, zone: Path) -> int:
        value = int((zone / "energy_uj").read_text())
        if value < self._last.get(zone, 0):
            self._turns[zone] = self._turns.get(zone, 0) + 1
        self._last[zone] = value
        turns = self._turns.get(zone, 0)
        return value + (turns * int((zone / "max_energy_range_uj").read_text()) if turns else 0)


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


def _is_readable(zone: Path) -> bool:
    try:
        int((zone / "energy_uj").read_text())
    except (OSError, ValueError):
        return False
    return True
