"""An NPU for the Kotlin library under test: its fixed graphs in torch, over the tensors that Kotlin makes.

The decoder here knows nothing but its inputs: embeddings, positions, the mask and all keys and values, as
``docs/bundle.md`` has them. What it answers is compared with a decoder that has a cache of its own, of fp16,
too.

A request is the graph's name, its inputs by name with their bytes, and the names of its outputs; texts and
bytes have their length before them. The answer is the bytes of each output, or -1 and a message.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from native_vectors import write_transcripts
from npu_bundles import write_npu_bundle
from torch import Tensor

from phantom_edge.bundle.folder import TOKENIZER, Bundle, finish
from phantom_edge.bundle.golden import GOLDEN, HALF, Golden
from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.model import graphs
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.ops import KVCache, TorchOps
from phantom_edge.model.rope import rotary_tables
from phantom_edge.runtime import decoding
from phantom_edge.runtime.prompt_spec import PromptSpec
from phantom_edge.runtime.session import Session
from phantom_edge.runtime.torch_backend import TorchBackend
from phantom_edge.text.tokenizer import Tokenizer

FOLDER = "npu"
"""Below the vectors' folder: the bundle, its transcripts and the pipes."""
CHUNK = 64  # more than the CPU's bundle takes at once, and less than a prompt with a picture


def model_of(checkpoint: Path, manifest: Any) -> FoldedModel:
    """The folded model with a bundle's integers, in fp32."""
    source = Pretrained.open(str(checkpoint))
    model = FoldedModel.of(source.config, source.checkpoint, Fold(), source.first_id)
    return model.quantized(manifest.recipe)


class HalfCacheBackend(TorchBackend):
    """The uncut decoder: causal attention over a cache of fp16 that it has itself."""

    def make_cache(self) -> KVCache:
        return KVCache(self.model.spec, self.context, torch.float16)


class FixedOps(TorchOps):
    """A decoder of fixed shapes: keys and values of the whole context and the mask are inputs."""

    def __init__(self, model: FoldedModel, inputs: Mapping[str, Tensor]):
        super().__init__(model.spec, model.weights)
        d, positions = model.config.decoder, inputs["position_ids"][0]
        self.inputs, self.present = inputs, {}
        self.tables = rotary_tables(d.rope, d.head_dim, positions, inputs["attention_mask"].shape[-1])

    def cached_attention(self, q: Tensor, k: Tensor, v: Tensor, layer: int, scale: float) -> Tensor:
        for kind, new in (("key", k), ("value", v)):
            self.present[f"present.{layer}.{kind}"] = new.transpose(1, 2).half()  # [1, Hkv, S, W]
        q = q.transpose(1, 2)  # [1, H, S, W]
        keys, values = (
            torch.cat(
                [self.inputs[f"past_key_values.{layer}.{kind}"], self.present[f"present.{layer}.{kind}"]],
                dim=2,
            )
            .float()
            .repeat_interleave(q.shape[1] // k.shape[2], dim=1)
            for kind in ("key", "value")
        )  # [1, H, C + S, W]
        scores = q @ keys.transpose(2, 3) * scale + self.inputs["attention_mask"].float()
        return (scores.softmax(-1) @ values).transpose(1, 2)


class NpuServer:
    """Computes requests at the pipes in ``folder`` while the block runs; ``calls`` are its graphs' names."""

    def __init__(self, model: FoldedModel, context: int, folder: Path):
        self.model, self.context, self.folder, self.calls = model, context, folder, []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> NpuServer:
        for name in ("requests", "answers"):
            os.mkfifo(self.folder / name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():  # see LiveServer
            requests, answers = (self.folder / name for name in ("requests", "answers"))
            with open(requests, "r+b", buffering=0) as end, open(answers, "r+b", buffering=0):
                end.write(struct.pack("<i", 0))
                self._thread.join(timeout=10)

    def _serve(self) -> None:
        with open(self.folder / "requests", "rb") as requests, open(self.folder / "answers", "wb") as answers:
            while name := _bytes(requests):
                graph = name.decode()
                inputs = {_bytes(requests).decode(): _bytes(requests) for _ in range(_count(requests))}
                outputs = [_bytes(requests).decode() for _ in range(_count(requests))]
                self._answer(graph, inputs, outputs, answers)

    def _answer(self, graph: str, inputs: dict[str, bytes], outputs: list[str], answers: BinaryIO) -> None:
        try:
            computed = self.compute(graph, inputs)
            reply = b"".join(_framed(computed[name].numpy().tobytes()) for name in outputs)
        except Exception as error:  # whatever it is, the client has to hear of it
            reply = struct.pack("<i", -1) + _framed(repr(error).encode())
        answers.write(reply)
        answers.flush()

    @torch.inference_mode()
    def compute(self, graph: str, inputs: Mapping[str, bytes]) -> dict[str, Tensor]:
        """Outputs of a graph by name."""
        self.calls.append(graph)
        if graph == "vision_encoder":
            side = self.model.config.tile_size
            pixels = _array(inputs["pixel_values"], "<f4").reshape(1, 3, side, side)
            return {"image_features": self.model.encode_image(pixels)}
        d, spec = self.model.config.decoder, self.model.spec
        tensors = {"inputs_embeds": _array(inputs["inputs_embeds"], "<f4").reshape(1, -1, d.hidden_size)}
        rows = tensors["inputs_embeds"].shape[1]
        assert (graph, rows) in (("prefill", rows), ("decode", 1))
        tensors["position_ids"] = _array(inputs["position_ids"], "<i4").reshape(1, rows)
        mask = _array(inputs["attention_mask"], "<f2").reshape(1, 1, rows, self.context + rows)
        assert set(mask.unique().tolist()) <= {0.0, -10000.0}
        tensors["attention_mask"] = mask
        for n in range(d.layers):
            for name in (f"past_key_values.{n}.key", f"past_key_values.{n}.value"):
                shape = (1, d.kv_heads, self.context, spec.width(n))
                tensors[name] = _array(inputs[name], "<f2").reshape(shape)
        ops = FixedOps(self.model, tensors)
        logits = graphs.text_decoder(ops, spec, tensors["inputs_embeds"])
        return {"logits": logits, **ops.present}


def write_npu(folder: Path, bundle: Bundle) -> NpuServer:
    """The NPU's bundle of the same model below ``folder``, what the uncut decoder answers, and the server."""
    below = folder / FOLDER
    below.mkdir()
    model = model_of(folder / "checkpoint", bundle.manifest)
    npu = write_npu_bundle(bundle, below / "bundle", chunk=CHUNK)
    backend = HalfCacheBackend(model, npu.manifest.context, npu.manifest.chunk)
    session = Session(backend, Tokenizer.from_file(npu.folder / TOKENIZER), PromptSpec.of_bundle(npu))
    _record(npu, backend)
    write_transcripts(below, session)
    return NpuServer(model, npu.manifest.context, below)


def _record(npu: Bundle, backend: TorchBackend) -> None:
    """Replace the golden answers by those of the NPU's own arithmetic."""
    golden = Golden.read(npu.folder)
    features, cache = backend.encode_image(golden.pixel_values), backend.make_cache()
    prompt = decoding.embed(
        backend,
        golden.input_ids[0].tolist(),
        features.reshape(-1, features.shape[-1]),
        npu.manifest.ids.image,
    )
    logits = row = decoding.prefill(backend, cache, prompt)
    tokens: list[int] = []
    for _ in golden.generated_ids:
        tokens.append(int(row.argmax()))
        row = decoding.append(backend, cache, tokens[-1])
    recorded = replace(
        golden,
        image_features=features,
        prefill_logits=logits[None],
        generated_ids=np.array(tokens, np.int64),
        limits=HALF,
    )
    (npu.folder / GOLDEN).unlink()
    recorded.save(npu.folder)
    finish(npu.folder, npu.manifest)


def _array(data: bytes, dtype: str) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytearray(data), dtype))


def _count(stream: BinaryIO) -> int:
    head = stream.read(4)
    return struct.unpack("<i", head)[0] if len(head) == 4 else 0


def _bytes(stream: BinaryIO) -> bytes:
    return stream.read(_count(stream))


def _framed(data: bytes) -> bytes:
    return struct.pack("<i", len(data)) + data
