"""The loss against numbers worked out by hand, and against the original asked one question at a time."""

from __future__ import annotations

import math

import pytest
import torch
from triple_files import collator, read

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.original import PhantomModel
from phantom_edge.training.objective import mean_by_answer, preference_loss, sft_loss, token_log_probs
from phantom_edge.tune.compute import losses_of, share_of
from phantom_edge.tune.trainable import TrainableModel, learns_first
from recipes.synthetic import TINY_FAMILIES


def logits_for(*probabilities: float) -> torch.Tensor:
    """Logits over three tokens that give token 1 these probabilities, whatever is added to all of them."""
    p = torch.tensor(probabilities)
    rows = torch.stack([0.25 * (1 - p), p, 0.75 * (1 - p)], dim=1).log()
    return rows + torch.arange(len(p))[:, None]


def by_hand():
    """Two pairs whose answers have 2 and 3, and 1 and 2 tokens, each token of the probability given.

    right 1: 1/2, 1/4          log p = -1 ln2, -2 ln2           mean -3/2 ln2 = -1.039721
    wrong 1: 1/4, 1/8, 1/2     log p = -2 ln2, -3 ln2, -1 ln2   mean -2   ln2 = -1.386294
    right 2: 1/2               log p = -1 ln2                   mean -1   ln2 = -0.693147
    wrong 2: 1/2, 1/2          log p = -1 ln2, -1 ln2           mean -1   ln2 = -0.693147
    """
    logits = logits_for(1 / 2, 1 / 4, 1 / 4, 1 / 8, 1 / 2, 1 / 2, 1 / 2, 1 / 2)
    log_probs = token_log_probs(logits, torch.ones(8, dtype=torch.long))
    answers = torch.tensor([0, 0, 1, 1, 1, 2, 3, 3])
    return log_probs, mean_by_answer(log_probs, answers, 4), torch.isin(answers, torch.tensor([0, 2]))


def test_sft_is_the_mean_over_the_right_answers_tokens():
    log_probs, _, right = by_hand()
    # (1 + 2 + 1) ln2 / 3 tokens = 4/3 * 0.693147
    assert float(sft_loss(log_probs[right])) == pytest.approx(0.924196, abs=1e-6)


def test_the_preference_term_averages_over_tokens_then_over_pairs():
    _, means, _ = by_hand()
    assert means.tolist() == pytest.approx([-1.039721, -1.386294, -0.693147, -0.693147], abs=1e-6)
    # pair 1: margin 2 * (-1.039721 + 1.386294) - 0.5 = 0.193147; -log sigmoid = ln(1 + e^-0.193147) = ln
    # 1.824361 pair 2: margin 2 * 0                      - 0.5 = -0.5;     -log sigmoid = ln(1 + e^0.5)
    # = ln 2.648721 = 0.601230 and 0.974077, mean 0.787653
    assert float(preference_loss(means[[0, 2]], means[[1, 3]])) == pytest.approx(0.787653, abs=1e-6)
    # with beta 1 and gamma 0: ln(1 + e^-0.346574) = ln(1 + 2^-0.5) = 0.534799 and ln 2 = 0.693147, mean
    # 0.613973
    other = preference_loss(means[[0, 2]], means[[1, 3]], beta=1.0, gamma=0.0)
    assert float(other) == pytest.approx(0.613973, abs=1e-6)


def test_the_gradient_of_the_preference_term():
    chosen = torch.tensor([-1.039721, -0.693147], requires_grad=True)
    rejected = torch.tensor([-1.386294, -0.693147], requires_grad=True)
    preference_loss(chosen, rejected).backward()
    # d/dx of -log sigmoid(beta x - ...) is -beta sigmoid(-margin), halved by the mean over two pairs: -2 / 2
    # * 1 / (1 + e^0.193147) = -1 / 2.213061 = -0.451863 and -1 / (1 + e^-0.5) = -1 / 1.606531 = -0.622459
    assert chosen.grad.tolist() == pytest.approx([-0.451863, -0.622459], abs=1e-6)
    assert rejected.grad.tolist() == pytest.approx([0.451863, 0.622459], abs=1e-6)


# --- against the original -----------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=list(TINY_FAMILIES))
def case(request, tiny_dirs, tmp_path_factory):
    source = Pretrained.open(tiny_dirs[request.param])
    triples = read(tmp_path_factory.mktemp("triples"))
    lines = collator(source, triples)
    return source, triples, lines, list(naive_answers(source, triples, lines))


def naive_answers(source, triples, lines, *, phantom=True):
    """Log-probabilities of each line's answers: the whole prompt as text, one forward pass per answer."""
    model = PhantomModel(source.config, source.checkpoint, phantom=phantom)
    template, encode = source.template, source.tokenizer.encode
    for line in triples.lines:
        tokens = tiles = None
        if line.image is not None:
            tiles = model.encode_image(lines._pixels(line.image)).flatten(0, 1)
            tokens = len(tiles)
        prompt = template.render([(line.question, None)], tokens)
        found = []
        for answer in (line.answer, line.wrong):
            if answer is None:
                continue
            ids = encode(prompt + answer + template.assistant_end)
            embeds = model.embed(torch.tensor([ids]))
            if tiles is not None:
                embeds[0, torch.tensor(ids) == source.config.image_token_id] = tiles
            logits = model.decode(embeds, model.make_cache(), all_positions=True)[0]
            start = len(encode(prompt))
            assert encode(prompt) == ids[:start]
            found.append([float(logits[i - 1].log_softmax(-1)[ids[i]]) for i in range(start, len(ids))])
        yield found


def naive_losses(answers, beta, gamma):
    """The formula of the paper in plain Python."""
    right = [value for found in answers for value in found[0]]
    margins = []
    for found in answers:
        if len(found) == 2:
            plus, minus = (sum(values) / len(values) for values in found)
            margins.append((beta * plus - beta * minus - gamma, plus > minus))
    preference = [math.log1p(math.exp(-margin)) for margin, _ in margins]
    return (
        -sum(right) / len(right),
        sum(preference) / len(preference),
        sum(better for _, better in margins) / len(margins),
    )


@pytest.mark.parametrize(("beta", "gamma"), [(2.0, 0.5), (5.0, 0.1)])
def test_packed_questions_are_those_of_the_original_one_at_a_time(case, beta, gamma):
    source, triples, lines, answers = case
    sft, preference, preferred = naive_losses(answers, beta, gamma)
    micro = lines.collate([lines.encode(line, wrong=True) for line in triples.lines])
    assert len(micro.packed.ids) == 4  # three pictures, and the lines without one
    assert [len(pixels) for pixels in micro.pixels] == [1, 3, 7]
    losses = losses_of(TrainableModel(source.config, source.checkpoint), micro, beta=beta, gamma=gamma)
    assert float(losses.sft) == pytest.approx(sft, rel=1e-5)
    assert float(losses.preference) == pytest.approx(preference, rel=1e-4)
    assert losses.preferred == pytest.approx(preferred)


def test_that_would_notice_a_missing_phantom_dimension(case):
    source, triples, lines, answers = case
    without = list(naive_answers(source, triples, lines, phantom=False))
    assert abs(naive_losses(answers, 2.0, 0.5)[0] - naive_losses(without, 2.0, 0.5)[0]) > 1e-3


def test_the_size_of_a_micro_batch_changes_neither_loss_nor_gradient(case):
    source, triples, lines, _ = case
    batch = [lines.encode(line, wrong=True) for line in triples.lines]
    seen = []
    for size in (1, 3, len(batch)):
        model = TrainableModel(source.config, source.checkpoint)
        model.learn(learns_first)
        total = 0.0
        for start in range(0, len(batch), size):
            micro = lines.collate(batch[start : start + size])
            share = share_of(losses_of(model, micro, beta=2.0, gamma=0.5), micro, batch)
            share.backward()
            total += float(share.detach())
        seen.append((total, {name: tensor.grad for name, tensor in model.trained()}))
    for total, grads in seen[:-1]:
        assert total == pytest.approx(seen[-1][0], rel=1e-5)
        for name, grad in grads.items():
            expected = seen[-1][1][name]
            # fp32 adds up in another order, which the amplified phantom matrices show in the fourth digit.
            assert float((grad - expected).norm()) <= 1e-3 * float(expected.norm()) + 1e-9, name
