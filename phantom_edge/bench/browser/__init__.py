"""``--device browser``: a bundle's ONNX graphs in onnxruntime-web, in a Chromium of this machine, WASM and
WebGPU.
"""

from __future__ import annotations

import platform
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phantom_edge.bench import machine
from phantom_edge.bench.browser import package, program
from phantom_edge.bench.browser.server import PageServer, serving
from phantom_edge.bench.devices import Options
from phantom_edge.bench.facts import conclude, merge, model_facts
from phantom_edge.bench.results import Run
from phantom_edge.bench.settings import Settings
from phantom_edge.bench.task import GOLDEN_LIMIT
from phantom_edge.bundle.folder import GOLDEN, Bundle, is_bundle
from phantom_edge.checkpoint.pretrained import NANO_NAME
from phantom_edge.errors import CheckError, InputError
from phantom_edge.progress import Step

PAGE = Path(__file__).parent / "page"
PROVIDERS = ("wasm", "webgpu")
MAX_THREADS = 4  # onnxruntime-web's own choice stops there, too
SILENCE = 900.0  # seconds without a word from the page: a large model's prefill in one thread takes minutes
POLL = 0.25


def bench(models: Sequence[str | None], settings: Settings, options: Options, step: Step) -> list[Run]:
    """Measure ONNX bundles in a browser, every provider and every process in a fresh one.

    Raises :class:`InputError` for another bundle, no browser, no onnxruntime-web, or a browser without the
    features that it needs; :class:`CheckError` when the page fails or computes something else than the golden
    outputs.
    """
    for provider in options.providers:
        if provider not in PROVIDERS:
            raise InputError(f"--provider {provider}: there are {' and '.join(PROVIDERS)}")
    bundles = [_opened(model) for model in models]
    chromium, web = program.find(options.browser), package.find(options.onnxruntime_web, step)
    step("asking the browser what it can do")
    told = _page(chromium, _files(web, None), {"do": "features"}, step, webgpu=True).answer["features"]
    # Refuses a browser that cannot run one of them before the first is measured.
    plan = [
        (bundle, provider)
        for bundle in bundles
        for provider in choose(told, options.providers or (("webgpu",) if is_for_gpu(bundle) else ()))
    ]
    device = {
        "kind": "browser",
        "name": told["userAgent"].rpartition("AppleWebKit")[2].partition(") ")[2] or told["userAgent"],
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": machine.describe()["cpu"],
        "cores": told["cores"],
    }
    runs = []
    for bundle, provider in plan:
        gpu = {"gpu": told["webgpu"]["name"]} if provider == "webgpu" else {}
        run = Run(device | gpu, {}, model_facts(bundle), settings.to_dict())
        run.add("bundle", bundle.bytes)
        if provider == "webgpu" and told["webgpu"]["software"]:
            run.notes.append(
                "WebGPU ran on a software adapter: its times say nothing about a graphics processor's"
            )
        job = _job(bundle, provider, settings, told["cores"])
        runs.append(_measured(run, chromium, _files(web, bundle), job, settings, step))
    return runs


def choose(told: dict[str, Any], wanted: Sequence[str]) -> list[str]:
    """The providers to run: those asked for, else WASM, and WebGPU where there is a real one.

    Raises :class:`InputError` when the browser lacks what they need.
    """
    if not told["isolated"]:
        raise InputError(
            "this browser gives the page no cross-origin isolation, so WASM has no threads; use Chromium "
            "92 or newer"
        )
    if not told["simd"]:
        raise InputError(
            "this browser's WebAssembly has no SIMD, which onnxruntime-web needs; use Chromium 91 or newer"
        )
    if "webgpu" in wanted and told["webgpu"] is None:
        raise InputError(
            "this browser has no WebGPU here (no adapter); use --provider wasm or a machine with a GPU"
        )
    real = told["webgpu"] is not None and not told["webgpu"]["software"]
    return list(dict.fromkeys(wanted)) or (["wasm", "webgpu"] if real else ["wasm"])


def is_for_gpu(bundle: Bundle) -> bool:
    """Whether a bundle's operations are WebGPU's: on the CPU its fp16 has no kernels."""
    return "webgpu" in f"{bundle.manifest['target']} {bundle.manifest['format']}"


def _opened(model: str | None) -> Bundle:
    if model is None or not is_bundle(model):
        raise InputError(
            f"{model or NANO_NAME}: not a bundle; a browser needs one: phantom-edge export --target web"
        )
    bundle = Bundle.open(model)
    if not bundle.browser:
        raise InputError(
            f"{model}: a bundle for {bundle.manifest['target']} ({bundle.manifest['format']}), which no "
            "browser runs: "
            "phantom-edge export --target web"
        )
    return bundle


def _measured(
    run: Run, chromium: Path, files: dict[str, Path], job: dict, settings: Settings, step: Step
) -> Run:
    gpu = job["provider"] == "webgpu"
    for n in range(settings.processes):
        told = f"{run.model['name']}, {job['provider']}, page {n + 1} of {settings.processes}"
        work = job | {"check": n == 0, "soak": n == settings.processes - 1 and settings.soak > 0}
        with machine.watched() as usage:
            seen = _page(chromium, files, work, lambda text, told=told: step(f"{told}: {text}"), webgpu=gpu)
        part = Run.from_dict(seen.answer.get("run"))
        if usage.foreign is not None:  # the browser's processes are no children of ours that have ended
            usage.foreign -= seen.core_seconds
        part.conditions["others"] = usage.others
        if seen.peak_memory is not None:
            part.add("memory", seen.peak_memory)
        merge(run, part)
    if "memory" not in run.samples:
        run.missing["memory"] = "a browser's process memory is read on Linux only; see the WASM heap"
    conclude(run, settings)
    if settings.soak:
        run.missing["energy"] = "a page cannot read an energy counter"
    return run


def _files(web: package.WebRuntime, bundle: Bundle | None) -> dict[str, Path]:
    """What is served: the page, onnxruntime-web's own files, the bundle's listed ones."""
    files = {f"page/{path.name}": path for path in PAGE.iterdir() if path.is_file()}
    files |= {f"ort/{path.name}": path for path in web.dist.iterdir() if path.suffix in (".mjs", ".wasm")}
    if bundle is not None:
        files |= {f"bundle/{name}": bundle.folder / name for name in bundle.manifest["files"]}
    return files


def _job(bundle: Bundle, provider: str, settings: Settings, cores: int) -> dict[str, Any]:
    """What the page needs to know; every file's name comes from the manifest or from the model files
    themselves.
    """
    m = bundle.manifest
    try:
        shape, ids, tiles = m["shape"], m["ids"], m["tiles"]
        facts = {
            "layers": shape["layers"],
            "hidden": shape["hidden"],
            "vocabulary": shape["vocabulary"],
            "firstToken": ids["first"],
            "imageToken": ids["image"],
            "endTokens": ids["end"],
            "tileSize": tiles["size"],
        }
    except (KeyError, TypeError) as error:
        raise InputError(f"{bundle.folder}: the manifest lacks {error}; export the bundle again") from None
    depths = list(settings.fitting(m["context"]))
    return facts | {
        "do": "measure",
        "provider": provider,
        "threads": settings.threads or (1 if provider == "webgpu" else min(MAX_THREADS, cores)),
        "context": m["context"],
        "chunk": m["chunk"],
        "limit": GOLDEN_LIMIT,
        "golden": f"../bundle/{GOLDEN}",
        "graphs": {name: _graph(bundle, path) for name, path in m["graphs"].items()},
        "settings": settings.to_dict() | {"depths": depths},
    }


def _graph(bundle: Bundle, name: str) -> dict[str, Any]:
    """Addresses of one model file and of the data files that it refers to."""
    import onnx

    from phantom_edge.runtime.onnx_backend import check_model

    model, folder = check_model(bundle.folder / name), Path(name).parent
    external = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    names = sorted({entry.value for t in external for entry in t.external_data if entry.key == "location"})
    unlisted = [n for n in (name, *(str(folder / n) for n in names)) if n not in bundle.manifest["files"]]
    if unlisted:
        raise InputError(
            f"{bundle.folder}: {unlisted[0]} is not listed in the manifest; export the bundle again"
        )
    return {
        "model": f"../bundle/{name}",
        "data": [{"name": n, "url": f"../bundle/{folder.as_posix()}/{n}"} for n in names],
    }


@dataclass(frozen=True)
class _Seen:
    """What a page found, and what its browser took."""

    answer: dict[str, Any]
    peak_memory: int | None
    core_seconds: float


def _page(chromium: Path, files: dict[str, Path], job: dict[str, Any], step: Step, *, webgpu: bool) -> _Seen:
    """Run one job in a fresh browser."""
    with serving(files, job) as server, program.started(chromium, server.url, webgpu=webgpu) as browser:
        answer = _answer(server, browser, step)
        return _Seen(answer, browser.peak_memory(), browser.core_seconds())


def _answer(server: PageServer, browser: program.Browser, step: Step) -> dict[str, Any]:
    """Wait for the page's result, passing its steps on. Raises :class:`CheckError` when none can come any
    more.
    """
    heard = time.monotonic()
    while True:
        try:
            line = server.told.get(timeout=POLL)
        except queue.Empty:
            if not browser.alive:
                raise CheckError(
                    f"the browser ended before the page had a result: {browser.last_words}"
                ) from None
            if time.monotonic() - heard > SILENCE:
                raise CheckError(
                    f"the page said nothing for {SILENCE:.0f} s; try fewer --depths or --threads"
                ) from None
            continue
        heard = time.monotonic()
        if "step" in line:
            step(str(line["step"]))
        elif "error" in line:
            at = f" ({line['where']})" if line.get("where") else ""
            raise CheckError(f"{line['error']}{at}")
        else:
            return line
