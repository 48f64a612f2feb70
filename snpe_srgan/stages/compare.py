"""How a stage checks its result against what it was made from: one picture through both, and how far they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snpe_srgan.artifacts.card import Check
from snpe_srgan.errors import CheckFailed
from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.run import runner

if TYPE_CHECKING:
    import onnx

SAME = 1e-4  # largest difference of two float engines on one network, of a range of 2
MEASURE = "max |difference| of the output, range [-1, 1]"


def probe_picture(height: int, width: int) -> np.ndarray:
    """An LR picture (1, height, width, 3) in [0, 1] with what photos have: slopes, edges, texture and noise."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for phase in (0.0, 0.7, 1.9):
        slope = 0.5 + 0.3 * np.sin(x / 9 + phase) * np.cos(y / 13 + phase)
        edge = np.where((x * np.cos(phase) + y * np.sin(phase + 1)) % 17 < 6, 0.25, 0.0)
        planes.append(slope + edge + rng.normal(0, 0.04, (height, width)))
    return np.clip(np.stack(planes, axis=-1), 0, 1).astype(np.float32)[None]


def run_onnx(model: onnx.ModelProto, lr: np.ndarray) -> np.ndarray:
    """One inference by ONNX Runtime, for a model with one input and one output."""
    return runner(model)(lr)


def check_equal(result: np.ndarray, expected: np.ndarray, *, against: str, where: object) -> Check:
    """The `Check` that two outputs are the same to 1e-4.

    Args:
        result, expected: of one shape, values in [-1, 1].
        against: what gave `expected`, for the check and for errors.
        where: the place that an error names.

    Raises:
        CheckFailed: they differ by more, or in shape.
    """
    if result.shape != expected.shape:
        raise CheckFailed(f"the output is {result.shape}, {against} gives {expected.shape}", where=where)
    difference = float(np.abs(result - expected).max())
    if not difference <= SAME:
        raise CheckFailed(f"the output differs from {against} by {difference:.2g}, more than {SAME}", where=where)
    return Check(against=against, measure=MEASURE, value=difference, threshold=SAME)


def check_decibel(result: np.ndarray, expected: np.ndarray, *, least: float, against: str, where: object) -> Check:
    """The `Check` that the PSNR between two outputs is at least `least` dB; its value is None where all bits are equal.

    Args:
        result, expected: of one shape, values in [-1, 1].
        least: dB.
        against: what gave `expected`, for the check and for errors.
        where: the place that an error names.

    Raises:
        CheckFailed: they are farther apart, or of different shapes.
    """
    if result.shape != expected.shape:
        raise CheckFailed(f"the output is {result.shape}, {against} gives {expected.shape}", where=where)
    error = float(np.mean(np.square(result.astype(np.float64) - expected)))
    value = decibel(error, peak=2.0) if error else None
    if value is not None and not value >= least:
        raise CheckFailed(f"the output is only {value:.1f} dB from {against}, {least:.0f} are needed", where=where)
    return Check(against=against, measure="PSNR in dB on ONNX Runtime", value=value, threshold=least)
