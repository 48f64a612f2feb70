"""Convolutions that train as two and are one in every file: the merge is exact, whatever happened before it."""

from __future__ import annotations

import numpy as np
import pytest

from snpe_srgan.models.expansion import split
from snpe_srgan.models.registry import describe


@pytest.mark.parametrize(("shape", "width"), [((3, 3, 8, 8), 32), ((1, 1, 5, 7), 7), ((5, 3, 2, 12), 4)])
def test_the_two_are_the_one(shape, width):
    rng = np.random.default_rng(1)
    kernel = rng.standard_normal(shape).astype(np.float32)
    expansion, projection = split(kernel, width, rng)
    assert projection.shape == (max(width, shape[-1]), shape[-1])
    np.testing.assert_allclose(np.einsum("hwim,mo->hwio", expansion, projection), kernel, atol=1e-5)


def test_a_kernel_of_zeros_can_still_learn():
    expansion, projection = split(np.zeros((3, 3, 4, 6), np.float32), 8, np.random.default_rng(0))
    assert not expansion.any() and np.abs(projection).sum(axis=0).min() > 0


def test_an_expanded_network_computes_what_the_plain_one_does():
    from snpe_srgan.models.tensorlayer_model import build, get_weights, set_weights

    graph = describe("mobile", {"width": 6, "depth": 3}, scale=4)
    plain, wide = build(graph, seed=3), build(graph, seed=3, expand=16)
    lr = np.random.default_rng(0).random((2, 7, 9, 3), np.float32)
    outputs = [np.asarray(network(lr, is_train=True)) for network in (plain, wide)]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    other = {k: v + 0.1 for k, v in get_weights(plain, graph).items()}
    set_weights(wide, graph, other)
    for key, array in get_weights(wide, graph).items():
        np.testing.assert_allclose(array, other[key], atol=1e-5, err_msg=key)
    assert sorted(map(str, (v.shape for v in wide.trainable_weights))) != sorted(
        map(str, (v.shape for v in plain.trainable_weights))
    )
