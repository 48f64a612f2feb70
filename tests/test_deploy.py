"""The stage deploy: the tile plan that gives `run`'s bits, the bundle and its proof, what is refused at once."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import TINY, random_weights
from PIL import Image

from snpe_srgan.deploy import check
from snpe_srgan.deploy.bundle import deploy_model
from snpe_srgan.deploy.make_tflite import make_tflite
from snpe_srgan.deploy.tiles import TileRule, to_json, write_tiles
from snpe_srgan.errors import UsageError
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.model import fix_size
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.tflite import schema
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.litert_targets import TARGETS, find_target, find_targets
from snpe_srgan.zoo.resolve import RUNNABLE, resolve

needs_litert = pytest.mark.skipif(not schema.available(), reason="ai-edge-litert is not installed")
needs_both = pytest.mark.skipif(
    not schema.available() or qnn.available() is not None, reason="ai-edge-litert or onnxruntime-qnn is not installed"
)
SIZE = (20, 28)
RECIPE = "w8a8-plain"


def model(path, name="mobile"):
    graph = describe(name, TINY[name])
    save_npz(path, graph, random_weights(graph, np.random.default_rng(0)))
    return resolve(path)


def runner(folder):
    """The module run_tiles.py, as it lies in a bundle."""
    spec = importlib.util.spec_from_file_location("run_tiles", folder / "run_tiles.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# -- tiles ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A .tflite of fixed input and the plan beside it."""
    from snpe_srgan.quantization.recipe import parse_recipe
    from snpe_srgan.quantization.session import Source

    schema.require("this test")
    folder = tmp_path_factory.mktemp("tiles")
    source = Source(
        model(folder / "generator.npz"), ("synthetic",), lr=False, count=2, minutes=1, say=lambda text: None
    )
    quantized = fix_size(source.make(parse_recipe(RECIPE)).plan.quantized(), SIZE)
    written = make_tflite(quantized, metadata={"scale": 4, "receptive_radius": source.facts.overlap})
    (folder / "model.tflite").write_bytes(written["uint8"])
    write_tiles(folder, TileRule("model", 4, SIZE, source.facts.overlap, True, None, {}))
    return folder


@needs_litert
def test_the_reference_runner_gives_the_bits_of_run_on_50_random_sizes(planned):
    tiles, random = runner(planned), np.random.default_rng(7)
    rule, network = tiles.load(planned / "tiles.json"), tiles.litert(planned / "model.tflite", threads=1)
    sizes = [(1, 1), SIZE, (SIZE[0] + 1, SIZE[1] - 1), *random.integers(1, 90, (47, 2)).tolist()]
    with open_session(resolve(planned / "model.tflite", kinds=RUNNABLE), threads=1) as session:
        for height, width in sizes:
            pixels = random.integers(0, 256, (height, width, 3), np.uint8)
            ours = upscale_pixels(session, pixels).pixels
            assert np.array_equal(tiles.enlarge(rule, pixels, network), ours), (height, width)


def test_the_reference_runner_is_at_most_150_lines_of_numpy(tmp_path):
    write_tiles(tmp_path, TileRule("x", 2, (8, 8), 1, True, None, {}))
    text = (tmp_path / "run_tiles.py").read_text()
    assert len(text.splitlines()) <= 150 and "snpe_srgan" not in text


def test_tiles_json_follows_its_schema_and_the_runner_its_examples(tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    port = {"name": "lr", "shape": [1, 40, 56, 3], "type": "uint8", "black": 0, "white": 255}
    rule = TileRule("x", 4, (40, 56), 7, True, None, {"a.tflite": {"input": port, "output": port}})
    write_tiles(tmp_path, rule)
    written = json.loads((tmp_path / "tiles.json").read_text())
    told = json.loads((tmp_path / "tiles.schema.json").read_text())
    jsonschema.validate(written, told)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**written, "scale": 0}, told)
    tiles = runner(tmp_path)
    for example in written["examples"]:
        for side, axis, tile in (("height", "rows", 40), ("width", "columns", 56)):
            assert tiles.spans(max(example[side], tile), tile, 7) == [tuple(span) for span in example[axis]]


def test_the_runner_refuses_what_is_no_picture(tmp_path):
    write_tiles(tmp_path, TileRule("x", 2, (8, 8), 1, True, None, {}))
    tiles = runner(tmp_path)
    rule = tiles.load(tmp_path / "tiles.json")
    for wrong in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="pixels must be"):
            tiles.enlarge(rule, wrong, lambda tile: tile)
    with pytest.raises(ValueError, match="the model gave"):
        tiles.enlarge(rule, np.zeros((4, 4, 3), np.uint8), lambda tile: tile)


def test_a_network_that_sees_farther_than_its_tiles_is_said_to_be_near(tmp_path):
    written = to_json(TileRule("x", 4, (40, 40), 10, False, "the network sees 349 pixels far", {}))
    assert written["exact"] is False and "349" in written["reason"]


# -- chips ----------------------------------------------------------------------------------------------------------


def test_targets_by_any_name():
    assert len(TARGETS) == 10 and len(find_targets([], everything=True)) == 10
    for name in ("SM8650", "sm8650", "8 Gen 3", "Snapdragon 8 Gen 3", "Galaxy S24 Ultra", "57"):
        assert find_target(name).name == "SM8650"
    with pytest.raises(UsageError, match="makes no NPU code"):
        find_target("845")
    with pytest.raises(UsageError, match="not known") as caught:
        find_target("SM8651")
    assert "SM8650" in caught.value.hint


@pytest.mark.parametrize(("text", "release"), [("2.45", (2, 45)), ("v2.51.0.260929", (2, 51, 0, 260929))])
def test_qairt_releases(text, release):
    assert check.parse_release(text) == release


def test_what_is_no_release_is_a_usage_error():
    for text in ("", "2", "new", "2.x", "2.45-beta"):
        with pytest.raises(UsageError):
            check.parse_release(text)


# -- refused before any work ---------------------------------------------------------------------------------------


@needs_both
def test_refusals_come_at_once_and_leave_nothing(tmp_path):
    file = model(tmp_path / "generator.npz")
    bundle = tmp_path / "bundle"
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--target", "845"), 2, "no NPU code", "SM8650")
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--target", "x99"), 2, "not known")
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--recipe", "w8a16"), 2, "16-bit", "w8a8")
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--recipe", "auto"), 2, "auto")
    assert_error(snpe_srgan("deploy", file.path), 2, "folder")
    assert_error(snpe_srgan("deploy", "-o", bundle), 2, "MODEL")
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--all", "--target", "SM8650"), 2, "--all")
    assert_error(snpe_srgan("deploy", file.path, "-o", bundle, "--chip", "SM8650"), 2, "--check")
    assert_error(snpe_srgan("deploy", "--check", tmp_path, "--chip", "SM8650"), 1, "no bundle")
    assert_error(snpe_srgan("deploy", "--check", tmp_path), 2, "--chip")
    assert_error(snpe_srgan("deploy", "--check", tmp_path, "--chip", "SM8650", "--all"), 2, "--all")
    taken = tmp_path / "taken"
    taken.mkdir()
    assert_error(snpe_srgan("deploy", file.path, "-o", taken), 1, "exists")
    assert not bundle.exists() and not list(taken.iterdir())
    (taken / "photo.jpg").touch()
    assert_error(snpe_srgan("deploy", file.path, "-o", taken, "--overwrite"), 1, "other files")
    assert [p.name for p in taken.iterdir()] == ["photo.jpg"]


@needs_both
def test_wrong_layouts_and_operators_are_named(tmp_path):
    import onnx
    from onnx import TensorProto, helper

    def save(name, nodes, shape, out):
        ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("lr", shape), ("sr", out))]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
        return tmp_path / name

    erf = save("erf.onnx", [helper.make_node("Erf", ["lr"], ["sr"], name="bend")], [1, 8, 8, 3], [1, 8, 8, 3])
    assert_error(snpe_srgan("deploy", erf, "-o", tmp_path / "b"), 1, "Erf", "bend")
    rgba = save("rgba.onnx", [helper.make_node("Relu", ["lr"], ["sr"])], [1, 4, 8, 8], [1, 4, 8, 8])
    assert_error(snpe_srgan("deploy", rgba, "-o", tmp_path / "b"), 1, "[1, 4, 8, 8]")
    neither = save("neither.onnx", [helper.make_node("Relu", ["lr"], ["sr"])], [1, 8, 3, 8], [1, 8, 3, 8])
    assert_error(snpe_srgan("deploy", neither, "-o", tmp_path / "b"), 1, "NCHW", "1, 8, 3, 8")


@needs_both
def test_without_litert_the_command_is_named(tmp_path, monkeypatch):
    file = model(tmp_path / "generator.npz")
    monkeypatch.setattr(schema, "available", lambda: False)
    outcome = snpe_srgan("deploy", file.path, "-o", tmp_path / "bundle")
    assert_error(outcome, 3, "ai-edge-litert", "pip install")


# -- the whole bundle ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    root = tmp_path_factory.mktemp("deploy")
    result = deploy_model(
        model(root / "generator.npz"), root / "bundle", targets=find_targets(["SM8650", "SM8350"]), recipe=RECIPE,
        calibration=("synthetic",), input_size=(16, 24),
    )  # fmt: skip
    return root / "bundle", result


@needs_both
@pytest.mark.slow
def test_every_file_with_npu_code_is_proven_or_says_why_not(bundle):
    folder, result = bundle
    proofs = {p.path: p for p in result.proofs}
    for chip in ("SM8650", "SM8350"):
        code = proofs[f"tflite/npu/generator_{RECIPE}_{chip}.tflite"]
        assert code.engine.startswith("hexagon-emulator") and code.psnr_to_float > 30 and code.strip_passed
        context = proofs[f"onnx/generator_{RECIPE}_{chip}_ctx.onnx"]
        assert context.reloads is True and context.psnr_to_float > 30
    assert "several" in proofs[f"onnx/generator_{RECIPE}_several_ctx.onnx"].unproven
    page = (folder / "proof.html").read_text()
    assert "was not proven" in page and "data:image/png" in page and "http" not in page.replace("http-equiv", "")
    told = json.loads((folder / "proof.json").read_text())
    assert told["estimate"]["microseconds"] > 0 and "estimate" in told["estimate"]["source"]
    assert all(a.qairt for a in result.manifest.artifacts if a.chips)
    assert not (folder / ".work").exists() and not list(folder.parent.glob(".snpe*"))


@needs_both
@pytest.mark.slow
def test_every_chips_ready_compiled_file_gives_the_bits_of_the_session_that_compiled_it(bundle, tmp_path):
    from snpe_srgan.deploy.ep_context import compile_onnx

    lr = np.random.default_rng(3).random((1, 16, 24, 3), dtype=np.float32)
    for soc in [target.soc for target in TARGETS if target.soc is not None]:
        path = tmp_path / f"{soc.name}.onnx"
        made = compile_onnx(bundle[0] / f"onnx/generator_{RECIPE}.onnx", path, [soc], metadata={"scale": "4"}, probe=lr)
        with open_session(resolve(path, kinds=RUNNABLE), on="emulator") as session:
            assert np.array_equal(session.run(lr), made.sr), soc.name
        assert made.trace.unsupported == () and made.sr.std() > 0


@needs_both
@pytest.mark.slow
def test_a_file_that_cannot_be_run_here_is_an_error(bundle, tmp_path, monkeypatch):
    from snpe_srgan.deploy import proof
    from snpe_srgan.errors import SnpeSrganError

    def broken(*args, **options):
        raise SnpeSrganError("the emulator ended")

    monkeypatch.setattr(proof, "open_session", broken)
    file = model(tmp_path / "generator.npz")
    outcome = snpe_srgan(
        "deploy", file.path, "-o", tmp_path / "b", "--target", "SM8650", "--recipe", RECIPE,
        "--calibration", "synthetic", "--input-size", "16x16",
    )  # fmt: skip
    assert outcome.code == 1 and "could not be run here" in outcome.err and (tmp_path / "b/proof.json").is_file()


@needs_both
@pytest.mark.slow
def test_the_ai_pack_holds_a_group_for_each_phone_and_one_for_all_others(bundle):
    folder, _ = bundle
    groups = sorted(p.name for p in (folder / "ai_pack/sr/src/main/assets").iterdir())
    assert groups == ["model#group_Qualcomm_SM8350", "model#group_Qualcomm_SM8650", "model#group_other"]
    assert "SM8650" in (folder / "ai_pack/device_targeting_configuration.xml").read_text()


@needs_both
@pytest.mark.slow
def test_check_says_which_axis_fails(bundle):
    folder, _ = bundle
    good = snpe_srgan("deploy", "--check", folder, "--chip", "8 Gen 3", "--qairt", "2.51", "--json")
    assert good.code == 0 and good.json["npu"] is True
    old = snpe_srgan("deploy", "--check", folder, "--chip", "8 Gen 3", "--qairt", "2.45", "--json")
    assert old.code == 1
    axes = {a["path"]: a["axis"] for a in old.json["artifacts"]}
    assert axes[f"tflite/npu/generator_{RECIPE}_SM8650.tflite"] == "qairt"
    assert axes[f"tflite/npu/generator_{RECIPE}_SM8350.tflite"] == "chip"
    assert axes[f"tflite/generator_{RECIPE}.tflite"] is None
    assert_error(snpe_srgan("deploy", "--check", folder, "--chip", "x99"), 2, "not known")
    victim = folder / f"tflite/npu/generator_{RECIPE}_SM8650.tflite"
    data = victim.read_bytes()
    try:
        victim.write_bytes(data[:-1])
        cut = snpe_srgan("deploy", "--check", folder, "--chip", "SM8650", "--json")
        assert next(a for a in cut.json["artifacts"] if a["path"].endswith("npu/" + victim.name))["axis"] == "file"
    finally:
        victim.write_bytes(data)


@needs_both
@pytest.mark.slow
def test_the_python_sample_draws_what_run_draws(bundle, tmp_path):
    folder, _ = bundle
    pixels = np.random.default_rng(0).integers(0, 256, (19, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    context = folder / f"onnx/generator_{RECIPE}_SM8650_ctx.onnx"
    sample = folder / "samples/onnxruntime/enlarge.py"
    command = [sys.executable, sample, context, tmp_path / "a.png", tmp_path / "b.png"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    done = snpe_srgan("run", context, tmp_path / "a.png", "-o", tmp_path / "c.png", "--on", "emulator")
    assert done.code == 0, done
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.asarray(Image.open(tmp_path / "c.png")))


@needs_both
@pytest.mark.slow
def test_samples_name_the_bundles_own_files_and_say_that_they_were_not_built(bundle):
    folder, _ = bundle
    for name in ("samples/android/Enlarge.kt", "samples/onnxruntime/enlarge.cpp", "samples/adb/snpe_net_run.sh"):
        first = (folder / name).read_text().splitlines()[0]
        assert "never" in first, name
    assert f"generator_{RECIPE}_SM8650.tflite" in (folder / "samples/android/Enlarge.kt").read_text()
    subprocess.run(["sh", "-n", folder / "samples/adb/snpe_net_run.sh"], check=True)


@needs_both
@pytest.mark.slow
def test_a_killed_deploy_leaves_no_bundle(tmp_path):
    file = model(tmp_path / "generator.npz")
    command = [sys.executable, "-m", "snpe_srgan", "deploy", file.path, "-o", tmp_path / "bundle", "--calibration",
               "synthetic", "--recipe", RECIPE, "--input-size", "16x16"]  # fmt: skip
    for seconds in (3, 9):
        process = subprocess.Popen(
            [str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "bundle").exists()
