"""`--precision auto`: bfloat16 for a picture on which a probe shows that nobody would see it, float32 for the others.

    session = ProbedSession(exact, fast)      # the same network in float32 and in bfloat16
    session.prepare(pixels)                   # decides for this picture; `upscale_pixels` calls it
    session.arithmetic                        # "bf16: ...", for people

The part of the picture with most detail is enlarged by both. What is decided holds for all tiles of the picture.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.imaging.colour import pixels_to_lr, sr_to_pixels
from snpe_srgan.imaging.side_by_side import busiest_box
from snpe_srgan.runtimes.session import Session

SIDE = 64  # LR pixels of the part that is probed
WORTH = 8  # times as large as the part must a picture be, or the probe takes as long as it saves
MOST = 1  # 8-bit levels that any value of the part may differ by


class ProbedSession(Session):
    """Two sessions of one network; `exact` is used unless a probe has let `fast` through."""

    def __init__(self, exact: Session, fast: Session):
        super().__init__(exact.description)
        self._exact, self._fast = exact, fast
        self._used, self._told = exact, "f32"

    @property
    def arithmetic(self) -> str | None:
        return self._told

    def prepare(self, pixels: np.ndarray) -> None:
        self._used, self._told = self._exact, self._why_exact(pixels)
        if self._told:
            return
        apart = self._apart(pixels)
        if apart <= MOST:
            self._used, self._told = self._fast, f"bf16: a probe differs from float32 by at most {apart} of 255 levels"
        else:
            self._told = f"f32: in bfloat16 a probe differs by {apart} of 255 levels"

    def _why_exact(self, pixels: np.ndarray) -> str:
        """Why this picture is not probed; empty where it is."""
        if pixels.dtype != np.uint8:
            return "f32: 16-bit output shows what bfloat16 changes"
        height, width = self._part(pixels)
        if min(height, width) < self.description.multiple:
            return "f32: the picture is smaller than the part that is probed"
        if pixels.shape[0] * pixels.shape[1] < WORTH * height * width:
            return "f32: so small a picture takes no longer than a probe"
        return ""

    def _part(self, pixels: np.ndarray) -> tuple[int, int]:
        """Height and width of what is probed; 0 where the picture is too small for it."""
        if self.input_size is not None:
            fits = pixels.shape[0] >= self.input_size[0] and pixels.shape[1] >= self.input_size[1]
            return self.input_size if fits else (0, 0)
        side = min(SIDE, *pixels.shape[:2])
        return (side - side % self.description.multiple,) * 2

    def _apart(self, pixels: np.ndarray) -> int:
        """The largest difference of both on the part with most detail, in 8-bit levels."""
        height, width = self._part(pixels)
        top, left, rows, columns = busiest_box(pixels, max(height, width))
        top = max(0, min(top + (rows - height) // 2, pixels.shape[0] - height))
        left = max(0, min(left + (columns - width) // 2, pixels.shape[1] - width))
        lr = pixels_to_lr(np.ascontiguousarray(pixels[top : top + height, left : left + width]))[None]
        exact, fast = (sr_to_pixels(session.run(lr)).astype(int) for session in (self._exact, self._fast))
        return int(np.abs(exact - fast).max())

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._used.run(lr)

    def close(self) -> None:
        self._exact.close()
        self._fast.close()
