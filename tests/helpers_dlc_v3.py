"""Writes small .dlc files of format 3 (SNPE 1.x), for tests: what a layer holds in, a file out.

write_v3(path, [Layer("x", "Input", [], [(1, 6, 8)]), Layer("relu", "Neuron", ["x"], [(1, 6, 8)], {"type": 1})])
"""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HEAD = b"\xd5\x0a\x03\x00\x00\x00\x00\x00"


@dataclass
class Layer:
    """Outputs are named like the layer (`name`, `name.1`, ...). A weight: an array, or (uint8 array, delta, offset)."""

    name: str
    type: str
    inputs: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)

    @property
    def outputs(self) -> list[str]:
        return [self.name + (f".{index}" if index else "") for index in range(len(self.shapes))]


def write_v3(path: Path, layers: list[Layer], *, head: bytes = HEAD, metadata: dict | None = None) -> Path:
    lines = {"converter-command": "snpe-tensorflow-to-dlc debug=-1", "converter-version": "1.37.0.788"}
    lines |= {"quantizer-command": "N/A", **(metadata or {})}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dlc.metadata", "".join(f"{key}={value}\n" for key, value in lines.items()))
        archive.writestr("model", head + flatbuffer({1: [_node(*item) for item in enumerate(layers)]}, b"NETD"))
        parameters = [{0: x.name, 1: [_weight(*item) for item in x.weights.items()]} for x in layers if x.weights]
        archive.writestr("model.params", head + flatbuffer({0: parameters}, b"NETP"))
    return path


def fixed_point(delta: float, offset: int, *, new: bool = False, axis: int = -1) -> dict:
    """The attributes of an 8-bit encoding, as SNPE wrote them until 1.48, or later."""
    ends = {"min": offset * delta, "max": (255 + offset) * delta}
    element = {"delta": float(delta), **ends, "offset": float(offset), "precision": 520}
    return {"DataEncoding": {"0": {"DataEncodingElement": {"0": element}, "axis": axis}}} if new else {
        "FxpData": {"0": element}
    }  # fmt: skip


def _node(index: int, layer: Layer) -> dict:
    shapes = {"OutputDims": {str(n): tuple(shape) for n, shape in enumerate(layer.shapes)}}
    attributes = [attribute(*item) for item in {**shapes, **layer.attributes}.items()]
    inputs = layer.inputs or layer.outputs
    return {0: ("i", index), 1: layer.name, 2: layer.type, 3: inputs, 4: layer.outputs, 5: attributes}


def _weight(name: str, value) -> dict:
    array, *encoding = value if isinstance(value, tuple) else (value,)
    values = array if encoding else array.astype("<f4")
    data = {0: ("B", 6 if encoding else 9), (1 if encoding else 2): values.reshape(-1)}
    notes = fixed_point(*encoding) if encoding else {}
    return {0: name, 1: np.array(array.shape, "<u4"), 2: data, 3: [attribute(*item) for item in notes.items()]}


def attribute(name: str, value) -> dict:
    """{slot: value} of an attribute's table; its slot is its type + 1."""
    if isinstance(value, bool):
        return {0: name, 1: ("B", 1), 2: ("B", int(value))}
    if isinstance(value, int):
        return {0: name, 1: ("B", 2), 3: ("i", value)}
    if isinstance(value, float):
        return {0: name, 1: ("B", 4), 5: ("f", value)}
    if isinstance(value, str):
        return {0: name, 1: ("B", 5), 6: value}
    if isinstance(value, dict):
        return {0: name, 1: ("B", 11), 12: [attribute(*item) for item in value.items()]}
    array = np.asarray(value)
    kind = 9 if array.dtype.kind == "f" else 8
    return {0: name, 1: ("B", kind), kind + 1: array.astype("<f4" if kind == 9 else "<i4")}


def flatbuffer(root: dict, identifier: bytes) -> bytes:
    """A flatbuffer of {slot: (struct letter, number) | text | array | {...} | [texts] | [{...}]}."""
    data = bytearray(b"\0\0\0\0" + identifier)
    struct.pack_into("<I", data, 0, _put(data, root))
    return bytes(data)


def _put(data: bytearray, value) -> int:
    """Appends a value and what it refers to; gives its position."""
    data += bytes(-len(data) % 4)
    if isinstance(value, str):
        at, text = len(data), value.encode()
        data += struct.pack("<I", len(text)) + text + b"\0"
        return at
    if isinstance(value, np.ndarray):
        at = len(data)
        data += struct.pack("<I", len(value)) + value.tobytes()
        return at
    if isinstance(value, list):
        at = len(data)
        data += struct.pack("<I", len(value)) + bytes(4 * len(value))
        _refer(data, [(at + 4 + 4 * index, item) for index, item in enumerate(value)])
        return at
    slots = max(value) + 1
    vtable = len(data)
    data += struct.pack("<HH", 4 + 2 * slots, 4 + 8 * len(value))
    places = {slot: 4 + 8 * index for index, slot in enumerate(value)}
    data += b"".join(struct.pack("<H", places.get(slot, 0)) for slot in range(slots)) + bytes(2 * (slots % 2))
    at = len(data)
    data += struct.pack("<i", at - vtable) + bytes(8 * len(value))
    for slot, item in value.items():
        if isinstance(item, tuple):
            struct.pack_into("<" + item[0], data, at + places[slot], item[1])
    _refer(data, [(at + places[slot], item) for slot, item in value.items() if not isinstance(item, tuple)])
    return at


def _refer(data: bytearray, places: list[tuple[int, object]]) -> None:
    for place, item in places:
        struct.pack_into("<I", data, place, _put(data, item) - place)


def small_network(*, quantized: bool = False, seed: int = 0) -> list[Layer]:
    """Everything real super-resolution files hold: x2, 6x8 to 12x16, with a strided and a depthwise convolution."""
    random = np.random.default_rng(seed)
    note = (lambda delta, offset=-128: fixed_point(delta, offset)) if quantized else lambda *_: {}

    def kernel(*shape):
        values = random.standard_normal(shape).astype(np.float32) / np.sqrt(np.prod(shape[:3]))
        return (np.clip(np.rint(values / 0.02) + 128, 0, 255).astype(np.uint8), 0.02, -128) if quantized else values

    def conv(name, source, size, channels, out, k=3, stride=1, groups=1):
        result = tuple(-(-n // stride) for n in size)
        pads = [max((r - 1) * stride + k - n, 0) // 2 for r, n in zip(result, size, strict=True)]
        attributes = {
            "dilation_x": 1, "dilation_y": 1, "groups": groups, "kernel_size": k, "kernel_size_y": k,
            "padding": pads[1], "padding_mode": 0, "padding_strategy": 3, "padding_y": pads[0],
            "stride": stride, "stride_y": stride,
        }  # fmt: skip
        weights = {"bias": kernel(out), "weights_0": kernel(k, k, channels // groups, out)}
        return Layer(name, "Convolutional", [source], [(1, *result, out)], {**attributes, **note(0.05)}, weights)

    image = (6, 8)
    relu = {"a": 0.0, "b": 0.0, "max_clamp": 0.0, "min_clamp": 0.0, "type": 1}
    return [
        Layer("lr:0", "Input", [], [(1, *image, 3)], {"input_type": 0, **note(1 / 255, 0)}),
        conv("conv1", "lr:0", image, 3, 8),
        Layer("relu1", "Neuron", ["conv1"], [(1, *image, 8)], {**relu, **note(0.02, 0)}),
        conv("depthwise", "relu1", image, 8, 8, groups=8),
        Layer("add", "ElementwiseOp", ["depthwise", "relu1"], [(1, *image, 8)],
              {"coeffs": (1.0, 1.0), "op": 0, **note(0.05)}),
        conv("conv2", "add", image, 8, 12),
        Layer("shuffle", "PixelShuffle", ["conv2"], [(1, 12, 16, 3)], {"upscale_factor": 2, **note(0.05)}),
        Layer("sr", "Neuron", ["shuffle"], [(1, 12, 16, 3)],
              {**relu, "type": 4, "max_clamp": 1.0, "min_clamp": 0.0, **note(1 / 255, 0)}),
    ]  # fmt: skip
