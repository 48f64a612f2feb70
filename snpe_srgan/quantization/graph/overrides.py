"""A plan's grids as the file that the SDK's converters take as `--quantization_overrides`: AIMET's export format.

    write_json("generator_w8a8.encodings.json", overrides_json(plan))
    write_bytes("generator_w8a8.float.onnx", overrides_model(plan).SerializeToString())

    qairt-converter -i generator_w8a8.float.onnx --quantization_overrides generator_w8a8.encodings.json -o generator.dlc

Such a file names the tensors of one float model, and its weights' grids fit that model's weights alone: it goes with
`overrides_model` (equalized, corrected, weights on their grids), not with the network that the plan was made from.

Source: AIMET, "Encoding Format Specification", version 0.6.1, which SNPE 2 and QAIRT read as well as QNN (the newer
1.0.0 and 2.0.0 are for newer converters only). real = (q + offset) * scale with 0 <= q < 2^bitwidth; an entry for each
output channel is a per-channel grid. For a symmetric tensor the converters accept no other offset than -2^(bitwidth-1),
which puts zero into the middle. Biases have no entry: the converters then store them in 32 bits, on the grid of the
accumulator, as `qdq` does.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, compute_bits
from snpe_srgan.quantization.graph.wires import with_convolutions
from snpe_srgan.quantization.kernels.weights import quantize_weights

VERSION = "0.6.1"


def overrides_json(plan: Plan) -> dict:
    """Everything as plain data; activations by tensor name, weights and slopes by the name of their initializer.

    Raises:
        InputError: two operators share one weight but not its grid.
    """
    model = overrides_model(plan)
    network = Network(model)
    nodes = {n.output[0]: n for n in model.graph.node}
    parameters: dict[str, list[dict]] = {}

    def add(initializer: str, entries: list[dict]) -> None:
        if parameters.setdefault(initializer, entries) != entries:
            raise InputError("two operators share one weight but not its grid", where=initializer)

    for node in network.nodes:
        if node.kind == "Conv":
            bits = bits_of(plan.weight_bits, node.name)
            add(nodes[node.output].input[1], [_symmetric(float(s), bits) for s in plan.scales[node.name]])
        elif node.kind == "PRelu" and node.name in plan.slopes:
            scale, zero = plan.slopes[node.name]
            bits = compute_bits(network, node, plan.encodings)
            add(nodes[node.output].input[1], [_asymmetric(float(scale), int(zero), bits)])
    widths = [e.bits for e in plan.encodings.values()]
    return {
        "version": VERSION,
        "activation_encodings": {x: [_asymmetric(e.scale, e.zero, e.bits)] for x, e in plan.encodings.items()},
        "param_encodings": parameters,
        "quantizer_args": {
            "activation_bitwidth": max(set(widths), key=widths.count),
            "dtype": "int",
            "is_symmetric": "True",
            "param_bitwidth": plan.weight_bits if isinstance(plan.weight_bits, int) else min(plan.weight_bits.values()),
            "per_channel_quantization": "True",
            "quant_scheme": "post_training_tf_enhanced",
        },
    }


def overrides_model(plan: Plan):
    """The float ONNX model that the encodings belong to: each weight lies on its grid, so that a converter finds just
    the integers of the plan (which clips at -127 where a converter clips at -128)."""
    arrays = {}
    for node in Network(plan.model).nodes:
        if node.kind == "Conv":
            kernel, scale = np.asarray(node.constants[1]), np.asarray(plan.scales[node.name], np.float64)
            integers = quantize_weights(kernel, scale, bits=bits_of(plan.weight_bits, node.name))
            bias = node.constants.get(2, np.zeros(len(kernel), np.float32))
            arrays[node.name] = (integers * scale.reshape(-1, 1, 1, 1), bias)
    return with_convolutions(plan.model, arrays)


def _asymmetric(scale: float, zero: int, bits: int) -> dict:
    return _entry(scale, -zero, bits, symmetric=False)


def _symmetric(scale: float, bits: int) -> dict:
    return _entry(scale, -(2 ** (bits - 1)), bits, symmetric=True)


def _entry(scale: float, offset: int, bits: int, *, symmetric: bool) -> dict:
    return {
        "bitwidth": bits,
        "dtype": "int",
        "is_symmetric": str(symmetric),  # a word, not a JSON boolean, in this version of the format
        "max": (2**bits - 1 + offset) * scale,
        "min": offset * scale,
        "offset": offset,
        "scale": scale,
    }
