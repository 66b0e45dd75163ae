"""The golden check and the tokens that fill a cache."""

from __future__ import annotations

import numpy as np
import pytest

from phantom_edge.bench.task import GOLDEN_LIMIT, filler, relative_error, require_golden
from phantom_edge.errors import CheckError
from phantom_edge.runtime.session import Session


def test_relative_errors():
    wanted = np.array([3.0, 4.0])
    assert relative_error(wanted * 1.1, wanted) == pytest.approx(0.1)
    assert relative_error(wanted[None], wanted) == 0
    with pytest.raises(CheckError, match="3 values where 2"):
        relative_error(np.zeros(3), wanted)


@pytest.mark.parametrize("value", [GOLDEN_LIMIT * 1.01, float("nan"), float("inf")])
def test_what_is_wrong_is_not_timed(value):
    require_golden({"logits": GOLDEN_LIMIT})
    with pytest.raises(CheckError, match="logits differ"):
        require_golden({"image tokens": 0.0, "logits": value})


def test_a_cache_is_filled_with_text_only(tiny_dirs):
    for folder in tiny_dirs.values():
        session = Session.open(folder)
        ids = filler(session, 200)
        assert len(ids) == 200
        assert ids[0] == session.tokenizer.encode(session.spec.template.render([("?", None)]))[0]
        assert not {session.spec.image_token_id, *session.spec.end_ids} & set(ids)
        assert max(ids) < session.tokenizer.vocab_size
        assert filler(session, 50) == ids[:50]
        assert filler(session, 0) == []
