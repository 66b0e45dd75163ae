"""ONNX Runtime's QNN provider: sessions on a Snapdragon's NPU, or on Qualcomm's emulator of it.

The package ``onnxruntime-qnn`` brings Hexagon's compiler and, for Linux on x86-64, an emulator that computes
what the chip computes. A session opens only when every node is the NPU's.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from phantom_edge.errors import InputError
from phantom_edge.export.qnn_chips import Chip
from phantom_edge.system.native import quiet_native
from phantom_edge.system.reading import parse_json

if TYPE_CHECKING:
    import onnxruntime as ort

EXTRA: Final = 'pip install "phantom-edge[snapdragon]"'
AGAIN: Final = "export it again"
METADATA: Final = "qnn_provider_options"
"""Of a graph's metadata: the provider's options that it is meant for, as JSON."""
FP16: Final = "enable_htp_fp16_precision"
BLOCKS: Final = "enable_block_quant_weight_optimization"
SWITCHES: Final = (FP16, BLOCKS)
NO_CPU: Final = "session.disable_cpu_ep_fallback"


def require() -> None:
    """Raise :class:`InputError` where the provider cannot be had, and say how to get it."""
    where = f"{platform.system()} {platform.machine()}"
    if (platform.system(), platform.machine().lower()) not in (
        ("Linux", "x86_64"),
        ("Windows", "arm64"),
        ("Windows", "amd64"),
    ):
        raise InputError(
            f"the Snapdragon NPU's emulator runs on Linux x86-64, not on {where}: do it there, or export "
            "with --no-verify and without --soc"
        )
    if find_spec("onnxruntime_qnn") is None:
        raise InputError(f"the Snapdragon NPU needs the package onnxruntime-qnn: {EXTRA}")


def emulated() -> bool:
    """Whether sessions run in the emulator and not on an NPU."""
    return platform.machine().lower() in ("x86_64", "amd64")


@cache
def _device() -> Any:
    """What stands for the NPU among ONNX Runtime's devices, once the provider is registered."""
    require()
    import onnxruntime as ort
    import onnxruntime_qnn

    try:
        with quiet_native(stdout=True):
            ort.register_execution_provider_library("QNN", onnxruntime_qnn.get_library_path())
        devices = [device for device in ort.get_ep_devices() if device.ep_name == "QNN"]
    except Exception as error:  # of its own type, for a library that does not load
        raise InputError(
            f"onnxruntime-qnn does not load here ({str(error).strip()[:120]}); reinstall it"
        ) from None
    if not devices:
        raise InputError("onnxruntime-qnn offers no device here; install it anew beside this onnxruntime")
    return devices[0]


def open_session(
    path: Path, chip: Chip, switches: Mapping[str, str], *, entries: Mapping[str, str] | None = None
) -> ort.InferenceSession:
    """A session whose every node runs on the NPU of ``chip``, or on its emulator.

    Args:
        path: the model's file.
        chip: what it is compiled for.
        switches: the provider's options of :func:`switches_of`.
        entries: further entries of the session's configuration.

    Raises:
        InputError: no provider, or a graph of which a node would run elsewhere; the message names it.
    """
    device = _device()
    import onnxruntime as ort
    import onnxruntime_qnn

    options = ort.SessionOptions()
    options.log_severity_level = 4
    for key, value in {NO_CPU: "1", **(entries or {})}.items():
        options.add_session_config_entry(key, value)
    options.add_provider_for_devices(
        [device],
        {
            "backend_path": onnxruntime_qnn.get_qnn_htp_path(),
            "soc_model": str(chip.model),
            "htp_arch": str(chip.architecture),
            **switches,
        },
    )
    with quiet_native(stdout=True):
        return ort.InferenceSession(str(path), options)


def switches_of(metadata: Mapping[str, str]) -> dict[str, str]:
    """The provider's options that a graph's metadata name.

    Raises :class:`InputError` for another than the known ones, such as those that name files.
    """
    switches = parse_json(metadata.get(METADATA, "{}"), "a graph's metadata", AGAIN)
    good = isinstance(switches, dict) and all(
        name in SWITCHES and value in ("0", "1") for name, value in switches.items()
    )
    if not good:
        raise InputError(f"a graph names options of the QNN provider that this toolkit does not set; {AGAIN}")
    return dict(switches)
