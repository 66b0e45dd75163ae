"""The ``.pte`` with activations that are not rounded, against torch with the same integers in fp32
arithmetic.
"""

from __future__ import annotations

import copy
import shutil
import struct
import tempfile
from collections import namedtuple

import numpy as np
import pytest
import torch
from executorch_models import CHUNK, CONTEXT, random_tiles, write
from folded_models import Exports, backend_logits, quantized, random_ids, torch_logits

from phantom_edge.checkpoint.pretrained import file_sha256
from phantom_edge.errors import InputError, NoRoomError
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.readback import StoredProgram, decode
from phantom_edge.runtime import executorch_lift
from phantom_edge.runtime.executorch_backend import GRAPHS, ExecutorchBackend
from phantom_edge.runtime.executorch_lift import encode, lift_graph, lifted
from phantom_edge.system import resident

pytestmark = pytest.mark.slow

# fp32 on both sides, whatever the weights' integers: only the order of summation differs. Seen: 3e-6 on image
# tokens, 1e-5 on logits; with activations rounded, as the file ships, 2e-2 and 1e-1.
TOLERANCE = 1e-4
PIECES = [[16, 16, 8], [1] * 40, [5, 11, 16, 7, 1]]
RECIPES = {
    "int8": ("int8", ()),
    "int4": ("int4", ()),
    "groups of 64": (
        "int4",
        ("text_decoder.head=int4:64", "text_decoder.layers.0.o=int8", "token_embedding=int8"),
    ),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("executorch"), write)


@pytest.fixture(scope="module")
def families(checkpoint_dirs):
    """Two checkpoints: a tied Qwen2 decoder, and Phi3 or InternLM2."""
    return list(checkpoint_dirs.values())[::2][:2]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The only place where temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def damaged(exports, families, tmp_path):
    """Copy the int4 export with the data under a key changed: ``damaged(key, change)`` is the copy's
    folder.
    """

    def damage(key, change, dtype=torch.float32):
        path = shutil.copy(exports(families[0], "int4")[0] / FILE, tmp_path)
        stored = StoredProgram.open(tmp_path / FILE)
        (index,) = (data.segment_index for data in stored.program.named_data if data.key == key)
        data = torch.frombuffer(bytearray(stored.named(key)), dtype=dtype)
        change(data)
        with open(path, "r+b") as file:
            file.seek(stored.base + stored.program.segments[index].offset)
            file.write(data.view(torch.uint8).numpy().tobytes())
        return tmp_path

    return damage


def load(folder, mode="lifted") -> ExecutorchBackend:
    return ExecutorchBackend(folder, context=CONTEXT, chunk=CHUNK, threads=1, mode=mode)


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def decoder_error(backend, model) -> float:
    embeds = model.embed(torch.from_numpy(random_ids(model, CHUNK))).numpy()
    return worst(backend_logits(backend, embeds, [CHUNK]), torch_logits(model, embeds))


def payload(exports, checkpoint, recipe="int4", delegate=1) -> dict:
    stored = StoredProgram.open(exports(checkpoint, recipe)[0] / FILE)
    return decode(stored.segment(stored.plan("text_decoder").delegates[delegate].processed.index))


class TestArithmetic:
    @pytest.mark.parametrize("recipe", RECIPES)
    def test_every_stage_agrees_with_torch_in_fp32(self, exports, families, recipe):
        name, overrides = RECIPES[recipe]
        for checkpoint in families:
            model = quantized(checkpoint, name, "exact", overrides)
            backend = load(exports(checkpoint, name, "exact", overrides)[0])
            tiles, ids = random_tiles(model, 2), random_ids(model, 40)
            assert (
                worst(backend.encode_image(tiles), model.encode_image(torch.from_numpy(tiles)).numpy())
                < TOLERANCE
            )
            embeds = model.embed(torch.from_numpy(ids)).numpy()
            assert worst(backend.embed(ids), embeds) == 0  # a gather from the file's integers
            expected = torch_logits(model, embeds)
            for pieces in PIECES:
                assert worst(backend_logits(backend, embeds, pieces), expected) < TOLERANCE

    def test_what_ships_is_far_from_that(self, exports, families):
        """The tolerance tells rounded activations from those that are not."""
        assert (
            decoder_error(load(exports(families[0], "int4")[0], "stock"), quantized(families[0], "int4"))
            > 1e-2
        )

    def test_without_integers_the_file_itself_runs(self, exports, families, temporary):
        folder, _ = exports(families[0], "fp16")
        with lifted(folder / FILE) as file:
            assert file == folder / FILE
        assert decoder_error(load(folder), quantized(families[0], "fp16")) < TOLERANCE

    def test_a_wrong_scale_shows(self, damaged, families):
        """The first group's scale of the first row, twice what it should be."""
        folder = damaged("text_decoder.layers.1.o.weight.scales", lambda s: s[:1].mul_(2), torch.bfloat16)
        assert decoder_error(load(folder), quantized(families[0], "int4")) > 10 * TOLERANCE

    def test_one_norm_two_percent_off_shows_though_rounding_would_hide_it(self, damaged, families, exports):
        model = quantized(families[0], "int4")
        folder = damaged("text_decoder.layers.1.norm2.weight", lambda w: w.mul_(1.02))
        assert decoder_error(load(folder), model) > 10 * TOLERANCE
        right = decoder_error(load(exports(families[0], "int4")[0], "stock"), model)
        assert decoder_error(load(folder, "stock"), model) < 2 * right


class TestCopy:
    def test_only_the_integer_matmuls_differ(self, exports, families):
        path = exports(families[0], "int4")[0] / FILE
        stored = StoredProgram.open(path)
        with lifted(path) as file:
            copied = StoredProgram.open(file)
            for name in GRAPHS:
                before, after = stored.counts(name), copied.counts(name)
                matmuls = {} if name == "token_embedding" else {"int4", "int8"}
                before["float"] = before.get("float", 0) + sum(before.pop(kind, 0) for kind in matmuls)
                assert after == {kind: count for kind, count in before.items() if count}
            program = copy.deepcopy(copied.program)
            for plan, original in zip(program.execution_plan, stored.program.execution_plan, strict=True):
                for delegate, wanted in zip(plan.delegates, original.delegates, strict=True):
                    delegate.processed.index = wanted.processed.index
            kept, named = len(stored.program.segments), len(stored.program.named_data)
            assert [copied.segment(n) for n in range(kept)] == [stored.segment(n) for n in range(kept)]
            program.segments, program.named_data = program.segments[:kept], program.named_data[:named]
            assert program == stored.program

    def test_a_lifted_weight_is_integers_times_scales(self, exports, families):
        """Worked out from the bytes: low half first, zero point 8, a bfloat16 scale for 32 columns."""
        path, key = exports(families[0], "int4")[0] / FILE, "text_decoder.layers.0.o.weight"
        stored = StoredProgram.open(path)
        raw, scales = stored.named(key), stored.named(f"{key}.scales")
        with lifted(path) as file:
            weight = np.frombuffer(StoredProgram.open(file).named(f"{key} * {key}.scales"), np.float32)
        scale = [struct.unpack("<f", b"\0\0" + scales[2 * n : 2 * n + 2])[0] for n in range(2)]
        for column in (0, 1, 31, 32, 33):
            code = raw[column // 2] >> 4 if column % 2 else raw[column // 2] & 15
            assert weight[column] == (code - 8) * np.float32(scale[column // 32])

    def test_the_bundle_is_untouched_and_nothing_stays_behind(self, exports, families, temporary):
        folder, _ = exports(families[0], "int8")
        before = file_sha256(folder / FILE)
        backend = load(folder)
        assert list(temporary.iterdir()) == []
        assert file_sha256(folder / FILE) == before
        assert [path.name for path in folder.iterdir()] == [FILE]
        assert backend.name == "executorch (lifted)"
        assert (
            decoder_error(backend, quantized(families[0], "int8")) < TOLERANCE
        )  # the copy's name is gone, it runs

    def test_nothing_stays_behind_after_an_error(self, damaged, temporary):
        # A scale that no runtime holds exactly is refused when its matrix is written: halfway through the
        # copy.
        folder = damaged(
            "text_decoder.layers.1.o.weight.scales", lambda s: s[:1].fill_(float("nan")), torch.bfloat16
        )
        with pytest.raises(InputError, match="scale is not exact"):
            load(folder)
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize(
        ("free", "memory", "message"),
        [
            (1000, None, r"takes \d+ MiB and .* set TMPDIR"),
            (1 << 40, 1000, r"MiB in fp32 and 0 MiB of memory are free"),
        ],
    )
    def test_no_room(self, exports, families, temporary, monkeypatch, free, memory, message):
        usage = namedtuple("usage", "free")(free)
        monkeypatch.setattr(executorch_lift.shutil, "disk_usage", lambda _: usage)
        monkeypatch.setattr(executorch_lift, "available", lambda: memory)
        with pytest.raises(NoRoomError, match=message):
            load(exports(families[0], "int4")[0])
        assert list(temporary.iterdir()) == []

    def test_the_machine_has_memory(self, monkeypatch, tmp_path):
        free = resident.available()
        monkeypatch.setattr(resident, "MEMORY", tmp_path / "none")
        assert 1 << 20 < free <= resident.available()


class TestGraphs:
    def test_encode_undoes_decode(self, exports, families):
        stored = StoredProgram.open(exports(families[0], "int4")[0] / FILE)
        for plan in stored.program.execution_plan:
            for delegate in plan.delegates:
                data = stored.segment(delegate.processed.index)
                assert encode(decode(data)) == data

    def test_an_integer_matmul_that_reads_floats_is_not_mended(self, exports, families):
        graph = payload(exports, families[0])
        convert, matmul = (n["xnode_union"] for n in self.first_pair(graph))
        matmul["input1_id"] = convert["input_id"]
        with pytest.raises(ValueError, match="not rounded to int8"):
            lift_graph(graph)

    def test_an_int8_value_that_something_else_reads(self, exports, families):
        graph = payload(exports, families[0])
        convert, _ = (n["xnode_union"] for n in self.first_pair(graph))
        other = next(n["xnode_union"] for n in graph["xnodes"] if n["xnode_union_type"] == "XNNSigmoid")
        other["input_id"] = convert["output_id"]
        with pytest.raises(ValueError, match="XNNSigmoid reads values"):
            lift_graph(graph)

    def first_pair(self, graph):
        convert = next(n for n in graph["xnodes"] if n["xnode_union_type"] == "XNNConvert")
        reads = convert["xnode_union"]["output_id"]
        return convert, next(n for n in graph["xnodes"] if n["xnode_union"].get("input1_id") == reads)


def test_an_unknown_mode(tmp_path):
    with pytest.raises(InputError, match="unknown mode 'exact' of executorch; there are stock, lifted"):
        load(tmp_path, "exact")
