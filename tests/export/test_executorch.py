"""What a ``.pte`` holds, read from the finished file: operations, integers bit for bit, metadata, memory
plan.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from executorch.exir import schema
from executorch_models import CHUNK, CONTEXT, OPTIONS, write
from folded_models import Exports, folded, integers, quantized

from phantom_edge.errors import CheckError, InputError
from phantom_edge.export.base import require_counts
from phantom_edge.export.executorch import FILE, activation_grid, export, stored_weights
from phantom_edge.numbers.activations import ActivationGrid
from phantom_edge.numbers.grid import QuantizedTensor

RECIPES = {
    "int8": ("int8", ()),
    "int4": ("int4", ()),
    "int4 of other groups": ("int4", ("text_decoder.layers.*.qkv=int4:64", "text_decoder.layers.*.o=int8")),
    "int4 embedding and head": ("fp16", ("token_embedding=int4", "text_decoder.head=int4")),
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("executorch"), write)


@pytest.fixture(scope="module")
def qwen(checkpoint_dirs):
    return next(iter(checkpoint_dirs.values()))


def stored(exports, checkpoint, recipe="fp32", *rest):
    from phantom_edge.export.executorch.readback import StoredProgram

    return StoredProgram.open(exports(checkpoint, recipe, *rest)[0] / FILE)


class TestIntegers:
    @pytest.mark.parametrize("name", RECIPES)
    def test_the_file_holds_the_models_integers_bit_for_bit(self, exports, checkpoint_dirs, name):
        recipe, overrides = RECIPES[name]
        for checkpoint in checkpoint_dirs.values():
            wanted = integers(quantized(checkpoint, recipe, "exact", overrides))
            found = stored_weights(exports(checkpoint, recipe, "exact", overrides)[0])
            assert wanted
            assert set(found) == set(wanted)
            for module, weight in wanted.items():
                assert (found[module].bits, found[module].group) == (weight.bits, weight.group), module
                assert torch.equal(found[module].values, weight.values), module
                assert torch.equal(found[module].scales, weight.scales), module

    @pytest.mark.parametrize("recipe", ["fp32", "int8", "int4"])
    def test_attention_and_weights_are_counted_in_the_file(self, exports, qwen, recipe):
        model, (_, exported) = quantized(qwen, recipe), exports(qwen, recipe)
        bits = Counter((name.split(".")[0], weight.bits) for name, weight in integers(model).items())
        for graph, counts in exported.counts.items():
            assert counts.get("int4", 0) == bits[graph, 4]
            assert counts.get("int8", 0) == bits[graph, 8]
        layers = model.config.decoder.layers
        assert exported.counts["text_decoder"]["attention"] == layers * model.config.decoder.kv_heads
        assert exported.counts["text_decoder"]["delegates"] == layers + 2
        assert exported.counts["vision_encoder"]["delegates"] == 1

    @pytest.mark.parametrize("recipe", ["fp32", "fp16", "int8", "int4"])
    def test_a_tied_head_and_the_embedding_are_the_same_bytes_of_the_file(self, exports, tiny_dirs, recipe):
        program = stored(exports, tiny_dirs["qwen2"], recipe).program
        table = program.segments[program.constant_segment.segment_index]
        index = {data.key: data.segment_index for data in program.named_data}
        head = program.segments[index["text_decoder.head.weight"]]
        assert head.size > 10_000
        assert table.offset <= head.offset < head.offset + head.size <= table.offset + table.size

    def test_the_file_has_nothing_twice_and_no_gaps(self, exports, tiny_dirs):
        """Segments without those inside another one, and the padding between them, are the whole file."""
        program = stored(exports, tiny_dirs["qwen2"], "int4")
        spans = [(s.offset, s.offset + s.size) for s in program.program.segments if s.size]
        end = 0
        for start, stop in sorted(spans, key=lambda span: (span[0], -span[1])):
            assert start < end + 128
            assert stop <= end or start >= end  # inside an earlier one, or behind it
            end = max(end, stop)
        assert program.base + end == program.size

    def test_a_matrix_with_float_inputs_is_not_counted_as_quantised(self, tmp_path, qwen, monkeypatch):
        # That is what weight-only quantisation lowers to; XNNPACK computes it without the scales.
        from phantom_edge.export.executorch.xnnpack import Subgraph

        monkeypatch.setattr(Subgraph, "token_int8", lambda self, x: x)
        with pytest.raises(CheckError, match=r"vision_encoder: .*int8 0 \(expected \d+\).*wrong input"):
            export(quantized(qwen, "int8"), OPTIONS, tmp_path, lambda _: None)

    def test_a_lost_attention_op_is_an_error(self, exports, qwen):
        from phantom_edge.export.executorch.lower import expected_counts

        counts = dict(exports(qwen)[1].counts["text_decoder"])
        wanted = expected_counts(folded(qwen).spec, {})["text_decoder"]
        require_counts("text_decoder", counts, wanted)
        counts["attention"] -= 1
        with pytest.raises(CheckError, match="attention"):
            require_counts("text_decoder", counts, wanted)

    def test_every_weight_is_read_once(self, tmp_path, qwen):
        class Counted(Mapping):
            def __init__(self, weights):
                self.weights, self.reads = weights, Counter()

            def __getitem__(self, name):
                self.reads[name] += 1
                return self.weights[name]

            def __iter__(self):
                raise AssertionError("iterating would make every weight once more")

            def __len__(self):
                return len(self.weights)

        model = quantized(qwen, "int4")
        weights = Counted(model.weights)
        export(replace(model, weights=weights), OPTIONS, tmp_path, lambda _: None)
        assert {name: weights.reads[name] for name in model.weights} == dict.fromkeys(model.weights, 1)


class TestProgram:
    def test_metadata_that_the_stock_runner_reads(self, exports, qwen):
        program = stored(exports, qwen)
        assert program.constant("get_max_seq_len") == [CHUNK]
        assert program.constant("get_max_context_len") == [CONTEXT]
        assert program.constant("get_eos_ids") == [2, 5]
        for name in ("use_kv_cache", "use_sdpa_with_kv_cache", "enable_dynamic_shape"):
            assert program.constant(name) == [True]

    def test_inputs_and_outputs_as_the_stock_runner_passes_them(self, exports, qwen):
        from executorch.runtime import Runtime

        config, path = folded(qwen).config, exports(qwen)[0] / FILE
        program, hidden = Runtime.get().load_program(path), config.decoder.hidden_size
        found = {}
        for name in ("vision_encoder", "token_embedding", "text_decoder"):
            meta = program.metadata(name)
            inputs = [meta.input_tensor_meta(i).sizes() for i in range(meta.num_inputs())]
            found[name] = [tuple(sizes) for sizes in (*inputs, meta.output_tensor_meta(0).sizes())]
        assert found == {
            "vision_encoder": [
                (1, 3, config.tile_size, config.tile_size),
                (1, config.tokens_per_tile, hidden),
            ],
            "token_embedding": [(1, CHUNK), (1, CHUNK, hidden)],
            "text_decoder": [(1, CHUNK, hidden), (CHUNK,), (1, 1, config.decoder.vocab_size)],
        }

    def test_caches_are_as_wide_as_the_fold_makes_them(self, exports, qwen):
        for fold in ("exact", "rank:8", "off"):
            spec, plan = folded(qwen, fold).spec, stored(exports, qwen, "fp32", fold).plan("text_decoder")
            op = [o.name for o in plan.operators].index("llama::update_cache")
            calls = [
                i.instr_args
                for i in plan.chains[0].instructions
                if getattr(i.instr_args, "op_index", -1) == op
            ]
            heads = spec.config.decoder.kv_heads
            wanted = [
                [heads, CONTEXT, 1, spec.width(n)] for n in range(spec.config.decoder.layers) for _ in "kv"
            ]
            assert [plan.values[call.args[1]].val.sizes for call in calls] == wanted

    def test_each_state_has_a_name_of_its_own(self, exports, qwen):
        program = stored(exports, qwen, "fp32", "exact")
        layers = range(folded(qwen, "exact").spec.config.decoder.layers)
        names = [f"layers.{n}.{part}" for n in layers for part in ("keys", "values")]
        assert program.states("text_decoder") == names
        assert program.states("vision_encoder") == []
        values = [v.val for v in program.plan("text_decoder").values if isinstance(v.val, schema.Tensor)]
        stranger = next(value for value in values if value.extra_tensor_info is None)
        stranger.extra_tensor_info = schema.ExtraTensorInfo(fully_qualified_name=names[0])
        assert program.states("text_decoder") == []  # of two with one name the runtime gives the first

    def test_no_two_tensors_that_live_at_once_share_memory(self, exports, qwen):
        sizes = {"HALF": 2, "FLOAT": 4, "LONG": 8}
        for method in ("vision_encoder", "token_embedding", "text_decoder"):
            plan = stored(exports, qwen, "fp16").plan(method)
            steps = [set(i.instr_args.args) for i in plan.chains[0].instructions]
            caches = {
                i.instr_args.args[1] for i in plan.chains[0].instructions if _is_update(plan, i.instr_args)
            }
            windows = {
                i.instr_args.args[2] for i in plan.chains[0].instructions if _is_empty(plan, i.instr_args)
            }
            spans = []
            for slot in set().union(*steps, plan.inputs) - windows:
                tensor = plan.values[slot].val
                if getattr(tensor, "allocation_info", None) is None:
                    continue
                used = [n for n, step in enumerate(steps) if slot in step]
                first = -1 if slot in plan.inputs or slot in caches else used[0]
                last = len(steps) if slot in plan.outputs or slot in caches else used[-1]
                size = torch.Size(tensor.sizes).numel() * sizes[tensor.scalar_type.name]
                where = tensor.allocation_info
                assert (where.memory_id == 2) == (slot in caches)  # no other method's run may reach a cache
                spans.append((first, last, where.memory_id, where.memory_offset, size))
            for (a, b, i, x, m), (c, d, j, y, n) in combinations(spans, 2):
                assert i != j or b < c or d < a or x + m <= y or y + n <= x
            for _, _, arena, start, size in spans:
                assert start + size <= plan.non_const_buffer_sizes[arena]

    def test_a_window_begins_where_the_rows_of_its_head_do(self, exports, qwen):
        """Each is read in the delegate right behind; the caches' order is keys, values, head by head."""
        plan, spec = stored(exports, qwen, "fp32", "rank:8").plan("text_decoder"), folded(qwen, "rank:8").spec
        calls, values = [i.instr_args for i in plan.chains[0].instructions], [v.val for v in plan.values]
        caches = [values[call.args[1]] for call in calls if _is_update(plan, call)]
        windows = [call.args[2] for call in calls if _is_empty(plan, call)]
        heads = spec.config.decoder.kv_heads
        assert len(windows) == heads * len(caches) == heads * 2 * spec.config.decoder.layers
        for n, slot in enumerate(windows):
            cache, head = caches[n // heads], n % heads
            _, rows, _, width = cache.sizes
            assert values[slot].sizes == [1, rows, width]
            place = cache.allocation_info.memory_offset + 4 * head * rows * width
            assert values[slot].allocation_info.memory_offset == place
            readers = [call for call in calls if hasattr(call, "delegate_index") and slot in call.args]
            assert [call.delegate_index for call in readers] == [1 + n // (2 * heads)]

    def test_fp16_halves_the_file(self, exports, qwen):
        full, half = ((exports(qwen, recipe)[0] / FILE).stat().st_size for recipe in ("fp32", "fp16"))
        assert half < 0.62 * full

    def test_notes_name_every_deviation(self, exports, qwen):
        _, exported = exports(qwen, "int4")
        text = " ".join(exported.notes)
        for part in ("int8 per token", "once per key-value head", "KV cache", "A chunk of 16 is below"):
            assert (part in text) == (
                part != "A chunk of 16 is below" or folded(qwen).config.tokens_per_tile > CHUNK
            )

    def test_every_integer_matmul_has_the_same_grid(self):
        for bits, group in ((4, 2), (8, None)):
            weight = QuantizedTensor(torch.ones(1, 2, dtype=torch.int8), torch.ones(1, 1), bits, group)
            assert activation_grid(weight) is ActivationGrid.TOKEN_INT8

    def test_the_packages_name_imports_nothing_heavy(self):
        code = "import sys, json, phantom_edge.export.executorch, phantom_edge.runtime.executorch_backend\n"
        code += "print(json.dumps([m for m in sys.modules if m.split('.')[0] == 'executorch']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == []

    def test_a_missing_method_or_file_is_named(self, exports, qwen, tmp_path):
        with pytest.raises(InputError, match="has no method forward"):
            stored(exports, qwen).plan("forward")
        with pytest.raises(InputError, match=FILE):
            stored_weights(tmp_path)


def _is_update(plan, call) -> bool:
    return hasattr(call, "op_index") and plan.operators[call.op_index].name == "llama::update_cache"


def _is_empty(plan, call) -> bool:
    return hasattr(call, "op_index") and plan.operators[call.op_index].name == "aten::empty"
