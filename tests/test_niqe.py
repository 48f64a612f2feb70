"""NIQE against scikit-video's code, where that is installed, and by what it must tell apart."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.linalg
import scipy.ndimage
import scipy.special
from helpers_cli import assert_error, snpe_srgan
from PIL import Image
from scipy import ndimage, stats
from skimage import data

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.colour import rgb_to_grey
from snpe_srgan.metrics import niqe


@pytest.fixture(scope="module")
def photo():
    return data.coffee()[100:388, 100:484]


@pytest.fixture(scope="module")
def theirs():
    """`niqe(grey)` by scikit-video's own source: in double precision (its float32 loses the variance of flat parts),
    and with what numpy and scipy have dropped since it was written."""
    where = importlib.util.find_spec("skvideo")
    if where is None:
        pytest.skip("scikit-video is not installed: pip install --no-deps scikit-video==1.1.11")
    folder = Path(where.submodule_search_locations[0])
    scope: dict = {"np": np, "scipy": scipy, "math": math}
    for name in ("utils/mscn.py", "utils/stats.py", "measure/niqe.py"):
        text = (folder / name).read_text().replace("float32", "float64").replace("np.int(", "int(")
        lines = [line for line in text.splitlines() if not line.startswith(("import ", "from "))]
        exec(compile("\n".join(lines).replace("scipy.misc.imresize", "imresize"), name, "exec"), scope)

    def imresize(picture, factor, interp, mode):
        assert (interp, mode) == ("bicubic", "F")
        size = tuple(int(side * factor) for side in picture.shape[::-1])
        return np.asarray(Image.fromarray(picture.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))

    def of(folder_name, data_folder, file):
        return str(folder / "measure" / data_folder / file)

    scope |= {"imresize": imresize, "dirname": lambda path: "", "join": of, "__file__": "", "vshape": lambda x: x}
    return lambda grey: float(scope["niqe"](grey[None, :, :, None])[0])


@pytest.mark.parametrize("change", ["none", "blur", "noise"])
def test_equals_scikit_video(photo, theirs, change):
    picture = photo.astype(float)
    if change == "blur":
        picture = ndimage.gaussian_filter(picture, (1.5, 1.5, 0))
        # Where a picture is flat, the sign of a rounding error decides on which side of 0 a value is counted.
        picture += np.random.default_rng(1).normal(0, 2, photo.shape)
    elif change == "noise":
        picture += np.random.default_rng(0).normal(0, 15, photo.shape)
    picture = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    assert niqe.niqe(picture) == pytest.approx(theirs(rgb_to_grey(picture).astype(float)), abs=1e-3)


@pytest.mark.parametrize("shape", [0.7, 2.0, 4.0])
def test_the_fit_finds_the_shape_that_values_were_drawn_with(shape):
    values = stats.gennorm(shape, scale=1.5).rvs(400_000, random_state=3)
    found, mean, left, right = niqe.asymmetric_gaussian(values)
    assert found == pytest.approx(shape, rel=0.03)
    assert (left, right) == (pytest.approx(1.5, rel=0.03), pytest.approx(1.5, rel=0.03)) and abs(mean) < 0.01


def test_damage_is_less_natural(photo):
    clean = niqe.niqe(photo)
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 25, photo.shape), 0, 255).astype(np.uint8)
    soft = ndimage.gaussian_filter(photo, (2.5, 2.5, 0))
    assert niqe.niqe(noisy) > clean + 0.5 and niqe.niqe(soft) > clean + 0.5


def test_a_flat_picture_has_a_number_and_a_small_one_is_refused():
    assert np.isfinite(niqe.niqe(np.full((192, 192, 3), 90, np.uint8)))
    with pytest.raises(InputError, match="two patches"):
        niqe.niqe(np.zeros((96, 100, 3), np.uint8))


def test_evaluate_scores_photos_that_have_no_original(tmp_path, photo):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.fromarray(photo[:60, :80]).save(folder / f"{name}.png")
    arguments = ["evaluate", "bicubic", folder, "--niqe"]
    result = snpe_srgan(*arguments, "--json")
    assert result.code == 0, result.err
    (found,) = json.loads(result.out)["datasets"]
    assert [row["name"] for row in found["pictures"]] == ["a", "b"]
    assert found["mean"]["model"] == found["mean"]["bicubic"] == pytest.approx(found["pictures"][0]["niqe"]["model"])
    assert "PSNR" not in snpe_srgan(*arguments).out
    assert snpe_srgan(*arguments, "--min-psnr", "30").code == 2
    Image.fromarray(photo[:20, :20]).save(folder / "small.png")
    assert_error(snpe_srgan(*arguments), 1, "small.png", "two patches")
