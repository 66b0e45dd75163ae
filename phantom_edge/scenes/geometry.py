"""The camera's plane map and the local frame of each part: in 0..1 of the image, y down, degrees clockwise.

Products are written out: a matrix library's last bit depends on how memory lies, and a scene must be the same
always.
"""

import math
import random
from dataclasses import dataclass

import numpy as np


def compose(*matrices: np.ndarray) -> np.ndarray:
    """The product of matrices [3, 3], the last applied first."""
    result: np.ndarray = matrices[-1]
    for matrix in reversed(matrices[:-1]):
        result = np.asarray(sum(matrix[:, n, None] * result[n] for n in range(3)))
    return result


def inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse of [3, 3], by cofactors."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    rows = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f]]
    rows.append([d * h - e * g, b * g - a * h, a * e - b * d])
    adjugate: np.ndarray = np.array(rows)
    return adjugate / float(a * rows[0][0] + b * rows[1][0] + c * rows[2][0])


@dataclass(frozen=True)
class Camera:
    """A homography from the flat scene to the image: a small turn, then a small perspective."""

    turn: float = 0.0  # degrees
    tilt_x: float = 0.0
    tilt_y: float = 0.0

    @classmethod
    def draw(cls, rng: random.Random) -> "Camera":
        return cls(rng.uniform(-6, 6), rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12))

    def matrix(self) -> np.ndarray:
        """[3, 3], flat to image, homogeneous."""
        c, s = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        tilted = np.array([[c, -s, 0], [s, c, 0], [self.tilt_x, self.tilt_y, 1.0]])
        return compose(shift, tilted, np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]]))


@dataclass(frozen=True)
class Pose:
    """How a thing lies in its place, and a plate's measures, in radii of the part."""

    angle: float = 0.0
    shear: float = 0.0
    spacing: float = 0.0  # between letters, in cap heights
    glyph: float = 0.0  # cap height of a text
    half: tuple[float, float] = (1.0, 1.0)  # half width and half height
    style: str = ""  # of a text: "font" or "segments"


def frame(matrix: np.ndarray, x: float, y: float, radius: float, pose: Pose) -> np.ndarray:
    """[3, 3] from a part's own coordinates (origin at its centre, 1 = its radius) to the image.

    The centre lands exactly at (x, y), and the radius there is exact to first order.
    """
    fx, fy = project(inverse(matrix), np.array([[x, y]]))[0].tolist()
    scale = radius / magnification(matrix, fx, fy)
    c, s = math.cos(math.radians(pose.angle)) * scale, math.sin(math.radians(pose.angle)) * scale
    return compose(matrix, np.array([[c, c * pose.shear - s, fx], [s, s * pose.shear + c, fy], [0, 0, 1.0]]))


def magnification(matrix: np.ndarray, x: float, y: float) -> float:
    """How much longer a homography makes lengths at a point: the root of its Jacobian's determinant there."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return math.sqrt(determinant / (g * x + h * y + i) ** 3)


def project(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points [N, 2] through a homography [3, 3] -> [N, 2]."""
    out = points[:, :1] * matrix[:, 0] + points[:, 1:] * matrix[:, 1] + matrix[:, 2]  # [N, 3]
    projected: np.ndarray = out[:, :2] / out[:, 2:]
    return projected
