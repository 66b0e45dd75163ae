"""The code of the documentation in the stock onnxruntime-genai, against our session on the same bundle."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from stock_bundles import Bundles, Question, answer, documented, questions

from phantom_edge.runtime.session import Session

pytestmark = pytest.mark.stock
og = pytest.importorskip("onnxruntime_genai", reason="needs onnxruntime-genai")

TOKENS = 16


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("genai"))


@pytest.fixture(scope="module")
def code():
    return compile(documented("python genai"), "docs/runtimes.md", "exec")


def run(code, bundle, question: Question, tokens: int = TOKENS) -> dict:
    """The names of the documentation's code after it has run."""
    names = {
        "bundle": str(bundle.folder),
        "question": question.text,
        "photo": question.image,
        "max_new_tokens": tokens,
    }
    exec(code, names)
    return names


def integers(ids) -> list[int]:
    return [int(index) for index in ids]


@pytest.mark.parametrize("target", ["desktop", "web"])
def test_nano_answers_as_in_our_session(bundles, code, target, tmp_path):
    check(bundles(target), code, tmp_path)


def test_other_checkpoints_answer_as_in_our_session(bundles, code, checkpoint_dirs, tmp_path):
    """One with a SentencePiece tokenizer."""
    model = next(path for name, path in checkpoint_dirs.items() if name in ("internlm2", "phantom-1.8b"))
    check(bundles("desktop", model, quant="fp16"), code, tmp_path)


def test_a_cache_of_uneven_widths(bundles, code, tiny_dirs, tmp_path):
    bundle = bundles("desktop", tiny_dirs["internlm2"], fold="auto", quant="fp16")
    assert len(set(bundle.manifest.shape.cache_widths)) > 1
    check(bundle, code, tmp_path)


@pytest.mark.parametrize("family", ["qwen2", "internlm2"])  # byte-level, and made from SentencePiece
def test_prompts_have_the_ids_of_our_session(bundles, code, tiny_dirs, family, tmp_path):
    bundle = bundles("desktop", tiny_dirs[family], quant="fp16")
    session = Session.of_bundle(bundle, threads=1)
    template, texts = (
        session.spec.template,
        ("Is it red?", " leading", "\nline\n", "的 çà 😀", "▁", "Why? " * 30),
    )
    for image in (None, questions(bundle, tmp_path)[1].image):
        for text in texts:
            names = run(code, bundle, Question(text, image), tokens=1)
            expected = session.chat(image)._prompt(text)
            assert integers(names["generator"].get_sequence(0))[: len(expected)] == expected
            again = names["encode"](bundle.folder, template.render_next(text))
            assert again == session.tokenizer.encode(template.render_next(text))


def test_a_second_question_is_answered_as_in_our_session(bundles, code, tmp_path):
    bundle = bundles("desktop")
    session, image = Session.of_bundle(bundle, threads=1), questions(bundle, tmp_path)[0].image
    chat, turns = session.chat(image), ("What colour is it?", "How many are there?", "Is it red?")
    names = run(code, bundle, Question(turns[0], image), tokens=200)
    for number, question in enumerate(turns):
        if number:
            names["ask_again"](names["generator"], bundle.folder, question)
        list(chat.ask(question))
        assert chat.timing.stop == "end"
        assert integers(names["generator"].get_sequence(0)) == [*chat.ids, *chat._pending]


def check(bundle, code, folder) -> None:
    session, answers = Session.of_bundle(bundle, threads=1), set()
    for question in questions(bundle, folder):
        expected, names = answer(session, bundle, question, TOKENS), run(code, bundle, question)
        ended = expected.ids[-1] in session.spec.end_ids  # the package leaves the end token out
        assert integers(names["ids"]) == (expected.ids[:-1] if ended else expected.ids), question
        if "\ufffd" not in expected.text:
            assert names["answer"] == expected.text
        answers.add(tuple(expected.ids))
    assert len(answers) > 1  # else the pictures, or the prompts, would not matter


def test_the_picture_reaches_the_decoder(bundles, code, tmp_path):
    """The features that the package puts into place are those of the tiles, in order."""
    bundle = bundles("desktop")
    session = Session.of_bundle(bundle, threads=1)
    question = questions(bundle, tmp_path)[1]
    features = session.encode_image(question.image)
    expected = answer(session, bundle, question, 1)
    embedding = ort.InferenceSession(bundle.folder / "onnx" / "genai_embedding.onnx")
    ids = np.array([expected.prompt], dtype=np.int64)
    (embeds,) = embedding.run(None, {"input_ids": ids, "image_features": features})
    places = ids[0] == session.spec.image_token_id
    assert np.array_equal(embeds[0, places], features)
    assert np.array_equal(embeds[0, ~places], session.backend.embed(ids)[0, ~places])


def test_the_config_names_files_inputs_and_outputs_that_there_are(bundles):
    bundle = bundles("desktop")
    model = json.loads((bundle.folder / "genai_config.json").read_text())["model"]
    for part in ("vision", "embedding", "decoder"):
        graph = onnx.load(bundle.folder / model[part]["filename"], load_external_data=False).graph
        for side, values in (("inputs", graph.input), ("outputs", graph.output)):
            layers = range(model["decoder"]["num_hidden_layers"])
            named = {
                name % n if "%d" in name else name for name in model[part][side].values() for n in layers
            }
            assert named == {value.name for value in values}, (part, side)
    assert model["eos_token_id"] == list(bundle.manifest.ids.end)
    assert model["context_length"] == bundle.manifest.context


def test_the_added_graphs_hold_no_weights_of_their_own(bundles):
    folder = bundles("desktop").folder / "onnx"
    data = {path.name for path in folder.glob("*.onnx_data")}
    assert data == {
        f"{stem}_q4.onnx_data" for stem in ("vision_encoder", "embed_tokens", "decoder_model_merged")
    }


@pytest.mark.parametrize(("target", "also"), [("desktop", {"embed_tokens"}), ("web", set())])
def test_a_tied_head_is_read_from_the_embeddings_file_where_one_runtime_opens_both(bundles, target, also):
    """A browser fetches each graph's data by the graph's own name, so there it is stored twice."""
    folder = bundles(target).folder / "onnx"
    (decoder,) = folder.glob("decoder_model_merged*.onnx")
    files = {
        entry.value.partition("_q")[0]
        for initializer in onnx.load(decoder, load_external_data=False).graph.initializer
        for entry in initializer.external_data
        if entry.key == "location"
    }
    assert files == {"decoder_model_merged"} | also
