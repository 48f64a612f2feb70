"""The .dlc reader and the rebuilt graph: the same bits on the emulator as the graph a file was made from."""

from __future__ import annotations

import struct
import tracemalloc

import helpers_onnx as nets
import numpy as np
import onnx
import pytest
from helpers_dlc import TINY, mutate, read_all, repack
from helpers_dlc_v3 import flatbuffer

from snpe_srgan.dlc.compare import compare
from snpe_srgan.dlc.describe import describe
from snpe_srgan.dlc.flatbuffer import Buffer
from snpe_srgan.dlc.reader import read
from snpe_srgan.dlc.to_onnx import rebuild
from snpe_srgan.errors import InputError
from snpe_srgan.toolchains import qnn
from snpe_srgan.toolchains.qnn_process import Worker

needs_wheel = pytest.mark.skipif(qnn.available() is not None, reason=f"no QNN: {qnn.available()}")


# -- reading ----------------------------------------------------------------------------------------------------------


def test_tiny_file_is_what_was_written():
    graph = read(TINY).graphs[0]
    assert [t.name for t in graph.of_role("input")] == ["lr"]
    assert [t.dims for t in graph.of_role("output")] == [(1, 24, 32, 3)]
    assert [n.type for n in graph.nodes if n.type.startswith("Conv2d")] == ["Conv2d"] * 3


def test_weights_and_encodings_equal_the_onnx_ones():
    """The weights, dequantized with (q + offset) * scale, are those of the float network to half a step."""
    model = nets.mobile((6, 8), blocks=0, width=4)
    wanted = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    checked = 0
    for tensor in read(TINY).graphs[0].tensors.values():
        kernel = wanted.get(tensor.name.removesuffix("_q"))
        if tensor.role == "static" and kernel is not None and kernel.ndim == 4:
            scale = tensor.encoding.scale  # along the last axis of HWIO
            values = (tensor.data() + tensor.encoding.offset) * scale
            assert (np.abs(values - kernel.transpose(2, 3, 1, 0)) <= scale / 2 + 1e-7).all()
            checked += 1
    assert checked == 3


def test_summary_counts_every_weight_once():
    summary = describe(read(TINY))
    weights = nets.mobile((6, 8), blocks=0, width=4).graph.initializer
    assert summary.parameters == sum(int(np.prod(t.dims)) for t in weights if t.dims)
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.weight_bytes == sum(summary.bytes_by_dtype.values()) < summary.bytes
    assert summary.quantized and "2.51" in summary.history[0].version


def test_tiny_file_rebuilt_computes_its_network():
    lr = nets.lr_batch((6, 8))
    rebuilt = nets.run_cpu(rebuild(read(TINY)), lr)[0]
    (wanted,) = nets.run_cpu(nets.mobile((6, 8), blocks=0, width=4), lr)
    assert rebuilt.shape == wanted.shape and np.abs(rebuilt - wanted).mean() < 0.02  # of a range of 2


@pytest.mark.parametrize("where", ["tables", "buffers"])
def test_weights_of_early_files_are_the_same(tmp_path, where):
    """Before format 4.1 weights lay in the parameters' own tables, or in buffers that these refer to by number."""
    graph, buffers = read(TINY).graphs[0], []

    def data(tensor):
        raw = np.frombuffer(tensor._bytes, np.uint8)
        if where == "tables":
            return {0: tensor.name, 1: raw}
        buffers.append({0: raw})
        return {0: tensor.name, 2: ("q", len(buffers) - 1)}

    nodes = [{0: [data(v) for v in n.attributes.values() if not isinstance(v, (int, float, str))]} for n in graph.nodes]
    tables = {0: [{0: graph.name, 1: [data(t) for t in graph.tensors.values() if t.role == "static"], 2: nodes}]}
    if where == "buffers":
        inner = np.frombuffer(flatbuffer(tables, b"NETP"), np.uint8)
        record = flatbuffer({0: buffers, 1: inner}, b"NR64")
    else:
        record = flatbuffer(tables, b"NETP")
    change = {"model.params": b"\xd5\x0a\x04\x00\x00\x00\x00\x00" + record, "model.params.bin": None}
    early = read(repack(TINY, tmp_path / "early.dlc", change))
    result = compare(read(TINY), early)
    assert not (result.changed or result.added or result.removed) and describe(early).weight_bytes == 2380
    assert nets.run_cpu(rebuild(early), nets.lr_batch((6, 8)))[0].shape == (1, 24, 32, 3)


# -- files from strangers ---------------------------------------------------------------------------------------------


def refused(path) -> str:
    with pytest.raises(InputError) as caught:
        read_all(path)
    assert 1 <= len(caught.value.lines()) <= 3
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18), b"PK\x05\x06" + b"\xff" * 18])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.dlc"
    path.write_bytes(content)
    refused(path)


def test_missing_file_folder_and_record(tmp_path):
    assert "No such file" in refused(tmp_path / "absent.dlc")
    assert "folder" in refused(tmp_path)
    assert "mandatory record" in refused(repack(TINY, tmp_path / "a.dlc", {"model": None}))


def test_every_truncation_is_refused(tmp_path):
    data, path = TINY.read_bytes(), tmp_path / "cut.dlc"
    for length in range(0, len(data), 331):
        path.write_bytes(data[:length])
        refused(path)


def test_records_without_their_weights_are_refused(tmp_path):
    for change in ({"model.params.bin": b"\0" * 8}, {"model.params": None}, {"model": b"\xd5\x0a\x04\x00"}):
        refused(repack(TINY, tmp_path / "x.dlc", change))


def test_damaged_files_are_read_or_refused(tmp_path):
    """400 damaged copies; `scripts/fuzz dlc --count N` does more."""
    data, path, rng = TINY.read_bytes(), tmp_path / "damaged.dlc", np.random.default_rng(7)
    for _ in range(400):
        path.write_bytes(mutate(data, rng))
        try:
            read_all(path)
        except InputError as error:
            assert len(error.lines()) <= 3


def test_packed_records_do_not_fill_the_memory(tmp_path):
    """A record of 16 MB and 10 of 8 MB, all zeros, in 0.1 MB of file."""
    import zipfile

    path = tmp_path / "bomb.dlc"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model", b"\xd5\x0a\x03\x00" + bytes(16 << 20))
        for index in range(10):
            archive.writestr(f"dlc.metadata{index}", bytes(8 << 20))
    tracemalloc.start()
    refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 << 20


def test_self_referring_tables_end_quickly():
    """Three lists of 1000 references to one table each: a billion visits for a reader that trusts the file."""
    fan, data = 1000, bytearray(struct.pack("<IHHHH", 12, 6, 8, 4, 0))  # root offset, one-slot vtable, padding
    for _ in range(3):
        table, start = len(data), len(data) + 12
        data += struct.pack("<iII", table - 4, 4, fan)  # vtable, slot 0 -> the list that follows
        data += b"".join(struct.pack("<I", start + 4 * fan - (start + 4 * i)) for i in range(fan))
    data += struct.pack("<iI", len(data) - 4, 0)

    def visit(table, depth):
        if depth:
            for child in table.tables(0):
                visit(child, depth - 1)

    tracemalloc.start()
    with pytest.raises(InputError, match="too often"):
        visit(Buffer(memoryview(bytes(data)), where="x").root(), 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_unknown_operator_is_named(tmp_path):
    from snpe_srgan.dlc.container import Container

    model = bytes(Container(TINY).read("model")).replace(b"DepthToSpace", b"DepthToSpaze")
    message = refused(repack(TINY, tmp_path / "x.dlc", {"model": model}))
    assert "'DepthToSpaze'" in message and "depthtospace" in message


# -- the same bits ----------------------------------------------------------------------------------------------------


def zoo(size=(12, 16)) -> onnx.ModelProto:
    """One operator after the other that the two networks do not have, all in one graph."""
    net = nets.Net(5)
    x = net.conv(net.start(), 3, 8)
    x = net.op("Sigmoid", net.conv(net.op("LeakyRelu", x, alpha=0.2), 8, 8, group=8))
    x = net.op("Elu", net.conv(x, 8, 8, group=2, dilations=[2, 2], pads=[2] * 4), alpha=0.5)
    y = net.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    x = net.op("Concat", net.op("Sub", x, y), net.op("Max", x, y), axis=1)
    first, last, axis = (net.const(np.array([n], np.int64)) for n in (2, 10, 1))
    x = net.op("Slice", x, first, last, axis)
    x = net.op("Mul", x, net.op("GlobalAveragePool", x))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    kernel = net.const(net.random.standard_normal((8, 8, 4, 4)).astype(np.float32) * 0.2)
    x = net.op("ConvTranspose", x, kernel, kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4)
    scales = net.const(np.array([1, 1, 2, 2], np.float32))
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = net.op("Resize", x, "", scales, mode="nearest", **how)
    x = net.op("DepthToSpace", net.conv(x, 8, 16), blocksize=2, mode="CRD")
    return net.model(net.conv(x, 4, 3), size)


NETS = {"srgan": nets.srgan, "mobile": nets.mobile, "zoo": zoo}
KINDS = {
    "float": lambda model: model,
    "w8a8": lambda model: nets.quantize(model, 8, per_channel=False),
    "w8a8-perchannel": lambda model: nets.quantize(model, 8),
    "w8a16": lambda model: nets.quantize(model, 16),
}
CASES = [(n, k) for n in ("srgan", "mobile") for k in KINDS] + [("zoo", "float"), ("zoo", "w8a8-perchannel")]


@pytest.fixture(scope="module")
def emulator():
    """One child process for all these graphs; float graphs are computed in float16, as SM8650 does."""
    with Worker(timeout=300) as worker:

        def run(path, lr):
            worker.open(path, {"soc_model": "57"})
            return worker.ask({"do": "run"}, [lr])[1][0]

        yield run


@needs_wheel
@pytest.mark.parametrize(("net", "kind"), CASES)
def test_rebuilt_graph_gives_the_same_bits_on_the_emulator(net, kind, tmp_path, emulator):
    model, lr = KINDS[kind](NETS[net]()), nets.lr_batch()
    onnx.save(model, tmp_path / "made_from.onnx")
    qnn.write_dlc(tmp_path / "made_from.onnx", tmp_path / "x.dlc", offload_io=(net, kind) == ("srgan", "w8a8"))
    rebuilt = rebuild(read(tmp_path / "x.dlc"))
    onnx.save(rebuilt, tmp_path / "rebuilt.onnx")
    wanted = emulator(tmp_path / "made_from.onnx", lr)
    assert np.array_equal(emulator(tmp_path / "rebuilt.onnx", lr), wanted)
    assert np.abs(wanted).max() > 0.05  # a dead network would agree too
    tolerance = {"float": 1e-5, "w8a16": 4 / 65535}.get(kind, 4 / 255)  # two steps of the output's grid
    assert np.abs(nets.run_cpu(rebuilt, lr)[0] - nets.run_cpu(model, lr)[0]).max() <= tolerance


@needs_wheel
def test_operators_of_several_nodes_compute_what_the_model_did(tmp_path):
    net = nets.Net(6)
    vector = [net.const(net.random.standard_normal(4).astype(np.float32)) for _ in range(2)]
    x = net.op("Softplus", net.conv(net.start(), 3, 4))
    x = net.op("InstanceNormalization", net.op("Reciprocal", net.op("Sqrt", x)), *vector, epsilon=1e-3)
    groups = [net.const(np.array(shape, np.int64)) for shape in ((1, 4, 64), (1, 4, 8, 8))]
    x = net.op("InstanceNormalization", net.op("Reshape", x, groups[0]), *vector, epsilon=1e-3)
    x = net.op("Reshape", x, groups[1])
    x = net.op("LayerNormalization", net.op("Transpose", x, perm=[0, 2, 3, 1]), *vector, axis=-1, epsilon=1e-3)
    x = net.op("LogSoftmax", net.op("Transpose", x, perm=[0, 3, 1, 2]), axis=3)
    x = net.op("MatMul", net.op("Transpose", x, perm=[0, 1, 3, 2]), x)
    x = net.op("Tile", x, net.const(np.array([1, 1, 2, 2], np.int64)))
    x = net.op("Gather", x, net.const(np.array([3, 1, 0, 1], np.int64)), axis=1)
    model = net.model(net.conv(x, 4, 3, gain=0.01), (8, 8), scale=2)
    onnx.save(model, tmp_path / "x.onnx")
    qnn.write_dlc(tmp_path / "x.onnx", tmp_path / "x.dlc")
    dlc, lr = read(tmp_path / "x.dlc"), nets.lr_batch((8, 8))
    assert {"InstanceNorm", "LayerNorm", "LogSoftmax", "MatMul", "Tile", "Gather"} <= {
        n.type for n in dlc.graphs[0].nodes
    }
    assert np.allclose(nets.run_cpu(rebuild(dlc), lr)[0], nets.run_cpu(model, lr)[0], atol=1e-4)


@needs_wheel
def test_onnxruntimes_own_quantization_too(tmp_path, emulator):
    """Its QDQ leaves PReLU and pixel shuffle in float: integers and floats in one graph."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Pictures(CalibrationDataReader):
        def __init__(self):
            self.left = [nets.lr_batch(seed=1)]

        def get_next(self):
            return {"lr": self.left.pop()} if self.left else None

    onnx.save(nets.srgan(blocks=1), tmp_path / "float.onnx")
    kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
    quantize_static(tmp_path / "float.onnx", tmp_path / "q.onnx", Pictures(), per_channel=True, **kinds)
    qnn.write_dlc(tmp_path / "q.onnx", tmp_path / "x.dlc")
    onnx.save(rebuild(read(tmp_path / "x.dlc")), tmp_path / "rebuilt.onnx")
    lr = nets.lr_batch()
    assert np.array_equal(emulator(tmp_path / "rebuilt.onnx", lr), emulator(tmp_path / "q.onnx", lr))


@needs_wheel
def test_papers_network_has_the_papers_size(tmp_path):
    """16 x 64: 6.2 MB in float, 1.7 MB in eight bits (Table 3)."""
    model = nets.srgan((8, 8), blocks=16, width=64)
    sizes = []
    for name, graph in (("float", model), ("w8a8", nets.quantize(model))):
        onnx.save(graph, tmp_path / f"{name}.onnx")
        sizes.append(qnn.write_dlc(tmp_path / f"{name}.onnx", tmp_path / f"{name}.dlc").bytes)
    assert sizes[0] <= 6.3e6 and sizes[1] <= 1.75e6
