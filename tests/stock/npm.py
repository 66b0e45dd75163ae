"""The npm packages of the lock file, and running a script on them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent / "node"
LIBRARY = HERE / "node_modules" / "@huggingface" / "transformers" / "dist"
BUILDS = {"native": "transformers.node.mjs", "browser": "transformers.web.js"}
TIMEOUT = 600


def install() -> None:
    """Install the packages, once per lock file; skips the test where node or npm is missing."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = HERE / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_text() == lock:
        return
    # No install scripts: onnxruntime-node's would fetch CUDA libraries from elsewhere.
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    stamp.write_text(lock)


def run(script: str, build: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The JSON that a script prints for a job, on one build of transformers.js."""
    path = folder / "job.json"
    path.write_text(json.dumps(job | {"transformers": (LIBRARY / BUILDS[build]).as_uri()}))
    command = ["node", str(HERE / script), str(path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(
        done.stdout.rstrip("\n").rpartition("\n")[2]
    )  # splitlines() would also cut inside a text
