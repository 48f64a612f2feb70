"""SRGAN's discriminator (Ledig et al. 2017, figure 4): real or made up, as one logit a picture.

discriminator = build_discriminator(crop=96, seed=1)
logits = discriminator(hr, is_train=True)       # (n, 96, 96, 3) in [-1, 1] -> (n, 1)

Only training uses it, so it is built from TensorLayer's layers directly and never exported.
"""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import tensorflow as tf

from snpe_srgan.errors import ConfigError
from snpe_srgan.models.initialize import glorot, he
from snpe_srgan.models.layers import BatchNorm2d, Conv2d, Dense, LeakyReLU, tl
from snpe_srgan.models.self_attention import SelfAttention

SLOPE = 0.2
HALVINGS = 4
_serial = itertools.count()


def build_discriminator(
    crop: int, *, width: int = 64, dense: int = 1024, attention: int = 0, batch_norm: bool = True, seed: int = 0
) -> tl.models.Model:
    """Eight 3x3 convolutions, `width` to 8 x `width` channels, every second one halving the size; two dense layers.

    `crop` is the HR crop's side, a multiple of 16: the dense layer needs to know it. `attention` is the halving (1 to
    4) after which a self-attention layer stands, 0 for none; it starts as nothing, so the first logits are the same.

    Args:
        crop: side of the square HR crop in HR pixels.
        width: channels of the first convolution.
        dense: units of the first dense layer.
        batch_norm: after every convolution but the first, which then have no bias.
        seed: the same seed gives the same first weights.

    Returns:
        A static model: (n, crop, crop, 3) float32 in [-1, 1] -> logits (n, 1), no sigmoid.

    Raises:
        ConfigError: `crop` is no multiple of 16.
    """
    if crop < 2**HALVINGS or crop % 2**HALVINGS:
        raise ConfigError(f"the discriminator halves four times: an HR crop of {crop} is no multiple of 16")

    def start(name: str, kernel):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        return lambda shape: tf.constant(kernel(rng, tuple(shape)))

    def leaky(x, name: str, convolution: Conv2d | None = None):
        layer = LeakyReLU(SLOPE, name=f"{name}_leaky")
        if convolution is not None:
            convolution.slope, layer.done_before = SLOPE, True
        return layer(x)

    x = inputs = tl.layers.Input([None, crop, crop, 3], name="hr")
    for i in range(2 * HALVINGS):
        name, stride = f"conv{i + 1}", 1 + i % 2
        normed = batch_norm and i > 0
        convolution = Conv2d(
            width * 2 ** (i // 2),
            (3, 3),
            (stride, stride),
            W_init=start(name, he),
            b_init=None if normed else tl.initializers.zeros(),
            name=name,
        )
        attended = attention and i == 2 * attention - 1
        # Batch norm and leaky ReLU take bfloat16 and give it to the next convolution, which rounds to it anyway.
        convolution.keeps_narrow = not attended
        x = convolution(x)
        if normed:
            ones, zeros = tl.initializers.ones(), tl.initializers.zeros()
            x = BatchNorm2d(gamma_init=ones, beta_init=zeros, moving_var_init=ones, name=f"{name}_bn")(x)
        x = leaky(x, name, None if normed else convolution)
        if attended:
            x = SelfAttention(seed=seed, name="attention")(x)
    x = tl.layers.Flatten(name="flatten")(x)
    x = leaky(Dense(dense, W_init=start("dense1", he), name="dense1")(x), "dense1")
    x = Dense(1, W_init=start("dense2", glorot), name="dense2")(x)
    return tl.models.Model(inputs=inputs, outputs=x, name=f"discriminator_{next(_serial)}")
