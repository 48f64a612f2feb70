"""Everything that can fail because of the user's input, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.npz import load_npz
from snpe_srgan.artifacts.resolve import resolve
from snpe_srgan.cli.output import Output
from snpe_srgan.config import Config
from snpe_srgan.data.cache import Cache
from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.losses.feature_networks import FeatureNetwork, load_feature_network
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.registry import describe
from snpe_srgan.training.checkpoint import Checkpoint
from snpe_srgan.training.engine import Distribution
from snpe_srgan.training.input import content_key, training_cache, validation_pairs
from snpe_srgan.training.result import validation_name
from snpe_srgan.training.validation import PROTOCOL, Validator


class Clock:
    """Training time over all resumes."""

    def __init__(self, before: float):
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start


@dataclass(frozen=True)
class Run:
    """What the stages of a run share."""

    config: Config
    folder: Path
    distribution: Distribution
    precision: str
    graph: Graph
    initial: Mapping[str, np.ndarray] | None
    cache: Cache
    data_key: str
    features: Mapping[str, FeatureNetwork]
    validator: Validator | None
    validation: str
    protocol: str
    clock: Clock


def _network(config: Config) -> tuple[Graph, dict[str, np.ndarray] | None]:
    """The network and, with `model.initial`, the weights to start from (then the file's own layers count)."""
    model = config.model
    if model.initial is None:
        return describe(model.name, model.options, scale=model.scale), None
    file = resolve(model.initial, kinds=("npz",))
    graph, weights = load_npz(file.path)
    if (graph.network, graph.scale) != (model.name, model.scale):
        raise ConfigError(
            f"model.initial holds {graph.network} x{graph.scale}, the config says {model.name} x{model.scale}",
            where=file.path,
        )
    return graph, weights


def prepare_run(
    config: Config, folder: Path, distribution: Distribution, precision: str, output: Output, saved: Checkpoint | None
) -> Run:
    """Reads networks, weights and pictures; `saved` is the checkpoint that is resumed."""
    graph, initial = _network(config)
    for stage in config.training.stages:
        batch = stage.batch_size or config.data.batch_size
        if batch % distribution.replicas:
            raise ConfigError(
                f"a batch of {batch} cannot be dealt to {distribution.replicas} replicas", where=f"stage {stage.name}"
            )
    cache = training_cache(config, output)
    data_key = content_key(cache)
    if saved and saved.progress.data_key != data_key:
        raise InputError(
            "the training pictures are not those the run began with", where=", ".join(config.data.train),
            hint="put them back, or start anew with --overwrite or another --run-dir",
        )  # fmt: skip
    pairs = validation_pairs(config) if distribution.is_chief else []
    features = {
        stage.name: load_feature_network(wanted.network, wanted.layers, weights=wanted.weights)
        for stage in config.training.stages
        if stage.loss.feature_weight and (wanted := stage.loss.features)
    }
    return Run(
        config=config,
        folder=folder,
        distribution=distribution,
        precision=precision,
        graph=graph,
        initial=initial,
        cache=cache,
        data_key=data_key,
        features=features,
        validator=Validator(pairs, scale=config.model.scale) if pairs else None,
        validation=validation_name(config, len(pairs)),
        protocol=PROTOCOL.describe(),
        clock=Clock(saved.progress.seconds if saved else 0.0),
    )
