"""A network that an engine reads from a foreign file by itself (a `.pb`), in our numbers.

session = in_our_numbers(OpenVinoSession(source), file)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snpe_srgan.onnx_graphs.boundary import OURS, SIDE, Boundary, Found
from snpe_srgan.onnx_graphs.finding import find_ranges
from snpe_srgan.runtimes.session import Session
from snpe_srgan.zoo.resolve import ModelFile


class AdaptedSession(Session):
    """A session of other numbers, which takes and gives ours."""

    def __init__(self, session: Session, found: Found):
        super().__init__(replace(session.description, found=found))
        self._session, self._boundary = session, found.boundary

    def _infer(self, lr: np.ndarray) -> np.ndarray:
        return self._boundary.drawn(self._session._infer(self._boundary.given(lr)), lr)

    def close(self) -> None:
        self._session.close()


def in_our_numbers(session: Session, file: ModelFile) -> Session:
    """A session of a file that is ours as it is; around one of a stranger's, the numbers that it takes are found out by
    a picture, or taken as the user says."""
    where, said = file.path, file.known_ends
    plain = Boundary("NHWC", "0..1", "0..1", said.channels or "RGB")
    ranges = said.ranges
    if said and len(ranges) == 1:
        takes, gives = ranges[0]
        found = Found(replace(plain, takes=takes, gives=gives), ("as the user says",))
    else:
        size = session.input_size or (SIDE, SIDE)
        found = find_ranges(session._infer, plain, ranges, size=size, first=("0..1", "-1..1"), where=where)
    return session if found.boundary == OURS and found.certain else AdaptedSession(session, found)
