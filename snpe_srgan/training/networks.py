"""The networks of a run, read and checked before anything else is touched: the generator and the stages' teachers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.artifacts.files import sha256
from snpe_srgan.config import Config, DistillConfig
from snpe_srgan.errors import ConfigError, InputError, did_you_mean
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.npz import load_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo.resolve import ModelFile, resolve


@dataclass(frozen=True)
class Teacher:
    """A trained network that the generator learns from; it is never trained itself."""

    file: ModelFile
    sha256: str
    graph: Graph
    weights: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Networks:
    """`initial` are the weights to start from, or None; `teachers` are those of the stages that have one, by name;
    `files` holds what was read."""

    graph: Graph
    initial: Mapping[str, np.ndarray] | None
    teachers: Mapping[str, Teacher]
    files: tuple[Path, ...] = ()


def read_networks(config: Config) -> Networks:
    """Reads what the config names; whatever does not fit is an error here, before pictures are decoded."""
    graph, initial, files = _generator(config)
    stages = [stage for stage in config.training.stages if stage.loss.distill.active]
    teachers = {stage.name: _teacher(stage.loss.distill, graph, f"stage {stage.name}") for stage in stages}
    return Networks(graph, initial, teachers, (*files, *(teacher.file.path for teacher in teachers.values())))


def require_same_teachers(before: Mapping[str, str], teachers: Mapping[str, Teacher]) -> None:
    """Raises when a teacher's file is not the one (SHA-256, by stage) a run began with."""
    for stage, teacher in teachers.items():
        if stage in before and before[stage] != teacher.sha256:
            raise InputError(
                f"the teacher of stage '{stage}' is not the file the run began with", where=teacher.file.path,
                hint="put it back, or start over with --overwrite or another --run-dir",
            )  # fmt: skip


def _generator(config: Config) -> tuple[Graph, dict[str, np.ndarray] | None, tuple[Path, ...]]:
    """The network and, with `model.initial`, the weights to start from and their file (whose own layers then count)."""
    model = config.model
    if model.initial is None:
        return describe(model.name, model.options, scale=model.scale), None, ()
    file = resolve(model.initial, kinds=("npz",))
    graph, weights = load_npz(file.path)
    if (graph.network, graph.scale) != (model.name, model.scale):
        raise ConfigError(
            f"model.initial holds {graph.network} x{graph.scale}, the config says {model.name} x{model.scale}",
            where=file.path,
        )
    return graph, weights, (file.path,)


def _teacher(distill: DistillConfig, student: Graph, stage: str) -> Teacher:
    file = resolve(str(distill.teacher), kinds=("npz",))
    graph, weights = load_npz(file.path)
    if graph.scale != student.scale:
        raise ConfigError(
            f"{stage}: the teacher enlarges x{graph.scale}, the network x{student.scale}", where=file.path,
            hint=f"distill.teacher: a x{student.scale} network",
        )  # fmt: skip
    for own, taught in distill.layers if distill.feature_weight else ():
        ups = [_upscale(student, own, f"{stage}: the network"), _upscale(graph, taught, f"{stage}: the teacher")]
        if ups[0] != ups[1]:
            raise ConfigError(
                f"{stage}: '{own}' works at x{ups[0]:g}, the teacher's '{taught}' at x{ups[1]:g}",
                where="distill.features",
                hint="layers of one size: their maps are compared pixel by pixel",
            )  # fmt: skip
    return Teacher(file, sha256(file.path), graph, weights)


def _upscale(graph: Graph, name: str, whose: str) -> float:
    layers = {layer.name: layer for layer in graph.layers if layer.kind != "input"}
    if name not in layers:
        raise ConfigError(f"{whose} has no layer '{name}'", where="distill.features", hint=did_you_mean(name, layers))
    return layers[name].upscale / graph.unit
