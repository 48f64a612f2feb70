"""How many images a second a training step makes: ours and its twin in PyTorch, for the scripts that compare them.

step = OurStep(graph, adversarial=False, crop=96, precision="float32")
rates = in_turns({"graph": step}, batch=16, steps=5, rounds=3)      # {"graph": 41.2}

python scripts/step_speed.py torch --network mobile ...             # one of them in a process of its own, as JSON
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]


class OurStep:
    """Calls our training step; `eager` without `tf.function`. The numbers of a step do not matter to its time."""

    def __init__(self, graph, *, adversarial: bool, crop: int, precision: str):
        import tensorflow as tf

        from snpe_srgan.config import DiscriminatorConfig, LossConfig, StageConfig
        from snpe_srgan.training.engine import Distribution
        from snpe_srgan.training.state import StageState
        from snpe_srgan.training.steps import make_step, metric_names

        stage = StageConfig(loss=LossConfig(adversarial_weight=1e-3 if adversarial else 0.0))
        self.state = StageState(
            graph, Distribution(), seed=0, beta1=0.9, metrics=len(metric_names(stage)), crop=crop,
            discriminator=DiscriminatorConfig() if adversarial else None,
        )  # fmt: skip
        self.step = make_step(self.state, stage, Distribution(), multiply_in=precision)
        self.tf, self.numbers = tf, tf.constant([1e-4, 0.9, 0.999, 0.9])

    def __call__(self, lr: np.ndarray, hr: np.ndarray) -> None:
        self._run(self.step, lr, hr)

    def _run(self, function, lr, hr) -> None:
        tf = self.tf
        function((tf.constant(lr), tf.constant(hr)), self.numbers, tf.constant(0, tf.int64))

    def wait(self) -> None:
        self.state.first_bad_step()  # reads a variable that the last step writes


class Eager:
    """The same step, operation by operation."""

    def __init__(self, ours: OurStep):
        self.ours, self.wait = ours, ours.wait

    def __call__(self, lr: np.ndarray, hr: np.ndarray) -> None:
        self.ours._run(self.ours.step.python_function, lr, hr)


def pictures(scale: int, *, crop: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    lr = rng.integers(0, 256, (batch, crop // scale, crop // scale, 3), dtype=np.uint8)
    return lr, rng.integers(0, 256, (batch, crop, crop, 3), dtype=np.uint8)


def in_turns(
    ways: dict, scale: int, *, crop: int, batch: int, steps: int, rounds: int, clock=time.perf_counter
) -> dict[str, float]:
    """Images a second of each, medians over rounds of `steps` steps and one wait; a busy machine slows all alike."""
    lr, hr = pictures(scale, crop=crop, batch=batch)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, step in ways.items():
            start = clock()
            for _ in range(steps if number else 2):  # round 0 traces, compiles and warms up
                step(lr, hr)
            step.wait()
            if number:
                times[name].append(clock() - start)
    return {name: batch * steps / statistics.median(seconds) for name, seconds in times.items()}


def describe(network: str, *, blocks: int, width: int):
    from snpe_srgan.models.registry import describe

    return describe("srgan", {"blocks": blocks, "width": width}) if network == "srgan" else describe(network)


def main() -> None:
    parser = argparse.ArgumentParser(description="Images a second of one training step, as JSON.")
    parser.add_argument("framework", choices=["ours", "torch", "compiled"])
    parser.add_argument("--network", default="mobile")
    parser.add_argument("--adversarial", action="store_true")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu or cuda")
    for name, value in (("blocks", 16), ("width", 64), ("crop", 96), ("batch", 16), ("steps", 20), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    wanted = parser.parse_args()
    graph = describe(wanted.network, blocks=wanted.blocks, width=wanted.width)
    sizes = {"adversarial": wanted.adversarial, "crop": wanted.crop, "precision": wanted.precision}
    if wanted.framework == "ours":
        from snpe_srgan.quiet import import_tensorflow

        if wanted.device == "cpu":
            import_tensorflow().config.set_visible_devices([], "GPU")
        step = OurStep(graph, **sizes)
    else:
        from torch_twin import TorchStep

        step = TorchStep(graph, **sizes, device=wanted.device, compiled=wanted.framework == "compiled")
    rates = in_turns(
        {"it": step}, graph.scale, crop=wanted.crop, batch=wanted.batch, steps=wanted.steps, rounds=wanted.rounds
    )
    print(json.dumps({"images_per_second": rates["it"]}))


if __name__ == "__main__":
    main()
