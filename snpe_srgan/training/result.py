"""What a training leaves behind: the numbers, and the `.npz` files with their cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from snpe_srgan.artifacts.card import Metric, tensorflow_package, write_card
from snpe_srgan.artifacts.staging import unfinished
from snpe_srgan.config import Config
from snpe_srgan.losses.feature_networks import FeatureNetwork
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.npz import save_npz
from snpe_srgan.training.networks import Teacher
from snpe_srgan.zoo.model_card import model_card


@dataclass(frozen=True)
class StageResult:
    """One finished stage. Scores are those of the averaged weights; None without validation pictures.

    Attributes:
        seconds: from the stage's beginning to its end, validation included, over all resumes.
        images_per_second, waiting: medians over the log lines; `waiting` is the share of time spent on input.
    """

    name: str
    steps: int
    seconds: float
    images_per_second: float
    waiting: float
    losses: Mapping[str, float] = field(default_factory=dict)
    psnr: float | None = None
    ssim: float | None = None
    budget: tuple[int, float] = (0, 0.0)  # configured steps and minutes when it ended
    far_below_bicubic: bool = False  # by 3 dB: it diverged, or had too few steps

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> StageResult:
        """What a checkpoint's `history` holds, as a result again."""
        return cls(**{**entry, "budget": tuple(entry["budget"])})


@dataclass(frozen=True)
class TrainResult:
    """What `train` returns; `protocol` says how PSNR and SSIM were measured, on which pictures.

    Attributes:
        strips: pictures of the last validation, each bicubic | the network | the true picture.
    """

    run_dir: Path
    generator: Path
    stages: tuple[StageResult, ...]
    seconds: float
    precision: str
    validation: str
    protocol: str
    bicubic_psnr: float | None
    bicubic_ssim: float | None
    strips: tuple[Path, ...] = ()


def save_generator(
    path: Path,
    config: Config,
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    *,
    stages: list[StageResult],
    teachers: Mapping[str, Teacher],
    features: Mapping[str, FeatureNetwork],
    precision: str,
    validation: str,
    protocol: str,
) -> Path:
    """Writes the generator (replacing the file) and the card that says how the weights came to be.

    Args:
        path: the `.npz` file.
        weights: `layer/array` -> array, the averaged ones.
        stages: finished, in order, at least one; the last one's scores go on the card.
        teachers, features: by the stage that used them.
        precision: that a step multiplied in.
        validation: what was validated on (`validation_name`).
        protocol: how PSNR and SSIM were measured.

    Returns:
        `path`.

    Raises:
        InputError: the file cannot be written.
    """
    last = stages[-1]
    metrics: tuple[Metric, ...] = ()
    if last.psnr is not None:
        metrics = (Metric(validation, protocol, last.psnr, last.ssim, engine="tensorflow"),)
    training: dict[str, Any] = {
        "data": [short(spec) for spec in config.data.train],
        "seed": config.seed,
        "weights": f"averaged, decay {config.training.ema}" if config.training.ema else "of the last step",
        "precision": precision,
        "initial": config.model.initial and short(config.model.initial),
        "stages": [dataclasses.asdict(stage) for stage in stages],
    }
    if config.data.degradation.preset != "bicubic":
        training["degradation"] = dataclasses.asdict(config.data.degradation)
    if config.training.expand:
        training["expand"] = config.training.expand
    if teachers:
        training["distill"] = {
            stage.name: {
                **dataclasses.asdict(stage.loss.distill),
                "teacher": short(str(stage.loss.distill.teacher)),
                "sha256": teachers[stage.name].sha256,
            }
            for stage in config.training.stages
            if stage.name in teachers
        }
    if features:
        training["features"] = {
            stage.name: {
                **dataclasses.asdict(stage.loss.features),
                "feature_weight": stage.loss.feature_weight,
                "weights": features[stage.name].weights.file,
                "sha256": features[stage.name].weights.sha256,
            }
            for stage in config.training.stages
            if stage.name in features
        }
    card = dataclasses.replace(model_card(graph, kind="npz", training=training), metrics=metrics)
    with unfinished(path.parent):
        save_npz(path, graph, weights, overwrite=True)
        write_card(path, card, tools=(tensorflow_package(), "tensorlayer", "numpy"))
    return path


def validation_name(config: Config, count: int) -> str:
    """What was validated on, for people and cards."""
    return " + ".join(short(spec) for spec in config.data.valid) + f" ({count} pictures)"


def short(spec: str) -> str:
    """A source's name without the machine's folders: the last two parts of a path."""
    return "/".join(Path(spec).parts[-2:])
