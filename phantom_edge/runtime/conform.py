"""Compare the original and the exact fold with recorded outputs of the published implementation.

A folder to conform to is a checkpoint with ``golden.json`` (the cases) and ``golden.safetensors`` (what was
recorded).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError, shown
from phantom_edge.images import load_image, normalize, pixel_values
from phantom_edge.model.fold import Fold
from phantom_edge.model.folded import FoldedModel
from phantom_edge.model.original import PhantomModel
from phantom_edge.report.report import Check, Report
from phantom_edge.system.reading import is_file, open_safetensors, read_json, reading
from phantom_edge.text.prompt_ids import PromptEncoder

TENSOR_LIMIT, TENSOR_REASON = 1e-4, "fp32 against fp32: only the order of summation differs"
PIXEL_LIMIT = 1e-6
PIXEL_REASON = "the same integers after resizing, then one subtraction and one division in fp32"
GENERATED = 12
PIXEL_STEP, IMAGE_STEP, LOGIT_STEP = 8, 16, 64  # every n-th row and column, image token, position is there
DIMENSIONS = {"input_ids": 1, "hidden_last": 1, "logits_every_64": 2, "last_logits": 1, "generated_ids": 1}
DIMENSIONS_OF_IMAGE = {"pixel_values": 4, "pixel_sums": 2, "image_embeds": 3}
Arrays = dict[str, np.ndarray]


def conform(folder: str | Path, *, phantom: bool = True) -> Report:
    """Every recorded tensor of every case, for the original and the exact fold. ``phantom=False`` must fail.

    Raises :class:`InputError` when the folder has no recordings.
    """
    folder = Path(folder)
    if not is_file(folder / "golden.json") or not is_file(folder / "golden.safetensors"):
        raise InputError(f"{folder}: no recorded outputs here (golden.json and golden.safetensors)")
    source, cases, golden = Pretrained.open(folder), _cases(folder), _load(folder / "golden.safetensors")
    for case in cases:
        _check_recorded(folder, case, golden)
    config, checkpoint = source.config, source.checkpoint
    models: dict[str, PhantomModel | FoldedModel] = {
        "original": PhantomModel(config, checkpoint, phantom=phantom),
        "folded": FoldedModel.of(config, checkpoint, Fold("exact" if phantom else "off"), source.first_id),
    }
    report = Report("conform", f"{folder.name}: against the published implementation", {"cases": len(cases)})
    for label, model in models.items():
        checks = [check for case in cases for check in _case(case, golden, source, model)]
        report.groups[f"The {label}, every recorded tensor"] = _worst(checks)
    return report


def _worst(checks: list[Check]) -> list[Check]:
    """One row per recorded tensor: its worst case, which ``detail`` names."""
    rows: dict[str, list[Check]] = {}
    for check in checks:
        rows.setdefault(check.name.partition(": ")[2], []).append(check)
    merged = []
    for name, group in rows.items():
        # NaN and failures first: neither may hide behind a larger number that passed.
        worst = max(group, key=lambda c: (c.passed is False, c.value))
        where = f"{len(group)} cases" + (f", worst {worst.name.partition(': ')[0]}" if worst.value else "")
        merged.append(replace(worst, name=name, detail=where))
    return merged


def _cases(folder: Path) -> list[dict[str, Any]]:
    cases = read_json(folder / "golden.json").get("cases")
    if not isinstance(cases, list) or not cases:
        raise InputError(f"{folder / 'golden.json'}: lists no cases")
    where = folder / "golden.json"
    with reading(where, "record it again"):
        for case in cases:
            image, named = case["image"], isinstance(case["name"], str) and isinstance(case["question"], str)
            if image is not None and (not isinstance(image, str) or Path(image).name != image):
                raise InputError(f"{where}: {shown(image)} is not a plain file name")
            if not named or type(case.get("tiles", 0)) is not int:
                raise InputError(f"{where}: a case needs a name, a question and the number of its tiles")
        if len({case["name"] for case in cases}) < len(cases):
            raise InputError(f"{where}: a case is there twice; record it again")
        return [{**case, "path": case["image"] and folder / case["image"]} for case in cases]


def _check_recorded(folder: Path, case: dict[str, Any], golden: Arrays) -> None:
    """Raise :class:`InputError` where a tensor of a case is missing, or is something else."""
    for name, dimensions in (DIMENSIONS | (DIMENSIONS_OF_IMAGE if case["image"] else {})).items():
        tensor = golden.get(f"{case['name']}.{name}")
        if tensor is None or tensor.ndim != dimensions or tensor.dtype.kind not in "iuf":
            what = (
                f"{name} of case {shown(case['name'])} is missing, or no numbers in {dimensions} dimensions"
            )
            raise InputError(f"{folder / 'golden.safetensors'}: {what}; record it again")


def _load(path: Path) -> Arrays:
    with open_safetensors(path, "np", "record it again") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict


def _case(
    case: dict[str, Any], golden: Arrays, source: Pretrained, model: PhantomModel | FoldedModel
) -> list[Check]:
    name, config = case["name"], source.config
    prefix, pixels = f"{name}.", None
    recorded = {key.removeprefix(prefix): golden[key] for key in golden if key.startswith(prefix)}
    if case["path"] is not None:
        pixels = pixel_values(load_image(case["path"]), tile_size=config.tile_size)
    rows = None if pixels is None else len(pixels) * config.tokens_per_tile
    ids = PromptEncoder(source.template, source.tokenizer).first(case["question"], rows)
    checks = [_equal(name, "prompt ids", ids, recorded["input_ids"].tolist())]
    embeds = model.embed(torch.tensor([ids]))
    if pixels is not None:
        image = model.encode_image(torch.from_numpy(pixels))
        checks += _image_checks(name, case, pixels, image, recorded)
        embeds = embeds.clone()
        embeds[torch.tensor([ids]) == config.image_token_id] = image.flatten(0, 1)
    return checks + _decoder_checks(name, model, embeds, recorded)


def _image_checks(
    name: str, case: dict[str, Any], pixels: np.ndarray, image: torch.Tensor, recorded: Arrays
) -> list[Check]:
    normal = normalize(pixels)
    sums, area = normal.astype(np.float64).sum((2, 3)), normal[0, 0].size
    return [
        _equal(name, "tiles", len(pixels), case["tiles"]),
        _near(name, "pixels", normal[:, :, ::PIXEL_STEP, ::PIXEL_STEP], recorded["pixel_values"], pixel=True),
        _near(name, "pixel means", sums / area, recorded["pixel_sums"] / area, pixel=True),
        _near(name, "image tokens", image[:, ::IMAGE_STEP].numpy(), recorded["image_embeds"]),
    ]


def _decoder_checks(
    name: str, model: PhantomModel | FoldedModel, embeds: torch.Tensor, recorded: Arrays
) -> list[Check]:
    context = embeds.shape[1] + GENERATED
    cache: Any = model.make_cache(context)
    hidden = model.hidden(embeds, cache)[0, -1]
    cache = model.make_cache(context)
    logits = model.decode(embeds, cache, all_positions=True)
    generated, last, sampled = [], logits[0, -1], logits[0, ::LOGIT_STEP]
    for _ in range(GENERATED):
        generated.append(int(last.argmax()))
        last = model.decode(model.embed(torch.tensor([generated[-1:]])), cache)[0, -1]
    return [
        _near(name, "hidden state", hidden.numpy(), recorded["hidden_last"]),
        _near(name, "logits at every 64th position", sampled.numpy(), recorded["logits_every_64"]),
        _near(name, "last logits", logits[0, -1].numpy(), recorded["last_logits"]),
        _equal(name, "greedy tokens", generated, recorded["generated_ids"][-GENERATED:].tolist()),
    ]


def _near(case: str, what: str, value: np.ndarray, expected: np.ndarray, *, pixel: bool = False) -> Check:
    limit, reason = (PIXEL_LIMIT, PIXEL_REASON) if pixel else (TENSOR_LIMIT, TENSOR_REASON)
    error = float(np.abs(value - expected).max()) if value.shape == expected.shape else float("inf")
    return Check.at_most(f"{case}: {what}", error, limit, reason)


def _equal(case: str, what: str, value: object, expected: object) -> Check:
    detail = "" if value == expected else "differ"
    return Check.at_most(f"{case}: {what}", int(value != expected), 0, "the same, exactly", detail)
