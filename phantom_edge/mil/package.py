"""Opens a ``.mlpackage``: its model and weight files, none of them outside the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phantom_edge.errors import InputError, shown
from phantom_edge.mil.blob import BlobFile
from phantom_edge.system.reading import is_file, read_bytes, read_json, reading

MAX_MANIFEST_BYTES = 2**20
MAX_PROTO_BYTES = 2**31 - 1  # protobuf's own limit for one message
WEIGHT_PREFIX = "@model_path/"


class Package:
    """A package on disk: `model` is its parsed ``Model`` message, `blob` gives the weight files it names.

    Raises :class:`InputError` for no package, a path that leaves it, and a damaged or unusable model file.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._data = self.path / "Data"
        self.model_path = self._model_path()
        self.model = _parse(self.model_path)
        self._blobs: dict[str, BlobFile] = {}

    def blob(self, file_name: str) -> BlobFile:
        """The weight file that a constant names, as in ``@model_path/weights/weight.bin``."""
        if file_name not in self._blobs:
            if not file_name.startswith(WEIGHT_PREFIX):
                raise InputError(f"{self.path}: {shown(file_name)} does not begin with {WEIGHT_PREFIX}")
            path = _inside(self.model_path.parent, file_name[len(WEIGHT_PREFIX) :], self.path)
            self._blobs[file_name] = BlobFile(path)
        return self._blobs[file_name]

    def _model_path(self) -> Path:
        manifest = self.path / "Manifest.json"
        if not is_file(manifest):
            raise InputError(f"{self.path}: no Manifest.json; give the folder of an .mlpackage")
        content = read_json(manifest, MAX_MANIFEST_BYTES, "export it again")
        with reading(manifest, "export it again", "does not say which file is the model"):
            item = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
        if not isinstance(item, str):
            raise InputError(f"{manifest}: the model's path is not a text; export the package again")
        return _inside(self._data, item, self.path)


def _inside(root: Path, relative: str, package: Path) -> Path:
    """`relative` under `root`, refused where it (or a link on the way) leads outside the package's data."""
    try:
        path = (root / relative).resolve()
    except (OSError, ValueError, RuntimeError) as error:
        what = f"{shown(relative)} is not a usable path"
        raise InputError(f"{package}: {what}; export the package again") from error
    if not path.is_relative_to(root.resolve()):
        what = f"{shown(relative)} leads outside the package"
        raise InputError(f"{package}: {what}; do not use it, export it again")
    if not is_file(path):
        raise InputError(f"{package}: {shown(relative)} is named but missing; copy the whole package again")
    return path


def _parse(path: Path) -> Any:
    from coremltools.proto import Model_pb2

    model = Model_pb2.Model()
    data = read_bytes(path, MAX_PROTO_BYTES, "keep weights apart")
    with reading(path, "export it again", "is not a Core ML model, or a damaged one"):
        model.ParseFromString(data)
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        what = f"a {kind or 'model without content'}, not an ML Program"
        raise InputError(f"{path}: {what}; convert with convert_to='mlprogram'")
    return model
