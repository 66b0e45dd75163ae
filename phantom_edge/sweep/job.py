"""The whole sweep: what is refused before any work, two phases on a cluster, and what is left at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from phantom_edge import __version__
from phantom_edge.bench.estimate.hardware import device_for
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, one_line
from phantom_edge.evaluate.scene_tasks import scene_suite
from phantom_edge.pipeline.export import LIBRARIES, check_request, export
from phantom_edge.progress import Step, no_step, prefixed
from phantom_edge.report.report import Report
from phantom_edge.sweep import cost, view
from phantom_edge.sweep.axes import Combination, combinations, count
from phantom_edge.sweep.cluster import Cluster, Task, require
from phantom_edge.sweep.folder import Folder, check, made_key, timed_key
from phantom_edge.sweep.front import choose, front
from phantom_edge.sweep.request import MOST, SweepRequest
from phantom_edge.sweep.result import Best, Made, Row, Timed
from phantom_edge.sweep.task import Job, untimed
from phantom_edge.system import interrupts
from phantom_edge.system.outputs import default_folder
from phantom_edge.system.writing import replacing_file
from phantom_edge.targets import target_for
from phantom_edge.versions import installed

PAGE, DATA, BUNDLES = "report.html", "report.json", "bundles"


@dataclass(frozen=True)
class SweepResult:
    """Every combination with what was measured of it; the Pareto front; the winner by the request's rule."""

    request: SweepRequest
    model: str
    folder: Path
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether no combination failed."""
        return not any(row.error for row in self.rows)

    @cached_property
    def best(self) -> Best:
        """The front by name and the winner, of those that did not fail and that the device runs."""
        request = self.request
        measured = {row.name: row.measures(request.device) for row in self.rows}
        rows = {name: m for name, m in measured.items() if m and (m.seconds or request.device is None)}
        most = None if request.max_mb is None else request.max_mb * 1e6
        choice = choose(rows, within=request.within, max_bytes=most, prefer=request.prefer)
        return Best(tuple(front(rows)), choice, view.rule(request))

    @property
    def winner(self) -> Row | None:
        """The row that was chosen."""
        name = self.best.choice and self.best.choice.winner
        return next((row for row in self.rows if row.name == name), None)

    def to_json(self) -> str:
        """Everything for machines; single answers are in the folder's results."""
        data = {
            "schema": 1,
            "kind": "sweep",
            "phantom_edge": __version__,
            "model": self.model,
            "device": self.request.device,
            "combinations": [row.to_dict(self.request.device) for row in self.rows],
            "front": list(self.best.front),
            "rule": self.best.rule,
            "choice": self.best.choice and asdict(self.best.choice),
            "command": self.winner and self.winner.command,
            "ok": self.ok,
        }
        return json.dumps(data, indent=2, ensure_ascii=False)

    def report(self) -> Report:
        """Tables and the plot."""
        return view.report(self.request, self.model, self.rows, self.best)

    def to_html(self) -> str:
        """One self-contained page."""
        return self.report().to_html()


def sweep(request: SweepRequest, *, step: Step = no_step) -> SweepResult:
    """Export, verify, ask and time every combination; what ``output`` has results of is not done again.

    First all are exported, verified and asked, side by side; then each is timed alone on its machine. A
    combination that fails is a row with its error. The page and the results are in ``output``.

    Raises :class:`InputError`, before any work, for what any of the exports would refuse, for more than 64
    combinations without ``many``, for a folder that is no sweep's, and for a cluster that does not answer.

    >>> request = pe.SweepRequest(quant=("int4", "int8"), tasks=("colour",), samples=4, bench=False)
    >>> result = pe.sweep(request)
    >>> result.ok, result.winner.command
    (True, 'phantom-edge export --target desktop --quant int4')
    """
    step("opening the checkpoint")
    source = Pretrained.open(request.model, revision=request.revision, step=step)
    work = _Work.of(request, source)
    with Folder.opened(work.output) as folder:
        _run(work, folder, step)
        result = SweepResult(request, source.name, work.output, work.rows(folder))
        if request.keep is not None:
            _keep(result, step)
        for name, text in ((PAGE, result.to_html()), (DATA, result.to_json())):
            with replacing_file(work.output / name) as partial:
                partial.write_text(text, encoding="utf-8")
        return result


@dataclass(frozen=True)
class _Work:
    """All combinations of a request, checked, each with the key of its results."""

    request: SweepRequest
    source: Pretrained
    output: Path
    keys: Mapping[str, Combination]
    errors: dict[str, str]
    """The line that says why a combination failed, by its key."""

    @classmethod
    def of(cls, request: SweepRequest, source: Pretrained) -> _Work:
        """Raises :class:`InputError` for whatever can be refused before any work."""
        scene_suite(request.tasks, samples=1)  # an unknown task
        _check_device(request.device, [target_for(name).format for name in request.targets])
        _check_many(request, source)
        output = Path(request.output or default_folder(source.name, "sweep"))
        check(output)
        require()
        keys = {}
        for combination in combinations(request.values):
            _check(combination, request, source)
            keys[made_key(request, combination, source)] = combination
        return cls(request, source, output, keys, {})

    def task(self, kind: str, key: str, node: str | None = None) -> Task:
        """A phase of one combination."""
        request, combination = self.request, self.keys[key]
        model = request.model
        if model is not None and Path(model).expanduser().exists():
            model = str(Path(model).expanduser().absolute())  # a node's process has another folder
        job = Job(
            key, combination.absolute().values, model, request.revision, request.context, request.tasks,
            request.samples, self.source.sha256(), installed(*LIBRARIES), not self._is_timed(key),
        )  # fmt: skip
        declared = request.memory_gb and round(request.memory_gb * 1e9)
        memory = declared or cost.memory(self._format(key), self.source.checkpoint.parameters)
        return Task(kind, json.dumps(asdict(job)), memory, node)

    def _format(self, key: str) -> str:
        export_request = self.keys[key].request(self.request.base)
        return target_for(export_request.target).artifact_format(export_request.format).name

    def _is_timed(self, key: str) -> bool:
        return self.request.bench and not self.untimed(key)

    def untimed(self, key: str) -> str:
        """Why a combination is not timed here; nothing where it is."""
        if not self.request.bench:
            return "left out by --no-bench"
        return untimed(target_for(self.keys[key].request(self.request.base).target))

    def to_make(self, folder: Folder) -> dict[str, Task]:
        """What the first phase still has to do."""
        return {key: self.task("make", key) for key in self.keys if folder.read(Made, key) is None}

    def to_time(self, folder: Folder) -> dict[str, Task]:
        """What the second phase still has to do, of what the first has done."""
        made = {key: folder.read(Made, key) for key in self.keys if self._is_timed(key)}
        return {
            key: self.task("time", key, one.node)
            for key, one in made.items()
            if one is not None and folder.read(Timed, timed_key(key)) is None
        }

    def rows(self, folder: Folder) -> tuple[Row, ...]:
        """Every combination with what the folder has of it."""
        return tuple(self._row(key, combination, folder) for key, combination in self.keys.items())

    def _row(self, key: str, combination: Combination, folder: Folder) -> Row:
        timed = folder.read(Timed, timed_key(key)) if self._is_timed(key) else None
        why = self.untimed(key)
        if why:
            timed = Timed("", "", None, why=why)
        command = combination.command(self.request.base)
        return Row(combination, command, folder.read(Made, key), timed, self.errors.get(key, ""))


def _check_device(name: str | None, formats: Sequence[str]) -> None:
    """Raise :class:`InputError` for an unknown device, and for one that runs nothing of a sweep."""
    if name is None:
        return
    device = device_for(name)
    if not set(device.formats) & set(formats):
        runs = f"{device.title} runs {' and '.join(device.formats)}"
        raise InputError(f"--device {name}: {runs}, and no target here is one; choose other --targets")


def _check_many(request: SweepRequest, source: Pretrained) -> None:
    """Raise :class:`InputError` for very many combinations, with what they would take."""
    total = count(request.values)
    if total <= MOST or request.many:
        return
    names = [target_for(name).format for name in request.targets]
    each = max(cost.seconds(name, source.checkpoint.parameters) for name in names)
    size = source.checkpoint.parameters  # about a byte each, int8 and a little more
    what = f"about {total * each / 3600:,.0f} processor hours and {total * size / 1e9:,.0f} GB meanwhile"
    raise InputError(
        f"{total:,} combinations would take {what}; give fewer values, or --yes for more than {MOST}"
    )


def _check(combination: Combination, request: SweepRequest, source: Pretrained) -> None:
    try:
        check_request(combination.request(request.base), source)
    except InputError as error:
        raise InputError(f"{one_line(combination.name, 80)}: {error}") from None


def _run(work: _Work, folder: Folder, step: Step) -> None:
    """Both phases, of which each result is in the folder as soon as it is there."""
    _note_progress(work, folder)
    with ExitStack() as stack:
        cluster: Cluster | None = None
        for kind in ("make", "time"):
            tasks = work.to_make(folder) if kind == "make" else work.to_time(folder)
            if tasks and cluster is None:
                step("starting Ray" if work.request.address is None else "connecting to the cluster")
                cluster = stack.enter_context(Cluster.opened(work.request.address))
            if tasks and cluster is not None:
                _phase(kind, tasks, work, folder, cluster, step)


def _phase(
    kind: str, tasks: Mapping[str, Task], work: _Work, folder: Folder, cluster: Cluster, step: Step
) -> None:
    total = len(work.keys)

    def on_result(key: str, result: Any, error: str) -> None:
        if result is None:
            work.errors[key] = error
        else:
            folder.write(key if kind == "make" else timed_key(key), result)
        _note_progress(work, folder)

    def on_wait(left: int) -> None:
        failed = f", {len(work.errors)} failed" if work.errors else ""
        what = "exported, verified and asked" if kind == "make" else "timed, one at a time"
        step(f"{total - left} of {total} {what}{failed}")

    if kind == "make":
        cluster.spread(tasks, work.request.cpus, on_result, on_wait)
    else:
        cluster.alone(tasks, on_result, on_wait)


def _note_progress(work: _Work, folder: Folder) -> None:
    """What an interruption says: nothing that is finished is lost."""
    done = sum(folder.read(Made, key) is not None for key in work.keys)
    whole = f"{done} of {len(work.keys)} combinations are in {folder.path}"
    interrupts.resumable(f"stopped; {whole}, and the same command goes on from there")


def _keep(result: SweepResult, step: Step) -> None:
    """Export the winner, or all of the front, into the folder."""
    names = result.best.front if result.request.keep == "front" else (result.winner and result.winner.name,)
    for row in result.rows:
        if row.name in names:
            output = result.folder / BUNDLES / row.name.replace(" ", "-").replace(":", "-").replace("/", "-")
            request = replace(row.combination.request(result.request.base), output=output)
            export(request, step=prefixed(step, f"keeping {row.name}"))
