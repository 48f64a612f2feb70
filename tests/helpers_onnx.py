"""Tiny ONNX networks with random weights, float and QDQ, for the tests of everything that reads or runs ONNX."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Net:
    """Builds a network `lr` [1,h,w,3] -> `sr` [1,h*scale,w*scale,3], NHWC at its ends and NCHW inside."""

    def __init__(self, seed: int = 0):
        self.nodes, self.constants, self.random, self.count = [], [], np.random.default_rng(seed), 0

    def _name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def const(self, values) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(values), self._name("const")))
        return self.constants[-1].name

    def op(self, kind: str, *inputs: str, name: str | None = None, **attributes) -> str:
        name = name or self._name(kind.lower())
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"{name}_op", **attributes))
        return name

    def conv(self, x: str, cin: int, cout: int, k: int = 3, gain: float = 1.0, group: int = 1, **attributes) -> str:
        weight = self.random.standard_normal((cout, cin // group, k, k)) * gain / np.sqrt(cin // group * k * k)
        bias = self.const((self.random.standard_normal(cout) * 0.1).astype(np.float32))
        attributes.setdefault("pads", [k // 2] * 4)
        weight = self.const(weight.astype(np.float32))
        return self.op("Conv", x, weight, bias, kernel_shape=[k, k], group=group, **attributes)

    def prelu(self, x: str, channels: int) -> str:
        slope = self.random.uniform(0.05, 0.4, (channels, 1, 1)).astype(np.float32)
        return self.op("PRelu", x, self.const(slope))

    def start(self) -> str:
        return self.op("Transpose", "lr", perm=[0, 3, 1, 2])

    def model(self, x: str, size: tuple[int, int], scale: int = 4, opset: int = 17) -> onnx.ModelProto:
        self.op("Transpose", x, perm=[0, 2, 3, 1], name="sr")
        shapes = {"lr": [1, *size, 3], "sr": [1, size[0] * scale, size[1] * scale, 3]}
        lr, sr = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items())
        graph = helper.make_graph(self.nodes, "net", [lr], [sr], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        onnx.checker.check_model(model)
        return model


def srgan(size=(12, 16), blocks=2, width=8, seed=0, opset=17) -> onnx.ModelProto:
    """The paper's generator, batch norm folded: PReLU, residual adds, long skip, two pixel shuffles, tanh."""
    net = Net(seed)
    x = skip = net.prelu(net.conv(net.start(), 3, width, 9, 2.0), width)
    for _ in range(blocks):
        y = net.prelu(net.conv(x, width, width), width)
        x = net.op("Add", net.conv(y, width, width, gain=0.5), x)
    x = net.op("Add", net.conv(x, width, width), skip)
    for _ in range(2):
        x = net.op("DepthToSpace", net.conv(x, width, width * 4), blocksize=2, mode="DCR")
        x = net.prelu(x, width)
    return net.model(net.op("Tanh", net.conv(x, width, 3, 9)), size, opset=opset)


def mobile(size=(12, 16), blocks=2, width=8, seed=0, opset=17) -> onnx.ModelProto:
    """A plain network: 3x3 convolutions and ReLU, a 1x1 anchor, clip to [-1, 1], one pixel shuffle."""
    net = Net(seed)
    start = net.start()
    x = net.op("Relu", net.conv(start, 3, width))
    for _ in range(blocks):
        x = net.op("Relu", net.conv(x, width, width))
    x = net.op("Add", net.conv(x, width, 48), net.conv(start, 3, 48, 1))
    x = net.op("Clip", x, net.const(np.float32(-1)), net.const(np.float32(1)))
    return net.model(net.op("DepthToSpace", x, blocksize=4, mode="DCR"), size, opset=opset)


def lr_batch(size=(12, 16), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).random((1, *size, 3), dtype=np.float32)


def run_cpu(model: onnx.ModelProto, lr: np.ndarray, fetch: list[str] | None = None) -> list[np.ndarray]:
    """ONNX Runtime's own arithmetic, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(fetch, {session.get_inputs()[0].name: lr})


SHARE = {"Transpose", "DepthToSpace", "Reshape", "MaxPool"}  # move values, so keep their encoding
FUSED = {"Relu"}  # after Conv: no quantization between the two


def quantize(model: onnx.ModelProto, bits: int = 8, per_channel: bool = True) -> onnx.ModelProto:
    """QDQ by min-max of one random picture: activations asymmetric, weights symmetric int8, biases int32."""
    graph = model.graph
    size = tuple(d.dim_value for d in graph.input[0].type.tensor_type.shape.dim)[1:3]
    lr = lr_batch(size, seed=99)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    names = [n.output[0] for n in graph.node]
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {o.name for o in graph.output}
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in names if n not in known)
    values = dict(zip(names, run_cpu(probe, lr, names), strict=True)) | {"lr": lr}
    users: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    nodes, extra, encodings = [], [], {}
    top = 2**bits - 1
    activation = np.uint8 if bits == 8 else np.uint16

    def constant(name, array):
        extra.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(kind, inputs, output, **attributes):
        nodes.append(helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **attributes))

    def pair(name: str, encoding, out: str):
        scale, zero = encoding
        s, z = constant(f"{out}_scale", np.float32(scale)), constant(f"{out}_zero", activation(zero))
        node("QuantizeLinear", [name, s, z], f"{out}_q")
        node("DequantizeLinear", [f"{out}_q", s, z], out)

    def activation_encoding(name):
        low, high = min(float(values[name].min()), 0.0), max(float(values[name].max()), 1e-6)
        scale = np.float32((high - low) / top)
        return scale, round(-low / scale)

    def stored(name, axis=None, scale=None, kind=np.int8):
        data = constants[name]
        if kind is not np.int8:  # unsigned, as the activations are
            scale, limit = np.float32(np.abs(data).max() / np.iinfo(kind).max), np.iinfo(kind).max
        elif scale is None:
            others = None if axis is None else tuple(i for i in range(data.ndim) if i != axis)
            scale, limit = (np.abs(data).max(axis=others) / 127).astype(np.float32), 127
        else:
            kind, limit = np.int32, 2**31 - 1
        scale = np.asarray(scale, np.float32)
        wide = scale.reshape([-1 if i == axis else 1 for i in range(data.ndim)]) if scale.ndim else scale
        q = np.clip(np.round(data.astype(np.float64) / wide), -limit, limit).astype(kind)
        s = constant(f"{name}_scale", scale)
        z = constant(f"{name}_zero", np.zeros(scale.shape, kind))
        extra_axis = {"axis": axis} if scale.ndim else {}
        node("DequantizeLinear", [constant(f"{name}_q", q), s, z], f"{name}_dq", **extra_axis)
        return f"{name}_dq", scale

    encodings["lr"] = activation_encoding("lr")
    pair("lr", encodings["lr"], "lr_dq")
    renamed = {"lr": "lr_dq"}
    for item in graph.node:
        inputs = [renamed.get(n, n) for n in item.input]
        if item.op_type in ("Conv", "ConvTranspose"):
            axis = None if not per_channel else 0 if item.op_type == "Conv" else 1
            inputs[1], weight_scale = stored(item.input[1], axis)
            if len(inputs) > 2:
                source = encodings[item.input[0]][0]
                inputs[2], _ = stored(item.input[2], 0 if per_channel else None, source * weight_scale)
        elif item.op_type == "PRelu":
            inputs[1], _ = stored(item.input[1], kind=activation)  # the HTP wants both of one type
        out, final = item.output[0], item.output[0] == "sr"
        follower = users.get(out, [None])[0]
        fused = follower is not None and len(users[out]) == 1 and follower.op_type in FUSED and item.op_type == "Conv"
        raw = out if fused else f"{out}_raw"
        copy = helper.make_node(item.op_type, inputs, [raw], name=item.name)
        copy.attribute.extend(item.attribute)
        nodes.append(copy)
        if not fused:
            shared = item.op_type in SHARE
            encodings[out] = encodings[item.input[0]] if shared else activation_encoding(out)
            pair(raw, encodings[out], out if final else f"{out}_dq")
            renamed[out] = f"{out}_dq"
    kept = [t for t in graph.initializer if any(t.name in n.input for n in nodes)]
    quantized = helper.make_graph(nodes, "qdq", graph.input, graph.output, kept + extra)
    opset = 21 if bits == 16 else model.opset_import[0].version
    result = helper.make_model(quantized, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.checker.check_model(result)
    return result
