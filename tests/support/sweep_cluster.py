"""A sweep on a Ray cluster of two nodes of this machine: ``python sweep_cluster.py WHAT MODEL FOLDER``.

WHAT is ``killed``: the second node is killed once one combination is done and both nodes are at work; or
``without``: the second node has no phantom-edge. Ray's files go to ``RAY_TMPDIR``. Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import phantom_edge as pe

NODE = {"num_cpus": 1, "memory": 4 << 30, "object_store_memory": 80 << 20}


class Killer:
    """A step that kills a node once one combination is done and no core of the cluster is idle."""

    def __init__(self, cluster: Any, node: Any):
        self.cluster, self.node, self.at = cluster, node, ""

    def __call__(self, text: str) -> None:
        if not self.at and text.startswith("1 of ") and not ray.available_resources().get("CPU"):
            self.at = text
            self.cluster.remove_node(self.node, allow_graceful=False)


def main(what: str, model: str, folder: str) -> None:
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    hidden = Path(os.environ["RAY_TMPDIR"]) / "hidden"
    (hidden / "phantom_edge").mkdir(parents=True)
    (hidden / "phantom_edge" / "__init__.py").write_text("raise ImportError('none here')")
    more = {"env_vars": {"PYTHONPATH": str(hidden)}} if what == "without" else {}
    killer = Killer(cluster, cluster.add_node(**NODE, **more))
    request = pe.SweepRequest(
        model, quant=("fp16", "int8", "int4", "fp32"), context=160, tasks=("colour",), samples=1,
        bench=what == "killed", output=Path(folder), address=cluster.address, memory_gb=1.0,
    )  # fmt: skip
    result = pe.sweep(request, step=killer if what == "killed" else lambda text: None)
    cluster.shutdown()
    print(json.dumps({"killed_at": killer.at, **json.loads(result.to_json())}))


if __name__ == "__main__":
    main(*sys.argv[1:])
