"""Chips as data, what of a .dlc runs on them, and graphs compiled for them."""

from __future__ import annotations

import json

import helpers_onnx as nets
import onnx
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_dlc import TINY, repack
from helpers_dlc_v3 import small_network, write_v3

from snpe_srgan.dlc.container import Container
from snpe_srgan.dlc.describe import describe
from snpe_srgan.dlc.pack import pack
from snpe_srgan.dlc.reader import read
from snpe_srgan.errors import SnpeSrganError, UsageError
from snpe_srgan.toolchains import chips, qnn, socs
from snpe_srgan.toolchains.fit import bits, check
from snpe_srgan.toolchains.qnn_caches import add_caches
from snpe_srgan.toolchains.qnn_process import Worker

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["636", "630", "450"])
def test_the_small_chips_of_table_1_have_no_dsp(name):
    assert chips.find(name).runtimes == ("cpu", "gpu") and chips.find(name).table_1


def test_of_table_1_only_the_855_has_the_tensor_accelerator():
    assert [chip.name for chip in chips.TABLE_1 if chip.aip] == ["Snapdragon 855"]
    assert all(chip.hexagon for chip in chips.CHIPS if chip.dsp or chip.aip)


def test_the_marks_are_those_of_qualcomms_matrix():
    """The "Snapdragon Device Support Matrix" of SNPE 1.17 and 2.5; CPU and GPU are marked everywhere."""
    dsp, none = ("855", "845", "835", "821", "820", "710", "660", "605"), ("652", "636", "630", "625", "450")
    assert all(chips.find(name).dsp for name in dsp) and not any(chips.find(name).dsp for name in none)
    assert [name for name in (*dsp, *none) if chips.find(name).aip] == ["855"]


@pytest.mark.parametrize("text", ["845", "Snapdragon 845", "SDM845", "sdm845", "Pixel 3"])
def test_chips_are_found_by_name_part_and_phone(text):
    assert chips.find(text).part == "SDM845"


def test_every_name_leads_to_one_chip():
    for key in ("name", "part"):
        names = [getattr(chip, key) for chip in chips.CHIPS]
        assert len(set(names)) == len(names) and all(getattr(chips.find(n), key) == n for n in names)
    assert {chip.soc for chip in chips.CHIPS if chip.soc} == set(socs.SOCS)


def test_a_misspelt_phone_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r"mean 'Pixel 3'\?") as error:
        chips.find("Pixl 3")
    assert len(error.value.hint) < 120


def test_a_misspelt_chip_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="is not known"):
        chips.find("SDM-8455")
    assert_error(snpe_srgan("convert", "mobile", "--soc", "8 Gem 2"), 2, "did you mean '8 gen 2'")


# -- what runs where --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Summaries by name: SNPE 1.x in floats and in 8 bits, and of today in 8 bits."""
    folder = tmp_path_factory.mktemp("files")
    paths = {
        "float": write_v3(folder / "float.dlc", small_network()),
        "integer": write_v3(folder / "integer.dlc", small_network(quantized=True)),
        "today": TINY,
    }
    return {name: describe(read(path)) for name, path in paths.items()}


def test_bits_are_counted(files):
    assert bits(files["float"]) == (None, None)
    assert bits(files["integer"]) == bits(files["today"]) == (8, 8)


@pytest.mark.parametrize(
    ("file", "chip", "runs", "why"),
    [
        ("float", "855", "cpu gpu", "quantized networks only"),
        ("integer", "855", "cpu gpu dsp aip", ""),
        ("integer", "845", "cpu gpu dsp", "no AIP"),
        ("integer", "636", "cpu gpu", "no DSP"),
        ("integer", "835", "cpu gpu dsp", "no AIP"),
        ("today", "835", "cpu gpu", "SNPE 2 has no DSP library"),
        ("today", "845", "cpu gpu dsp", "no AIP"),
        ("today", "8 Gen 2", "cpu gpu dsp", "no AIP"),
    ],
)
def test_what_runs_where(files, file, chip, runs, why):
    fit = check(files[file], chips.find(chip))
    assert " ".join(fit.runs) == runs and set(fit.runs) | set(fit.refused) == {"cpu", "gpu", "dsp", "aip"}
    assert why in "; ".join(fit.refused.values())


def test_16_bit_activations_need_the_tensor_processor(files):
    from dataclasses import replace

    layers = tuple(replace(layer, output_dtype="ufxp16") for layer in files["integer"].layers)
    wide = replace(files["integer"], layers=layers)
    assert "dsp" in check(wide, chips.find("8 Gen 1")).runs
    assert "16-bit activations" in check(wide, chips.find("855")).refused["dsp"]


def test_a_cache_makes_floats_run_and_silences_the_remark(tmp_path):
    dlc = repack(TINY, tmp_path / "x.dlc", {"htp.cache.sm8550.0": b"x"})
    summary = describe(read(dlc))
    fit = check(summary, chips.find("8 Gen 2"))
    assert summary.caches == ("SM8550",) and fit.compiled and not fit.remarks
    assert "ready-compiled" in check(summary, chips.find("8 Gen 3")).remarks[0]


def test_devices_on_the_command_line(tmp_path):
    assert "Snapdragon 450" in snpe_srgan("devices").out and "Pixel 3" in snpe_srgan("devices").out
    done = snpe_srgan("devices", "845", TINY)
    assert done.out.startswith("Snapdragon 845 (SDM845): runs on CPU, GPU, DSP; the chip has no AIP runtime\n")
    assert snpe_srgan("devices", "636", TINY, "--json").json["runs"] == ["cpu", "gpu"]
    assert_error(snpe_srgan("devices", "845", tmp_path / "absent.dlc"), 1, "absent.dlc")
    assert_error(snpe_srgan("convert", "mobile", "--soc", "845", "--onnx-only"), 2, "--onnx-only")


# -- archives and caches ----------------------------------------------------------------------------------------------


def test_packed_records_are_read_back_where_they_should_lie(tmp_path):
    records = {"model": b"abc", "htp.cache.x.0": bytes(range(256)) * 20, "dlc.metadata": b""}
    path = tmp_path / "x.dlc"
    path.write_bytes(pack(records))
    container = Container(path)
    assert {name: bytes(container.read(name)) for name in container.names} == records
    assert path.read_bytes().index(records["htp.cache.x.0"]) % 4096 == 0


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(model, .dlc without caches, .dlc with caches for three chips, what was said of them)."""
    folder = tmp_path_factory.mktemp("compiled")
    model, plain, full = folder / "model.onnx", folder / "plain.dlc", folder / "full.dlc"
    onnx.save(nets.quantize(nets.mobile((6, 8), blocks=0, width=4), 8), model)
    qnn.write_dlc(model, plain)
    full.write_bytes(plain.read_bytes())
    return model, plain, full, add_caches(model, full, [socs.find(n) for n in ("QCS6490", "888", "8 Gen 2")])


@needs_wheel
def test_caches_stand_beside_the_unchanged_network(compiled):
    _, plain, full, caches = compiled
    assert {c.chip: c.vtcm_mb for c in caches} == {"QCS6490": 2, "SM8350": 4, "SM8550": 8}
    before, after = Container(plain), Container(full)
    assert set(describe(read(full)).caches) == {"QCS6490", "SM8350", "SM8550"}
    for name in before.names:
        assert name.startswith("dlc.metadata2") or bytes(after.read(name)) == bytes(before.read(name))
    listed = json.loads(bytes(after.read("dlc.metadata2.3.0")))["cacheList"]
    assert {graph["graphName"] for entry in listed for graph in entry["graphs"]} == {read(full).graphs[0].name}


@needs_wheel
def test_one_chip_gives_one_cache(compiled, tmp_path):
    model, plain, *_ = compiled
    path = tmp_path / "one.dlc"
    path.write_bytes(plain.read_bytes())
    assert [c.chip for c in add_caches(model, path, [socs.find("8 Gen 3")] * 2)] == ["SM8650"]
    names = [name for name in Container(path).names if name.startswith("htp.cache")]
    assert names == ["htp.cache.sm8650.0"]
    assert b"sm8650.1" not in bytes(Container(path).read("dlc.metadata2.3.0"))


@needs_wheel
def test_qualcomms_loader_finds_the_caches(compiled, tmp_path):
    """The emulator passes for an SM8350: its loader picks that cache (and crashes on it, as on the compiler's file)."""
    from onnx import helper

    model, _, full, _ = compiled
    (tmp_path / "full.bin").write_bytes(full.read_bytes())
    graph = onnx.load(model).graph
    attributes = {"main_context": 1, "ep_cache_context": "full.bin", "is_multi_soc_ep_context": 1, "embed_mode": 0}
    attributes |= {"source": "QNNExecutionProvider", "partition_name": read(full).graphs[0].name}
    node = helper.make_node("EPContext", ["lr"], ["sr"], name="x", domain="com.microsoft", **attributes)
    context = helper.make_model(
        helper.make_graph([node], "g", graph.input, graph.output),
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10,
    )  # fmt: skip
    onnx.save(context, tmp_path / "context.onnx")
    with Worker(timeout=60) as worker, pytest.raises(SnpeSrganError, match=r"exact match record htp\.cache\.sm8350\.0"):
        worker.open(tmp_path / "context.onnx", {})
