"""The SDK's tools on paper: releases, options by version, argument lists, what is read from logs and raw files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from snpe_srgan.errors import InputError, MissingToolError, SnpeSrganError, UsageError
from snpe_srgan.toolchains.snpe import commands, logs, messages, operators, options, raw
from snpe_srgan.toolchains.snpe.commands import Wish
from snpe_srgan.toolchains.snpe.release import parse_release
from snpe_srgan.toolchains.snpe.sdk import PYTHON_VARIABLE, VARIABLES, find_sdk

OLD, ONE, TWO = parse_release("1.25.0.287"), parse_release("1.68.0.3932"), parse_release("2.10.0.4541")
QAIRT = parse_release("2.31.0.250130", qairt=True)
EVERY = pytest.mark.parametrize("release", [OLD, ONE, TWO, QAIRT], ids=str)


def words(command) -> str:
    return " ".join(command.arguments)


def make_sdk(root: Path, *tools: str, version: str | None = None) -> Path:
    for tool in tools or ("snpe-net-run",):
        path = root / "bin" / "x86_64-linux-clang" / tool
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/usr/bin/env python3\n")
    if version:
        (root / "sdk.yaml").write_text(f"name: qairt\nversion: {version}\n")
    return root


# -- finding one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number", "flavour"),
    [
        ("snpe-1.25.0.287", "1.25.0.287", "snpe1"),
        ("v2.9.0.4462", "2.9.0.4462", "snpe2"),
        ("SNPE v1.68.0", "1.68.0", "snpe1"),
    ],
)
def test_versions_are_read_from_names(text, number, flavour):
    release = parse_release(text)
    assert (release.number, release.flavour) == (number, flavour)


@pytest.mark.parametrize("text", ["snpe", "1.24.0", "3.0.0", ""])
def test_what_is_no_known_version_is_an_error(text):
    with pytest.raises(InputError, match="version"):
        parse_release(text)


def test_converters_want_the_python_of_their_time():
    assert "3.6" in ONE.pythons and "3.8" in TWO.pythons and QAIRT.pythons[0] == "3.10"


def test_an_sdk_is_found_by_variable_folder_name_and_yaml(tmp_path, monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingToolError, match="none is set up"):
        find_sdk()
    named = make_sdk(tmp_path / "snpe-1.68.0.3932")
    monkeypatch.setenv("SNPE_ROOT", str(named))
    assert str(find_sdk().release) == "SNPE 1.68.0.3932" and find_sdk().origin == "SNPE_ROOT"
    merged = make_sdk(tmp_path / "qairt", "qairt-converter", version="2.31.0.250130")
    assert str(find_sdk(merged).release) == "QAIRT 2.31.0.250130"
    assert find_sdk(merged).environment()["PYTHONPATH"].startswith(str(merged / "lib" / "python"))


def test_folders_that_are_no_sdk_say_what_they_are(tmp_path):
    with pytest.raises(MissingToolError, match="no folder"):
        find_sdk(tmp_path / "gone")
    inner = make_sdk(tmp_path / "download" / "snpe-2.10.0")
    with pytest.raises(MissingToolError, match=str(inner)):
        find_sdk(tmp_path / "download")
    with pytest.raises(MissingToolError, match="QNN alone"):
        find_sdk(make_sdk(tmp_path / "qnn-2.10.0", "qnn-net-run"))
    with pytest.raises(InputError, match="its version"):
        find_sdk(make_sdk(tmp_path / "nameless" / "sdk"))
    with pytest.raises(MissingToolError, match="snpe-diagview"):
        find_sdk(inner).tool("snpe-diagview")


def test_the_python_for_the_converters_is_named_or_fits(tmp_path, monkeypatch):
    sdk = find_sdk(make_sdk(tmp_path / "snpe-1.40.0"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"3\.6[\s\S]*" + PYTHON_VARIABLE):
        sdk.python()
    (tmp_path / "python3.5").write_text("#!/bin/sh\n")
    (tmp_path / "python3.5").chmod(0o755)
    assert sdk.python() == str(tmp_path / "python3.5")
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nothing"))
    with pytest.raises(MissingToolError, match="names no program"):
        sdk.python()


# -- argument lists ---------------------------------------------------------------------------------------------------


def test_the_tensorflow_converter_in_its_two_spellings():
    facts = {"network": "gan.pb", "dlc": "gan.dlc", "name": "lr", "size": (169, 255), "output": "sr"}
    old, new = commands.convert(OLD, **facts), commands.convert(ONE, **facts)
    assert str(old) == "snpe-tensorflow-to-dlc --graph gan.pb --input_dim lr 1,169,255,3 --out_node sr --dlc gan.dlc"
    assert str(new) == str(old).replace("--graph", "--input_network").replace("--dlc", "--output_path")
    assert commands.convert(TWO, **facts) == new
    merged = commands.convert(QAIRT, **facts)
    assert merged.tool == "qairt-converter" and "--source_model_input_shape lr 1,169,255,3" in words(merged)
    assert "--out_tensor_node sr" in words(merged)


def test_an_onnx_graph_is_said_to_be_nhwc():
    facts = {"network": "gan.ONNX", "dlc": "gan.dlc", "name": "lr", "size": (8, 8), "output": "sr"}
    assert "--input_layout lr NHWC" in words(commands.convert(TWO, **facts))
    assert "--source_model_input_layout lr NHWC" in words(commands.convert(QAIRT, **facts))
    with pytest.raises(UsageError, match=r"from 1\.50 on"):
        commands.convert(parse_release("1.40.0"), **facts)


@EVERY
def test_no_converter_is_told_a_colour_order(release):
    facts = {"network": "gan.pb", "dlc": "gan.dlc", "name": "lr", "size": (8, 8), "output": "sr"}
    assert not any("encoding" in word for word in commands.convert(release, **facts).arguments)


def test_quantizers_in_their_spellings():
    facts = {"dlc": "a.dlc", "input_list": "l.txt", "out": "b.dlc"}
    one = commands.quantize(ONE, **facts, wish=Wish(8, 16, cle=True, bc=True, per_channel=True), htp_socs=["sm8350"])
    assert one.tool == "snpe-dlc-quantize" and words(one) == (
        "--input_dlc=a.dlc --input_list=l.txt --output_dlc=b.dlc --weights_bitwidth=8 --act_bitwidth=16 "
        "--bias_bitwidth=32 --optimizations=cle --optimizations=bc --axis_quant --enable_htp --htp_socs=sm8350"
    )
    two = commands.quantize(TWO, **facts, wish=Wish(4, 16, cle=True, per_channel=True, overrides=True))
    assert two.tool == "snpe-dlc-quant" and words(two).endswith(
        "--weights_bitwidth=4 --act_bitwidth=16 --bias_bitwidth=32 --algorithms=cle --use_per_channel_quantization "
        "--override_params"
    )
    merged = commands.quantize(QAIRT, **facts, wish=Wish(cle=True, overrides=True))
    assert merged.tool == "qairt-quantizer" and "--apply_algorithms cle" in words(merged)
    assert "--override" not in words(merged)
    assert (
        words(commands.quantize(OLD, **facts, wish=Wish())) == "--input_dlc=a.dlc --input_list=l.txt --output_dlc=b.dlc"
    )


@pytest.mark.parametrize(
    ("release", "wish", "said"),
    [
        (TWO, Wish(bc=True), "1.x only"),
        (QAIRT, Wish(bc=True), "1.x only"),
        (ONE, Wish(weight_bits=4), "4 bits"),
        (OLD, Wish(per_channel=True), "from 1.50 on"),
        (OLD, Wish(activation_bits=16), "from 1.33 on"),
        (OLD, Wish(overrides=True), "from 1.48 on"),
    ],
)
def test_what_a_release_cannot_do_is_said(release, wish, said):
    with pytest.raises(UsageError, match=said):
        commands.quantize(release, dlc="a.dlc", input_list="l.txt", out="b.dlc", wish=wish)


def test_caches_are_made_by_the_tool_of_the_time():
    made = commands.graph_prepare(TWO, dlc="a.dlc", out="b.dlc", htp_socs=["sm8550", "sm8650"])
    assert words(made) == "--input_dlc=a.dlc --output_dlc=b.dlc --htp_socs=sm8550,sm8650"
    with pytest.raises(UsageError, match="its quantizer makes"):
        commands.graph_prepare(ONE, dlc="a.dlc", out="b.dlc", htp_socs=["sm8350"])


@EVERY
@pytest.mark.parametrize("runtime", commands.RUNTIMES)
def test_net_run_names_the_runtime_and_the_cpu_by_nothing(release, runtime):
    facts = {"container": "a.dlc", "input_list": "l.txt", "output_dir": "out"}
    made = commands.net_run(release, **facts, runtime=runtime, perf_profile="high_performance", profiling="detailed")
    flags = [word for word in made.arguments if word.startswith("--use_")]
    assert flags == ([] if runtime == "cpu" else [f"--use_{runtime}"])
    assert "--enable_cpu_fallback" not in made.arguments


def test_profiles_and_native_files_by_version():
    facts = {"container": "a.dlc", "input_list": "l.txt", "output_dir": "out"}
    with pytest.raises(UsageError, match="no performance profile 'burst'"):
        commands.net_run(OLD, **facts, perf_profile="burst")
    assert "--perf_profile burst" in words(commands.net_run(TWO, **facts, perf_profile="burst"))
    assert "--use_native_input_files" in words(commands.net_run(TWO, **facts, raw="uint8"))
    with pytest.raises(UsageError, match="float32"):
        commands.net_run(ONE, **facts, raw="uint8")
    with pytest.raises(UsageError, match="unknown runtime"):
        commands.net_run(TWO, **facts, runtime="npu")


def test_an_option_is_there_from_its_version_until_its_end():
    assert options.takes(parse_release("1.30.0"), "snpe-net-run", "--enable_init_cache")
    assert not options.takes(parse_release("2.45.0"), "snpe-net-run", "--enable_init_cache")
    assert not options.takes(TWO, "snpe-tensorflow-to-dlc", "--allow_unconsumed_nodes")


def test_operators_are_named_with_the_version_that_knows_them():
    operators.check_operators({"Conv": 3, "DepthToSpace": 1}, "onnx", OLD, where="here")
    operators.check_operators({"Conv2D": 3, "DepthToSpace": 1}, "tensorflow", OLD, where="here")
    with pytest.raises(InputError, match=r"SNPE 1.68[\s\S]*Gelu \(2x\), Nothing \(1x\)[\s\S]*Gelu from 2.0 on"):
        operators.check_operators({"Gelu": 2, "Conv": 1, "Nothing": 1}, "onnx", ONE, where="here")
    operators.check_operators({"Gelu": 2}, "onnx", QAIRT, where="here")
    with pytest.raises(InputError, match=r"quantized already[\s\S]*--overrides"):
        operators.check_operators({"QuantizeLinear": 2}, "onnx", QAIRT, where="here")


def test_what_goes_wrong_on_the_chip_is_remarked_before_the_conversion():
    shapes = {"x": (1, 2, 2, 4, 4, 3)}
    assert "6 dimensions" in operators.remarks(shapes, {}, (8, 8), TWO)[0]
    assert "depth_to_space" in operators.remarks({}, {"DepthToSpace": 1}, (400, 8), ONE)[0]
    assert operators.remarks({}, {"DepthToSpace": 1}, (400, 8), TWO) == []
    assert operators.remarks({}, {"DepthToSpace": 1}, (300, 8), ONE) == []


# -- what they say ----------------------------------------------------------------------------------------------------

TRACEBACK = """2024-10-13 16:56:14,218 - 230 - ERROR - Encountered Error: The following operators are not supported in \
frontend TFLite: 'GELU'

Traceback (most recent call last):
  File "/opt/qairt/2.27.0/bin/x86_64-linux-clang/snpe-tflite-to-dlc", line 52, in main
    converter = TFLiteConverterFrontend(args)
  File "/opt/qairt/2.27.0/lib/python/qti/aisw/converters/tflite/tflite_to_ir.py", line 24, in __init__
    super(TFLiteConverterFrontend, self).__init__(args,
"""


def test_a_converters_reason_is_found_above_its_traceback():
    failure = messages.read_failure(TRACEBACK)
    assert failure.lines == ("Encountered Error: The following operators are not supported in frontend TFLite: 'GELU'",)
    assert "newer one" in failure.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("ModuleNotFoundError: No module named 'tensorflow'", PYTHON_VARIABLE),
        ("error_code=311; error_message=Incomplete DLC is missing mandatory record: model", "another major version"),
        ("ERROR: Please use testsig if using unsigned images.", "skeleton"),
        ("The selected runtime is not available on this platform.", "snpe-srgan devices"),
        ("libSNPE.so: cannot open shared object file: No such file or directory", "unpacked whole"),
        ("Input dimension mismatch: expected 1x8x8x3", "--input-size"),
        ("write: No space left on device", "space"),
    ],
)
def test_known_failures_say_what_to_do(said, hint):
    assert hint in messages.hint_for(said)


DIAGVIEW = """Software library version: 2.9.0.4462

Init: 48856 us
De-Init: 6699 us

RPC Init Time: 0 NONE
Total Inference Time: 26458 us
Forward Propagate Time: 26448 us
RPC Execute Time: 0 us
Accelerator Time: 0 us

Layer Times:
---------------
0: 1419 us : CPU
1 (Name:conv Type:convolutional): 21 us : DSP
2: 900 cycles : DSP
"""


def test_diagview_is_read_to_the_layer():
    times = logs.parse_diagview(DIAGVIEW)
    assert (times.version, times.total_us, times.init_us, times.deinit_us) == ("2.9.0.4462", 26458, 48856, 6699)
    assert [(x.index, x.amount, x.unit, x.runtime) for x in times.layers] == [
        (0, 1419, "us", "CPU"), (1, 21, "us", "DSP"), (2, 900, "cycles", "DSP")
    ]  # fmt: skip
    with pytest.raises(SnpeSrganError, match="no total"):
        logs.parse_diagview("Interpreting file serialized with Flatbuffer\n")


@pytest.mark.shared
def test_real_outputs_are_read(shared_data):
    folder = shared_data / "snpe-samples"
    times = logs.parse_diagview((folder / "diagview_2.9_cpu.txt").read_text())
    assert times.total_us == 26458 and times.forward_us == 26448 and times.layers[-1].index == 100
    assert times.layers[0].runtime == "CPU" and times.init_us == 48856
    rate = logs.parse_throughput((folder / "throughput_2.9.txt").read_text())
    assert (rate.infers_per_second, rate.images, rate.build_us) == (1581.96, 15803, 657077)
    (layer,) = logs.parse_dlc_info((folder / "dlc_info_1.54_tail.txt").read_text())
    assert layer == logs.LayerInfo("t.1", "data", "A D G C") and not logs.not_on((layer,), "D")


# -- raw files --------------------------------------------------------------------------------------------------------


def test_raw_files_are_nhwc_float32_and_come_back(tmp_path, rng):
    port = raw.Port("lr", (1, 4, 5, 3))
    arrays = [rng.random(port.shape, dtype=np.float32) for _ in range(3)]
    listed, files = raw.write_raws(arrays, tmp_path / "in", port)
    assert listed.read_text().split() == [str(p.resolve()) for p in files]
    for path, array in zip(files, arrays, strict=True):
        np.testing.assert_array_equal(np.fromfile(path, "<f4").reshape(port.shape), array)
        np.testing.assert_array_equal(raw.from_raw(path.read_bytes(), port), array)


def test_integers_come_back_within_half_a_step(rng):
    port = raw.Port("lr", (1, 6, 5, 3), bits=8, scale=1 / 200, offset=-20)
    array = rng.uniform(-0.1, 1.1, port.shape).astype(np.float32)
    back = raw.from_raw(raw.to_raw(array, port, raw="uint8"), port, raw="uint8")
    assert np.abs(back - array).max() <= 0.5 / 200 + 1e-6
    with pytest.raises(InputError, match="not stored in 8 bits"):
        raw.to_raw(array, raw.Port("lr", port.shape), raw="uint8")


@pytest.mark.parametrize("name", ["sr", "sr:0"])
def test_results_are_found_by_their_tensor(tmp_path, name, rng):
    port = raw.Port(name, (1, 2, 2, 3))
    value = rng.random(port.shape, dtype=np.float32)
    folder = tmp_path / "Result_0"
    folder.mkdir()
    value.tofile(folder / "sr:0.raw")
    np.testing.assert_array_equal(raw.read_result(tmp_path, 0, port), value)
    (folder / "other.raw").write_bytes(b"123")
    np.testing.assert_array_equal(raw.read_result(tmp_path, 0, port), value)
    (folder / "sr:0.raw").write_bytes(b"12")
    with pytest.raises(SnpeSrganError, match=r"2 bytes, 48 were expected"):
        raw.read_result(tmp_path, 0, port)


def test_a_tool_that_succeeded_without_a_result_is_a_failure(tmp_path):
    said = "error_code=500; error_message=Target runtime is not available"
    with pytest.raises(SnpeSrganError, match=r"status 0[\s\S]*runtime is not available[\s\S]*devices"):
        raw.read_result(tmp_path, 0, raw.Port("sr", (1, 2, 2, 3)), said=said)


def test_folders_with_spaces_are_refused_before_the_tool_splits_them(tmp_path):
    with pytest.raises(InputError, match="space"):
        raw.input_list([tmp_path / "a.raw"], prefix="/my pictures")


@pytest.mark.parametrize("size", [(8, 8), (20, 7), (5, 30)])
def test_calibration_crops_are_cut_or_mirrored_to_the_networks_size(size, rng):
    from snpe_srgan.stages.quantize_sdk import fitted

    crop = rng.random((1, 9, 10, 3), dtype=np.float32)
    done = fitted(crop, size)
    assert done.shape == (1, *size, 3)
    kept = (min(size[0], 9), min(size[1], 10))
    np.testing.assert_array_equal(done[:, : kept[0], : kept[1]], crop[:, : kept[0], : kept[1]])
    assert set(np.unique(done)) <= set(np.unique(crop))


def test_option_names_are_plain_words():
    text = json.dumps(options.OPTIONS)
    assert " --" not in text and text.count('"--') > 100
