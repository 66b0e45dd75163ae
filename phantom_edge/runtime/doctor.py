"""What this machine can do: every library imported in a process of its own, and free room."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

from phantom_edge.errors import InputError
from phantom_edge.export import qnn_provider
from phantom_edge.report.report import Check, Report, megabytes
from phantom_edge.system.children import run
from phantom_edge.system.packages import BOX, FULL, installed_as
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
IN_A_BOX: tuple[str, ...] = ("onnxruntime", "tokenizers", "pillow")
"""Of these, what the small distribution brings; it runs bundles, and lacks the rest."""
TIMEOUT = 120  # seconds; a first import of torch from a cold disk takes a good part of a minute
LEAST_DISK = 2_000_000_000  # a 0.5B bundle and its temporary sibling


def doctor() -> Report:
    """Import and touch every library; a failed import is a failed check with the reason beside it."""
    free, distributions = shutil.disk_usage(os.getcwd()).free, installed_as()
    facts: dict[str, object] = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "cores": os.cpu_count() or 0,
    }
    if distributions == [BOX]:
        names = IN_A_BOX
        facts["installed"] = f"{BOX}, which runs ONNX bundles; for the rest: pip install {FULL}"
    else:
        names = tuple(IMPORTS)
        facts["Core ML artifacts run in"] = "Core ML" if sys.platform == "darwin" else "the MIL interpreter"
        facts["Snapdragon artifacts run in"] = _npu()
    report = Report("doctor", "This machine", facts)
    report.groups["Libraries"] = [_library(name, IMPORTS[name]) for name in names]
    if len(distributions) > 1:
        report.groups["Libraries"].append(_twice())
    enough = free >= LEAST_DISK
    report.groups["Room"] = [
        Check(
            "free disk here",
            megabytes(free),
            passed=enough,
            detail="" if enough else "2 GB are needed for a 0.5B model",
        )
    ]
    return report


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


def _library(name: str, code: str) -> Check:
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Check(name, "missing", passed=False, detail=f"pip install {name}")
    try:
        done = run([sys.executable, "-c", code], timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return Check(name, installed, passed=False, detail=f"import took more than {TIMEOUT} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Check(name, installed, passed=False, detail=lines[-1] if lines else "")
    same = installed.partition("+")[0] == TESTED[name]
    return Check(name, installed, passed=True, detail="as tested" if same else f"tested with {TESTED[name]}")
