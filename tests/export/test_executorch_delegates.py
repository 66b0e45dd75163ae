"""XNNPACK's graphs are checked before the runtime sees them: no number may name what is not there."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from executorch_models import write
from folded_models import Exports

from phantom_edge.export.base import GRAPHS
from phantom_edge.export.executorch import FILE
from phantom_edge.export.executorch.delegates import NONE, check_graph
from phantom_edge.export.executorch.readback import StoredProgram, decode

KINDS = ("int4", "int8", "fp16", "fp32")


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Exports:
    return Exports(tmp_path_factory.mktemp("delegates"), write)


@pytest.fixture(scope="module")
def graph(exports, tiny_dirs):
    """The largest graph of an int4 file, its number of arguments, and the size of all data."""
    stored = StoredProgram.open(exports(tiny_dirs["qwen2"], "int4")[0] / FILE)
    graphs = [decode(stored.segment(d.processed.index)) for g in GRAPHS for d in stored.plan(g).delegates]
    sizes = {data.key: stored.program.segments[data.segment_index].size for data in stored.program.named_data}
    return max(graphs, key=lambda graph: len(graph["xnodes"])), sizes


@pytest.mark.parametrize("family", ["qwen2", "internlm2", "phi3"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_exporter_writes_is_right(exports, tiny_dirs, family, kind):
    StoredProgram.open(exports(tiny_dirs[family], kind)[0] / FILE).check_delegates()


def _tensor(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    values = (value["xvalue_union"] for value in graph["xvalues"])
    tensors = (value.get("tensor_value", value) for value in values)
    return next(tensor for tensor in tensors if tensor["datatype"] == kind)


def _scales(graph: dict[str, Any]) -> dict[str, Any]:
    values = (value["xvalue_union"] for value in graph["xvalues"])
    return next(v["quant_params"] for v in values if "num_scales" in v.get("quant_params", {}))


def _node(graph: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(n["xnode_union"] for n in graph["xnodes"] if n["xnode_union_type"] == kind)


WRONG: dict[str, Callable[[dict[str, Any]], None]] = {
    "two values with one id": lambda g: _tensor(g, "xnn_datatype_fp32").update(id_out=1),
    "an argument too many": lambda g: _tensor(g, "xnn_datatype_qdint8").update(external_id=0),
    "no such argument": lambda g: g["input_ids"].__setitem__(0, len(g["xvalues"])),
    "another count of arguments": lambda g: g.update(num_externs=g["num_externs"] + 1),
    "a dimension of nothing": lambda g: _tensor(g, "xnn_datatype_fp32")["dims"].__setitem__(0, 0),
    "a huge dimension": lambda g: _tensor(g, "xnn_datatype_fp32")["dims"].__setitem__(0, 2**40),
    "a dimension too few": lambda g: _tensor(g, "xnn_datatype_fp32")["dims"].pop(),
    "a constant that is too short": lambda g: _tensor(g, "xnn_datatype_qcint8")["dims"].__setitem__(0, 10**6),
    "no such constant": lambda g: _tensor(g, "xnn_datatype_qcint8").update(constant_buffer_idx=10**6),
    "a type of its own": lambda g: _tensor(g, "xnn_datatype_fp32").update(datatype="xnn_datatype_invalid"),
    "a scale too few": lambda g: _scales(g).update(num_scales=_scales(g)["num_scales"] - 1),
    "no such scales": lambda g: _scales(g).update(scale_buffer_idx=10**6),
    "a group of nothing": lambda g: _scales(g).update(group_size=0),
    "an input that is not there": lambda g: _node(g, "XNNFullyConnected").update(input1_id=10**6),
    "a value that nothing computes": lambda g: g["xnodes"].pop(0),
    "a value that is computed twice": lambda g: g["xnodes"][1]["xnode_union"].update(
        output_id=g["xnodes"][0]["xnode_union"]["output_id"]
    ),
    "no permutation": lambda g: _node(g, "XNNStaticTranspose")["perm"].__setitem__(0, 9),
    "a negative size": lambda g: _node(g, "XNNStaticReshape")["new_shape"].__setitem__(0, -1),
    "another kind of node": lambda g: g["xnodes"][0].update(xnode_union_type="XNNDepthwiseConv2d"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_number_that_does_not_fit_is_refused(graph, name):
    right, sizes = graph
    arguments = sum(
        v["xvalue_union"].get("tensor_value", v["xvalue_union"])["external_id"] != NONE
        for v in right["xvalues"]
    )
    check_graph(right, arguments, lambda key: sizes.get(key, 0))
    wrong = copy.deepcopy(right)
    WRONG[name](wrong)
    assert wrong != right
    with pytest.raises(ValueError, match="not as this toolkit writes it"):
        check_graph(wrong, arguments, lambda key: sizes.get(key, 0))
