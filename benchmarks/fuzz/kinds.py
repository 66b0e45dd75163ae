"""What is damaged, how, and the command that then reads it, as a user would call it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from benchmarks.fuzz import mutate
from benchmarks.fuzz.corpus import KNOWN, PICTURES, QUESTION
from phantom_edge.cli import main
from phantom_edge.cli.console import command

Damage = Callable[[bytes, random.Random], bytes]
Ready = Callable[[], int]


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    ``folder`` of the corpus is copied, ``file`` in it damaged, and ``read`` is called with the folder.
    """

    folder: str
    file: str
    damage: Damage
    read: Callable[[Path], None]


def cli(*words: str) -> Callable[[Path], None]:
    """A command line; ``{}`` stands for the folder."""
    return lambda folder: main([word.replace("{}", str(folder)) for word in words])


def call(function: Callable[[Path], object]) -> Callable[[Path], None]:
    """A function of the API whose errors end as a command's."""

    @command
    def wrapped(folder: Path) -> None:
        function(folder)

    return wrapped


RUN: Final = cli("run", "-m", "{}", "-p", QUESTION, "--max-tokens", "2")
RUN_PICTURE: Final = cli("run", "-m", "{}", "-i", "{}/../picture.png", "-p", QUESTION, "--max-tokens", "2")
INSPECT: Final = cli("inspect", "-m", "{}", "--json")


@cache
def _message(kind: str) -> Any:
    if kind == "onnx":
        import onnx

        return onnx.ModelProto
    if kind == "coreml":
        from coremltools.proto import Model_pb2

        return Model_pb2.Model
    from sentencepiece import sentencepiece_model_pb2

    return sentencepiece_model_pb2.ModelProto


def _protobuf(kind: str, data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.25:
        return mutate.damaged_bytes(data, rng)
    message = _message(kind)()
    message.ParseFromString(data)
    return mutate.damaged_message(message, rng)


def _tables(data: bytes, rng: random.Random) -> bytes:
    """A .pte: mostly its tables, which come first."""
    if rng.random() < 0.2:
        return mutate.damaged_bytes(data, rng)
    size = int.from_bytes(data[16:24], "little")
    return mutate.near_the_start(data, rng, size if 0 < size < len(data) else 4096)


def _golden(folder: Path) -> None:
    from phantom_edge.bundle.golden import Golden

    Golden.read(folder)


def _quantization(folder: Path) -> None:
    from phantom_edge.quantize import store

    store.load(folder / "quantization.safetensors")


def _known(folder: Path) -> None:
    from phantom_edge.runtime.pictures import PictureCache

    PictureCache(folder=folder).get(KNOWN)


def _recipe(folder: Path) -> None:
    from phantom_edge.numbers.recipe import load_recipe

    load_recipe(str(folder / "recipe.toml")).resolve("text_decoder.layers.0.down", (64, 96))


def _picture(name: str, folder: Path) -> None:
    from phantom_edge.images import load_image, pixel_values

    pixel_values(load_image(folder / name), tile_size=56)


def _triples(folder: Path) -> None:
    from phantom_edge.training.triples import read_triples

    read_triples(folder / "triples.jsonl", folder)


def _texts(folder: Path) -> None:
    _tailored(None, str(folder / "texts.txt"))


def _tailored(model: Path | None, text: str = "en") -> None:
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.text.vocabulary import VocabularyRequest, measure

    source = Pretrained.open(model)
    request = VocabularyRequest((text,))
    kept = measure(source.tokenizer, source.template, request, needed=source.needed_ids).kept_ids
    source.trimmed(kept)


def _kept_ids(folder: Path) -> None:
    from phantom_edge.bundle.folder import Bundle
    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.runtime.verify.vocabulary import trimmed

    bundle = Bundle.open(folder)
    assert bundle.manifest.source.origin is not None
    trimmed(bundle, Pretrained.reopen(bundle.manifest.source.origin))


def _records(folder: Path) -> None:
    from phantom_edge.evaluate.items import Item, Suite
    from phantom_edge.evaluate.result import read_records

    items = tuple(Item(str(n), "colour", "Q?", "a", lambda reply: reply == "a") for n in range(4))
    read_records(folder / "records.jsonl", Suite("s", items, ""))


def _schema(folder: Path) -> None:
    from phantom_edge.cli.forms import chosen_form

    _walk(chosen_form(None, None, folder / "schema.json"))


def _pattern(folder: Path) -> None:
    from phantom_edge.runtime.form import Form

    _walk(Form(regex=(folder / "pattern.txt").read_bytes().decode("utf-8", "replace")))


def _walk(form: Any) -> None:
    """A random answer of a form, over Nano's pieces."""
    import numpy as np

    from phantom_edge.checkpoint.pretrained import Pretrained
    from phantom_edge.runtime.form import within
    from phantom_edge.runtime.sampling import Sampling
    from phantom_edge.text.prompt_ids import PromptEncoder

    source, rng = Pretrained.open(), np.random.default_rng(3)
    ends, size = source.config.end_ids, source.tokenizer.vocab_size
    constraint = form.begin(PromptEncoder(source.template, source.tokenizer), ends)
    choose = within(constraint, Sampling(1.0, seed=1).chooser())
    for _ in range(60):
        if choose(rng.normal(size=size).astype(np.float32)) in ends or constraint.complete:
            return


def _table(folder: Path) -> None:
    from phantom_edge.evaluate.job import build_suite

    for item in build_suite(benchmark="mmstar", data=folder / "mmstar.tsv").items:
        if item.picture is not None:
            item.picture.load(56)


def _state(folder: Path) -> None:
    import torch

    from phantom_edge.training.run_folder import RunFolder

    run = RunFolder(folder / "out")
    run.check_same({"lr": 1e-3, "model": {"a": 1}})
    run.read_state()
    weight = torch.nn.Parameter(torch.ones(4, 4))
    run.restore({"w": weight}, [torch.optim.AdamW([weight], lr=1e-3)])


def _sweep(folder: Path) -> None:
    from phantom_edge.sweep.folder import Folder
    from phantom_edge.sweep.result import Made

    with Folder.opened(folder) as sweep:
        made = sweep.read(Made, "one")
    assert made is None or made.accuracy.questions == 1


WORDS: Final = (
    ["run", "-m", "{}/checkpoint", "-i", "{}/picture.png", "-p", "Hm?", "--stop", "x", "--max-tokens", "2"],
    ["run", "-m", "{}/checkpoint", "-p", QUESTION, "--temperature", "0.5", "--top-p", "0.9", "--seed", "1",
     "--max-tokens", "2"],
    ["inspect", "-m", "{}/checkpoint", "--context", "64", "--json"],
    ["estimate", "-m", "{}/checkpoint", "-d", "pixel-8", "-t", "android", "--quant", "int4",
     "--fold", "exact", "--context", "128", "--depths", "0,16", "--tiles", "1"],
    ["bench", "--compare", "{}/report.json", "{}/report.json", "--json"],
    ["eval", "-m", "{}/none", "--tasks", "colour,count", "--samples", "2", "--split", "test", "--limit", "2"],
    ["export", "-m", "{}/none", "-t", "ios", "--quant", "int4", "--rule", "a=int8", "--context", "64"],
    ["export", "-m", "{}/none", "-t", "web", "--vocab", "en", "--vocab", "{}/none", "--vocab-size", "900"],
    ["verify", "{}/none", "-m", "phantom-nano", "--tokens", "2"],
    ["conform", "{}/none"],
    ["sweep", "-m", "{}/none", "--targets", "desktop,web", "--quant", "int4,int8", "--fold", "exact,auto",
     "--within", "1", "--max-mb", "9", "--device", "pixel-88", "-o", "{}/out"],
    ["tune", "--data", "{}/none.jsonl", "--images", "{}", "-o", "{}/none/out", "--lr", "1e-5", "--lora", "4"],
)  # fmt: skip
"""Command lines, the longer ones about models that are not there: it is their words that are damaged."""


def damaged_words(data: bytes, rng: random.Random) -> bytes:
    """A command line with odd words, or words that are missing, doubled or in another order."""
    words = list(rng.choice(WORDS))
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(1, len(words)) if len(words) > 1 else 0
        match rng.randrange(6):
            case 0:
                del words[place : place + 1]
            case 1:
                words[place:place] = words[place : place + 2]
            case 2:
                rng.shuffle(words)
            case _:
                odd = rng.choice(
                    (*mutate.ODD_VALUES, "\udc80.png", "{}/loop", "{}/" + "x" * 5000, "-" * 5000)
                )
                text = "9" * 5000 if isinstance(odd, int) and abs(odd) > 10**60 else str(odd)
                words[place : place + 1] = [text.replace("\0", "")]
    return json.dumps(words).encode()


def _call_words(folder: Path) -> None:
    words = json.loads((folder / "words.json").read_bytes())
    main([word.replace("{}", str(folder)) for word in words])


def _kinds() -> dict[str, Kind]:
    pe, json_, lines = "checkpoint", mutate.damaged_json, mutate.damaged_lines
    tensors, raw = mutate.damaged_safetensors, mutate.damaged_bytes
    onnx, coreml = partial(_protobuf, "onnx"), partial(_protobuf, "coreml")
    spm = partial(_protobuf, "sentencepiece")
    decoder = "text_decoder.mlpackage/Data/com.apple.CoreML"
    graphs = ("vision_encoder", "embed_tokens", "decoder_model_merged")
    kinds = {
        "config.json": Kind(pe, "config.json", json_, INSPECT),
        "config.json, run": Kind(pe, "config.json", json_, RUN),
        "config.json, estimate": Kind(pe, "config.json", json_, cli("estimate", "-m", "{}", "-d", "pixel-8")),
        "model.safetensors": Kind(pe, "model.safetensors", tensors, RUN),
        "index.json": Kind("sharded", "model.safetensors.index.json", json_, INSPECT),
        "tokenizer.json": Kind(pe, "tokenizer.json", json_, RUN),
        "tokenizer.json, --vocab": Kind(pe, "tokenizer.json", json_, call(_tailored)),
        "tokenizer.model, --vocab": Kind("sentencepiece", "tokenizer.model", spm, call(_tailored)),
        "texts": Kind("", "texts.txt", raw, call(_texts)),
        "vocabulary.json": Kind("bundle-vocabulary", "vocabulary.json", json_, call(_kept_ids)),
        "tokenizer_config.json": Kind(pe, "tokenizer_config.json", json_, INSPECT),
        "added_tokens.json": Kind("sentencepiece", "added_tokens.json", json_, INSPECT),
        "tokenizer.model": Kind("sentencepiece", "tokenizer.model", spm, INSPECT),
        "golden.json": Kind("conform", "golden.json", json_, cli("conform", "{}", "--json")),
        "recordings": Kind("conform", "golden.safetensors", tensors, cli("conform", "{}", "--json")),
        "quantization": Kind("", "quantization.safetensors", tensors, call(_quantization)),
        "known picture": Kind("known", f"{KNOWN}.safetensors", tensors, call(_known)),
        "recipe.toml": Kind("", "recipe.toml", mutate.damaged_text, call(_recipe)),
        "report.json": Kind("", "report.json", json_, cli("bench", "--compare", "{}/report.json")),
        "records.jsonl": Kind("", "records.jsonl", lines, call(_records)),
        "schema.json": Kind("", "schema.json", json_, call(_schema)),
        "pattern": Kind("", "pattern.txt", mutate.damaged_text, call(_pattern)),
        "triples.jsonl": Kind("pictures", "triples.jsonl", lines, call(_triples)),
        "table": Kind("", "mmstar.tsv", lines, call(_table)),
        "run.json": Kind("run", "out.partial/run.json", json_, call(_state)),
        "run state": Kind("run", "out.partial/state.safetensors", tensors, call(_state)),
        "sweep": Kind("sweep", "sweep.json", json_, call(_sweep)),
        "sweep result": Kind("sweep", "results/one.json", json_, call(_sweep)),
        "golden outputs": Kind("bundle-onnx", "golden.safetensors", tensors, call(_golden)),
        ".pte": Kind("bundle-executorch", "model.pte", _tables, RUN_PICTURE),
        ".mlmodel": Kind("bundle-coreml", f"{decoder}/model.mlmodel", coreml, RUN),
        ".mlpackage manifest": Kind("bundle-coreml", "text_decoder.mlpackage/Manifest.json", json_, RUN),
        "weight.bin": Kind("bundle-coreml", f"{decoder}/weights/weight.bin", raw, RUN),
        ".aimodel": Kind("bundle-coreai", "token_embedding.aimodel/main.mlirb", raw, RUN),
    }
    for name in PICTURES:
        kinds[name] = Kind("pictures", f"picture.{name}", raw, call(partial(_picture, f"picture.{name}")))
    for name in graphs:
        kinds[f"{name}.onnx"] = Kind("bundle-onnx", f"onnx/{name}_q4.onnx", onnx, RUN_PICTURE)
        kinds[f"{name}.onnx, inspect"] = Kind("bundle-onnx", f"onnx/{name}_q4.onnx", onnx, INSPECT)
    for name in ("onnx", "coreml", "executorch"):
        kinds[f"manifest.json, {name}"] = Kind(f"bundle-{name}", "manifest.json", json_, RUN_PICTURE)
        kinds[f"manifest.json, inspect {name}"] = Kind(f"bundle-{name}", "manifest.json", json_, INSPECT)
    kinds["command line"] = Kind("words", "words.json", damaged_words, _call_words)
    kinds["bundle tokenizer"] = Kind("bundle-onnx", "tokenizer.json", json_, RUN)
    return kinds


KINDS: Final = _kinds()


def warm_up(corpus: Path) -> None:
    """Import what the commands import, once, in the process that the workers are forked from."""
    import onnxruntime  # noqa: F401
    import sentencepiece  # noqa: F401

    from phantom_edge.bench.report import Results
    from phantom_edge.export.coreml.toolkit import coremltools
    from phantom_edge.mil import MilModel
    from phantom_edge.runtime.inspect import inspect
    from phantom_edge.runtime.session import Session
    from phantom_edge.targets import format_for

    coremltools()
    Results.from_file(corpus / "report.json").report()
    inspect(str(corpus / "checkpoint"))
    for name in ("coreml", "coreai"):
        if (corpus / f"bundle-{name}").exists():
            format_for(name)
    assert Session is not None
    assert MilModel is not None


def available(corpus: Path) -> list[str]:
    """Kinds whose sound file is in the corpus."""
    return [name for name, kind in KINDS.items() if (corpus / kind.folder / kind.file).exists()]


def prepare(corpus: Path, name: str, seed: int) -> Callable[[Path], Ready]:
    """What puts the damaged input of a seed into a folder, and returns the call that reads it."""
    kind, rng = KINDS[name], random.Random(f"{name}/{seed}")

    def put(work: Path) -> Ready:
        source, target = corpus / kind.folder, work / "input"
        if kind.folder:
            shutil.copytree(source, target)
        else:
            target.mkdir()
        if kind.folder == "words":
            (target / "loop").symlink_to("loop")
        data = kind.damage((source / kind.file).read_bytes(), rng)
        (target / kind.file).write_bytes(data)
        if (target / "manifest.json").is_file():
            shutil.copy(corpus / "pictures" / "picture.png", work)
            if kind.file != "manifest.json":
                _correct_hash(target, kind.file, data)
        return partial(_read, kind, target)

    return put


def _correct_hash(bundle: Path, file: str, data: bytes) -> None:
    """As whoever made the damage would: the manifest agrees with the damaged file."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    entries = {file: data}
    if file.endswith("main.mlirb"):
        digest = hashlib.sha256(data).digest()
        (bundle / file).with_name("main.hash").write_bytes(digest)
        entries[str(Path(file).with_name("main.hash"))] = digest
    for name, content in entries.items():
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"][name] = entry
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def _read(kind: Kind, folder: Path) -> int:
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        kind.read(folder)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception as error:
        code = getattr(error, "exit_code", None)  # of typer's Exit, which ends a command
        if code is None:
            raise
        return int(code)
    return 0
