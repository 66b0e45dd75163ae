"""The documentation's code in ExecuTorch's own multimodal runner, against our session on the same bundle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stock_bundles import DOCS, QUESTIONS, Bundles, Question, answer, documented, pictures

from phantom_edge.bundle.folder import Bundle
from phantom_edge.records import to_json
from phantom_edge.runtime.session import Session

pytestmark = pytest.mark.stock
TOKENS, ENOUGH = 16, 4
CANDIDATES = (
    *QUESTIONS,
    *(f"What is number {n}?" for n in range(40)),
)  # random weights often say parts of characters
LONG = "Describe the image in detail. " * 50
# What a tokenizer could read otherwise at the seam between two texts.
QUESTIONS_FOR_IDS = (
    *QUESTIONS,
    " leading space",
    "  two, and\n a line",
    "\nline",
    "çà 😀",
    "的图片",
    "▁",
    LONG,
)
FAMILIES = {"byte-level": "qwen2", "SentencePiece": "internlm2"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Bundles:
    return Bundles(tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="module")
def stock() -> dict[str, Any]:
    """The functions of the documentation."""
    names: dict[str, Any] = {}
    exec(compile(documented("python executorch"), "docs/runtimes.md", "exec"), names)
    return names


@pytest.fixture(params=FAMILIES)
def bundle(request, bundles, tiny_dirs) -> Bundle:
    """A bundle with a tokenizer of each kind."""
    made = bundles("android", tiny_dirs[FAMILIES[request.param]])
    text = (made.folder / "tokenizer.json").read_text(encoding="utf-8")
    assert ('"Prepend"' in text) == (request.param == "SentencePiece")
    return made


def plain_ids(session: Session, ids: list[int]) -> list[int]:
    """Ids up to the first that is special, whose text the runner gives out, or that is part of a character.

    The runner's Python binding can pass whole characters only.
    """
    texts = [session.tokenizer.decode([index]) for index in ids]
    return ids[: next((n for n, text in enumerate(texts) if not text or "\ufffd" in text), len(ids))]


def askable(session: Session, bundle: Bundle, image: Path | None) -> tuple[Question, list[int]]:
    """A question whose answer begins with enough ids of whole characters, and these."""
    for text in CANDIDATES:
        question = Question(text, image)
        ids = plain_ids(session, answer(session, bundle, question, TOKENS).ids)
        if len(ids) >= ENOUGH:
            return question, ids
    pytest.fail(f"no question about {image} has an answer that can be compared")


def check(bundle: Bundle, stock: dict[str, Any], folder: Path) -> None:
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    made, answers = pictures(bundle, folder), set()
    for image in (made["square"], made["wide"], None):
        question, ids = askable(session, bundle, image)
        text = stock["ask_runner"](runner, bundle.folder, question.text, image, len(ids))
        assert text.lstrip(" ") == session.tokenizer.decode(ids).lstrip(" "), question
        ours = "".join(session.generate(question.text, image, max_tokens=len(ids)))
        assert text.lstrip(" ") == ours.lstrip(" ")
        answers.add(text)
    assert len(answers) > 1


def test_nano_answers_as_in_our_session(bundles, stock, tmp_path):
    check(bundles("android"), stock, tmp_path)


def test_other_checkpoints_answer_as_in_our_session(bundles, stock, checkpoint_dirs, tmp_path):
    """One with a SentencePiece tokenizer."""
    model = next(path for name, path in checkpoint_dirs.items() if name in ("internlm2", "phantom-1.8b"))
    check(bundles("android", model), stock, tmp_path)


# --- ids: what reaches the decoder, not only what comes out -------------------------------------------------


def stock_tokenizer(bundle: Bundle) -> Any:
    """The C++ tokenizer that the runner itself uses."""
    from pytorch_tokenizers import CppHFTokenizer

    tokenizer = CppHFTokenizer()
    tokenizer.load(str(bundle.folder / "tokenizer.json"))
    return tokenizer


def text_input() -> Any:
    """The runner's input of the phones; the documentation's Python hands over ids."""
    from executorch.extension.llm.runner import make_text_input

    return make_text_input


def ids_of(inputs: Iterable[Any], bundle: Bundle) -> list[int]:
    """The ids of a runner's inputs in a row: those of ids and texts, and a tile's many image ids."""
    tokenizer, ids = stock_tokenizer(bundle), []
    for part in inputs:
        if part.is_image():
            ids += [bundle.manifest.ids.image] * bundle.manifest.tiles.tokens
        elif part.is_tokens():
            ids += part.get_tokens()
        else:
            ids += tokenizer.encode(part.get_text(), 0, 0)
    return [int(index) for index in ids]


def snippet_texts(bundle: Bundle, question: str) -> dict[str, list[str]]:
    """What the documentation's Kotlin lines hand over as texts, by the comment above them."""
    (block,) = re.findall(r"^```kotlin\n(val model = LlmModule.*?)^```", DOCS.read_text("utf-8"), re.M | re.S)
    snake = {
        re.sub(r"_(.)", lambda m: m[1].upper(), key): text
        for key, text in to_json(bundle.manifest.prompt).items()
    }
    texts: dict[str, list[str]] = {}
    for line in block.splitlines():
        if comment := re.match(r"// (.*):", line):
            texts[comment[1]] = lines = []
        elif call := re.match(r"model\.(?:prefillPrompt|generate)\(([\w. +]+)", line):
            terms = [term.removeprefix("prompt.") for term in call[1].split(" + ")]
            lines.append("".join(question if term == "question" else snake[term] for term in terms))
    return texts


def expected_ids(session: Session, question: str, image: Path | None) -> list[int]:
    """The prompt of a new chat, as our session computes it."""
    return session.chat(image)._prompt(question)


def next_ids(session: Session, question: str) -> list[int]:
    """What our session appends for a further question; the answer before ended with its end token."""
    return session.tokenizer.encode(session.spec.template.render_next(question))


@pytest.mark.parametrize("question", QUESTIONS_FOR_IDS, ids=range(len(QUESTIONS_FOR_IDS)))
def test_the_decoder_sees_the_ids_of_our_session(bundle, stock, tmp_path, question):
    session, made = Session.of_bundle(bundle, threads=1), pictures(bundle, tmp_path)
    for image in (None, made["square"], made["wide"]):
        inputs = stock["first_inputs"](bundle.folder, question, image)
        assert ids_of(inputs, bundle) == expected_ids(session, question, image)
        assert all(len(part.get_tokens()) <= bundle.manifest.chunk for part in inputs if part.is_tokens())
    assert ids_of(stock["next_inputs"](bundle.folder, question), bundle) == next_ids(session, question)


@pytest.mark.parametrize("question", QUESTIONS_FOR_IDS, ids=range(len(QUESTIONS_FOR_IDS)))
def test_the_texts_of_the_phones_have_the_ids_of_our_session(bundle, stock, tmp_path, question):
    session, image = Session.of_bundle(bundle, threads=1), pictures(bundle, tmp_path)["wide"]
    texts = snippet_texts(bundle, question)
    encode = text_input()
    (whole,), (before, after), (following,) = (
        texts[name] for name in ("Without one", "About a picture", "The next question about the same")
    )
    tiles = [part for part in stock["first_inputs"](bundle.folder, question, image) if part.is_image()]
    assert ids_of([encode(whole)], bundle) == expected_ids(session, question, None)
    assert ids_of([encode(before), *tiles, encode(after)], bundle) == expected_ids(session, question, image)
    assert ids_of([encode(following)], bundle) == next_ids(session, question)


def test_a_text_that_begins_with_no_marker_gets_a_space_from_sentencepiece(bundle):
    """What the documentation warns of; a question cut where it says has the ids of the whole."""
    encode = stock_tokenizer(bundle).encode
    prompt = bundle.manifest.prompt
    whole = [*encode(prompt.user_start + "Is it red?", 0, 0)]
    parts = [*encode(prompt.user_start, 0, 0), *encode("Is it red?", 0, 0)]
    puts_space = '"Prepend"' in (bundle.folder / "tokenizer.json").read_text(encoding="utf-8")
    assert (parts != whole) == puts_space
    words = LONG.split(" ")
    for cut in range(1, len(words) - 1, 7):
        first, second = " ".join(words[:cut]), " ".join(words[cut:])
        second = second if puts_space else " " + second
        seam = [*encode(prompt.user_start + first, 0, 0), *encode(second, 0, 0)]
        assert seam == [*encode(prompt.user_start + LONG, 0, 0)], cut


def test_the_runner_counts_the_ids_of_our_session(bundle, stock, tmp_path):
    """Text alone, about pictures, and a second question on the same context."""
    session, made = Session.of_bundle(bundle, threads=1), pictures(bundle, tmp_path)
    runner = stock["open_runner"](bundle.folder)
    for image in (None, made["square"], made["wide"]):
        first, following = stock["first_inputs"](bundle.folder, "Is it red?", image), "And this?"
        runner.reset()
        stats: list[Any] = []
        config = stock["GenerationConfig"](max_new_tokens=1, temperature=0.0, echo=False)
        for inputs in (first, stock["next_inputs"](bundle.folder, following)):
            runner.generate(inputs, config, None, stats.append)
        counts = [one.num_prompt_tokens for one in stats]
        length = len(expected_ids(session, "Is it red?", image))
        assert counts == [length, length + len(next_ids(session, following))]


def continued(session: Session, bundle: Bundle, turns: list[str], image: Path) -> Iterator[str]:
    chat = session.chat(image)
    for question in turns:
        yield "".join(chat.ask(question, max_tokens=64))
        assert chat.timing.stop == "end"


def test_a_second_question_is_answered_as_in_our_session(bundles, stock, tmp_path):
    bundle = bundles("android")
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    image, turns = (
        pictures(bundle, tmp_path)["square"],
        ["What colour is it?", "How many are there?", "Is it red?"],
    )
    first, *others = turns
    answers = [stock["ask_runner"](runner, bundle.folder, first, image, 64)]
    for question in others:
        inputs = stock["next_inputs"](bundle.folder, question)
        answers.append(stock["answer"](runner, bundle.folder, inputs, 64))
    assert answers == list(continued(session, bundle, turns, image))


def test_the_runner_stops_at_the_bundles_end_token(bundles, stock):
    bundle, stopped = bundles("android"), []
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    question = Question("What colour is it?")
    ids = answer(session, bundle, question, 64).ids
    assert ids[-1] in session.spec.end_ids
    config = stock["GenerationConfig"](max_new_tokens=64, temperature=0.0, echo=False)
    runner.generate(stock["first_inputs"](bundle.folder, question.text), config, None, stopped.append)
    assert (
        stopped[0].num_generated_tokens == len(ids) - 1
    )  # the first comes out of the prefill and is not counted
    text = stock["ask_runner"](runner, bundle.folder, question.text, None, 64)
    assert text == "".join(session.generate(question.text, max_tokens=64))


def test_a_question_longer_than_one_call_is_answered(bundles, stock):
    bundle = bundles("android")
    session, runner = Session.of_bundle(bundle, threads=1), stock["open_runner"](bundle.folder)
    prompt, chunk = bundle.manifest.prompt, bundle.manifest.chunk
    sentence = "Describe the image in detail. "
    question = sentence * (chunk * 4 // 3 // len(session.tokenizer.encode(sentence)))
    ids = expected_ids(session, question, None)
    assert chunk < len(ids) < bundle.manifest.context
    logits = session.prefill(ids, session.backend.make_cache())
    text = stock["ask_runner"](runner, bundle.folder, question, None, 1)
    assert text == session.tokenizer.decode([int(logits.argmax())], skip_special=False)
    whole = prompt.user_start + question + prompt.user_end + prompt.assistant_start
    config = stock["GenerationConfig"](max_new_tokens=1, temperature=0.0, echo=False)
    runner.reset()
    with pytest.raises(RuntimeError):
        runner.generate_text([text_input()(whole)], config)


def test_logits_are_at_least_as_wide_as_the_runners_tokenizer(bundles):
    """The runner reads as many logits as its tokenizer counts, whatever there are."""
    bundle = bundles("android")
    assert 0 < stock_tokenizer(bundle).vocab_size() <= bundle.manifest.shape.vocabulary
