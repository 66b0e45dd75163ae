"""Questions that share a picture get the answers they get alone, in every runtime, and the picture is encoded
once.
"""

from __future__ import annotations

import pytest
from PIL import Image

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.evaluate.ask import PictureContext, evaluate
from phantom_edge.evaluate.items import Item, Picture
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.probes import default_images
from phantom_edge.runtime.session import PromptSpec, Session
from phantom_edge.runtime.torch_backend import TorchBackend

QUESTIONS = ("What colour is it?", "How many are there, all in all?", "Where?")
TARGETS = {"onnx": "web", "executorch": "android", "coreml": "ios"}
TOKENS = 10


@pytest.fixture(scope="module")
def source(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module", params=["original", "folded", *TARGETS])
def session(request, source, tiny_dirs, tmp_path_factory) -> Session:
    if request.param == "original":
        return Session.of_source(source)
    if request.param == "folded":
        model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
        return Session(
            TorchBackend(model, 160, 32), source.tokenizer, PromptSpec.of_source(source, folded=True)
        )
    output = tmp_path_factory.mktemp("bundles") / request.param
    target = TARGETS[request.param]
    export(
        ExportRequest(target=target, model=str(tiny_dirs["qwen2"]), output=output, context=160, verify=False)
    )
    options = {"threads": 1} if request.param == "executorch" else {}
    return Session.of_bundle(Bundle.open(output), **options)


@pytest.fixture(scope="module")
def pictures(source) -> dict[str, Image.Image]:
    return default_images(source.config.tile_size)


def replies(context: PictureContext, questions) -> list[str]:
    return [context.ask(question, TOKENS).text for question in questions]


def test_together_as_alone(session, pictures):
    alone = [replies(PictureContext(session, pictures["wide"]), [question])[0] for question in QUESTIONS]
    order = (0, 1, 2, 0, 2)
    together = replies(PictureContext(session, pictures["wide"]), [QUESTIONS[n] for n in order])
    assert together == [alone[n] for n in order]
    assert len(set(alone)) > 1, "replies that are all the same would hide a context that was not cut back"


def test_the_picture_is_encoded_once_and_matters(session, pictures, monkeypatch):
    seen = []
    encode = session.backend.encode_image
    monkeypatch.setattr(
        session.backend, "encode_image", lambda pixels: [seen.append(len(pixels)), encode(pixels)][1]
    )
    wide = replies(PictureContext(session, pictures["wide"]), QUESTIONS)
    assert seen == [3]
    assert replies(PictureContext(session, pictures["square"]), QUESTIONS) != wide
    assert replies(PictureContext(session), QUESTIONS) != wide
    assert seen == [3, 1]


def test_a_full_context_ends_a_reply_and_a_long_prompt_is_refused_before_any_work(
    session, pictures, monkeypatch
):
    room = session.backend.context
    monkeypatch.setattr(session.backend, "context", 80)
    reply = PictureContext(session, pictures["square"]).ask("Why?", 1000)
    assert reply.stop in ("context", "end")
    monkeypatch.setattr(session.backend, "context", room)
    monkeypatch.setattr(
        session.backend, "encode_image", lambda pixels: pytest.fail("the picture was encoded")
    )
    with pytest.raises(InputError, match=f"the context holds {room}"):
        PictureContext(session, pictures["square"]).ask("word " * room, 5)


class TestEvaluate:
    @pytest.fixture
    def session(self, source) -> Session:
        return Session.of_source(source)

    def items(self, session, pictures) -> list[Item]:
        """Interleaved pictures; the answer is what another path to the same model says, spoiled for every
        third.
        """
        items = []
        for n, question in enumerate(QUESTIONS):
            for name, image in pictures.items():
                said = "".join(session.generate(question, image, max_tokens=TOKENS)).strip()
                answer = said if n else f"not {said}"
                picture = Picture(name, lambda size, image=image: image)
                items.append(
                    Item(f"{n}{name}", f"task {n}", question, answer, answer.__eq__, picture, TOKENS)
                )
        said = "".join(session.generate("Hello?", max_tokens=TOKENS)).strip()
        return [*items, Item("text", "text", "Hello?", said, said.__eq__, None, TOKENS)]

    def test_right_and_wrong_in_the_order_of_the_items(self, session, pictures):
        items, told = self.items(session, pictures), []
        result = evaluate(session, items, lambda *values: told.append(values))
        assert [record.id for record in result.records] == [item.id for item in items]
        assert [record.correct for record in result.records] == [False, False, True, True, True, True, True]
        assert (result.overall.right, result.overall.questions, result.pictures) == (5, 7, 2)
        assert {name: task.percent for name, task in result.tasks.items()} == {
            "task 0": 0,
            "task 1": 100,
            "task 2": 100,
            "text": 100,
        }
        assert result.mean_of_tasks == 75
        assert [done for done, _, _ in told] == list(range(1, 8))
        assert told[-1] == (7, 7, 5)
        assert all(0 < record.tokens <= TOKENS for record in result.records)

    def test_what_cannot_be_asked_is_wrong_and_said(self, session, pictures):
        items = self.items(session, pictures)
        odd = Item("odd", "text", "What is <image>?", "x", bool)
        result = evaluate(session, [*items, odd])
        assert [record.id for record in result.unanswered] == ["odd"]
        assert "<image>" in result.unanswered[0].error
        assert (result.overall.right, result.overall.questions) == (5, 8)
        with pytest.raises(InputError, match="no question could be asked: the question holds <image>"):
            evaluate(session, [odd])

    def test_after_a_picture_that_failed_half_way_the_next_question_begins_anew(
        self, session, pictures, monkeypatch
    ):
        prefill, calls = session.prefill, []

        def once(*arguments):
            calls.append(arguments)
            if len(calls) == 1:
                raise InputError("the runtime gave up")
            return prefill(*arguments)

        items = [item for item in self.items(session, pictures) if item.id.endswith("wide")]
        monkeypatch.setattr(session, "prefill", once)
        result = evaluate(session, items)
        assert [record.error for record in result.records] == ["the runtime gave up", "", ""]
        assert [record.correct for record in result.records] == [False, True, True]

    def test_drawn_pictures_get_the_models_tile_size(self, session, source):
        sizes = []

        def draw(size):
            sizes.append(size)
            return Image.new("RGB", (size, size), "red")

        evaluate(session, [Item(str(n), "t", "What?", "x", bool, Picture("p", draw), 2) for n in range(3)])
        assert sizes == [source.config.tile_size]
