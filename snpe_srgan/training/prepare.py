"""Everything that can fail because of the user's input, before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.config import Config
from snpe_srgan.console import Output
from snpe_srgan.data.cache import Cache
from snpe_srgan.data.plane import Plane
from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.losses.feature_networks import FeatureNetwork, load_feature_network
from snpe_srgan.models.graph import Graph
from snpe_srgan.products import Precision
from snpe_srgan.training.checkpoint import Checkpoint
from snpe_srgan.training.engine import Distribution
from snpe_srgan.training.input import content_key, teacher_plane, training_cache, validation_pairs
from snpe_srgan.training.networks import Networks, Teacher, require_same_teachers
from snpe_srgan.training.result import validation_name
from snpe_srgan.training.validation import PROTOCOL, Validator


class Clock:
    """Training time over all resumes."""

    def __init__(self, before: float):
        self._start = time.perf_counter() - before

    @property
    def seconds(self) -> float:
        """Training time so far, over all resumes."""
        return time.perf_counter() - self._start


@dataclass(frozen=True)
class Run:
    """What the stages of a run share; `teachers` and `planes` (their pictures) are by stage."""

    config: Config
    folder: Path
    distribution: Distribution
    precision: Precision
    graph: Graph
    initial: Mapping[str, np.ndarray] | None
    cache: Cache
    data_key: str
    features: Mapping[str, FeatureNetwork]
    teachers: Mapping[str, Teacher]
    planes: Mapping[str, Plane]
    validator: Validator | None
    validation: str
    protocol: str
    clock: Clock


def prepare_run(
    config: Config,
    networks: Networks,
    folder: Path,
    distribution: Distribution,
    precision: Precision,
    output: Output,
    saved: Checkpoint | None,
) -> Run:
    """Reads pictures and feature networks, and lets the teachers enlarge.

    Args:
        folder: the run's.
        precision: that a step multiplies in.
        output: takes the progress.
        saved: the checkpoint that is resumed; None for a fresh run.

    Raises:
        ConfigError: a batch cannot be dealt to the replicas, a crop does not fit the network, or an unknown feature
            network or layer.
        InputError: pictures that are missing or unreadable, too small for a crop, or not those that the run began with.
        MissingToolError: a feature network's weights are not to be had.
    """
    if saved:
        require_same_teachers(saved.progress.teachers, networks.teachers)
    for stage in config.training.stages:
        batch = stage.batch_size or config.data.batch_size
        if batch % distribution.replicas:
            raise ConfigError(
                f"a batch of {batch} cannot be dealt to {distribution.replicas} replicas", where=f"stage {stage.name}"
            )
        crop, grid = stage.crop or config.data.crop, config.model.scale * networks.graph.unit
        if crop % grid:
            raise ConfigError(
                f"a crop of {crop} is no multiple of {grid}, which the network's pixel unshuffle needs",
                where=f"stage {stage.name}", hint=f"crop: {crop - crop % grid or grid}",
            )  # fmt: skip
    cache = training_cache(config, output)
    data_key = content_key(cache)
    if saved and saved.progress.data_key != data_key:
        raise InputError(
            "the training pictures are not those the run began with", where=", ".join(config.data.train),
            hint="put them back, or start over with --overwrite or another --run-dir",
        )  # fmt: skip
    pairs = validation_pairs(config, output) if distribution.is_chief else []
    features = {
        stage.name: load_feature_network(
            wanted.network, wanted.layers, weights=wanted.weights, activation=wanted.activation
        )
        for stage in config.training.stages
        if stage.loss.feature_weight and (wanted := stage.loss.features)
    }
    planes = {
        stage.name: teacher_plane(cache, networks.teachers[stage.name], output)
        for stage in config.training.stages
        if stage.loss.distill.weight
    }
    return Run(
        config=config,
        folder=folder,
        distribution=distribution,
        precision=precision,
        graph=networks.graph,
        initial=networks.initial,
        cache=cache,
        data_key=data_key,
        features=features,
        teachers=networks.teachers,
        planes=planes,
        validator=Validator(pairs, scale=config.model.scale, multiple=networks.graph.unit) if pairs else None,
        validation=validation_name(config, len(pairs)),
        protocol=PROTOCOL.describe(),
        clock=Clock(saved.progress.seconds if saved else 0.0),
    )
