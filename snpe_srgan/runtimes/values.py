"""What numbers a network of others takes and gives: ours take 0 to 1 and give -1 to 1.

    session = with_values(session, "0..255")           # `run --values 0..255`
    far = unlike(lr_pixels, sr_pixels, scale)          # dB, or None: why the user should think of it

A model file does not say it. A network that is given other numbers than it was trained on draws nonsense, and no engine
complains: what is drawn is therefore compared with what was enlarged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from snpe_srgan.runtimes.session import Session

OURS = "ours"
VALUES = {  # name -> ((black, white) that go in, (black, white) that come out)
    OURS: ((0.0, 1.0), (-1.0, 1.0)),
    "0..1": ((0.0, 1.0), (0.0, 1.0)),
    "-1..1": ((-1.0, 1.0), (-1.0, 1.0)),
    "0..255": ((0.0, 255.0), (0.0, 255.0)),
}
UNLIKE = 15.0  # dB: the worst networks that enlarge at all lie above 20, a picture and its negative at 5
LOOKED_AT = 200  # rows and columns of the small picture, at most: enough to tell, and no time


class _Converted(Session):
    """A session of another convention, in ours."""

    def __init__(self, session: Session, values: str):
        super().__init__(session.description)
        self._session = session
        self._in, self._out = VALUES[values]

    def plan(self, height, width, *, tile=None):
        return self._session.plan(height, width, tile=tile)

    def run_all(self, arrays: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        return map(self._to_ours, self._session.run_all(self._from_ours(lr) for lr in arrays))

    def _from_ours(self, lr: np.ndarray) -> np.ndarray:
        black, white = self._in
        return lr * np.float32(white - black) + np.float32(black)

    def _to_ours(self, sr: np.ndarray) -> np.ndarray:
        black, white = self._out
        return (sr - np.float32(black)) * np.float32(2 / (white - black)) - np.float32(1)


def with_values(session, values: str = OURS):
    """A session that takes and gives what ours do, around one of the convention `values`."""
    return session if values == OURS else _Converted(session, values)


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
