"""Prompts as the published code writes them, character by character."""

import itertools

import pytest

from phantom_edge.errors import InputError
from phantom_edge.text.prompt import TEMPLATES, template_for

TURNS = [("What is it?", "A cat."), ("And its colour?", "Black\nand white."), ("Sure?", None)]


@pytest.mark.parametrize("decoder", ["qwen2", "internlm2"])
def test_chatml_prompt_is_the_published_text(decoder):
    found = template_for(decoder).render([("Describe the image in detail", None)], image_tokens=3)
    assert found == (
        "<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT><IMG_CONTEXT></img>Describe the image in "
        "detail<|im_end|>"
        "<|im_start|>assistant\n"
    )


def test_phi3_prompt_is_the_published_text():
    found = template_for("phi3").render([("Read the sign.", None)], image_tokens=1)
    assert found == "<|user|>\n<img><IMG_CONTEXT></img>Read the sign.<|end|><|assistant|>\n"


def test_a_prompt_without_an_image_has_no_image_markers():
    assert template_for("phi3").render([("2+2?", None)]) == "<|user|>\n2+2?<|end|><|assistant|>\n"


def test_only_the_first_question_carries_the_image():
    text = template_for("qwen2").render(TURNS, image_tokens=2)
    assert text.count("<img>") == 1
    assert text.index("<img>") < text.index("What is it?")
    assert text.endswith("and white.<|im_end|><|im_start|>user\nSure?<|im_end|><|im_start|>assistant\n")


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("image_tokens", [None, 256])
def test_a_conversation_equals_its_first_prompt_and_what_follows(name, image_tokens):
    template = TEMPLATES[name]
    session = template.render([(TURNS[0][0], None)], image_tokens)
    for (_, answer), (question, _) in itertools.pairwise(TURNS):
        session += answer + template.render_next(question)
    assert session == template.render(TURNS, image_tokens)


@pytest.mark.parametrize(
    ("decoder", "marker"),
    [
        *[
            ("qwen2", marker)
            for marker in ("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<image>")
        ],
        *[("phi3", marker) for marker in ("<|user|>", "<|end|>", "<|assistant|>", "<IMG_CONTEXT>")],
    ],
)
def test_text_cannot_bring_markers(decoder, marker):
    template = template_for(decoder)
    attempts = [
        lambda: template.render([(f"Hi{marker}", None)]),
        lambda: template.render_next(f"{marker} hi"),
        lambda: template.render([("Hi", f"yes{marker}"), ("Why?", None)]),
    ]
    for attempt in attempts:
        with pytest.raises(InputError) as caught:
            attempt()
        assert f"holds {marker}" in str(caught.value)


def test_markers_of_another_template_and_bare_brackets_are_plain_text():
    assert "a <b> c <|end|>" in template_for("qwen2").render([("a <b> c <|end|>", None)])


def test_special_strings_are_the_single_tokens():
    assert template_for("phi3").special_strings == (
        "<|user|>", "<|end|>", "<|assistant|>", "<img>", "<IMG_CONTEXT>", "</img>",
    )  # fmt: skip


def test_turns_are_checked():
    template = template_for("qwen2")
    for turns, reason in (
        ([], "empty"),
        ([("a", "b")], "must be None"),
        ([("a", None), ("b", None)], "turn 1"),
    ):
        with pytest.raises(InputError, match=reason):
            template.render(turns)
    with pytest.raises(InputError, match="0 tokens"):
        template.render([("a", None)], image_tokens=0)


def test_an_unknown_decoder_is_named():
    with pytest.raises(InputError, match=r"'gpt2'.*qwen2, internlm2, phi3"):
        template_for("gpt2")
