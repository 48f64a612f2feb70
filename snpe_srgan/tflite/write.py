"""An 8-bit network as a .tflite file, by the classes that ai-edge-litert generates from LiteRT's own schema.

    data = write(network, borders="uint8", metadata={"scale": 4})

The weights stay int8 per channel, the biases int32; activations are int8, LiteRT's only integer form that every
kernel and every NPU compiler takes. At the ends a QUANTIZE and a DEQUANTIZE give uint8 pixels or floats in 0..1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Literal

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.tflite.graph import Grid, Network, Operator
from snpe_srgan.tflite.rewrite import PIXELS, padding
from snpe_srgan.tflite.schema import IDENTIFIER, schema

Borders = Literal["uint8", "float32"]
SHIFT = 128  # the file's int8 is the grid's uint8 less this
METADATA = "snpe_srgan"  # name of the metadata record with what an engine must know besides
INPUT, OUTPUT = "lr", "sr"
SIGNATURE = "serving_default"
ALIGNMENT = 16  # of weights in the file, as the schema's force_align says


def write(network: Network, *, borders: Borders, metadata: Mapping[str, object], where: object = None) -> bytes:
    """The bytes of the file.

    Args:
        network: after `rewrite.prepare` and `rewrite.to_pixels`.
        borders: type of input and output; uint8 means pixels (scale 1/255, zero point 0), float32 means 0..1.
        metadata: stored as JSON in the record METADATA.
        where: the model, for errors.
    """
    return _Writer(network, where).file(borders, metadata)


class _Writer:
    def __init__(self, network: Network, where: object):
        self.s: ModuleType = schema()
        self.network, self.where = network, where
        self.tensors: list = []
        self.buffers: list = [self.s.BufferT()]  # the empty one, that all activations name
        self.codes: dict[str, int] = {}
        self.operators: list = []
        self.index: dict[str, int] = {}

    def file(self, borders: Borders, metadata: Mapping[str, object]) -> bytes:
        s, network = self.s, self.network
        kind, grid = (s.TensorType.UINT8, PIXELS) if borders == "uint8" else (s.TensorType.FLOAT32, None)
        lr = self._tensor(INPUT, network.shapes[network.input], kind, grid, shift=0)
        self._activation(network.input)
        quantize = s.BuiltinOptions.QuantizeOptions
        self._emit("QUANTIZE", [lr], [self.index[network.input]], quantize, s.QuantizeOptionsT())
        for operator in network.operators:
            self._operator(operator)
        last = self.index[network.output]
        sr = self._tensor(OUTPUT, network.shapes[network.output], kind, grid, shift=0)
        if borders == "uint8":
            self._emit("QUANTIZE", [last], [sr], quantize, s.QuantizeOptionsT())
        else:
            self._emit("DEQUANTIZE", [last], [sr], s.BuiltinOptions.DequantizeOptions, s.DequantizeOptionsT())
        return self._pack(lr, sr, metadata)

    # -- tensors ------------------------------------------------------------------------------------------------

    def _tensor(self, name: str, shape: Sequence[int], kind: int, grid: Grid | None, *, shift: int = SHIFT) -> int:
        tensor = self.s.TensorT(shape=np.asarray(shape, np.int32), type=kind, name=name.encode())
        if grid is not None:
            tensor.quantization = self._quantization([grid.scale], [grid.zero - shift])
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _quantization(self, scales: Sequence[float], zeros: Sequence[int], axis: int = 0):
        return self.s.QuantizationParametersT(
            scale=np.asarray(scales, np.float32), zeroPoint=np.asarray(zeros, np.int64), quantizedDimension=axis
        )

    def _activation(self, name: str) -> int:
        if name not in self.index:
            network = self.network
            label = name.removesuffix("_quantized")
            if label in (INPUT, OUTPUT):
                label += "_int8"
            self.index[name] = self._tensor(label, network.shapes[name], self.s.TensorType.INT8, network.grids[name])
        return self.index[name]

    def _stored(self, name: str, values: np.ndarray, kind: int, scales=None, zeros=None, axis: int = 0) -> int:
        self.buffers.append(_aligned_buffer(self.s, values))
        index = self._tensor(name, values.shape, kind, None)
        self.tensors[index].buffer = len(self.buffers) - 1
        if scales is not None:
            self.tensors[index].quantization = self._quantization(scales, zeros, axis)
        return index

    # -- operators ----------------------------------------------------------------------------------------------

    def _emit(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options_type: int = 0, options=None):
        code = self.codes.setdefault(kind, len(self.codes))
        self.operators.append(
            self.s.OperatorT(
                opcodeIndex=code, inputs=np.asarray(inputs, np.int32), outputs=np.asarray(outputs, np.int32),
                builtinOptionsType=options_type, builtinOptions=options,
            )
        )  # fmt: skip

    def _operator(self, operator: Operator) -> None:
        if operator.kind not in EMITTERS:
            raise InputError(f"LiteRT's operator {operator.kind} is not written here", where=self.where)
        inputs = [self._activation(name) for name in operator.inputs]
        extra, options_name, options = EMITTERS[operator.kind](self, operator)
        kind = getattr(self.s.BuiltinOptions, options_name) if options_name else 0
        self._emit(operator.kind, [*inputs, *extra], [self._activation(operator.output)], kind, options)

    def weights(self, operator: Operator) -> list[int]:
        name = operator.attributes.get("name", operator.output)
        axis = 0 if operator.kind == "CONV_2D" else 3
        weights, scales, bias = operator.filters()
        steps = self.network.grids[operator.inputs[0]].scale * scales
        zeros = np.zeros(len(scales), np.int64)
        return [
            self._stored(f"{name}/weights", weights, self.s.TensorType.INT8, scales, zeros, axis),
            self._stored(f"{name}/bias", bias.astype(np.int32), self.s.TensorType.INT32, steps, zeros),
        ]

    def operand(self, operator: Operator, what: str) -> int:
        """A constant operand on a grid of its own."""
        name, constant = operator.attributes.get("name", operator.output), operator.constant
        grid = operator.constant_grid
        if constant is None or grid is None:
            raise ValueError(f"{operator.kind} has no constant operand")
        values = (constant.astype(np.int16) - SHIFT).astype(np.int8)
        return self._stored(f"{name}/{what}", values, self.s.TensorType.INT8, [grid.scale], [grid.zero - SHIFT])

    def numbers(self, operator: Operator, what: str, values: Sequence) -> int:
        name = operator.attributes.get("name", operator.output)
        return self._stored(f"{name}/{what}", np.asarray(values, np.int32), self.s.TensorType.INT32)

    # -- the whole file -----------------------------------------------------------------------------------------

    def _pack(self, lr: int, sr: int, metadata: Mapping[str, object]) -> bytes:
        import flatbuffers

        s = self.s
        text = np.frombuffer(json.dumps(dict(metadata), sort_keys=True).encode(), np.uint8)
        self.buffers.append(_aligned_buffer(s, text))
        record = s.MetadataT(name=METADATA.encode(), buffer=len(self.buffers) - 1)
        subgraph = s.SubGraphT(
            tensors=self.tensors, inputs=np.array([lr], np.int32), outputs=np.array([sr], np.int32),
            operators=self.operators, name=b"main",
        )  # fmt: skip
        signature = s.SignatureDefT(
            inputs=[s.TensorMapT(name=INPUT.encode(), tensorIndex=lr)],
            outputs=[s.TensorMapT(name=OUTPUT.encode(), tensorIndex=sr)],
            signatureKey=SIGNATURE.encode(), subgraphIndex=0,
        )  # fmt: skip
        model = s.ModelT(
            version=3, operatorCodes=[_code(s, kind) for kind in self.codes], subgraphs=[subgraph],
            description=b"snpe-srgan", buffers=self.buffers, metadata=[record], signatureDefs=[signature],
        )  # fmt: skip
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "ADD": 2, "MUL": 2, "QUANTIZE": 2, "DEQUANTIZE": 2, "TANH": 2,
            "LOGISTIC": 2, "RELU": 2, "CONCATENATION": 2, "RESIZE_NEAREST_NEIGHBOR": 2, "LEAKY_RELU": 2, "PAD": 2,
            "MEAN": 2, "MINIMUM": 2, "MAXIMUM": 2}  # fmt: skip  # the first that takes int8


def _code(s: ModuleType, kind: str):
    number = getattr(s.BuiltinOperator, kind)
    return s.OperatorCodeT(deprecatedBuiltinCode=min(number, 127), builtinCode=number, version=VERSIONS.get(kind, 1))


def _aligned_buffer(s: ModuleType, values: np.ndarray):
    """A buffer whose bytes begin at a multiple of ALIGNMENT in the file; the generated class leaves that out."""

    class Aligned(s.BufferT):  # type: ignore[name-defined]  # generated: known when the package is imported
        def Pack(self, builder):
            builder.StartVector(1, len(self.data), ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            data = builder.EndVector()
            s.BufferStart(builder)
            s.BufferAddData(builder, data)
            return s.BufferEnd(builder)

    return Aligned(data=np.ascontiguousarray(values).tobytes())


def _conv(writer: _Writer, operator: Operator):
    s = writer.s
    options = s.Conv2DOptionsT() if operator.kind == "CONV_2D" else s.DepthwiseConv2DOptionsT()
    options.padding = getattr(s.Padding, padding(operator) or "VALID")
    options.strideH, options.strideW = operator.attributes["strides"]
    options.dilationHFactor, options.dilationWFactor = operator.attributes["dilations"]
    options.fusedActivationFunction = _activation(s, operator)
    if operator.kind == "DEPTHWISE_CONV_2D":
        options.depthMultiplier = operator.attributes["multiplier"]
        return writer.weights(operator), "DepthwiseConv2DOptions", options
    return writer.weights(operator), "Conv2DOptions", options


def _activation(s: ModuleType, operator: Operator) -> int:
    return s.ActivationFunctionType.RELU if operator.relu else s.ActivationFunctionType.NONE


def _sum(writer: _Writer, operator: Operator):
    return [], "AddOptions", writer.s.AddOptionsT(fusedActivationFunction=_activation(writer.s, operator))


def _mul(writer: _Writer, operator: Operator):
    extra = [] if operator.constant is None else [writer.operand(operator, "factor")]
    return extra, "MulOptions", writer.s.MulOptionsT(fusedActivationFunction=_activation(writer.s, operator))


def _bound(writer: _Writer, operator: Operator):
    return [writer.operand(operator, "bound")], "MaximumMinimumOptions", writer.s.MaximumMinimumOptionsT()


def _prelu(writer: _Writer, operator: Operator):
    return [writer.operand(operator, "slopes")], "", None


def _leaky(writer: _Writer, operator: Operator):
    return [], "LeakyReluOptions", writer.s.LeakyReluOptionsT(alpha=operator.attributes["alpha"])


def _shuffle(writer: _Writer, operator: Operator):
    return [], "DepthToSpaceOptions", writer.s.DepthToSpaceOptionsT(blockSize=operator.attributes["block"])


def _concat(writer: _Writer, operator: Operator):
    return [], "ConcatenationOptions", writer.s.ConcatenationOptionsT(axis=3)


def _resize(writer: _Writer, operator: Operator):
    size = writer.network.shapes[operator.output][1:3]
    return [writer.numbers(operator, "size", size)], "ResizeNearestNeighborOptions", (
        writer.s.ResizeNearestNeighborOptionsT()
    )


def _pad(writer: _Writer, operator: Operator):
    top, left, bottom, right = operator.attributes["pads"]
    table = [[0, 0], [top, bottom], [left, right], [0, 0]]
    return [writer.numbers(operator, "pads", table)], "PadOptions", writer.s.PadOptionsT()


def _mean(writer: _Writer, operator: Operator):
    return [writer.numbers(operator, "axes", [1, 2])], "ReducerOptions", writer.s.ReducerOptionsT(keepDims=True)


def _plain(writer: _Writer, operator: Operator):
    return [], "", None


def _quantize(writer: _Writer, operator: Operator):
    return [], "QuantizeOptions", writer.s.QuantizeOptionsT()


EMITTERS = {
    "ADD": _sum,
    "CONCATENATION": _concat,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "DEPTH_TO_SPACE": _shuffle,
    "LEAKY_RELU": _leaky,
    "LOGISTIC": _plain,
    "MAXIMUM": _bound,
    "MEAN": _mean,
    "MINIMUM": _bound,
    "MUL": _mul,
    "PAD": _pad,
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "RELU": _plain,
    "RESIZE_NEAREST_NEIGHBOR": _resize,
    "TANH": _plain,
}
