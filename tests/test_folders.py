"""One reader of folders: which pictures are HR, which LR belongs to each, what is passed over, in every layout."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.calibration.crops import calibration_crops
from snpe_srgan.data.cache import prepare
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.finder import find_pictures as find
from snpe_srgan.imaging.layout import role_of
from snpe_srgan.imaging.pairs import BICUBIC, distinct_names, find_set, fit_pair
from snpe_srgan.metrics.dataset import find_evaluation_set

HR_SIZE, LR_SIZE, MARK = (64, 48), (16, 12), 9


def make(root: Path, *names: str) -> Path:
    """HR pictures of noise; every LR picture is plain, so that it is known again."""
    rng = np.random.default_rng(0)
    for name in names:
        path = root / name.removeprefix("=")
        path.parent.mkdir(parents=True, exist_ok=True)
        low = name.startswith("=")
        pixels = np.full((*LR_SIZE, 3), MARK, np.uint8) if low else rng.integers(0, 256, (*HR_SIZE, 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return root


LAYOUTS = {  # `=` marks LR; the first picture is what the set is to consist of
    "div2k bicubic": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_bicubic/X4/0001x4.png"),
    "small x": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_bicubic/x4/0001x4.png"),
    "unknown": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_unknown/X4/0001x4.png"),
    "mild": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_mild/0001x4m.png"),
    "wild": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_wild/0001x4w1.png", "=DIV2K_train_LR_wild/0001x4w2.png"),
    "no suffix": ("DIV2K_train_HR/0001.png", "=DIV2K_train_LR_bicubic/X4/0001.png"),
    "flickr": ("Flickr2K_HR/000001.png", "=Flickr2K_LR_bicubic/X4/000001x4.png"),
    "hr + lr": ("HR/a.png", "=LR/a.png"),
    "small letters": ("hr/a.png", "=lr/a.png"),
    "gt + lq": ("GT/a.png", "=LQ/a.png"),
    "basicsr": ("GTmod12/a.png", "=LRbicx4/a.png"),
    "lrx4": ("HR/a.png", "=LRx4/ax4.png"),
    "edsr": ("HR/a.png", "=LR_bicubic/X4/ax4.png"),
    "other suffix": ("HR/a.jpg", "=LR/a.png"),
    "capitals": ("HR/A.PNG", "=LR/a.png"),
    "halves": ("train/HR/a.png", "=train/LR/a.png", "valid/HR/b.png", "=valid/LR/b.png"),
    "below": ("sets/Set5/HR/a.png", "=sets/Set5/LRx4/a.png"),
    "sub folders": ("HR/one/a.png", "=LR/one/a.png"),
    "flat": ("0001.png", "=0001x4.png"),
    "by names": ("img_001_SRF_4_HR.png", "=img_001_SRF_4_LR.png"),
    "high": ("high_res/a.png", "=low_res/a.png"),
    "lr inside": ("a.png", "=LRx4/a.png"),
    "several scales": ("HR/a.png", "=LR_bicubic/X2/ax2.png", "=LR_bicubic/X4/ax4.png"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_reader_finds_the_same_pairs(tmp_path, layout):
    names = LAYOUTS[layout]
    root = make(tmp_path / "set", *names)
    (training,) = find_pictures(root)
    (scoring,) = find_evaluation_set(root, scale=4, splits=("train", "valid")).files
    assert training.hr == scoring.hr_path == root / names[0]
    assert training.lr is not None and training.lr == scoring.lr_path
    cache = prepare([training], tmp_path / "cache", scale=4)
    assert (cache.lr(0) == MARK).all() and (scoring.load().lr == MARK).all()
    crops = calibration_crops([root], scale=4, count=1, size=8)
    assert (crops.arrays[0] == np.float32(MARK) / 255).all() and "LR read" in crops.origin


@pytest.mark.parametrize("layout", [k for k, v in LAYOUTS.items() if role_of(Path(v[0]).parent.name)])
@pytest.mark.parametrize("named", [0, 1])
def test_the_folder_of_hr_or_of_lr_may_be_named(tmp_path, layout, named):
    names = [name.removeprefix("=") for name in LAYOUTS[layout]]
    root = make(tmp_path, *LAYOUTS[layout])
    folder = (root / names[named]).parent
    folder = folder if role_of(folder.name) else folder.parent
    if layout in ("sub folders",):
        pytest.skip("named is a folder below")
    found = find_set(folder, scale=4, splits=("valid",))
    assert [f.hr.name for f in found.files] == [Path(names[0]).name]
    assert found.files[0].lr is not None and found.files[0].lr.parts[-2:] in [Path(n).parts[-2:] for n in names[1:]]


def test_field_case_20(tmp_path):
    """What a user had: LR of another kind, and LQ pictures counted as HR."""
    root = make(tmp_path / "L4b", "GT/0001.png", "=LQ/0001.png")
    outcome = snpe_srgan("data", "info", root, "--root", tmp_path / "data", "--json")
    assert outcome.json["pictures"] == outcome.json["with_lr"] == 1
    root = make(tmp_path / "L1", *LAYOUTS["unknown"])
    outcome = snpe_srgan("data", "prepare", root, "--crop", "48", "-o", tmp_path / "c", "--json")
    assert outcome.json["lr_from_files"] == 1 and "LR read from DIV2K_train_LR_unknown/X4" in outcome.err


def test_what_is_done_instead_is_said(tmp_path):
    root = make(tmp_path / "a", "HR/a.png", "=LR_bicubic/X2/ax2.png")
    found = find_set(root, scale=4, splits=("train",))
    assert found.origin == BICUBIC and "x2, not for x4" in found.remarks[0]
    root = make(
        tmp_path / "b", "HR/a.png", "=LR_bicubic/X4/ax4.png", "=LR_unknown/X4/ax4.png", "=LR_bicubic/X4/zx4.png"
    )
    found = find_set(root, scale=4, splits=("train",))
    assert "LR_bicubic" in found.origin
    assert [("unknown" in r, "1 LR picture" in r) for r in found.remarks] == [(True, False), (False, True)]
    root = make(tmp_path / "c", "HR/a.png", "cover.png")
    assert "outside the folders" in find_set(root, scale=4, splits=("train",)).remarks[0]
    root = make(tmp_path / "d", "photo.png", "lr/other.png")  # lr: Lightroom
    found = find_set(root, scale=4, splits=("train",))
    assert [f.hr.name for f in found.files] == ["photo.png"] and "lr" in found.remarks[0]


@pytest.mark.parametrize("names", [("=LR/a.png",), ("=LR_bicubic/X4/ax4.png",)])
@pytest.mark.parametrize("deeper", [False, True])
def test_lr_is_never_taken_for_hr(tmp_path, names, deeper):
    root = make(tmp_path / "set", *names)
    folder = (root / names[0].removeprefix("=")).parent if deeper else root
    for read in (find_pictures, lambda f: find_evaluation_set(f, scale=4)):
        with pytest.raises(InputError, match="LR pictures only"):
            read(folder)


def test_pictures_of_one_stem(tmp_path):
    """Told apart where LR is made, and by their suffix or folder where it is read; else refused by name."""
    root = make(tmp_path / "a", "a.png", "a.jpg", "x/a.png", "y/a.png", "b.png")
    names = [f.name for f in find_set(root, scale=4, splits=()).files]
    assert len(set(names)) == 5 and {"a_jpg", "b", "x_a_png", "y_a_png"} <= set(names)
    make(tmp_path / "b", "HR/a.png", "HR/a.jpg", "=LR/a.png", "=LR/a.jpg")
    pairs = {p.hr.name: p.lr.name for p in find_pictures(tmp_path / "b")}
    assert pairs == {"a.png": "a.png", "a.jpg": "a.jpg"}
    for name, other in (("c", "HR/a.jpg"), ("d", "HR/x/a.png")):
        make(tmp_path / name, "HR/a.png", other, "=LR/a.png")
        with pytest.raises(InputError, match="two HR pictures have one LR picture") as caught:
            find_pictures(tmp_path / name)
        assert "a.png" in caught.value.where and Path(other).name in caught.value.where


def test_names_are_distinct_whatever_they_are():
    paths = [Path(p) for p in ("a.png", "A.png", "x/a.png", "x/A.jpg", "a_png.png", "b/x/a.png", "c/x/a.png")]
    names = [n.casefold() for n in distinct_names(paths)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("lr", [(15, 12), (17, 12), (16, 11), (32, 24), (64, 48)])
def test_sizes_that_do_not_belong_together_name_both_files(tmp_path, lr):
    make(tmp_path / "s", "HR/a.png", "=LR/a.png")
    Image.new("RGB", lr[::-1]).save(tmp_path / "s/LR/a.png")
    ((hr,), evaluation) = find_pictures(tmp_path / "s"), find_evaluation_set(tmp_path / "s", scale=4)
    for read in (
        lambda: prepare([hr], tmp_path / "c", scale=4),
        lambda: list(evaluation),
        lambda: calibration_crops([tmp_path / "s"], scale=4, count=1),
    ):
        with pytest.raises(InputError, match="does not belong") as caught:
            read()
        assert "HR/a.png" in str(caught.value) and "LR/a.png" in str(caught.value)


def test_sizes_rounded_down_or_up_belong_together():
    hr = np.arange(41 * 30 * 3).reshape(41, 30, 3)
    for size in ((10, 7), (11, 8)):
        a, b = fit_pair(hr, np.zeros((*size, 3)), scale=4, hr_path=Path("a"), lr_path=Path("b"))
        assert a.shape == (40, 28, 3) and b.shape == (10, 7, 3) and (a == hr[:40, :28]).all()


def test_linked_folders_are_followed_once(tmp_path):
    root = make(tmp_path / "sym", "0001.png")
    make(tmp_path / "real", "0002.png", "deep/0003.png")
    (root / "link").symlink_to("../real")
    (root / "again").symlink_to("../real")
    (tmp_path / "real" / "back").symlink_to("../sym")
    (root / "self").symlink_to(".")
    (root / "same.png").symlink_to("0001.png")
    found = find(root, deep=True)
    assert [p.name for p in found.pictures] == ["0001.png", "0002.png", "0003.png"]
    assert found.passed.repeated == 4 and not found.passed.broken
    outcome = snpe_srgan("data", "info", root, "--root", tmp_path / "data", "--json")
    assert outcome.json["pictures"] == 3 and "4 links" in " ".join(outcome.json["remarks"])


def test_what_is_passed_over_is_counted_and_said(tmp_path):
    root = make(tmp_path / "p", "a.png", "sub/b.png", ".hidden/c.png")
    for name in ("notes.txt", "more.TXT", "LICENSE", ".DS_Store"):
        (root / name).write_text("")
    os.mkfifo(root / "pipe.png")
    (root / "dangling.png").symlink_to("nothing.png")
    (root / "loop.png").symlink_to("loop.png")
    found = find(root)
    assert [p.name for p in found.pictures] == ["a.png"]
    line = found.passed.line()
    for words in ("4 files of other kinds", "2 .txt", "2 hidden", "1 folder in it", "2 broken links", "-> nothing.png"):
        assert words in line, line
    assert "\n" not in line
    with pytest.raises(InputError, match=r"no picture in this folder.*2 files of other kinds"):
        (tmp_path / "q").mkdir()
        for name in ("a.txt", "b.txt"):
            (tmp_path / "q" / name).write_text("")
        find(tmp_path / "q")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_stops_nothing(tmp_path):
    root = make(tmp_path / "p", "a.png", "sub/b.png")
    (root / "sub").chmod(0)
    found = find(root, deep=True)
    assert len(found.pictures) == 1 and "sub" in found.passed.line()


@pytest.mark.parametrize("command", [("run",), ("data", "info"), ("data", "prepare"), ("evaluate", "bicubic")])
@pytest.mark.parametrize("name", ["dangling.png", "loop", "x" * 300, "a" * 5000, "nothing/at/all"])
def test_names_that_lead_nowhere_are_plain_errors(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    Path("dangling.png").symlink_to("nothing.png")
    Path("loop").symlink_to("loop")
    outcome = snpe_srgan(*command, name)
    assert_error(outcome, 1, "broken link" if name in ("dangling.png", "loop") else name[:20])
    assert "did you mean" not in outcome.err


def test_a_half_that_is_not_there(tmp_path):
    root = make(tmp_path, *LAYOUTS["div2k bicubic"])
    with pytest.raises(InputError, match="no split 'valid'"):
        find_evaluation_set(root, scale=4)


def test_every_kind_of_the_table_is_found(tmp_path):
    make(tmp_path, "a.png")
    for name in ("b.jfif", "C.JPE"):
        Image.new("RGB", (8, 8)).save(tmp_path / name, format="JPEG")
    assert [p.name for p in find(tmp_path).pictures] == ["a.png", "b.jfif", "C.JPE"]
