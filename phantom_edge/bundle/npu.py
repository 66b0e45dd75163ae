"""What a bundle holds for NPUs: which of its files one chip needs, and which bundle for the CPU it fits.

The rules are those of ``docs/bundle.md``; the Kotlin library has the same ones.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import PurePosixPath
from typing import Any, Final

from phantom_edge.bundle.folder import TOKENIZER, Bundle
from phantom_edge.bundle.golden import GOLDEN
from phantom_edge.bundle.manifest import Manifest, Npu
from phantom_edge.errors import InputError, one_line

TARGET: Final = "snapdragon"


def npu_of(bundle: Bundle) -> Npu:
    """What a bundle holds for an NPU. Raises :class:`InputError` for one that holds nothing."""
    if (npu := bundle.manifest.npu) is None:
        made = f"made for {bundle.manifest.target}, it holds nothing for an NPU"
        raise InputError(f"{bundle.folder}: {made}; export one with `phantom-edge export --target {TARGET}`")
    return npu


def chip_name(model: str) -> str:
    """A chip as ``compiled`` names it: without the suffix of its speed grade.

    >>> chip_name("SM8650-AC")
    'SM8650'
    """
    return model.strip().upper().partition("-")[0]


def part_bytes(bundle: Bundle) -> dict[str, int]:
    """What a phone fetches, by chip; ``others`` compile the graphs themselves."""
    manifest = bundle.manifest
    names = {name: chip_files(manifest, name) for name in sorted(npu_of(bundle).compiled)}
    names["others"] = chip_files(manifest)
    return {name: sum(manifest.files[path].bytes for path in paths) for name, paths in names.items()}


def chip_files(manifest: Manifest, chip: str | None = None) -> list[str]:
    """Sorted paths of all that one chip needs: compiled files, or without any of its own the uncompiled ones.

    The files of a graph are those that lie in one folder with it and belong to no graph for a CPU; tokenizer
    and golden file come on top.
    """
    if (npu := manifest.npu) is None:
        return []
    compiled = npu.compiled.get(chip_name(chip)) if chip is not None else None
    return _with_graphs(manifest, set((npu.graphs if compiled is None else compiled.graphs).values()))


def part_files(manifest: Manifest) -> list[str]:
    """Sorted paths of what any chip needs: nothing of the graphs for the CPU, which lie beside them."""
    chips = () if manifest.npu is None else manifest.npu.compiled
    return sorted({path for chip in (None, *chips) for path in chip_files(manifest, chip)})


def check_pair(cpu: Bundle, npu: Bundle) -> None:
    """Raise :class:`InputError` unless image tokens of one bundle fit the other's decoder.

    They are of one checkpoint, with the same fold and the same integers, and the CPU's context is no shorter.
    """
    npu_of(npu)
    if difference := _difference(cpu.manifest, npu.manifest):
        raise InputError(
            f"{npu.folder} has {difference} than {cpu.folder}; export both from one model, with equal options"
        )


def _with_graphs(manifest: Manifest, graphs: Set[str]) -> list[str]:
    folders = {PurePosixPath(path).parent for path in graphs}
    others = tuple({*vars(manifest.graphs).values()} - graphs)
    near = (path for path in manifest.files if PurePosixPath(path).parent in folders)
    beside = {path for path in near if not path.startswith(others)}
    return sorted(beside | ({TOKENIZER, GOLDEN} & manifest.files.keys()))


def _difference(cpu: Manifest, npu: Manifest) -> str | None:
    if cpu.source.sha256 != npu.source.sha256:
        return "another checkpoint"
    if cpu.fold.fold != npu.fold.fold:
        return f"another fold, {one_line(npu.fold.fold, 40)} instead of {one_line(cpu.fold.fold, 40)},"
    if _integers(cpu) != _integers(npu):
        return "other integers (its recipe or its calibration)"
    if (cpu.shape, cpu.ids, cpu.tiles.size, cpu.tiles.tokens) != (
        npu.shape,
        npu.ids,
        npu.tiles.size,
        npu.tiles.tokens,
    ):
        return "other shapes or ids"
    if npu.context > cpu.context:
        return f"a longer context, {npu.context} instead of {cpu.context} tokens,"
    return None


def _integers(manifest: Manifest) -> Any:
    """What each module's integers follow from: the recipe's rules, and what calibration made of them."""
    rules = [(rule.pattern, str(rule.precision)) for rule in manifest.recipe.rules]
    return rules, None if manifest.quantization is None else dict(manifest.quantization.integers)
