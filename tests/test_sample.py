"""The sample set: DIV2K's layout, no shared pixels, made whole or not at all."""

import itertools
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from snpe_srgan.artifacts.files import read_json
from snpe_srgan.data import sample
from snpe_srgan.data.sample import TRAIN, VALID, make_sample
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.errors import InputError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_sample(tmp_path_factory.mktemp("data") / "sample").root


def snapshot(folder):
    return {p.relative_to(folder): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def overlap(a, b):
    return (
        a.photo == b.photo
        and a.top < b.top + b.height
        and b.top < a.top + a.height
        and a.left < b.left + b.width
        and b.left < a.left + a.width
    )


def test_training_and_validation_share_no_pixel():
    assert not [(a, b) for a, b in itertools.combinations(TRAIN + VALID, 2) if overlap(a, b)]


def test_layout_is_that_of_div2k(root):
    for split, first, count in (("train", 1, len(TRAIN)), ("valid", 801, len(VALID))):
        pairs = find_pictures(root, split=split, scale=4)
        assert [p.hr.name for p in pairs] == [f"{first + i:04d}.png" for i in range(count)]
        assert [p.lr.parent.name + "/" + p.lr.name for p in pairs] == [
            f"X4/{first + i:04d}x4.png" for i in range(count)
        ]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lr_is_the_bicubic_of_hr(root, scale):
    from snpe_srgan.imaging.bicubic import downscale

    for pair in find_pictures(root, split="valid", scale=scale):
        np.testing.assert_array_equal(Image.open(pair.lr), downscale(np.asarray(Image.open(pair.hr)), scale))


def test_pictures_are_the_photos_regions(root):
    for entry in read_json(root / "manifest.json")["pictures"]:
        box = entry["left"], entry["top"], entry["left"] + entry["width"], entry["top"] + entry["height"]
        photo = Image.open(sample.photo_folder() / entry["photo"]).convert("RGB").crop(box)
        np.testing.assert_array_equal(Image.open(root / next(iter(entry["files"]))), photo)
        assert entry["licence"]


def test_second_run_touches_nothing(root):
    before = snapshot(root)
    make_sample(root)
    assert snapshot(root) == before


def test_damaged_set_is_reported_and_mended_on_request(root, tmp_path):
    copy = shutil.copytree(root, tmp_path / "sample")
    (copy / "DIV2K_valid_HR" / "0801.png").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        make_sample(copy)
    make_sample(copy, overwrite=True)
    assert {k: v[1] for k, v in snapshot(copy).items()} == {k: v[1] for k, v in snapshot(root).items()}


def test_other_folder_is_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="no sample set"):
        make_sample(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "write_json", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make_sample(tmp_path / "sample")
    assert list(tmp_path.iterdir()) == []


def test_three_at_once_in_one_folder(tmp_path, root):
    """All end well, or say plainly that the folder is there; what is there is whole."""
    command = [sys.executable, "-m", "snpe_srgan", "data", "sample", "-o", tmp_path / "set"]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        words = process.communicate(timeout=100)[1]
        assert process.returncode == 0 or (process.returncode == 1 and "exists already" in words), words
    assert any(process.returncode == 0 for process in running)
    assert {name: data for name, (_, data) in snapshot(tmp_path / "set").items()} == {
        name: data for name, (_, data) in snapshot(root).items()
    }
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
