"""Helpers for tests that run networks: tame random weights, and ONNX Runtime as the reference engine."""

from __future__ import annotations

import numpy as np


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


def run_onnx(model, lr: np.ndarray) -> np.ndarray:
    import onnxruntime

    data = model if isinstance(model, (bytes, str)) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: lr})[0]


def smooth_crops(count=6, size=24, seed=0):
    """Picture-like crops: blurred noise that reaches black and white."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(count):
        x = np.kron(rng.random((size // 4, size // 4, 3)), np.ones((4, 4, 1))) * rng.uniform(0.3, 1.3)
        out.append(np.clip(x + rng.normal(0, 0.03, x.shape), 0, 1).astype(np.float32)[None])
    return out
