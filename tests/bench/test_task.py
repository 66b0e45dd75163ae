"""The tokens that fill a cache."""

from __future__ import annotations

from phantom_edge.bench.task import filler
from phantom_edge.runtime.session import Session


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
