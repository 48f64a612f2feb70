"""Rewrites of an 8-bit network before it is written: what LiteRT's operators want, and pixels at the output.

    to_pixels(network)       # the output becomes 0..1 where the network gives -1..1, with no operator more

Scales and zero points are labels: the integers of a convolution stay the same when the scale of its weights is halved
and its output is said to be half as large. `to_pixels` pushes y = (x + 1) / 2 back through the network in this way, to
where it can be absorbed.
"""

from __future__ import annotations

import numpy as np

from snpe_srgan.errors import InputError
from snpe_srgan.tflite.graph import Grid, Network, Operator

MOVES = ("DEPTH_TO_SPACE", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR")  # output and inputs are on one grid
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D")
SIGMOID_GRID = Grid(1 / 256, 0)  # the only one that LiteRT's LOGISTIC gives
WHOLE = 1e-3  # a zero point may be this far from a whole number
INT32 = (1 << 31) - 1
PIXELS = Grid(1 / 255, 0)


def to_pixels(network: Network) -> None:
    """Makes the network's output 0..1 instead of -1..1, in place.

    A tanh keeps its own grid and gets an operator behind it. (tanh(x) + 1) / 2 is sigmoid(2 x), but LiteRT's LOGISTIC
    gives 1/256 steps only: rounding to them and again to pixels cost the 16 x 64 network 0.05 dB.
    """
    if _push(network, network.output, 0.5, 0.5, apply=False):
        _push(network, network.output, 0.5, 0.5, apply=True)
        return
    source, name = network.output, f"{network.output}_pixels"
    channels = network.shapes[source][3]
    step = 0.5 / 127
    bias = round(0.5 / (network.grids[source].scale * step))
    network.operators.append(
        Operator(
            "DEPTHWISE_CONV_2D", [source], name,
            weights=np.full((1, 1, 1, channels), 127, np.int8), weight_scales=np.full(channels, step),
            bias=np.full(channels, bias, np.int64), attributes={**_PLAIN, "name": name},
        )
    )  # fmt: skip
    network.grids[name], network.shapes[name], network.output = PIXELS, network.shapes[source], name


_PLAIN = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "multiplier": 1}


def _push(network: Network, name: str, factor: float, offset: float, *, apply: bool) -> bool:
    """Relabels an activation x as `factor * x + offset`; False where some operator cannot do so with the same integers.

    `apply=False` only asks.
    """
    operator, grid = network.maker(name), network.grids[name]
    used = len(network.readers(name)) + (name == network.output)
    if operator is None or used != 1:
        return False
    if operator.kind in MOVES:
        done = all(_push(network, x, factor, offset, apply=apply) for x in operator.inputs)
        if done and apply:  # what only moves values is on the grid of what it reads
            network.grids[name] = network.grids[operator.inputs[0]]
        return done
    zero = grid.zero - offset / factor / grid.scale
    if abs(zero - round(zero)) > WHOLE or not 0 <= round(zero) <= 255 or (offset and operator.relu):
        return False
    if operator.kind in WEIGHTED:
        done = _push_weights(operator, network, factor, offset, apply)
    else:
        done = operator.kind == "ADD" and _push_sum(network, operator, factor, offset, apply)
    if done and apply:
        network.grids[name] = Grid(grid.scale * factor, round(zero))
    return done


def _push_sum(network: Network, operator: Operator, factor: float, offset: float, apply: bool) -> bool:
    """Of a + b one takes the offset, both the factor."""
    first, second = operator.inputs
    if first == second:
        return False
    for takes, other in ((first, second), (second, first)):
        if _push(network, takes, factor, offset, apply=False) and _push(network, other, factor, 0.0, apply=False):
            if apply:
                _push(network, takes, factor, offset, apply=True)
                _push(network, other, factor, 0.0, apply=True)
            return True
    return False


def _push_weights(operator: Operator, network: Network, factor: float, offset: float, apply: bool) -> bool:
    _, scales, bias = operator.filters()
    scales = scales * factor
    steps = network.grids[operator.inputs[0]].scale * scales
    bias = bias + np.rint(offset / steps).astype(np.int64)
    if np.abs(bias).max() > INT32:
        return False
    if apply:
        operator.weight_scales, operator.bias = scales, bias
    return True


def prepare(network: Network, *, where: object = None) -> None:
    """Brings the network to what LiteRT's kernels accept, in place: DCR shuffles, LOGISTIC's grid, explicit padding.

    Raises:
        InputError: an operator for which there is no such form.
    """
    _order_shuffles(network, where)
    for operator in list(network.operators):
        if operator.kind == "LOGISTIC" and network.grids[operator.output] != SIGMOID_GRID:
            _insert_after(network, operator, "QUANTIZE", SIGMOID_GRID)
        if operator.kind in WEIGHTED and padding(operator) is None:
            _pad(network, operator)
        if operator.kind == "CLIP":
            _clip(network, operator)


def padding(operator: Operator) -> str | None:
    """SAME or VALID where one of the two says an operator's padding, else None. (With a stride, only VALID does.)"""
    pads = tuple(operator.attributes["pads"])
    if not any(pads):
        return "VALID"
    sides = operator.filters()[0].shape[1:3]
    reach = [(k - 1) * d for k, d in zip(sides, operator.attributes["dilations"], strict=True)]
    same = (reach[0] // 2, reach[1] // 2, reach[0] - reach[0] // 2, reach[1] - reach[1] // 2)
    return "SAME" if pads == same and tuple(operator.attributes["strides"]) == (1, 1) else None


def _insert_after(network: Network, operator: Operator, kind: str, grid: Grid) -> None:
    """`operator` writes to a new activation on `grid`, and `kind` takes it to the old one."""
    name, old = f"{operator.output}_before", operator.output
    network.grids[name], network.shapes[name] = grid, network.shapes[old]
    operator.output = name
    place = network.operators.index(operator) + 1
    network.operators.insert(place, Operator(kind, [name], old, attributes={"name": f"{old}_{kind.lower()}"}))


def _clip(network: Network, operator: Operator) -> None:
    """A clip becomes MAXIMUM and MINIMUM with a bound on the clip's own grid, each where it does something."""
    grid, source, place = network.grids[operator.output], operator.inputs[0], network.operators.index(operator)
    made = []
    for kind, bound in (("MAXIMUM", operator.attributes["low"]), ("MINIMUM", operator.attributes["high"])):
        if bound is not None:
            step = int(np.clip(round(bound / grid.scale) + grid.zero, 0, 255))
            name = f"{operator.output}_{kind.lower()}"
            made.append(Operator(kind, [source], name, constant=np.array([step]), constant_grid=grid,
                                 attributes={"name": name}))  # fmt: skip
            network.grids[name], network.shapes[name], source = grid, network.shapes[operator.output], name
    if not made or network.grids[operator.inputs[0]] != grid:
        made.append(Operator("QUANTIZE", [source], operator.output, attributes={"name": operator.output}))
    else:
        made[-1].output = operator.output
    if made[0].kind != "QUANTIZE" and network.grids[operator.inputs[0]] != grid:
        raise InputError("a Clip that changes the grid of its values", where=operator.attributes.get("name"))
    network.operators[place : place + 1] = made


def _pad(network: Network, operator: Operator) -> None:
    source = operator.inputs[0]
    top, left, bottom, right = operator.attributes["pads"]
    name = f"{source}_padded_{operator.attributes.get('name', operator.output)}"
    shape = network.shapes[source]
    network.grids[name] = network.grids[source]
    network.shapes[name] = (shape[0], shape[1] + top + bottom, shape[2] + left + right, shape[3])
    pad = Operator("PAD", [source], name, attributes={"pads": (top, left, bottom, right), "name": name})
    network.operators.insert(network.operators.index(operator), pad)
    operator.inputs[0] = name
    operator.attributes["pads"] = (0, 0, 0, 0)


def _order_shuffles(network: Network, where: object) -> None:
    """ONNX's CRD order of a pixel shuffle becomes DCR, LiteRT's only one, by reordering the convolution before it."""
    for operator in network.operators:
        if operator.kind != "DEPTH_TO_SPACE" or operator.attributes.get("mode") != "CRD":
            continue
        source = network.maker(operator.inputs[0])
        if source is None or source.kind != "CONV_2D" or len(network.readers(source.output)) != 1:
            raise InputError(
                "a pixel shuffle in CRD order without a convolution of its own before it: LiteRT has DCR only",
                where=f"{where}, operator '{operator.attributes.get('name')}'",
            )
        block = operator.attributes["block"]
        order = np.arange(len(source.filters()[0])).reshape(-1, block * block).T.reshape(-1)
        source.weights, source.weight_scales, source.bias = (part[order] for part in source.filters())
        operator.attributes["mode"] = "DCR"
