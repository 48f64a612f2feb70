"""The one protocol every engine speaks, whatever file it opened.

with open_session(resolve("model.dlc"), on="emulator") as session:
    sr = session.run(lr)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Session(Protocol):
    """An opened model on one engine.

    Attributes:
        engine: what computes, for people: "openvino", "onnxruntime", "tensorflow", "hexagon-emulator".
        scale: the factor between LR and SR size.
        input_size: the fixed (height, width) of the LR input, or None when any size is taken.
        overlap: LR pixels by which tiles must overlap so that a tiled result equals the whole one
            (the network's receptive radius).
        whole: an operator that reads the whole picture, which no overlap makes up for, or None.
    """

    engine: str
    scale: int
    input_size: tuple[int, int] | None
    overlap: int
    whole: str | None

    def run(self, lr: np.ndarray) -> np.ndarray:
        """(1, h, w, 3) float32 in [0, 1] -> (1, h*scale, w*scale, 3) float32 in [-1, 1]."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Session: ...

    def __exit__(self, *exc) -> None: ...
