"""Each module's share of the KL divergence: estimated for all at once, against each measured alone."""

from dataclasses import replace

import pytest
import torch
from calibrated import drawn, model_of

from phantom_edge.model.layer_by_layer import EMBEDDING, logits
from phantom_edge.model.weights import LazyWeights
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.recipe import FP16, INT8, Precision
from phantom_edge.numbers.scale_search import quantize_weight
from phantom_edge.quantize.quality import divergence
from phantom_edge.quantize.result import overlaid
from phantom_edge.quantize.sensitivity import Option, shares

INT4 = Precision(4, 32)


@pytest.fixture(scope="module")
def integers(tiny_dirs):
    model = model_of(tiny_dirs["qwen2"])
    names = [n for n in model.module_shapes() if "layers.0" not in n]
    weights = {name: model.weights[f"{name}.weight"] for name in names}
    return {
        name: {
            p: quantize_weight(w, p.bits, p.group) for p in ([INT8] if name == EMBEDDING else [INT4, INT8])
        }
        for name, w in weights.items()
    }


def measured_alone(model, samples, integers):
    """Bytes and KL of each precision of each module, with one run of the model for each."""
    original, options = logits(model, samples), {}
    for name, by_precision in integers.items():
        options[name] = []
        for precision, weight in {**by_precision, FP16: model.matrix(name).half()}.items():
            weights = LazyWeights(overlaid(model.weights, {f"{name}.weight": weight}))
            kl = float(divergence(original, logits(replace(model, weights=weights), samples)).mean())
            options[name].append(Option(precision, weight.nbytes, kl))
    return options


def test_the_shares_are_what_each_module_costs_alone(tiny_dirs, integers):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:4]
    measured, estimated = measured_alone(model, samples, integers), shares(model, samples, integers, draws=6)
    pairs = [
        (a.kl, b.kl, a.bytes, b.bytes)
        for name in integers
        for a, b in zip(measured[name], estimated[name], strict=True)
        if a.precision != FP16  # below what a run in fp32 can resolve
    ]
    assert len(pairs) == 2 * len(integers) - 1
    assert all(a == b for _, _, a, b in pairs)
    logs = torch.tensor([[a, b] for a, b, *_ in pairs]).log()
    assert torch.corrcoef(logs.T)[0, 1] > 0.95
    ratios = (logs[:, 1] - logs[:, 0]).exp()
    assert 0.6 < ratios.median() < 1.6
    assert ratios.min() > 0.2
    assert ratios.max() < 5
    assert all(o.kl < 1e-6 for options in estimated.values() for o in options if o.precision == FP16)


def test_rounded_inputs_are_part_of_it(tiny_dirs, integers):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:4]
    name = "text_decoder.layers.1.down"
    only = {name: {INT8: integers[name][INT8]}}
    plain = shares(model, samples, only)[name][0].kl
    rounded = shares(model, samples, only, activation=lambda w: ActivationGrid.TENSOR_UINT8)[name][0].kl
    assert rounded > 1.5 * plain


def test_the_same_seed_gives_the_same_shares(tiny_dirs, integers):
    model, samples = model_of(tiny_dirs["qwen2"]), drawn(tiny_dirs["qwen2"]).samples[:2]
    name = "text_decoder.layers.1.qkv"
    one, two, other = (shares(model, samples, {name: integers[name]}, seed=s)[name][0].kl for s in (0, 0, 1))
    assert one == two != other
