"""The ``.pte`` in ExecuTorch's own runtime against torch with the same integers, and what the backend
refuses.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from executorch_models import CHUNK, CONTEXT, random_tiles, write
from folded_models import Exports, backend_logits, folded, quantized, random_ids, torch_logits

from phantom_edge.errors import InputError
from phantom_edge.export.executorch import FILE, reference
from phantom_edge.runtime.executorch_backend import ExecutorchBackend

# fp32 on both sides: only the order of summation differs. Seen: 4e-7 on image tokens, 4e-6 on logits.
TOLERANCE = 1e-4
# With activations on an integer grid, a value that lies on a half may round to the other side, and one such
# step moves all that follows it. Inputs differ by about 1e-7 and a step is 1/255 of a row's range: one value
# in some 50 000 is so near a half, and few short prompts meet one. The median holds the tight tolerance, the
# worst a loose one.
TIE = 0.15
PIECES = [[40 - 24, 16, 8], [1] * 40, [5, 11, 16, 7, 1]]


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("executorch"), write)


@pytest.fixture(scope="module")
def qwen(checkpoint_dirs):
    return next(iter(checkpoint_dirs.values()))


@pytest.fixture(scope="module")
def backend(exports, qwen) -> ExecutorchBackend:
    return load(exports(qwen)[0])


def load(folder, context=CONTEXT, chunk=CHUNK) -> ExecutorchBackend:
    return ExecutorchBackend(folder, context=context, chunk=chunk, threads=1)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


class TestFloat:
    def test_every_decoder_agrees_with_torch(self, exports, checkpoint_dirs):
        for checkpoint in checkpoint_dirs.values():
            self.compare(quantized(checkpoint, "fp32"), load(exports(checkpoint)[0]))

    @pytest.mark.parametrize(("recipe", "fold"), [("fp16", "exact"), ("fp32", "rank:8"), ("fp16", "off")])
    def test_stored_as_fp16_and_folded_otherwise(self, exports, qwen, recipe, fold):
        self.compare(quantized(qwen, recipe, fold), load(exports(qwen, recipe, fold)[0]))

    def compare(self, model, backend):
        tiles, ids = random_tiles(model), random_ids(model, 40)
        assert (
            worst(backend.encode_image(tiles), model.encode_image(torch.from_numpy(tiles)).numpy())
            < TOLERANCE
        )
        embeds = model.embed(torch.from_numpy(ids)).numpy()
        assert worst(backend.embed(ids), embeds) == 0  # a gather
        expected = torch_logits(model, embeds)
        for pieces in PIECES:
            result = backend_logits(backend, embeds, pieces)
            assert worst(result, expected) < TOLERANCE
            assert result.argmax() == expected.argmax()

    def test_tiles_do_not_depend_on_their_neighbours(self, exports, qwen):
        backend, tiles = load(exports(qwen, "int8")[0]), random_tiles(folded(qwen), 2)
        alone = [backend.encode_image(tile[None]) for tile in tiles]
        assert np.array_equal(backend.encode_image(tiles), np.concatenate(alone))

    def test_the_phantom_dimension_moves_the_logits(self, exports, qwen):
        embeds = folded(qwen).embed(torch.from_numpy(random_ids(folded(qwen), 16))).numpy()
        on, off = (
            backend_logits(load(exports(qwen, "fp32", fold)[0]), embeds, [16]) for fold in ("exact", "off")
        )
        assert worst(on, off) > 100 * TOLERANCE

    def test_only_the_first_position_counts(self, backend, qwen):
        # The stock C++ runner passes one position with a single token, and may pass one with many.
        embeds = torch.from_numpy(backend.embed(random_ids(folded(qwen), 12)))
        method = backend._methods["text_decoder"]
        every, first = (method.execute([embeds, torch.arange(n)])[0] for n in (12, 1))
        assert torch.equal(every, first)


class TestIntegers:
    @pytest.mark.parametrize("recipe", ["int8", "int4"])
    def test_every_decoder_agrees_with_torch_on_the_same_grid(self, exports, checkpoint_dirs, recipe):
        errors, agree = [], []
        for checkpoint in checkpoint_dirs.values():
            model, backend = reference(quantized(checkpoint, recipe)), load(exports(checkpoint, recipe)[0])
            for seed in range(6):
                ids = random_ids(model, 6, seed)
                embeds = model.embed(torch.from_numpy(ids)).numpy()
                assert worst(backend.embed(ids), embeds) == 0
                result, expected = backend_logits(backend, embeds, [6]), torch_logits(model, embeds)
                errors.append(worst(result, expected))
                agree.append(result.argmax() == expected.argmax())
                assert errors[-1] < TIE * expected.std()
        assert np.median(errors) < TOLERANCE
        assert np.mean(agree) > 0.9

    def test_image_tokens_agree_as_far_as_rounding_ties_allow(self, exports, qwen):
        """A tie is spread over all tokens of its tile; which tiles have one differs between processors."""
        model, backend = quantized(qwen, "int8"), load(exports(qwen, "int8")[0])
        errors, moved = [], []  # the yardstick: torch against itself, pixels moved by less than sums differ
        for tiles in random_tiles(model, 8)[:, None]:
            tokens, pixels = torch.from_numpy(backend.encode_image(tiles)), torch.from_numpy(tiles)
            expected = reference(model).encode_image(pixels)
            noise = 3e-7 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
            assert (tokens - expected).abs().max() < TIE * expected.std()
            errors.append((tokens - expected).abs().mean())
            moved.append((reference(model).encode_image(pixels + noise) - expected).abs().mean())
        assert np.median(errors) < TOLERANCE + 2 * np.median(moved), (errors, moved)

    def test_pieces_agree(self, exports, qwen):
        backend = load(exports(qwen, "int4")[0])
        embeds = backend.embed(random_ids(folded(qwen), 40))
        first, *others = (backend_logits(backend, embeds, pieces) for pieces in PIECES)
        assert all(worst(other, first) < TOLERANCE for other in others)  # rows are quantised each on its own

    def test_activations_are_on_the_integer_grid(self, exports, qwen):
        # Without the grid the torch model is measurably elsewhere: the tolerance above tells the two apart.
        model = quantized(qwen, "int4")
        embeds = model.embed(torch.from_numpy(random_ids(model, 16))).numpy()
        assert (
            worst(backend_logits(load(exports(qwen, "int4")[0]), embeds, [16]), torch_logits(model, embeds))
            > 1e-3
        )

    def test_int4_of_other_groups_in_embedding_and_head(self, exports, qwen):
        overrides = ("token_embedding=int4", "text_decoder.head=int4:64", "text_decoder.layers.0.o=int8")
        model = reference(quantized(qwen, "int4", "exact", overrides))
        backend, ids = load(exports(qwen, "int4", "exact", overrides)[0]), random_ids(model, 16)
        embeds = model.embed(torch.from_numpy(ids)).numpy()
        assert worst(backend.embed(ids), embeds) == 0
        expected = torch_logits(model, embeds)
        assert worst(backend_logits(backend, embeds, [16]), expected) < TIE * expected.std()


class TestCalls:
    def test_a_new_sequence_sees_nothing_of_the_last_and_ends_it(self, backend, qwen):
        embeds = backend.embed(random_ids(folded(qwen), 16))
        first = backend_logits(backend, embeds, [16])
        old = backend.make_cache()
        backend.decode(embeds[:, 3:9], old)
        assert np.array_equal(backend_logits(backend, embeds, [16]), first)
        with pytest.raises(InputError, match="has ended"):
            backend.decode(embeds, old)

    def test_the_context_can_be_filled_and_not_passed(self, backend, qwen):
        embeds = backend.embed(random_ids(folded(qwen), CHUNK))
        cache = backend.make_cache()
        for _ in range(CONTEXT // CHUNK):
            backend.decode(embeds, cache)
        assert cache.length == CONTEXT
        with pytest.raises(InputError, match=f"{CONTEXT + 1} tokens do not fit a context of {CONTEXT}"):
            backend.decode(embeds[:, :1], cache)

    def test_embeddings_of_more_than_a_chunk(self, backend, qwen):
        ids = random_ids(folded(qwen), 3 * CHUNK + 1)
        assert np.array_equal(backend.embed(ids), folded(qwen).embed(torch.from_numpy(ids)).numpy())

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (
                lambda b, e: b.decode(np.zeros((1, CHUNK + 1, e), np.float32), b.make_cache()),
                "takes 1 to 16 tokens",
            ),
            (
                lambda b, e: b.decode(np.zeros((1, 0, e), np.float32), b.make_cache()),
                "takes 1 to 16 tokens, not 0",
            ),
            (
                lambda b, e: b.decode(np.zeros((1, 4, e + 1), np.float32), b.make_cache()),
                r"embeddings must be \[1, S",
            ),
            (
                lambda b, e: b.decode(np.zeros((2, 4, e), np.float32), b.make_cache()),
                r"embeddings must be \[1, S",
            ),
            (lambda b, e: b.embed(np.array([[0, 1 << 40]])), "not all in 0.."),
            (lambda b, e: b.embed(np.array([[-1]])), "not all in 0.."),
            (lambda b, e: b.embed(np.array([1, 2])), r"ids must be \[1, S\]"),
            (lambda b, e: b.encode_image(np.zeros((1, 3, 8, 8), np.float32)), r"tiles must be \[T, 3"),
        ],
    )
    def test_calls_that_would_abort_the_process_are_refused(self, backend, qwen, call, message):
        with pytest.raises(InputError, match=message):
            call(backend, folded(qwen).config.decoder.hidden_size)

    @pytest.mark.parametrize(("context", "chunk", "name"), [(64, CHUNK, "context"), (CONTEXT, 8, "chunk")])
    def test_other_bounds_than_the_file_was_made_for(self, exports, qwen, context, chunk, name):
        with pytest.raises(InputError, match=f"exported for a {name} of"):
            load(exports(qwen)[0], context, chunk)


@pytest.mark.slow
class TestDamagedFiles:
    @pytest.fixture
    def data(self, exports, qwen) -> bytes:
        return (exports(qwen)[0] / FILE).read_bytes()

    @pytest.mark.parametrize("keep", [0, 7, 40, 5000, 0.5, -1])
    def test_cut_short(self, tmp_path, data, keep):
        end = int(keep * len(data)) if isinstance(keep, float) else keep
        (tmp_path / FILE).write_bytes(data[:end])
        with pytest.raises(InputError, match=FILE):
            load(tmp_path)

    def test_overwritten_tables_never_take_the_process_down(self, tmp_path, data):
        random = np.random.default_rng(0)
        for n in range(12):
            broken = bytearray(data)
            start = int(random.integers(8, 20_000))
            broken[start : start + 64] = random.bytes(64)
            (tmp_path / str(n)).mkdir()
            (tmp_path / str(n) / FILE).write_bytes(broken)
        # In a process of its own, so that a crash of the C++ loader shows as a failure here.
        code = f"""
from pathlib import Path
from phantom_edge.errors import InputError
from phantom_edge.runtime.executorch_backend import ExecutorchBackend
for folder in sorted(Path({str(tmp_path)!r}).iterdir()):
    try:
        ExecutorchBackend(folder, context={CONTEXT}, chunk={CHUNK})
    except InputError:
        print("refused")
print("alive")
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-1000:]
        assert done.stdout.endswith("alive\n")

    def test_missing_or_something_else(self, tmp_path):
        with pytest.raises(InputError, match="not found"):
            load(tmp_path)
        (tmp_path / FILE).write_bytes(b"PK" + bytes(100_000))
        with pytest.raises(InputError, match="not an ExecuTorch program"):
            load(tmp_path)


def test_other_methods_leave_the_cache_alone(backend, exports, qwen):
    """Python's Program gives all methods one memory: what runs between two steps must not touch the cache."""
    model = quantized(qwen, "fp32")
    ids, tiles = random_ids(model, 12), random_tiles(model)
    cache, embeds = backend.make_cache(), backend.embed(ids)
    wanted = [backend.decode(embeds[:, n : n + 1], cache) for n in range(12)]
    cache, found = backend.make_cache(), []
    for n in range(12):
        backend.encode_image(tiles)
        found.append(backend.decode(backend.embed(ids[:, n : n + 1]), cache))
    assert np.array_equal(np.stack(found), np.stack(wanted))
