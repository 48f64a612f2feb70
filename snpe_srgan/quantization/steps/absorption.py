"""High-bias absorption: what is constant in an activation moves into the bias of the next convolution.

    result = absorb(model, network, moments)
    result.model, result.absorbed            # the rewritten network; how many channels of which layer it touched
    result.moments                           # what its batch norms would say now

Nagel et al. 2019, section 4.1.3. A channel whose pre-activation x ~ N(m, s^2) stays above 0 (m > 3 s) passes ReLU and
PReLU unchanged, so c = m - 3 s can be taken from x beforehand and given back as W c behind. A PReLU is linear below 0
too: where m < -3 s, c = m + 3 s comes out as slope * c. Either way the function is unchanged wherever x stays on its
side of c, all but 0.13 % of a Gaussian, and the tensor's range shrinks by |c|.

Zero padding is the catch that the paper does not mention. The next convolution reads zeros outside the picture, which
stand for c once c was taken away, so W c is too much within a kernel's radius of the border. The default therefore
touches only channels whose readers pad nothing (a 1x1 convolution), or read the padded taps with zero weights;
`border=True` accepts a wrong border. The SRGAN networks, whose kernels are all padded, are left as they are by default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import SLOPED, Node, slopes_of
from snpe_srgan.quantization.graph.analytic import Moments
from snpe_srgan.quantization.graph.wires import read_by, with_convolutions

DEVIATIONS = 3


@dataclass(frozen=True, eq=False)
class Absorbed:
    """The rewritten float model.

    Attributes:
        absorbed: convolution -> how many of its channels gave something away; only where there are any.
        moments: those given, less what was taken.
    """

    model: object
    absorbed: Mapping[str, int]
    moments: Mapping[str, Moments]


def surplus(moments: Moments, slope: np.ndarray, *, deviations: float = DEVIATIONS) -> tuple[np.ndarray, np.ndarray]:
    """What can be taken from a pre-activation, and what that takes from its (P)ReLU's output.

    c = max(0, m - 3 s) above 0, min(0, m + 3 s) below, which comes out as slope * c.

    Args:
        moments: m and s of the pre-activation, (channels,) each.
        slope: (channels,) or a scalar; 0 for a ReLU.
        deviations: the 3 of the formula.

    Returns:
        (before the (P)ReLU, behind it), (channels,) each, signed.
    """
    mean, reach = moments.mean, deviations * moments.std
    taken = np.maximum(mean - reach, 0.0) + np.minimum(mean + reach, 0.0)
    return taken, np.where(taken > 0, taken, slope * taken)


def absorb(model, network: Network, moments: Mapping[str, Moments], *, border: bool = False) -> Absorbed:
    """Absorbs in every convolution -> (P)ReLU -> convolutions where `moments` knows what the first one gives.

    Args:
        model, network: the float ONNX model, and itself read.
        moments: of the first convolutions' outputs, as of `analytic.batch_norm_statistics`.
        border: also where the next convolution pads with zeros: exact inside, wrong within its radius of the border.
    """
    changes: dict[str, np.ndarray] = {}  # convolution -> what its bias gains
    counts: dict[str, int] = {}
    rest = dict(moments)
    for node in network.nodes:
        readers = _readers(network, node)
        if node.kind not in SLOPED or not readers or node.inputs[0] not in moments:
            continue
        conv = network.makers[node.inputs[0]]
        if conv.kind != "Conv" or len(network.readers[conv.output]) > 1:
            continue
        taken, out = surplus(moments[conv.output], slopes_of(node))
        if not border:
            exact = np.logical_and.reduce([_unpadded(reader, len(taken)) for reader in readers])
            taken, out = taken * exact, out * exact
        if taken.any():
            counts[conv.name] = int(np.count_nonzero(taken))
            rest[conv.output] = Moments(moments[conv.output].mean - taken, moments[conv.output].std)
            changes[conv.name] = changes.get(conv.name, 0.0) - taken
            for reader in readers:
                changes[reader.name] = changes.get(reader.name, 0.0) + _through(reader, out)
    by_name = {node.name: node for node in network.nodes}
    arrays = {name: (by_name[name].constants[1], _bias(by_name[name]) + change) for name, change in changes.items()}
    return Absorbed(with_convolutions(model, arrays), counts, rest)


def _readers(network: Network, node: Node) -> list[Node]:
    """The convolutions that read a tensor; none if anything else reads it too."""
    readers = network.readers[node.output]
    return readers if all(reader.kind == "Conv" for reader in readers) else []


def _bias(conv: Node) -> np.ndarray:
    return np.asarray(conv.constants.get(2, np.zeros(len(conv.constants[1]))), np.float64)


def _through(conv: Node, constant: np.ndarray) -> np.ndarray:
    """(out,) what a convolution makes of a constant input (channels,), without its bias and away from borders."""
    return (np.asarray(conv.constants[1], np.float64) * read_by(conv, constant)).sum((1, 2, 3))


def _unpadded(conv: Node, channels: int) -> np.ndarray:
    """(channels,) bool: whether no tap with a weight ever reads the padding."""
    kernel, pads = np.abs(np.asarray(conv.constants[1], np.float64)), conv.attributes.get("pads", (0, 0, 0, 0))
    height, width = kernel.shape[2:]
    outside = np.ones((height, width), bool)
    outside[pads[0] : height - pads[2], pads[1] : width - pads[3]] = False
    groups = int(conv.attributes.get("group", 1))
    used = (kernel * outside).reshape(groups, len(kernel) // groups, -1, height * width).max(axis=(1, 3))
    return used.reshape(channels) == 0
