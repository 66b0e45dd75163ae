"""A picture is known again: by content, bit for bit, to the model that saw it alone, in every runtime."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from executorch.exir import schema
from PIL import Image
from typer.testing import CliRunner

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.evaluate.ask import evaluate
from phantom_edge.evaluate.items import Item, Picture
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.file import pad, tables
from phantom_edge.export.executorch.readback import StoredProgram
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.pipeline.npu import NpuOptions
from phantom_edge.runtime import known_pictures, onnx_graphs
from phantom_edge.runtime.executorch_backend import ExecutorchBackend
from phantom_edge.runtime.known_pictures import KnownPictures
from phantom_edge.runtime.picture_folder import PictureFolder
from phantom_edge.runtime.pictures import PictureCache
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Chat, Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import default_images

QUESTIONS = ("What colour is it?", "How many are there, all in all?")
TOKENS = 6
KINDS = {
    "onnx": {"target": "web"},
    "executorch": {"target": "android"},
    "onnx int8": {"target": "desktop", "kv_cache": "int8"},
    "onnx fp16": {"target": "webgpu"},
    "coreml": {"target": "ios"},
    "coreai": {"target": "ios", "format": "coreai"},
    "executorch-coreml": {"target": "ios", "format": "executorch"},
    "qnn": {"target": "snapdragon", "npu": NpuOptions("all", "fp16")},
    "qnn, decoder on the CPU": {"target": "snapdragon", "npu": NpuOptions("vision", "fp16")},
}
LIBRARY = {"coreai": "coreai_torch", "qnn": "onnxruntime_qnn", "qnn, decoder on the CPU": "onnxruntime_qnn"}
QUICK = ("original", "folded", "onnx", "executorch")


@pytest.fixture(scope="module")
def source(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module")
def pictures(source) -> dict[str, Image.Image]:
    return default_images(source.config.tile_size)


@pytest.fixture(scope="module")
def bundle(tiny_dirs, tmp_path_factory):
    """Exports the tiny checkpoint, each kind once."""
    made: dict[str, Bundle] = {}

    def exported(kind: str) -> Bundle:
        if kind not in made:
            output, model = tmp_path_factory.mktemp("bundles") / "bundle", str(tiny_dirs["qwen2"])
            job = ExportRequest(model=model, output=output, context=160, verify=False, **KINDS[kind])
            made[kind] = export(job).bundle
        return made[kind]

    return exported


@pytest.fixture(
    scope="module",
    params=[*QUICK, *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind not in QUICK)],
)
def opened(request, source, bundle):
    """Opens a session of one kind with a picture cache."""
    kind = request.param
    if kind in LIBRARY:
        pytest.importorskip(LIBRARY[kind])

    def session(cache: PictureCache | None, **options) -> Session:
        if kind == "original":
            return Session.of_source(source, pictures=cache)
        if kind == "folded":
            model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
            backend = TorchBackend(model, 160, 32)
            known = cache and KnownPictures(cache, backend, "a folded model")
            return Session(
                backend, source.tokenizer, PromptSpec.of_source(source, folded=True), pictures=known
            )
        options |= {"threads": 1} if kind.startswith(("executorch", "onnx")) else {}
        options |= {"mode": "lifted"} if kind.startswith("qnn") else {}  # without the emulator's minutes
        return Session.of_bundle(bundle(kind), pictures=cache, **options)

    return session


class Noted:
    """Every call of a session's backend that computes: how many tiles, and the logits."""

    def __init__(self, session: Session, patch: pytest.MonkeyPatch):
        self.tiles: list[int] = []
        self.logits: list[np.ndarray] = []
        self.steps: list[int] = []
        backend = session.backend
        encode, decode = backend.encode_image, backend.decode

        def noting_tiles(pixels):
            self.tiles.append(len(pixels))
            return encode(pixels)

        def noting_logits(embeds, cache):
            self.logits.append(np.array(decode(embeds, cache)))
            self.steps.append(embeds.shape[1])
            return self.logits[-1]

        patch.setattr(backend, "encode_image", noting_tiles)
        patch.setattr(backend, "decode", noting_logits)


def ask(chat: Chat, question: str = QUESTIONS[0]) -> str:
    return "".join(chat.ask(question, max_tokens=TOKENS))


def two_turns(session: Session, picture) -> tuple[Chat, list[str]]:
    chat = session.chat(picture)
    return chat, [ask(chat, question) for question in QUESTIONS]


def before_picture(session: Session) -> int:
    """Tokens of a prompt in front of its picture."""
    template = session.spec.template
    return len(session.tokenizer.encode(template.user_start + template.image_start))


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_a_hit_gives_the_logits_of_a_miss_bit_for_bit(opened, pictures, place, tmp_path, monkeypatch):
    cache = PictureCache(folder=tmp_path / "seen", memory=1 << 30 if place == "memory" else 0)
    session = opened(cache)
    missed = Noted(session, monkeypatch)
    chat, texts = two_turns(session, pictures["wide"])
    assert (missed.tiles, chat.timing.picture) == ([3], "")
    monkeypatch.undo()
    known = Noted(session, monkeypatch)
    chat, again = two_turns(session, pictures["wide"].copy())
    assert (known.tiles, again) == ([], texts)
    for one, other in zip(known.logits[::-1], missed.logits[::-1], strict=False):
        assert np.array_equal(one, other)
    head = len(missed.logits) - len(known.logits)
    assert sum(missed.steps[:head]) == chat.session.spec.tokens_per_tile * 3 + before_picture(session)


def test_a_new_process_begins_with_what_the_disk_has(opened, pictures, tmp_path, monkeypatch):
    texts = two_turns(opened(PictureCache(folder=tmp_path / "seen")), pictures["square"])[1]
    session = opened(PictureCache(folder=tmp_path / "seen"))
    noted = Noted(session, monkeypatch)
    chat = session.chat(pictures["square"])
    assert ask(chat) == texts[0]
    assert (chat.timing.picture, noted.tiles) == ("disk", [])
    assert chat.timing.vision > 0
    assert ask(chat, QUESTIONS[1]) == texts[1]
    assert chat.timing.picture == ""  # of the second question, which needs no picture
    assert ask(session.chat(pictures["square"])) == texts[0]


def test_a_cache_is_not_filled_with_what_is_no_content_of_it(opened, pictures):
    session = opened(None)
    backend, cache = session.backend, session.backend.make_cache()
    session.prefill(session.tokenizer.encode(session.spec.template.render([("Why?", None)])), cache)
    sound = backend.snapshot(cache)
    positions = 1 if sound[0].shape[1] == cache.length else 2
    longer = [np.concatenate([array] * 20, axis=positions) for array in sound]
    for arrays in (
        [], sound[1:], [*sound, sound[0]], [*sound[:-1], sound[-1].astype(np.float64)],
        [sound[0][..., 1:], *sound[1:]], [sound[0][0], *sound[1:]], [*sound[:-1], np.float32(0)],
        [sound[0].take(range(1, cache.length), positions), *sound[1:]],
    ):  # fmt: skip
        with pytest.raises(InputError, match="compute it again"):
            backend.restore([np.asarray(array) for array in arrays])
    if cache.length * 20 > backend.context:
        with pytest.raises(InputError, match="compute it again"):
            backend.restore(longer)
    again = backend.restore(sound)
    assert again.length == cache.length
    for one, other in zip(backend.snapshot(again), sound, strict=True):
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype


def test_a_rewound_chat_and_a_history_use_what_is_known(opened, pictures, monkeypatch):
    session = opened(PictureCache())
    texts = two_turns(session, pictures["wide"])[1]
    noted = Noted(session, monkeypatch)
    later = session.chat(pictures["wide"], history=[(QUESTIONS[0], texts[0])])
    text = ask(later, QUESTIONS[1])
    assert (later.timing.picture, noted.tiles) == ("memory", [])
    later.rewind()
    assert ask(later, QUESTIONS[1]) == text
    assert later.timing.picture == ""
    plain = session.chat()
    ask(plain)
    assert (plain.timing.picture, noted.tiles) == ("", [])


class TestKeys:
    """What makes a picture another one, on ONNX Runtime."""

    def known(self, session: Session, picture) -> str:
        chat = session.chat(picture)
        ask(chat)
        return chat.timing.picture

    def test_one_value_of_one_pixel(self, bundle, pictures):
        session = Session.of_bundle(bundle("onnx"), pictures=PictureCache())
        picture = pictures["square"].resize((session.spec.tile_size,) * 2)
        other = picture.copy()
        red, green, blue = other.getpixel((3, 5))
        other.putpixel((3, 5), (red, green, blue ^ 1))
        assert [self.known(session, p) for p in (picture, other, picture)] == ["", "", "memory"]

    def test_a_picture_by_its_content_and_not_its_file(self, bundle, pictures, tmp_path):
        session = Session.of_bundle(bundle("onnx"), pictures=PictureCache())
        for name in ("a.png", "b.webp"):
            pictures["square"].save(tmp_path / name, lossless=True)
        chats = [session.chat(tmp_path / name) for name in ("a.png", "b.webp")]
        assert ask(chats[0]) == ask(chats[1])
        assert [chat.timing.picture for chat in chats] == ["", "memory"]

    def test_every_model_runtime_and_option_has_its_own(self, source, tiny_dirs, bundle, pictures, tmp_path):
        cache = PictureCache(folder=tmp_path / "seen")
        kept = source.trimmed(tuple(range(source.config.decoder.vocab_size)))
        sessions = [
            Session.of_source(source, pictures=cache),
            Session.of_source(Pretrained.open(tiny_dirs["phi3"]), pictures=cache),
            Session.of_source(source, tile_size=source.config.tile_size // 2, pictures=cache),
            Session.of_source(kept, pictures=cache),
            Session.of_bundle(bundle("onnx"), pictures=cache),
            Session.of_bundle(bundle("onnx"), pictures=cache, mode="lifted"),
            Session.of_bundle(bundle("executorch"), pictures=cache),
        ]
        for expected in ("", "memory"):
            for session in sessions:
                chat = session.chat(pictures["square"])
                ask(chat)
                assert chat.timing.picture == expected
        assert len(list((tmp_path / "seen").glob("*.safetensors"))) == len(sessions)

    def test_a_bundle_with_another_byte_is_another_model(self, bundle):
        one = bundle("onnx")
        files = dict(one.manifest.files)
        name = sorted(files)[0]
        files[name] = replace(files[name], sha256=files[name].sha256[::-1])
        other = replace(one, manifest=replace(one.manifest, files=files))
        assert other.digest != one.digest == Bundle.open(one.folder).digest

    def test_another_version_of_the_runtime_is_another(self, bundle, monkeypatch):
        backend = Session.of_bundle(bundle("onnx")).backend
        pixels = np.zeros((1, 3, 4, 4), np.float32)

        def key() -> str:
            return KnownPictures(PictureCache(), backend, "digest").key(pixels, [1, 2])

        first = key()
        assert key() == first
        monkeypatch.setattr(known_pictures, "runtime_version", lambda name: "1.0")
        assert key() != first


@pytest.mark.parametrize("kind", ["onnx", "executorch"])
def test_a_known_picture_needs_no_vision_encoder_in_memory(bundle, pictures, kind, tmp_path):
    def answer(cache: PictureCache) -> tuple[str, bool]:
        session = Session.of_bundle(bundle(kind), pictures=cache, keep_vision=False, threads=1)
        loaded = session.backend._sessions if kind == "onnx" else session.backend._methods
        text = ask(session.chat(pictures["wide"]))
        return text, "vision_encoder" in loaded

    first = answer(PictureCache(folder=tmp_path / "seen"))
    again = answer(PictureCache(folder=tmp_path / "seen"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_graphs.OnnxGraphs, "trim", lambda self: pytest.fail("it was never loaded"))
        patch.setattr(ExecutorchBackend, "trim", lambda self: pytest.fail("it was never loaded"))
        assert answer(PictureCache(folder=tmp_path / "seen")) == again == (first[0], False)


class Sealed:
    """A backend whose cache cannot be read: nothing but what every one has."""

    def __init__(self, backend):
        self.name, self.context, self.chunk = backend.name, backend.context, backend.chunk
        self.encode_image, self.embed = backend.encode_image, backend.embed
        self.make_cache, self.decode = backend.make_cache, backend.decode


def without_names(folder: Path) -> None:
    """Make a program one of an earlier export, whose states had no names."""
    path = folder / FILE
    stored = StoredProgram.open(path)
    for value in stored.plan("text_decoder").values:
        if isinstance(value.val, schema.Tensor):
            value.val.extra_tensor_info = None
    segments = path.read_bytes()[stored.base :]
    with path.open("wb") as file:
        file.write(tables(stored.program, stored.size - stored.base))
        pad(file)
        file.write(segments)


@pytest.mark.parametrize("kind", ["sealed", "executorch"])
def test_where_a_cache_cannot_be_read_the_image_tokens_are_known(
    bundle, source, pictures, kind, tmp_path, monkeypatch
):
    if kind == "executorch":
        old = shutil.copytree(bundle("executorch").folder, tmp_path / "old")
        without_names(old)
        backend = ExecutorchBackend(old, context=160, chunk=bundle(kind).manifest.chunk, threads=1)
        spec = PromptSpec.of_bundle(bundle(kind))
    else:
        backend = Sealed(Session.of_source(source).backend)
        spec = PromptSpec.of_source(source, folded=False)
    known = KnownPictures(PictureCache(folder=tmp_path / "seen", memory=0), backend, "a digest")
    session = Session(backend, source.tokenizer, spec, pictures=known)
    missed = Noted(session, monkeypatch)
    texts = two_turns(session, pictures["wide"])[1]
    monkeypatch.undo()
    again = Noted(session, monkeypatch)
    chat = session.chat(pictures["wide"])
    assert [ask(chat)] == texts[:1]
    assert (chat.timing.picture, again.tiles) == ("disk", [])
    assert np.array_equal(again.logits[0], missed.logits[0])


def test_what_was_kept_of_another_form_is_computed_again(bundle, pictures, tmp_path):
    """A file with a sound digest, as another program could make it."""
    session = Session.of_bundle(bundle("onnx"), pictures=PictureCache(memory=0, folder=tmp_path / "seen"))
    text = ask(session.chat(pictures["square"]))
    [path] = (tmp_path / "seen").glob("*.safetensors")
    folder = PictureFolder(tmp_path / "seen", 1 << 30)
    sound = folder.read(path.stem)
    tokens, cache = sound["tokens"], sound["cache.0000"]
    for damaged in (
        {"tokens": tokens[:-1]},
        {"tokens": tokens.astype(np.float16)},
        {"tokens": tokens[:, 1:]},
        {"tokens": tokens, "cache.0000": cache},
        sound | {"cache.0000": cache[:, :, 1:]},
        {name: array[:, :, 1:] if name != "tokens" else array for name, array in sound.items()},
        sound | {"cache.0000": cache.astype(np.float64)},
        sound | {"cache.0000": np.float32(1)},
        {name: array for name, array in sound.items() if name != "tokens"},
        sound | {"another": tokens},
    ):
        folder.write(path.stem, {name: np.asarray(array) for name, array in damaged.items()})
        chat = session.chat(pictures["square"])
        assert ask(chat) == text
        assert chat.timing.picture == ""
        assert folder.read(path.stem).keys() == sound.keys()


def items(pictures) -> list[Item]:
    def loading(image):
        return lambda size: image

    return [
        Item(f"{name} {n}", "task", question, "", bool, Picture(name, loading(image)), TOKENS)
        for n, question in enumerate(QUESTIONS)
        for name, image in pictures.items()
    ]


def test_an_evaluation_is_the_same_with_and_without(opened, pictures, tmp_path, monkeypatch):
    plain = evaluate(opened(None), items(pictures))
    for tiles in ([3, 1], []):
        session = opened(PictureCache(folder=tmp_path / "seen"))
        noted = Noted(session, monkeypatch)
        assert evaluate(session, items(pictures)).records == plain.records
        assert sorted(noted.tiles, reverse=True) == tiles
        monkeypatch.undo()


class TestCommands:
    def run(self, *words) -> str:
        done = CliRunner().invoke(app, [*map(str, words)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def test_run(self, bundle, pictures, tmp_path):
        pictures["wide"].save(tmp_path / "photo.png")
        words = ("run", "-m", bundle("onnx").folder, "-i", tmp_path / "photo.png", "--max-tokens", "4")
        words += ("-p", QUESTIONS[0], "--json", "--cache", tmp_path / "seen")
        [first], [again] = json.loads(self.run(*words)), json.loads(self.run(*words))
        assert (first["picture"], again["picture"]) == ("", "disk")
        assert again["answer"] == first["answer"]
        shutil.rmtree(tmp_path / "seen")  # as the manual says
        assert json.loads(self.run(*words))[0]["picture"] == ""

    def test_eval(self, bundle, tmp_path, monkeypatch):
        words = ("eval", "-b", bundle("onnx").folder, "--tasks", "colour", "--samples", "2", "--json")
        words += ("--max-tokens", "2", "--cache", tmp_path / "seen", "--records")
        self.run(*words, tmp_path / "first.jsonl")
        patch = lambda *call: pytest.fail("a picture was encoded")  # noqa: E731
        monkeypatch.setattr(onnx_graphs.OnnxGraphs, "encode_image", patch)
        self.run(*words, tmp_path / "again.jsonl")
        assert (tmp_path / "first.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()

    def test_a_folder_of_other_things_is_refused(self, bundle, tmp_path):
        (tmp_path / "letter.txt").write_text("mine")
        for folder in (tmp_path, bundle("onnx").folder / "seen", tmp_path / "letter.txt"):
            words = ["run", "-m", str(bundle("onnx").folder), "-p", "?", "--cache", str(folder)]
            done = CliRunner().invoke(app, words)
            assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
        assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
