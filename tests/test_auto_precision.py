"""`run --precision auto`: bfloat16 for a picture on which a probe shows at most one level, said each time."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.runtimes import openvino as openvino_engine
from snpe_srgan.runtimes.probed import SIDE, ProbedSession
from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.upscale import upscale_pixels


class Flat(Session):
    """Gives each pixel of its input 4x4 times, brighter by so many 8-bit levels."""

    def __init__(self, levels: float, **description):
        super().__init__(Description(path="flat", engine="test", **description))
        self.levels, self.seen, self.closed = levels, [], False

    def _infer(self, lr):
        self.seen.append(lr.shape[1:3])
        return (lr.repeat(4, axis=1).repeat(4, axis=2) * 2 - 1 + self.levels / 127.5).astype(np.float32)

    def close(self):
        self.closed = True


def picture(size=(256, 320), dtype=np.uint8):
    return np.random.default_rng(0).integers(50, 200, (*size, 3)).astype(dtype)


def enlarged(fast_levels, pixels, **description):
    exact, fast = Flat(0, **description), Flat(fast_levels, **description)
    session = ProbedSession(exact, fast)
    done = upscale_pixels(session, pixels, tile=None if description.get("input_size") else (128, 128))
    session.close()
    assert exact.closed and fast.closed
    return session, exact, fast, done.pixels


def test_a_level_is_let_through_for_all_tiles():
    session, exact, fast, pixels = enlarged(1, picture())
    assert session.arithmetic.startswith("bf16") and "at most 1 of 255" in session.arithmetic
    assert exact.seen == [(SIDE, SIDE)] and len(fast.seen) == 1 + 6
    assert np.array_equal(pixels, picture().repeat(4, 0).repeat(4, 1) + 1)


def test_two_levels_are_not():
    session, _, fast, pixels = enlarged(2, picture())
    assert session.arithmetic.startswith("f32") and fast.seen == [(SIDE, SIDE)]
    assert np.array_equal(pixels, picture().repeat(4, 0).repeat(4, 1))


@pytest.mark.parametrize(
    ("pixels", "why"), [(picture((100, 100)), "no longer than a probe"), (picture(dtype=np.uint16), "16-bit output")]
)
def test_what_is_not_probed_is_float32_and_says_why(pixels, why):
    session, _, fast, _ = enlarged(0, pixels)
    assert session.arithmetic.startswith("f32") and why in session.arithmetic and fast.seen == []


def test_the_probe_of_a_fixed_input_has_its_size():
    session, exact, fast, _ = enlarged(0, picture(), input_size=(48, 40))
    assert exact.seen == [(48, 40)] and set(fast.seen) == {(48, 40)} and session.arithmetic.startswith("bf16")
    small = enlarged(0, picture((30, 320)), input_size=(48, 40))[0]
    assert "smaller than the part" in small.arithmetic


def test_each_picture_is_decided_anew():
    session = ProbedSession(Flat(0), Flat(0))
    for pixels, chosen in ((picture(), "bf16"), (picture((64, 64)), "f32"), (picture(), "bf16")):
        upscale_pixels(session, pixels)
        assert session.arithmetic.startswith(chosen)


# ---- the command ----


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(picture((192, 192))).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("has", [True, False])
def test_run_says_what_it_chose(photo, tmp_path, monkeypatch, has):
    pytest.importorskip("openvino")
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: has)
    out = tmp_path / "out.png"
    done = snpe_srgan("run", "mobile", photo, "-o", out, "--precision", "auto", "--json")
    chosen = done.json["pictures"][0]["arithmetic"]
    if has:  # a CPU without it computes in float32 all the same: both are equal then
        assert chosen.startswith(("bf16: a probe", "f32: in bfloat16 a probe"))
    else:
        assert chosen is None and "this CPU has no bfloat16" in done.err
    assert Image.open(out).size == (768, 768)


def test_float32_is_the_default_and_says_nothing(photo, tmp_path):
    done = snpe_srgan("run", "mobile", photo, "-o", tmp_path / "out.png", "--json")
    assert done.json["pictures"][0]["arithmetic"] is None and "faster" not in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "mobile", "PHOTO"], "'auto' is not one of"),
        (["run", "mobile", "PHOTO", "--on", "emulator"], "leave them out with --on emulator"),
        (["run", "mobile", "PHOTO", "--engine", "onnxruntime"], "for the engine openvino"),
    ],
)
def test_where_one_precision_must_be_named(photo, arguments, words):
    typed = [photo if word == "PHOTO" else word for word in arguments]
    assert_error(snpe_srgan(*typed, "--precision", "auto"), 2, words)
