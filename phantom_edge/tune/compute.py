"""The loss of a micro-batch, and the sums that make a whole batch of several."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from phantom_edge.training.objective import Losses, mean_by_answer, preference_loss, sft_loss, token_log_probs
from phantom_edge.training.run_folder import Totals
from phantom_edge.tune.batches import Encoded, MicroBatch
from phantom_edge.tune.trainable import TrainableModel


def log_probs_of(model: TrainableModel, micro: MicroBatch) -> Tensor:
    """Log-probability [N] of every answer token of a micro-batch."""
    packed = micro.packed
    x = model.embed(packed.ids)  # [B, L, hidden]
    if micro.pixels:
        tokens = torch.cat([model.encode_image(tiles).flatten(0, 1) for tiles in micro.pixels])  # [M, hidden]
        x = x.masked_scatter((packed.ids == model.config.image_token_id)[..., None], tokens.to(x.dtype))
    hidden = model.hidden(x, packed.positions, packed.mask)
    logits = model.head(hidden.flatten(0, 1)[packed.sources])  # [N, vocab]
    return token_log_probs(logits, packed.targets)


def losses_of(model: TrainableModel, micro: MicroBatch, *, beta: float, gamma: float) -> Losses:
    """Both terms of the loss over the lines of a micro-batch; the preference term where it has pairs."""
    log_probs = log_probs_of(model, micro)
    sft = sft_loss(log_probs[micro.right])
    if not micro.pairs:
        return Losses(sft)
    means = mean_by_answer(log_probs, micro.packed.answers, micro.packed.segments)
    chosen, rejected = means[micro.chosen], means[micro.rejected]
    preferred = float((chosen > rejected).float().mean())
    return Losses(sft, preference_loss(chosen, rejected, beta=beta, gamma=gamma), preferred)


def share_of(losses: Losses, micro: MicroBatch, batch: Sequence[Encoded]) -> Tensor:
    """What a micro-batch adds to its batch's loss; the sum of these is the loss of the batch in one piece.

    The terms are means over the batch's tokens and over its pairs, so that neither the size of a micro-batch
    nor which lines it got makes a difference.
    """
    share = losses.sft * (micro.learned / sum(encoded.learned for encoded in batch))
    if losses.preference is None:
        return share
    return share + losses.preference * (micro.pairs / sum(encoded.wrong is not None for encoded in batch))


def add(totals: Totals, micro: MicroBatch, losses: Losses) -> None:
    """Count a micro-batch's losses in."""
    totals.add("sft", float(losses.sft.detach()) * micro.learned, micro.learned)
    preference = 0.0 if losses.preference is None else float(losses.preference.detach())
    totals.add("preference", preference * micro.pairs, micro.pairs)
    totals.add("preferred", round((losses.preferred or 0.0) * micro.pairs), micro.pairs)
