"""The saved packages, run op by op, against torch with the same numbers, and against the published
outputs.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from coreml_models import change_model, difference, load, write
from folded_models import Exports, backend_logits, quantized, random_ids, torch_logits
from onnx_models import CHUNK, CONTEXT, embed, tile
from recorded import RECORDED, conformance
from safetensors.numpy import load_file

from phantom_edge.errors import InputError
from phantom_edge.export.base import ExportOptions
from phantom_edge.export.coreml import export, reference, toolkit
from phantom_edge.images import load_image, pixel_values
from phantom_edge.runtime import coreml_backend
from phantom_edge.runtime.decoding import rewind

# Lifted: fp32 on both sides over the same constants. Seen: 2e-7 image tokens, 4e-5 logits; what remains is
# the order of sums, epsilon as float16 holds it, and sqrt(2) as a product of two float16 numbers.
LIFTED = 1e-4
# Typed: every result keeps 11 bits, some two hundred roundings deep, over logits with a root mean square near
# 1.3. Seen: 1.4e-3 image tokens, 1.4e-2 logits; with fp32 and only the cache in float16 4e-3.
TYPED = {"fp16": 0.03, "fp32": 0.01}
TYPED_IMAGE = 3e-3
MARGIN = (
    5  # how much further than the largest rounding error a missing part of the phantom must move the logits
)
PIECES = {"in chunks": [16, 16, 8], "token by token": [1] * 40, "prefill, then one": [39, 1]}


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("coreml"), write, "fp16")


@pytest.fixture(scope="module")
def paths(tiny_dirs) -> list:
    """Tiny checkpoints: first with biases and a tied head, last with as many key heads as query heads."""
    return list(tiny_dirs.values())


def held(path, recipe="fp16", fold="exact"):
    return reference(quantized(path, recipe, fold))


def check(folder, model, mode: str, image_limit: float, limit: float) -> None:
    """One tile, one prompt, at once and in two calls."""
    backend = load(folder, mode)
    pixels = tile(model)
    assert (
        difference(backend.encode_image(pixels), model.encode_image(torch.from_numpy(pixels)).numpy())
        < image_limit
    )
    ids = random_ids(model, 40)
    embeds = embed(model, ids)
    assert difference(backend.embed(ids), embeds) < image_limit
    expected = torch_logits(model, embeds, [40])
    for pieces in ([40], [16, 24]):
        assert difference(backend_logits(backend, embeds, pieces), expected) < limit


class TestLifted:
    """Structure: no result is rounded, so what differs is a fault."""

    def test_every_decoder_agrees_with_torch(self, exports, checkpoint_dirs):
        for path in checkpoint_dirs.values():
            check(exports(path)[0], held(path), "lifted", LIFTED, LIFTED)

    @pytest.mark.parametrize(
        ("recipe", "fold"),
        [("fp32", "exact"), ("int8", "exact"), ("int4", "exact"), ("fp16", "rank:8"), ("fp16", "off")],
    )
    def test_every_recipe_and_fold_agrees_with_torch(self, exports, paths, recipe, fold):
        check(exports(paths[0], recipe, fold)[0], held(paths[0], recipe, fold), "lifted", LIFTED, LIFTED)

    def test_int4_of_an_untied_decoder(self, exports, paths):
        check(exports(paths[-1], "int4")[0], held(paths[-1], "int4"), "lifted", LIFTED, LIFTED)

    @pytest.mark.parametrize("pieces", PIECES)
    @pytest.mark.parametrize("mode", ["lifted", "typed"])
    def test_pieces_of_a_prefill_agree(self, exports, paths, pieces, mode):
        """Typed too: each position's results are rounded alike, however many are computed at once."""
        model, backend = held(paths[0], "int4"), load(exports(paths[0], "int4")[0], mode)
        embeds = embed(model, random_ids(model, 40))
        once = backend_logits(backend, embeds, [40])
        limit = LIFTED if mode == "lifted" else TYPED["fp16"]
        assert difference(backend_logits(backend, embeds, PIECES[pieces]), once) < limit

    def test_tokens_are_equal(self, exports, paths):
        model, backend = held(paths[0], "int4"), load(exports(paths[0], "int4")[0])
        first = embed(model, random_ids(model, 12))
        assert greedy(backend, first, backend.embed) == greedy(
            Torch(model), first, lambda ids: embed(model, ids)
        )


class Torch:
    """The reference behind the two calls that :func:`greedy` needs."""

    def __init__(self, model):
        self.model = model

    def make_cache(self):
        return self.model.make_cache(CONTEXT)

    def decode(self, embeds, cache):
        return self.model.decode(torch.from_numpy(embeds), cache)[0, -1].numpy()


def greedy(backend, embeds, embed_ids, count: int = 12) -> list[int]:
    cache, tokens = backend.make_cache(), []
    for _ in range(count):
        tokens.append(int(backend.decode(embeds, cache).argmax()))
        embeds = embed_ids(np.array([tokens[-1:]]))
    return tokens


class TestTyped:
    """Every result rounded to its declared type, as a device would at best."""

    def test_rounding_stays_small_in_every_decoder(self, exports, checkpoint_dirs):
        for path in checkpoint_dirs.values():
            check(exports(path)[0], held(path), "typed", TYPED_IMAGE, TYPED["fp16"])

    @pytest.mark.parametrize(("recipe", "float_type"), [("int4", "fp16"), ("fp32", "fp32")])
    def test_rounding_stays_small_in_every_type(self, exports, paths, recipe, float_type):
        check(exports(paths[0], recipe)[0], held(paths[0], recipe), "typed", TYPED_IMAGE, TYPED[float_type])


class TestPhantom:
    """Each half of the phantom dimension is there: without it the logits move far beyond any rounding."""

    @pytest.mark.parametrize("mode", ["lifted", "typed"])
    def test_dropping_it_moves_the_logits(self, exports, paths, mode):
        model = held(paths[0])
        embeds = embed(model, random_ids(model, 40))
        whole, without = (
            backend_logits(load(exports(paths[0], "fp16", fold)[0], mode), embeds, [40])
            for fold in ("exact", "off")
        )
        assert difference(whole, without) > MARGIN * TYPED["fp16"]
        # and by as much as torch says
        expected = torch_logits(model, embeds, [40]) - torch_logits(
            held(paths[0], "fp16", "off"), embeds, [40]
        )
        assert difference(whole - without, expected) < (2 * LIFTED if mode == "lifted" else 2 * TYPED["fp16"])

    @pytest.fixture(scope="class")
    def strong(self, paths, tmp_path_factory):
        """A model whose score term, eta^2 y_q y_k, is 1000 times larger, to be told from rounding; and its
        export.
        """
        model = quantized(paths[0], "fp16")
        weights = {n: w * 1000 if n.endswith("query.scale") else w for n, w in model.weights.items()}
        model, out = replace(model, weights=weights), tmp_path_factory.mktemp("strong")
        write(model, out)
        return model, out

    @pytest.mark.parametrize(
        "constant", ["phantom.query.scale", "phantom.key.mix", "phantom.value.mix", "gate.scale"]
    )
    def test_each_side_counts_in_float16(self, strong, tmp_path, constant):
        model, out = strong
        zeroed = {n: torch.zeros_like(w) if n.endswith(constant) else w for n, w in model.weights.items()}
        write(replace(model, weights=zeroed), tmp_path)
        embeds = embed(model, random_ids(model, 40))
        whole, without = (backend_logits(load(folder, "typed"), embeds, [40]) for folder in (out, tmp_path))
        assert difference(whole, torch_logits(reference(model), embeds, [40])) < TYPED["fp16"]
        assert difference(whole, without) > MARGIN * TYPED["fp16"]


@conformance
class TestPublished:
    def test_image_then_text(self, tmp_path):
        """The whole way of one picture in the artifact alone, against what the authors' own code computed."""
        path = RECORDED[0]
        golden = load_file(path / "golden.safetensors")
        model, ids = quantized(path, "fp32"), golden["small.input_ids"][None]
        export(model, ExportOptions(512, 256, "fp32", (2,)), tmp_path, lambda _: None)
        backend = load(tmp_path, "lifted", context=512, chunk=256)
        pixels = pixel_values(load_image(path / "small.png"), tile_size=model.config.tile_size)
        image = backend.encode_image(pixels)
        assert difference(image[:, ::16], golden["small.image_embeds"]) < LIFTED
        embeds = backend.embed(ids)
        embeds[ids == model.config.image_token_id] = image.reshape(-1, image.shape[-1])
        cache = backend.make_cache()
        backend.decode(embeds[:, :256], cache)
        result = backend.decode(embeds[:, 256:], cache)
        assert difference(result, golden["small.last_logits"]) < LIFTED
        tokens = []
        for _ in range(12):
            tokens.append(int(result.argmax()))
            result = backend.decode(backend.embed(np.array([tokens[-1:]])), cache)
        assert tokens == golden["small.generated_ids"][-12:].tolist()


class TestCache:
    def test_caches_are_independent_and_can_be_rewound(self, exports, paths):
        model, backend = held(paths[0]), load(exports(paths[0])[0])
        prompts = [embed(model, random_ids(model, 20, seed)) for seed in (1, 2)]
        caches = [backend.make_cache(), backend.make_cache()]
        for cache, embeds in zip(caches, prompts, strict=True):
            backend.decode(embeds[:, :12], cache)
        for cache, embeds in zip(caches, prompts, strict=True):
            assert (
                difference(backend.decode(embeds[:, 12:], cache), torch_logits(model, embeds, [20])) < LIFTED
            )
        caches[0].length = 12  # another turn after the same beginning: what lies beyond is masked
        mixed = np.concatenate([prompts[0][:, :12], prompts[1][:, 5:10]], axis=1)
        assert difference(backend.decode(mixed[:, 12:], caches[0]), torch_logits(model, mixed, [17])) < LIFTED

    def test_the_last_position_of_the_context_can_be_used(self, exports, paths):
        model, backend = held(paths[0]), load(exports(paths[0])[0])
        embeds = embed(model, random_ids(model, CONTEXT))
        cache = backend.make_cache()
        backend.decode(embeds[:, :CHUNK], cache)
        result = backend.decode(embeds[:, CHUNK:], cache)
        assert difference(result, torch_logits(model, embeds, [CONTEXT])) < LIFTED
        with pytest.raises(InputError, match=f"{CONTEXT + 1} tokens do not fit a context of {CONTEXT}"):
            backend.decode(embeds[:, :1], cache)

    @pytest.mark.parametrize("steps", [0, CHUNK + 1])
    def test_more_than_a_chunk_or_nothing_is_refused(self, exports, paths, steps):
        backend = load(exports(paths[0])[0])
        hidden = held(paths[0]).config.decoder.hidden_size
        with pytest.raises(InputError, match=f"takes 1 to {CHUNK} tokens, not {steps}"):
            backend.decode(np.zeros((1, steps, hidden), np.float32), backend.make_cache())


class TestFixedFunctions:
    """`prefill` and `decode`, which an app runs, against torch and beside ``main``."""

    @pytest.mark.parametrize(
        "pieces",
        [
            [CHUNK, 1, 1],
            [3, 1, 7, CHUNK - 20],  # calls of prefill that are filled up, and written over by the next
            [CHUNK, 20, CONTEXT - CHUNK - 20],  # whole chunks would run past the end of the context
        ],
    )
    @pytest.mark.parametrize("mode", ["lifted", "typed"])
    def test_logits_are_the_torch_models_in_any_pieces(self, exports, paths, pieces, mode):
        model, backend = held(paths[0], "int4"), load(exports(paths[0], "int4")[0], mode, functions="fixed")
        embeds = embed(model, random_ids(model, sum(pieces)))
        limit = LIFTED if mode == "lifted" else TYPED["fp16"]
        assert difference(backend_logits(backend, embeds, pieces), torch_logits(model, embeds)) < limit

    def test_main_continues_what_they_have_filled(self, exports, paths):
        model, backend = held(paths[0]), load(exports(paths[0])[0], functions="fixed")
        embeds, cache = embed(model, random_ids(model, 40)), backend.make_cache()
        backend.decode(embeds[:, :30], cache)
        result = backend.decode(embeds[:, 30:], cache, function="main")
        assert difference(result, torch_logits(model, embeds)) < LIFTED
        rewind(cache, 20)
        result = backend.decode(embeds[:, 20:], cache)
        assert difference(result, torch_logits(model, embeds)) < LIFTED

    def test_a_decoder_without_them_is_refused(self, exports, paths, tmp_path):
        shutil.copytree(exports(paths[0])[0], tmp_path / "export")
        package = tmp_path / "export" / "text_decoder.mlpackage"
        change_model(package, lambda model: model.mlProgram.functions.pop("prefill"))
        load(tmp_path / "export")
        with pytest.raises(InputError, match="has no function prefill"):
            load(tmp_path / "export", functions="fixed")

    def test_one_of_another_length_is_refused(self, exports, paths):
        with pytest.raises(
            InputError, match=f"prefill takes position_ids .*, not {CHUNK // 2} over the states"
        ):
            load(exports(paths[0])[0], chunk=CHUNK // 2, functions="fixed")


class TestArrays:
    def test_tiles_do_not_depend_on_their_neighbours(self, exports, paths):
        model, backend = held(paths[0]), load(exports(paths[0])[0])
        pixels = np.concatenate([tile(model, seed) for seed in (1, 2)])
        together = backend.encode_image(pixels)
        assert together.dtype == np.float32
        assert np.array_equal(
            together, np.concatenate([backend.encode_image(pixels[n : n + 1]) for n in (0, 1)])
        )
        assert difference(together, model.encode_image(torch.from_numpy(pixels)).numpy()) < LIFTED

    def test_embeds_more_ids_than_a_chunk(self, exports, paths):
        model, backend = held(paths[0]), load(exports(paths[0])[0])
        ids = random_ids(model, CHUNK + 5)
        assert difference(backend.embed(ids), embed(model, ids)) < LIFTED

    @pytest.mark.parametrize("wrong", [-1, 1 << 20])
    def test_ids_outside_the_vocabulary_are_refused(self, exports, paths, wrong):
        with pytest.raises(InputError, match=r"token ids must lie in 0\.\."):
            load(exports(paths[0])[0]).embed(np.array([[1, wrong]]))

    def test_name_says_what_runs(self, exports, paths):
        assert [load(exports(paths[0])[0], mode).name for mode in ("lifted", "typed")] == [
            "mil-interpreter (lifted)",
            "mil-interpreter (typed)",
        ]


class TestBadArtifacts:
    @pytest.fixture
    def copy(self, exports, paths, tmp_path):
        return shutil.copytree(exports(paths[0])[0], tmp_path / "copy")

    def test_missing_package(self, copy):
        shutil.rmtree(copy / "token_embedding.mlpackage")
        with pytest.raises(InputError, match="token_embedding"):
            load(copy)

    def test_truncated_weights(self, copy):
        weights = copy / "text_decoder.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
        weights.write_bytes(weights.read_bytes()[:5000])
        with pytest.raises(InputError, match="weight"):
            load(copy)

    def test_a_package_that_is_no_decoder(self, copy):
        shutil.rmtree(copy / "text_decoder.mlpackage")
        shutil.copytree(copy / "token_embedding.mlpackage", copy / "text_decoder.mlpackage")
        with pytest.raises(InputError, match="not a decoder of this toolkit"):
            load(copy)

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ({"context": CONTEXT + 1}, f"exported for {CONTEXT} tokens, not {CONTEXT + 1}"),
            ({"chunk": CHUNK + 1}, f"not {CHUNK + 1} tokens at once"),
        ],
    )
    def test_more_than_it_was_exported_for(self, exports, paths, sizes, message):
        with pytest.raises(InputError, match=message):
            load(exports(paths[0])[0], **sizes)

    def test_unknown_mode(self, exports, paths):
        with pytest.raises(InputError, match="mode 'fast'"):
            load(exports(paths[0])[0], "fast")


class FakeCoreml:
    """Stands in for coremltools' MLModel: takes what it takes, and answers through the interpreter."""

    def __init__(self, path: str, function_name: str | None = None):
        from phantom_edge.mil import MilModel

        self.model, self.function = MilModel.load(path, mode="lifted"), function_name
        self.seen: list[dict[str, str]] = []

    def make_state(self):
        return self.model.make_state()

    def predict(self, data, state=None):
        self.seen.append({name: str(array.dtype) for name, array in data.items()})
        return self.model.predict(data, state, self.function)


class TestNative:
    """The calls to Core ML itself, on a stand-in: this runs on no Mac."""

    def test_calls_are_what_coremltools_takes(self, exports, paths, monkeypatch):
        monkeypatch.setattr(coreml_backend, "NATIVE", coreml_backend.sys.platform)
        fake = SimpleNamespace(models=SimpleNamespace(MLModel=FakeCoreml))
        monkeypatch.setattr(toolkit, "coremltools", lambda: fake)
        model, backend = held(paths[0]), load(exports(paths[0])[0], "typed")
        assert backend.name == "coreml"
        ids = random_ids(model, 40)
        result = backend_logits(backend, backend.embed(ids), [16, 24])
        assert difference(result, torch_logits(model, embed(model, ids), [40])) < LIFTED
        types = {"inputs_embeds": "float32", "position_ids": "int32"}
        assert {name: m.seen for name, m in backend._decoder._models.items()} == {None: [types] * 2}

    def test_functions_of_a_fixed_length_are_models_of_their_own_over_one_state(
        self, exports, paths, monkeypatch
    ):
        monkeypatch.setattr(coreml_backend, "NATIVE", coreml_backend.sys.platform)
        fake = SimpleNamespace(models=SimpleNamespace(MLModel=FakeCoreml))
        monkeypatch.setattr(toolkit, "coremltools", lambda: fake)
        model, backend = held(paths[0]), load(exports(paths[0])[0], "typed", functions="fixed")
        embeds = embed(model, random_ids(model, 40))
        result = backend_logits(backend, embeds, [16, 23, 1])
        assert difference(result, torch_logits(model, embeds, [40])) < LIFTED
        calls = {name: len(m.seen) for name, m in backend._decoder._models.items()}
        assert calls == {None: 0, "prefill": 2, "decode": 1}

    def test_core_mls_errors_become_one_line(self, exports, paths, monkeypatch):
        def broken(path, **_):
            raise RuntimeError("no framework\nlong trace")

        monkeypatch.setattr(coreml_backend, "NATIVE", coreml_backend.sys.platform)
        fake = SimpleNamespace(models=SimpleNamespace(MLModel=broken))
        monkeypatch.setattr(toolkit, "coremltools", lambda: fake)
        with pytest.raises(InputError, match=r"Core ML cannot load it \(no framework\); it needs macOS 15"):
            load(exports(paths[0])[0], "typed")
