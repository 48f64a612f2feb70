"""Work in several processes: in order, the same numbers, errors and remarks as in one, no process left behind."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import saved_mobile
from PIL import Image

from snpe_srgan.errors import InputError, Remark, SnpeSrganError
from snpe_srgan.parallel import no_idle, ordered


def start(base: int) -> int:
    return base


def work(base: int, item: int) -> tuple[int, int]:
    """Later items are quicker, so that results come out of order."""
    if item == 5:
        warnings.warn(Remark("five is odd"), stacklevel=1)
    if item == 100:
        raise InputError("a hundred is too many", where="item")
    if item == 200:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05 / (1 + item))
    return base + item * item, os.getpid()


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_are_in_order_and_remarks_arrive(jobs):
    with pytest.warns(Remark, match="five is odd"):
        found = list(ordered(work, range(12), jobs=jobs, prepare=start, arguments=(1000,)))
    assert [value for value, _ in found] == [1000 + i * i for i in range(12)]
    assert 1 <= len({process for _, process in found}) <= jobs  # one may do all while another starts
    assert (os.getpid() in {process for _, process in found}) == (jobs == 1)


def when(base: int, item: int) -> tuple[int, float]:
    begun = time.monotonic()
    time.sleep(0.05)
    return item, begun


def test_the_heaviest_of_the_last_few_begin_first_and_the_order_stays():
    items = [*range(20), 3, 1, 2, 9, 9, 9, 9, 0]
    found = list(ordered(when, items, jobs=2, prepare=start, arguments=(0,), weight=float))
    assert [item for item, _ in found] == items
    begun = [begun for _, begun in found]
    assert max(begun[23:27]) < begun[27] and max(begun[:18]) < min(begun[20:])  # the nines before the nought


def test_no_process_is_started_that_would_have_no_work(tmp_path, net):
    """One picture has all the cores; two of them share the cores of `--jobs 5`."""
    assert [no_idle(jobs, items) for jobs, items in ((5, 2), (2, 5), (5, 1), (1, 0))] == [2, 2, 1, 1]
    outcome = snpe_srgan("evaluate", net, pictures(tmp_path / "photos", 2), "--jobs", "5", "--limit", "1", "--json")
    assert outcome.code == 0 and len(outcome.json["datasets"][0]["pictures"]) == 1


def alive(process) -> bool:
    """Not one that has ended and waits to be asked for its exit code."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_errors_come_when_their_turn_does_and_leave_no_process():
    results = ordered(work, [1, 2, 100, 3], jobs=2, prepare=start, arguments=(0,))
    assert [next(results)[0], next(results)[0]] == [1, 4]
    with pytest.raises(InputError, match="a hundred"):
        next(results)
    with pytest.raises(SnpeSrganError, match="processes died"):
        list(ordered(work, [1, 200], jobs=2, prepare=start, arguments=(0,)))
    assert not [p for p in psutil.Process().children() if alive(p) and "spawn_main" in " ".join(p.cmdline())]


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return saved_mobile(tmp_path_factory.mktemp("net") / "net.npz", width=8, depth=2)


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 256, (14, 11, 3), np.uint8))
        small.resize((100 + 8 * index, 104), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def numbers(result: dict) -> list[object]:
    """All of an evaluation but the seconds."""
    return [[{**picture, "seconds": 0} for picture in data["pictures"]] + [data["mean"]] for data in result["datasets"]]


@pytest.mark.parametrize("more", [[], ["--niqe"]])
def test_evaluate_gives_the_same_numbers_and_pictures_whatever_the_number_of_processes(tmp_path, net, more):
    photos = pictures(tmp_path / "photos", 4)
    outcomes = []
    for jobs in ("1", "2"):
        save = [] if more else ["--save-images", tmp_path / jobs]
        outcomes.append(snpe_srgan("evaluate", net, photos, "--jobs", jobs, "--json", *save, *more))
        assert outcomes[-1].code == 0, outcomes[-1]
    one, two = (numbers(outcome.json) for outcome in outcomes)
    assert one == two
    if not more:
        saved = [sorted((tmp_path / jobs / "photos").iterdir()) for jobs in ("1", "2")]
        assert [p.read_bytes() for p in saved[0]] == [p.read_bytes() for p in saved[1]] and len(saved[0]) == 4


def test_a_bad_picture_is_the_same_error_in_another_process(tmp_path, net):
    photos = pictures(tmp_path / "photos", 2)
    (photos / "0.png").write_bytes((photos / "1.png").read_bytes()[:300])
    assert_error(snpe_srgan("evaluate", net, photos, "--jobs", "2"), 1, "0.png", "damaged")
    assert_error(snpe_srgan("evaluate", net, photos, "--jobs", "2", "--on", "device"), 2, "--jobs")
    assert_error(snpe_srgan("evaluate", net, photos, "--jobs", "0"), 2)


def test_quantize_measures_the_same_in_two_processes(tmp_path, net):
    """The sensitivity of each layer, and the ladder's recipes: tried ahead, chosen in order."""
    photos = pictures(tmp_path / "photos", 2)
    reports = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        outcome = snpe_srgan(
            "quantize", net, "--calibration", photos, "--evaluate", photos, "--count", "2", "--onnx-only", "--recipe",
            "auto", "--max-drop", "30", "--jobs", jobs, "-o", out, "--json",
        )  # fmt: skip
        assert outcome.code == 0, outcome
        reports.append([p.read_bytes() for p in sorted(out.glob("*.json")) if not p.name.endswith(".onnx.json")])
        assert [t["recipe"] for t in outcome.json["tries"]] == ["w8a8-plain"]
    assert reports[0] == reports[1] and len(reports[0]) >= 3
