"""All variables of a stage, and the same as named arrays: both networks, both optimizers, the averaged weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from snpe_srgan.config import DiscriminatorConfig
from snpe_srgan.errors import InputError
from snpe_srgan.models.discriminator import build_discriminator
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.tensorlayer_model import build, set_weights, tensors, variables
from snpe_srgan.training.adam import Adam
from snpe_srgan.training.engine import Distribution


class StageState:
    """Built anew for each stage: fresh optimizers, the generator continued from the averaged weights before.

    Args:
        start: the generator's weights to begin with, or None for fresh ones from the seed.
        crop: HR crop, which the discriminator has to know.
        discriminator: None for a stage without an adversarial loss.
        discriminator_start: `discriminator_weights()` of the stage before; taken over if the crop is the same.
        metrics: how many values a step adds up.
        taps: layers of the generator that a loss looks at.
        expand: channels through which each convolution trains (models/expansion.py); 0: as it is.
    """

    def __init__(
        self,
        graph: Graph,
        distribution: Distribution,
        *,
        seed: int,
        beta1: float,
        metrics: int,
        start: Mapping[str, np.ndarray] | None = None,
        crop: int = 0,
        discriminator: DiscriminatorConfig | None = None,
        discriminator_start: Mapping[str, np.ndarray] | None = None,
        taps: Sequence[str] = (),
        expand: int = 0,
    ):
        self.graph, self.taps = graph, tuple(dict.fromkeys(taps))
        with distribution.scope():
            self.generator = build(graph, name="generator", seed=seed, taps=self.taps, expand=expand)
            if start is not None:
                set_weights(self.generator, graph, start)
            self.generator_adam = Adam(self.generator.trainable_weights, beta1=beta1)
            self.discriminator = self.discriminator_adam = None
            if discriminator is not None:
                self.discriminator = build_discriminator(
                    crop, width=discriminator.width, dense=discriminator.dense, attention=discriminator.attention,
                    seed=seed + 1,
                )  # fmt: skip
                self.discriminator_adam = Adam(self.discriminator.trainable_weights, beta1=beta1)
            self.sums = tf.Variable(tf.zeros([metrics]), trainable=False, name="sums")
            self.first_bad = tf.Variable(tf.constant(-1, tf.int64), trainable=False, name="first_bad")
        if self.discriminator is not None and discriminator_start:
            own = self.discriminator.all_weights
            if [tuple(v.shape) for v in own] == [a.shape for a in discriminator_start.values()]:
                for variable, array in zip(own, discriminator_start.values(), strict=True):
                    variable.assign(array)
        # The averaged network is outside the scope: every worker computes the same one for itself, and validating on
        # the chief alone then needs no other worker.
        self.average = build(graph, name="average", seed=seed)
        self._averaged = variables(self.average, graph)
        for key, tensor in tensors(self.generator, graph).items():
            self._averaged[key].assign(tensor)

    def generate(self, lr: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """SR of the network that is trained, in training mode, and what the tapped layers gave. Inside the graph."""
        sr = self.generator(lr, is_train=True)
        return (sr[0], dict(zip(self.taps, sr[1:], strict=True))) if self.taps else (sr, {})

    def move_average(self, decay: tf.Tensor) -> None:
        """average = decay * average + (1 - decay) * generator, batch-norm statistics included. Inside the graph."""
        live = tensors(self.generator, self.graph)
        for key, averaged in self._averaged.items():
            averaged.assign_sub((1.0 - decay) * (averaged - live[key]))

    def average_weights(self) -> dict[str, np.ndarray]:
        """`layer/array` -> array of the averaged network: what is validated, saved and handed to the next stage."""
        return {key: variable.numpy() for key, variable in self._averaged.items()}

    def enlarger(self):
        """`enlarge(lr)`: the averaged network on one picture of any size, float32 arrays."""

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.float32)], autograph=False)
        def forward(lr):
            return self.average(lr, is_train=False)

        return lambda lr: forward(tf.constant(lr)).numpy()

    def take_sums(self) -> np.ndarray:
        """The running sums, which start again at 0."""
        values = tf.convert_to_tensor(self.sums).numpy()
        self.sums.assign(tf.zeros_like(values))
        return values

    def first_bad_step(self) -> int | None:
        """The first step whose loss or gradient was not finite; None where there was none."""
        step = int(tf.convert_to_tensor(self.first_bad).numpy())
        return None if step < 0 else step

    def _named(self) -> dict[str, tf.Variable]:
        named = {f"generator/{k}": v for k, v in variables(self.generator, self.graph).items()}
        named |= {f"average/{k}": v for k, v in self._averaged.items()}
        if self.discriminator is not None:
            named |= {f"discriminator/{i:03d}": v for i, v in enumerate(self.discriminator.all_weights)}
        for name, adam in (("generator_adam", self.generator_adam), ("discriminator_adam", self.discriminator_adam)):
            if adam is not None:
                named |= {f"{name}/m/{i:03d}": v for i, v in enumerate(adam.m)}
                named |= {f"{name}/v/{i:03d}": v for i, v in enumerate(adam.v)}
        return named | {"sums": self.sums}

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, by name. With several workers all of them must call it: batch-norm statistics are averaged."""
        return {key: tf.convert_to_tensor(variable).numpy() for key, variable in self._named().items()}

    def load(self, arrays: Mapping[str, np.ndarray], *, where: object) -> None:
        """Assigns what `arrays()` gave; `InputError` when it belongs to other networks."""
        named = self._named()
        if named.keys() != arrays.keys() or any(tuple(v.shape) != arrays[k].shape for k, v in named.items()):
            raise InputError("the checkpoint belongs to other networks", where=where, hint="--overwrite starts over")
        for key, variable in named.items():
            variable.assign(arrays[key])
