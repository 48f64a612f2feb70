"""PyTorch weights of known architectures: the same pictures as an independent forward pass, and no code is run."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import run_onnx
from helpers_torch import conv, nearest, prelu, shuffle, sigmoid, write_archive, write_pth

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.zoo.foreign import read_foreign
from snpe_srgan.zoo.torch_files import read_weights


class Maker:
    """Draws arrays under PyTorch's names."""

    def __init__(self, rng):
        self.rng, self.arrays = rng, {}

    def conv(self, name: str, out: int, into: int, size: int, *, bias: bool = True):
        self.arrays[f"{name}.weight"] = self.rng.normal(0, 0.6 / np.sqrt(into * size**2), (out, into, size, size))
        if bias:
            self.arrays[f"{name}.bias"] = self.rng.normal(0, 0.05, out)

    def norm(self, name: str, channels: int):
        for array, low, high in (("weight", 0.5, 1.5), ("bias", -0.1, 0.1), ("running_mean", -0.1, 0.1),
                                 ("running_var", 0.5, 1.5)):  # fmt: skip
            self.arrays[f"{name}.{array}"] = self.rng.uniform(low, high, channels)
        self.arrays[f"{name}.num_batches_tracked"] = np.zeros(1)

    def slopes(self, name: str, channels: int):
        self.arrays[f"{name}.weight"] = self.rng.uniform(0, 0.4, channels)


def srvgg(make: Maker, scale: int = 4, width: int = 8, depth: int = 4, prelus: bool = True):
    for i in range(depth):
        make.conv(f"body.{2 * i}", 3 * scale**2 if i == depth - 1 else width, width if i else 3, 3)
        if prelus and i < depth - 1:
            make.slopes(f"body.{2 * i + 1}", width)
    w = make.arrays

    def forward(x):
        y = x
        for i in range(depth):
            y = conv(y, w[f"body.{2 * i}.weight"], w[f"body.{2 * i}.bias"])
            if i < depth - 1:
                y = prelu(y, w[f"body.{2 * i + 1}.weight"] if prelus else 0.0)
        return shuffle(y, scale) + nearest(x, scale)

    return forward


def rrdb(make: Maker, dense: str, head: str, body: str, ups: tuple[str, ...], tail1: str, tail2: str, blocks: int = 1):
    width, growth = 8, 4
    make.conv(head, width, 3, 3)
    for i in range(blocks):
        for j in (1, 2, 3):
            for k in range(1, 6):
                into = width + (k - 1) * growth
                make.conv(dense.format(i=i, j=j, k=k), growth if k < 5 else width, into, 3)
    for name in (body, *ups, tail1):
        make.conv(name, width, width, 3)
    make.conv(tail2, 3, width, 3)
    w = make.arrays

    def layer(x, name):
        return conv(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def forward(x):
        y = start = layer(x, head)
        for i in range(blocks):
            block = y
            for j in (1, 2, 3):
                seen = [y]
                for k in range(1, 5):
                    seen.append(prelu(layer(np.concatenate(seen, 1), dense.format(i=i, j=j, k=k)), 0.2))
                y = y + 0.2 * layer(np.concatenate(seen, 1), dense.format(i=i, j=j, k=5))
            y = block + 0.2 * y
        y = start + layer(y, body)
        for name in ups:
            y = prelu(layer(nearest(y, 2), name), 0.2)
        return layer(prelu(layer(y, tail1), 0.2), tail2)

    return forward


def span(make: Maker, *, wide: bool, normalize: bool, width: int = 8, scale: int = 4):
    w = make.arrays

    def conv3xc(name, out, into):
        if wide:
            make.conv(f"{name}.sk", out, into, 1)
            for i, (a, b, size) in enumerate(((2 * into, into, 1), (2 * out, 2 * into, 3), (out, 2 * out, 1))):
                make.conv(f"{name}.conv.{i}", a, b, size)
            w[f"{name}.eval_conv.weight"], w[f"{name}.eval_conv.bias"] = np.zeros((out, into, 3, 3)), np.zeros(out)
        else:
            make.conv(f"{name}.eval_conv", out, into, 3)

    def run(x, name):
        if not wide:
            return conv(x, w[f"{name}.eval_conv.weight"], w[f"{name}.eval_conv.bias"])
        y = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # once, in front, as Conv3XC does
        y = conv(y, w[f"{name}.conv.0.weight"], w[f"{name}.conv.0.bias"])
        y = conv(y, w[f"{name}.conv.1.weight"], w[f"{name}.conv.1.bias"])[:, :, 1:-1, 1:-1]
        y = conv(y, w[f"{name}.conv.2.weight"], w[f"{name}.conv.2.bias"])
        return y + conv(x, w[f"{name}.sk.weight"], w[f"{name}.sk.bias"])

    conv3xc("conv_1", width, 3)
    for i in range(1, 7):
        for k in (1, 2, 3):
            conv3xc(f"block_{i}.c{k}_r", width, width)
    conv3xc("conv_2", width, width)
    make.conv("conv_cat", width, 4 * width, 1)
    make.conv("upsampler.0", 3 * scale**2, width, 3)
    if not normalize:
        w["no_norm"] = np.zeros(1)

    def forward(x):
        if normalize:
            x = (x - np.reshape([0.4488, 0.4371, 0.4040], (1, 3, 1, 1))) * 255.0
        y = head = run(x, "conv_1")
        given = []
        for i in range(1, 7):
            first = run(y, f"block_{i}.c1_r")
            second = run(first * sigmoid(first), f"block_{i}.c2_r")
            third = run(second * sigmoid(second), f"block_{i}.c3_r")
            y = (third + y) * (sigmoid(third) - 0.5)
            given.append((y, first))
        y = np.concatenate([head, run(y, "conv_2"), given[0][0], given[5][1]], 1)
        y = conv(y, w["conv_cat.weight"], w["conv_cat.bias"])
        return shuffle(conv(y, w["upsampler.0.weight"], w["upsampler.0.bias"]), scale)

    return forward


def srresnet(make: Maker, width: int = 8, blocks: int = 2):
    w = make.arrays
    make.conv("conv1.0", width, 3, 9)
    make.slopes("conv1.1", 1)
    for i in range(blocks):
        for place in (0, 3):
            make.conv(f"trunk.{i}.rcb.{place}", width, width, 3, bias=False)
            make.norm(f"trunk.{i}.rcb.{place + 1}", width)
        make.slopes(f"trunk.{i}.rcb.2", 1)
    make.conv("conv2.0", width, width, 3, bias=False)
    make.norm("conv2.1", width)
    for i in range(2):
        make.conv(f"upsampling.{i}.upsample_block.0", 4 * width, width, 3)
        make.slopes(f"upsampling.{i}.upsample_block.2", 1)
    make.conv("conv3", 3, width, 9)

    def norm(x, name):
        mean, var, gamma, beta = (w[f"{name}.{a}"].reshape(1, -1, 1, 1)
                                  for a in ("running_mean", "running_var", "weight", "bias"))  # fmt: skip
        return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta

    def forward(x):
        y = start = prelu(conv(x, w["conv1.0.weight"], w["conv1.0.bias"]), w["conv1.1.weight"])
        for i in range(blocks):
            z = norm(conv(y, w[f"trunk.{i}.rcb.0.weight"]), f"trunk.{i}.rcb.1")
            z = prelu(z, w[f"trunk.{i}.rcb.2.weight"])
            y = y + norm(conv(z, w[f"trunk.{i}.rcb.3.weight"]), f"trunk.{i}.rcb.4")
        y = start + norm(conv(y, w["conv2.0.weight"]), "conv2.1")
        for i in range(2):
            name = f"upsampling.{i}.upsample_block"
            y = prelu(shuffle(conv(y, w[f"{name}.0.weight"], w[f"{name}.0.bias"]), 2), w[f"{name}.2.weight"])
        return conv(y, w["conv3.weight"], w["conv3.bias"])

    return forward


NEW = {"dense": "body.{i}.rdb{j}.conv{k}", "head": "conv_first", "body": "conv_body", "ups": ("conv_up1", "conv_up2"),
       "tail1": "conv_hr", "tail2": "conv_last"}  # fmt: skip
OLD = {"dense": "model.1.sub.{i}.RDB{j}.conv{k}.0", "head": "model.0", "body": "model.1.sub.1",
       "ups": ("model.3", "model.6"), "tail1": "model.8", "tail2": "model.10"}  # fmt: skip
MIDDLE = {"dense": "RRDB_trunk.{i}.RDB{j}.conv{k}", "head": "conv_first", "body": "trunk_conv",
          "ups": ("upconv1", "upconv2"), "tail1": "HRconv", "tail2": "conv_last"}  # fmt: skip
NETWORKS = {
    "srvgg": srvgg,
    "srvgg relu x2": lambda make: srvgg(make, scale=2, prelus=False),
    "rrdb": lambda make: rrdb(make, **NEW),
    "rrdb of 2018": lambda make: rrdb(make, **OLD),
    "rrdb between": lambda make: rrdb(make, **MIDDLE),
    "rrdb x2": lambda make: rrdb(make, **{**NEW, "ups": ("conv_up1",)}),
    "span wide": lambda make: span(make, wide=True, normalize=True),
    "span plain": lambda make: span(make, wide=False, normalize=False),
    "srresnet": srresnet,
}


def checkpoint(name: str, rng):
    make = Maker(rng)
    forward = NETWORKS[name](make)
    make.arrays = {key: np.asarray(a, np.float32) for key, a in make.arrays.items()}
    return make.arrays, forward


@pytest.mark.parametrize("name", NETWORKS)
def test_the_picture_is_that_of_an_independent_forward_pass(name, tmp_path, rng):
    arrays, forward = checkpoint(name, rng)
    found = read_foreign(write_pth(tmp_path / "net.pth", {"params_ema": arrays}))
    lr = rng.random((1, 7, 6, 3)).astype(np.float32)
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
    assert snpe_srgan("inspect", tmp_path / "net.npz").code == 0


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "unshuffle"])
def test_an_array_that_does_not_fit_is_named(damage, tmp_path, rng):
    arrays, _ = checkpoint("rrdb" if damage == "unshuffle" else "srvgg", rng)
    if damage == "missing":
        del arrays["body.2.bias"], arrays["body.2.weight"]
        arrays["body.2.other"] = np.zeros(1)
        words = ["no known architecture"]
    elif damage == "extra":
        arrays["tail.weight"], words = np.zeros((3, 3)), ["1 arrays have no place", "tail.weight"]
    elif damage == "shape":
        arrays["body.2.bias"], words = np.zeros(5), ["body.2.bias", "(5,)"]
    else:
        arrays["conv_first.weight"], words = np.zeros((8, 12, 3, 3)), ["12 channels", "onnx"]
    done = snpe_srgan("import", write_pth(tmp_path / "net.pth", arrays), "-o", tmp_path / "net.npz")
    assert_error(done, 1, *words)
    assert not (tmp_path / "net.npz").exists()


class _Runs:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


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


@pytest.mark.parametrize("fault", ["reach", "negative", "repeat", "short"])
def test_a_tensor_stays_within_its_storage(fault, tmp_path, rng):
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4)}
    good = write_pth(tmp_path / "good.pth", arrays)
    np.testing.assert_array_equal(read_weights(good)["a"], arrays["a"])
    import zipfile

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
