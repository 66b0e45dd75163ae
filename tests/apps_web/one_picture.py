"""What the Python session answers about the pixels that the app showed."""

from __future__ import annotations

import base64
from itertools import islice

import numpy as np
from PIL import Image

from phantom_edge.images import pixel_values
from phantom_edge.runtime.decoding import forced
from phantom_edge.runtime.session import Session


def picture_of(frame: dict) -> Image.Image:
    """The still picture's square, as `e2e/check.mjs` hands it out."""
    side = frame["side"]
    rgba = np.frombuffer(base64.b64decode(frame["rgba"]), np.uint8).reshape(side, side, 4)
    assert (rgba[..., 3] == 255).all()
    return Image.fromarray(rgba[..., :3].copy())


class OnePicture:
    """One picture in the Python session, prefilled as the app does it: the image first, then the question."""

    def __init__(self, session: Session, picture: Image.Image):
        self.session, spec = session, session.spec
        pixels = pixel_values(picture, tile_size=spec.tile_size, max_tiles=1)
        tiles = session.backend.encode_image(pixels)  # [1, N, hidden]
        self.features = tiles.reshape(-1, tiles.shape[-1])  # [N, hidden]

    def follow(self, question: str, ids: list[int], stop: str) -> tuple[str, list[float]]:
        """Python's greedy text, and how far below its best each of the app's tokens lies, in rms of the
        logits.
        """
        spec, session = self.session.spec, self.session
        tokens = [*ids, *(spec.end_ids[:1] if stop == "end" else ())]
        best, gaps = [], []
        for token, scores in zip(tokens, self.logits(question, tokens), strict=True):
            best.append(int(scores.argmax()))
            gaps.append(float(scores.max() - scores[token]) / float(np.sqrt((scores**2).mean())))
        return session.tokenizer.decode([token for token in best if token not in spec.end_ids]), gaps

    def log_probability(self, question: str, choice: str) -> float:
        """The logarithm of how likely a choice is as the whole answer, from its definition."""
        spec, tokenizer = self.session.spec, self.session.tokenizer
        start = tokenizer.encode(spec.template.assistant_start)
        tokens = tokenizer.encode(spec.template.assistant_start + choice)[len(start) :]
        total = 0.0
        for ids, scores in zip(
            [*([token] for token in tokens), list(spec.end_ids)],
            self.logits(question, [*tokens, spec.end_ids[0]]),
            strict=True,
        ):
            wide = scores.astype(np.float64)
            total += np.logaddexp.reduce(wide[ids]) - np.logaddexp.reduce(wide)
        return total

    def logits(self, question: str, tokens: list[int]) -> list[np.ndarray]:
        """The logits [vocab] that each of the tokens is chosen from."""
        spec, session = self.session.spec, self.session
        prompt = session.tokenizer.encode(spec.template.render([(question, None)], len(self.features)))
        end = len(prompt) - prompt[::-1].index(spec.image_token_id)
        cache = session.backend.make_cache()
        session.prefill(prompt[:end], cache, self.features)
        logits = session.prefill(prompt[end:], cache)
        choices = islice(session.decode(logits, cache, forced(tokens)), len(tokens))
        return [choice.logits for choice in choices]
