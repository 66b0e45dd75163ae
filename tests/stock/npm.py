"""The npm packages of the lock file, and running a script on them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from node_packages import installed, node_or_skip

HERE = Path(__file__).resolve().parent / "node"
LIBRARY = HERE / "node_modules" / "@huggingface" / "transformers" / "dist"
BUILDS = {"native": "transformers.node.mjs", "browser": "transformers.web.js"}
TIMEOUT = 600


def install() -> None:
    """Install the packages, once per lock file; skips the test where that cannot be."""
    installed(HERE, node_or_skip())


def run(script: str, build: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The JSON that a script prints for a job, on one build of transformers.js."""
    path = folder / "job.json"
    path.write_text(json.dumps(job | {"transformers": (LIBRARY / BUILDS[build]).as_uri()}))
    command = [*node_or_skip().node, str(HERE / script), str(path)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    last = done.stdout.rstrip("\n").rpartition("\n")[2]  # splitlines() would also cut inside a text
    return json.loads(last)
