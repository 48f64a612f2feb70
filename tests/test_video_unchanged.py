"""Tiles that did not change are taken from the frame before: the same bits, fewer inferences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.video.frames import FrameEnlarger

SIZE = (60, 90)


class Blurring(Session):
    """A network of radius 3 whose output tells its whole input; counts its inferences."""

    def __init__(self, **facts):
        super().__init__(Description(Path("here"), "blurring", "1", scale=2, radius=3, **facts))
        self.calls = 0

    def _infer(self, lr):
        self.calls += 1
        height, width = lr.shape[1:3]
        wide = np.pad(lr, ((0, 0), (3, 3), (3, 3), (0, 0)))
        mean = sum(wide[:, i : i + height, j : j + width] for i in range(7) for j in range(7)) / np.float32(49)
        return np.repeat(np.repeat(mean, 2, 1), 2, 2) * 2 - 1


def clip(dtype):
    """Twelve frames: noise; a square that moves in one corner; a new scene; the same again, twice."""
    random, high = np.random.default_rng(0), np.iinfo(dtype).max
    still = random.integers(0, high, (*SIZE, 3), dtype, endpoint=True)
    for step in range(6):
        frame = still.copy()
        frame[2 + step : 8 + step, 2:8] = high
        yield frame
    still = random.integers(0, high, (*SIZE, 3), dtype, endpoint=True)
    for _ in range(3):
        yield still
    one = still.copy()
    one[-1, -1, 2] ^= 1  # the least that a frame can change by
    yield one


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "facts, tile", [({}, (30, 30)), ({"multiple": 4}, (32, 32)), ({"input_size": (32, 32)}, None), ({}, None)]
)
def test_every_frame_is_what_it_would_be_alone(facts, tile, dtype):
    session, alone = Blurring(**facts), Blurring(**facts)
    enlarge = FrameEnlarger(session, SIZE, tile=tile)
    for frame in clip(dtype):
        expected = upscale_pixels(alone, frame, tile=tile).pixels
        given = frame.copy()
        made = enlarge(given)
        given[:] = 0  # a decoder uses its memory again
        assert made.dtype == dtype and np.array_equal(made, expected)
    assert session.calls < alone.calls
    assert enlarge.unchanged == pytest.approx(1 - session.calls / alone.calls)


def test_only_the_tiles_that_see_the_change_are_run():
    session = Blurring()
    enlarge = FrameEnlarger(session, SIZE, tile=(30, 30))
    frame = np.random.default_rng(1).integers(0, 256, (*SIZE, 3), np.uint8)
    enlarge(frame)
    everything, session.calls = session.calls, 0
    other = frame.copy()
    other[0, 0, 0] ^= 1  # the corner: seen by one tile
    enlarge(other)
    assert session.calls == 1 < everything
    part = enlarge.plan.parts[0]
    shared = other.copy()
    shared[0, part.height - 1, 0] ^= 1  # in the overlap: seen by two
    session.calls = 0
    enlarge(shared)
    assert session.calls == 2


def test_a_result_that_was_handed_out_stays_as_it_is():
    enlarge = FrameEnlarger(Blurring(), SIZE, tile=(30, 30))
    frames = list(clip(np.uint8))
    made = [enlarge(frame) for frame in frames]
    kept = [picture.copy() for picture in made]
    for frame in frames:
        enlarge(frame)
    assert all(np.array_equal(a, b) for a, b in zip(made, kept, strict=True))
