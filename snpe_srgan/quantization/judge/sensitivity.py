"""What each tensor costs the finished picture, measured: only this one on its integer grid, all others in float.

    for s in sensitivities(plan, crops): print(s.name, s.kind, s.psnr)

A walk over the float network: everything is computed once; then, for each entry, its own values are rounded and only
what depends on them is computed again. 130 entries of the 16 x 64 network at SIDE x SIDE take as long as 100 pictures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from snpe_srgan.imaging.decibel import decibel
from snpe_srgan.onnx_graphs.graph import copied
from snpe_srgan.onnx_graphs.model import input_size
from snpe_srgan.onnx_graphs.network import Network
from snpe_srgan.onnx_graphs.operators import Node, other_bias
from snpe_srgan.onnx_graphs.run import session, with_outputs
from snpe_srgan.parallel import Jobs, ordered
from snpe_srgan.quantization.graph.plan import Plan
from snpe_srgan.quantization.graph.qdq import bits_of, compute_bits
from snpe_srgan.quantization.kernels.affine import fake_quantize, quantize
from snpe_srgan.quantization.kernels.weights import quantize_weights

SIDE, COUNT = 32, 2  # LR pixels and number of the crops


@dataclass(frozen=True)
class Sensitivity:
    """One entry.

    Attributes:
        name: the tensor; the operator for weights and slopes.
        kind: the operator that makes the tensor, "input", "weights" or "slopes".
        error: mean squared error of the output (clipped to [-1, 1]) against the float network's.
    """

    name: str
    kind: str
    error: float

    @property
    def psnr(self) -> float | None:
        """dB of the picture against the float network's, not rounded to pixels; None for no error at all."""
        return picture_psnr(self.error)


def picture_psnr(error: float) -> float | None:
    """dB of a mean squared error of values in [-1, 1]; None for 0."""
    return decibel(error, peak=2.0) if error > 0 else None


def small_crops(crops: Sequence[np.ndarray], *, side: int = SIDE, count: int = COUNT) -> np.ndarray:
    """Middles of some of the LR crops, spread evenly from the flattest to the busiest.

    Args:
        crops: (1, h, w, 3) each, of any sizes.
        side: LR pixels, less where a crop is smaller.
        count: how many, less where there are fewer.

    Returns:
        (n, h, w, 3) float32.
    """
    height, width = (min(side, *(c.shape[axis] for c in crops)) for axis in (1, 2))
    cut = []
    for crop in crops:
        top, left = (crop.shape[1] - height) // 2, (crop.shape[2] - width) // 2
        cut.append(crop[:, top : top + height, left : left + width])
    detail = [np.abs(np.diff(c, axis=1)).mean() + np.abs(np.diff(c, axis=2)).mean() for c in cut]
    order, count = np.argsort(detail, kind="stable"), min(count, len(cut))
    return np.concatenate([cut[order[int((i + 0.5) * len(cut) / count)]] for i in range(count)]).astype(np.float32)


def crops_for(model, crops: Sequence[np.ndarray]) -> np.ndarray:
    """`small_crops`, or whole ones for a network that takes one size."""
    own = input_size(model)
    return small_crops(crops) if own is None else small_crops(crops, side=max(own))


def sensitivities(
    plan: Plan,
    crops: Sequence[np.ndarray],
    *,
    exact=None,
    progress: Callable[[int, int], None] | None = None,
    jobs: Jobs = 1,
) -> tuple[Sensitivity, ...]:
    """Every tensor that is computed, every kernel and every PReLU's slopes, in execution order.

    Args:
        crops: LR crops (1, h, w, 3); COUNT of them are used, cut to SIDE.
        exact: the float network on whose tensors the plan's grids lie, before corrections changed it: the same function
            as the network that was quantized. `plan.model` by default.
        progress: called with (operators done, operators in all).
        jobs: processes; the numbers are the same, whatever their number.
    """
    network, rows = Network(plan.model if exact is None else exact), []
    lr = crops_for(plan.model, crops)
    places = range(-1, len(network.nodes))  # -1: the input
    found = ordered(_entries, places, jobs=jobs, prepare=_prepare, arguments=(plan, exact, lr))
    with contextlib.closing(found):
        for done, entries in enumerate(found):
            rows += entries
            if progress and done:
                progress(done, len(network.nodes))
    return tuple(rows)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A plan, the walk over its float network, and that network's operators after corrections, by name."""

    plan: Plan
    walk: _Walk
    final: dict[str, Node]


def _prepare(plan: Plan, exact, lr: np.ndarray) -> _Prepared:
    final = {node.name: node for node in Network(plan.model).nodes}
    return _Prepared(plan, _Walk(plan.model if exact is None else exact, lr), final)


def _entries(prepared: _Prepared, place: int) -> list[Sensitivity]:
    """The entries of one operator; of the input at -1."""
    plan, walk = prepared.plan, prepared.walk
    network, rows = walk.network, []
    if place < 0:
        lr = walk.values[network.input]
        error = walk.error(network.input, _rounded(lr, plan.encodings[network.input]))
        return [Sensitivity(network.input, "input", error)]
    node = network.nodes[place]
    out = node.output
    if node.kind == "Conv":
        changed = _with_integer_kernel(walk, node, prepared.final.get(node.name, node), plan)
        rows.append(Sensitivity(node.name, "weights", walk.error(out, changed)))
    elif node.kind == "PRelu" and node.name in plan.slopes:
        x = walk.values[node.inputs[0]]
        scale, zero = plan.slopes[node.name]
        bits = compute_bits(network, node, plan.encodings)
        slopes = (quantize(node.constants[1], scale, zero, low=0, high=2**bits - 1) - zero) * scale
        changed = np.where(x > 0, x, x * slopes.astype(np.float32))
        rows.append(Sensitivity(node.name, "slopes", walk.error(out, changed)))
    if not network.moves(node) and out not in network.fused:
        rows.append(Sensitivity(out, node.kind, walk.error(out, _rounded(walk.values[out], plan.encodings[out]))))
    walk.forget()
    return rows


def _rounded(values: np.ndarray, encoding) -> np.ndarray:
    return fake_quantize(values, encoding.scale, encoding.zero, bits=encoding.bits)


def _with_integer_kernel(walk: _Walk, node: Node, final: Node, plan: Plan) -> np.ndarray:
    """The convolution's output with the plan's integers for its kernel.

    Where the plan corrected biases, the shift that the kernel's rounding causes is taken away, as the correction does;
    the plan's own bias would also repair what the tensors before it do, and those are float here.
    """
    scale = np.asarray(plan.scales[node.name], np.float32).reshape(-1, 1, 1, 1)
    bits = bits_of(plan.weight_bits, node.name)
    kernel = quantize_weights(final.constants[1], plan.scales[node.name], bits=bits) * scale
    exact = walk.values[node.output]
    changed = walk.alone(node, {1: kernel.astype(np.float32)})
    if other_bias(final.constants, node.constants):
        changed = changed + (exact - changed).mean(axis=(0, 2, 3), keepdims=True)
    return changed


class _Walk:
    """A float network with all its values for some crops; `error` says what changing one tensor does to the output."""

    def __init__(self, model, lr: np.ndarray):
        self.model = _any_batch(model)
        self.network = Network(model)
        self.protos = {n.output[0]: n for n in self.model.graph.node}
        names = [node.output for node in self.network.nodes]
        run = session(with_outputs(self.model, names))
        self.values: dict[str, np.ndarray] = dict(zip(names, run(names, {self.network.input: lr}), strict=True))
        self.values[self.network.input] = lr
        self.wanted = np.clip(self.values[self.network.output], -1, 1)
        self._behind: dict[str, tuple] = {}

    def error(self, tensor: str, values: np.ndarray) -> float:
        """Mean squared error of the output when `tensor` holds `values`."""
        if np.array_equal(values, self.values[tensor]):
            return 0.0
        if tensor == self.network.output:
            sr = values
        else:
            run, others = self._suffix(tensor)
            sr = run([self.network.output], {tensor: values, **{x: self.values[x] for x in others}})[0]
        return float(np.square(np.clip(sr, -1, 1).astype(np.float64) - self.wanted).mean())

    def alone(self, node: Node, constants: Mapping[int, np.ndarray]) -> np.ndarray:
        """The output of one operator with some of its constants replaced."""
        run = session(self._part([node], list(dict.fromkeys(node.inputs)), node.output, {node.name: constants}))
        return run([node.output], {x: self.values[x] for x in node.inputs})[0]

    def forget(self) -> None:
        """Closes what was opened for the last tensor."""
        self._behind.clear()

    def _suffix(self, tensor: str):
        """Everything that depends on `tensor`, opened; and the other tensors it reads."""
        if tensor not in self._behind:
            changed, nodes = {tensor}, []
            for node in self.network.nodes:
                if changed.intersection(node.inputs):
                    nodes.append(node)
                    changed.add(node.output)
            others = [x for x in dict.fromkeys(x for node in nodes for x in node.inputs) if x not in changed]
            self._behind[tensor] = session(self._part(nodes, [tensor, *others], self.network.output)), others
        return self._behind[tensor]

    def _part(self, nodes, inputs, output, constants=None):
        """An ONNX model of some of the nodes."""
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        made, own = [], []
        for node in nodes:
            proto = onnx.NodeProto()
            proto.CopyFrom(self.protos[node.output])
            for position, value in (constants or {}).get(node.name, {}).items():
                own.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{node.name}/own_{position}"))
                proto.input[position] = own[-1].name
            made.append(proto)
        read = {x for proto in made for x in proto.input}
        ports = [helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in (*inputs, output)]
        kept = [t for t in self.model.graph.initializer if t.name in read]
        graph = helper.make_graph(made, "part", ports[:-1], ports[-1:], [*kept, *own])
        return helper.make_model(graph, opset_imports=list(self.model.opset_import), ir_version=self.model.ir_version)


def _any_batch(model):
    """A copy whose ends say nothing of their shape: several crops go through it at once."""

    copy = copied(model)
    del copy.graph.value_info[:]
    for port in (*copy.graph.input, *copy.graph.output):
        port.type.tensor_type.ClearField("shape")
    return copy
