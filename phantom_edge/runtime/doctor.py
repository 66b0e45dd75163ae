"""What this machine can do: its libraries and programs, what each is for, and free room."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from phantom_edge.errors import InputError
from phantom_edge.export import qnn_provider
from phantom_edge.report.report import Check, Report, gigabytes
from phantom_edge.system.files import cache_folder
from phantom_edge.system.packages import BOX, FULL, installed_as
from phantom_edge.system.programs import outputs
from phantom_edge.system.resident import available, physical
from phantom_edge.versions import TESTED

IMPORTS = {
    "torch": "import torch; torch.ones(2).sum()",
    "torchao": "import torchao",
    "executorch": "from executorch.runtime import Runtime; "
    "import executorch.kernels.quantized; Runtime.get()",
    "coremltools": "import coremltools",
    "onnx": "import onnx",
    "onnxruntime": "import onnxruntime; assert onnxruntime.get_available_providers()",
    "optimum": "import optimum.commands.register.register_phantom_edge",
    "llguidance": "import llguidance",
    "tokenizers": "import tokenizers",
    "sentencepiece": "import sentencepiece",
    "huggingface_hub": "import huggingface_hub",
    "uvicorn": "import starlette, uvicorn",
    "pillow": "from PIL import Image; Image.new('RGB', (2, 2)).resize((4, 4))",
}
PURPOSES: Final = {
    "torch": "checkpoints: export, verify, quantize, tune",
    "torchao": "int4 and int8 for ExecuTorch",
    "executorch": "bundles for Android",
    "coremltools": "bundles for iPhone and iPad",
    "onnx": "writes bundles for browsers, desktops and Arm",
    "onnxruntime": "runs bundles for browsers, desktops and Arm",
    "optimum": "`optimum-cli export phantom-edge`",
    "llguidance": "answers with a form",
    "tokenizers": "text in and out",
    "sentencepiece": "text of some checkpoints",
    "huggingface_hub": "pull, push, and models by their id",
    "uvicorn": "serve",
    "pillow": "pictures",
}
"""What each library is for, by the name of its distribution."""
MODULES: Final = {"pillow": "PIL"}
"""Where a module is not called as its distribution."""
IN_A_BOX: tuple[str, ...] = ("onnxruntime", "tokenizers", "pillow")
"""Of these, what the small distribution brings; it runs bundles, and lacks the rest."""
TIMEOUT = 120  # seconds; a first import of torch from a cold disk takes a good part of a minute
LEAST_DISK = 2_000_000_000  # a 0.5B bundle and its temporary sibling


def doctor(*, load: bool = False) -> Report:
    """What is installed, in two seconds; with ``load`` each library is also imported and touched.

    A library that is missing or does not load is a failed check with the reason beside it. A program is for
    some commands only, and never fails.

    >>> from phantom_edge.runtime.doctor import doctor
    >>> list(doctor().groups)[-1]
    'Room'
    """
    distributions = installed_as()
    facts: dict[str, object] = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": os.cpu_count() or 0,
    }
    if not load:
        facts["libraries"] = "looked up; with --load each is loaded as well"
    in_a_box = distributions == [BOX]
    names = IN_A_BOX if in_a_box else tuple(IMPORTS)
    if in_a_box:
        facts["installed"] = f"{BOX}, which runs ONNX bundles; for the rest: pip install {FULL}"
    else:
        facts["Core ML artifacts run in"] = "Core ML" if sys.platform == "darwin" else "the MIL interpreter"
        facts["Snapdragon artifacts run in"] = _npu()
    report = Report("doctor", "This machine", facts)
    libraries = [_installed(name) for name in names]
    report.groups["Libraries"] = _loaded(libraries) if load else libraries
    if len(distributions) > 1:
        report.groups["Libraries"].append(_twice())
    if not in_a_box:
        from phantom_edge.runtime.machine_programs import checks

        report.groups["Programs, each for some commands"] = checks()
    report.groups["Room"] = [_memory(in_a_box), *_disks()]
    return report


def _memory(in_a_box: bool) -> Check:
    free, most = available(), physical()
    value = "unknown" if free is None or most is None else f"{gigabytes(free)} of {gigabytes(most)}"
    export = "a 0.5B model takes 3 GB to export and 6 to 9 GB to verify, a 7B model 12 to 21 GB"
    return Check("free memory", value, detail="the model, and half a gigabyte" if in_a_box else export)


def _disks() -> list[Check]:
    """Free room here and, where that is another disk, in the cache."""
    here, cache = Path.cwd(), cache_folder()
    cache = next(folder for folder in (cache, *cache.parents) if folder.is_dir())
    rows = [_disk("free disk here", here)]
    if os.stat(here).st_dev != os.stat(cache).st_dev:
        rows.append(_disk("free disk of the cache", cache))
    return rows


def _disk(title: str, folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    enough = free >= LEAST_DISK
    detail = f"{folder}" if enough else f"{folder}: 2 GB are needed for a 0.5B model"
    return Check(title, gigabytes(free), passed=enough, detail=detail)


def _twice() -> Check:
    """Both distributions hold the same files: what one leaves behind, when it goes, is a torn package."""
    mend = f"they are one package: pip uninstall {FULL} {BOX}, and install one of them again"
    return Check(f"{FULL} and {BOX}", "both installed", passed=False, detail=mend)


def _npu() -> str:
    try:
        qnn_provider.require()
    except InputError as error:
        return f"nothing here: {error}"
    return "Qualcomm's emulator" if qnn_provider.emulated() else "the NPU"


def _installed(name: str) -> Check:
    """Whether a library's version and module are there; nothing is imported."""
    try:
        number = version(name)
    except PackageNotFoundError:
        return Check(name, "missing", passed=False, detail=f"{PURPOSES[name]}; pip install {name}")
    if find_spec(MODULES.get(name, name)) is None:
        again = f"its files are gone: pip uninstall {name}, then install it again"
        return Check(name, number, passed=False, detail=again)
    same = number.partition("+")[0] == TESTED[name]
    tested = "as tested" if same else f"tested with {TESTED[name]}"
    return Check(name, number, passed=True, detail=f"{PURPOSES[name]}; {tested}")


def _loaded(libraries: Sequence[Check]) -> list[Check]:
    """The same after each was imported in a process of its own, as many at a time as there are cores."""
    names = [check.name for check in libraries if check.passed]
    said: dict[str, tuple[int, str] | None] = {}
    at_once = os.cpu_count() or 1
    for start in range(0, len(names), at_once):
        batch = names[start : start + at_once]
        said |= outputs({name: [sys.executable, "-c", IMPORTS[name]] for name in batch}, TIMEOUT)
    return [_tried(check, said[check.name]) if check.name in said else check for check in libraries]


def _tried(check: Check, result: tuple[int, str] | None) -> Check:
    if result is None:
        return Check(check.name, check.value, passed=False, detail=f"import took more than {TIMEOUT} s")
    code, text = result
    if code:
        return Check(check.name, check.value, passed=False, detail=text.splitlines()[-1] if text else "")
    return check
