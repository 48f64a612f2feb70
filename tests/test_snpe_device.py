"""A phone over adb, on the stand-in: what is wrong with it is told apart, and nothing stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers_dlc import TINY
from helpers_sdk import Workshop
from PIL import Image

from snpe_srgan.errors import MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.toolchains.snpe.adb import choose_phone
from snpe_srgan.toolchains.snpe.device import ROOT, Device, runtime_files
from snpe_srgan.toolchains.snpe.sdk import find_sdk


@pytest.fixture
def workshop(tmp_path, monkeypatch):
    return Workshop(tmp_path, monkeypatch)


@pytest.fixture
def run(workshop):
    """Runs something that stands for a .dlc on the phone: every fault here strikes before it would be read."""
    (workshop.folder / "net.dlc").write_bytes(b"a model")
    (workshop.folder / "lr_0.raw").write_bytes(bytes(48))

    def run(runtime: str = "dsp"):
        device = Device(find_sdk(), choose_phone(), runtime=runtime)
        raws = [workshop.folder / "lr_0.raw"]
        return device.net_run(workshop.folder / "net.dlc", raws, workshop.folder, perf_profile=None)

    return run


# -- which phone -------------------------------------------------------------------------------------------------------


def test_no_adb_and_no_phone_are_told_apart(workshop, monkeypatch):
    monkeypatch.setenv("PATH", str(workshop.folder))
    with pytest.raises(MissingToolError, match=r"not on the PATH[\s\S]*platform-tools"):
        choose_phone()
    monkeypatch.undo()


def test_a_phone_is_chosen_by_serial_variable_or_being_the_only_one(workshop, monkeypatch):
    workshop.phone("aaaa")
    assert choose_phone().serial == "aaaa"
    workshop.phone("bbbb")
    with pytest.raises(UsageError, match="2 phones"):
        choose_phone()
    monkeypatch.setenv("ANDROID_SERIAL", "aaaa")
    assert choose_phone("bbbb").serial == "bbbb" and choose_phone().serial == "aaaa"
    with pytest.raises(MissingToolError, match="did you mean 'bbbb'"):
        choose_phone("bbbc")


@pytest.mark.parametrize(
    ("state", "said"),
    [("unauthorized", "Allow USB debugging"), ("offline", "adb reconnect"), ("sideload", "boot it")],
)
def test_phones_that_are_not_ready_say_why(workshop, state, said):
    workshop.phone(state=state)
    with pytest.raises(MissingToolError, match=said) as error:
        choose_phone()
    assert error.value.exit_code == 3


# -- what is brought there ---------------------------------------------------------------------------------------------


def test_only_what_a_runtime_and_chip_need_goes_to_the_phone(workshop):
    workshop.sdk("2.10.0.4541")
    sdk = find_sdk()
    assert set(runtime_files(sdk, "cpu")) == {
        "bin/snpe-net-run", "bin/snpe-throughput-net-run", "lib/libSNPE.so", "lib/libc++_shared.so"
    }  # fmt: skip
    chosen = runtime_files(sdk, "dsp", hexagon=73)
    assert "dsp/libSnpeHtpV73Skel.so" in chosen and "lib/libSnpeHtpPrepare.so" in chosen
    assert not [name for name in chosen if "V69" in name or "V75" in name]
    assert "dsp/libSnpeHtpV69Skel.so" in runtime_files(sdk, "dsp")
    with pytest.raises(MissingToolError, match="Hexagon v81"):
        runtime_files(sdk, "dsp", hexagon=81)


def test_snpe_1_has_its_folders_named_after_the_compiler(workshop):
    workshop.sdk("1.68.0.3932")
    chosen = runtime_files(find_sdk(), "dsp")
    assert chosen["lib/libSNPE.so"].parent.name == "aarch64-android-clang8.0"
    assert "dsp/libsnpe_dsp_v66_domains_v2_skel.so" in chosen


def test_what_is_there_is_known_by_its_checksum(workshop):
    workshop.sdk("2.10.0.4541")
    folder = workshop.phone()
    device = Device(find_sdk(), choose_phone(), runtime="cpu")
    assert len(device.install()) == 4
    library = folder / "files" / device.base.lstrip("/") / "lib" / "libSNPE.so"
    library.write_text("changed")
    assert Device(find_sdk(), choose_phone(), runtime="cpu").install() == ["lib/libSNPE.so"]
    assert library.read_text() == "lib/aarch64-android/libSNPE.so"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phone", "said"),
    [
        ({"free_kb": 0}, r"no space left on the phone[\s\S]*MB are free"),
        ({"faults": ["full while writing"]}, r"no space left on the phone[\s\S]*delete what"),
        ({"faults": ["damages"]}, "did not arrive whole"),
        ({"faults": ["unplugged"]}, "lost the phone"),
        ({"faults": ["silent"]}, r"status 0\) but wrote no result"),
        ({"runtimes": ("cpu",)}, r"exit status 1\)[\s\S]*not available[\s\S]*snpe-srgan devices"),
    ],
    ids=["no space", "full while writing", "damaged", "unplugged", "returns 0 and failed", "no such runtime"],
)
def test_faults_are_told_apart_and_nothing_stays_behind(workshop, run, phone, said):
    workshop.sdk("2.10.0.4541")
    workshop.phone(**phone)
    with pytest.raises(SnpeSrganError, match=said):
        run()
    assert not [name for name in workshop.on_phone() if "/run-" in name]


def test_a_folder_that_cannot_be_made_is_told(workshop):
    workshop.sdk("2.10.0.4541")
    folder = workshop.phone()
    (folder / "files" / ROOT.lstrip("/")).write_text("a file in the way")
    with pytest.raises(SnpeSrganError, match=r"mkdir on the phone failed \(exit status 1\)"):
        Device(find_sdk(), choose_phone(), runtime="cpu").install()


def test_many_files_are_looked_at_without_naming_them_all(workshop):
    workshop.phone()
    files = {f"lr_{i}.raw": workshop.folder / f"lr_{i}.raw" for i in range(250)}
    for index, path in enumerate(files.values()):
        path.write_bytes(bytes([index]))
    phone = choose_phone()
    assert len(phone.push(files, f"{ROOT}/run-1")) == 250 and phone.push(files, f"{ROOT}/run-1") == []
    assert max(len(call[-1]) for call in workshop.adb_calls() if "shell" in call) < 4096


def test_a_chip_that_is_known_to_lack_the_runtime_is_refused_before_anything_is_brought(workshop, run):
    workshop.sdk("1.68.0.3932")
    workshop.phone(chip="sdm636")
    with pytest.raises(SnpeSrganError, match=r"Snapdragon 636[\s\S]*no DSP runtime[\s\S]*--runtime cpu or gpu"):
        run()
    assert workshop.on_phone() == []


def test_a_dsp_without_its_skeleton_is_told(workshop, run):
    sdk = workshop.sdk("2.10.0.4541")
    (sdk / "lib" / "hexagon-v73" / "unsigned" / "libSnpeHtpV73Skel.so").rename(
        sdk / "lib" / "hexagon-v73" / "unsigned" / "libSnpeHtpV73Other.so"
    )
    workshop.phone()
    with pytest.raises(SnpeSrganError, match=r"testsig[\s\S]*skeleton"):
        run()


def test_the_dsps_variable_is_quoted_and_separated_by_semicolons(workshop):
    workshop.sdk("2.10.0.4541")
    workshop.phone()
    environment = Device(find_sdk(), choose_phone()).environment()
    assert f'ADSP_LIBRARY_PATH="{ROOT}/snpe2-2.10.0.4541/dsp;/system/lib/rfsa/adsp;' in environment
    assert "LD_LIBRARY_PATH" in environment


def test_a_dry_run_names_every_folder_that_is_written_to(workshop):
    workshop.sdk("2.10.0.4541")
    workshop.phone()
    (workshop.folder / "net.dlc").write_bytes(b"a model")
    lines = Device(find_sdk(), choose_phone()).plan(workshop.folder / "net.dlc", perf_profile=None)
    made = lines[0].split("mkdir -p ")[1].split()
    pushed = [line.split()[-1] for line in lines if " push " in line]
    assert {name.rstrip("/") if name.endswith("/") else name.rsplit("/", 1)[0] for name in pushed} == set(made)


# -- what ends from outside --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
def test_a_signal_ends_the_tool_that_was_started_too(workshop, number):
    sdk, told = workshop.sdk("2.10.0.4541"), workshop.folder / "pids"
    tool = sdk / "bin" / "x86_64-linux-clang" / "snpe-net-run"
    tool.write_text(f'#!/bin/sh\nsleep 300 &\necho $$ $! > {told}.part; mv {told}.part {told}\nwait\n')  # fmt: skip
    Image.new("RGB", (8, 6)).save(workshop.folder / "photo.png")
    command = [sys.executable, "-m", "snpe_srgan", "run", str(TINY), str(workshop.folder / "photo.png"), "--on", "sdk"]
    command += ["-o", str(workshop.folder / "sr.png"), "--json"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wait_for(lambda: told.exists() or started.poll() is not None)
    started.send_signal(number)
    said = json.loads(started.communicate(timeout=60)[0])
    assert started.returncode == said["exit_code"] == 128 + number
    for pid in map(int, told.read_text().split()):
        wait_for(lambda pid=pid: gone(pid))
    assert not (workshop.folder / "sr.png").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_while_a_tool_is_being_started_leaves_none_behind(monkeypatch, number):
    """The signal comes inside `Popen`, when the process runs and nobody holds it yet."""
    from snpe_srgan.toolchains.snpe import process

    class Interrupted(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupted

    started = []

    class Popen(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(number)

    monkeypatch.setattr(process.subprocess, "Popen", Popen)
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(Interrupted):
            process.start(["sleep", "300"], timeout=None)
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert len(started) == 1 and gone(started[0])


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Ended, whether or not somebody has collected it yet."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
