"""The code of the documentation in the stock npm package, natively in Node and as its browser build."""

from __future__ import annotations

import json
from pathlib import Path

import npm
import pytest
from PIL import Image
from stock_bundles import WEBGPU, Bundles, Question, answer, documented, questions, tiles

from phantom_edge.records import to_json
from phantom_edge.runtime.session import Session
from phantom_edge.targets import FORMATS
from phantom_edge.text.tokenizer import Tokenizer

pytestmark = pytest.mark.stock
TOKENS = 12
ROUNDED = 1.01 / 255  # Pillow sums in fixed point: one step of 8 bits where a value lies on a half
CHAT = [("What is it?", "A cube."), ("Why so?", None)]
"""A conversation, encoded as a whole: a tokenizer may treat the beginning of a text differently."""


def _messages(picture: bool) -> list[dict]:
    """The conversation as transformers takes it."""
    (question, reply), (next_question, _) = CHAT
    content = [{"type": "image"}, {"type": "text", "text": question}] if picture else question
    return [
        {"role": "user", "content": content},
        {"role": "assistant", "content": reply},
        {"role": "user", "content": next_question},
    ]


@pytest.fixture(scope="module")
def packages() -> None:
    npm.install()


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("js"))


class Job:
    """Questions on bundles below one root, to be run by one Node process."""

    def __init__(self, root: Path, folder: Path):
        self.root, self.folder = root, folder
        self.content: dict = {"root": str(root), "bundles": [], "pictures": []}
        self.expected: dict[str, list] = {}
        self.chats: dict[str, list[list[int]]] = {}

    def add(self, bundle, questions: list[Question], tokens: int = TOKENS, **options) -> None:
        name, session = bundle.folder.name, Session.of_bundle(bundle, threads=1)
        self.expected[name] = [answer(session, bundle, question, tokens) for question in questions]
        made = [
            {"text": q.text, "pixels": q.image and self._pixels(bundle, q.image), "tokens": tokens}
            for q in questions
        ]
        encode, render = session.tokenizer.encode, session.spec.template.render
        self.chats[name] = [encode(render(CHAT, rows)) for rows in (None, 1)]
        chats = [_messages(picture) for picture in (False, True)]
        self.content["bundles"].append({"name": name, "questions": made, "options": options, "chats": chats})

    def picture(self, bundle, image: Path, text: str) -> None:
        policy = to_json(bundle.manifest.tiles)
        place = {"image": str(image), "tiles": policy, "bundle": bundle.folder.name, "text": text}
        self.content["pictures"].append(place | self._pixels(bundle, image))

    def run(self, build: str) -> dict:
        module = self.folder / "phantom.mjs"
        library = (npm.LIBRARY / npm.BUILDS[build]).as_uri()
        # What an import map does in a page.
        module.write_text(documented("js phantom.mjs").replace("'@huggingface/transformers'", f"'{library}'"))
        return npm.run(f"{build}.mjs", build, self.content | {"module": module.as_uri()}, self.folder)

    def check(self, results: dict) -> None:
        for name, expected in self.expected.items():
            for theirs, ours in zip(results["answers"][name], expected, strict=True):
                assert theirs["prompt"] == ours.prompt
                assert theirs["ids"] == ours.ids
                if "\ufffd" not in ours.text:
                    assert theirs["text"] == ours.text
            # Else pictures and prompts would not matter.
            assert len({tuple(answer.ids) for answer in expected}) > 1
        assert results["chats"] == self.chats

    def _pixels(self, bundle, image: Path) -> dict:
        array, file = tiles(bundle, image), self.folder / f"{bundle.folder.name}-{image.stem}.f32"
        array.tofile(file)
        return {"file": str(file), "shape": list(array.shape)}


def test_node_answers_as_our_session_does(packages, bundles, checkpoint_dirs, tiny_dirs, tmp_path):
    """int8 and int4, a SentencePiece tokenizer, a cache of uneven widths."""
    other = next(path for name, path in checkpoint_dirs.items() if name in ("internlm2", "phantom-1.8b"))
    job = Job(bundles.root, tmp_path)
    web, uneven = bundles("web"), bundles("web", tiny_dirs["internlm2"], fold="auto", quant="fp16")
    assert len(set(uneven.manifest.shape.cache_widths)) > 1
    exact = {"extra": {"session": {"x64quantprecision": "1"}}}  # as our backend has it
    for bundle in (web, bundles("desktop"), bundles("web", other, quant="fp16"), uneven):
        job.add(bundle, questions(bundle, tmp_path), session_options=exact)
    pictures = [question.image for question in questions(web, tmp_path)[:2]]
    prompt = web.manifest.prompt
    text = prompt.user_start + prompt.image_start + prompt.image_context + prompt.image_end
    Image.open(pictures[1]).resize((391, 277)).save(tmp_path / "odd.png")
    for image in (*pictures, tmp_path / "odd.png"):
        job.picture(web, image, text)
    results = job.run("native")
    job.check(results)
    assert {config["dtype"] for config in results["types"][web.folder.name]} == {"q8"}
    one, several, odd = results["pictures"]
    assert one == {"shape": [1, *several["shape"][1:]], "worst": [0]}
    assert several["worst"][:2] == [0, 0]
    assert len(odd["worst"]) == odd["shape"][0] > 3
    assert max(*several["worst"], *odd["worst"]) < ROUNDED
    (processed,) = results["processed"]
    assert processed["shape"] == one["shape"]
    assert processed["worst"][0] < 1e-6  # it multiplies by 1 / 255
    rows = prompt.image_context * web.manifest.tiles.tokens
    tokenizer = Tokenizer.from_file(web.folder / "tokenizer.json")
    assert processed["ids"] == tokenizer.encode(text.replace(prompt.image_context, rows))


def test_half_precision_made_for_webgpu(packages, bundles, tmp_path, monkeypatch):
    """On the CPU: fp16 in the decoder and its cache, fp32 at the borders, as the package has them."""
    monkeypatch.setitem(FORMATS, WEBGPU.name, WEBGPU)
    bundle = bundles("web", format=WEBGPU.name, quant="int4")
    job = Job(bundles.root, tmp_path)
    job.add(bundle, questions(bundle, tmp_path), device="cpu")
    results = job.run("native")
    job.check(results)
    assert {config["dtype"] for config in results["types"][bundle.folder.name]} == {"q4f16"}
    config = json.loads((bundle.folder / "config.json").read_text())
    assert config["transformers.js_config"]["device"] == "webgpu"


def test_the_browser_build_answers_as_our_session_does(packages, bundles, tmp_path):
    bundle = bundles("web")
    job = Job(bundles.root, tmp_path)
    job.add(bundle, questions(bundle, tmp_path), tokens=6)
    results = job.run("browser")
    job.check(results)
    assert {(c["dtype"], c["device"]) for c in results["types"][bundle.folder.name]} == {("q8", "wasm")}
