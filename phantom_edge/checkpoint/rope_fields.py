"""What a config says of its rotary embedding, in any of the ways in which transformers has written it.

Versions below 5 have ``rope_theta`` and ``rope_scaling`` (with ``type``, later ``rope_type``), version 5 has
both in ``rope_parameters``. Phi-3's two factor tables are ``su`` in the published files, ``longrope`` since.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from phantom_edge.errors import InputError

SECTIONS = ("rope_scaling", "rope_parameters")
KINDS = ("default", "dynamic", "su")
_SYNONYMS: dict[Any, Any] = {"longrope": "su", "rope_type": "type"}
_BESIDE = ("rope_theta", "original_max_position_embeddings", "partial_rotary_factor")
_KNOWN = frozenset(
    {*_BESIDE, "type", "factor", "short_factor", "long_factor", "attention_factor"}
)  # what decides a rotation in one of these kinds


def rope_fields(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """One object with ``type`` and all that belongs to it, absent and null fields left out.

    Raises :class:`InputError`: two places contradict each other, or a field means a rotation that no
    published size has.

    >>> rope_fields({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}, "config.json")
    {'type': 'default', 'rope_theta': 1000000.0}
    """
    merged = {name: config[name] for name in _BESIDE if config.get(name) is not None}
    for section in SECTIONS:
        values = config.get(section)
        if values is None:
            continue
        if not isinstance(values, dict):
            raise InputError(f"{where}: {section} is no object")
        for name, value in values.items():
            _merge(merged, str(_SYNONYMS.get(name, name)), value, f"{where} {section}")
    merged.setdefault("type", "default")
    _refuse_unknown(merged, where)
    return merged


def _merge(merged: dict[str, Any], name: str, value: Any, where: str) -> None:
    if value is None:
        return
    if name == "type" and isinstance(value, str):
        value = _SYNONYMS.get(value, value)
    if name in merged and merged[name] != value:
        raise InputError(f"{where}: {name[:60]} contradicts what config.json says of it elsewhere")
    merged[name] = value


def _refuse_unknown(merged: Mapping[str, Any], where: str) -> None:
    kind = merged["type"]
    if kind not in KINDS:
        known = "default, dynamic, su, longrope"
        raise InputError(f"{where}: rope type is {str(kind)[:40]!r}, expected one of {known}")
    if odd := sorted(str(name) for name in merged.keys() - _KNOWN):
        raise InputError(
            f"{where}: {odd[0][:60]} of the rotary embedding is not computed here; it must be absent"
        )
    if merged.get("partial_rotary_factor", 1.0) != 1.0:
        raise InputError(f"{where}: partial_rotary_factor must be 1, as in all published sizes")


def check_stretch(merged: Mapping[str, Any], original: int, longest: int, where: str) -> None:
    """Raise :class:`InputError` where fields of ``su`` contradict what follows from its two lengths."""
    if original < 2:
        raise InputError(f"{where}: original_max_position_embeddings is {original}, expected at least 2")
    stretch = longest / original
    scale = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 else 1.0
    for name, follows in (("factor", stretch), ("attention_factor", scale)):
        value = merged.get(name)
        if value is not None and not _close(value, follows):
            raise InputError(
                f"{where}: {name} contradicts {original} and {longest} positions, which make it {follows:.6g}"
            )


def _close(value: object, expected: float) -> bool:
    return isinstance(value, (int, float)) and math.isclose(value, expected, rel_tol=1e-6)
