"""`run`: any picture in, its enlarged self out; names, failures, exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_onnx import mobile
from PIL import Image

from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.imaging.bicubic import upscale as bicubic
from snpe_srgan.imaging.metadata import Metadata
from snpe_srgan.imaging.picture import Picture
from snpe_srgan.imaging.pictures import read_picture, write_picture
from snpe_srgan.runtimes.enlarge import plan_jobs
from snpe_srgan.runtimes.session import Description, Session
from snpe_srgan.runtimes.upscale import upscale_picture


class Nearest(Session):
    """A session whose network repeats each pixel: what must come out is known for every kind of picture."""

    def __init__(self):
        super().__init__(Description(Path("here"), "nearest"))

    def _infer(self, lr):
        return np.repeat(np.repeat(lr, 4, 1), 4, 2) * 2 - 1


@pytest.fixture
def model(tmp_path):
    onnx.save(mobile((12, 16)), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.fixture
def photo(tmp_path, rng):
    pixels = rng.integers(0, 256, (14, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


# -- one picture, any kind ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_every_kind_of_picture_keeps_what_it_has(dtype, grey, alpha, rng):
    top = np.iinfo(dtype).max
    rgb = rng.integers(0, top, (6, 5, 1 if grey else 3), dtype=dtype, endpoint=True) * np.ones(3, dtype)
    plane = rng.integers(0, top, (6, 5), dtype=dtype, endpoint=True) if alpha else None
    sr, _ = upscale_picture(Nearest(), Picture(rgb, alpha=plane, grey=grey, metadata=Metadata(icc_profile=b"profile")))
    np.testing.assert_array_equal(sr.rgb, np.repeat(np.repeat(rgb, 4, 0), 4, 1))
    assert (sr.grey, sr.metadata.icc_profile, sr.rgb.dtype) == (grey, b"profile", dtype)
    assert (sr.alpha is None) if plane is None else (sr.alpha == bicubic(plane, 4)).all()


def test_numbers_that_are_not_finite_stop_with_their_place():
    session = Nearest()
    session._infer = lambda lr: np.full((1, lr.shape[1] * 4, lr.shape[2] * 4, 3), np.nan, np.float32)
    with pytest.raises(Exception, match=r"not finite[\s\S]*tile 1 of 4"):
        upscale_picture(session, Picture(np.zeros((8, 8, 3), np.uint8)), tile=(4, 4))


def test_a_result_larger_than_memory_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("snpe_srgan.runtimes.upscale.available_memory", lambda: 1000)
    with pytest.raises(InputError, match="GB"):
        upscale_picture(Nearest(), Picture(np.zeros((8, 8, 3), np.uint8)))


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_run_writes_the_picture_and_says_so(model, photo, tmp_path, engine):
    done = snpe_srgan("run", model, photo, "-o", tmp_path / "out.png", "--engine", engine, "--json")
    assert done.code == 0 and done.json["engine"].startswith(engine)
    assert done.json["pictures"][0]["tiles"] > 1 and done.json["pictures"][0]["sr_size"] == [56, 80]
    assert read_picture(tmp_path / "out.png").rgb.shape == (56, 80, 3)


def test_run_does_not_load_tensorflow(model, photo, tmp_path):
    loaded = set(sys.modules)
    assert snpe_srgan("run", model, photo, "-o", tmp_path / "out.png").code == 0
    assert not [m for m in set(sys.modules) - loaded if m.split(".")[0] in ("tensorflow", "tensorlayer", "keras")]


def test_a_folder_with_a_bad_picture_does_the_others_and_ends_with_1(model, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo.read_bytes())
    (folder / "b.png").write_bytes(photo.read_bytes()[:200])
    (folder / "c.png").write_bytes(photo.read_bytes())
    done = snpe_srgan("run", model, folder, "-o", tmp_path / "out", "--json")
    assert_error(done, 1, "b.png")
    assert [p["target"][-8:] for p in done.json["pictures"]] == ["a_x4.png", "c_x4.png"]
    assert len(done.json["failed"]) == 1
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_x4.png", "c_x4.png"]


def test_nothing_is_overwritten_unasked(model, photo, tmp_path):
    (tmp_path / "out.png").write_bytes(b"mine")
    assert_error(snpe_srgan("run", model, photo, "-o", tmp_path / "out.png"), 1, "exists already", "--overwrite")
    assert (tmp_path / "out.png").read_bytes() == b"mine"
    assert snpe_srgan("run", model, photo, "-o", tmp_path / "out.png", "--overwrite").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.onnx", "PHOTO"], 1, ["no such model"]),
        (["MODEL", "nothing.png"], 1, ["no such picture"]),
        (["MODEL", "MODEL"], 1, ["not a picture"]),
        (["MODEL", "PHOTO", "-o", "OUT.xyz"], 2, [".xyz"]),
        (["MODEL", "PHOTO", "-o", "PHOTO/x/y.png"], 1, ["x"]),
        (["MODEL", "PHOTO", "-o", "OUT.png", "--tile", "64"], 1, ["fixed"]),
        (["MODEL", "PHOTO", "-o", "OUT.png", "--on", "sdk"], 3, ["SNPE or QAIRT SDK"]),
        (["MODEL", "PHOTO", "-o", "OUT.png", "--on", "device", "--runtime", "dsp"], 3, ["SNPE or QAIRT SDK"]),
        (["MODEL", "PHOTO", "-o", "OUT.png", "--runtime", "dsp"], 2, ["--on"]),
        (["MODEL", "PHOTO", "-o", "OUT.png", "--chip", "57"], 2, ["--chip"]),
        (["MODEL", "PHOTO", "--on", "emulater"], 2, ["emulat"]),
        (["MODEL"], 2, ["PICTURE"]),
    ],
)
def test_mistakes_are_answered_by_the_contract(arguments, code, words, model, photo, tmp_path):
    names = {"MODEL": str(model), "PHOTO": str(photo), "OUT": str(tmp_path / "out")}
    typed = [next((a.replace(k, v) for k, v in names.items() if a.startswith(k)), a) for a in arguments]
    outcome = snpe_srgan("run", *typed)
    if "error: " in outcome.err:
        assert_error(outcome, code, *words)
    assert outcome.code == code and all(w.lower() in outcome.err.lower() for w in words), outcome.err
    assert not list(tmp_path.glob("out*"))


def test_transparency_is_not_flattened_into_a_jpeg(model, tmp_path):
    write_picture(tmp_path / "a.png", Picture(np.zeros((12, 16, 3), np.uint8), alpha=np.zeros((12, 16), np.uint8)))
    assert_error(snpe_srgan("run", model, tmp_path / "a.png", "-o", tmp_path / "out.jpg"), 1, "transparency")


# -- names ------------------------------------------------------------------------------------------------------------


def targets(tmp_path, *names, out="out"):
    paths = [tmp_path / name for name in names]
    return [j.target.relative_to(tmp_path / out).as_posix() for j in plan_jobs(paths, out=tmp_path / out, scale=4).todo]


def test_names_keep_lossless_suffixes(tmp_path):
    names = targets(tmp_path, "a.png", "b.TIF", "c.jpg", "d.webp", "e.gif")
    assert names == ["a_x4.png", "b_x4.tif", "c_x4.png", "d_x4.webp", "e_x4.png"]


def test_names_that_collide_are_told_apart(tmp_path):
    assert targets(tmp_path, "a.png", "a.jpg", "b.jpg") == ["a_png_x4.png", "a_jpg_x4.png", "b_x4.png"]
    assert targets(tmp_path, "A.png", "a.jpg") == ["A_png_x4.png", "a_jpg_x4.png"]  # one name on some systems
    assert targets(tmp_path, "one/a.png", "two/a.png") == ["one_a_png_x4.png", "two_a_png_x4.png"]


def test_names_that_cannot_be_told_apart_are_an_error(tmp_path):
    with pytest.raises(UsageError, match="two pictures"):
        targets(tmp_path, "x/one/a.png", "y/one/a.png")


def test_several_pictures_need_a_folder(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for out in (None, tmp_path / "out.png"):
        with pytest.raises(UsageError, match="2 pictures"):
            plan_jobs(paths, out=out, scale=4)


def test_an_output_that_is_also_an_input_is_refused(tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "a_x4.png"]
    for path in paths:
        path.touch()
    with pytest.raises(InputError, match="reads"):
        plan_jobs(paths, out=tmp_path, scale=4, overwrite=True)


# -- going on, and names --------------------------------------------------------------------------------------------


def test_an_interrupted_folder_goes_on(model, photo, tmp_path):
    """Whole outputs are skipped; a cut one is refused, and with --overwrite done again, as the missing ones are."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(photo.read_bytes())
    words = ("run", model, folder, "-o", out, "--json")
    assert snpe_srgan(*words).code == 0
    first = (out / "a_x4.png").stat().st_mtime_ns
    (out / "b_x4.png").unlink()
    assert_error(snpe_srgan(*words), 1, "exists already")
    done = snpe_srgan(*words, "--skip-existing")
    assert done.code == 0 and (len(done.json["pictures"]), len(done.json["skipped"])) == (1, 2)
    assert (out / "a_x4.png").stat().st_mtime_ns == first
    for wrong in ((out / "c_x4.png").read_bytes()[:300], photo.read_bytes()):  # cut short; of another size
        (out / "c_x4.png").write_bytes(wrong)
        assert_error(snpe_srgan(*words, "--skip-existing"), 1, "exists already", "c_x4.png")
        done = snpe_srgan(*words, "--skip-existing", "--overwrite")
        assert done.code == 0 and (len(done.json["pictures"]), len(done.json["skipped"])) == (1, 2)
    assert snpe_srgan(*words, "--skip-existing").json["pictures"] == []
    single = ("run", model, folder / "a.png", "-o", out / "a_x4.png", "--skip-existing")
    assert "1 were there already" in snpe_srgan(*single).out


def test_one_name_too_long_stops_no_folder(model, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("x" * 250, "a"):
        (folder / f"{name}.png").write_bytes(photo.read_bytes())
    done = snpe_srgan("run", model, folder, "-o", tmp_path / "out", "--json")
    assert_error(done, 1, "name too long")
    assert len(done.json["pictures"]) == len(done.json["failed"]) == 1


def test_a_name_in_latin_1_is_done(model, photo, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    with open(os.fsencode(folder) + b"/f\xfcr.png", "wb") as file:
        file.write(photo.read_bytes())
    done = snpe_srgan("run", model, folder, "-o", tmp_path / "out")
    assert done.code == 0 and os.listdir(os.fsencode(tmp_path / "out")) == [b"f\xfcr_x4.png"]


def test_what_is_passed_over_is_said(model, photo, tmp_path):
    (tmp_path / "dangling.png").symlink_to("nothing.png")
    done = snpe_srgan("run", model, tmp_path, "-o", tmp_path / "out", "--json")
    assert done.code == 0 and "1 broken link" in done.json["passed_over"] and ".onnx" in done.err
