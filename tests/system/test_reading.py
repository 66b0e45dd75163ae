"""The one way in for files from outside: what is refused before any work, and in which words."""

from __future__ import annotations

import ast
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import phantom_edge
from phantom_edge.errors import InputError, NoRoomError, one_line, shown
from phantom_edge.system import reading

PACKAGE = Path(phantom_edge.__path__[0])


def message(call, *arguments) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 300
    assert line.isprintable()
    return line


DEEP = "[" * 5000 + "]" * 5000
JSON = {
    "": "not readable as JSON",
    "{": "not readable as JSON",
    '{"a": 1': "not readable as JSON",
    DEEP: "nested too deeply",
    "[" * 200_000: "nested too deeply",
    "[" * 65 + "]" * 65: "nested too deeply",
    '{"a": ' + "1" * 41 + "}": "a number of 41 digits",
    '{"a": ' + "1" * 100_000 + "}": "a number of 100000 digits",
    '{"a": NaN}': "holds NaN",
    '{"a": -Infinity}': "holds -Infinity",
    '{"a": 1e999}': "'1e999', which is no number",
    '{"a": 0.' + "0" * 1000 + "1}": "which is no number",
    r'{"a": "\ud800"}': "half of a surrogate pair",
    r'{"\udfff": 1}': "half of a surrogate pair",
    "[]": "holds list, expected an object",
    '"' + "x" * 5000 + '"': "holds str, expected an object",
}


@pytest.mark.parametrize(("text", "expected"), JSON.items(), ids=lambda v: v[:20])
def test_json_that_is_refused(text, expected, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(text)
    line = message(reading.read_json, path)
    assert expected in line
    assert line.startswith(str(path))


def test_json_that_is_read(tmp_path):
    path = tmp_path / "config.json"
    value = {"a": [1, 2.5, None, True], "ü": "\U0001f600", "no limit": 1000000000000000019884624838656}
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(value).encode())
    assert reading.read_json(path) == value
    assert reading.parse_json("[" * 64 + "]" * 64, "x") is not None


def test_sizes_are_bounded_before_reading(tmp_path):
    path = tmp_path / "big.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room
    assert "larger than 8 MiB" in message(reading.read_json, path)
    assert "larger than 10 bytes" in message(reading.read_bytes, path, 10)
    assert "larger than 1 MiB" in message(reading.read_toml, path)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading it would never end
    (tmp_path / "loop").symlink_to("loop")
    assert "no ordinary file" in message(reading.read_json, tmp_path / "pipe")
    assert "no ordinary file" in message(reading.read_json, Path("/dev/zero"))
    assert "is a folder" in message(reading.read_json, tmp_path)
    assert "links lead in a circle" in message(reading.read_json, tmp_path / "loop")
    assert "not found" in message(reading.read_json, tmp_path / "none")
    assert "cannot be read" in message(reading.read_json, tmp_path / ("x" * 5000))
    assert "no text" in message(reading.read_json, Path("\ud800"))
    assert "null byte" in message(reading.read_json, Path("a\0b"))
    for name in ("loop", "x" * 5000, "a\0b", "\ud800"):
        assert not reading.is_file(tmp_path / name)
        assert not reading.is_folder(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = " + "[" * 3000, "deeply"),
        ("a = " + "1" * 5000, "digits"),
        ("a = nan", "nan"),
        ("a", "Expected '='"),
    ],
    ids=["deep", "digits", "nan", "damaged"],
)
def test_toml_that_is_refused(text, expected, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    assert expected in message(reading.read_toml, path)


def test_safetensors_headers_are_bounded(tmp_path):
    path = tmp_path / "x.safetensors"
    save_file({"a": np.zeros(4, np.float32)}, path)

    def opened() -> None:
        with reading.open_safetensors(path, "np", "download it again") as file:
            file.get_tensor("a")

    opened()
    data = path.read_bytes()
    nested = b'{"__metadata__":' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b"}"
    for damaged in (
        b"",
        data[:4],
        data[:-1],
        struct.pack("<Q", 1 << 62) + data[8:],
        struct.pack("<Q", len(nested)) + nested,
        data.replace(b"[0,16]", b"[0,99]"),
        data.replace(b'"F32"', b'"F99"'),
    ):
        path.write_bytes(damaged)
        assert "truncated, or no safetensors file" in message(opened)
    path.write_bytes(data.replace(b'"F32"', b'"F8_E4M3"').replace(b"[4]", b"[16]"))
    message(opened)  # a type that numpy lacks


def test_every_failure_of_a_block_is_one_line():
    class PanicException(BaseException):
        """As Rust's libraries raise it."""

    for error in (
        RuntimeError("a\nb\n\n" + "c" * 9999), struct.error("short"), IndexError(), RecursionError(),
        KeyError("k"), FileNotFoundError(),
        OverflowError("int too large"), PanicException("at src/lib.rs"),
        AttributeError("'list' object has no attribute 'get'"), ValueError("\x1b[31mred"),
    ):  # fmt: skip

        def failing(error: BaseException = error) -> None:
            with reading.reading("model.bin", "export it again"):
                raise error

        line = message(failing)
        assert line.startswith("model.bin: ")
        assert line.endswith("; export it again")
    refused = pytest.raises(InputError, match=r"cannot be read \(File name too long\)$")
    with refused, reading.reading("model.bin", "another copy does not mend what the system refuses"):
        raise OSError(36, "File name too long")
    with pytest.raises(NoRoomError, match="more memory"), reading.reading("model.bin"):
        raise MemoryError
    with pytest.raises(KeyboardInterrupt), reading.reading("model.bin"):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"^as it is$"), reading.reading("model.bin"):
        raise InputError("as it is")


def test_errors_never_echo_input_at_length():
    long = "x" * 100_000
    assert len(str(InputError(f"{long}: is not a model; export it again"))) < 300
    assert str(InputError(f"{long}; export it again")).endswith("; export it again")
    for value in (
        long,
        10**100_000,
        -(10**999),
        [long] * 999,
        {long: long},
        None,
        1.5,
        b"y" * 9999,
        "\ud800\n",
    ):
        assert len(shown(value)) <= 80
        assert shown(value).isprintable()
    assert one_line("a  b\tc\r\nd") == "a b c d"


# --- nobody reads around the layer -----------------------------------------------------------------------

READERS = {
    "open", "read_bytes", "read_text", "load", "loads", "safe_open", "load_file", "ParseFromString", "memmap",
    "fromfile", "from_str", "MLModel", "InferenceSession",
}  # fmt: skip
MODULES = {"json", "tomllib", "onnx", "np", "numpy", "torch", "pickle", "Image", "builtins"}
"""Objects whose ``load``, ``loads`` or ``open`` reads."""
OWN = {
    "apps.site": "the web app, which this toolkit has built",
    "system.caching": "a lock",
    "checkpoint.hub_job": "what a program that it has started says",
    "checkpoint.hub_process": "what the hub's library has brought, within bounds, and a job of its parent's",
    "checkpoint.pretrained": "the class of that name, through the layer",
    "checkpoint.refusals": "the first bytes of a file, to name it",
    "system.children": "the first bytes of a program that it starts",
    "cli.printing": "the null device, and its own JSON",
    "system.outputs": "the first bytes of a file that it may replace, and /proc",
    "system.partials": "a folder, for its lock",
    "system.memory": "/proc",
    "system.native": "the null device",
    "system.writing": "what it has just written",
    "system.reading": "the layer itself",
    "records": "its own source, for the schema",
    "apps.android": "sources that ship with the package",
    "apps.demo": "the embedded model",
    "apps.ios": "sources that ship with the package",
    "apps.native": "sources that ship with the package",
    "apps.notices": "licences of installed packages",
    "apps.sources": "sources that ship with the package",
    "apps.web": "sources that ship with the package",
    "bench.browser.program": "/proc, and a program's own errors",
    "bench.energy": "the kernel's counters",
    "bench.estimate.hardware": "a table that ships with the package",
    "bench.machine": "/proc and /sys",
    "scenes.screen": "a page that ships with the package",
    "quantize.cache": "the package's own code, for its hash",
    "runtime.executorch_lift": "a copy of a file that the layer has opened",
    "runtime.arm.deb": "inside the layer",
    "runtime.arm.download": "nothing: it writes",
    "serve.question": "the words that its own parent gives it",
    "system.resident": "/proc",
    "runtime.frames": "the words that its own parent or child gives it, within bounds",
    "runtime.arm.worker": "/proc/cpuinfo",
    "checkpoint.saving": "nothing: it writes",
    "export.onnx.writer": "nothing: it writes",
    "export.coreml.package": "nothing: it writes",
    "export.executorch.file": "nothing: it writes",
    "system.files": "nothing: it writes",
    "scenes.write": "nothing: it writes",
    "scenes.light": "a picture that it has just made",
    "images": "pictures, by rules and words of its own",
    "text.tokenizer": "text that the layer has read, and the tokenizers library's own",
    "text.pieces": "the tokenizers library's own",
    "text.trimmed": "the tokenizers library's own",
    "sweep.cluster": "what its own tasks give",
    "sweep.task": "what the command that began the sweep gives",
    "text.sentencepiece": "bytes that the layer has read",
    "mil.package": "bytes that the layer has read",
    "mil.blob": "inside the layer, by mapping",
    "export.onnx_model": "bytes that the layer has read",
    "runtime.onnx_graphs": "models that the layer has read",
    "runtime.worker_process": "what a program that it has started says",
    "runtime.qnn_backend": "models that the layer has read",
    "export.qnn_provider": "models that the layer has read",
    "export.onnx.qnn.compiled": "what the compiler has just written",
    "runtime.onnx_int8": "a model that it has just made",
    "runtime.coreml_backend": "packages that the interpreter has read first",
    "quantize.other_quantizers": "a model that it has just made",
    "export.onnx.genai": "graphs that the exporter has just written",
    "export.executorch_coreml.payload": "a package that the exporter has just written",
    "runtime.executorch_coreml_backend": "a file that the layer has read",
    "evaluate.benchmarks.table": "inside the layer, line by line",
    "evaluate.result": "nothing: it writes",
    "training.run_folder": "nothing: it writes, and a lock",
    "export.executorch.readback": "inside the layer; a schema that ships with executorch",
    "bench.worker": "the words that its own parent gives it",
    "bench.estimate.timing": "the words that its own parent gives it",
    "bench.protocol": "what a program that it has started says",
    "bench.browser.server": "what a page that it serves says",
    "bench.android.parse": "what a program that it has started says",
    "bench.android.phone": "a file that it is about to send",
    "bench.apple.devicectl": "what a program that it has started says",
}
"""Modules that open or parse something themselves, each with what it is."""


def _reads(tree: ast.AST) -> set[str]:
    calls = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        of_module = isinstance(owner, ast.Name) and owner.id in MODULES
        if name not in READERS or (name in ("load", "loads") and not of_module):
            continue
        if name in ("read_bytes", "read_text") and owner is None:
            continue  # the layer's function of that name
        if name == "open" and owner is not None and not of_module and not _is_path(owner):
            continue  # a class's own `open`, which goes through the layer
        calls.add(name)
    return calls


def _is_path(node: ast.expr) -> bool:
    """Whether an expression reads like a path: a lower-case name, or something divided."""
    name = getattr(node, "id", getattr(node, "attr", ""))
    return isinstance(node, ast.BinOp) or (name.islower() and name not in ("webbrowser", "candidate"))


def test_no_module_reads_a_file_from_outside_around_the_layer():
    around = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name not in OWN and (calls := _reads(ast.parse(path.read_text(encoding="utf-8")))):
            around[name] = calls
    assert not around, "read it by phantom_edge.system.reading, or say in OWN why not"
