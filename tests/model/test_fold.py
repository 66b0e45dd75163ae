"""The fold against the original, in every family: exact, compressed, chunked, cached; and what its
certificate says.
"""

import math
from dataclasses import replace

import pytest
import torch

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.certificate import certify, contributions, layer_changes, probe_logits
from phantom_edge.model.fold import KINDS, Fold, PhantomConstants, bases_of, simplex_samples
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original import PhantomModel
from phantom_edge.model.original_run import probe_ids
from phantom_edge.model.spec import FoldedSpec
from phantom_edge.model.weights import LazyWeights, view
from phantom_edge.numbers.grid import QuantizedTensor
from phantom_edge.numbers.recipe import load_recipe
from recipes.synthetic import TINY_FAMILIES

# fp32 on both sides: only the order of summation differs. Without phantom the same logits move by tenths.
FP32 = 2e-5


@pytest.fixture(scope="module", params=TINY_FAMILIES)
def source(request, tiny_dirs):
    return Pretrained.open(tiny_dirs[request.param])


def fold(source, text="exact"):
    return FoldedModel.of(source.config, source.checkpoint, Fold.parse(text), source.first_id)


def with_layer(base, other, layer):
    """``base`` with the phantom constants of one layer taken from ``other``, a fold of the same weights."""
    prefixes = tuple(f"text_decoder.layers.{layer}.{part}." for part in ("phantom", "gate"))
    makers = view(base.weights, lambda name: not name.startswith(prefixes))
    makers |= view(other.weights, lambda name: name.startswith(prefixes))
    dims = list(base.spec.phantom_dims)
    dims[layer] = other.spec.phantom_dims[layer]
    return replace(base, spec=FoldedSpec(base.spec.config, tuple(dims)), weights=LazyWeights(makers))


def original_logits(source, ids, **options):
    model = PhantomModel(source.config, source.checkpoint, **options)
    return model.decode(model.embed(ids), model.make_cache(), all_positions=True)


def test_the_exact_fold_is_the_original(source):
    ids = probe_ids(source.config, source.first_id)
    expected = original_logits(source, ids)
    assert (probe_logits(fold(source), ids) - expected).abs().max() < FP32
    assert (original_logits(source, ids, phantom=False) - expected).abs().max() > 0.1


def test_without_phantom_the_fold_is_the_original_without_phantom(source):
    ids = probe_ids(source.config, source.first_id)
    assert (
        probe_logits(fold(source, "off"), ids) - original_logits(source, ids, phantom=False)
    ).abs().max() < FP32


@pytest.mark.parametrize("pieces", [[48], [1] * 48, [5, 20, 1, 22]])
def test_prefill_whole_in_chunks_and_token_by_token(source, pieces):
    model, ids = fold(source), probe_ids(source.config, source.first_id)
    expected, cache, parts = probe_logits(model, ids), model.make_cache(48), []
    for part in ids.split(pieces, dim=1):
        parts.append(model.decode(model.embed(part), cache, all_positions=True))
    assert (torch.cat(parts, dim=1) - expected).abs().max() < FP32


def test_original_with_cache_is_original_without(source):
    model, ids = PhantomModel(source.config, source.checkpoint), probe_ids(source.config, source.first_id)
    cache = model.make_cache()
    parts = [
        model.decode(model.embed(part), cache, all_positions=True) for part in ids.split([30, 17, 1], dim=1)
    ]
    assert (torch.cat(parts, dim=1) - original_logits(source, ids)).abs().max() < FP32


def test_vision_folds_normalisation_and_layer_scale(source):
    pixels = torch.rand(
        2, 3, source.config.tile_size, source.config.tile_size, generator=torch.Generator().manual_seed(1)
    )
    expected = PhantomModel(source.config, source.checkpoint).encode_image(pixels)
    assert (fold(source).encode_image(pixels) - expected).abs().max() < FP32


def test_another_first_token_is_another_fold(source):
    other = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id + 1)
    ids = probe_ids(source.config, source.first_id)
    assert (probe_logits(other, ids) - original_logits(source, ids)).abs().max() > 100 * FP32


def test_full_rank_is_exact_and_less_rank_is_worse(source):
    ids, full = probe_ids(source.config, source.first_id), source.config.decoder.head_dim
    expected = original_logits(source, ids)
    errors = [(probe_logits(fold(source, f"rank:{r}"), ids) - expected).abs().max().item() for r in (8, full)]
    assert errors[1] < FP32 < errors[0] < 0.2


def test_the_certificate_holds(source):
    model = fold(source, "rank:8")
    certificate = certify(source.config, source.checkpoint, model)
    ids = probe_ids(source.config, source.first_id)
    moved = (probe_logits(model, ids) - original_logits(source, ids)).abs().max().item()
    assert certificate.logit_change == pytest.approx(moved)
    assert [c.proved for c in certificate.layers] == [source.config.decoder.kv_heads <= 2] * 2
    off = certify(source.config, source.checkpoint, fold(source, "off"))
    for less, none in zip(certificate.layers, off.layers, strict=True):
        assert 0 < less.score_bound < none.score_bound
        assert 0 < less.output_bound < none.output_bound
        assert less.logit_change < none.logit_change


def test_output_bound_covers_what_a_head_can_say(source):
    """The value half of any softmax weights, through the basis and back, stays within the stated bound."""
    model, exact = fold(source, "rank:8"), fold(source)
    certificate = certify(source.config, source.checkpoint, model, exact)
    layer = "text_decoder.layers.0"
    c = PhantomConstants(*(exact.weights[f"{layer}.phantom.value.{part}"] for part in ("in", "heads", "mix")))
    y = c.of_weights(torch.rand(500, c.heads.shape[0]).softmax(-1))
    there = y @ model.weights[f"{layer}.phantom.value.basis"].T
    back = there @ model.weights[f"{layer}.gate.basis"].T  # already times eta
    worst = (back - 1e-4 * y).norm(dim=-1).max().item()
    assert worst <= certificate.layers[0].output_bound * 1.01


@pytest.mark.parametrize("text", ["rank:8", "off"])
def test_a_layers_change_is_that_of_the_model_with_this_layer_alone(source, text):
    """One pass with all branches, against a model of its own for each layer."""
    exact, other, ids = fold(source), fold(source, text), probe_ids(source.config, source.first_id)
    moved, logits = layer_changes(exact, other, ids)
    reference = probe_logits(exact, ids)
    expected = {
        n: (probe_logits(with_layer(exact, other, n), ids) - reference).abs().max().item() for n in range(2)
    }
    assert moved == pytest.approx(expected, rel=0.01, abs=FP32)
    assert (logits - probe_logits(other, ids)).abs().max() < FP32


def test_contributions_are_those_of_switching_a_layer_off(source):
    changes = contributions(source.config, source.checkpoint, source.first_id)
    assert len(changes) == source.config.decoder.layers
    assert min(changes) > 0.01


def test_quantised_weights_keep_the_phantom_constants_in_fp32(source):
    model = fold(source).quantized(load_recipe("int8"))
    scale = model.weights["text_decoder.layers.0.phantom.query.scale"]
    assert scale.dtype == torch.float32
    assert 0 < scale < 1e-4  # eta squared over a power of two: mostly nothing in fp16
    assert isinstance(model.weights["text_decoder.layers.0.qkv.weight"], QuantizedTensor)
    assert model.weights["vision_encoder.patch_embedding.weight"].dtype == torch.float16


def test_a_context_that_is_full_is_refused(source):
    model, ids = fold(source), probe_ids(source.config, source.first_id)
    with pytest.raises(InputError, match="do not fit a context of 40"):
        model.decode(model.embed(ids), model.make_cache(40))


def test_y_by_hand():
    """Two heads, two dimensions: softmax of (1, 0), then GELU of the mix, computed with math alone."""
    eye = torch.eye(2)
    constants = PhantomConstants(inner=eye, heads=torch.tensor([[1.0, 0.0], [0.0, 0.0]]), mix=eye)
    gelu = lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2)))  # noqa: E731
    first = math.exp(gelu(2.0)) / (math.exp(gelu(2.0)) + 1)
    y = constants(torch.tensor([2.0, 0.0]))
    assert y.tolist() == pytest.approx([gelu(first), gelu(1 - first)], abs=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3, 8, 32])
def test_samples_cover_the_simplex(heads):
    samples = simplex_samples(heads)
    assert torch.allclose(samples.sum(-1), torch.ones(len(samples)), atol=1e-5)
    assert (samples.max(0).values > 0.999).all()


@pytest.mark.parametrize(
    "text", ["", "rank", "rank:0", "rank:7", "rank:-8", "rank:99999", "auto!", "auto:0", "auto:2", "EXACT"]
)
def test_an_unknown_fold_is_refused(text):
    with pytest.raises(InputError, match="unknown fold"):
        Fold.parse(text)


def test_a_rank_above_the_head_dimension_is_refused(source):
    with pytest.raises(InputError, match="the head dimension is 16"):
        fold(source, "rank:24")


def test_long_contexts_change_the_rope_tables(tiny_dirs):
    from phantom_edge.model.rope import rotary_tables, static_tables

    positions = torch.tensor([5, 4000])
    for family in ("internlm2", "phi3"):
        rope = Pretrained.open(tiny_dirs[family]).config.decoder.rope
        short, long = (rotary_tables(rope, 16, positions, n)[0] for n in (4001, rope.original_context + 1))
        assert not torch.allclose(short, long)
        with pytest.raises(InputError, match="rotary embedding changes"):
            static_tables(rope, 16, rope.original_context + 1)
    plain = replace(rope, kind="default")
    assert torch.equal(
        rotary_tables(plain, 16, positions, 1)[0], rotary_tables(plain, 16, positions, 10**6)[0]
    )


def test_dynamic_ntk_by_formula(tiny_dirs):
    """Base grows by (factor * length / context - (factor - 1)) ** (d / (d - 2)), as published for
    InternLM2.
    """
    from phantom_edge.model.rope import rotary_tables

    rope = Pretrained.open(tiny_dirs["internlm2"]).config.decoder.rope
    cos, _ = rotary_tables(rope, 16, torch.tensor([3]), 2 * rope.original_context)
    base = rope.theta * (2 * 2 - 1) ** (16 / 14)
    assert cos[0, 1].item() == pytest.approx(math.cos(3 / base ** (2 / 16)), abs=1e-6)


def test_auto_takes_the_smallest_rank_that_keeps_the_tolerance(source):
    """Per layer: the chosen rank is within, the next smaller one is not; a loose tolerance chooses less."""
    exact = fold(source)
    for tolerance in (1e-1, 1e-3, 1e-6):
        model = fold(source, f"auto:{tolerance}")
        for n, rank in enumerate(model.spec.phantom_dims):
            at = f"text_decoder.layers.{n}.phantom"
            parts = {k: [exact.weights[f"{at}.{k}.{p}"] for p in ("in", "heads", "mix")] for k in KINDS}
            constants = {kind: PhantomConstants(*part) for kind, part in parts.items()}
            fits = [_relative(constants, r) <= tolerance for r in range(8, 17, 8)]
            assert rank == next((r for r, ok in zip((8, 16), fits, strict=True) if ok), 16)
    assert max(fold(source, "auto:0.5").spec.phantom_dims) == 8
    assert str(fold(source, "auto").fold) == "auto:0.001"


def _relative(constants, rank):
    bases = bases_of(constants, rank)
    worst = 0.0
    for kind, basis in (("key", bases.key), ("value", bases.value)):
        y = constants[kind].of_weights(simplex_samples(constants[kind].heads.shape[0]))
        worst = max(worst, ((y - (y @ basis.T) @ basis).norm(dim=-1).max() / y.norm(dim=-1).max()).item())
    return worst if rank < 16 else 0.0


def test_ranks_may_differ_by_layer(source):
    """One layer exact, one compressed, in one model: cache, attention and certificate follow."""
    exact, small = fold(source), fold(source, "rank:8")
    mixed = with_layer(exact, small, 1)
    ids = probe_ids(source.config, source.first_id)
    assert mixed.spec.phantom_dims == (16, 8)
    changed = (probe_logits(mixed, ids) - probe_logits(exact, ids)).abs().max()
    assert 0 < changed < 0.2
    certificate = certify(source.config, source.checkpoint, replace(mixed, fold=Fold.parse("auto")), exact)
    assert certificate.layers[0].output_bound == 0 < certificate.layers[1].output_bound
    assert certificate.layers[1].logit_change == pytest.approx(changed.item())
