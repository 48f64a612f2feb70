"""Checks what a pipeline will need before it starts, so that what is missing is reported before training."""

from __future__ import annotations

from pathlib import Path

from snpe_srgan.artifacts.files import require_writable
from snpe_srgan.calibration.crops import check_sources
from snpe_srgan.config import Config
from snpe_srgan.data.sources import NAMED, source_folder
from snpe_srgan.errors import ConfigError
from snpe_srgan.metrics.dataset import find_evaluation_set
from snpe_srgan.quantization.recipe import parse_recipe
from snpe_srgan.toolchains import qnn, socs
from snpe_srgan.training.input import check_pictures


def check(config: Config, folder: Path) -> None:
    """Raises for what would stop a later stage.

    Raises:
        InputError: pictures that are not there, a folder that cannot be written.
        UsageError, ConfigError: a recipe or chip that is not known, two data sets of one name.
        MissingToolError: the wheel or SDK that writes the .dlc is not installed.
    """
    require_writable(folder)
    parse_recipe(config.quantize.recipe)
    socs.find(config.convert.soc)
    if qnn.available() is None:
        socs.find(config.benchmark.chip)
    if config.convert.toolchain == "snpe" or config.run.on in ("sdk", "device"):
        from snpe_srgan.toolchains.snpe.sdk import find_sdk

        find_sdk()
    if config.convert.toolchain == "qnn" or config.run.on == "emulator":
        qnn.require()
    if config.deploy:
        from snpe_srgan.deploy.source import eight_bits
        from snpe_srgan.toolchains import litert
        from snpe_srgan.toolchains.litert_targets import find_targets

        litert.require()
        find_targets(config.deploy.targets)
        eight_bits(config.quantize.recipe)
    check_pictures(config)
    _check_sets(config)
    wanted = [*config.quantize.calibration, *(config.compress.calibration if config.compress else [])]
    check_sources([source_folder(spec, config.data.root) for spec in wanted])


def _check_sets(config: Config) -> None:
    """The data sets to score on are there, and their pictures go to different folders."""
    names = [Path(spec).name for spec in config.evaluate.datasets]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ConfigError(f"two data sets are called '{twice}'", where="evaluate.datasets", hint="rename one folder")
    for spec in config.evaluate.datasets:
        if spec in NAMED and spec in (*config.data.train, *config.data.valid):
            continue  # looked at already
        find_evaluation_set(source_folder(spec, config.data.root), scale=config.model.scale)
