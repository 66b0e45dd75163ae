"""``--tile-size`` from the command line to the answer: bundles of one and of several sizes of Nano."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from phantom_edge import Bundle, Pretrained, Session, build_suite, evaluate_models, self_test
from phantom_edge.bench.devices import Options, bench
from phantom_edge.bench.settings import Settings
from phantom_edge.bundle.golden import GOLDEN, METADATA, Golden, golden_file
from phantom_edge.bundle.manifest import MANIFEST, TileSize
from phantom_edge.cli import app
from phantom_edge.errors import InputError
from phantom_edge.model.original import PhantomModel
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.pipeline.tiles import parse_tile_sizes
from phantom_edge.quantize.calibration import calibration_sets
from phantom_edge.quantize.options import QuantizeOptions
from phantom_edge.records import to_json
from phantom_edge.runtime.traces import default_images
from phantom_edge.runtime.verify import verify

TRAINED = 192
CONTEXT = 256  # of which verify runs every position


@pytest.fixture(scope="module")
def several(tmp_path_factory) -> Path:
    """A verified bundle for three sizes, of which the trained one is the default."""
    folder = tmp_path_factory.mktemp("several") / "bundle"
    result = export(ExportRequest("desktop", output=folder, context=CONTEXT, tile_sizes=(TRAINED, 128, 256)))
    assert result.report is not None
    assert result.report.ok
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> Path:
    """A verified bundle for one size that is not the trained one."""
    folder = tmp_path_factory.mktemp("one") / "bundle"
    export(ExportRequest("desktop", output=folder, context=CONTEXT, tile_sizes=(128,)))
    return folder


@pytest.fixture
def copy(several, tmp_path) -> Path:
    return shutil.copytree(several, tmp_path / "copy")


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def refused(*words: object) -> str:
    """The one line with which a command ends."""
    result = run(*words)
    assert result.exit_code == 2, result.output
    (line,) = result.output.strip().splitlines()
    assert len(line) <= 300
    return line


def failed(folder: Path) -> dict[str, str]:
    """The checks that fail, with their details. The hashes in the manifest are not asked."""
    report = verify(Bundle.open(folder, check=False), tokens=2)
    return {check.name: check.detail for check in report.failures}


def test_the_manifest_says_which_sizes_there_are(several):
    tiles = Bundle.open(several).manifest.tiles
    assert (tiles.size, tiles.tokens, tiles.trained) == (TRAINED, 36, None)
    assert tiles.others == (
        TileSize(128, 16, "onnx/vision_encoder_128_q4.onnx"),
        TileSize(256, 64, "onnx/vision_encoder_256_q4.onnx"),
    )


def test_two_more_sizes_cost_little_on_disk(several):
    """Graphs and position embeddings; the weights lie there once."""
    sizes = {path.name: path.stat().st_size for path in (several / "onnx").iterdir()}
    further = sum(
        size for name, size in sizes.items() if name.startswith(("vision_encoder_1", "vision_encoder_2"))
    )
    positions = 2 * 192 * (65 + 257)
    assert further - positions < 0.02 * 2 * (sum(sizes.values()) - further)


def test_verify_ran_every_size(several):
    manifest = Bundle.open(several).manifest
    assert manifest.verification is not None
    names = [check.name for checks in manifest.verification.groups.values() for check in checks]
    for size in (128, 256):
        assert f"golden inputs that differ at {size}" in names
        assert f"golden at {size}: self-test, stages that fail" in names
        assert f"square at {size}" in manifest.verification.facts["prompts"]


def test_a_session_has_the_size_that_it_was_opened_with(several):
    source = Pretrained.open()
    original = PhantomModel(source.config, source.checkpoint)
    for size in (None, 128, 256):
        session = Session.open(several, tile_size=size)
        picture = default_images(size or TRAINED)["square"]
        tokens = session.encode_image(picture)
        assert len(tokens) == session.image_tokens(picture) == ((size or TRAINED) // 32) ** 2
        pixels = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255
        expected = original.encode_image(torch.from_numpy(pixels))[0].numpy()
        near = np.corrcoef(tokens.ravel(), expected.ravel())[0, 1]
        assert near > 0.98, size  # int4 beside fp32; torch with the same integers is verify's
        answer = "".join(session.generate("How many objects are there?", image=picture, max_tokens=8))
        assert answer


def test_every_size_passes_its_own_test(several):
    bundle = Bundle.open(several)
    for size in (128, 256):
        session = Session.of_bundle(bundle, tile_size=size)
        assert all(check.passed for check in self_test(session, Golden.read(several, size)))
    wrong = self_test(Session.of_bundle(bundle), Golden.read(several, 128))
    assert not all(check.passed for check in wrong)


def test_one_size_is_the_default_and_is_derived_again_from_the_source(one):
    manifest = Bundle.open(one).manifest
    assert (manifest.tiles.size, manifest.tiles.tokens, manifest.tiles.trained) == (128, 16, TRAINED)
    assert (manifest.tiles.others, manifest.config.tile_size) == ((), 128)
    processor = json.loads((one / "preprocessor_config.json").read_text())
    assert processor["size"] == {"height": 128, "width": 128}
    assert verify(Bundle.open(one), tokens=4).ok
    assert verify(Bundle.open(one), Pretrained.open(), tokens=4).ok


def test_a_size_that_is_not_recorded_as_chosen_is_noticed(one, tmp_path):
    folder = shutil.copytree(one, tmp_path / "copy")
    change(folder, lambda m: m["tiles"].update(trained=None))
    assert failed(folder) == {"manifest fields that differ": "differs: tiles.trained"}


def change(folder: Path, by) -> None:
    values = json.loads((folder / MANIFEST).read_text())
    by(values)
    (folder / MANIFEST).write_text(json.dumps(values))


def flip(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 1] ^= 0x40
    path.write_bytes(data)


def test_what_is_spoiled_of_a_further_size_is_noticed(copy):
    flip(copy, "onnx/vision_encoder_128_q4.onnx_data")
    (copy / golden_file(128)).unlink()
    shutil.copy(copy / GOLDEN, copy / golden_file(256))
    (copy / golden_file(64)).write_bytes(b"x")
    entry = {"bytes": 1, "sha256": "0" * 64}
    change(copy, lambda m: m["files"].update({golden_file(64): entry}))
    checks = failed(copy)
    assert checks["floats that differ"].endswith("differs: vision_encoder.position_embedding_128")
    assert "golden_128.safetensors: not found" in checks["golden inputs that differ at 128"]
    assert "not one tile of 256 pixels" in checks["golden inputs that differ at 256"]
    assert checks["files that no check reads"] == "golden_64.safetensors"


@pytest.mark.parametrize(
    "by", [lambda others: others.pop(), lambda others: others[0].update(vision_encoder="onnx/x.onnx")]
)
def test_a_manifest_that_names_other_encoders_is_noticed(copy, by):
    change(copy, lambda m: by(m["tiles"]["others"]))
    assert "the manifest's graphs lie elsewhere" in failed(copy)["declarations that differ"]


def test_spoiled_outputs_of_a_further_sizes_test_are_noticed(copy):
    path = copy / golden_file(128)
    golden = Golden.read(copy, 128)
    tensors = load_file(path)
    tensors["image_features"] = tensors["image_features"] * 1.5
    save_file(tensors, path, {METADATA: json.dumps(to_json(golden.limits))})
    assert failed(copy).keys() == {"golden at 128: image features"}


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (
            lambda t: t["others"][0].update(tokens=17),
            r"tiles.others\[0\].tokens is 17, and config makes it 16",
        ),
        (lambda t: t["others"][1].update(size=128), r"tiles.others\[1\].size is 128, which another one is"),
        (lambda t: t["others"][0].update(size=120), r"tiles.others\[0\].size is 120, no multiple of 32"),
        (lambda t: t["others"][0].pop("tokens"), r"tiles.others\[0\].tokens is missing"),
        (lambda t: t.update(others=t["others"] * 9), "tiles.others is .* expected maxItems 15"),
        (lambda t: t.update(others=None), "tiles.others is None, expected a list"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(copy, by, message):
    change(copy, lambda m: by(m["tiles"]))
    with pytest.raises(InputError, match=message):
        Bundle.open(copy, check=False)


def test_an_earlier_bundle_says_nothing_of_sizes_and_is_read(copy):
    def as_before(m):
        del m["tiles"]["others"], m["tiles"]["trained"]

    change(copy, as_before)
    assert Bundle.open(copy, check=False).manifest.tiles.others == ()


# --- the command line


def test_commands_choose_a_size(several):
    result = run("run", "-m", several, "--tile-size", 128, "-p", "How many objects are there?", "--json")
    assert result.exit_code == 0, result.output
    result = run(
        "eval", "-m", several, "--tile-size", "192,128", "--tasks", "colour", "--samples", 4, "--json"
    )
    assert result.exit_code == 0, result.output
    models = [entry["model"] for entry in json.loads(result.output)["results"]]
    assert models == ["bundle, tiles of 192", "bundle, tiles of 128"]


def test_a_checkpoint_may_be_asked_with_any_size():
    suite = build_suite(tasks=["colour"], samples=4)
    results = evaluate_models([None], suite, tile_sizes=(192, 160))
    assert [result.facts["tile_size"] for result in results] == [192, 160]
    assert results[0].model != results[1].model
    with pytest.raises(InputError, match="nearest are 96 and 128"):
        evaluate_models([None], suite, tile_sizes=(100,))


def test_bench_times_a_size_and_checks_it_first(several):
    quick = Settings(processes=1, repeats=1, warmup=0, steps=2, depths=(0,), threads=1)
    facts = {}
    for size in (None, 128):
        (result,) = bench([several], settings=quick, options=Options(tile_size=size)).runs
        facts[size] = result.model["tile_size"], result.model["prompt_tokens"]
        assert result.conditions["golden"]["tokens"].startswith("16")
    assert facts[None][0] == TRAINED
    assert facts[128] == (128, facts[None][1] - 20)


def test_a_size_that_a_bundle_lacks_is_refused_in_one_line(several):
    has = "no tiles of 160 pixels: it has 192 and 128 and 256; choose one of them"
    for words in (
        ["run", "-m", several, "-p", "x", "--tile-size", 160],
        ["eval", "-m", several, "--tile-size", "128,160"],
        ["bench", several, "--tile-size", 160],
    ):
        line = refused(*words)
        assert has in line
        assert line.endswith("or export with --tile-size 192,128,256,160")
    assert refused("run", "-m", several, "-p", "x", "--tile-size", 161).endswith("choose one of them")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ("100", "multiple of 32, from 32 to 384 (2 x 2 patches of 16 pixels become one image token); the"),
        ("100", "nearest are 96 and 128"),
        ("192,100", "tiles of 100 pixels"),
        ("400", "the nearest is 384"),
        ("192,192", "192 stands there twice"),
        ("192x128", "give sides of tiles in pixels"),
        ("-32", "give sides of tiles in pixels"),
        ("1e2", "give sides of tiles in pixels"),
        ("12345678901234567890", "give sides of tiles in pixels"),
        (",", "give sides of tiles in pixels"),
        (",".join(map(str, range(32, 576, 32))), "17 sizes; a bundle holds at most 16"),
    ],
)  # fmt: skip
def test_bad_sizes_end_an_export_in_one_line(sizes, message, tmp_path):
    line = refused("export", "-t", "desktop", "--tile-size", sizes, "-o", tmp_path / "out")
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("target", "format"), [("snapdragon", None), ("ios", "executorch")])
def test_formats_that_hold_one_size_say_so(target, format, tmp_path):
    words = ["--format", format] if format else []
    line = refused("export", "-t", target, *words, "--tile-size", "192,128", "-o", tmp_path / "out")
    assert "holds one size of tiles; give one" in line


def test_a_size_of_a_browser_or_phone_is_chosen_there(several):
    assert "takes no --tile-size" in refused("bench", several, "--device", "browser", "--tile-size", 128)


def test_sizes_are_numbers_by_commas():
    assert parse_tile_sizes(None) == ()
    assert parse_tile_sizes(" 448, 336 ") == (448, 336)


def test_calibration_is_of_the_chosen_size():
    """Its pictures are cut into such tiles; a result of another size is kept under another name."""
    source = Pretrained.open()
    sets = [calibration_sets(source.at_tile(size), None, 8)[0] for size in (192, 128)]
    assert [tuple(one.samples[0].pixels.shape[2:]) for one in sets] == [(192, 192), (128, 128)]
    assert sets[0].sha256 != sets[1].sha256


@pytest.mark.slow
def test_integers_are_calibrated_at_the_first_size_and_serve_all(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = QuantizeOptions("int4", method="gptq", samples=8, kv_cache=False)
    for number, sizes in enumerate([(), (128, 192)]):
        request = ExportRequest(
            "desktop",
            output=tmp_path / str(number),
            context=CONTEXT,
            quantize=options,
            tile_sizes=sizes,
            verify=False,
        )
        export(request)
    kept = list((tmp_path / "cache" / "phantom-edge" / "quantize").glob("*.safetensors"))
    assert len(kept) == 2
    assert verify(Bundle.open(tmp_path / "1"), tokens=2).ok
