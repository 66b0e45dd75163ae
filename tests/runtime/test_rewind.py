"""Questions on one picture, which is encoded once, get the answers they get alone, in every runtime."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Chat, Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import default_images

pytestmark = pytest.mark.slow

QUESTIONS = ("What colour is it?", "How many are there, all in all?", "Where?")
FORMATS = {"onnx": "web", "executorch": "android", "coreml": "ios", "coreai": "ios"}
TOKENS = 10


@pytest.fixture(scope="module")
def source(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module", params=["original", "folded", *FORMATS])
def session(request, source, tiny_dirs, tmp_path_factory) -> Session:
    if request.param == "original":
        return Session.of_source(source)
    if request.param == "folded":
        model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
        spec = PromptSpec.of_source(source, folded=True)
        return Session(TorchBackend(model, 160, 32), source.tokenizer, spec)
    if request.param == "coreai":
        pytest.importorskip("coreai_torch")
    output = tmp_path_factory.mktemp("bundles") / request.param
    job = ExportRequest(
        target=FORMATS[request.param],
        format=request.param,
        model=str(tiny_dirs["qwen2"]),
        output=output,
        context=160,
        verify=False,
    )
    export(job)
    options = {"threads": 1} if request.param == "executorch" else {}
    return Session.of_bundle(Bundle.open(output), **options)


@pytest.fixture(scope="module")
def pictures(source) -> dict[str, Image.Image]:
    return default_images(source.config.tile_size)


def reply(chat: Chat, question: str, max_tokens: int = TOKENS) -> str:
    return "".join(chat.ask(question, max_tokens=max_tokens))


def replies(chat: Chat, questions) -> list[str]:
    """Each as a first question."""
    answers = []
    for question in questions:
        chat.rewind()
        answers.append(reply(chat, question))
    return answers


def test_together_as_alone(session, pictures):
    alone = [replies(session.chat(pictures["wide"]), [question])[0] for question in QUESTIONS]
    order = (0, 1, 2, 0, 2)
    together = replies(session.chat(pictures["wide"]), [QUESTIONS[n] for n in order])
    assert together == [alone[n] for n in order]
    assert len(set(alone)) > 1, "replies that are all the same would hide a context that was not cut back"


def test_after_a_rewind_all_is_as_in_a_new_chat(session, pictures, monkeypatch):
    """Ids, logits of every call and a second turn, after turns, an answer that was left and a failure."""
    calls, decode = [], session.backend.decode

    def noting(embeddings, cache):
        calls.append(np.array(decode(embeddings, cache)))
        return calls[-1]

    def two_turns(chat: Chat) -> tuple[list[str], list[int], list[np.ndarray]]:
        chat.rewind()
        calls.clear()
        texts = [reply(chat, QUESTIONS[0]), reply(chat, QUESTIONS[1])]
        return texts, list(chat.ids), list(calls)

    monkeypatch.setattr(session.backend, "decode", noting)
    texts, ids, logits = two_turns(session.chat(pictures["square"]))
    chat = session.chat(pictures["square"])
    chat.rewind()
    reply(chat, QUESTIONS[2])
    reply(chat, QUESTIONS[1])
    chat.rewind()
    next(chat.ask(QUESTIONS[1]))  # and no more of it
    chat.rewind()
    question = chat.ask(QUESTIONS[2])
    monkeypatch.setattr(session.backend, "decode", lambda *call: [decode(*call), pytest.fail("no room")])
    with pytest.raises(pytest.fail.Exception, match="no room"):  # after the cache was written to
        next(question)
    monkeypatch.setattr(session.backend, "decode", noting)
    texts_again, ids_again, logits_again = two_turns(chat)
    assert (texts_again, ids_again) == (texts, ids)
    assert chat.timing.vision == 0
    # The picture's own calls come first, in the new chat only.
    assert 0 < len(logits_again) < len(logits)
    for again, first in zip(logits_again[::-1], logits[::-1], strict=False):
        assert np.array_equal(again, first)


def test_a_rewound_chat_answers_as_one_that_never_was(source, pictures):
    """In fp32, where nothing depends on how a prompt is cut into calls."""
    session = Session.of_source(source)
    for question in QUESTIONS:
        [text] = replies(session.chat(pictures["wide"]), [question])
        assert text == reply(session.chat(pictures["wide"]), question)


def test_without_a_picture_nothing_is_kept(session):
    chat = session.chat()
    assert replies(chat, QUESTIONS) == [reply(session.chat(), question) for question in QUESTIONS]
    chat.rewind()
    assert chat.ids == []


def test_the_picture_is_encoded_once_and_matters(session, pictures, monkeypatch):
    tiles, encode = [], session.backend.encode_image
    monkeypatch.setattr(
        session.backend, "encode_image", lambda pixels: [tiles.append(len(pixels)), encode(pixels)][1]
    )
    wide = replies(session.chat(pictures["wide"]), QUESTIONS)
    assert tiles == [3]
    assert replies(session.chat(pictures["square"]), QUESTIONS) != wide
    assert replies(session.chat(), QUESTIONS) != wide
    assert tiles == [3, 1]


def test_a_full_context_ends_a_reply_and_a_long_prompt_is_refused_before_any_work(
    session, pictures, monkeypatch
):
    room = session.backend.context
    monkeypatch.setattr(session.backend, "context", 80)
    chat = session.chat(pictures["square"])
    chat.rewind()
    reply(chat, "Why?", 1000)
    assert chat.timing.stop in ("context", "end")
    monkeypatch.setattr(session.backend, "context", room)
    monkeypatch.setattr(
        session.backend, "encode_image", lambda pixels: pytest.fail("the picture was encoded")
    )
    chat = session.chat(pictures["square"])
    chat.rewind()
    with pytest.raises(InputError, match=f"the context holds {room}"):
        chat.ask("word " * room)
