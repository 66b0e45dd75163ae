"""Tiles and pixels against the published recordings, pictures against Pillow's own conversions and hand-made
values.
"""

import contextlib
import json
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from recorded import CONFORMANCE, conformance

from phantom_edge.errors import InputError
from phantom_edge.images import (
    MAX_PIXELS,
    load_image,
    normalize,
    pixel_values,
    split_tiles,
    tile_count,
    tile_grid,
)

# Rows of the recording, kept here so that the rule is tested without it: [width, height, tiles].
RECORDED_TILES = [
    [640, 480, 7], [1920, 1080, 3], [1080, 1920, 3], [448, 448, 1], [1, 1, 1], [3000, 100, 7], [896, 448, 3],
    [300, 200, 7], [570, 2351, 5], [1574, 879, 3], [404, 2018, 6], [957, 2441, 4], [2050, 2284, 5],
    [965, 916, 5],
]  # fmt: skip


@pytest.fixture
def picture() -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (13, 21, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.mark.parametrize(("width", "height", "tiles"), RECORDED_TILES)
def test_tile_count_is_the_recorded_one(width, height, tiles):
    assert tile_count(width, height, tile_size=448) == tiles


@conformance
def test_tile_count_on_every_recorded_size():
    rows = json.loads((CONFORMANCE / "tiles.json").read_text())
    assert len(rows) > 50
    assert [tile_count(width, height, tile_size=448) for width, height, _ in rows] == [row[2] for row in rows]


def test_a_tie_goes_to_the_larger_grid_only_when_the_picture_fills_half_of_it():
    # A square fits 1x1 and 2x2 equally; half of four tiles of 10 is 200 pixels.
    assert tile_grid(14, 14, tile_size=10, max_tiles=4) == (1, 1)
    assert tile_grid(15, 15, tile_size=10, max_tiles=4) == (2, 2)


def test_one_tile_is_the_whole_picture_resized(picture):
    (tile,) = split_tiles(picture, tile_size=28, max_tiles=1)
    assert tile.tobytes() == picture.resize((28, 28), Image.Resampling.BICUBIC).tobytes()


def test_tiles_come_row_by_row_and_the_thumbnail_last():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9), (0, 200, 200), (255, 255, 0)]
    board = np.array(colours, dtype=np.uint8).reshape(2, 3, 3).repeat(8, axis=0).repeat(8, axis=1)
    tiles = split_tiles(Image.fromarray(board), tile_size=8, max_tiles=6)
    assert [tile.getpixel((4, 4)) for tile in tiles[:-1]] == colours
    assert tiles[-1].tobytes() == Image.fromarray(board).resize((8, 8), Image.Resampling.BICUBIC).tobytes()
    assert len(split_tiles(Image.fromarray(board), tile_size=8, max_tiles=6, thumbnail=False)) == 6


def test_pixels_are_channels_first_in_unit_range():
    pixels = pixel_values(Image.new("RGB", (5, 5), (255, 51, 0)), tile_size=4, max_tiles=1)
    assert pixels.shape == (1, 3, 4, 4)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels[0, :, 2, 2], np.float32([1, 0.2, 0]))


def test_normalize_is_the_formula():
    found = normalize(np.ones((2, 3, 2, 2), dtype=np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found[1, :, 0, 1], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], 1e-6
    )


@conformance
@pytest.mark.parametrize("size", ["0.5b", "1.8b", "3.8b", "7b"])
def test_pixels_are_the_recorded_ones(size):
    from safetensors.numpy import load_file

    folder = CONFORMANCE / f"phantom-{size}"
    golden = load_file(folder / "golden.safetensors")
    for case in json.loads((folder / "golden.json").read_text())["cases"]:
        if not case["image"]:
            continue
        pixels = normalize(pixel_values(load_image(folder / case["image"]), tile_size=448))
        assert len(pixels) == case["tiles"]
        np.testing.assert_allclose(
            pixels[:, :, ::8, ::8], golden[f"{case['name']}.pixel_values"], rtol=0, atol=1e-6
        )
        sums = pixels.astype(np.float64).sum(axis=(2, 3))
        np.testing.assert_allclose(sums, golden[f"{case['name']}.pixel_sums"], rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "RGBA", "LA"])
def test_opaque_pictures_are_converted_as_published(picture, mode):
    # Pillow has no way into HSV or LA but from RGB and L.
    image = picture.convert("L").convert(mode) if mode == "LA" else picture.convert(mode)
    assert load_image(image).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff", "ppm"])
def test_files_are_read_as_published(picture, tmp_path, suffix):
    path = tmp_path / f"picture.{suffix}"
    picture.save(path)
    assert load_image(str(path)).tobytes() == Image.open(path).convert("RGB").tobytes()


def test_adobe_cmyk_jpeg_is_not_inverted(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red, green, blue = load_image(tmp_path / "red.jpg").getpixel((8, 8))
    assert red > 200
    assert max(green, blue) < 60


def test_transparency_becomes_white(tmp_path):
    assert load_image(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert load_image(Image.new("LA", (1, 1), (0, 51))).getpixel((0, 0)) == (204, 204, 204)
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    image = load_image(tmp_path / "palette.png")
    assert [image.getpixel((0, 0)), image.getpixel((1, 0))] == [(255, 255, 255), (0, 0, 255)]
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert load_image(tmp_path / "key.png").getpixel((0, 0)) == (255, 255, 255)


def greys(image: Image.Image) -> list[int]:
    rgb = np.asarray(load_image(image))
    assert (rgb == rgb[..., :1]).all()
    return rgb[0, :, 0].tolist()


def test_deep_greys_are_scaled_not_clipped(tmp_path):
    deep = np.array([[0, 257, 300, 32768, 65535]], dtype=np.uint16)
    expected = [0, 1, 1, 128, 255]
    assert greys(Image.fromarray(deep)) == expected
    assert greys(Image.fromarray(deep.astype(np.int32))) == expected
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert greys(Image.open(tmp_path / "deep.png")) == expected
    assert greys(Image.fromarray(np.array([[0, 1 << 20, 1 << 21]], dtype=np.int32))) == [0, 128, 255]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_greys_in_32_bits_are_as_bright_as_their_depth_says(tmp_path, bits):
    """A 32-bit container of a camera's 8 or 12 bits is not nearly black."""
    values = np.array([[0, (1 << bits) // 2, (1 << bits) - 1]], dtype=np.int32)
    assert greys(Image.fromarray(values)) == [0, 128, 255]
    Image.fromarray(values).save(tmp_path / "grey.tiff")
    assert greys(Image.open(tmp_path / "grey.tiff")) == [0, 128, 255]


def test_greys_of_a_known_depth_stay_dark(tmp_path):
    dark = np.array([[0, 257, 514, 65535]], dtype=np.uint16)[:, :3]
    for suffix in ("png", "pgm", "tiff"):
        Image.fromarray(dark).save(tmp_path / f"dark.{suffix}")
        assert greys(Image.open(tmp_path / f"dark.{suffix}")) == [0, 1, 2], suffix


def test_unsigned_greys_in_32_bits(tmp_path):
    """Pillow reads them as signed: half of them would be negative."""
    values = np.array([[0, 1 << 31, (1 << 32) - 1]], dtype=np.uint32)
    Image.fromarray(values.view(np.int32)).save(tmp_path / "unsigned.tiff")
    data = (tmp_path / "unsigned.tiff").read_bytes()
    signed, unsigned = (struct.pack("<HHIHH", 339, 3, 1, kind, 0) for kind in (2, 1))
    assert data.count(signed) == 1
    (tmp_path / "unsigned.tiff").write_bytes(data.replace(signed, unsigned))
    with Image.open(tmp_path / "unsigned.tiff") as opened:
        assert (opened.mode, opened.tag_v2[339]) == ("I", (1,))
        assert greys(opened) == [0, 128, 255]


def test_a_transparent_deep_grey_becomes_white(tmp_path):
    Image.fromarray(np.array([[300, 0]], dtype=np.uint16)).save(tmp_path / "key.png", transparency=300)
    assert greys(Image.open(tmp_path / "key.png")) == [255, 0]


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "RGBX", "I;16B", "I;16L"])
def test_rarer_modes_are_read(mode):
    assert load_image(Image.new(mode, (2, 2))).mode == "RGB"


def test_colours_that_cannot_be_converted_are_not_called_damaged(monkeypatch):
    image = Image.new("LAB", (2, 2))
    monkeypatch.setattr(image, "convert", lambda mode: Image.new("La", (2, 2)).convert(mode))
    with pytest.raises(InputError, match="colours of the kind LAB, which cannot be converted"):
        load_image(image)


def test_float_greys_are_scaled(tmp_path):
    assert greys(Image.fromarray(np.array([[0, 0.2, 1]], dtype=np.float32))) == [0, 51, 255]
    assert greys(Image.fromarray(np.array([[0, 51, 255]], dtype=np.float32))) == [0, 51, 255]
    assert greys(Image.fromarray(np.array([[-1, 0, 1]], dtype=np.float32))) == [0, 128, 255]
    assert greys(Image.fromarray(np.array([[np.nan, 0, np.inf, 1]], dtype=np.float32))) == [0, 0, 0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff"])
def test_exif_orientation_is_applied(picture, tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    picture.save(path, exif=exif)
    with Image.open(path) as image:
        expected = ImageOps.exif_transpose(image)
    found = load_image(path)
    assert found.size == ((21, 13) if orientation < 5 else (13, 21))
    assert found.tobytes() == expected.convert("RGB").tobytes()
    assert load_image(found).tobytes() == found.tobytes(), "a chat loads what it is given once more"


def test_broken_exif_does_not_hide_the_picture(picture, tmp_path):
    picture.save(tmp_path / "odd.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05garbage")
    assert load_image(tmp_path / "odd.png").tobytes() == picture.tobytes()


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animation_gives_its_first_frame(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    frames[0].save(
        tmp_path / f"a.{suffix}",
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if suffix == "webp" else {}),
    )
    assert load_image(tmp_path / f"a.{suffix}").getpixel((4, 4)) == (255, 0, 0)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8193, 8192), (12000, 12000), (50000, 50000)])
def test_too_many_pixels_are_refused_from_the_header(tmp_path, size):
    # The file holds almost no data: decoding it would end in another error.
    (tmp_path / "bomb.png").write_bytes(png_of_size(*size))
    with pytest.raises(InputError, match="64 megapixels"):
        load_image(tmp_path / "bomb.png")


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr("phantom_edge.images.MAX_PIXELS", 12)
    assert load_image(Image.new("L", (4, 3))).size == (4, 3)
    with pytest.raises(InputError, match="13x1"):
        load_image(Image.new("L", (13, 1)))
    assert MAX_PIXELS == 64 * 2**20


def test_bad_files_are_named_in_one_line(picture, tmp_path):
    picture.save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    files = {
        "empty.png": (b"", "empty"),
        "text.png": (b"this is not a picture", "known format"),
        "cut.png": (whole[: len(whole) // 2], "damaged"),
        "post.eps": (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
            "known format",
        ),
    }
    for name, (data, reason) in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f"{name}.*{reason}") as caught:
            load_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="does not exist"):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="is a folder"):
        load_image(tmp_path)
    for odd in ("nul\0.png", "x" * 5000):
        with pytest.raises(InputError, match="readable picture"):
            load_image(odd)
    with pytest.raises(InputError, match="no pixels"):
        load_image(Image.new("RGB", (0, 5)))
    with pytest.raises(InputError, match="max tiles is 0"):
        pixel_values(picture, tile_size=448, max_tiles=0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_damaged_files_give_a_picture_or_an_input_error(picture, tmp_path, kind):
    extra = {"pnginfo": PngImagePlugin.PngInfo()} if kind == "PNG" else {}
    picture.save(tmp_path / "whole", kind, **extra)
    whole = (tmp_path / "whole").read_bytes()
    dice = random.Random(kind)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        (tmp_path / "broken").write_bytes(data[: dice.randrange(1, len(data) + 1)])
        with contextlib.suppress(InputError):  # any other error fails the test
            assert load_image(tmp_path / "broken").mode == "RGB"
