"""The Android project with a part for the NPU: what lies where, and what is refused."""

from __future__ import annotations

import json
import re
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pytest
from npu_bundles import write_npu_bundle

from phantom_edge.apps.android import PACK_BYTES, AndroidRequest, check_android_bundle, write_android_app
from phantom_edge.apps.sources import app_sources
from phantom_edge.bundle.folder import Bundle
from phantom_edge.bundle.npu import check_pair, chip_files, part_bytes, part_files
from phantom_edge.errors import InputError

ANDROID = app_sources("android")
LIBRARY = ANDROID / "phantomedge/src/main/kotlin/phantom/edge"
URL = "https://host/nano-snapdragon"


@pytest.fixture(scope="module")
def cpu(android_bundle) -> Bundle:
    return Bundle.open(android_bundle)


@pytest.fixture(scope="module")
def npu(cpu, tmp_path_factory) -> Bundle:
    return write_npu_bundle(cpu, tmp_path_factory.mktemp("npu") / "bundle")


def properties(project: Path) -> dict[str, str]:
    lines = (project / "gradle.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith("phantom."))


def test_what_a_chip_needs(npu):
    own = chip_files(npu.manifest, "SM8650-AC")
    graphs = (
        "decode.bin",
        "decode.onnx",
        "prefill.bin",
        "prefill.onnx",
        "vision_encoder.bin",
        "vision_encoder.onnx",
    )
    assert own == sorted(["golden.safetensors", *(f"npu/sm8650/{name}" for name in graphs), "tokenizer.json"])
    others = chip_files(npu.manifest, "SM8550")
    assert others == chip_files(npu.manifest) == sorted(path.replace("/sm8650", "") for path in own)
    assert part_files(npu.manifest) == sorted({*own, *others, *chip_files(npu.manifest, "SM8750")})
    sizes = part_bytes(npu)
    assert list(sizes) == ["SM8650", "SM8750", "others"]
    assert sizes["SM8650"] == sum((npu.folder / path).stat().st_size for path in own)


def test_the_part_lies_in_the_pack_and_its_manifest_in_the_app(cpu, npu, tmp_path):
    project = write_android_app(cpu.folder, tmp_path / "out", AndroidRequest(npu=npu.folder))
    pack = project / "model/src/main/assets"
    inside = {p.relative_to(pack / "npu").as_posix() for p in (pack / "npu").rglob("*") if p.is_file()}
    assert inside == set(part_files(npu.manifest))
    own = project / "app/src/main/assets/npu/manifest.json"
    assert own.read_bytes() == (npu.folder / "manifest.json").read_bytes()
    assert set(cpu.manifest.files) == {
        p.relative_to(pack / "bundle").as_posix() for p in (pack / "bundle").rglob("*") if p.is_file()
    }
    assert (properties(project)["phantom.npu"], properties(project)["phantom.npuUrl"]) == ("true", "")
    notices = (project / "app/src/main/assets/THIRD_PARTY_NOTICES.txt").read_text()
    assert "Qualcomm AI Runtime" in notices
    assert "microsoft/onnxruntime" in notices


def test_a_part_that_is_fetched_is_not_in_the_project(cpu, npu, tmp_path):
    request = AndroidRequest(npu=npu.folder, npu_url=URL)
    project = write_android_app(cpu.folder, tmp_path / "out", request)
    assert not (project / "model/src/main/assets/npu").exists()
    assert (project / "app/src/main/assets/npu/manifest.json").exists()
    assert properties(project)["phantom.npuUrl"] == URL


def test_an_app_without_a_part_links_nothing_of_qualcomms(android_project):
    assert properties(android_project)["phantom.npu"] == "false"
    assert not (android_project / "app/src/main/assets/npu").exists()
    notices = (android_project / "app/src/main/assets/THIRD_PARTY_NOTICES.txt").read_text()
    assert "Qualcomm AI Runtime" not in notices
    script = (android_project / "app/build.gradle.kts").read_text()
    linked = re.search(r"if \(hasNpu\) \{(.*?)\}", script, re.S)[1]
    assert re.findall(r"libs\.([\w.]+)", linked) == ["onnxruntime.core", "onnxruntime.qnn", "qnn.runtime"]
    assert script.count("libs.onnxruntime") + script.count("libs.qnn") == 3
    assert "useLegacyPackaging = hasNpu" in script


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {"source": replace(m.source, sha256={"config.json": "0" * 64})}, "another checkpoint"),
        (lambda m: {"fold": replace(m.fold, fold="rank:4")}, "another fold, rank:4 instead of exact"),
        (lambda m: {"recipe": replace(m.recipe, rules=m.recipe.rules[:-1])}, "other integers"),
        (lambda m: {"context": m.context + 1}, r"a longer context, 161 instead of 160 tokens"),
    ],
)
def test_a_part_of_another_model_is_refused(cpu, tmp_path, change, message):
    other = write_npu_bundle(cpu, tmp_path / "npu", **change(cpu.manifest))
    with pytest.raises(InputError, match=f"{message}.*export both from one model") as caught:
        write_android_app(cpu.folder, tmp_path / "out", AndroidRequest(npu=other.folder))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 300
    assert not (tmp_path / "out").exists()


def test_what_is_no_part_is_refused(cpu, npu, tiny_bundle, tmp_path):
    with pytest.raises(InputError, match=r"holds nothing for an NPU; .*--target snapdragon"):
        write_android_app(cpu.folder, tmp_path / "out", AndroidRequest(npu=tiny_bundle))
    with pytest.raises(InputError, match="name its bundle with --npu"):
        AndroidRequest(npu_url=URL).resolve(tmp_path)
    with pytest.raises(InputError, match="no https address"):
        AndroidRequest(npu=npu.folder, npu_url="http://host").resolve(tmp_path)
    with pytest.raises(InputError, match=r"the part for the NPU is 1\.1 GB.*--npu-url"):
        check_android_bundle(cpu, fetched=True, more=PACK_BYTES + 10**8)
    with pytest.raises(InputError, match=r"the model is 1\.0 GB.*--model-url"):
        check_android_bundle(cpu, more=PACK_BYTES)
    check_pair(cpu, npu)
    assert not (tmp_path / "out").exists()


def test_the_command(command, cpu, npu, tmp_path):
    done = command("android", "-b", cpu.folder, "-o", tmp_path / "out", "--npu", npu.folder, "--npu-url", URL)
    assert done.returncode == 0, done.stderr
    assert re.search(r"for the NPU: SM8650 [\d.]+ MB, SM8750 [\d.]+ MB, others [\d.]+ MB", done.stdout)
    refused = command("android", "-b", cpu.folder, "-o", tmp_path / "more", "--npu", cpu.folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


# --- what Kotlin, Gradle and this package each say


def test_the_chips_are_those_of_the_exporter():
    table = (LIBRARY / "core/Npu.kt").read_text()
    chips = {name: int(number) for name, number in re.findall(r'"(\w+)" to (\d+)', table)}
    assert len(chips) >= 4
    if find_spec("phantom_edge.export.qnn_chips"):
        from phantom_edge.export.qnn_chips import CHIPS

        assert chips == {name: chip.architecture for name, chip in CHIPS.items()}


def test_the_libraries_are_those_that_compile():
    """A context binary is for the version of Qualcomm's libraries that wrote it, and for later ones."""
    catalogue = tomllib.loads((ANDROID / "gradle/libs.versions.toml").read_text())["versions"]
    named = re.search(r'PROVIDER = "([\d.]+)"', (LIBRARY / "Npus.kt").read_text())[1]
    assert named == catalogue["onnxruntime-qnn"]
    compiled_against = re.search(
        r"onnxruntime-android:([\d.]+)", (ANDROID / "phantomedge/build.gradle.kts").read_text()
    )[1]
    assert compiled_against == catalogue["onnxruntime"]
    try:
        installed = version("onnxruntime-qnn")
    except PackageNotFoundError:
        return
    from onnxruntime_qnn.build_and_package_info import qnn_version

    assert (installed, qnn_version) == (named, catalogue["qnn-runtime"])


def test_the_system_lets_the_app_reach_the_dsp():
    name = "{http://schemas.android.com/apk/res/android}"
    root = ElementTree.parse(ANDROID / "phantomedge/src/main/AndroidManifest.xml").getroot()
    library = next(root.iter("uses-native-library"))
    assert (library.get(f"{name}name"), library.get(f"{name}required")) == ("libcdsprpc.so", "false")


def test_no_part_is_a_manifest_without_npu(cpu):
    assert json.loads((cpu.folder / "manifest.json").read_text()).get("npu") is None
    assert chip_files(cpu.manifest, "SM8650") == []
