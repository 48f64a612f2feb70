"""Qualcomm's wheel behind its child process: what it writes, what it computes, and how its failures read."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import helpers_onnx as nets
import numpy as np
import onnx
import pytest

from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.toolchains import qnn, socs
from snpe_srgan.toolchains.qnn_process import Worker, meaningful_lines

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")
SIZE = (8, 8)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("qnn") / "srgan.onnx"
    onnx.save(nets.srgan(SIZE, blocks=1, width=4), path)
    return path


# -- the wheel is missing ---------------------------------------------------------------------------------------------


def test_missing_wheel_is_said_with_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "onnxruntime-qnn" in qnn.available()
    for call in (qnn.require, lambda: qnn.write_dlc("a.onnx", tmp_path / "b.dlc"), lambda: qnn.EmulatorSession(b"")):
        with pytest.raises(MissingToolError, match="pip install onnxruntime-qnn") as caught:
            call()
        assert caught.value.exit_code == 3


def test_importing_the_toolchain_loads_no_engine():
    code = "import sys, snpe_srgan.toolchains.qnn; sys.exit('onnx' in sys.modules or 'onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# -- the child process ------------------------------------------------------------------------------------------------


def child(code: str, **options) -> Worker:
    return Worker(subject="model.onnx", command=[sys.executable, "-c", code], **options)


def failure(worker: Worker) -> str:
    folder = worker.folder
    with pytest.raises(SnpeSrganError) as caught:
        worker.ask({"do": "close"})
    assert worker._process.poll() is not None and not folder.exists()
    assert "model.onnx" in str(caught.value)
    return str(caught.value)


def test_crash_is_one_error_that_quotes_the_childs_last_words():
    code = "import os, sys; print('# LIBNATIVE: x', 'graph is odd', sep='\\n', file=sys.stderr, flush=True); os.abort()"
    message = failure(child(code))
    assert "crashed (signal 6)" in message and "graph is odd" in message and "LIBNATIVE" not in message


def test_killed_child_points_to_memory():
    message = failure(child("import os; os.kill(os.getpid(), 9)"))
    assert "memory ran out" in message and "smaller input size" in message


def test_early_end_and_garbage_and_silence():
    assert "exit code 5" in failure(child("import sys; sys.exit(5)"))
    failure(child("print('x' * 100, flush=True)"))
    assert "no answer within 0.3 s" in failure(child("import time; time.sleep(60)", timeout=0.3))


def test_ctrl_c_ends_the_child(monkeypatch):
    worker = child("import time; time.sleep(60)")
    monkeypatch.setattr(worker._answers, "get", lambda timeout: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        worker.ask({"do": "close"})
    assert worker._process.poll() is not None and not worker.folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_child_ends_with_its_parent():
    """The parent is killed in mid-request; the child sees its standard input close."""
    code = (
        "import os; from snpe_srgan.toolchains.qnn_process import Worker\n"
        "worker = Worker(); print(worker._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True).stdout)
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.1)
    os.kill(pid, 9)
    pytest.fail("the child outlived its parent by 10 s")


def test_noise_is_dropped_and_prefixes_are_cut():
    log = (
        " # LIBNATIVE: No alternate configuration present\n\n"
        "\x1b[1;31m2026-11-23 10:37:45.4 [E:onnxruntime:, a.cc:1 F] QNN SetupBackend failed\x1b[m\n"
        "\x1b[1;31m2026-11-23 10:37:46.4 [E:onnxruntime:, a.cc:1 F] QNN SetupBackend failed\x1b[m\n"
        "<E> unexpected GraphHtpSettings option 66\n"
    )
    assert meaningful_lines(log) == ["QNN SetupBackend failed"]


# -- writing a .dlc ---------------------------------------------------------------------------------------------------


@needs_wheel
def test_dlc_is_written_whole_and_never_over_another(model_path, tmp_path):
    target = tmp_path / "new" / "x.dlc"
    info = qnn.write_dlc(model_path, target, soc_model="8 Gen 2")
    assert info.bytes == target.stat().st_size and info.soc.name == "SM8550"
    assert [t.name for t in info.inputs + info.outputs] == ["lr", "sr"] and info.inputs[0].dtype == "float32"
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(InputError, match="exists already"):
        qnn.write_dlc(model_path, target)


@needs_wheel
@pytest.mark.parametrize("content", ["text", "empty", "dynamic", "absent"])
def test_unfit_models_are_refused_before_the_child_starts(content, model_path, tmp_path, monkeypatch):
    path = tmp_path / "x.onnx"
    if content == "dynamic":
        model = onnx.load(model_path)
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
        onnx.save(model, path)
    elif content != "absent":
        path.write_bytes(b"no model" if content == "text" else b"")
    monkeypatch.setattr(qnn, "Worker", None)
    with pytest.raises(InputError) as caught:
        qnn.write_dlc(path, tmp_path / "x.dlc")
    assert content != "dynamic" or "--input-size" in str(caught.value)
    assert not (tmp_path / "x.dlc").exists()


@needs_wheel
def test_operator_that_the_chip_lacks_is_an_error_and_leaves_no_file(tmp_path):
    net = nets.Net()
    x = net.op("Det", net.op("Reshape", net.start(), net.const(np.array([3, 8, 8]))))
    onnx.save(net.model(net.op("Reshape", x, net.const(np.array([1, 3, 1, 1]))), (8, 8), scale=1), tmp_path / "x.onnx")
    with pytest.raises(SnpeSrganError) as caught:
        qnn.write_dlc(tmp_path / "x.onnx", tmp_path / "x.dlc")
    assert len(caught.value.lines()) == 3 and not (tmp_path / "x.dlc").exists()


# -- running and estimating -------------------------------------------------------------------------------------------


@needs_wheel
def test_emulator_keeps_one_child_for_many_tiles(model_path):
    tiles = [nets.lr_batch(SIZE, seed=n) for n in range(3)]
    with qnn.EmulatorSession(model_path) as emulator:
        pid = emulator._worker._process.pid
        results = [emulator.run(tile) for tile in [*tiles, tiles[0]]]
        assert emulator._worker._process.pid == pid
        with pytest.raises(SnpeSrganError, match="takes float32"):
            emulator.run(tiles[0][:, :4])
    assert np.array_equal(results[0], results[3]) and not np.array_equal(results[0], results[1])
    for tile, result in zip(tiles, results, strict=False):  # without a chip, float32 is computed as such
        assert np.abs(result - nets.run_cpu(onnx.load(model_path), tile)[0]).max() < 1e-5


@needs_wheel
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no CPU affinity on this system")
def test_workers_of_one_parent_spread_over_the_cpus_it_may_use(model_path):
    mine = os.sched_getaffinity(0)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(qnn.EmulatorSession(model_path)) for _ in range(min(len(mine), 2))]
        theirs = [os.sched_getaffinity(s._worker._process.pid) for s in sessions]
    assert all(len(cpus) == 1 for cpus in theirs) and len(set.union(*theirs)) == len(theirs)
    assert set.union(*theirs) <= mine == os.sched_getaffinity(0)


@needs_wheel
def test_emulator_takes_bytes_and_quiet_streams_stay_quiet(model_path, capfd):
    data = nets.quantize(onnx.load(model_path)).SerializeToString()
    lr = nets.lr_batch(SIZE)
    with qnn.EmulatorSession(data, soc_model=57) as emulator:
        sr = emulator.run(lr)
    error = sr - nets.run_cpu(onnx.load(model_path), lr)[0]
    assert 10 * np.log10(4 / np.mean(error**2)) > 25  # dB of a range of 2
    assert capfd.readouterr() == ("", "")


@needs_wheel
def test_closing_from_another_thread_ends_a_waiting_call(model_path):
    with qnn.EmulatorSession(model_path) as emulator:
        threading.Timer(0.2, emulator._worker._process.kill).start()
        with pytest.raises(SnpeSrganError, match="worker"):
            for _ in range(10000):
                emulator.run(nets.lr_batch(SIZE))


@needs_wheel
def test_estimate_lies_within_its_bounds_and_grows_with_the_picture(model_path, tmp_path):
    large = tmp_path / "large.onnx"
    onnx.save(nets.srgan((48, 64), blocks=1, width=4), large)
    small_cost, large_cost = qnn.estimate_cost(model_path), qnn.estimate_cost(large)
    assert small_cost.lower <= small_cost.microseconds <= small_cost.upper < large_cost.lower
    assert large_cost.source == "estimate of Qualcomm's cost model for SA8255P (Hexagon v73)"


@needs_wheel
@pytest.mark.parametrize(("bits", "said"), [(8, False), (16, True)])
def test_an_estimate_of_16_bits_says_what_contradicts_it(tmp_path, bits, said):
    path = tmp_path / "model.onnx"
    onnx.save(nets.quantize(nets.srgan(SIZE, blocks=1, width=4), bits=bits), path)
    assert ("contradict" in (qnn.estimate_cost(path).remark or "")) is said


def test_phone_chips_have_no_cost_model(model_path):
    if qnn.available() is None:
        with pytest.raises(SnpeSrganError, match="SA8255P"):
            qnn.estimate_cost(model_path, chip="SM8650")
    with pytest.raises(SnpeSrganError, match="gave no"):
        qnn.parse_estimate("", socs.find(52))


# -- the chips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [57, "57", "SM8650", "sm8650", "8 Gen 3", "Snapdragon 8 Gen 3"])
def test_chips_are_found_by_any_of_their_names(text):
    assert socs.find(text).name == "SM8650"


@pytest.mark.parametrize(("typo", "meant"), [("SM865O", "SM8650"), ("8 Gem 3", "8 Gen 3"), ("SA8255", "SA8255P")])
def test_misspelt_chips_are_answered_with_the_nearest(typo, meant):
    with pytest.raises(UsageError, match="did you mean") as caught:
        socs.find(typo)
    assert meant in caught.value.hint.split("?")[0]


def test_chips_are_unique():
    for key in ("id", "name"):
        values = [getattr(soc, key) for soc in socs.SOCS]
        assert len(set(values)) == len(values)
