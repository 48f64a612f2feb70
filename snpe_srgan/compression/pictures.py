"""The pictures of a compression: LR crops to reconstruct layers on, and others to judge the result by.

crops = find_crops(["photos"], [], scale=4, count=24)
crops.calibration.arrays, crops.validation.arrays      # (1, h, w, 3) float32 in [0, 1]
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from snpe_srgan.calibration.crops import SAMPLE, Crops, Pictures, calibration_crops, is_nothing
from snpe_srgan.errors import UsageError

COUNT = 24


@dataclass(frozen=True, eq=False)
class Split:
    """No picture is in both."""

    calibration: Crops
    validation: Crops

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of either half, each remark once."""
        return tuple(dict.fromkeys((*self.calibration.notes, *self.validation.notes)))


def find_crops(
    calibration: Sequence[Pictures] = (SAMPLE,),
    validation: Sequence[str | os.PathLike] = (),
    *,
    scale: int,
    count: int = COUNT,
) -> Split:
    """Crops to calibrate on, and others to judge by.

    Args:
        calibration: folders, globs, pictures, 'sample' or 'synthetic'; HR.
        validation: the same, to judge by; without any every other of the `calibration` pictures is kept for that.
        scale: by how much the network enlarges.
        count: crops to calibrate on; a quarter as many, at least one, are to judge by.

    Raises:
        InputError: pictures are missing or cannot be read, or are too few for both.
        UsageError: 'none' is named, which is for quantization.
    """
    for option, sources in (("--calibration", calibration), ("--validation", validation)):
        if sources and is_nothing(sources):
            raise UsageError(
                "compression looks at pictures: 'none' is for quantization", where=option,
                hint=f"{option} FOLDER, or {option} synthetic",
            )  # fmt: skip
    few = max(count // 4, 1)
    if validation:
        return Split(
            calibration_crops(calibration, scale=scale, count=count),
            calibration_crops(validation, scale=scale, count=few),
        )
    return Split(
        calibration_crops(calibration, scale=scale, count=count, part=(0, 2)),
        calibration_crops(calibration, scale=scale, count=few, part=(1, 2)),
    )
