"""Picture detail: several sizes of tiles in one bundle, chosen in the app in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from one_picture import OnePicture, picture_of
from web_serving import served

from phantom_edge.bundle.folder import Bundle
from phantom_edge.pipeline.export import ExportRequest, export
from phantom_edge.runtime.session import Session
from phantom_edge.scenes import make_scene

SIZES = (192, 96, 128)
TIE = 0.1  # as in test_web_app
SCREENSHOT = "PHANTOM_EDGE_DETAIL_SCREENSHOT"  # a file that takes a picture of the setting


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("details") / "bundle"
    request = ExportRequest(target="web", output=output, tile_sizes=SIZES, verify=False)
    return export(request).bundle.folder


@pytest.fixture(scope="module")
def seen(check, app, bundle, tmp_path_factory) -> dict:
    """192 pixels, then 96 are chosen, then the page is opened again, then 128 without a server."""
    picture = tmp_path_factory.mktemp("picture") / "scene.png"
    make_scene("test", 3).render(300).save(picture)
    with served({"": app, "bundle": bundle}) as server:
        return check(
            "details", url=server.address, picture=picture, sizes=SIZES[1:], cut=server.stop,
            file=os.environ.get(SCREENSHOT),
        )  # fmt: skip


def test_the_setting_names_the_sizes_from_the_finest(seen):
    assert seen["options"] == ["Fine, 192 pixels", "Medium, 128 pixels", "Fast, 96 pixels"]
    assert seen["axe"] == []
    assert [line for line in seen["complaints"] if "ERR_CONNECTION_REFUSED" not in line] == []


def test_an_answer_has_the_image_tokens_of_the_size(seen):
    parts = [seen[part]["answer"] for part in ("first", "changed", "again", "after")]
    assert [(answer["tile"], answer["imageTokens"]) for answer in parts] == [
        (192, 36),
        (96, 9),
        (96, 9),
        (96, 9),
    ]
    assert [seen[part]["facts"][3] for part in ("first", "changed")] == [
        f"{side} \N{MULTIPLICATION SIGN} {side} pixels" for side in (192, 96)
    ]
    assert all(answer["tokens"] >= 1 and answer["look"] > 0 for answer in parts[:3])


def test_answers_are_the_python_sessions_with_tiles_of_that_size(seen, bundle):
    for part, size in (("first", 192), ("changed", 96)):
        session, answer = Session.open(bundle, tile_size=size), seen[part]["answer"]
        picture = OnePicture(session, picture_of(seen["frame"]))
        expected, gaps = picture.follow(answer["question"], answer["ids"], answer["stop"])
        assert expected == answer["text"] or max(gaps) <= TIE, (part, expected, answer["text"])


def test_the_self_test_passes_with_the_chosen_size(seen):
    assert seen["selfTest"] == ["passed"] * 4


def test_only_the_chosen_vision_encoder_is_fetched_and_shared_weights_once(seen, bundle):
    graphs = {size: _vision_encoder(bundle, size) for size in SIZES}
    first, changed, again = (seen[part]["requests"] for part in ("first", "changed", "again"))
    assert [name for name in first if "vision_encoder" in name] == [f"{graphs[192]}_data", graphs[192]]
    assert sorted(changed) == [graphs[96], f"{graphs[96]}_data"]
    assert again == ["manifest.json"]
    files = Bundle.open(bundle).manifest.files
    needed = sum(files[name].bytes for name in {*first} - {"manifest.json"})
    assert f"{needed / 1e6:.1f} MB" in seen["first"]["facts"][1]


def test_the_choice_is_remembered(seen):
    assert (seen["first"]["chosen"], seen["changed"]["chosen"], seen["again"]["chosen"]) == (
        "192",
        "96",
        "96",
    )


def test_a_size_that_cannot_be_fetched_leaves_the_one_before(seen):
    assert seen["notice"]["code"] == "network"
    assert seen["after"]["chosen"] == "96"


def test_a_size_that_the_bundle_lacks_is_refused_by_name(check, app, bundle):
    with served({"": app, "bundle": bundle}) as server:
        options = {"urls": [f"{server.address}?tile=100"], "camera": "file"}
        notice = check("failure", **options)["seen"][0]["notice"]
    assert notice["code"] == "manifest"
    assert "no tiles of 100 pixels. Choose one of its sizes: 192, 96, 128." in notice["text"]


def _vision_encoder(bundle: Path, size: int) -> str:
    manifest = Bundle.open(bundle).manifest
    names = {other.size: other.vision_encoder for other in manifest.tiles.others}
    return names.get(size, manifest.graphs.vision_encoder)
