"""PyTorch weights of known architectures: the same pictures as an independent forward pass, and no code is run."""

from __future__ import annotations

import os
import pickle
import zipfile

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import run_onnx
from helpers_torch import conv, nearest, shuffle, unshuffle, write_archive, write_pth
from helpers_torch_networks import NETWORKS, bilinear, checkpoint, pooled
from helpers_training import pictures

from snpe_srgan.errors import InputError
from snpe_srgan.imaging.pictures import Picture, read_picture, write_picture
from snpe_srgan.models.cost import graph_cost
from snpe_srgan.models.npz import load_npz
from snpe_srgan.onnx_graphs.cost import onnx_cost
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.onnx_graphs.model import onnx_facts
from snpe_srgan.toolchains.qnn import available
from snpe_srgan.zoo.foreign import read_foreign
from snpe_srgan.zoo.torch_files import read_weights


@pytest.mark.parametrize("name", NETWORKS)
def test_the_picture_is_that_of_an_independent_forward_pass(name, tmp_path, rng):
    arrays, forward = checkpoint(name, rng)
    found = read_foreign(write_pth(tmp_path / "net.pth", {"params_ema": arrays}))
    lr = rng.random((1, 24, 20, 3)).astype(np.float32)
    expected = np.clip(2 * forward(lr.transpose(0, 3, 1, 2).astype(np.float64)) - 1, -1, 1)
    assert np.abs(expected).min() < 1  # not everything is clipped
    result = run_onnx(to_onnx(found.graph, found.weights), lr)
    np.testing.assert_allclose(result, expected.transpose(0, 2, 3, 1), atol=2e-5)


def test_import_writes_a_network_that_every_verb_takes(tmp_path, rng):
    arrays, _ = checkpoint("srvgg", rng)
    source = write_pth(tmp_path / "net.pth", arrays)
    done = snpe_srgan("import", source, "-o", tmp_path / "net.npz", "--json")
    assert done.code == 0, done
    assert done.json["card"]["network"] == "srvgg" and done.json["card"]["training"]["origin"] == "SRVGGNetCompact"
    assert "resemble" not in done.err  # its residual is the picture
    assert snpe_srgan("inspect", tmp_path / "net.npz").code == 0
    drawn = snpe_srgan("import", write_pth(tmp_path / "r.pth", checkpoint("rrdb", rng)[0]), "-o", tmp_path / "r.npz")
    assert drawn.code == 0 and "does not resemble" in drawn.err  # nothing in random weights hands the picture on


def test_two_files_of_one_network_are_mixed(tmp_path, rng):
    arrays = [checkpoint("srvgg", rng)[0] for _ in range(2)]
    one, other = (write_pth(tmp_path / f"{i}.pth", a) for i, a in enumerate(arrays))
    done = snpe_srgan("import", one, "--blend", other, "--share", "0.25", "-o", tmp_path / "mixed.npz")
    assert done.code == 0
    mixed = {name: 0.25 * a + 0.75 * arrays[1][name] for name, a in arrays[0].items()}
    expected = read_foreign(write_pth(tmp_path / "mixed.pth", mixed))
    graph, weights = load_npz(tmp_path / "mixed.npz")
    assert graph == expected.graph
    for name, array in expected.weights.items():
        np.testing.assert_allclose(weights[name], array, atol=1e-6)
    third = write_pth(tmp_path / "third.pth", checkpoint("srvgg relu x2", rng)[0])
    assert_error(snpe_srgan("import", one, "--blend", third, "-o", tmp_path / "no.npz"), 1, "different networks")
    assert snpe_srgan("import", one, "--share", "0.2", "-o", tmp_path / "no.npz").code == 2
    assert snpe_srgan("import", one, "--blend", other, "--share", "2", "-o", tmp_path / "no.npz").code == 2


@pytest.mark.slow
@pytest.mark.skipif(available() is not None, reason=str(available()))
@pytest.mark.parametrize("name", ["rrdb unshuffled x2", "rfdn", "rlfn"])
def test_networks_with_a_smaller_grid_inside_go_the_whole_way(name, tmp_path, rng):
    """A chip takes a coarse grid's way back at one size alone; an unshuffle's head at every even one."""
    arrays, _ = checkpoint(name, rng)
    write_pth(tmp_path / "net.pth", arrays)
    assert snpe_srgan("import", tmp_path / "net.pth", "-o", tmp_path / "net.npz").code == 0
    pictures(tmp_path / "photos", count=2, side=160)
    done = snpe_srgan(
        "quantize", tmp_path / "net.npz", "-o", tmp_path / "out", "--calibration", tmp_path / "photos", "--count", 2,
        "--input-size", "32x32", "--recipe", "w8a8",
    )  # fmt: skip
    assert done.code == 0, done
    write_picture(tmp_path / "lr.png", Picture(read_picture(tmp_path / "photos" / "0.png").rgb[:32, :32]))
    seen = []
    for model, more in (("net.npz", ()), ("out/net_w8a8.dlc", ("--on", "emulator"))):
        done = snpe_srgan("run", tmp_path / model, tmp_path / "lr.png", "-o", tmp_path / "sr.png", "--overwrite", *more)
        assert done.code == 0, done
        seen.append(read_picture(tmp_path / "sr.png").rgb.astype(float))
    assert np.abs(seen[0] - seen[1]).mean() < 4


FAMILIES = {
    "SwinIR": "layers.0.residual_group.blocks.0.attn.qkv.weight", "Swin2SR": "layers.0.blocks.0.attn.logit_scale",
    "EDSR": "body.0.body.0.weight", "DAT": "layers.0.blocks.0.attn.attns.0.pos.pos_proj.weight",
    "PLKSR": "feats.1.lk.conv.weight",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_that_is_not_taken_is_named_with_what_to_do(family, tmp_path):
    source = write_pth(tmp_path / "net.pth", {FAMILIES[family]: np.zeros((4, 4, 1, 1)), "conv_first.bias": np.zeros(4)})
    assert_error(snpe_srgan("import", source, "-o", tmp_path / "x.npz"), 1, family, "RRDBNet", ".onnx")


def test_a_pixel_unshuffle_in_front_costs_what_its_graph_does_and_trains_on(tmp_path, rng):
    from types import SimpleNamespace

    from snpe_srgan.training.validation import Validator

    arrays, _ = checkpoint("rrdb unshuffled x2", rng)
    found = read_foreign(write_pth(tmp_path / "net.pth", arrays))
    graph, model = found.graph, to_onnx(found.graph, found.weights)
    assert (graph.scale, graph.unit, onnx_facts(model).multiple) == (2, 2, 2)
    assert onnx_cost(model).macs_per_lr_pixel == pytest.approx(graph_cost(graph).macs_per_lr_pixel, abs=1)
    hr = rng.integers(0, 256, (18, 26, 3), np.uint8)
    validator = Validator([SimpleNamespace(name="a", lr=hr[::2, ::2].copy(), hr=hr, grey=False)], scale=2, multiple=2)
    result = validator.validate(lambda lr: run_onnx(model, lr), strips=tmp_path / "strips", name="x")
    assert np.isfinite(result.psnr)  # 9x13 pixels, which no pixel unshuffle takes as they are


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "channels"])
def test_an_array_that_does_not_fit_is_named(damage, tmp_path, rng):
    arrays, _ = checkpoint("rrdb" if damage == "channels" else "srvgg", rng)
    if damage == "missing":
        del arrays["body.2.bias"], arrays["body.2.weight"]
        arrays["body.2.other"] = np.zeros(1)
        words = ["no known architecture"]
    elif damage == "extra":
        arrays["tail.weight"], words = np.zeros((3, 3)), ["1 arrays have no place", "tail.weight"]
    elif damage == "shape":
        arrays["body.2.bias"], words = np.zeros(5), ["body.2.bias", "(5,)"]
    else:
        arrays["conv_first.weight"], words = np.zeros((8, 13, 3, 3)), ["13 channels", "onnx"]
    done = snpe_srgan("import", write_pth(tmp_path / "net.pth", arrays), "-o", tmp_path / "net.npz")
    assert_error(done, 1, *words)
    assert not (tmp_path / "net.npz").exists()


class _Runs:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class _RunsEx:
    def __init__(self, command):
        self.command = command

    def __reduce_ex__(self, protocol):
        return os.system, (self.command,)


class _WithState(_RunsEx):
    def __reduce_ex__(self, protocol):
        return __import__("collections").OrderedDict, (), {"x": _RunsEx(self.command)}


def gadgets(mark):
    """Pickles that would leave a file behind if anything of them ran."""
    command = f"touch {mark}"
    builds = b"cos\nsystem\n(V" + command.encode() + b"\ntR."
    instance = b"(V" + command.encode() + b"\nios\nsystem\n."
    obj = b"(cos\nsystem\nV" + command.encode() + b"\no."
    stack = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command.encode() + b"\x85R."
    inst = b"\x80\x02cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85R."
    built = b"\x80\x02ccollections\nOrderedDict\n)RcX\nY\nb."
    return {
        "system": pickle.dumps(_Runs(os.system, command), 2), "exec": pickle.dumps(_Runs(exec, "import os"), 2),
        "eval": pickle.dumps({"w": _Runs(eval, f"open({str(mark)!r}, 'w')")}, 4), "GLOBAL": builds, "INST": instance,
        "OBJ": obj, "STACK_GLOBAL": stack, "import": inst, "BUILD": built,
        "getattr": b"cbuiltins\ngetattr\n(cos\npath\nVjoin\ntR.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(X\x05\x00\x00\x00touchtt\x81.",
        "reduce_ex": pickle.dumps(_RunsEx(command), 2), "nested": pickle.dumps({"a": {"b": [_RunsEx(command)]}}, 4),
        "key": pickle.dumps({_RunsEx(command): 1}, 2), "set": pickle.dumps({_RunsEx(command)}, 4),
        "state": pickle.dumps(_WithState(command), 2), "whole model": b"\x80\x02cmy_networks\nNet\n)\x81}b.",
        "NEWOBJ_EX": b"\x80\x04\x8c\x02os\x8c\x06system\x93)}\x92.",
        "PERSID of a function": b"(Vstorage\ncos\nsystem\nV0\nVcpu\nI1\ntQ.",
        "rebuild_parameter of a call": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(" + builds[:-1] + b"\x88\x88tR.",
        "rebuild_from_type": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nNNNtR.",
        "EXT1": b"\x80\x02\x82\x01.", "PERSID": b"Pstorage\n.", "torch": b"\x80\x02ctorch.hub\nload\n)R.",
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(gadgets("x")))
@pytest.mark.parametrize("form", ["archive", "legacy"])
def test_a_malicious_file_runs_nothing(kind, form, tmp_path):
    mark = tmp_path / "ran"
    program = gadgets(mark)[kind]
    path = tmp_path / "bad.pth"
    write_archive(path, program, {}) if form == "archive" else path.write_bytes(program)
    with pytest.raises(InputError):
        read_weights(path)
    assert not mark.exists()
    assert_error(snpe_srgan("import", path, "-o", tmp_path / "out.npz"), 1)


BOMB = 40  # levels: what each says twice is said 2^40 times


def bombs():
    """Small pickles that a reader which walks them never comes to the end of."""
    level = b"2\x86"  # DUP, TUPLE2: a tuple of one thing twice
    key = b"\x80\x02}K\x01" + level * BOMB + b"K\x02s."
    dicts = (
        b"\x80\x02}"
        + b"".join(b"q%c0}(" % i + b"".join(b"K%ch%c" % (n, i) for n in range(100)) + b"u" for i in range(14))
        + b"."
    )
    return {"a key of tuples": key, "dicts of one dict": dicts}


@pytest.mark.parametrize("kind", bombs())
def test_a_pickle_that_unfolds_without_end_is_refused_at_once(kind, tmp_path):
    with pytest.raises(InputError):
        read_weights(write_archive(tmp_path / "bomb.pth", bombs()[kind], {}))


@pytest.mark.parametrize("kind", ["TorchScript", "two in one", "link", "outside", "byteorder"])
def test_an_archive_that_is_more_than_weights_is_refused(kind, tmp_path, rng):
    """Nothing of an archive is ever written to disk, so that links and names with '..' lead nowhere."""
    arrays = {"a": rng.random((3, 4), np.float32)}
    path = write_pth(tmp_path / "net.pth", arrays)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    words = []
    if kind == "TorchScript":
        parts |= {"archive/constants.pkl": b"\x80\x02).", "archive/code/__torch__.py": b"import os"}
        words = ["TorchScript", "state_dict"]
    elif kind == "two in one":
        parts["archive/inner/data.pkl"] = parts["archive/data.pkl"]
    elif kind == "outside":
        parts["../archive/data.pkl"] = parts.pop("archive/data.pkl")
    elif kind == "byteorder":
        parts["archive/byteorder"] = b"big"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            entry = zipfile.ZipInfo(name)
            if kind == "link" and name == "archive/data/0":
                entry.external_attr, data = 0o120777 << 16, b"/etc/passwd"
            archive.writestr(entry, data)
    assert_error(snpe_srgan("import", path, "-o", tmp_path / "out.npz"), 1, *words)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.pth"]


@pytest.mark.parametrize("fault", ["reach", "negative", "repeat", "short"])
def test_a_tensor_stays_within_its_storage(fault, tmp_path, rng):
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4)}
    good = write_pth(tmp_path / "good.pth", arrays)
    np.testing.assert_array_equal(read_weights(good)["a"], arrays["a"])
    with zipfile.ZipFile(good) as archive:
        program, data = archive.read("archive/data.pkl"), archive.read("archive/data/0")
    shape = b"K\x03K\x04\x86"
    assert shape in program
    if fault == "short":
        data = data[:-4]
    else:
        wrong = {"reach": b"K\x04K\x04\x86", "negative": b"J\xff\xff\xff\xffK\x04\x86", "repeat": b"K\xffK\x04\x86"}
        program = program.replace(shape, wrong[fault], 1)
    with pytest.raises(InputError):
        read_weights(write_archive(tmp_path / "bad.pth", program, {"0": data}))


def test_safetensors_are_read_and_held_to_their_header(tmp_path, rng):
    import json
    import struct

    arrays, _ = checkpoint("srvgg", rng)
    body, header = b"", {"__metadata__": {"format": "pt"}}
    for name, array in arrays.items():
        place = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": place}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    assert read_foreign(path).graph.network == "srvgg"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body[:-1])
    with pytest.raises(InputError):
        read_foreign(path)


def test_the_layers_of_the_forward_passes_here_are_pytorchs(rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    F, x = torch.nn.functional, rng.normal(0, 1, (1, 12, 24, 20))
    kernel, bias = rng.normal(0, 1, (7, 12, 3, 3)), rng.normal(0, 1, 7)
    t, k, b = (torch.from_numpy(a) for a in (x, kernel, bias))
    pairs = {
        "conv": (conv(x, kernel, bias), F.conv2d(t, k, b, padding=1)),
        "stride": (conv(x, kernel, bias)[:, :, 1:-1:2, 1:-1:2], F.conv2d(t, k, b, stride=2)),
        "shuffle": (shuffle(x, 2), F.pixel_shuffle(t, 2)), "unshuffle": (unshuffle(x, 4), F.pixel_unshuffle(t, 4)),
        "pool": (pooled(x), F.max_pool2d(t, 7, 3)), "nearest": (nearest(x, 2), F.interpolate(t, scale_factor=2)),
        "bilinear": (bilinear(x, 33, 50), F.interpolate(t, (33, 50), mode="bilinear", align_corners=False)),
    }  # fmt: skip
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-9, err_msg=name)


def test_a_tar_by_name_is_read_for_what_it_holds(tmp_path, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays, _ = checkpoint("srresnet", rng)
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    torch.save({"state_dict": state}, tmp_path / "SRGAN.pth.tar", _use_new_zipfile_serialization=False)
    assert read_foreign(tmp_path / "SRGAN.pth.tar").graph.network == "srgan"


def test_what_pytorch_itself_writes_is_read_both_ways(tmp_path, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    arrays, _ = checkpoint("srresnet", rng)
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    state["conv3.weight"] = state["conv3.weight"].transpose(2, 3).contiguous().transpose(2, 3)  # strides of its own
    for name, options in (("new.pth", {}), ("old.pth", {"_use_new_zipfile_serialization": False})):
        torch.save({"state_dict": state, "epoch": 3}, tmp_path / name, **options)
        read = read_weights(tmp_path / name)
        assert read.keys() == {f"state_dict/{key}" for key in arrays}
        for key, array in arrays.items():
            np.testing.assert_array_equal(read[f"state_dict/{key}"], array)
        half = {k: v.to(torch.bfloat16) for k, v in state.items()}
        torch.save(half, tmp_path / name, **options)
        np.testing.assert_allclose(read_weights(tmp_path / name)["conv3.weight"], arrays["conv3.weight"], rtol=1e-2)
