"""Sessions in torch: the same text however the prompt reaches the cache, and everything refused that would
not fit.
"""

import shutil

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import CheckError, InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.sampling import Sampling
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.runtime.traces import default_images

QUESTION = "What colour is it?"


@pytest.fixture(scope="module", params=["qwen2", "internlm2", "phi3"])
def source(request, tiny_dirs):
    return Pretrained.open(tiny_dirs[request.param])


def folded(source, context=512, chunk=64, max_tiles=6) -> Session:
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    spec = PromptSpec.of_source(source, folded=True, max_tiles=max_tiles)
    return Session(TorchBackend(model, context, chunk), source.tokenizer, spec)


@pytest.fixture(scope="module")
def picture(source):
    return default_images(source.config.tile_size)["wide"]


def answer(session, question=QUESTION, image=None, **options):
    return "".join(session.generate(question, image, max_tokens=12, **options))


def test_chunks_do_not_change_the_answer(source, picture):
    wanted = answer(Session.of_source(source), image=picture)
    assert wanted
    assert [answer(folded(source, chunk=n), image=picture) for n in (1, 7, 512)] == [wanted] * 3


def test_a_second_turn_continues_the_first(source, picture):
    """Two turns on one cache give what one prompt with both turns gives."""
    session = folded(source)
    chat = session.chat(picture)
    first = "".join(chat.ask(QUESTION, max_tokens=5))
    assert chat.timing.stop in ("length", "end")
    held = list(chat.ids)
    second = "".join(chat.ask("And how many?", max_tokens=8))
    assert chat.timing.vision == 0
    assert chat.ids[: len(held)] == held
    again = session.encode_image(picture)
    cache = session.backend.make_cache()
    logits = session.prefill(chat.ids, cache, again)
    fresh = folded(source, chunk=512)
    assert np.abs(logits - fresh.prefill(chat.ids, fresh.backend.make_cache(), again)).max() < 1e-4
    assert first
    assert second is not None


def test_the_image_matters(source, picture):
    session = folded(source)
    tokens = session.encode_image(picture)
    dark = session.encode_image(Image.new("RGB", picture.size))
    assert tokens.shape == (3 * source.config.tokens_per_tile, source.config.decoder.hidden_size)
    assert np.abs(tokens - dark).max() > 0.1


def test_an_end_token_ends_the_answer(source):
    session = folded(source)
    chat = session.chat()
    list(chat.ask(QUESTION, max_tokens=3))
    ids = session.tokenizer.encode(session.spec.template.render([(QUESTION, None)]))
    ends = int(session.prefill(ids, session.backend.make_cache()).argmax())
    ended = Session(
        session.backend, session.tokenizer, PromptSpec(**{**vars(session.spec), "end_ids": (ends,)})
    )
    chat = ended.chat()
    assert "".join(chat.ask(QUESTION)) == ""
    assert (chat.timing.stop, chat.timing.new_tokens) == ("end", 0)


def test_a_stop_string_ends_the_answer_before_it(source):
    whole = answer(folded(source))
    stop = whole[3:5]
    chat = folded(source).chat()
    assert "".join(chat.ask(QUESTION, max_tokens=12, stop=(stop,))) == whole[: whole.index(stop)]
    assert chat.timing.stop == "stop"


def test_a_full_context_ends_the_answer(source):
    session = folded(source, context=40)
    chat = session.chat()
    list(chat.ask("a?", max_tokens=100))
    assert chat.timing.stop == "context"
    with pytest.raises(InputError, match="the context holds 40"):
        chat.ask("b?")


def test_a_prompt_that_does_not_fit_is_refused_before_any_work(source, picture, monkeypatch):
    session = folded(source, context=30)
    monkeypatch.setattr(session.backend, "encode_image", lambda pixels: pytest.fail("the image was encoded"))
    with pytest.raises(InputError, match=r"needs \d+ tokens, the context holds 30"):
        session.generate(QUESTION, picture)


def test_a_prompt_with_another_first_token_is_refused(source):
    session = folded(source)
    with pytest.raises(InputError, match="was folded for prompts that begin with"):
        session.prefill([source.first_id + 1, 7], session.backend.make_cache())
    original = Session.of_source(source)
    assert original.prefill([source.first_id + 1, 7], original.backend.make_cache()).shape


def test_image_tokens_must_be_as_many_as_the_image_has(source):
    session = folded(source)
    with pytest.raises(InputError, match="the prompt has 1 image tokens, the image 0"):
        session.prefill([source.first_id, source.config.image_token_id], session.backend.make_cache())


@pytest.mark.parametrize("options", [{"max_tokens": 0}, {"question": "<IMG_CONTEXT>"}])
def test_bad_questions_are_refused(source, options):
    with pytest.raises(InputError):
        folded(source).generate(**{"question": QUESTION, **options})


def test_max_tiles_limits_the_tokens(source, picture):
    assert folded(source, max_tiles=1).image_tokens(picture) == source.config.tokens_per_tile


def test_sampling_is_repeatable_and_follows_the_probabilities():
    logits = np.log(np.array([0.6, 0.3, 0.1]))
    choose = Sampling(temperature=1.0, seed=3).chooser()
    counts = np.bincount([choose(logits) for _ in range(4000)], minlength=3) / 4000
    assert counts == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    nucleus = Sampling(temperature=1.0, top_p=0.85, seed=3).chooser()
    assert {nucleus(logits) for _ in range(500)} == {0, 1}
    cold = Sampling(temperature=0.05, seed=3).chooser()
    assert {cold(logits) for _ in range(200)} == {0}
    one, two = (Sampling(temperature=1.0, seed=9).chooser() for _ in range(2))
    assert [one(logits) for _ in range(50)] == [two(logits) for _ in range(50)]


@pytest.mark.parametrize(
    "options", [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0}, {"top_p": 1.5}]
)
def test_senseless_sampling_is_refused(options):
    with pytest.raises(InputError):
        Sampling(**options)


def test_logits_that_are_not_finite_end_the_answer_with_a_reason(source):
    session = folded(source)
    compute = session.backend.decode
    calls, values = [], [0.0]

    def overflowing(embeddings, cache):
        calls.append(cache.length)
        logits = np.array(compute(embeddings, cache))
        if len(calls) == 2:
            logits[5] = values[-1]
        return logits

    session.backend.decode = overflowing
    for value in (np.nan, np.inf, -np.inf):
        values.append(value)
        for sampling in (Sampling(), Sampling(0.7, seed=1)):
            calls.clear()
            with pytest.raises(CheckError, match="the model's logits are not finite") as caught:
                list(session.generate(QUESTION, max_tokens=5, sampling=sampling))
            assert caught.value.exit_code == 1
            assert len(calls) == 2


def test_a_checkpoint_with_a_value_that_is_not_finite_is_refused_by_every_way_in(source, tmp_path):
    folder = shutil.copytree(source.checkpoint.folder, tmp_path / "broken")
    tensors = load_file(folder / "model.safetensors")
    key = next(key for key in tensors if key.endswith("model.norm.weight"))
    tensors[key][0] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    for use in (
        lambda: answer(Session.open(folder)),
        lambda: folded(Pretrained.open(folder)),
        lambda: export(ExportRequest("desktop", str(folder), output=tmp_path / "bundle", verify=False)),
    ):
        with pytest.raises(InputError, match=f"{key} holds a value that is not finite"):
            use()
    assert not (tmp_path / "bundle").exists()
