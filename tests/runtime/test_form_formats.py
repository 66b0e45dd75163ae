"""By Phantom-Nano in every format that runs here: JSON of a schema from a picture, and ranked choices."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from phantom_edge.bundle.folder import Bundle
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime import decoding
from phantom_edge.runtime.form import Form
from phantom_edge.runtime.session import Session
from phantom_edge.scenes import make_scene
from phantom_edge.text.prompt_ids import PromptEncoder

pytestmark = pytest.mark.slow

TARGETS = {"onnx": "desktop", "executorch": "android", "coreml": "ios"}
QUESTION = "How many objects are there?"
CHOICES = ["1", "2", "3", "4", "12", "the red circle", "the red cross"]
SCHEMA = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "minimum": 0, "maximum": 20},
        "colours": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 2},
    },
    "required": ["count", "colours"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=["torch", *TARGETS])
def session(request, tmp_path_factory) -> Session:
    if request.param == "torch":
        return Session.of_source(Pretrained.open())
    output = tmp_path_factory.mktemp("formats") / request.param
    export(ExportRequest(target=TARGETS[request.param], output=output, context=320, verify=False))
    return Session.of_bundle(Bundle.open(output))


@pytest.fixture(scope="module")
def picture():
    return make_scene("test", 0).render(224)


def test_a_schema_is_answered_from_a_picture(session, picture):
    chat = session.chat(picture)
    text = "".join(chat.ask(QUESTION, form=Form(schema=SCHEMA), max_tokens=60))
    assert chat.timing.stop == "end"
    jsonschema.validate(json.loads(text), SCHEMA)
    assert "".join(chat.ask("And the squares?", form=Form(regex="[0-9]|none"))) in {*"0123456789", "none"}


def test_choices_are_ranked_as_by_a_fresh_cache_for_each(session, picture):
    prompts, ends = PromptEncoder(session.spec.template, session.tokenizer), list(session.spec.end_ids)
    prompt, tokens = prompts.first(QUESTION, session.image_tokens(picture)), session.encode_image(picture)
    cut = len(prompt) - prompt[::-1].index(session.spec.image_token_id)
    scores = []
    for choice in CHOICES:
        cache, score = session.backend.make_cache(), 0.0
        session.prefill(prompt[:cut], cache, tokens)
        logits = session.prefill(prompt[cut:], cache)
        for token in prompts.begun(choice):
            score += float(logits[token]) - np.logaddexp.reduce(logits.astype(np.float64))
            logits = decoding.append(session.backend, cache, token)
        wide = logits.astype(np.float64)
        scores.append(score + np.logaddexp.reduce(wide[ends]) - np.logaddexp.reduce(wide))
    expected = np.exp(np.array(scores) - np.logaddexp.reduce(scores))
    ranked = session.chat(picture).rank(QUESTION, CHOICES)
    assert [one.text for one in ranked] == [CHOICES[n] for n in np.argsort(-expected)]
    shares = {one.text: one.probability for one in ranked}
    assert [shares[choice] for choice in CHOICES] == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-9)
