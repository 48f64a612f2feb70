"""Cache and batches: aligned crops, a pure function of (seed, step), and no half-made cache that looks finished."""

import collections
import concurrent.futures
import itertools
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from snpe_srgan.data import cache as cache_module
from snpe_srgan.data.batches import Batches, prefetch, turn
from snpe_srgan.data.cache import open_cache, prepare
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.data.stored import INDEX
from snpe_srgan.errors import InputError, UsageError
from snpe_srgan.imaging.bicubic import downscale

SCALE = 4
SIZES = [(64, 96), (50, 70), (128, 64), (48, 48)]  # the second is no multiple of the scale


@pytest.fixture
def photos(tmp_path, rng):
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, (height, width) in enumerate(SIZES):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def cache(photos, tmp_path):
    return prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE)


def batches(cache, **changes):
    return Batches(cache, **{"batch_size": 8, "crop": 32, "seed": 1, **changes})


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# --- the cache


def test_cache_holds_the_pictures(cache, photos):
    for i, (height, width) in enumerate(SIZES):
        hr = np.asarray(Image.open(photos / f"{i}.png"))[: height - height % SCALE, : width - width % SCALE]
        np.testing.assert_array_equal(cache.hr(i), hr)
        np.testing.assert_array_equal(cache.lr(i), downscale(hr, SCALE))


def test_lr_folder_is_used_when_there_is_one(tmp_path, rng):
    hr, lr = rng.integers(0, 256, (32, 48, 3), np.uint8), rng.integers(0, 256, (8, 12, 3), np.uint8)
    for name, pixels in (("HR/a.png", hr), ("LRx4/a.png", lr)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(pixels).save(tmp_path / name)
    cache = prepare(find_pictures(tmp_path), tmp_path / "cache", scale=4)
    np.testing.assert_array_equal(cache.lr(0), lr)


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    values = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    cache = prepare(find_pictures(tmp_path), tmp_path / "cache", scale=4)
    np.testing.assert_array_equal(cache.hr(0)[..., 0], np.round(values / 257))


def test_unchanged_source_is_not_decoded_again(cache, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_decode", None)
    assert prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE) == cache


@pytest.mark.parametrize("change", ["edit", "add", "scale"])
def test_changed_source_is_prepared_anew(cache, photos, tmp_path, change):
    if change == "edit":
        Image.new("RGB", (64, 64)).save(photos / "0.png")
    elif change == "add":
        Image.new("RGB", (64, 64)).save(photos / "new.png")
    scale = 2 if change == "scale" else SCALE
    assert prepare(find_pictures(photos), tmp_path / "cache", scale=scale).key != cache.key


@pytest.mark.parametrize("victim", ["hr.bin", "lr.bin", INDEX])
def test_damaged_cache_is_noticed_and_made_again(cache, photos, tmp_path, victim):
    os.truncate(cache.folder / victim, 10)
    with pytest.raises(InputError):
        open_cache(cache.folder)
    again = prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE)
    assert again == cache and np.array_equal(again.hr(0), np.asarray(Image.open(photos / "0.png")))


def test_kill_in_the_middle_leaves_nothing_that_looks_finished(photos, tmp_path, monkeypatch):
    decode, decoded = cache_module._decode, []

    def dies_at_the_third(pair, *args):
        if len(decoded) == 2:
            raise KeyboardInterrupt
        decoded.append(pair)
        return decode(pair, *args)

    def run(stand_in):
        monkeypatch.setattr(cache_module, "_decode", stand_in)
        return prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE, workers=1)

    with pytest.raises(KeyboardInterrupt):
        run(dies_at_the_third)
    (part,) = (tmp_path / "cache").iterdir()
    assert part.suffix == ".part" and not (part / INDEX).exists()
    # The second run decodes what is missing, and what the CRC does not confirm.
    with open(part / "hr.bin", "r+b") as file:
        file.write(b"\0" * 100)
    decoded.clear()
    cache = run(lambda pair, *args: decoded.append(pair.name) or decode(pair, *args))
    assert decoded == ["0.png", "2.png", "3.png"] and [p.name for p in (tmp_path / "cache").iterdir()] == [cache.key]
    np.testing.assert_array_equal(cache.hr(0), Image.open(photos / "0.png"))


def test_two_processes_may_prepare_the_same_set(photos, tmp_path, monkeypatch):
    decode, together, late = cache_module._decode, threading.Barrier(2), threading.Lock()

    def meets(pair, *args):
        if pair.name == "0.png":
            together.wait(10)
        if pair.name == "3.png" and not late.acquire(blocking=False):
            time.sleep(0.2)  # finds its folder renamed
        return decode(pair, *args)

    monkeypatch.setattr(cache_module, "_decode", meets)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        args = find_pictures(photos), tmp_path / "cache"
        first, second = (pool.submit(prepare, *args, scale=SCALE, workers=1) for _ in range(2))
    assert first.result() == second.result()
    np.testing.assert_array_equal(second.result().hr(3), Image.open(photos / "3.png"))
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [first.result().key]


def test_bad_pictures_are_all_named(photos, tmp_path):
    for name in ("1.png", "3.png"):
        data = (photos / name).read_bytes()
        (photos / name).write_bytes(data[: len(data) // 2])
    (photos / "text.png").write_text("not a picture")
    for names in (["text.png"], ["1.png", "3.png"]):  # headers first, then pixels
        with pytest.raises(InputError) as caught:
            prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE)
        assert all(name in caught.value.where for name in names)
        (photos / "text.png").unlink(missing_ok=True)


def test_small_picture_is_named_with_the_crop(photos, tmp_path):
    for _ in range(2):  # before the cache is made, and when a finished one meets a larger crop
        with pytest.raises(InputError, match="2 of 4 pictures: smaller than the 56x56 crop") as caught:
            prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE, min_size=56)
        assert "1.png (48x68); 3.png (48x48)" in caught.value.where and "48" in caught.value.hint
        prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_turned_photo_is_cached_upright(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 40)).save(tmp_path / f"a.{suffix}", exif=exif)
    cache = prepare(find_pictures(tmp_path), tmp_path / "cache", scale=4)
    assert cache.hr(0).shape == (96, 40, 3) and cache.lr(0).shape == (24, 10, 3)


def test_full_disk_is_an_error_before_any_decoding(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="are free"):
        prepare(find_pictures(photos), tmp_path / "cache", scale=SCALE)


def test_lr_of_the_wrong_size_is_named(tmp_path):
    for name, size in (("HR/a.png", (32, 32)), ("LRx4/a.png", (9, 8))):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", size).save(tmp_path / name)
    with pytest.raises(InputError, match=r"8x9.*32x32"):
        prepare(find_pictures(tmp_path), tmp_path / "cache", scale=4)


# --- the batches


def test_crops_are_slices_of_the_cache(cache):
    sampler = batches(cache, augment=False)
    lr, hr = sampler.batch(5)
    assert lr.shape == (8, 8, 8, 3) and hr.shape == (8, 32, 32, 3)
    for i, c in enumerate(sampler.crops(5)):
        np.testing.assert_array_equal(lr[i], cache.lr(c.picture)[c.top : c.top + 8, c.left : c.left + 8])
        top, left = c.top * SCALE, c.left * SCALE
        np.testing.assert_array_equal(hr[i], cache.hr(c.picture)[top : top + 32, left : left + 32])


def test_lr_crop_is_the_bicubic_of_its_hr_crop_away_from_the_border(cache):
    # Holds under every flip and rotation: the kernel is symmetric. +-1: the two passes round in another order.
    sampler = batches(cache, crop=48, batch_size=32)
    margin = 2  # LR pixels the kernel reaches over the crop's border
    for lr, hr in map(sampler.batch, range(4)):
        for a, b in zip(lr, hr, strict=True):
            inner = (slice(margin, -margin),) * 2
            assert np.abs(a[inner].astype(int) - downscale(b, SCALE)[inner]).max() <= 1


def test_batch_is_a_pure_function_of_seed_and_step(cache):
    first, second = batches(cache), batches(cache)
    for step in (3, 0, 3, 1000):  # in any order, as often as one likes
        assert same(first.batch(step), second.batch(step))
    assert not same(first.batch(3), first.batch(4))
    assert not same(first.batch(3), batches(cache, seed=2).batch(3))
    assert not same(first.batch(3), batches(cache, seed=-1).batch(3))


def test_all_eight_turns_occur_and_differ(cache):
    seen = {c.turn for step in range(20) for c in batches(cache).crops(step)}
    assert seen == set(range(8))
    picture = cache.hr(0)[:32, :32]
    assert len({turn(picture, k).tobytes() for k in seen}) == 8
    assert {c.turn for c in batches(cache, augment=False).crops(0)} == {0}


def test_pictures_are_drawn_by_area_and_positions_uniformly(cache):
    crops = [c for step in range(2000) for c in batches(cache, crop=48).crops(step)]
    counts = collections.Counter(c.picture for c in crops)
    areas = np.array([p.height * p.width for p in cache.pictures], float)
    np.testing.assert_allclose([counts[i] / len(crops) for i in range(4)], areas / areas.sum(), atol=0.01)
    tops = collections.Counter(c.top for c in crops if c.picture == 2)  # 32 LR rows, a crop of 12: 21 places
    assert len(tops) == 21 and max(tops.values()) < 1.4 * min(tops.values())


def test_workers_together_see_the_whole_batch(cache):
    whole = batches(cache)
    parts = [whole.shard(i, 2).batch(7) for i in range(2)]
    assert all(
        np.array_equal(w[i::2], p) for i, part in enumerate(parts) for w, p in zip(whole.batch(7), part, strict=True)
    )
    with pytest.raises(UsageError):
        whole.shard(0, 3)


@pytest.mark.parametrize("changes", [{"crop": 30}, {"crop": 0}, {"batch_size": 0}])
def test_impossible_batches_are_refused(cache, changes):
    with pytest.raises(UsageError):
        batches(cache, **changes)


def test_prefetch_is_the_sequence_of_batches(cache):
    made = list(prefetch(batches(cache), 3, 9, depth=2))
    assert len(made) == 6 and all(same(b, batches(cache).batch(3 + i)) for i, b in enumerate(made))


def test_prefetch_stops_when_its_reader_does(cache):
    reader = prefetch(batches(cache), 0)
    assert len(list(itertools.islice(reader, 3))) == 3
    reader.close()
    deadline = time.monotonic() + 5
    while any(t.name == "prefetch" for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(t.name == "prefetch" for t in threading.enumerate())


def test_prefetch_passes_errors_on(cache):
    class Broken:
        def batch(self, step):
            raise InputError("broken")

        def close(self):
            pass

    with pytest.raises(InputError, match="broken"):
        next(prefetch(Broken(), 0))


# --- the sources


def test_sources_can_be_joined_and_are_not_counted_twice(photos):
    assert len(find_pictures([photos, photos.parent])) == len(SIZES)  # the second is searched recursively


def test_missing_sources_say_what_to_type(tmp_path):
    with pytest.raises(InputError, match="data sample -o"):
        find_pictures("sample", root=tmp_path)
    with pytest.raises(InputError, match="data download -o"):
        find_pictures("div2k", root=tmp_path)
    with pytest.raises(InputError, match="no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(InputError, match="no such"):
        find_pictures(tmp_path / "nowhere")


def test_hole_in_an_lr_folder_is_named(tmp_path):
    for name in ("HR/a.png", "HR/b.png", "LRx4/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    with pytest.raises(InputError, match="1 of 2 HR pictures have no LR picture: b"):
        find_pictures(tmp_path)
