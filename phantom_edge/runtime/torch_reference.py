"""What torch answers to the prompts that an artifact answered, in one pass over the weights.

The artifact chooses the tokens; torch computes all of its positions at once, layer by layer, so that neither
the original nor the integers' fp32 values are ever in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import Images, embed, image_tokens_of_all, logits_of_all
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.sequence_ops import ModelInput
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import LazyWeights, is_module, view
from phantom_edge.runtime.sampling import Floats
from phantom_edge.runtime.traces import Prompt, Trace


@dataclass(frozen=True)
class Reference:
    """One prompt, the ``tokens`` that the artifact appended to it, and what torch makes of them.

    ``trace`` is the torch model with the artifact's integers and with activations and KV cache on the
    runtime's grids, ``plain`` with both in fp32 (the same object where a runtime has no grid); ``original``
    are the unquantised original's logits [1 + n, vocab], ``without`` those of ``plain``'s model without the
    phantom dimension. ``gone`` [1 + n] says where the original's first choice is a piece that a trimmed
    vocabulary lacks; None for a whole one.
    """

    prompt: Prompt
    tokens: list[int]
    trace: Trace
    plain: Trace
    original: Floats
    without: Floats
    gone: NDArray[np.bool_] | None = None


def make_references(
    model: FoldedModel,
    original: PhantomModel,
    prompts: Sequence[Prompt],
    tokens: Sequence[list[int]],
    image_token_id: int,
    chunk: int,
    kept_ids: Sequence[int] | None = None,
) -> list[Reference]:
    """What torch answers, prompt by prompt, given the ``tokens`` that followed each.

    Args:
        model: folded, with an artifact's integers; activations and cache on the grids of its runtime.
        original: made with ``keep=False``, it is read once from the checkpoint's files.
        prompts: what the artifact read.
        tokens: what it appended to each.
        image_token_id: the id whose embeddings are replaced by image tokens.
        chunk: the most prompt tokens that one call of the runtime takes.
        kept_ids: by which ``model`` numbers the rows of ``original``; None where both have the same.
    """
    inputs = [
        model_input(p, answer, image_token_id, chunk) for p, answer in zip(prompts, tokens, strict=True)
    ]
    models = [model]
    if model.activation is not None or model.kv is not None or model.rounding is not None:
        models.append(model.unrounded)
    images = image_tokens_of_all(models, inputs)
    # Of the model in fp32: where the platform rounds, the difference to it would be mostly rounding.
    without, *logits = logits_of_all([without_phantom(models[-1]), *models], inputs, [images[-1], *images])
    traces = [_traces(m, prompts, inputs, i, rows) for m, i, rows in zip(models, images, logits, strict=True)]
    truth = _original_logits(original, inputs, kept_ids)
    columns = zip(prompts, tokens, traces[0], traces[-1], truth, without, strict=True)
    return [
        Reference(prompt, list(answer), trace, plain, true_logits, other.numpy(), gone)
        for prompt, answer, trace, plain, (true_logits, gone), other in columns
    ]


def without_phantom(model: FoldedModel) -> FoldedModel:
    """The same model with no phantom dimension in any layer."""
    spec = FoldedSpec(model.config, (0,) * model.config.decoder.layers)
    weights = LazyWeights(view(model.weights, is_module))
    return FoldedModel(spec, weights, Fold("off"), model.first_id, model.activation, model.recipe)


def model_input(prompt: Prompt, tokens: Sequence[int], image_token_id: int, chunk: int) -> ModelInput:
    """A prompt and its answer as one; sources are the prompt's last position and those of the answer."""
    length = len(prompt.ids)
    chunks = [min(chunk, length - start) for start in range(0, length, chunk)]
    ids = torch.tensor([[*prompt.ids, *tokens]])
    return ModelInput(
        name=prompt.name,
        ids=ids,
        sources=torch.arange(length - 1, length + len(tokens)),
        pixels=None if prompt.pixels is None else torch.from_numpy(prompt.pixels),
        image_places=(ids == image_token_id) & (torch.arange(ids.shape[1]) < length),
        calls=(*chunks, *[1] * len(tokens)),
    )


def _traces(
    model: FoldedModel,
    prompts: Sequence[Prompt],
    inputs: Sequence[ModelInput],
    images: Images,
    logits: Sequence[torch.Tensor],
) -> list[Trace]:
    embeds = embed(model.spec, model.weights, inputs, images)
    return [
        Trace(None if image is None else image.numpy(), x[:, : len(prompt.ids)].numpy(), rows.numpy())
        for prompt, image, x, rows in zip(prompts, images, embeds, logits, strict=True)
    ]


@torch.inference_mode()
def _original_logits(
    original: PhantomModel, inputs: Sequence[ModelInput], kept_ids: Sequence[int] | None
) -> list[tuple[Floats, NDArray[np.bool_] | None]]:
    """The logits of the kept rows, and where the largest of all rows is none of them."""
    kept = None if kept_ids is None else torch.tensor(kept_ids)
    images = [None if one.pixels is None else original.encode_image(one.pixels) for one in inputs]
    ids = [one.ids if kept is None else kept[one.ids] for one in inputs]
    embeds = [
        one.join(original.embed(own), image) for one, own, image in zip(inputs, ids, images, strict=True)
    ]
    states = original.hidden_of_all(embeds, [original.make_cache() for _ in inputs])
    rows = torch.cat([x[:, one.sources] for x, one in zip(states, inputs, strict=True)], dim=1)
    parts = original.head(rows)[0].split([len(one.sources) for one in inputs])
    if kept is None:
        return [(part.numpy(), None) for part in parts]
    return [(part[:, kept].numpy(), ~torch.isin(part.argmax(-1), kept).numpy()) for part in parts]
