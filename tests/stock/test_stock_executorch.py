"""The code of the documentation in ExecuTorch's own multimodal runner, against our session on the same
bundle.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from stock_bundles import QUESTIONS, Bundles, Question, answer, documented, pictures

from phantom_edge.runtime.session import Session

TOKENS, ENOUGH = 16, 4
CANDIDATES = (
    *QUESTIONS,
    *(f"What is number {n}?" for n in range(40)),
)  # random weights often say parts of characters


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="module")
def stock() -> dict:
    """The functions of the documentation."""
    names: dict = {}
    exec(compile(documented("python executorch"), "docs/runtimes.md", "exec"), names)
    return names


def whole_characters(session: Session, ids: list[int]) -> list[int]:
    """Ids up to the first whose bytes are not whole characters: the runner's Python binding can pass no
    others.
    """
    kept = []
    for index in ids:
        if index in session.spec.end_ids or "\ufffd" in session.tokenizer.decode([index]):
            break
        kept.append(index)
    return kept


def askable(session: Session, bundle, image: Path | None) -> tuple[Question, list[int]]:
    """A question whose answer begins with enough ids of whole characters, and these."""
    for text in CANDIDATES:
        question = Question(text, image)
        ids = whole_characters(session, answer(session, bundle, question, TOKENS).ids)
        if len(ids) >= ENOUGH:
            return question, ids
    pytest.fail(f"no question about {image} has an answer that can be compared")


def check(bundle, stock, folder) -> None:
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    made, seen = pictures(bundle, folder), set()
    for image in (made["square"], made["wide"], None):
        question, ids = askable(session, bundle, image)
        text = stock["ask_runner"](runner, bundle.folder, question.text, image, len(ids))
        assert text.lstrip(" ") == session.tokenizer.decode(ids).lstrip(" "), question
        assert text.lstrip(" ") == "".join(
            session.generate(question.text, image, max_tokens=len(ids))
        ).lstrip(" ")
        seen.add(text)
    assert len(seen) > 1


def test_nano_answers_as_in_our_session(bundles, stock, tmp_path):
    check(bundles("android"), stock, tmp_path)


def test_other_checkpoints_answer_as_in_our_session(bundles, stock, checkpoint_dirs, tmp_path):
    """One with a SentencePiece tokenizer."""
    model = next(path for name, path in checkpoint_dirs.items() if name in ("internlm2", "phantom-1.8b"))
    check(bundles("android", model), stock, tmp_path)


def test_the_runner_stops_at_the_bundles_end_token(bundles, stock):
    bundle, stopped = bundles("android"), []
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    question, prompt = Question("What colour is it?"), bundle.manifest["prompt"]
    ids = answer(session, bundle, question, 64).ids
    assert ids[-1] in session.spec.end_ids
    text = prompt["user_start"] + question.text + prompt["user_end"] + prompt["assistant_start"]
    config = stock["GenerationConfig"](max_new_tokens=64, temperature=0.0, echo=False)
    runner.generate([stock["make_text_input"](text)], config, None, stopped.append)
    assert (
        stopped[0].num_generated_tokens == len(ids) - 1
    )  # the first comes out of the prefill and is not counted
    found = stock["ask_runner"](runner, bundle.folder, question.text, None, 64)
    assert found == "".join(session.generate(question.text, max_tokens=64))


def test_a_text_longer_than_one_call_is_passed_in_parts(bundles, stock):
    bundle = bundles("android")
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    prompt, chunk = bundle.manifest["prompt"], bundle.manifest["chunk"]
    sentence = "Describe the image in detail. "
    half = sentence * (chunk * 2 // 3 // len(session.tokenizer.encode(sentence)))
    texts = [prompt["user_start"], half, half, prompt["user_end"] + prompt["assistant_start"]]
    lengths = [len(session.tokenizer.encode(text)) for text in texts]
    assert max(lengths) <= chunk < sum(lengths) <= bundle.manifest["context"] - 1
    config = stock["GenerationConfig"](max_new_tokens=1, temperature=0.0, echo=False)
    cache = session.backend.make_cache()
    logits = session.prefill([index for text in texts for index in session.tokenizer.encode(text)], cache)
    found = runner.generate_text([stock["make_text_input"](text) for text in texts], config)
    assert found == session.tokenizer.decode([int(logits.argmax())], skip_special=False)
    runner.reset()
    with pytest.raises(RuntimeError):
        runner.generate_text([stock["make_text_input"]("".join(texts))], config)


def test_logits_are_at_least_as_wide_as_the_runners_tokenizer(bundles):
    """The runner reads as many logits as its tokenizer counts, whatever there are."""
    from pytorch_tokenizers import CppHFTokenizer

    bundle, tokenizer = bundles("android"), CppHFTokenizer()
    tokenizer.load(str(bundle.folder / "tokenizer.json"))
    assert 0 < tokenizer.vocab_size() <= bundle.manifest["shape"]["vocabulary"]
