"""Recovery on a tiny model: integers stay, scales stay on the grid, and the next tokens come nearer."""

import pytest
import torch

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.layer_by_layer import logits
from phantom_edge.numbers.grid import round_scale
from phantom_edge.numbers.recipe import load_recipe
from phantom_edge.quantize.calibration import drawn_set
from phantom_edge.quantize.layerwise import quantize_layerwise
from phantom_edge.quantize.methods import METHODS
from phantom_edge.quantize.quality import quality
from phantom_edge.quantize.recovery import RecoverOptions, recover


@pytest.fixture(scope="module")
def tiny(tiny_dirs):
    source = Pretrained.open(tiny_dirs["qwen2"])
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    fit, held_out = drawn_set(source, 8, pairs=True), drawn_set(source, 8, split="validation")
    return model, quantize_layerwise(model, load_recipe("int4"), METHODS["rtn"], fit.samples), fit, held_out


@pytest.mark.parametrize("objective", ["distil", "phantom"])
def test_it_wins_back_part_of_what_rounding_took(tiny, objective):
    model, quantization, fit, held_out = tiny
    after = recover(
        model, quantization, fit, held_out, RecoverOptions(steps=8, lr=1e-2, batch=2, objective=objective)
    )
    facts = after.facts["recovery"]
    if objective == "distil":
        assert facts["kept"]
        assert facts["after"]["kl"] < 0.9 * facts["before"]["kl"]
        applied = after.apply(model)
        truth = logits(model, held_out.samples)
        again = quality(truth, logits(applied, held_out.samples))
        assert again.kl == pytest.approx(facts["after"]["kl"], rel=1e-6)
    assert facts["loss"][-1] < facts["loss"][0]
    changed = 0
    for name, weight in after.integers.items():
        assert torch.equal(weight.values, quantization.integers[name].values)
        assert torch.equal(weight.scales, round_scale(weight.scales))
        changed += int(not torch.equal(weight.scales, quantization.integers[name].scales))
    assert changed > 0.8 * len(quantization.integers) or not facts["kept"]
    assert not any(".phantom." in name or ".gate." in name for name in after.floats)


def test_what_makes_no_sense_is_refused(tiny):
    model, quantization, _, held_out = tiny
    with pytest.raises(InputError, match="needs wrong answers"):
        recover(model, quantization, held_out, held_out, RecoverOptions(objective="phantom"))
    with pytest.raises(InputError, match="unknown objective 'sft'; there are distil, phantom"):
        RecoverOptions(objective="sft")
    with pytest.raises(InputError, match="needs a step, a sample per step"):
        RecoverOptions(steps=0)
