"""What torch answers to the prompts that an artifact was asked, in one pass over the weights.

The artifact chooses the tokens; torch computes all of its positions at once, layer by layer, so that neither
the original nor the integers' fp32 values are ever in memory as a whole, and no step dequantises a matrix
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import Stream, encode_tiles
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import LazyWeights, view
from phantom_edge.runtime.traces import Prompt, Trace

Images = list[torch.Tensor | None]


@dataclass(frozen=True)
class Reference:
    """One prompt, the ``tokens`` that the artifact appended to it, and what torch makes of them.

    ``trace`` is the torch model with the artifact's integers and with activations and KV cache on the
    runtime's grids, ``plain`` with both in fp32 (the same object where a runtime has no grid); ``original``
    are the unquantised original's logits [1 + n, vocab], ``without`` those of ``trace``'s model without the
    phantom dimension.
    """

    prompt: Prompt
    tokens: list[int]
    trace: Trace
    plain: Trace
    original: np.ndarray
    without: np.ndarray


@dataclass(frozen=True)
class _Sequence:
    """A prompt and its answer as one: ids [1, S], how many tokens each call of a runtime takes, and the
    answer's rows.

    ``rows`` are the positions that logits are wanted of: the prompt's last and those of the tokens.
    """

    prompt: Prompt
    ids: torch.Tensor
    calls: tuple[int, ...]
    rows: slice

    @classmethod
    def of(cls, prompt: Prompt, tokens: Sequence[int], chunk: int) -> _Sequence:
        held, count = len(prompt.ids), len(tokens)
        chunks = [min(chunk, held - start) for start in range(0, held, chunk)]
        ids = torch.tensor([[*prompt.ids, *tokens]])
        return cls(prompt, ids, (*chunks, *[1] * count), slice(held - 1, held + count))

    def embeds(self, rows: torch.Tensor, image: torch.Tensor | None, image_token_id: int) -> torch.Tensor:
        """``rows`` [1, S, hidden] of the ids with the prompt's image tokens in their places."""
        if image is not None:
            places = torch.zeros_like(self.ids, dtype=torch.bool)
            places[:, : len(self.prompt.ids)] = self.ids[:, : len(self.prompt.ids)] == image_token_id
            rows[places] = image.flatten(0, 1)
        return rows

    def trace(self, image: torch.Tensor | None, embeds: torch.Tensor, logits: torch.Tensor) -> Trace:
        held = embeds[:, : len(self.prompt.ids)].numpy()
        return Trace(None if image is None else image.numpy(), held, logits[0].numpy())


def make_references(
    held: FoldedModel,
    original: PhantomModel,
    prompts: Sequence[Prompt],
    tokens: Sequence[list[int]],
    image_token_id: int,
    chunk: int,
) -> list[Reference]:
    """What torch answers, prompt by prompt, given the ``tokens`` that followed each.

    Args:
        held: the folded model with an artifact's integers, activations on its runtime's grid if it has one.
        original: made with ``keep=False``, it is read once from the checkpoint's files.
        chunk: the most prompt tokens that one call of the runtime takes.
    """
    asked = [_Sequence.of(prompt, answer, chunk) for prompt, answer in zip(prompts, tokens, strict=True)]
    images = _images(held, asked)
    models, seen = [held, without_phantom(held)], [images, images]
    if held.activation is not None or held.kv is not None:
        models.append(held.on_grid(None).with_kv(None))
        seen.append(_images(models[-1], asked))
    traces = _folded_traces(models, seen, asked, image_token_id)
    truth = _original_logits(original, asked, image_token_id)
    return [
        Reference(one.prompt, list(answer), trace, plain, logits, without.logits)
        for one, answer, trace, without, plain, logits in zip(
            asked, tokens, traces[0], traces[1], traces[-1 if len(models) > 2 else 0], truth, strict=True
        )
    ]


def without_phantom(model: FoldedModel) -> FoldedModel:
    """The same model with no phantom dimension in any layer."""
    weights = LazyWeights(view(model.weights, lambda name: ".phantom." not in name and ".gate." not in name))
    spec = FoldedSpec(model.config, (0,) * model.config.decoder.layers)
    return FoldedModel(spec, weights, Fold("off"), model.first_id, model.activation, model.recipe)


def _images(model: FoldedModel, asked: Sequence[_Sequence]) -> Images:
    """Image tokens [T, N, hidden] of each prompt that has a picture."""
    pixels = [None if one.prompt.pixels is None else torch.from_numpy(one.prompt.pixels) for one in asked]
    return [None if tiles is None else encode_tiles(model, tiles) for tiles in pixels]


@torch.inference_mode()
def _folded_traces(
    models: Sequence[FoldedModel], images: Sequence[Images], asked: Sequence[_Sequence], image_token_id: int
) -> list[list[Trace]]:
    """Per model and prompt. All models hold the same integers, of which one layer at a time is
    dequantised.
    """
    stream = Stream()
    embeds = [
        [
            one.embeds(model.embed(one.ids), image, image_token_id)
            for one, image in zip(asked, seen, strict=True)
        ]
        for model, seen in zip(models, images, strict=True)
    ]
    states = embeds
    for n in range(models[0].config.decoder.layers):
        states = [
            [stream.decoder_layer(model, n, x, one.calls) for one, x in zip(asked, row, strict=True)]
            for model, row in zip(models, states, strict=True)
        ]
        stream.forget()
    return [
        [
            one.trace(image, e, stream.logits(model, x[:, one.rows]))
            for one, image, e, x in zip(asked, seen, held, row, strict=True)
        ]
        for model, seen, held, row in zip(models, images, embeds, states, strict=True)
    ]


@torch.inference_mode()
def _original_logits(
    original: PhantomModel, asked: Sequence[_Sequence], image_token_id: int
) -> list[np.ndarray]:
    embeds = []
    for one in asked:
        pixels = one.prompt.pixels
        image = None if pixels is None else original.encode_image(torch.from_numpy(pixels))
        embeds.append(one.embeds(original.embed(one.ids), image, image_token_id))
    states = original.hidden_of_all(embeds, [original.make_cache() for _ in asked])
    rows = torch.cat([x[:, one.rows] for x, one in zip(states, asked, strict=True)], dim=1)
    logits = original.head(rows)[0].split([one.rows.stop - one.rows.start for one in asked])
    return [part.numpy() for part in logits]
