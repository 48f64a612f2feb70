"""SAGAN's self-attention (Zhang et al. 2018, section 3): each place of a feature map looks at all others.

x = SelfAttention(name="attention")(x)          # (n, h, w, c) -> the same, x + gamma * attended

With query and key of c / 8 channels and a value of c / 2: attended = out(softmax(query key^T) value). As in the
authors' code, key and value are max-pooled 2x2 first, which quarters the attention map: N x N / 4 of N = h * w places.
gamma starts at 0, so a network begins as the one without the layer, and learns how far to look from there.

Memory of the map in float32, for one picture, and about what a training step with batches of 16 takes for it: five maps
of a batch (forward and backward of one batch was measured to peak at 3.8, 0.32 GB with 48x48 places; HR and SR have a
map each). By the halving of the discriminator after which the layer stands:

| after halving | crop 96: places, map, step | crop 192: places, map, step |
|---|---|---|
| 1 | 48x48, 5.3 MB, 0.4 GB | 96x96, 85 MB, 7 GB |
| 2 | 24x24, 0.33 MB, 27 MB | 48x48, 5.3 MB, 0.4 GB |
| 3 | 12x12, 21 kB, 1.7 MB | 24x24, 0.33 MB, 27 MB |
| 4 | 6x6, 1.3 kB, 0.1 MB | 12x12, 21 kB, 1.7 MB |
"""

from __future__ import annotations

import zlib

import numpy as np
import tensorflow as tf

from snpe_srgan.models.initialize import glorot
from snpe_srgan.models.layers import tl
from snpe_srgan.products import matmul

QUERY, VALUE = 8, 2  # by how much query and key, and value, are narrower than the input


class SelfAttention(tl.layers.Layer):
    """No biases, as in the authors' code; without its spectral normalization. `seed` fixes the first weights."""

    def __init__(self, *, seed: int = 0, name: str):
        super().__init__(name)
        self.seed = seed

    def __repr__(self):
        return f"SelfAttention(name={self.name!r})"

    def build(self, inputs_shape):
        channels = inputs_shape[-1]
        narrow, middle = max(channels // QUERY, 1), max(channels // VALUE, 1)
        self.query = self._kernel("query", channels, narrow)
        self.key = self._kernel("key", channels, narrow)
        self.value = self._kernel("value", channels, middle)
        self.out = self._kernel("out", middle, channels)
        self.gamma = self._get_weights("gamma", shape=(1,), init=tl.initializers.zeros())

    def _kernel(self, array: str, inputs: int, outputs: int) -> tf.Variable:
        rng = np.random.default_rng([self.seed, zlib.crc32(f"{self.name}/{array}".encode())])
        kernel = glorot(rng, (inputs, outputs))
        return self._get_weights(array, shape=kernel.shape, init=lambda shape: tf.constant(kernel))

    def forward(self, inputs):
        pooled = tf.nn.max_pool2d
        query = _flat(_each_place(inputs, self.query))
        key = _flat(pooled(_each_place(inputs, self.key), 2, 2, "SAME"))
        value = _flat(pooled(_each_place(inputs, self.value), 2, 2, "SAME"))
        attention = tf.nn.softmax(matmul(query, key, transpose_b=True))  # (n, places, places / 4)
        attended = _each_place(matmul(attention, value), self.out)
        return inputs + self.gamma * tf.reshape(attended, [-1, *inputs.shape[1:]])


def _each_place(x: tf.Tensor, kernel: tf.Variable) -> tf.Tensor:
    """(..., c) times (c, d): (..., d)."""
    flat = matmul(tf.reshape(x, [-1, x.shape[-1]]), tf.convert_to_tensor(kernel))
    return tf.reshape(flat, [-1, *x.shape[1:-1], kernel.shape[-1]])


def _flat(x: tf.Tensor) -> tf.Tensor:
    """(n, h, w, c) -> (n, h * w, c)."""
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2], x.shape[3]])
