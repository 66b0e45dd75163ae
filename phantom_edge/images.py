"""Pictures in, tiles out: safe loading, the published tiling and pixel values in 0..1.

The tiling rule is that of `dynamic_preprocess` in the published `utils/utils.py`; the safety is ours.
"""

import math
import os
import stat
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from phantom_edge.checkpoint.config import MAX_TILES
from phantom_edge.errors import InputError, first_line, shown
from phantom_edge.system.reading import reason

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_MAX_TILES = 6
MAX_PIXELS = 64 * 1024 * 1024
"""Most pixels a picture may declare: by its header a decompression bomb is refused before it costs memory."""

SAFE_FORMATS = {
    "PNG": "Png", "JPEG": "Jpeg", "WEBP": "WebP", "GIF": "Gif", "BMP": "Bmp", "TIFF": "Tiff", "PPM": "Ppm",
    "AVIF": "Avif",
}  # fmt: skip
"""What may be decoded: Pillow shall not try formats that start programs (EPS runs Ghostscript). Each with the
beginning of its plugin's name."""

MAX_NAME = 120  # characters of a picture's path that an error shows
_ORIENTATION_TAG, _SAMPLE_FORMAT_TAG = 0x0112, 339
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_MAX_8 = 255
_MAX_16 = 65535
_DEPTHS = (255, 1023, 4095, 16383, _MAX_16)
"""Largest values of 8, 10, 12, 14 and 16 bits, as cameras and scanners have them."""
_SCALED_TO_16 = ("PPM", "PNG")  # formats whose values Pillow gives in 16 bits whatever their depth


def load_image(source: str | Path | BinaryIO | Image.Image, name: str = "") -> Image.Image:
    """Load a picture as upright 8-bit RGB; of an animation, the first frame. Errors call it ``name``.

    An opaque picture that is already upright gives exactly what the published `.convert("RGB")` gives.
    Transparency is composited on white, EXIF orientation applied, 16-bit, 32-bit and float greys scaled to 8
    bits instead of clipped.

    Raises :class:`InputError`: the file is missing, a folder, empty, of another format, truncated, larger
    than `MAX_PIXELS`, or has no pixels.

    >>> load_image(Image.new("RGBA", (2, 1), (255, 0, 0, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    if isinstance(source, Image.Image):
        return _to_rgb(source, name or "the image")
    if isinstance(source, str | Path):
        name = name or f"image {shown(str(source), MAX_NAME)}"
        _check_file(source, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow has to say about odd metadata concerns nobody here
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _open(source, name) as image:
            return _to_rgb(image, name)


def tile_grid(
    width: int, height: int, *, tile_size: int, max_tiles: int = DEFAULT_MAX_TILES
) -> tuple[int, int]:
    """Columns and rows of tiles: the grid of at most `max_tiles` of the closest aspect ratio.

    Of grids equally close the smallest wins, unless the picture fills more than half a larger one.

    >>> tile_grid(1920, 1080, tile_size=448)
    (2, 1)
    """
    sizes = {"width": width, "height": height, "tile size": tile_size, "max tiles": max_tiles}
    if small := [f"{name} is {size}" for name, size in sizes.items() if size < 1]:
        raise InputError(f"{small[0]}: it must be at least 1")
    check_tile_policy(tile_size, max_tiles)
    grids = [(c, r) for c in range(1, max_tiles + 1) for r in range(1, max_tiles // c + 1)]
    grids.sort(key=math.prod)
    # Floats, not fractions: the published code compares rounded quotients, and its ties are ours.
    distances = [abs(width / height - c / r) for c, r in grids]
    closest = min(distances)
    first, *others = (grid for grid, distance in zip(grids, distances, strict=True) if distance == closest)
    roomy = [(c, r) for c, r in others if width * height > 0.5 * tile_size * tile_size * c * r]
    return roomy[-1] if roomy else first


def check_tile_policy(tile_size: int, max_tiles: int) -> None:
    """Raise :class:`InputError` for tiles that would hold more pixels than a picture may have."""
    if max_tiles > MAX_TILES or tile_size**2 * (max_tiles + 1) > MAX_PIXELS:
        size = f"{max_tiles} tiles of {tile_size}x{tile_size} pixels"
        raise InputError(f"{size}: at most {MAX_TILES}, and {MAX_PIXELS >> 20} megapixels in all")


def tile_count(
    width: int, height: int, *, tile_size: int, max_tiles: int = DEFAULT_MAX_TILES, thumbnail: bool = True
) -> int:
    """Number of tiles `split_tiles` makes of a picture of this size.

    >>> tile_count(640, 480, tile_size=448)
    7
    """
    tiles = math.prod(tile_grid(width, height, tile_size=tile_size, max_tiles=max_tiles))
    return tiles + 1 if thumbnail and tiles > 1 else tiles


def split_tiles(
    image: Image.Image, *, tile_size: int, max_tiles: int = DEFAULT_MAX_TILES, thumbnail: bool = True
) -> list[Image.Image]:
    """Cut a picture into square tiles, row by row, and its thumbnail last when there is more than one tile.

    The whole picture is first resized (Pillow's bicubic) to the grid: its aspect ratio changes a little.
    """
    columns, rows = tile_grid(image.width, image.height, tile_size=tile_size, max_tiles=max_tiles)
    resized = image.resize((columns * tile_size, rows * tile_size), Image.Resampling.BICUBIC)
    tiles = [
        resized.crop((column * tile_size, row * tile_size, (column + 1) * tile_size, (row + 1) * tile_size))
        for row in range(rows)
        for column in range(columns)
    ]
    if thumbnail and len(tiles) > 1:
        tiles.append(image.resize((tile_size, tile_size), Image.Resampling.BICUBIC))
    return tiles


def pixel_values(image: Image.Image, *, tile_size: int, max_tiles: int = DEFAULT_MAX_TILES) -> np.ndarray:
    """What the vision encoder takes: float32 `[tiles, 3, tile_size, tile_size]`, RGB in 0..1, not normalised.

    Normalisation is part of the exported graph, so that an app only has to divide by 255.
    """
    rgb = image if image.mode == "RGB" else load_image(image)
    parts = split_tiles(rgb, tile_size=tile_size, max_tiles=max_tiles)
    tiles = np.stack([np.asarray(tile) for tile in parts])
    planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), dtype=np.float32)  # [N, 3, S, S]
    return planes / np.float32(_MAX_8)


def normalize(pixels: np.ndarray) -> np.ndarray:
    """Subtract ImageNet's mean and divide by its deviation, per channel, for the unfolded original.

    `[..., 3, H, W]` in 0..1 becomes float32 of the same shape.
    """
    mean = np.asarray(IMAGENET_MEAN, dtype=np.float32).reshape(3, 1, 1)
    std = np.asarray(IMAGENET_STD, dtype=np.float32).reshape(3, 1, 1)
    return (pixels.astype(np.float32, copy=False) - mean) / std


def _check_file(path: str | Path, name: str) -> None:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(f"{name} does not exist: give the path of a picture") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {reason(error)}: give a readable picture") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder: give the path of one picture in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name} is not a regular file: give the path of a picture")
    if status.st_size == 0:
        raise InputError(f"{name} is empty (0 bytes): copy or download it again")


def _open(source: str | Path | BinaryIO, name: str) -> Image.Image:
    for plugin in SAFE_FORMATS.values():  # Image.init() would import four times as many, which takes longer
        with suppress(ImportError):
            import_module(f"PIL.{plugin}ImagePlugin")
    # A Pillow built without a codec lacks its entry.
    formats = [known for known in SAFE_FORMATS if known in Image.OPEN]
    try:
        return Image.open(source, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InputError(_too_large(name, "far")) from None
    except UnidentifiedImageError:
        known = ", ".join(formats)
        raise InputError(f"{name} is not a picture in a known format: convert it to one of {known}") from None
    except Exception as error:  # Pillow's plugins raise almost anything on a broken header
        raise InputError(f"{name} cannot be opened ({first_line(error)}): save it as PNG or JPEG") from None


def _too_large(name: str, size: str) -> str:
    return f"{name} has {size} more than {MAX_PIXELS // 2**20} megapixels: make it smaller"


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{name} is {width}x{height}: it has no pixels, give another picture")
    if width * height > MAX_PIXELS:
        raise InputError(_too_large(name, f"{width}x{height} pixels,"))
    try:
        image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, EOFError, struct.error...
        raise InputError(f"{name} is damaged ({first_line(error)}): save it as PNG or JPEG") from None
    try:
        return _upright(_flatten(image), image)
    except Exception as error:
        kind = f"holds colours of the kind {image.mode}, which cannot be converted ({first_line(error)})"
        raise InputError(f"{name} {kind}: save it as PNG or JPEG") from None


def _upright(rgb: Image.Image, original: Image.Image) -> Image.Image:
    try:
        orientation = original.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a broken EXIF block says nothing about the pixels, which are fine
        return rgb
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    if turn is None:
        return rgb
    turned = rgb.transpose(turn)
    turned.info.clear()  # Pillow copies the orientation, and a second load would turn the picture once more
    return turned


def _flatten(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SCALED_TO_16):
        return _grey(_opaque(np.asarray(image), image) / _MAX_16)
    if image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    if image.mode == "I":
        return _grey(_unit_range(_integers(image).astype(np.float64), _DEPTHS))
    if image.mode == "F":
        return _grey(_unit_range(np.asarray(image).astype(np.float64), (1, _MAX_8)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (_MAX_8, _MAX_8, _MAX_8, _MAX_8))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _opaque(values: np.ndarray, image: Image.Image) -> np.ndarray:
    """The values as floats, the one that the file calls transparent as white."""
    key = image.info.get("transparency")
    return np.where(values == key, _MAX_16, values).astype(np.float64)


def _integers(image: Image.Image) -> np.ndarray:
    """32-bit values, which Pillow gives as signed also where a TIFF file says that they are not."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    return values.view(np.uint32) if tags.get(_SAMPLE_FORMAT_TAG) == (1,) else values


def _unit_range(values: np.ndarray, usual_maxima: tuple[int, ...]) -> np.ndarray:
    """Values over the first usual maximum that fits them all; others are stretched to 0..1.

    A container of 32 bits does not say how many of them a camera filled.
    """
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    values = np.where(finite, values, low)
    for maximum in usual_maxima:
        if low >= 0 and high <= maximum:
            return values / maximum
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _grey(unit: np.ndarray) -> Image.Image:
    return Image.fromarray(np.rint(unit * _MAX_8).astype(np.uint8)).convert("RGB")
