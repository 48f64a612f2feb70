"""The configuration of a run: YAML in, typed and checked dataclasses, the same YAML out.

    config = load_config("configs/smoke.yaml", overrides=["data.crop=128"])
    text = dump_config(config)

`schema` says what a config holds and which values are allowed; `yaml_text` reads YAML that may come from a stranger;
`loading` puts the two together and words the errors. A key that does not exist is an error that names the nearest one
that does; so is a value of the wrong type.
"""

from snpe_srgan.config.loading import dump_config, json_schema, load_config, parse_config
from snpe_srgan.config.schema import (
    BenchmarkConfig,
    CompressConfig,
    Config,
    ConvertConfig,
    DataConfig,
    DegradationConfig,
    DiscriminatorConfig,
    DistillConfig,
    EvaluateConfig,
    FeatureConfig,
    LossConfig,
    ModelConfig,
    QuantizeConfig,
    RunConfig,
    ScheduleConfig,
    StageConfig,
    TrainingConfig,
)

__all__ = [
    "BenchmarkConfig",
    "CompressConfig",
    "Config",
    "ConvertConfig",
    "DataConfig",
    "DegradationConfig",
    "DiscriminatorConfig",
    "DistillConfig",
    "EvaluateConfig",
    "FeatureConfig",
    "LossConfig",
    "ModelConfig",
    "QuantizeConfig",
    "RunConfig",
    "ScheduleConfig",
    "StageConfig",
    "TrainingConfig",
    "dump_config",
    "json_schema",
    "load_config",
    "parse_config",
]
