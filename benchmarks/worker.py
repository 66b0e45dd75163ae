"""One measurement in a process of its own, so that memory and threads are nobody else's.

``python -m benchmarks.worker JOB`` with a job as JSON prints one JSON object on its last line. Jobs come from
:mod:`benchmarks.run`; each ``job["do"]`` is one of :data:`JOBS`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from phantom_edge.bench.machine import status_bytes, watched

CONTEXT: Final = 2304  # of every artifact: 2048 cached tokens and room for the steps
CHUNK: Final = 512
EXPORT_FACTS: Final = "export.json"
WARM_STEPS: Final = 4
TIMED_FOLD: Final = "exact"  # exported by the whole pipeline; of the others only the graphs are needed
SEED: Final = 0
VERIFY_QUESTION: Final = "What is in the image?"
VERIFY_TOKENS: Final = 8
MEMORY: Final = ("VmRSS", "RssAnon", "RssFile", "VmHWM")
Result = dict[str, Any]


def decoder(job: Result) -> Iterator[Result]:
    """Prefill, decode at an empty and at a deep cache, resident memory, all in one loaded model.

    Ours has looked at a tile before, as whoever asks about a picture has, and decodes on without its vision
    encoder at the end.
    """
    run = _load(job)
    ours = isinstance(run, Ours)
    if ours:
        run.encode(_tile(run))
    rng = np.random.default_rng(SEED)
    prompt = rng.integers(0, run.vocabulary, job["depth"])
    run.begin()
    run.extend(prompt[: job["prefill"]])  # warm-up: pages, thread pool, first allocations
    run.begin()
    yield {
        "metric": "prefill",
        "value": job["prefill"] / _seconds(lambda: run.extend(prompt[: job["prefill"]])),
    }
    for metric, cached in (("decode_empty", 0), ("decode_deep", job["depth"])):
        run.begin()
        for start in range(0, cached, job["prefill"]):
            run.extend(prompt[start : min(cached, start + job["prefill"])])
        steps = [
            _seconds(lambda n=n: run.extend(prompt[n : n + 1])) for n in range(job["steps"] + WARM_STEPS)
        ]
        yield {"metric": metric, "value": 1 / float(np.median(steps[WARM_STEPS:]))}
    memory = status_bytes(*MEMORY)
    metric = "resident" if ours else "resident_decoder"
    yield {"metric": metric, "value": memory["VmRSS"], **memory, "libraries": run.libraries}
    if ours:
        run.trim()
        run.extend(prompt[:1])
        memory = status_bytes(*MEMORY)
        yield {"metric": "resident_trimmed", "value": memory["VmRSS"], **memory}


def tile(job: Result) -> Iterator[Result]:
    """One tile of each size through the vision encoder, the better of a few calls after a first."""
    run = _load(job, vision=True)
    for size in job.get("tile_sizes") or (run.tile_size,):
        pixels = _tile(run, size)
        run.encode(pixels)
        seconds = min(_seconds(lambda pixels=pixels: run.encode(pixels)) for _ in range(job["repeats"]))
        yield {"metric": "tile" if size == run.tile_size else f"tile_{size}", "value": seconds}


def export(job: Result) -> Iterator[Result]:
    """Write one artifact; time and peak memory by step go into :data:`EXPORT_FACTS` beside it."""
    start, steps, folder = time.perf_counter(), [], Path(job["folder"])

    def step(text: str) -> None:
        text = text.partition(".")[0]  # a step for each weight is too much: they are told by their graph
        if not steps or steps[-1][-1] != text:
            at = [round(clock, 2) for clock in (time.perf_counter() - start, time.process_time())]
            steps.append([*at, status_bytes("VmHWM")["VmHWM"], text])

    def track(items, text: str) -> Iterator:
        step(text)
        yield from items

    spec = _export(job, folder, step, track)
    step("done")
    seconds, peak = time.perf_counter() - start, status_bytes("VmHWM")["VmHWM"]
    facts = {"cpu_seconds": time.process_time(), "steps": steps}
    if _whole(job):
        facts |= {"seconds": seconds, "peak": peak}
    facts |= _sizes(job, folder, spec)
    (folder / EXPORT_FACTS).write_text(json.dumps(facts, indent=1))
    yield {"metric": "export", "value": seconds, **facts}


def verify(job: Result) -> Iterator[Result]:
    """Verify a bundle that was exported before, with a picture of one tile, one question and a few tokens."""
    from phantom_edge.bundle.folder import Bundle
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.runtime.traces import default_images
    from phantom_edge.runtime.verify import verify as run_verify

    start, source = time.perf_counter(), Pretrained.open(job["model"])
    picture = default_images(source.config.tile_size)["square"]
    report = run_verify(
        Bundle.open(job["folder"], check=False),
        source,
        image=picture,
        question=VERIFY_QUESTION,
        tokens=VERIFY_TOKENS,
    )
    yield {
        "metric": "verify",
        "value": time.perf_counter() - start,
        "cpu_seconds": time.process_time(),
        "peak": status_bytes("VmHWM")["VmHWM"],
        "failures": [check.name for check in report.failures],
        "checks": {
            group: {check.name: check.value for check in checks if isinstance(check.value, int | float)}
            for group, checks in report.groups.items()
        },
    }


def _whole(job: Result) -> bool:
    """Whether the whole pipeline runs: certificate, golden outputs, manifest."""
    other = _int8_cache(job) or job.get("rules") or job.get("vocab")
    return job.get("whole", job["fold"] == TIMED_FOLD and not other)


def _int8_cache(job: Result) -> bool:
    return job.get("kv_cache") == "int8"


def _export(job: Result, folder: Path, step: Callable[[str], None], track: Callable):
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.export.base import ExportOptions
    from phantom_edge.model.folded import FoldedModel
    from phantom_edge.model.spec import FoldedSpec
    from phantom_edge.numbers.recipe import load_recipe
    from phantom_edge.pipeline.export import ExportRequest, export
    from phantom_edge.pipeline.vocabulary import trimmed_source
    from phantom_edge.quantize.calibration import FEWEST, drawn_set
    from phantom_edge.quantize.kv import kv_scales
    from phantom_edge.quantize.options import QuantizeOptions
    from phantom_edge.targets import format_for
    from phantom_edge.text.vocabulary import VocabularyRequest

    if _whole(job):
        request = ExportRequest(
            "desktop", job["model"], output=folder, format=job["kind"],
            quantize=QuantizeOptions(job["recipe"]), fold=job["fold"], context=CONTEXT, verify=False,
        )  # fmt: skip
        manifest = export(request, step=step, track=track).bundle.manifest
        config, dims = (
            Pretrained.open(job["model"]).config,
            [layer.phantom_dim for layer in manifest.fold.layers],
        )
        return FoldedSpec(config, tuple(dims))
    # The graphs alone, for the pipeline rightly refuses fold "off".
    recipe = load_recipe(job["recipe"], job.get("rules", ()))
    source = Pretrained.open(job["model"])
    source, _ = trimmed_source(source, VocabularyRequest(tuple(job.get("vocab", ())), None), step)
    model = FoldedModel.of(source.config, source.checkpoint, _fold(job), source.first_id, track)
    model = model.with_tiles(source.checkpoint, tuple(job.get("tile_sizes", ())[1:])).quantized(recipe)
    if _int8_cache(job):
        model = model.with_kv(kv_scales(model, drawn_set(source, FEWEST).samples, step))
    folder.mkdir(parents=True)
    options = ExportOptions(CONTEXT, CHUNK, str(recipe.float_type), source.config.end_ids, share_data=True)
    format_for(job["kind"]).export(model, options, folder, step)
    return model.spec


def _sizes(job: Result, folder: Path, spec) -> dict[str, float]:
    """Bytes of the artifact, of the decoder's quantised weights within it, and of one token in the cache."""
    from phantom_edge.targets import format_for

    weights = format_for(job["kind"]).stored_weights(folder)
    stored = (weights[name] for name in weights if name.startswith("text_decoder"))
    decoder = sum(w.values.numel() * w.bits / 8 + w.scales.numel() * 2 for w in stored)
    files = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    value = 1 if _int8_cache(job) else 4  # bytes
    return {
        "files": files,
        "decoder": decoder,
        "cache_per_token": spec.cache_bytes(1, value),
        "vocabulary": spec.config.decoder.vocab_size,
    }


def _fold(job: Result):
    from phantom_edge.model.fold import Fold

    return Fold.parse(job["fold"])


class Ours:
    """One of our artifacts through the backend that ships with it."""

    def __init__(self, job: Result):
        from phantom_edge.checkpoint.config import PhantomConfig
        from phantom_edge.targets import format_for

        config = PhantomConfig.from_file(Path(job["model"]) / "config.json")
        kind, folder = format_for(job["kind"]), Path(job["folder"])
        path = folder / EXPORT_FACTS
        facts = json.loads(path.read_text()) if path.exists() else {}
        self.vocabulary = facts.get("vocabulary", config.decoder.vocab_size)
        self.tile_size = config.tile_size
        __import__(kind.backend.partition(":")[0])
        self.libraries = status_bytes("VmRSS")["VmRSS"]
        self._backend = kind.load(folder, context=CONTEXT, chunk=CHUNK, threads=job["threads"])
        self.encode, self.trim = self._backend.encode_image, self._backend.trim

    def begin(self) -> None:
        self._cache = self._backend.make_cache()

    def extend(self, ids: np.ndarray) -> None:
        self._backend.decode(self._backend.embed(ids[None]), self._cache)


class _Torch:
    """The same dimensions in transformers, bf16, random weights, no phantom dimension."""

    def __init__(self, job: Result, vision: bool):
        import torch
        import transformers

        torch.set_num_threads(job["threads"])
        torch.set_grad_enabled(False)
        self._torch, self._transformers = torch, transformers
        self.libraries = status_bytes("VmRSS")["VmRSS"]
        config = json.loads((Path(job["model"]) / "config.json").read_text())
        self.vocabulary, self.tile_size = (
            config["llm_config"]["vocab_size"],
            config["vision_config"]["image_size"],
        )
        torch.set_default_dtype(torch.bfloat16)
        if vision:
            self._vision = self._encoder(config)
        else:
            llm = {k: v for k, v in config["llm_config"].items() if k != "model_type"}
            self._model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**llm)).eval()

    def _encoder(self, config: Result):
        nn, v = self._torch.nn, config["vision_config"]
        names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
        fields = {name: v[name] for name in names} | {
            "image_size": [v["image_size"]] * 2,
            "attention_bias": True,
        }
        tower = self._transformers.InternVLVisionModel(
            self._transformers.InternVLVisionConfig(**fields)
        ).eval()
        wide, hidden = 4 * v["hidden_size"], config["llm_config"]["hidden_size"]
        projector = nn.Sequential(
            nn.LayerNorm(wide), nn.Linear(wide, hidden), nn.GELU(), nn.Linear(hidden, hidden)
        )
        return lambda x: projector(tower(x).last_hidden_state[:, 1:].unflatten(1, (-1, 4)).flatten(2))

    def begin(self) -> None:
        self._past = self._transformers.DynamicCache()

    def extend(self, ids: np.ndarray) -> None:
        tokens = self._torch.from_numpy(ids[None])
        self._model(input_ids=tokens, past_key_values=self._past, use_cache=True, logits_to_keep=1)

    def encode(self, pixels: np.ndarray) -> None:
        self._vision(self._torch.from_numpy(pixels).bfloat16())


def _load(job: Result, vision: bool = False) -> Ours | _Torch:
    return _Torch(job, vision) if job["kind"] == "torch" else Ours(job)


def _tile(run: Ours | _Torch, size: int | None = None) -> np.ndarray:
    side = size or run.tile_size
    return np.random.default_rng(SEED).random((1, 3, side, side), dtype=np.float32)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


JOBS: Final[dict[str, Callable[[Result], Iterator[Result]]]] = {
    "decoder": decoder,
    "tile": tile,
    "export": export,
    "verify": verify,
}


if __name__ == "__main__":
    wanted = json.loads(sys.argv[1])
    with watched() as usage:
        results = list(JOBS[wanted["do"]](wanted))
    print(json.dumps({"results": results, "others": usage.others, "seconds": usage.seconds}))
