"""All that knows of Ray: a cluster of this machine or one at an address, and tasks with what they declare."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from phantom_edge.bench.machine import cores
from phantom_edge.errors import InputError, PhantomEdgeError, first_line, shown
from phantom_edge.system import children, interrupts
from phantom_edge.system.causes import SCRATCH
from phantom_edge.system.partials import partial_folder

EXTRA: Final = 'a sweep runs on Ray: pip install "phantom-edge[sweep]"'
ANSWER: Final = 15.0  # seconds within which a cluster says that it is there
RETRIES: Final = 3  # of a task whose node or process died
POLL: Final = 0.5  # seconds between two looks at a signal
STORE: Final = 80 << 20  # bytes of Ray's shared memory, through which only a little JSON goes here
ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": "1",  # one that does not fit would else be tried for ever
}
_with_own_token: Final = threading.Event()
HEALTH: Final = ("-m", "ray.scripts.scripts", "health-check", "--address")


@dataclass(frozen=True)
class Task:
    """One piece of work: ``kind`` and ``job`` as ``task.work`` takes them, and the ``memory`` in bytes.

    ``node`` is where its files are, if they are anywhere.
    """

    kind: str
    job: str
    memory: int
    node: str | None = None


@dataclass(frozen=True)
class Node:
    """A node that lives: its id and name, its cores, and the bytes of memory that tasks may declare."""

    id: str
    host: str
    cpus: int
    memory: float


OnResult = Callable[[str, Any, str], None]
"""Called with a task's key and its result, or None and the line that says why there is none."""
OnWait = Callable[[int], None]
"""Called again and again with how many tasks are not done."""


def require() -> None:
    """Raise :class:`InputError` that names the extra where Ray is not installed."""
    if "ray" not in sys.modules and importlib.util.find_spec("ray") is None:
        raise InputError(EXTRA)


def _imported(*, own: bool) -> ModuleType:
    """Ray, which reads its environment when it is imported; for a cluster of one's ``own`` with a token.

    It listens on all of the machine's addresses and runs what it is sent: a token keeps others out.
    """
    require()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if own and "ray" not in sys.modules:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
        _with_own_token.set()
    if not own and _with_own_token.is_set():
        raise InputError("--address: this process has had a cluster of its own; use another process")
    with interrupts.deferred():
        return import_module("ray")


class Cluster:
    """A running cluster that this process is connected to."""

    def __init__(self, ray: ModuleType, *, shared: bool):
        self._ray, self._shared = ray, shared
        self._work = ray.remote(_entry())

    @classmethod
    @contextmanager
    def opened(cls, address: str | None = None) -> Iterator[Cluster]:
        """The one at ``address``, or one of this machine alone, which ends with the block.

        Raises :class:`InputError` where none answers, or Ray is not installed.
        """
        ray = _imported(own=address is None)
        with _local() if address is None else _at(address) as options:
            try:
                _connect(ray, options)
                yield cls(ray, shared=address is not None)
            finally:
                with interrupts.deferred():
                    ray.shutdown()

    def nodes(self) -> list[Node]:
        """Those that live."""
        return [
            Node(
                node["NodeID"],
                node["NodeManagerHostname"],
                int(node["Resources"].get("CPU", 0)),
                node["Resources"].get("memory", 0.0),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def spread(
        self, tasks: Mapping[str, Task], cpus: int, on_result: OnResult, on_wait: OnWait = lambda n: None
    ) -> None:
        """Run tasks side by side, as many as cores and memory allow; one whose node dies is run elsewhere."""
        waiting, nodes = dict[Any, str](), self.nodes()
        for key, task in tasks.items():
            if refusal := _refusal(task, cpus, nodes):
                on_result(key, None, refusal)
                continue
            waiting[self._submit(task, num_cpus=cpus, memory=task.memory, max_retries=RETRIES)] = key
        while waiting:
            on_wait(len(waiting))
            for reference in self._done(waiting):
                on_result(waiting.pop(reference), *self._result(reference))
            nodes = self.nodes()
            for reference, key in list(waiting.items()):
                if refusal := _refusal(tasks[key], cpus, nodes):  # the nodes that could have run it are gone
                    self._ray.cancel(reference, force=True)
                    on_result(waiting.pop(reference), None, refusal)

    def alone(self, tasks: Mapping[str, Task], on_result: OnResult, on_wait: OnWait = lambda n: None) -> None:
        """Run tasks one at a time per node, with all of its cores: nothing of this cluster beside them."""
        waiting, running, tries = dict(tasks), dict[Any, tuple[str, Node]](), Counter[str]()
        while waiting or running:
            nodes = self.nodes()
            for key, node in _placed(waiting, nodes, {node.id for _, node in running.values()}):
                reference = self._on(node, waiting.pop(key))
                running[reference] = (key, node)
            if not running:
                for key, task in waiting.items():
                    on_result(key, None, _refusal(task, 1, nodes) or "no node of the cluster can take it")
                return
            on_wait(len(waiting) + len(running))
            for reference in self._done(running):
                key, node = running.pop(reference)
                result, error = self._result(reference)
                tries[key] += 1
                lost = error and result is None and node.id not in {n.id for n in self.nodes()}
                if lost and tries[key] <= RETRIES:
                    waiting[key] = tasks[key]
                else:
                    on_result(key, result, error)

    def _on(self, node: Node, task: Task) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        place = NodeAffinitySchedulingStrategy(node.id, soft=False)
        cpus = max(1, node.cpus)
        return self._submit(task, num_cpus=cpus, memory=task.memory, max_retries=0, scheduling_strategy=place)

    def _submit(self, task: Task, **options: Any) -> Any:
        return self._work.options(**options).remote(task.kind, task.job)

    def _done(self, references: Mapping[Any, object]) -> list[Any]:
        interrupts.check()
        done, _ = self._ray.wait(list(references), num_returns=1, timeout=POLL)
        return list(done)

    def _result(self, reference: Any) -> tuple[Any, str]:
        """A task's result, or the line that says why there is none."""
        try:
            answer = json.loads(self._ray.get(reference))
        except self._ray.exceptions.OutOfMemoryError:
            return None, "out of memory: Ray ended it; declare more with --memory-gb"
        except self._ray.exceptions.RayError as error:
            return None, f"its process or node ended before it was done ({type(error).__name__})"
        if "error" not in answer:
            return answer["result"], ""
        return None, f"node {answer['host']}: {answer['error']}" if self._shared else answer["error"]


def _refusal(task: Task, cpus: int, nodes: list[Node]) -> str:
    """Why no node can ever run a task; nothing where one can."""
    if any(node.cpus >= cpus and node.memory >= task.memory for node in nodes):
        return ""
    most = max((node.memory for node in nodes), default=0.0) / 1e9
    what = f"declares {task.memory / 1e9:.1f} GB and {cpus} CPUs"
    return f"{what}, and the largest node has {most:.1f} GB free for tasks; see --memory-gb and --cpus"


def _placed(waiting: Mapping[str, Task], nodes: list[Node], busy: set[str]) -> list[tuple[str, Node]]:
    """A task for each idle node: one whose files are there, else one whose node is gone or nowhere."""
    alive, placed, taken = {node.id for node in nodes}, list[tuple[str, Node]](), set[str]()
    for node in nodes:
        able = [k for k, t in waiting.items() if k not in taken and t.memory <= node.memory]
        own = [k for k in able if waiting[k].node == node.id]
        stray = [k for k in able if waiting[k].node not in alive]
        if node.id not in busy and (own or stray):
            key = (own or stray)[0]
            taken.add(key)
            placed.append((key, node))
    return placed


def _entry() -> Callable[[str, str], str]:
    """What runs on a node. It travels by value, so that a node without phantom-edge can say so."""

    def run(kind: str, job: str) -> str:
        import json
        import os
        import socket
        import warnings

        import ray

        warnings.filterwarnings("ignore")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        try:
            from phantom_edge.sweep.task import work
        except ImportError as error:
            line = f"phantom-edge does not load there ({error}); install the same version on all nodes"
            return json.dumps({"error": line, "host": socket.gethostname()})
        return work(kind, job, ray.get_runtime_context().get_node_id())

    return run


@contextmanager
def _local() -> Iterator[dict[str, Any]]:
    """Options of a cluster of this machine, for this user alone, whose files are gone afterwards."""
    # The paths of its sockets are long, and may have no more than a hundred characters.
    short = os.path.isdir("/tmp") and os.access("/tmp", os.W_OK)
    parent = Path("/tmp" if short else tempfile.gettempdir())
    # Elsewhere Ray stays on the loopback itself; here it replaces 127.0.0.1 by an address that may change.
    own = {"_node_ip_address": "127.0.0.2"} if sys.platform == "linux" else {}
    with partial_folder(parent, SCRATCH) as folder:
        yield {
            **own,
            "address": "local",
            "num_cpus": cores(),
            "object_store_memory": STORE,
            "_temp_dir": str(folder),
        }


@contextmanager
def _at(address: str) -> Iterator[dict[str, Any]]:
    """Options of a cluster that runs. Raises :class:`InputError` where none answers soon."""
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdigit():
        raise InputError(
            f"--address {shown(address)}: give HOST:PORT of the cluster's head, such as 10.0.0.5:6379"
        )
    silent = (
        f"--address {shown(address)}: no Ray cluster answers there; see whether `ray status` does on its head"
    )
    try:
        done = children.run([sys.executable, *HEALTH, address], timeout=ANSWER)
    except subprocess.TimeoutExpired:
        raise InputError(silent) from None
    if done.returncode:
        raise InputError(silent)
    yield {"address": address}


def _connect(ray: ModuleType, options: Mapping[str, Any]) -> None:
    """``ray.init``, with the signal handlers as they were. Raises :class:`InputError` in one line."""
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if in_main else None
    try:
        ray.init(
            **options, include_dashboard=False if options["address"] == "local" else None,
            log_to_driver=False, logging_level=logging.CRITICAL,
        )  # fmt: skip
    except PhantomEdgeError:
        raise
    except Exception as error:  # ConnectionError, RuntimeError for other versions, ValueError, OSError
        raise InputError(f"Ray does not start or connect: {first_line(error)}") from None
    finally:
        if before is not None:
            with suppress(ValueError):
                signal.signal(signal.SIGTERM, before)
