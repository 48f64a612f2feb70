"""Fine-tuning of a compressed network: the training loop as it is, on a config that names no network of its own.

    tuning = plan_tuning("configs/finetune.yaml", source=path, graph=graph, initial=untuned, run_dir=folder)
    result = tuning.run(output)                          # runs/..._finetune/generator.npz

`loss.distill.teacher: source` in the config stands for the network that was compressed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from snpe_srgan.artifacts.files import require_writable
from snpe_srgan.compression.folding import with_folded_tail
from snpe_srgan.compression.structure import branches
from snpe_srgan.config import Config, ModelConfig, load_config
from snpe_srgan.errors import ConfigError, InputError, UsageError
from snpe_srgan.models.graph import Graph
from snpe_srgan.onnx_graphs.from_layers import fold_batch_norm
from snpe_srgan.training.rundir import check_claim

if TYPE_CHECKING:
    from snpe_srgan.console import Output
    from snpe_srgan.training.result import TrainResult

SOURCE = "source"  # as a teacher: the network that is compressed


@dataclass(frozen=True)
class Tuning:
    """A training that starts from `config.model.initial`, in `run_dir`."""

    config: Config
    run_dir: Path
    resume: bool = False
    overwrite: bool = False

    def run(self, output: Output) -> TrainResult:
        """Trains, and gives the result; TensorFlow is loaded here.

        Args:
            output: takes the training's progress.
        """
        from snpe_srgan.quiet import import_tensorflow

        output.note("starting TensorFlow ...")
        import_tensorflow()
        from snpe_srgan.training.run import train

        return train(self.config, self.run_dir, resume=self.resume, overwrite=self.overwrite, output=output)


def plan_tuning(
    config: str | os.PathLike | Config,
    *,
    overrides: Sequence[str] = (),
    minutes: float | None = None,
    source: Path,
    graph: Graph,
    initial: Path,
    run_dir: Path,
    resume: bool = False,
    overwrite: bool = False,
    output: Output,
) -> Tuning:
    """Reads and checks all that a fine-tuning needs, the pictures included, so that it cannot fail after the search.

    Args:
        source, graph: the network that is compressed, and its layers.
        initial: where the compressed one will be.
        resume: go on with the run in `run_dir`, if there is one.

    Raises:
        InputError: the config or the pictures are missing or cannot be read.
        ConfigError: the config does not fit the network.
        UsageError: `run_dir` is the folder of the compressed network.
    """
    from snpe_srgan.training.input import check_pictures, training_cache, validation_pairs
    from snpe_srgan.training.networks import read_networks

    if not isinstance(config, Config):
        if not Path(config).is_file():
            raise InputError("no such config", where=config, hint="configs/finetune.yaml is one")
        more = () if minutes is None else (f"training.minutes={minutes}",)
        config = load_config(config, (*overrides, *more))
    stages = [_taught(stage, source) for stage in config.training.stages]
    config = replace(config, training=replace(config.training, stages=stages))
    scale = cast(Any, graph.scale)
    untrained = replace(config, model=ModelConfig(name=graph.network, scale=scale, initial=str(source)))
    networks = read_networks(untrained)
    _require_lasting(config, graph)
    if run_dir.resolve() == initial.parent.resolve():
        raise UsageError("the fine-tuning needs a folder of its own", where=run_dir, hint="choose another --run-dir")
    require_writable(run_dir)
    check_claim(run_dir, resume=resume, overwrite=overwrite, keep=networks.files)
    check_pictures(untrained)
    training_cache(untrained, output)  # decoded once: the training finds it
    validation_pairs(untrained, output)
    model = ModelConfig(name=graph.network, scale=scale, options={}, initial=str(initial))
    return Tuning(replace(config, model=model), run_dir, resume, overwrite and not resume)


def _require_lasting(config: Config, graph: Graph) -> None:
    """Raises for a feature loss on a layer that compression may take out or move."""
    silent = {key: np.zeros(shape, np.float32) for key, shape in graph.weight_shapes().items()}
    folded, _ = with_folded_tail(fold_batch_norm(graph, silent)[0], None)
    gone = {x for add, chain in branches(folded).items() for x in (add, *chain)}
    before = {layer.name: layer.upscale for layer in graph.layers}
    lasting = [la.name for la in folded.layers if la.name not in gone and before.get(la.name) == la.upscale]
    for stage in config.training.stages:
        distill = stage.loss.distill
        for own, _ in distill.layers if distill.feature_weight else ():
            if own not in lasting:
                raise ConfigError(
                    f"stage {stage.name}: '{own}' may not outlive the compression", where="distill.features",
                    hint=f"layers that stay: {', '.join(lasting[1:])}",
                )  # fmt: skip


def _taught(stage, source: Path):
    distill = stage.loss.distill
    if distill.teacher != SOURCE:
        return stage
    return replace(stage, loss=replace(stage.loss, distill=replace(distill, teacher=str(source))))
