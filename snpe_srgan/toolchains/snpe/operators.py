"""Which operators the SDK's converters know, so that a network is refused here, by name, before a converter runs.

    check_operators(Counter(n.op_type for n in model.graph.node), "onnx", release, where="gan.onnx")

From the "supported ONNX / TensorFlow ops" pages of SNPE 1.6x and 2.x, as far as networks for pictures use them: an
operator that is missing here is refused although a converter might take it; `--no-operator-check` asks it anyway.
"""

from __future__ import annotations

from collections.abc import Mapping

from snpe_srgan.errors import InputError
from snpe_srgan.toolchains.snpe.release import Release

_TWO = (2, 0)
# operator -> the version from which on the converters know it; () is all of them.
ONNX: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "Conv",
            "ConvTranspose", "DepthToSpace", "Div", "Dropout", "Elu", "Exp", "Flatten", "Floor", "Gather", "Gemm",
            "GlobalAveragePool", "GlobalMaxPool", "Identity", "InstanceNormalization", "LRN", "LeakyRelu", "MatMul",
            "Max", "MaxPool", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "ReduceMax", "ReduceMean", "ReduceSum",
            "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub",
            "Sum", "Tanh", "Transpose", "Unsqueeze", "Upsample",
        ),
        (),
    ),
    **dict.fromkeys(("HardSigmoid", "HardSwish", "LogSoftmax", "SpaceToDepth", "Softplus"), (1, 50)),
    **dict.fromkeys(("Erf", "Gelu", "GroupNormalization", "LayerNormalization", "Sign", "Where"), _TWO),
}  # fmt: skip
TENSORFLOW: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        (
            "Abs", "Add", "AddV2", "AvgPool", "BatchToSpaceND", "BiasAdd", "ClipByValue", "Concat", "ConcatV2", "Const",
            "Conv2D", "Conv2DBackpropInput", "DepthToSpace", "DepthwiseConv2dNative", "Elu", "Exp", "ExpandDims",
            "Fill", "Floor", "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "Identity", "LeakyRelu",
            "MatMul", "Max", "MaxPool", "Maximum", "Mean", "Minimum", "MirrorPad", "Mul", "Neg", "NoOp", "Pack", "Pad",
            "PadV2", "Placeholder", "Pow", "RealDiv", "Relu", "Relu6", "Reshape", "ResizeBilinear",
            "ResizeNearestNeighbor", "Rsqrt", "Shape", "Sigmoid", "Slice", "Softmax", "SpaceToBatchND", "SpaceToDepth",
            "Split", "SplitV", "Sqrt", "Square", "SquaredDifference", "Squeeze", "StopGradient", "StridedSlice", "Sub",
            "Sum", "Tanh", "Tile", "Transpose", "Unpack",
        ),
        (),
    ),
    **dict.fromkeys(("Erf", "LogSoftmax", "SelectV2", "Softplus"), _TWO),
}  # fmt: skip
TABLES = {"onnx": ONNX, "tensorflow": TENSORFLOW}
QUANTIZED = {"QuantizeLinear", "DequantizeLinear", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"}


def check_operators(operators: Mapping[str, int], framework: str, release: Release, *, where: object) -> None:
    """`InputError` names every operator that the release's converter does not know, with how often it occurs.

    Args:
        operators: how often each occurs.
        framework: `onnx` or `tensorflow`.
    """
    if QUANTIZED & set(operators):
        raise InputError(
            "this network is quantized already; the SDK quantizes float ones", where=where,
            hint="give it the float network: with --overrides FILE.encodings.json the encodings go along",
        )  # fmt: skip
    table = TABLES[framework]
    unknown = {name: count for name, count in operators.items() if release.version < table.get(name, (99,))}
    if unknown:
        named = ", ".join(f"{name} ({count}x)" for name, count in sorted(unknown.items(), key=lambda x: -x[1]))
        later = [f"{name} from {'.'.join(map(str, table[name]))} on" for name in unknown if name in table]
        raise InputError(
            f"{release} does not know these operators: {named}", where=where,
            hint="; ".join(later) or "replace them in the network, or --no-operator-check to ask the converter anyway",
        )  # fmt: skip


def remarks(
    shapes: Mapping[str, tuple[int, ...]], operators: Mapping[str, int], size: tuple[int, int], release: Release
) -> list[str]:
    """What converts but is known to go wrong later, as lines for the user; `operators` are those of an .onnx.

    Args:
        shapes: tensor name -> shape, of all tensors whose shape is known.
        operators: how often each occurs; empty for a frozen graph.
        size: (height, width) of the input in LR pixels.
    """
    found = []
    deep = [name for name, shape in shapes.items() if len(shape) > 4]
    if deep:
        found.append(f"'{deep[0]}' has {len(shapes[deep[0]])} dimensions: SNPE's GPU and DSP take 4 at most")
    if release.version < _TWO and "DepthToSpace" in operators and max(size) > 320:
        found.append(
            "SNPE 1.x takes ONNX's pixel shuffle apart, and its GPU and DSP refuse the parts above about 320x320: "
            "convert from the .npz or .pb, whose depth_to_space stays whole"
        )
    return found
