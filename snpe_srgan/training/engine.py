"""How TensorFlow computes: precision, determinism, and over how many devices or machines."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from snpe_srgan.config import TrainingConfig
from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.machine import cpu
from snpe_srgan.products import Precision

BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
BF16_GPU = (8, 0)  # compute capability, Ampere
FORCE_BF16 = "SNPE_SRGAN_BF16"  # 1 or 0 takes the place of what the machine says: for tests, on any machine


def step_precision(wanted: str) -> Precision:
    """What a training step multiplies in: `training.precision`, or for `auto` bfloat16 where the device has it.

    Raises:
        ConfigError: bfloat16 on a device without the instructions, where it would be emulated and slow.
    """
    fast, device = _bf16_in_hardware()
    if wanted == "bfloat16" and not fast:
        raise ConfigError(
            f"{device} has no bfloat16 instructions", where="training.precision", hint="auto, or float32"
        )
    return "bfloat16" if wanted != "float32" and fast else "float32"


def _bf16_in_hardware() -> tuple[bool, str]:
    """Whether what trains here multiplies bfloat16 in hardware, and the name of it."""
    gpus = tf.config.list_physical_devices("GPU")
    device = "this GPU (older than Ampere)" if gpus else "this CPU (AVX512_BF16 or AMX)"
    forced = os.environ.get(FORCE_BF16, "")
    if forced not in ("", "0", "1"):
        raise ConfigError(f"{FORCE_BF16} is {forced!r}", where=FORCE_BF16, hint="1, 0, or not set")
    if forced:
        return forced == "1", device
    if gpus:
        details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
        return all(d.get("compute_capability", (0, 0)) >= BF16_GPU for d in details), device
    return bool(BF16_FLAGS & cpu()[1]), device


def set_determinism(deterministic: bool) -> None:
    """The same numbers in every run: deterministic kernels, operations one after another."""
    if deterministic:
        with contextlib.suppress(RuntimeError):  # a process that has computed already keeps its threads
            tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()


@dataclass(frozen=True)
class Distribution:
    """Where replicas run. `strategy` is None for one replica in this process.

    Attributes:
        replicas: all of them, over all workers; a batch is dealt out among them.
        worker, workers: which process this is, of how many.
    """

    strategy: tf.distribute.Strategy | None = None
    replicas: int = 1
    worker: int = 0
    workers: int = 1

    @property
    def is_chief(self) -> bool:
        """The one worker that writes files."""
        return self.worker == 0

    def scope(self):
        """The context in which variables are made, one copy for each replica."""
        return self.strategy.scope() if self.strategy else contextlib.nullcontext()

    def run(self, function, arguments: tuple):
        """`function(*arguments)` on every replica; results are all-reduced already, so one of them stands for all."""
        if self.strategy is None:
            return function(*arguments)
        return self.strategy.experimental_local_results(self.strategy.run(function, args=arguments))[0]

    def deal(self, batch: tuple) -> tuple:
        """This worker's arrays (n, ...) as values for its replicas: row i goes to replica i modulo their number."""
        if self.strategy is None or self.replicas == self.workers:
            return batch
        local = self.replicas // self.workers
        return tuple(
            self.strategy.experimental_distribute_values_from_function(
                lambda context, array=array: tf.constant(array[context.replica_id_in_sync_group % local :: local])
            )
            for array in batch
        )


def require_agreement(distribution: Distribution, values: Sequence[int]) -> None:
    """Raises on every worker unless all of them come with the same whole numbers.

    A step begun at different places would hang, or train nonsense.

    Raises:
        InputError: they differ.
    """
    strategy = distribution.strategy
    if strategy is None or distribution.workers == 1:
        return
    mine = tf.constant([*values, *(v * v for v in values)], tf.int64)

    def on_replica() -> tf.Tensor:
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, mine)

    @tf.function
    def summed() -> tf.Tensor:
        return strategy.experimental_local_results(strategy.run(on_replica))[0]

    sums, squares = np.split(np.asarray(summed()), 2)
    if np.any(distribution.replicas * squares != sums**2):
        raise InputError(
            "the workers would go on from different checkpoints", where="training.distribution multi_worker",
            hint="give all of them one --run-dir, on a file system that they share, and --resume to all or to none",
        )  # fmt: skip


def make_distribution(training: TrainingConfig) -> Distribution:
    """The distribution a config asks for. `multi_worker` must be made before TensorFlow has computed anything."""
    if training.distribution == "mirrored":
        devices = None if tf.config.list_logical_devices("GPU") else tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy(devices and [device.name for device in devices])
        return Distribution(strategy=strategy, replicas=strategy.num_replicas_in_sync)
    if training.distribution == "multi_worker":
        workers, index = _read_tf_config()
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        return Distribution(strategy=strategy, replicas=strategy.num_replicas_in_sync, worker=index, workers=workers)
    return Distribution()


def _read_tf_config() -> tuple[int, int]:
    """Number of workers and this one's index, from TF_CONFIG."""
    example = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'
    text = os.environ.get("TF_CONFIG")
    if not text:
        raise ConfigError(
            "training.distribution multi_worker needs the variable TF_CONFIG on every machine",
            where="TF_CONFIG", hint=f"TF_CONFIG='{example}'",
        )  # fmt: skip
    try:
        data = json.loads(text)
        workers, index = list(data["cluster"]["worker"]), int(data["task"]["index"])
        if data["task"]["type"] != "worker" or not 0 <= index < len(workers):
            raise ValueError("the task is no worker of the cluster")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"TF_CONFIG cannot be used ({error!r})", where="TF_CONFIG", hint=f"TF_CONFIG='{example}'"
        ) from error
    return len(workers), index
