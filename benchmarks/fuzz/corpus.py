"""Sound files of every kind that the toolkit reads, made here once, small enough for thousands of copies."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.pipeline.export import ExportRequest
from phantom_edge.pipeline.export import export as export_bundle
from recipes.synthetic import TINY, TINY_FAMILIES, write_checkpoint

FORMATS: Final = {"onnx": "desktop", "coreml": "ios", "executorch": "android", "coreai": "ios"}
CONTEXT: Final = 160
PICTURES: Final = ("png", "jpeg", "webp", "gif", "bmp", "tiff", "ppm")
KNOWN: Final = "0" * 64
"""The key of a kept picture."""
QUESTION: Final = "What is it?"
RECIPE: Final = (
    'base = "int4"\n[[rule]]\nmatch = "text_decoder.layers.*.down"\nto = "int8"\n'
    '[[rule]]\nmatch = "token_embedding"\nto = "fp16"\n'
)


def build(folder: Path, formats: tuple[str, ...] = tuple(FORMATS)) -> Path:
    """Write every kind of file below ``folder``, unless it is complete from an earlier time."""
    done = folder / f"complete-{'-'.join(formats)}"
    if done.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    write_checkpoint(folder / "checkpoint", TINY, dtype="float32")
    write_checkpoint(folder / "sharded", TINY, shards=2)
    write_checkpoint(folder / "sentencepiece", TINY_FAMILIES["internlm2"])
    for name in formats:
        request = ExportRequest(
            target=FORMATS[name], model=str(folder / "checkpoint"), format=name, context=CONTEXT, verify=False
        )
        export_bundle(replace(request, output=folder / f"bundle-{name}"))
    texts = folder / "texts.txt"
    texts.write_text(f"{QUESTION}\nA größer 日本 cube.\n", encoding="utf-8")
    trimmed = ExportRequest("desktop", str(folder / "checkpoint"), context=CONTEXT, verify=False)
    export_bundle(replace(trimmed, output=folder / "bundle-vocabulary", vocab=(str(texts),)))
    _write_recordings(folder / "conform", folder / "checkpoint")
    _write_quantization(folder, Pretrained.open(folder / "checkpoint"))
    _write_run(folder / "run")
    _write_pictures(folder / "pictures")
    _write_data(folder)
    _write_sweep(folder / "sweep")
    _write_known(folder / "known")
    _write_forms(folder)
    _write_words(folder)
    done.touch()
    return folder


def _write_words(folder: Path) -> None:
    """What command lines name: a checkpoint, a picture and a report."""
    shutil.copytree(folder / "checkpoint", folder / "words" / "checkpoint")
    for name in ("pictures/picture.png", "report.json"):
        shutil.copy(folder / name, folder / "words")
    (folder / "words" / "words.json").write_text("[]")


def _write_forms(folder: Path) -> None:
    """A JSON schema and a regular expression for answers."""
    names = {"enum": ["red", "größer"]}
    part = {"type": "object", "properties": {"name": names, "n": {"type": "integer", "maximum": 9}}}
    schema = {
        "type": "object",
        "properties": {
            "parts": {"type": "array", "items": {"$ref": "#/$defs/part"}, "minItems": 1, "maxItems": 3},
            "when": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "code": {"type": "string", "pattern": "[A-Z]{2}-[0-9]+", "maxLength": 8},
            "share": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
        },
        "required": ["parts", "code"],
        "additionalProperties": False,
        "$defs": {"part": part},
    }
    (folder / "schema.json").write_text(json.dumps(schema))
    (folder / "pattern.txt").write_text(
        r"^((?:yes|no), )?[^\d\W]{2,9}(größer|\d{1,3}(\.\d+)?)*( \(.{0,20}\))+!?$"
    )


def _write_sweep(folder: Path) -> None:
    """The folder of a sweep with one result."""
    from phantom_edge.sweep.folder import Folder
    from phantom_edge.sweep.result import Answer, Made

    made = Made("node", "host", 1.0, 1000, 0.1, 1.0, (Answer("one", "colour", "picture", True),), {})
    with Folder.opened(folder) as sweep:
        sweep.write("one", made)


def _write_recordings(folder: Path, checkpoint: Path) -> None:
    """A folder for ``conform`` with one question and what the model answers."""
    from safetensors.numpy import save_file

    from phantom_edge.model.original import PhantomModel

    shutil.copytree(checkpoint, folder)
    source = Pretrained.open(folder)
    case = {"name": "text", "question": QUESTION, "image": None, "tiles": 0}
    (folder / "golden.json").write_text(json.dumps({"cases": [case]}))
    ids = source.tokenizer.encode(source.template.render([(QUESTION, None)]))
    model = PhantomModel(source.config, source.checkpoint)
    embeds, cache = model.embed(torch.tensor([ids])), model.make_cache()
    logits = model.decode(embeds, cache, all_positions=True)[0]
    hidden, last, generated = model.hidden(embeds, model.make_cache())[0, -1], logits[-1], []
    for _ in range(12):
        generated.append(int(last.argmax()))
        last = model.decode(model.embed(torch.tensor([generated[-1:]])), cache)[0, -1]
    arrays = {
        "input_ids": np.array(ids, np.int32),
        "logits_every_64": logits[::64].numpy(),
        "last_logits": logits[-1].numpy(),
        "hidden_last": hidden.numpy(),
        "generated_ids": np.array([1, *generated], np.int32),
    }
    tensors = {f"text.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(tensors, folder / "golden.safetensors")


def _write_quantization(folder: Path, source: Pretrained) -> None:
    from phantom_edge.model.fold import Fold
    from phantom_edge.model.folded import FoldedModel
    from phantom_edge.numbers.grid import QuantizedTensor
    from phantom_edge.numbers.recipe import load_recipe
    from phantom_edge.quantize import store
    from phantom_edge.quantize.result import Quantization

    recipe = load_recipe("int4")
    model = FoldedModel.of(source.config, source.checkpoint, Fold("exact"), source.first_id).quantized(recipe)
    integers = {n: w for n in model.weights if isinstance(w := model.weights[n], QuantizedTensor)}
    facts = {"source": source.sha256()}
    store.save(folder / "quantization.safetensors", Quantization(recipe, "gptq", integers, {}, (), facts, {}))


def _write_run(folder: Path) -> None:
    from phantom_edge.training.run_folder import RunFolder, RunState

    run = RunFolder(folder / "out")
    run.folder.mkdir(parents=True)
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.AdamW([weight], lr=1e-3)
    weight.sum().backward()
    optimizer.step()
    run.save(RunState(step=3), {"w": weight}, [optimizer])
    run.write_json("run.json", {"schema": 1, "arguments": {"lr": 1e-3, "model": {"a": 1}}})


def _write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    for kind in PICTURES:
        Image.fromarray(pixels).save(folder / f"picture.{kind}", kind.upper())
    Image.fromarray(pixels.astype(np.int32)[..., 0] * 300).save(folder / "picture.grey.tiff")


def _write_known(folder: Path) -> None:
    """A picture cache with one picture."""
    from phantom_edge.runtime.pictures import PictureCache, PictureState

    caches = tuple(np.ones((1, 2, 6, 4), kind) for kind in (np.float32, np.float16, np.int8))
    PictureCache(folder=folder).put(KNOWN, PictureState(np.ones((4, 8), np.float32), caches))


def _write_data(folder: Path) -> None:
    """Recipes, reports, records, triples and a table."""
    import base64

    picture = (folder / "pictures" / "picture.png").read_bytes()
    (folder / "recipe.toml").write_text(RECIPE)
    run = {
        "device": {"name": "laptop", "cores": 2},
        "runtime": {"name": "onnxruntime", "threads": 1},
        "model": {"name": "nano", "recipe": "int4", "prompt_tokens": 300, "context": 2048},
        "settings": {"steps": 32},
        "samples": {"first_token": [0.1, 0.2], "prefill": [0.1, 0.1], "decode@0": [90.0, 91.0]},
        "curves": {"soak": [[0.0, 90.0], [60.0, 80.0], [120.0, 70.0]]},
        "missing": {"energy": "no meter"},
        "conditions": {"noisy": False, "load": [0.1, 0.2]},
        "notes": ["a note"],
    }
    band = {"typical": 1.0, "low": 0.5, "high": 2.0}
    estimate = {**run, "samples": {}, "bands": {"decode@0": band}, "curves": {}}
    report = {"schema": 1, "kind": "bench", "phantom_edge": "0", "runs": [run, estimate]}
    (folder / "report.json").write_text(json.dumps(report))
    record = {"model": "m", "id": "0", "task": "colour", "question": "Q?", "answer": "a", "reply": "a"}
    (folder / "records.jsonl").write_text("\n".join(json.dumps(record | {"id": str(n)}) for n in range(4)))
    triples: list[dict[str, Any]] = [
        {"image": "picture.png", "question": "What?", "answer": "red", "wrong": "blue"},
        {"question": "Why?", "answer": "because"},
    ]
    (folder / "pictures" / "triples.jsonl").write_text("\n".join(map(json.dumps, triples)))
    image = base64.b64encode(picture).decode()
    header = "index\tquestion\tanswer\tcategory\tA\tB\timage"
    rows = [f"{n}\tWhat?\tA\tcolour\tred\tblue\t{image}" for n in range(3)]
    (folder / "mmstar.tsv").write_text("\n".join([header, *rows]) + "\n")
