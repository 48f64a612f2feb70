"""`evaluate` and `quantize` on a Dask cluster: the numbers of one process, whatever dies."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import saved_mobile
from test_parallel import numbers, pictures

from snpe_srgan.errors import InputError, Remark, SnpeSrganError
from snpe_srgan.parallel import ordered

pytest.importorskip("distributed")

from snpe_srgan.cluster.crew import crew_of


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return saved_mobile(tmp_path_factory.mktemp("net") / "net.npz", width=8, depth=2)


def start(base: int) -> int:
    return base


def work(base: int, item) -> tuple[int, int]:
    if item == "killed once":
        mark = Path(os.environ["SNPE_SRGAN_TEST_MARK"])
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return base, os.getpid()
    if item == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "absent":
        raise FileNotFoundError(2, "not on this machine", "absent.png")
    if item == 100:
        raise InputError("a hundred is too many", where="item")
    if item == 5:
        warnings.warn(Remark("five is odd"), stacklevel=1)
    time.sleep(0.02 / (1 + item))
    return base + item * item, os.getpid()


def test_a_cluster_does_the_work_in_order_and_says_what_is_said_there(tmp_path, monkeypatch):
    monkeypatch.setenv("SNPE_SRGAN_TEST_MARK", str(tmp_path / "mark"))
    with crew_of("local:2") as crew:
        assert crew.size == 2
        with pytest.warns(Remark, match="five is odd"):
            found = list(ordered(work, range(12), jobs=crew, prepare=start, arguments=(1000,), weight=float))
        assert [value for value, _ in found] == [1000 + i * i for i in range(12)]
        assert os.getpid() not in {process for _, process in found}
        results = ordered(work, [1, 100, 2], jobs=crew, prepare=start, arguments=(0,))
        assert next(results)[0] == 1
        with pytest.raises(InputError, match="a hundred"):
            next(results)
        with pytest.raises(FileNotFoundError, match="not on this machine"):
            list(ordered(work, ["absent"], jobs=crew, prepare=start, arguments=(0,)))
        found = list(ordered(work, [1, "killed once", 2], jobs=crew, prepare=start, arguments=(7,)))
        assert [value for value, _ in found] == [8, 7, 11]
        with pytest.raises(SnpeSrganError, match="3 workers died"):
            list(ordered(work, ["deadly"], jobs=crew, prepare=start, arguments=(0,)))


@pytest.mark.parametrize("more", [[], ["--niqe"]])
def test_evaluate_gives_the_same_numbers_on_a_cluster(tmp_path, net, more):
    photos = pictures(tmp_path / "photos", 3)
    one, two = (
        snpe_srgan("evaluate", net, photos, "--json", *more, *where) for where in ([], ["--cluster", "local:2"])
    )
    assert one.code == two.code == 0, two
    assert numbers(one.json) == numbers(two.json)


def test_quantize_measures_the_same_on_a_cluster(tmp_path, net):
    photos = pictures(tmp_path / "photos", 2)
    reports = []
    for name, where in (("one", []), ("two", ["--cluster", "local:2"])):
        out = tmp_path / name
        outcome = snpe_srgan(
            "quantize", net, "--calibration", photos, "--evaluate", photos, "--count", "2", "--onnx-only", "--recipe",
            "auto", "--max-drop", "30", *where, "-o", out, "--json",
        )  # fmt: skip
        assert outcome.code == 0, outcome
        reports.append([p.read_bytes() for p in sorted(out.glob("*.json")) if not p.name.endswith(".onnx.json")])
    assert reports[0] == reports[1] and len(reports[0]) >= 3


def test_what_is_no_cluster_is_said(tmp_path, net, monkeypatch):
    photos = pictures(tmp_path / "photos", 1)
    assert_error(snpe_srgan("evaluate", net, photos, "--cluster", "lokal:2"), 2, "no cluster")
    assert_error(snpe_srgan("evaluate", net, photos, "--cluster", "local:2", "--jobs", "2"), 2, "--jobs")
    assert_error(snpe_srgan("quantize", net, "--cluster", "local:2", "--jobs", "1"), 2, "--jobs")
    assert_error(snpe_srgan("evaluate", net, photos, "--cluster", "local:1", "--on", "device"), 2, "--cluster")
    monkeypatch.setattr("snpe_srgan.cluster.clusters.installed", lambda package: False)
    assert_error(snpe_srgan("evaluate", net, photos, "--cluster", "local:1"), 3, "snpe-srgan[cluster]")
