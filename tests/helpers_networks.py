"""Helpers for tests that run networks: tame random weights, and ONNX Runtime as the reference engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe

TINY = {  # a small one of every registered network
    "srcnn": {"width": 8, "narrow": 4},
    "espcn": {"width": 8, "narrow": 4},
    "srgan": {"blocks": 1, "width": 8},
    "mobile": {"width": 8, "depth": 3},
    "esrgan": {"blocks": 1, "width": 8, "growth": 4},
    "rcan": {"groups": 1, "blocks": 1, "width": 8, "reduction": 4},
    "srvgg": {"width": 8, "depth": 3},
    "span": {"width": 8},
    "sesr": {"width": 8, "blocks": 2},
    "disp": {"width": 8, "blocks": 1, "depth": 2},
    "xlsr": {"width": 8, "beside": 4, "blocks": 1},
    "pff": {"blocks": 1, "width": 8, "paths": 2, "up_width": 4, "reduction": 4},
}


def zoo():
    """A network x4 of the kinds that only few networks have: constant factors, gates of both shapes, enlargement."""
    from snpe_srgan.models.graph import Builder

    net = Builder(scale=4)
    x = head = net.conv(net.lr, 8, 3, name="head")
    x = net.add(x, net.scale(net.conv(x, 8, 3, name="inner"), 0.2, name="inner_scale"), name="add")
    x = net.add(x, net.scale(x, 0.5, name="half"), name="more")
    mean = net.relu(net.conv(net.global_average_pool(x, name="mean"), 4, 1, name="squeeze"), name="squeeze_relu")
    x = net.multiply(x, net.sigmoid(net.conv(mean, 8, 1, name="excite"), name="gate"), name="gated")
    x = net.multiply(x, net.sigmoid(net.conv(x, 8, 1, name="map"), name="map_gate"), name="mapped")
    x = net.leaky_relu(net.concat([x, head], name="both"), name="leaky")
    x = net.conv(net.resize(x, 4, name="resize"), 3, 3, name="tail")
    return net.graph(net.clip(x, name="clip"), network="zoo", options={})


def random_weights(graph, rng) -> dict[str, np.ndarray]:
    """Weights that keep activations near 1, with uneven batch-norm statistics and slopes of either sign."""
    weights = {}
    for key, shape in graph.weight_shapes().items():
        array = key.rsplit("/", 1)[1]
        if array == "kernel":
            value = rng.normal(0, np.sqrt(1.0 / np.prod(shape[:-1])), shape)
        elif array in ("gamma", "variance"):
            value = rng.uniform(0.5, 1.5, shape)
        elif array == "alpha":
            value = rng.uniform(-0.5, 1.5, shape)
        else:
            value = rng.normal(0, 0.1, shape)
        weights[key] = value.astype(np.float32)
    return weights


def saved_mobile(path: Path, *, width: int, depth: int) -> Path:
    """A small `mobile` with weights drawn by one seed, as a .npz."""
    graph, rng = describe("mobile", {"width": width, "depth": depth}), np.random.default_rng(0)
    weights = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in graph.weight_shapes().items()}
    save_npz(path, graph, weights)
    return path


def run_onnx(model, lr: np.ndarray) -> np.ndarray:
    from snpe_srgan.onnx_graphs.run import open_on_host

    session = open_on_host(model if isinstance(model, (bytes, str)) else model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: lr})[0]


def smooth_crops(count=6, size=24, seed=0):
    """Picture-like crops: blurred noise that reaches black and white."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        x = np.kron(rng.random((size // 4, size // 4, 3)), np.ones((4, 4, 1))) * rng.uniform(0.3, 1.3)
        out.append(np.clip(x + rng.normal(0, 0.03, x.shape), 0, 1).astype(np.float32)[None])
    return out
