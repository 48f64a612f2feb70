"""Means over the whole batch of a distributed step, where each replica holds a part of it.

    (mean,) = mean_over_replicas([tf.reduce_mean(x, 0)])      # with gradients; itself where there is one replica

Parts are equally large, so that the mean of their means is the batch's.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


def replicas() -> int:
    """How many replicas share the step that is traced here; 1 outside of one."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def mean_over_replicas(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Each tensor's mean over all replicas. A gradient through it is the replicas' mean as well."""
    if replicas() == 1:
        return list(tensors)
    return list(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, list(tensors)))


def batch_mean(values: tf.Tensor, axis: int | Sequence[int] | None = None) -> tf.Tensor:
    """`tf.reduce_mean` over axes that the batch is among, over all replicas' parts of it."""
    (mean,) = mean_over_replicas([tf.reduce_mean(values, axis)])
    return mean
