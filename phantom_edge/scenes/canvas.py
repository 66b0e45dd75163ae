"""A picture drawn at twice its size, in coordinates of 0..1, and brought down at the end."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from phantom_edge.scenes import text as lettering
from phantom_edge.scenes.colours import RGB
from phantom_edge.scenes.geometry import compose, inverse, magnification, project

SCALE = 2  # supersampling


class Canvas:
    def __init__(self, background: Image.Image) -> None:
        self.size = background.width
        self.pixels = self.size * SCALE
        self.image = background.resize((self.pixels, self.pixels), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self.image)

    def finish(self) -> Image.Image:
        return self.image.reduce(SCALE)

    def _flat(self, points: np.ndarray) -> list[float]:
        return (points * self.pixels - 0.5).ravel().tolist()

    def polygon(self, points: np.ndarray, fill: RGB) -> None:
        self._draw.polygon(self._flat(points), fill=fill)

    def line(self, points: np.ndarray, fill: RGB, width: float, closed: bool = False) -> None:
        """A line [N, 2] of a width in 0..1 of the image, at least one pixel of the finished picture."""
        flat = self._flat(points)
        if closed:
            flat += flat[:4]
        joint = "curve" if len(points) < 20 else None
        self._draw.line(flat, fill=fill, width=max(SCALE, round(width * self.pixels)), joint=joint)

    def shade(self, contours: list[np.ndarray], first: RGB, second: RGB, angle: float) -> None:
        """Fills contours (the second one is a hole) with a linear gradient."""
        low = np.floor(contours[0].min(0) * self.pixels).astype(int) - 1
        width, height = (np.ceil(contours[0].max(0) * self.pixels).astype(int) - low + 2).tolist()
        mask = Image.new("L", (width, height))
        draw = ImageDraw.Draw(mask)
        for contour, value in zip(contours, (255, 0), strict=False):
            draw.polygon((contour * self.pixels - 0.5 - low).ravel().tolist(), fill=value)
        if first == second:
            self.image.paste(first, tuple(low.tolist()), mask)
            return
        dx, dy = np.cos(angle), np.sin(angle)
        ramp = np.linspace(-dx, dx, width)[None, :] + np.linspace(-dy, dy, height)[:, None]  # [h, w]
        ramp = np.clip((ramp / (abs(dx) + abs(dy)) + 1) / 2, 0, 1).astype(np.float32)
        table = np.linspace(first, second, 33).astype(np.uint8)
        patch = Image.fromarray(table[(ramp * 32).astype(np.uint8)])
        self.image.paste(patch, tuple(low.tolist()), mask)

    def text(
        self, matrix: np.ndarray, line: str, height: float, spacing: float, bold: float, ink: RGB
    ) -> None:
        """A line centred on the frame `matrix`, its capitals `height` high in the frame's units."""
        mask, cap = lettering.mask(line, spacing, bold, magnification(matrix, 0, 0) * height * self.pixels)
        w, h = mask.size
        unit = height / cap  # frame units per pixel of the mask
        to_frame = np.array([[unit, 0, -unit * w / 2], [0, unit, -unit * h / 2], [0, 0, 1.0]])
        to_pixels = compose(np.diag((self.pixels, self.pixels, 1.0)), matrix, to_frame)
        corners = project(to_pixels, np.array([(0, 0), (w, 0), (w, h), (0, h)]))  # [4, 2]
        low = np.clip(np.floor(corners.min(0)), 0, self.pixels - 1)
        high = np.clip(np.ceil(corners.max(0)), low + 1, self.pixels)
        shift = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1.0]])
        back = compose(inverse(to_pixels), shift)
        back = (back / back[2, 2]).ravel()[:8].tolist()
        size = tuple((high - low).astype(int).tolist())
        warped = mask.transform(size, Image.Transform.PERSPECTIVE, back, Image.Resampling.BILINEAR)
        self.image.paste(ink, tuple(low.astype(int).tolist()), warped)

    def shadow(self, contours: list[np.ndarray], softness: float, depth: float) -> None:
        """Darkens the picture under soft contours, all at once; before anything is drawn."""
        quarter = self.pixels // 4
        mask = Image.new("L", (quarter, quarter))
        draw = ImageDraw.Draw(mask)
        for contour in contours:
            draw.polygon((contour * quarter - 0.5).ravel().tolist(), fill=round(255 * depth))
        mask = mask.filter(ImageFilter.GaussianBlur(softness * quarter))
        light = ImageChops.invert(mask).resize(self.image.size, Image.Resampling.BILINEAR)
        self.image.paste(ImageChops.multiply(self.image, Image.merge("RGB", (light, light, light))))
