"""The part of ONNX's format that this toolkit reads by itself is a part of the format as ``onnx`` has it."""

from __future__ import annotations

import random

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor
from onnx import TensorProto, helper

from phantom_edge.errors import InputError
from phantom_edge.export.onnx_layout import find
from phantom_edge.export.onnx_model import EXTERNAL, FLOAT, INT8, INT64, TYPES, load_model, read_model
from phantom_edge.export.onnx_schema import is_complete, new

OTHER_NAMES = {"TensorTypeProto": "TypeProto.Tensor", "DimensionProto": "TensorShapeProto.Dimension"}
ENUM, INT32, MESSAGE = FieldDescriptor.TYPE_ENUM, FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_MESSAGE


def of_onnx(name: str):
    whole = onnx.ModelProto.DESCRIPTOR.file.pool
    return whole.FindMessageTypeByName(f"onnx.{OTHER_NAMES.get(name, name)}")


def reachable() -> dict[str, object]:
    """Every message of the schema by its name."""
    messages, waiting = {}, [new().DESCRIPTOR]
    while waiting:
        message = waiting.pop()
        messages[message.name] = message
        below = [field.message_type for field in message.fields if field.message_type]
        waiting += [one for one in below if one.name not in messages]
    return messages


@pytest.mark.parametrize("name", sorted(reachable()))
def test_each_field_is_what_it_is_in_onnx(name):
    theirs = of_onnx(name).fields_by_number
    for field in reachable()[name].fields:
        other = theirs[field.number]
        assert (field.name, field.is_repeated) == (other.name, other.is_repeated)
        assert field.type == (INT32 if other.type == ENUM else other.type)
        if field.type == MESSAGE:
            kind = field.message_type.name
            assert of_onnx(kind).full_name == other.message_type.full_name


def test_types_have_onnxs_numbers():
    assert (FLOAT, INT8, INT64) == (TensorProto.FLOAT, TensorProto.INT8, TensorProto.INT64)
    assert EXTERNAL == TensorProto.EXTERNAL
    for number, kind in TYPES.items():
        assert helper.tensor_dtype_to_np_dtype(number) == kind


def test_what_it_lacks_is_noticed_at_every_depth():
    whole = helper.make_model(helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", [], []))
    changes = (
        lambda m: m.functions.add(name="Add"),
        lambda m: m.training_info.add(),
        lambda m: m.graph.sparse_initializer.add(),
        lambda m: m.graph.node[0].attribute.add(name="a").t.CopyFrom(TensorProto(name="t")),
        lambda m: m.graph.node[0].attribute.add(name="a").tensors.add(name="t"),
        lambda m: m.graph.node[0].attribute.add(name="a").sparse_tensor.dims.append(1),
        lambda m: m.graph.node[0].attribute.add(name="a").graphs.add(name="g"),
        lambda m: m.graph.node[0].attribute.add(name="a", ref_attr_name="b"),
        lambda m: m.graph.initializer.add(name="t").segment.MergeFrom(TensorProto.Segment(begin=1)),
        lambda m: m.graph.initializer.add(name="t").string_data.append(b"x"),
        lambda m: m.graph.input.add(name="x").type.sequence_type.elem_type.tensor_type.ClearField("shape"),
    )
    model = new()
    model.ParseFromString(whole.SerializeToString())
    assert is_complete(model)
    for change in changes:
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        change(changed)
        model = new()
        model.ParseFromString(changed.SerializeToString())
        assert not is_complete(model)


def test_damaged_models_are_read_as_onnx_reads_them(tmp_path, tiny_dirs):
    """Whatever passes the checks is, to ``onnx``, the same nodes and the same tensors."""
    from folded_models import quantized
    from onnx_models import write

    write(quantized(tiny_dirs["qwen2"], "int4"), tmp_path)
    path, random_numbers, passed = find(tmp_path, "text_decoder"), random.Random(3), 0
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random_numbers.choice((1, 1, 2, 8))):
            data[random_numbers.randrange(len(data))] = random_numbers.randrange(256)
        path.write_bytes(bytes(data))
        try:
            model = read_model(path)
        except InputError:
            continue
        passed += 1
        theirs = load_model(path)
        for own, other in zip(model.graph.node, theirs.graph.node, strict=True):
            assert (own.op_type, own.domain, list(own.input)) == (
                other.op_type,
                other.domain,
                list(other.input),
            )
            assert own.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
        for own, other in zip(model.graph.initializer, theirs.graph.initializer, strict=True):
            assert (own.name, own.data_type, list(own.dims)) == (
                other.name,
                other.data_type,
                list(other.dims),
            )
            assert (own.raw_data, own.data_location) == (other.raw_data, other.data_location)
            assert list(own.int64_data) == list(other.int64_data)
    assert 20 < passed < 290
