"""The model that learns: the original's numbers, gradients where they belong, adapters, memory."""

from __future__ import annotations

import pytest
import torch
from triple_files import collator, read

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model.original import PhantomModel
from phantom_edge.training.device import computing
from phantom_edge.training.objective import mean_by_answer
from phantom_edge.tune.compute import log_probs_of, losses_of
from phantom_edge.tune.lora import is_adapted, make_adapters
from phantom_edge.tune.memory import check_memory, learning_parameters, resident_bytes
from phantom_edge.tune.trainable import TrainableModel, learns_first
from recipes.synthetic import TINY, TINY_FAMILIES, write_checkpoint


@pytest.fixture(scope="module", params=list(TINY_FAMILIES))
def source(request, tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs[request.param])


@pytest.fixture(scope="module")
def qwen2(tiny_dirs) -> Pretrained:
    return Pretrained.open(tiny_dirs["qwen2"])


@pytest.fixture(scope="module")
def batch(qwen2, tmp_path_factory):
    triples = read(tmp_path_factory.mktemp("triples"))
    lines = collator(qwen2, triples)
    return lines.collate([lines.encode(line, wrong=True) for line in triples.lines])


def test_the_model_computes_what_the_original_does(source):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(2, 3, 56, 56, generator=generator)
    first = source.first_id
    rest = torch.randint(0, source.config.decoder.vocab_size, (1, 24), generator=generator)
    ids = torch.cat([torch.tensor([[first]]), rest], dim=1)
    original = PhantomModel(source.config, source.checkpoint)
    image = original.encode_image(pixels)
    logits = original.decode(original.embed(ids), original.make_cache(), all_positions=True)
    without = TrainableModel(source.config, source.checkpoint, phantom=False)
    assert float((without.decode(without.embed(ids)) - logits).abs().max()) > 1e-2
    for model in (
        TrainableModel(source.config, source.checkpoint),
        TrainableModel(source.config, source.checkpoint, recompute=True),
    ):
        assert float((model.encode_image(pixels) - image).abs().max()) < 1e-5
        assert float((model.decode(model.embed(ids)) - logits).abs().max()) < 1e-5


def test_weights_stored_in_bf16_are_computed_with_in_fp32(tmp_path):
    source = Pretrained.open(write_checkpoint(tmp_path / "half", TINY, dtype="bfloat16"))
    lean = TrainableModel(source.config, source.checkpoint)
    plain = TrainableModel(source.config, {name: w.float() for name, w in source.checkpoint.items()})
    assert lean.weights["text_decoder.layers.0.qkv.weight"].dtype == torch.bfloat16
    ids = torch.tensor([[source.first_id, 40, 41, 42]])
    assert torch.equal(lean.decode(lean.embed(ids)), plain.decode(plain.embed(ids)))


def test_only_what_learns_gets_gradients(source, tmp_path):
    triples = read(tmp_path)
    lines = collator(source, triples)
    micro = lines.collate([lines.encode(line, wrong=True) for line in triples.lines])
    model = TrainableModel(source.config, source.checkpoint, recompute=True)
    model.learn(learns_first)
    losses = losses_of(model, micro, beta=2.0, gamma=0.5)
    (losses.sft + losses.preference).backward()
    learns = {name for name, weight in model.weights.items() if weight.grad is not None}
    named = [
        name for name in model.weights if any(p in name for p in ("projector", "phantom", "gate1", "gate2"))
    ]
    assert learns == set(named)
    assert len(learns) == 6 + 2 * (
        12 + 4
    )  # projector; per layer 3 cross-attentions of 4 matrices, 2 gates with bias
    assert all(float(model.weights[name].grad.abs().max()) > 0 for name in learns)
    model.learn(lambda name: True)
    losses_of(model, micro, beta=2.0, gamma=0.5).sft.backward()
    assert all(float(weight.grad.abs().max()) > 0 for weight in model.weights.values())


def gradients(source, batch, *, precision="fp32", **options):
    model = TrainableModel(source.config, source.checkpoint, **options)
    model.learn(lambda name: True)
    with computing("cpu", precision):
        losses = losses_of(model, batch, beta=2.0, gamma=0.5)
    losses.total.backward()
    return float(losses.total.detach()), {name: weight.grad for name, weight in model.weights.items()}


def test_recomputing_changes_no_bit(qwen2, batch):
    (kept, plain), (again, lean) = gradients(qwen2, batch), gradients(qwen2, batch, recompute=True)
    assert kept == again
    assert all(torch.equal(plain[name], lean[name]) for name in plain)


def test_bf16_is_near_fp32_and_learns_in_fp32(qwen2, batch):
    (exact, _), (near, grads) = (
        gradients(qwen2, batch),
        gradients(qwen2, batch, precision="bf16", recompute=True),
    )
    assert exact != near
    assert near == pytest.approx(exact, rel=0.03)
    assert all(grad.dtype == torch.float32 for grad in grads.values())


# --- adapters -----------------------------------------------------------------------------------------------


def with_adapters(source, **options) -> TrainableModel:
    model = TrainableModel(source.config, source.checkpoint, **options)
    model.adapters = make_adapters(model.weights, rank=3, seed=0)
    return model


def test_adapters_lie_on_the_layers_linear_weights_and_change_nothing_at_first(source):
    model = with_adapters(source)
    d, v = source.config.decoder, source.config.vision
    assert len(model.adapters) == 4 * (d.layers + v.layers)
    plain, ids = TrainableModel(source.config, source.checkpoint), torch.tensor([[source.first_id, 40, 41]])
    assert torch.equal(model.decode(model.embed(ids)), plain.decode(plain.embed(ids)))
    same, other = (make_adapters(plain.weights, 3, seed) for seed in (0, 1))
    name = "text_decoder.layers.1.o.weight"
    assert torch.equal(same[name].down, model.adapters[name].down)
    assert not torch.equal(other[name].down, model.adapters[name].down)


def test_merged_adapters_equal_the_model_with_them(source):
    model, plain = with_adapters(source), TrainableModel(source.config, source.checkpoint)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for adapter in model.adapters.values():
            adapter.up.copy_(torch.randn(adapter.up.shape, generator=generator) * 0.1)
    for name, adapter in model.adapters.items():
        plain.weights[name] = plain.weights[name] + adapter.scale * adapter.up @ adapter.down
    pixels, ids = (
        torch.rand(1, 3, 56, 56, generator=generator),
        torch.tensor([[source.first_id, 40, 41, 42, 43]]),
    )

    def outputs(model):
        return model.encode_image(pixels), model.decode(model.embed(ids))

    before, unadapted = outputs(model), outputs(TrainableModel(source.config, source.checkpoint))
    assert all(float((a - b).detach().abs().max()) > 0.01 for a, b in zip(before, unadapted, strict=True))
    assert all(
        float((a - b).detach().abs().max()) < 1e-4 for a, b in zip(before, outputs(plain), strict=True)
    )
    model.settle(torch.float32)
    assert model.adapters == {}
    assert all(
        float((a - b).detach().abs().max()) < 1e-4 for a, b in zip(before, outputs(model), strict=True)
    )


def test_a_rank_above_a_weights_own_is_bounded_by_it(qwen2):
    adapters = make_adapters(TrainableModel(qwen2.config, qwen2.checkpoint).weights, 1000, 0)
    assert adapters["vision_encoder.layers.0.proj.weight"].down.shape == (32, 32)


# --- memory -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("stage", "rank"), [(1, None), (2, None), (2, 3)])
def test_the_memory_foretold_is_what_the_tensors_take(tmp_path, dtype, stage, rank):
    source = Pretrained.open(write_checkpoint(tmp_path / "model", TINY, dtype=dtype))
    model = TrainableModel(source.config, source.checkpoint)
    if rank:
        model.adapters = make_adapters(model.weights, rank, 0)
    model.learn(learns_first if stage == 1 or rank else lambda name: True)
    trained = [tensor for _, tensor in model.trained()]
    frozen = sum(w.nbytes for w in model.weights.values() if not w.requires_grad)
    assert learning_parameters(source.checkpoint, stage, rank) == sum(t.numel() for t in trained)
    assert resident_bytes(source.checkpoint, stage, rank) == frozen + 4 * sum(t.nbytes for t in trained)


def test_too_little_memory_is_said_before_any_work(qwen2):
    from phantom_edge.errors import NoRoomError

    with pytest.raises(NoRoomError, match=r"need 0\.0 GB, this machine has 0\.0 GB: --lora 16 needs less"):
        check_memory(qwen2.checkpoint, [1, 2], None, 1000)
    check_memory(qwen2.checkpoint, [1, 2], None, 1 << 30)


def test_every_tensor_of_a_pass_is_made_on_the_device(qwen2, batch):
    """The meta device has no memory, so it is everywhere at hand; like any other it does not mix with the
    CPU.
    """
    model = TrainableModel(qwen2.config, qwen2.checkpoint, recompute=True, device="meta")
    model.learn(lambda name: True)
    micro = batch.to("meta")
    with computing("meta", "fp32"):
        log_probs = log_probs_of(model, micro)
        means = mean_by_answer(log_probs, micro.packed.answers, micro.packed.segments)
    assert means.device.type == "meta"
    means.sum().backward()
    assert all(weight.grad.device.type == "meta" for weight in model.weights.values())
    with pytest.raises(RuntimeError, match="device"):  # without `computing`
        log_probs_of(model, micro)


def test_what_gets_adapters_is_decided_by_name():
    adapted = ("text_decoder.layers.0.gate_up.weight", "vision_encoder.layers.11.fc2.weight")
    left = (
        "token_embedding.weight",
        "text_decoder.layers.0.phantom.query.o.weight",
        "vision_encoder.projector.fc1.weight",
    )
    assert all(map(is_adapted, adapted))
    assert not any(map(is_adapted, left))
