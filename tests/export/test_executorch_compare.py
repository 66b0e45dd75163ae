"""What a ``.pte`` gives back beside its integers, and that no part of it can differ unseen."""

from __future__ import annotations

import copy
import random
import shutil
from dataclasses import replace

import pytest
import torch
from executorch_models import OPTIONS, write
from folded_models import Exports, quantized

from phantom_edge.errors import InputError
from phantom_edge.export.executorch import (
    FILE,
    artifact_files,
    differences,
    is_stored,
    stored_floats,
    stored_weights,
)
from phantom_edge.model.rope import static_tables
from phantom_edge.model.weights import dense
from phantom_edge.numbers.grid import QuantizedTensor

TABLES = ("rope.cos", "rope.sin")


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("compared"), write)


@pytest.fixture
def work(exports, tiny_dirs, tmp_path):
    """A copy of the int4 file to damage, and the model that it holds."""
    folder, _ = exports(tiny_dirs["qwen2"], "int4")
    return shutil.copytree(folder, tmp_path / "work"), quantized(tiny_dirs["qwen2"], "int4")


class TestWhatIsRight:
    @pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
    @pytest.mark.parametrize("recipe", ["fp32", "fp16", "int8", "int4"])
    def test_floats_are_the_models_bit_for_bit(self, exports, tiny_dirs, family, recipe):
        folder, _ = exports(tiny_dirs[family], recipe)
        stored, weights = stored_floats(folder), quantized(tiny_dirs[family], recipe).weights
        floats = {name for name in weights if not isinstance(weights[name], QuantizedTensor)}
        assert set(stored) == {name for name in (*floats, *TABLES) if is_stored(name)}
        for name in filter(is_stored, floats):
            assert stored.shape(name) == tuple(weights[name].shape), name
            assert torch.equal(stored[name].float(), dense(weights[name])), name

    def test_rotary_tables(self, exports, tiny_dirs):
        folder, _ = exports(tiny_dirs["qwen2"], "int8")
        d = quantized(tiny_dirs["qwen2"], "int8").config.decoder
        for name, table in zip(TABLES, static_tables(d.rope, d.head_dim, OPTIONS.context), strict=True):
            assert torch.equal(stored_floats(folder)[name], table)

    @pytest.mark.parametrize(("recipe", "fold"), [("fp16", "exact"), ("int8", "rank:8"), ("int4", "exact")])
    def test_nothing_differs(self, exports, tiny_dirs, recipe, fold):
        for family in ("qwen2", "phi3"):
            folder, _ = exports(tiny_dirs[family], recipe, fold)
            assert differences(folder, quantized(tiny_dirs[family], recipe, fold), OPTIONS) == []
            assert {path.name for path in folder.iterdir()} == artifact_files(folder)


class TestWhatDiffers:
    @pytest.mark.parametrize(
        ("change", "line"),
        [
            ({"end_ids": (2,)}, "get_eos_ids.values has 2 items, not 1"),
            ({"end_ids": (2, 6)}, "get_eos_ids.values[1].val.int_val is 5, not 6"),
            ({"context": 47}, "get_max_context_len.values[0].val.int_val is 48, not 47"),
            ({"chunk": 15}, "get_max_seq_len.values[0].val.int_val is 16, not 15"),
        ],
    )
    def test_other_options(self, work, change, line):
        folder, model = work
        assert line in differences(folder, model, replace(OPTIONS, **change))

    def test_every_field_of_a_program_counts(self, work):
        """One after another: each number and each name among the values and instructions of the decoder."""
        from phantom_edge.export.executorch.compare import Expected, program_differences
        from phantom_edge.export.executorch.readback import StoredProgram

        folder, model = work
        stored, expected = StoredProgram.open(folder / FILE), Expected.of(model, OPTIONS)
        place = [p.name for p in stored.program.execution_plan].index("text_decoder")
        unseen, tried = [], 0
        for path in _leaves(stored.program.execution_plan[place]):
            if "processed" in path or "name" in path[-1:]:
                continue  # where a delegate's content lies is no matter; names are looked up
            program = copy.copy(stored.program)
            program.execution_plan = list(program.execution_plan)
            program.execution_plan[place] = _with_another(stored.program.execution_plan[place], path)
            tried += 1
            changed = replace(stored, program=program)
            if tried % 7 == 0 and not program_differences(changed, expected):  # a seventh, for time
                unseen.append(path)
        assert tried > 500
        assert unseen == []

    @pytest.mark.parametrize("key", ["eps.", "mean.", "scale.", "zero", "vision_encoder.position_embedding"])
    def test_a_constant_of_the_exporters_own(self, work, key):
        folder, model = work
        name = _spoil(folder, key)
        assert differences(folder, model, OPTIONS) == [f"constant {name}: other values"]

    def test_weights_are_left_to_those_who_read_them(self, work):
        folder, model = work
        name = _spoil(folder, "text_decoder.layers.1.norm1.weight")
        assert differences(folder, model, OPTIONS) == []
        assert not torch.equal(stored_floats(folder)[name], model.weights[name])


class TestDamage:
    @pytest.mark.parametrize("seed", range(3))
    def test_whatever_is_damaged_is_seen_or_refused(self, work, seed):
        """Bytes of the tables and of a delegate flipped or cut: differences, other numbers, or one line."""
        from phantom_edge.export.executorch.readback import StoredProgram

        folder, model = work
        path, chance, unseen = folder / FILE, random.Random(seed), []
        whole, program = path.read_bytes(), StoredProgram.open(path).program
        for place in _places(path, chance):
            flipped = bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
            path.write_bytes(whole[:place] + chance.choice((flipped, flipped, b"")))
            if not _is_seen(folder, model) and not _reads_the_same(path, program):
                unseen.append(place)
        assert unseen == []


def _is_seen(folder, model) -> bool:
    try:
        if differences(folder, model, OPTIONS):
            return True
        floats, integers = stored_floats(folder), stored_weights(folder)
        return not all(
            _same(integers[name.removesuffix(".weight")], weight)
            if isinstance(weight, QuantizedTensor)
            else not is_stored(name) or torch.equal(floats[name].float(), dense(weight))
            for name, weight in model.weights.items()
        )
    except InputError as error:
        return "\n" not in str(error)


def _same(a: QuantizedTensor, b: QuantizedTensor) -> bool:
    return a.shape == b.shape and torch.equal(a.values, b.values) and torch.equal(a.scales, b.scales)


def _places(path, chance):
    from phantom_edge.export.executorch.readback import StoredProgram

    stored = StoredProgram.open(path)
    delegate = stored.plan("text_decoder").delegates[1].processed.index
    segment = stored.program.segments[delegate]
    start = stored.base + segment.offset
    return [*(chance.randrange(stored.base) for _ in range(4)), chance.randrange(start, start + segment.size)]


def _reads_the_same(path, program) -> bool:
    """Whether a changed byte means nothing: padding, or the place of a description of an empty table."""
    from phantom_edge.export.executorch.readback import StoredProgram

    return StoredProgram.open(path).program == program


def _spoil(folder, key: str) -> str:
    """The lowest bit of a delegate's constant whose name begins so; returns the name."""
    from phantom_edge.export.executorch.readback import StoredProgram

    stored = StoredProgram.open(folder / FILE)
    data = next(data for data in stored.program.named_data if data.key.startswith(key))
    with open(folder / FILE, "r+b") as file:
        file.seek(stored.base + stored.program.segments[data.segment_index].offset)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    return data.key


def _leaves(part, path=()):
    """Paths of all numbers, texts and truth values in a tree of dataclasses and lists."""
    if isinstance(part, list):
        for index, item in enumerate(part):
            yield from _leaves(item, (*path, index))
    elif hasattr(part, "__dataclass_fields__"):
        for name in part.__dataclass_fields__:
            yield from _leaves(getattr(part, name), (*path, name))
    elif isinstance(part, (bool, int, float, str)):
        yield path


def _with_another(part, path):
    """A copy of a tree whose leaf at ``path`` has another value."""
    if not path:
        return part + "x" if isinstance(part, str) else type(part)(not part) if part in (0, 1) else part + 1
    step, *rest = path
    changed = copy.copy(part)
    if isinstance(part, list):
        changed[step] = _with_another(part[step], rest)
    else:
        setattr(changed, step, _with_another(getattr(part, step), rest))
    return changed
