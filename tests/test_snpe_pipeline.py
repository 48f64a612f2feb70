"""The whole way with `--toolchain snpe`, on the stand-in SDK (`stand_in_sdk/README.md`): pictures come out of it.

Nothing here was tried on a real SDK: the tests hold the wrapper to the documents, and its results to our own engines.
"""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_onnx import Net, mobile
from helpers_sdk import HERE, Workshop
from PIL import Image

from snpe_srgan.artifacts.card import read_card
from snpe_srgan.dlc.reader import read
from snpe_srgan.errors import SnpeSrganError
from snpe_srgan.imaging.pictures import read_picture
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.snpe import commands
from snpe_srgan.toolchains.snpe.commands import Wish
from snpe_srgan.toolchains.snpe.release import parse_release
from snpe_srgan.toolchains.snpe.sdk import find_sdk
from snpe_srgan.zoo.resolve import resolve

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"the stand-in writes no .dlc: {qnn.available()}")
RELEASES = [parse_release(v) for v in ("1.25.0", "1.47.0", "1.68.0", "2.10.0")]
RELEASES.append(parse_release("2.31.0", qairt=True))
SIZE = "32x32"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        made = Workshop(tmp_path_factory.mktemp("sdk"), patch)
        made.sdk("2.31.0.250130", qairt=True)
        onnx.save(mobile((32, 32)), made.folder / "net.onnx")
        pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made.folder / "photo.png")
        yield made


@pytest.fixture(scope="module")
def quantized(workshop):
    """net.onnx converted and quantized by the stand-in QAIRT, in one command."""
    done = snpe_srgan(
        "convert", workshop.folder / "net.onnx", "--toolchain", "snpe", "--input-size", SIZE, "--quantize", "--recipe",
        "w8a8-cle-perchannel", "--calibration", "synthetic", "-o", workshop.folder / "out", "--soc", "636", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    return done.json


# -- the stand-in, held to the wrapper and to itself -------------------------------------------------------------------


@pytest.fixture
def arguments(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.delitem(sys.modules, "arguments", raising=False)
    import arguments

    return arguments


@pytest.mark.parametrize("release", RELEASES, ids=str)
def test_every_command_is_one_that_the_tool_of_that_version_takes(release, arguments):
    version, merged = release.version, release.flavour == "qairt"
    facts = {"dlc": "a.dlc", "name": "lr", "size": (8, 8), "output": "sr"}
    for network in ("a.pb", "a.onnx") if version >= (1, 50) else ("a.pb",):
        made = commands.convert(release, network=network, **facts)
        parse = arguments.qairt_converter if merged else lambda argv: arguments.converter(made.tool, version, argv)  # noqa: B023
        found = parse(list(made.arguments))
        assert (found.network, found.out, found.dims) == (network, "a.dlc", [["lr", "1,8,8,3"]])
    wishes = [Wish(), Wish(cle=version >= (1, 47))]
    if version >= (1, 50):
        wishes.append(Wish(8, 16, cle=True, bc=version < (2, 0), per_channel=True, overrides=True))
    for wish in wishes:
        made = commands.quantize(release, dlc="a.dlc", input_list="l", out="b.dlc", wish=wish)
        argv = list(made.arguments)
        found = arguments.qairt_quantizer(argv) if merged else arguments.quantizer(made.tool, version, argv)
        assert found["output_dlc"] == ["b.dlc"]
        assert found.get("algorithms", []) == [name for name in ("cle", "bc") if getattr(wish, name)]
    for runtime in commands.RUNTIMES:
        made = commands.net_run(
            release, container="a.dlc", input_list="l", output_dir="o", runtime=runtime, perf_profile="power_saver",
            profiling="detailed", raw="uint8" if version >= (2, 0) else "float32",
        )  # fmt: skip
        arguments.net_run(version, list(made.arguments))
        made = commands.throughput(release, container="a.dlc", seconds=3, runtime=runtime)
        arguments.throughput(list(made.arguments))


@pytest.mark.parametrize("argv", [["--contaner", "a"], ["--container"], ["--container", "a", "--use_npu"]])
def test_the_stand_in_refuses_what_the_real_tool_would(arguments, argv, capsys):
    with pytest.raises(SystemExit) as end:
        arguments.net_run((2, 10), argv)
    assert end.value.code == 1 and capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        arguments.converter("snpe-tensorflow-to-dlc", (2, 10), ["-i", "a.pb", "--allow_unconsumed_nodes"])
    assert end.value.code == 2


# -- the way -----------------------------------------------------------------------------------------------------------


@needs_wheel
def test_convert_and_quantize_write_files_that_are_checked(workshop, quantized):
    converted, made = quantized["convert"], quantized["quantize"]
    assert converted["release"] == "QAIRT 2.31.0.250130" and converted["input_size"] == [32, 32]
    assert converted["checks"][0]["against"] == "net.onnx"
    assert quantized["quantized_chips"][0]["runs"] == ["cpu", "gpu"]  # a Snapdragon 636 has no DSP runtime
    assert made["psnr_to_float"] > 30 and made["dlc_bytes"] < converted["dlc_bytes"]
    card = read_card(made["dlc"])
    assert card.tools["sdk"] == "QAIRT 2.31.0.250130" and card.quantization["cle"] and card.scale == 4
    tensors = read(made["dlc"]).graphs[0].tensors.values()
    assert any(t.quantized and t.encoding.axis is not None for t in tensors)  # per channel, as asked
    assert sorted(p.name for p in (workshop.folder / "out").iterdir() if p.is_dir()) == []  # no raws are left


@needs_wheel
def test_run_on_sdk_and_on_device_give_the_hosts_picture_and_leave_nothing(workshop, quantized):
    dlc, photo = quantized["quantize"]["dlc"], workshop.folder / "photo.png"
    pictures = {}
    workshop.phone()
    for name, options in {
        "host": ["--on", "host", "--engine", "onnxruntime"],
        "sdk": ["--on", "sdk"],
        "device": ["--on", "device", "--runtime", "dsp", "--perf-profile", "burst"],
    }.items():
        done = snpe_srgan("run", dlc, photo, "-o", workshop.folder / f"{name}.png", *options, "--json")
        assert done.code == 0, done.err
        assert done.json["pictures"][0]["tiles"] == 4
        pictures[name] = read_picture(workshop.folder / f"{name}.png").rgb.astype(int)
    assert "1a2b3c, DSP" in done.json["engine"] and done.json["times"]["total_us"] == 5000
    assert np.abs(pictures["sdk"] - pictures["host"]).max() <= 1 and (pictures["device"] == pictures["sdk"]).all()
    assert not [name for name in workshop.on_phone() if "/run-" in name]
    # Once there, libraries and model are not brought again; all four tiles went in one run.
    pushed = [call for call in workshop.adb_calls() if call[2:3] == ["push"]]
    from snpe_srgan.toolchains.snpe.adb import choose_phone
    from snpe_srgan.toolchains.snpe.device import Device

    device = Device(find_sdk(), choose_phone(), runtime="dsp")
    assert device.install() == [] and device.push_model(resolve(dlc).path) in {call[-1] for call in pushed}
    assert len([call for call in workshop.adb_calls() if call[2:3] == ["push"]]) == len(pushed)
    assert sum("snpe-net-run --" in call[-1] for call in workshop.adb_calls()) == 1


@needs_wheel
def test_benchmark_on_device_is_table_3_measured(workshop, quantized):
    workshop.phone(runtimes=("cpu", "dsp"), faults=["carriage returns"])
    done = snpe_srgan(
        "benchmark", quantized["quantize"]["dlc"], "--on", "device", "--runtimes", "dsp,gpu", "--runs", 2, "--json"
    )
    assert done.code == 0, done.err
    dsp, gpu = done.json["timings"]
    assert dsp["times"]["total_us"] == 5000 and dsp["per_second"] == 200.0 and dsp["bytes"] > 0
    assert len(dsp["layers"]) > 3 and dsp["layers"][0]["name"] and dsp["layers"][0]["runtime"] == "DSP"
    assert gpu["times"] is None and "not available" in gpu["reason"]
    assert done.json["phone"]["chip"] == "SM8550" and done.json["runs"] == 2


@needs_wheel
def test_our_own_encodings_go_through_the_sdk(workshop):
    from snpe_srgan.calibration.crops import calibration_crops
    from snpe_srgan.onnx_graphs.run import free_size
    from snpe_srgan.quantization.graph.overrides import overrides_json, overrides_model
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.steps.run import make_plan

    crops = calibration_crops(["synthetic"], scale=4, count=2, size=32)
    plan = make_plan(free_size(mobile((32, 32))), parse_recipe("w8a8-minmax"), scale=4, crops=crops).plan
    folder = workshop.folder / "overrides"
    folder.mkdir()
    onnx.save(overrides_model(plan), folder / "net.encodings.onnx")
    (folder / "net.encodings.json").write_text(json.dumps(overrides_json(plan)))
    done = snpe_srgan(
        "quantize", folder / "net.encodings.onnx", "--toolchain", "snpe", "--overrides", folder / "net.encodings.json",
        "--calibration", "synthetic", "--count", 2, "--input-size", SIZE, "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.json["dlc"].endswith("net_overrides.dlc")
    given = {round(e["scale"], 9) for (e, *_) in overrides_json(plan)["activation_encodings"].values()}
    stored = {
        round(float(t.encoding.scale[0]), 9)
        for t in read(done.json["dlc"]).graphs[0].tensors.values()
        if t.quantized and t.role == "native"
    }
    assert stored and all(min(abs(scale - g) for g in given) < 1e-8 for scale in stored)
    # Encodings of one model are refused for another.
    done = snpe_srgan("quantize", workshop.folder / "net.onnx", "--toolchain", "snpe", "--overrides", __file__)
    assert_error(done, 1)
    other = json.loads((folder / "net.encodings.json").read_text())
    other["activation_encodings"]["nothing"] = []
    (folder / "other.encodings.json").write_text(json.dumps(other))
    done = snpe_srgan(
        "quantize", folder / "net.encodings.onnx", "--toolchain", "snpe", "--overrides", folder / "other.encodings.json"
    )
    assert_error(done, 1, "'nothing' first", "other.encodings.onnx")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def unknown_operator(path):
    net = Net()
    x = net.op("Relu", net.conv(net.start(), 3, 48))
    x = net.op("Softsign", x)
    onnx.save(net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), (32, 32)), path)
    return path


def test_operators_are_checked_before_the_converter_is_started(workshop):
    path = unknown_operator(workshop.folder / "odd.onnx")
    done = snpe_srgan("convert", path, "--toolchain", "snpe", "--input-size", SIZE, "--dry-run")
    assert_error(done, 1, "Softsign (1x)", "--no-operator-check")
    done = snpe_srgan("convert", path, "--toolchain", "snpe", "--input-size", SIZE, "--dry-run", "--no-operator-check")
    assert done.code == 0 and "qairt-converter" in done.out


def test_a_dry_run_prints_the_commands_and_writes_nothing(workshop):
    before = sorted(workshop.folder.rglob("*"))
    done = snpe_srgan(
        "quantize", workshop.folder / "net.onnx", "--toolchain", "snpe", "--dry-run", "--recipe", "w8a16-cle",
        "--htp-socs", "SM8550,sm8650", "-o", workshop.folder / "dry",
    )  # fmt: skip
    assert done.code == 0, done.err
    converter, quantizer, prepare = (line for line in done.out.splitlines() if "/bin/x86_64-linux-clang/" in line
                                     and not line.startswith("export"))  # fmt: skip
    assert "qairt-converter --input_network" in converter and "--act_bitwidth 16" in quantizer
    assert "--htp_socs=sm8550,sm8650" in prepare and "export LD_LIBRARY_PATH=" in done.out
    assert sorted(workshop.folder.rglob("*")) == before


@needs_wheel
def test_a_converters_failure_is_told_in_its_words_with_what_to_do(workshop):
    done = snpe_srgan(
        "convert", workshop.folder / "net.onnx", "--toolchain", "snpe", "--input-size", "16x16", "-o",
        workshop.folder / "fails",
    )  # fmt: skip
    assert_error(done, 1, "qairt-converter failed (exit status 1)", "Dimension mismatch", "--input-size")
    assert not (workshop.folder / "fails").exists()


def test_a_tool_that_ends_with_0_and_wrote_nothing_is_a_failure(workshop, monkeypatch):
    monkeypatch.setenv("STAND_IN_SILENT_FAILURE", "qairt-converter")
    done = snpe_srgan(
        "convert", workshop.folder / "net.onnx", "--toolchain", "snpe", "--input-size", SIZE, "-o",
        workshop.folder / "silent",
    )  # fmt: skip
    assert_error(done, 1, "status 0", "wrote no file")
    assert not (workshop.folder / "silent").exists()


def test_a_file_that_is_no_dlc_is_a_failure_that_names_what_was_to_be(workshop, monkeypatch):
    tool = find_sdk().tool("qairt-converter")
    whole = tool.read_bytes()
    tool.write_text('#!/bin/sh\nfor a; do [ "$p" = --output_path ] && echo garbage > "$a"; p=$a; done\n')
    done = snpe_srgan(
        "convert", workshop.folder / "net.onnx", "--toolchain", "snpe", "--input-size", SIZE, "-o",
        workshop.folder / "garbage",
    )  # fmt: skip
    tool.write_bytes(whole)
    assert_error(done, 1, "cannot be read: not a .dlc", f"at: {workshop.folder / 'garbage' / 'net.dlc'}")
    assert not (workshop.folder / "garbage").exists()


def test_a_tool_that_hangs_is_ended(workshop):
    from snpe_srgan.toolchains.snpe.process import start

    with pytest.raises(SnpeSrganError, match=r"did not end within 0\.2 s"):
        start(["/bin/sh", "-c", "sleep 60 & wait"], timeout=0.2)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["convert", "NET", "--sdk", "x"], 2, ["--sdk", "qnn"]),
        (["convert", "NET", "--toolchain", "snpe", "--soc", "8 gen 99"], 2, ["not known"]),
        (["convert", "NET", "--toolchain", "snpe", "--onnx-only"], 2, ["--onnx-only"]),
        (["convert", "NET", "--toolchain", "snpe", "--sdk", "NET"], 3, ["--sdk names no folder"]),
        (["convert", "OUT/net.dlc", "--toolchain", "snpe"], 1, ["converted already"]),
        (["quantize", "NET", "--toolchain", "snpe", "--judge", "emulator"], 2, ["--judge"]),
        (["quantize", "NET", "--toolchain", "snpe", "--recipe", "w8a8-adaround"], 2, ["adaround", "--overrides"]),
        (["quantize", "NET", "--toolchain", "snpe", "--recipe", "w8a8-bc"], 2, ["1.x only"]),
        (["quantize", "NET", "--toolchain", "snpe", "--recipe", "w3a8"], 2, ["unknown recipe"]),
        (["quantize", "OUT/net_w8a8-cle-perchannel.dlc", "--toolchain", "snpe"], 1, ["quantized already"]),
        (["run", "NET", "PHOTO", "--on", "sdk"], 2, [".dlc files only", "--toolchain snpe"]),
        (["run", "OUT/net.dlc", "PHOTO", "--on", "sdk", "--runtime", "dsp"], 2, ["quantized models only"]),
        (["run", "OUT/net.dlc", "PHOTO", "--on", "sdk", "--serial", "x"], 2, ["--on device"]),
        (["run", "OUT/net.dlc", "PHOTO", "--on", "sdk", "--engine", "openvino"], 2, ["--engine"]),
        (["run", "OUT/net.dlc", "PHOTO", "--on", "sdk", "--raw", "uint8", "-o", "P.png"], 1, ["not stored in 8 bits"]),
        (["run", "OUT/net.dlc", "PHOTO", "--on", "sdk", "--perf-profile", "warp", "-o", "P.png"], 2, ["burst"]),
        (["run", "NET", "PHOTO", "--perf-profile", "burst"], 2, ["--perf-profile"]),
        (["run", "NET", "PHOTO", "--raw", "uint8"], 2, ["--raw"]),
        (["quantize", "NET", "--toolchain", "snpe", "--calibration", "none"], 2, ["needs pictures"]),
        (["quantize", "NET", "--toolchain", "snpe", "--calibration", "no-photos", "-o", "new"], 1, ["no-photos"]),
        (["quantize", "NET", "--toolchain", "snpe", "-o", "a b"], 1, ["space in it", "another -o"]),
        (["benchmark", "NET", "--on", "device", "--engines", "openvino"], 2, ["--engines"]),
        (["benchmark", "NET", "--layers"], 2, ["--layers"]),
    ],
)
@needs_wheel
def test_mistakes_are_answered_by_the_contract(workshop, quantized, arguments, code, words):
    names = {"NET": "net.onnx", "PHOTO": "photo.png", "OUT": "out", "P.png": "never.png"}
    first = [a.split("/")[0] for a in arguments]
    typed = [str(workshop.folder / a.replace(f, names[f], 1)) if f in names else a
             for a, f in zip(arguments, first, strict=True)]  # fmt: skip
    done = snpe_srgan(*typed)
    assert_error(done, code, *words)
    assert "converter" not in done.err and not (workshop.folder / "never.png").exists()


@pytest.mark.slow
@needs_wheel
def test_the_papers_way_with_snpe_1_68_from_npz_to_picture(tmp_path, monkeypatch):
    made = Workshop(tmp_path, monkeypatch)
    made.sdk("1.68.0.3932")
    Image.fromarray(np.full((30, 30, 3), 99, np.uint8)).save(tmp_path / "grey.png")
    done = snpe_srgan(
        "convert", "mobile", "--toolchain", "snpe", "--input-size", SIZE, "-o", tmp_path / "out", "--quantize",
        "--recipe", "w8a8-cle-bc", "--calibration", "synthetic", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "mobile_32x32.pb").is_file()
    assert "--optimizations=cle --optimizations=bc" in done.json["quantize"]["commands"][-1]
    (lr,) = read(done.json["convert"]["dlc"]).graphs[0].of_role("input")
    assert lr.name == "lr:0"  # TensorFlow names keep their ":0"
    dlc = done.json["quantize"]["dlc"]
    done = snpe_srgan("run", dlc, tmp_path / "grey.png", "-o", tmp_path / "sr.png", "--on", "sdk")
    assert done.code == 0, done.err
    assert abs(float(read_picture(tmp_path / "sr.png").rgb.mean()) - 99) < 6


@pytest.mark.slow
@needs_wheel
def test_the_main_job_goes_through_the_sdk_and_the_phone(workshop, tmp_path):
    from test_pipeline import TINY

    workshop.phone()
    (tmp_path / "tiny.yaml").write_text(TINY)
    settings = [f"--set={key}" for key in ("convert.toolchain=snpe", "run.on=device", "training.stages.0.steps=20")]
    done = snpe_srgan("pipeline", "-c", tmp_path / "tiny.yaml", "--run-dir", tmp_path / "run", *settings, "--json")
    assert done.code == 0, done.err
    for name in ("generator.dlc", "generator_w8a8.dlc"):
        assert read_card(tmp_path / "run" / name).tools["sdk"] == "QAIRT 2.31.0.250130"
    scores = json.loads((tmp_path / "run" / "evaluation_w8a8.json").read_text())
    assert scores["datasets"][0]["engine"] == "snpe-net-run on a phone"
    assert list((tmp_path / "run" / "pictures" / "quantized").rglob("*.png"))


@pytest.mark.slow
@needs_wheel
def test_integer_files_give_the_picture_of_float_files(workshop, quantized, tmp_path):
    from helpers_onnx import quantize

    onnx.save(quantize(mobile((32, 32))), tmp_path / "q.onnx")
    qnn.write_dlc(tmp_path / "q.onnx", tmp_path / "q.dlc", offload_io=True)
    pictures = []
    for raw in ("float32", "uint8"):
        out = tmp_path / f"{raw}.png"
        done = snpe_srgan(
            "run", tmp_path / "q.dlc", workshop.folder / "photo.png", "-o", out, "--on", "sdk", "--raw", raw
        )
        assert done.code == 0, done.err
        pictures.append(read_picture(out).rgb.astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_the_stand_in_says_what_it_is():
    assert "cannot find a mistake in" in " ".join((HERE / "README.md").read_text().split())
    assert shutil.which("adb") is None or "stand" not in shutil.which("adb")
