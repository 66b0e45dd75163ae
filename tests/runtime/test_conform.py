"""Conformance with the published implementation, where it is recorded, and with a recording of the
original.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from recorded import RECORDED, conformance
from safetensors.numpy import save_file

from phantom_edge.checkpoint.pretrained import Pretrained
from phantom_edge.errors import InputError
from phantom_edge.images import load_image, normalize, pixel_values
from phantom_edge.model.original import PhantomModel
from phantom_edge.runtime.conform import conform
from phantom_edge.runtime.traces import default_images


@conformance
@pytest.mark.parametrize("folder", RECORDED, ids=lambda p: p.name)
def test_original_and_fold_are_the_published_implementation(folder):
    report = conform(folder)
    assert report.ok, report.failures
    assert [len(rows) for rows in report.groups.values()] == [9, 9]


@conformance
def test_without_phantom_it_fails():
    report = conform(RECORDED[0], phantom=False)
    assert {"last logits", "hidden state", "logits at every 64th position"} <= {
        c.name for c in report.failures
    }


@pytest.fixture
def recorded(tmp_path, tiny_dirs):
    """A folder of the same form, recorded here from the original: the reader and its limits are what is
    tested.
    """
    folder = shutil.copytree(tiny_dirs["qwen2"], tmp_path / "recorded")
    source = Pretrained.open(folder)
    default_images(56)["wide"].save(folder / "wide.png")
    case = {"name": "wide", "question": "What?", "image": "wide.png", "tiles": 3}
    (folder / "golden.json").write_text(json.dumps({"cases": [case]}))
    pixels = pixel_values(load_image(folder / "wide.png"), tile_size=56)
    ids = source.tokenizer.encode(
        source.template.render([("What?", None)], 3 * source.config.tokens_per_tile)
    )
    model = PhantomModel(source.config, source.checkpoint)
    image, embeds = model.encode_image(torch.from_numpy(pixels)), model.embed(torch.tensor([ids])).clone()
    embeds[torch.tensor([ids]) == source.config.image_token_id] = image.flatten(0, 1)
    cache = model.make_cache()
    logits = model.decode(embeds, cache, all_positions=True)[0]
    hidden, last, generated = model.hidden(embeds, model.make_cache())[0, -1], logits[-1], []
    for _ in range(12):
        generated.append(int(last.argmax()))
        last = model.decode(model.embed(torch.tensor([generated[-1:]])), cache)[0, -1]
    arrays = {
        "input_ids": np.array(ids, dtype=np.int32),
        "pixel_values": normalize(pixels)[:, :, ::8, ::8],
        "pixel_sums": normalize(pixels).astype(np.float64).sum((2, 3)),
        "image_embeds": image[:, ::16].numpy(),
        "logits_every_64": logits[::64].numpy(),
        "last_logits": logits[-1].numpy(),
        "hidden_last": hidden.numpy(),
        "generated_ids": np.array([1, *generated], dtype=np.int32),
    }
    save_file(
        {f"wide.{k}": np.ascontiguousarray(v) for k, v in arrays.items()}, folder / "golden.safetensors"
    )
    return folder


def test_a_recording_of_the_original_is_met_and_fails_without_phantom(recorded):
    assert conform(recorded).ok
    assert not conform(recorded, phantom=False).ok


def test_a_folder_without_recordings_or_with_a_path_in_them(recorded):
    case = {"name": "x", "question": "", "image": "../../x.png"}
    (recorded / "golden.json").write_text(json.dumps({"cases": [case]}))
    with pytest.raises(InputError, match="not a plain file name"):
        conform(recorded)
    case = {"name": "x", "question": "", "image": None}
    (recorded / "golden.json").write_text(json.dumps({"cases": [case] * 300}))
    with pytest.raises(InputError, match="a case is there twice"):
        conform(recorded)
    (recorded / "golden.json").write_text(json.dumps({"cases": [case]}))
    with pytest.raises(InputError, match="'x' is missing, or no numbers"):
        conform(recorded)
    (recorded / "golden.json").unlink()
    with pytest.raises(InputError, match="no recorded outputs"):
        conform(recorded)
