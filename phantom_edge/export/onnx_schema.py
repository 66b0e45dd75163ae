"""The part of the ONNX format that this toolkit writes, as classes of Google's protobuf library.

The package ``onnx`` has all of the format, but a box that only runs a bundle does without it. Protobuf is
there wherever ONNX Runtime is, and its parser is the one that ``onnx`` uses. What is not listed here, no
exporter writes, so a model that holds it can be refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from google.protobuf.message import Message

SCHEMA: Final = """
message ModelProto
  optional int64 ir_version = 1
  optional string producer_name = 2
  optional string producer_version = 3
  optional string domain = 4
  optional int64 model_version = 5
  optional string doc_string = 6
  optional GraphProto graph = 7
  repeated OperatorSetIdProto opset_import = 8
  repeated StringStringEntryProto metadata_props = 14
message OperatorSetIdProto
  optional string domain = 1
  optional int64 version = 2
message StringStringEntryProto
  optional string key = 1
  optional string value = 2
message GraphProto
  repeated NodeProto node = 1
  optional string name = 2
  repeated TensorProto initializer = 5
  optional string doc_string = 10
  repeated ValueInfoProto input = 11
  repeated ValueInfoProto output = 12
  repeated ValueInfoProto value_info = 13
  repeated StringStringEntryProto metadata_props = 16
message NodeProto
  repeated string input = 1
  repeated string output = 2
  optional string name = 3
  optional string op_type = 4
  repeated AttributeProto attribute = 5
  optional string doc_string = 6
  optional string domain = 7
  repeated StringStringEntryProto metadata_props = 9
message AttributeProto
  optional string name = 1
  optional float f = 2
  optional int64 i = 3
  optional bytes s = 4
  repeated float floats = 7
  repeated int64 ints = 8
  repeated bytes strings = 9
  optional string doc_string = 13
  optional int32 type = 20
message TensorProto
  repeated int64 dims = 1
  optional int32 data_type = 2
  repeated float float_data = 4
  repeated int32 int32_data = 5
  repeated int64 int64_data = 7
  optional string name = 8
  optional bytes raw_data = 9
  repeated double double_data = 10
  repeated uint64 uint64_data = 11
  optional string doc_string = 12
  repeated StringStringEntryProto external_data = 13
  optional int32 data_location = 14
message ValueInfoProto
  optional string name = 1
  optional TypeProto type = 2
  optional string doc_string = 3
message TypeProto
  optional TensorTypeProto tensor_type = 1
message TensorTypeProto
  optional int32 elem_type = 1
  optional TensorShapeProto shape = 2
message TensorShapeProto
  repeated DimensionProto dim = 1
message DimensionProto
  optional int64 dim_value = 1
  optional string dim_param = 2
"""
"""Names and numbers of ``onnx.proto``; its enumerations are integers, and three nested types have names."""

_Field: Final = descriptor_pb2.FieldDescriptorProto


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="phantom_edge/onnx.proto", package="onnx", syntax="proto2")
    for line in SCHEMA.split("\n"):
        if line.startswith("message "):
            file.message_type.add(name=line.split()[1])
        elif match := re.fullmatch(r"  (optional|repeated) (\w+) (\w+) = (\d+)", line):
            label, kind, name, number = match.groups()
            field = file.message_type[-1].field.add(name=name, number=int(number))
            field.label = getattr(_Field, f"LABEL_{label.upper()}")
            if kind[0].isupper():
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".onnx.{kind}"
            else:
                field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    return file


_POOL: Final = descriptor_pool.DescriptorPool()  # of its own: the default one may have `onnx`'s own classes
_POOL.AddSerializedFile(_file().SerializeToString())


def new(kind: str = "ModelProto", /, **fields: Any) -> Message:
    """An empty message of a ``kind``, or one with ``fields``.

    >>> new("TensorProto", name="scales", dims=[2, 3]).dims
    [2, 3]
    """
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"onnx.{kind}"))(**fields)


def is_complete(message: Message) -> bool:
    """Whether a parsed message has nothing, at any depth, that :data:`SCHEMA` lacks; else it loses that."""
    size: int = message.ByteSize()
    message.DiscardUnknownFields()
    return bool(message.ByteSize() == size)
