"""TensorLayer, made to work with today's TensorFlow: the only file that imports it.

TensorLayer 2.2.5 is its last release. Four things need care, and all of them are here:

1. importing it pulls in `tensorlayer.app`, which wants OpenCV and matplotlib: an empty module takes its place;
2. its `BatchNorm2d` rebinds the moving statistics instead of assigning them, which breaks `tf.function`, freezing and
   saving after the first training step, and starts the moving variance at 0: `BatchNorm2d` below;
3. its `PRelu` squeezes the slope through a sigmoid, so slopes below 0 or above 1 do not exist: `PReLU` below;
4. every layer walks the interpreter's stack, source lines included, to record its arguments for TensorLayer's own
   file format, which is not used here: switched off, a 16-block network is built in a tenth of the time.

    from snpe_srgan.models.layers import tl, BatchNorm2d, Clip, Conv2d, Dense, ExpandedConv2d, FixedConv2d, PReLU

Each layer's last operator carries the layer's name, so that frozen graphs and what is converted from them can be read.
"""

from __future__ import annotations

import sys
import types

import numpy as np
import tensorflow as tf

from snpe_srgan.models import expansion
from snpe_srgan.products import biased_conv2d, conv2d, matmul, narrow
from snpe_srgan.replicas import batch_mean, replicas

sys.modules.setdefault("tensorlayer.app", types.ModuleType("tensorlayer.app"))

import tensorlayer as tl  # noqa: E402

tl.logging.set_verbosity(tl.logging.ERROR)
tl.layers.Layer._get_init_args = lambda self, skip=3: {}

__all__ = [
    "BatchNorm2d", "Clip", "Conv2d", "Dense", "ExpandedConv2d", "FixedConv2d", "Function", "LeakyReLU", "PReLU",
    "ReLU", "tl",
]  # fmt: skip


class BatchNorm2d(tl.layers.BatchNorm2d):
    """TensorLayer's batch norm with fused kernels and statistics that are assigned in place.

    What a convolution left in bfloat16 it gives in bfloat16; mean and variance are computed in float32 all the same.
    Under `tf.distribute` mean and variance are those of the whole batch, over all replicas; the variables that hold
    them are of a kind of its own.
    """

    def build(self, inputs_shape):
        shape = self._get_param_shape(inputs_shape)
        self.gamma = self._get_weights("gamma", shape=shape, init=self.gamma_init)
        self.beta = self._get_weights("beta", shape=shape, init=self.beta_init)
        self.moving_mean = self._statistic("moving_mean", self.moving_mean_init(shape=shape))
        self.moving_var = self._statistic("moving_var", self.moving_var_init(shape=shape))

    def _statistic(self, name: str, value) -> tf.Variable:
        variable = tf.Variable(
            value,
            name=f"{self.name}/{name}",
            dtype=tf.float32,
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        self._nontrainable_weights.append(variable)
        return variable

    def forward(self, inputs):
        # While the static model is being built, TensorLayer calls every layer once with a picture of ones in training
        # mode: that must not touch the statistics.
        if self.is_train and self._nodes_fixed:
            outputs, mean, variance = self._normalized(inputs)
            self.moving_mean.assign_sub((self.moving_mean - mean) * (1.0 - self.decay))
            self.moving_var.assign_sub((self.moving_var - variance) * (1.0 - self.decay))
        else:
            outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
                inputs,
                self.gamma,
                self.beta,
                mean=self.moving_mean,
                variance=self.moving_var,
                epsilon=self.epsilon,
                is_training=False,
                name=self.name,
            )
        return outputs

    def _normalized(self, inputs):
        """(outputs, mean, variance with Bessel's correction) of a batch, one replica's or dealt out among several."""
        count = replicas()
        if count == 1:
            return tf.compat.v1.nn.fused_batch_norm(
                inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
            )
        inputs = tf.cast(inputs, tf.float32)
        mean = batch_mean(inputs, [0, 1, 2])
        variance = batch_mean(tf.square(inputs - mean), [0, 1, 2])
        outputs = tf.nn.batch_normalization(inputs, mean, variance, self.beta, self.gamma, self.epsilon)
        values = tf.cast(count * tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
        return outputs, mean, variance * values / tf.maximum(values - 1.0, 1.0)


class Conv2d(tl.layers.Conv2d):
    """TensorLayer's convolution, its two operators named after the layer.

    Attributes:
        slope: where products are in bfloat16, it gives what the ReLU (0) or leaky ReLU behind it makes of its result,
            and that one has nothing to do: one kernel for both. None without one.
        keeps_narrow: and its result stays bfloat16, for nothing reads it but what takes that.
        adds_bias_narrow: and its kernel adds the bias.
    """

    slope: float | None = None
    keeps_narrow = False
    adds_bias_narrow = True

    def kernel(self) -> tf.Tensor:
        """(h, w, in, out), as it is now."""
        return tf.convert_to_tensor(self.W)

    def assign_kernel(self, value) -> None:
        """Replaces the kernel by `value`, (h, w, in, out)."""
        self.W.assign(value)

    def forward(self, inputs):
        def convolve(name: str) -> tf.Tensor:
            return conv2d(
                inputs, self.kernel(), self._strides, self.padding, keeps_narrow=self.keeps_narrow, name=name
            )

        if not self.b_init:
            return convolve(self.name)
        if narrow() and self.adds_bias_narrow:
            kernel, bias = self.kernel(), tf.convert_to_tensor(self.b)
            y = biased_conv2d(inputs, kernel, bias, self._strides, self.padding, slope=self.slope)
            return y if self.keeps_narrow else tf.cast(y, tf.float32)
        return tf.nn.bias_add(convolve(f"{self.name}/conv"), self.b, name=self.name)


class FixedConv2d(Conv2d):
    """A convolution whose weights are part of the design and never trained.

    It carries the enlarged picture past the others: its bias, which moves the range, is added in float32.
    """

    adds_bias_narrow = False

    def _get_weights(self, var_name, shape, init, trainable=False):
        return super()._get_weights(var_name, shape=shape, init=init, trainable=False)


class ExpandedConv2d(Conv2d):
    """A convolution that trains as two with nothing between them (models/expansion.py) and computes as their product:
    the kernels are multiplied once a step, in float32, so a pixel costs what it costs in a plain one."""

    def __init__(self, *args, expand: int, seed, **keywords):
        self._expand, self._rng = expand, np.random.default_rng(seed)
        super().__init__(*args, **keywords)

    def _get_weights(self, var_name, shape, init, trainable=True):
        if var_name != "filters":
            return super()._get_weights(var_name, shape=shape, init=init, trainable=trainable)
        parts = expansion.split(init(shape).numpy(), self._expand, self._rng)
        self.expansion, self.projection = (
            super(ExpandedConv2d, self)._get_weights(name, shape=part.shape, init=lambda shape, part=part: part)
            for name, part in zip(("expansion", "projection"), parts, strict=True)
        )
        return None

    def kernel(self) -> tf.Tensor:
        h, w, inputs, width = self.expansion.shape
        flat = tf.matmul(tf.reshape(self.expansion, [-1, width]), self.projection)
        return tf.reshape(flat, [h, w, inputs, -1])

    def assign_kernel(self, value) -> None:
        parts = expansion.split(np.asarray(value), self._expand, self._rng)
        for variable, part in zip((self.expansion, self.projection), parts, strict=True):
            variable.assign(part)


class Dense(tl.layers.Dense):
    """TensorLayer's dense layer, its product in the precision that the training step asks for."""

    def forward(self, inputs):
        y = matmul(inputs, tf.convert_to_tensor(self.W))
        y = tf.add(y, self.b) if self.b_init else y
        return self.act(y) if self.act else y


class PReLU(tl.layers.Layer):
    """max(x, 0) + alpha * min(x, 0), alpha (channels,) unconstrained."""

    def __init__(self, *, alpha_init, name: str):
        super().__init__(name)
        self.alpha_init = alpha_init

    def __repr__(self):
        return f"PReLU(name={self.name!r})"

    def build(self, inputs_shape):
        self.alpha = self._get_weights("alpha", shape=(inputs_shape[-1],), init=self.alpha_init)

    def forward(self, inputs):
        above = tf.nn.relu(inputs, name=f"{self.name}/above")
        below = tf.nn.relu(tf.negative(inputs, name=f"{self.name}/mirrored"), name=f"{self.name}/below")
        return tf.add(above, tf.multiply(-self.alpha, below, name=f"{self.name}/sloped"), name=self.name)


class LeakyReLU(tl.layers.Layer):
    """max(x, slope * x), slope in (0, 1).

    TensorFlow's own gradient reads the layer's input, which its remapper has fused away (it then gives the whole graph
    up with an error message); the output has the same signs and serves as well. The network that is frozen keeps the
    operator as it is.

    Attributes:
        done_before: the convolution in front of it does it along where products are in bfloat16 (`Conv2d.slope`).
    """

    done_before = False

    def __init__(self, slope: float, *, name: str):
        super().__init__(name)
        self.slope = slope

    def __repr__(self):
        return f"LeakyReLU(name={self.name!r})"

    def build(self, inputs_shape):
        pass

    def forward(self, inputs):
        if self.done_before and narrow():
            return inputs
        return self._trained(inputs) if self.is_train else tf.nn.leaky_relu(inputs, self.slope, name=self.name)

    def _trained(self, inputs):
        @tf.custom_gradient
        def leaky(x):
            y = tf.nn.leaky_relu(x, self.slope)
            return y, lambda upstream: tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=self.slope)

        return leaky(inputs)


class ReLU(tl.layers.Layer):
    """max(x, 0).

    Attributes:
        done_before: the convolution in front of it does it along where products are in bfloat16 (`Conv2d.slope`).
    """

    done_before = False

    def __init__(self, *, name: str):
        super().__init__(name)

    def __repr__(self):
        return f"ReLU(name={self.name!r})"

    def build(self, inputs_shape):
        pass

    def forward(self, inputs):
        return inputs if self.done_before and narrow() else tf.nn.relu(inputs, name=self.name)


class Clip(tl.layers.Layer):
    """min(max(x, low), high).

    In training the gradient is one comparison and one choice, not two of each: it passes where nothing was clipped.
    """

    def __init__(self, low: float, high: float, *, name: str):
        super().__init__(name)
        self.low, self.high = low, high

    def __repr__(self):
        return f"Clip(name={self.name!r})"

    def build(self, inputs_shape):
        pass

    def forward(self, inputs):
        @tf.custom_gradient
        def clip(x):
            y = tf.clip_by_value(x, self.low, self.high)
            return y, lambda upstream: tf.where(tf.equal(x, y), upstream, 0.0)

        return clip(inputs) if self.is_train else tf.clip_by_value(inputs, self.low, self.high, name=self.name)


class Function(tl.layers.Layer):
    """A layer without weights: `function(inputs)`."""

    def __init__(self, function, *, name: str):
        super().__init__(name)
        self.function = function

    def __repr__(self):
        return f"Function(name={self.name!r})"

    def build(self, inputs_shape):
        pass

    def forward(self, inputs):
        return self.function(inputs)
