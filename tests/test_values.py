"""Networks that take and give other numbers than ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_cli import snpe_srgan
from helpers_onnx import Net
from PIL import Image

from snpe_srgan.imaging.pictures import read_picture
from snpe_srgan.onnx_graphs.boundary import RANGES, Said
from snpe_srgan.runtimes.adapted import in_our_numbers
from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.values import unlike
from snpe_srgan.zoo.resolve import ModelFile


class Doubling(Session):
    """x2 by repeated pixels, in a convention of its own; it counts on getting that convention's numbers."""

    def __init__(self, values):
        super().__init__(Description(Path("here"), "doubling", scale=2, radius=7))
        (self.low, self.high), self.out = (RANGES[values], RANGES[values])

    def _infer(self, lr):
        assert np.allclose((lr.min(), lr.max()), (self.low, self.high))
        unit = (lr - self.low) / (self.high - self.low)
        return (unit * (self.out[1] - self.out[0]) + self.out[0]).repeat(2, 1).repeat(2, 2)


@pytest.mark.parametrize("values", RANGES)
def test_every_convention_of_a_file_that_an_engine_reads_itself_becomes_ours(values, rng):
    lr = rng.random((1, 5, 4, 3), np.float32)
    lr[0, 0, :2, 0] = 0, 1
    file = ModelFile(Path("here"), "pb", None, said=Said(takes=values, gives=values))
    session = in_our_numbers(Doubling(values), file)
    assert np.allclose(session.run(lr), lr.repeat(2, 1).repeat(2, 2) * 2 - 1, atol=1e-5)
    assert session.description.radius == 7 and session.description.found.boundary.takes == values


def test_only_what_has_little_to_do_with_the_picture_is_unlike(rng):
    lr = rng.integers(0, 256, (300, 210, 3), dtype=np.uint8)
    sr = lr.repeat(2, 0).repeat(2, 1)
    assert unlike(lr, sr, 2) is None
    assert unlike(lr, 255 - sr, 2) < 10


def test_a_picture_of_single_pixels_that_comes_out_smoother_is_not_unlike(rng):
    grey = (rng.random((60, 80)) < np.linspace(0, 1, 80)).astype(np.uint8) * 255  # a dithered ramp
    lr = np.repeat(grey[..., None], 3, axis=2)
    mixed = (lr.astype(float) + 128) / 2  # what lies between the dots, half way
    assert unlike(lr, mixed.astype(np.uint8).repeat(2, 0).repeat(2, 1), 2) is None
    assert unlike(lr, 255 - lr.repeat(2, 0).repeat(2, 1), 2) < 1


def test_a_network_for_0_to_255_is_found_out_and_served(tmp_path):
    """It adds 10 levels of 255: in its own numbers a faint difference, in ours white."""
    net = Net()
    lifted = net.op("Add", net.start(), net.const(np.float32(10)))
    onnx.save(net.model(lifted, (8, 8), scale=1), tmp_path / "net.onnx")
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    command = ["run", tmp_path / "net.onnx", tmp_path / "photo.png", "-o", tmp_path / "sr.png", "--engine"]
    done = snpe_srgan(*command, "onnxruntime")
    assert done.code == 0 and "takes 0..255, gives 0..255" in done.err and not list(tmp_path.glob("*.json"))
    assert np.array_equal(read_picture(tmp_path / "sr.png").rgb, pixels + 10)
    done = snpe_srgan(*command, "onnxruntime", "--values", "0..1", "--overwrite")
    assert done.code == 0 and "as the user says" in done.err and "kept in" in done.err
    done = snpe_srgan(*command, "onnxruntime", "--overwrite")  # told once, never asked again
    assert done.code == 0 and "takes 0..1, gives 0..1 (as the user says)" in done.err
    assert read_picture(tmp_path / "sr.png").rgb.min() == 255
    done = snpe_srgan(*command, "onnxruntime", "--overwrite", "--values", "0..255")
    assert np.array_equal(read_picture(tmp_path / "sr.png").rgb, pixels + 10)
