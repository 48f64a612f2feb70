"""Whether an enlargement has anything to do with its picture.

    far = unlike(lr_pixels, sr_pixels, scale)          # dB, or None: why the user should think of it

A network that is given other numbers than it was trained on draws nonsense, and no engine complains: what is drawn is
therefore compared with what was enlarged.
"""

from __future__ import annotations

import numpy as np

UNLIKE = 15.0  # dB: the worst networks that enlarge at all lie above 20, a picture and its negative at 5
LOOKED_AT = 200  # rows and columns of the small picture, at most: enough to tell, and no time


def unlike(lr: np.ndarray, sr: np.ndarray, scale: int) -> float | None:
    """PSNR between a picture and its enlargement made small again (means of scale x scale), where it is below `UNLIKE`.

    A picture of single pixels (a dithered scan, a halftone) comes out smoother than it went in, whatever the network.
    Nothing is said of one that is farther from its own 3 x 3 mean than from its enlargement.

    Args:
        lr, sr: uint8 or uint16 `(h, w, 3)` and `(h * scale, w * scale, 3)`, of the same type.
    """
    rows, columns = (np.linspace(0, n - 1, min(n, LOOKED_AT)).astype(int) for n in lr.shape[:2])
    blocks = sr.reshape(lr.shape[0], scale, lr.shape[1], scale, 3)[rows][:, :, columns]
    error = blocks.mean((1, 3)) - lr[rows][:, columns]
    white = np.iinfo(lr.dtype).max
    mean = float(np.mean(np.square(error / white)))
    if mean <= 10 ** (-UNLIKE / 10):
        return None
    padded = np.pad(lr, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = (padded[rows + y][:, columns + x] / white for y in range(3) for x in range(3))
    if mean < np.mean(np.square(sum(shifted) / 9 - lr[rows][:, columns] / white)):
        return None
    return -10 * np.log10(mean)
