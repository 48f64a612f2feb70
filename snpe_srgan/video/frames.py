"""The one place where videos meet the network: a frame's pixels in, the enlarged frame's out."""

from __future__ import annotations

import numpy as np

from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.runtimes.session import Session
from snpe_srgan.runtimes.upscale import padded, upscale_pixels


class FrameEnlarger:
    """Enlarges the frames of one clip, one after the other; the tiles are decided once.

    A tile whose whole input is what it was in the frame before is taken from that frame's result. A network's output
    depends on its input alone, so the pictures are the same bits; a still part of the picture costs a comparison.

    Args:
        size: (height, width) of the frames in LR pixels.
        tile: (height, width) of a tile in LR pixels; small ones are found unchanged more often.
    """

    def __init__(self, session: Session, size: tuple[int, int], *, tile: tuple[int, int] | None = None):
        self.session, self.plan = session, session.plan(*size, tile=tile)
        self.tiles = self.taken = 0
        self._before: np.ndarray | None = None
        self._made: np.ndarray | None = None

    def __call__(self, rgb: np.ndarray) -> np.ndarray:
        """`(h, w, 3)` of uint8 or uint16 to `(h * scale, w * scale, 3)`, which must not be written into."""
        now, before, parts = padded(rgb, self.plan), self._before, self.plan.parts
        changed = parts
        if before is not None and before.dtype == now.dtype:
            changed = tuple(p for p in parts if not np.array_equal(before[p.rows, p.columns], now[p.rows, p.columns]))
        self.tiles += len(parts)
        self.taken += len(parts) - len(changed)
        if changed or self._made is None:
            onto = self._made if len(changed) < len(parts) else None
            self._made = upscale_pixels(self.session, rgb, plan=self.plan, parts=changed, onto=onto).pixels
        self._before = now.copy() if now is rgb else now  # a decoder may use its frame's memory again
        return self._made

    @property
    def unchanged(self) -> float:
        """The share of all tiles so far that was taken from the frame before."""
        return self.taken / self.tiles if self.tiles else 0.0


def enlarge_alpha(alpha: np.ndarray | None, scale: int) -> np.ndarray | None:
    """Transparency (h, w), uint8 or uint16, by bicubic, as pictures have it; None stays None."""
    return None if alpha is None else bicubic(alpha, scale)
