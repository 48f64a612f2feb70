"""Adam (Kingma and Ba, 2015) on TensorFlow's own fused kernel, with its slots in plain sight.

A checkpoint must hold every slot, and the learning rate is a function of the step that is computed outside the graph:
both are simplest when the optimizer is two lists of variables and one call.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

BETA2 = 0.999
EPSILON = 1e-8


class Adam:
    """First and second moments (`m`, `v`) of a list of variables, made in the current distribution scope."""

    def __init__(self, variables: Sequence[tf.Variable], *, beta1: float):
        self.variables, self.beta1 = list(variables), beta1
        self.m = [tf.Variable(tf.zeros(v.shape), trainable=False, name="adam_m") for v in self.variables]
        self.v = [tf.Variable(tf.zeros(v.shape), trainable=False, name="adam_v") for v in self.variables]

    def powers(self, step: int) -> tuple[float, float]:
        """beta1^t and beta2^t for the update at `step` (0 first), computed in double precision."""
        return self.beta1 ** (step + 1), BETA2 ** (step + 1)

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate, beta1_power, beta2_power) -> None:
        """One update, inside a graph. Works on resource handles, so that each replica updates its own copy.

        Args:
            gradients: one for each of `variables`, in order.
            learning_rate: a float32 scalar, as the two powers are.
            beta1_power, beta2_power: of this step, as of `powers`.
        """
        for variable, m, v, gradient in zip(self.variables, self.m, self.v, gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=beta1_power,
                beta2_power=beta2_power,
                lr=learning_rate,
                beta1=self.beta1,
                beta2=BETA2,
                epsilon=EPSILON,
                grad=gradient,
            )


def clip_by_global_norm(gradients: Sequence[tf.Tensor], largest: float) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The gradients, scaled so that their common norm is at most `largest` (0: left as they are), and that norm."""
    norm = tf.linalg.global_norm(gradients)
    if not largest:
        return list(gradients), norm
    scale = largest / tf.maximum(norm, largest)  # NaN stays NaN: the guard has to see it
    return [gradient * scale for gradient in gradients], norm
