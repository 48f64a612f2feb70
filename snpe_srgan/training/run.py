"""`train(config, run_dir)`: all stages of a config, from photos to `generator.npz`, resumable at any moment.

    result = train(load_config("configs/smoke.yaml"), "runs/smoke")
    result.generator, result.stages[-1].psnr

Each stage continues from the averaged weights of the one before, with fresh optimizers, and leaves
`generator_<stage>.npz`; `generator.npz` is the last one.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from snpe_srgan.artifacts.files import make_folder
from snpe_srgan.artifacts.inputs import reading
from snpe_srgan.artifacts.locks import exclusive
from snpe_srgan.config import Config
from snpe_srgan.console import Output
from snpe_srgan.errors import ConfigError
from snpe_srgan.quiet import import_tensorflow
from snpe_srgan.training.checkpoint import Checkpoint, last_checkpoint
from snpe_srgan.training.engine import make_distribution, require_agreement, set_determinism, step_precision
from snpe_srgan.training.input import check_pictures
from snpe_srgan.training.interrupt import Interrupt
from snpe_srgan.training.log import RunLog
from snpe_srgan.training.networks import read_networks
from snpe_srgan.training.prepare import Run, prepare_run
from snpe_srgan.training.result import StageResult, TrainResult
from snpe_srgan.training.rundir import BUSY, check_claim, check_resume, claim, describe_run, relevant
from snpe_srgan.training.validation import last_strips


def train(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    resume: bool = False,
    overwrite: bool = False,
    output: Output | None = None,
    locked: bool = False,
) -> TrainResult:
    """Runs or continues a training.

    Args:
        locked: the caller holds the run folder's lock (`pipeline` does).

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the state has been saved.
        SnpeSrganError: bad input, another config than the run's, a full disk, losses that are not finite.
    """
    output, folder = output or Output(quiet=True), Path(run_dir)
    import_tensorflow()  # a caller that did not is set up here
    _check(config)
    # Before an earlier run is removed, and before hours of decoding:
    networks = read_networks(config)
    check_pictures(config)
    for path in networks.files:
        reading(path)
    set_determinism(config.training.deterministic)
    distribution = make_distribution(config.training)
    precision = step_precision(config.training.precision)
    with contextlib.ExitStack() as stack:
        if distribution.is_chief:
            check_claim(folder, resume=resume, overwrite=overwrite, keep=networks.files)
            make_folder(folder)
            if not locked:  # before anything is removed
                stack.enter_context(exclusive(folder, BUSY))
            claim(folder, resume=resume, overwrite=overwrite, keep=networks.files)
        saved = last_checkpoint(folder / "checkpoints", warn=output.warn) if resume else None
        if saved:
            check_resume(saved.progress.config, relevant(config), saved.progress.stage, saved.progress.step, saved.path)
        stage, step = (saved.progress.stage + 1, saved.progress.step) if saved else (0, 0)
        require_agreement(distribution, (stage, step))
        run = prepare_run(config, networks, folder, distribution, precision, output, saved)
        log_folder = folder if distribution.is_chief else None
        metrics_bytes = saved.progress.metrics_bytes if saved else 0
        log = stack.enter_context(RunLog(log_folder, output, metrics_bytes=metrics_bytes))
        if distribution.is_chief:
            describe_run(folder, config, precision=precision)
        interrupt = stack.enter_context(Interrupt().watching())
        return _all_stages(run, log, interrupt, saved)


def _check(config: Config) -> None:
    """Contradictions that only a training cares about."""
    training = config.training
    if training.minutes and training.deterministic:
        raise ConfigError(
            "training.minutes depends on the clock, training.deterministic must not",
            where="training", hint="set steps, and minutes: 0",
        )  # fmt: skip
    if training.minutes and training.distribution == "multi_worker":
        hint = "set steps, and minutes: 0"
        raise ConfigError("workers cannot agree on training.minutes", where="training", hint=hint)


def _all_stages(run: Run, log: RunLog, interrupt: Interrupt, saved: Checkpoint | None) -> TrainResult:
    """Runs what is left to do; `saved` is where an earlier process stopped."""
    # TensorLayer computes while it is imported, and a multi-worker strategy has to be made before anything is.
    from snpe_srgan.training.stage import StageRun

    stages = run.config.training.stages
    history = [StageResult.from_json(entry) for entry in saved.progress.history] if saved else []
    bicubic = run.validator.bicubic if run.validator else None
    log.say(
        f"{run.graph.network} x{run.graph.scale}, {len(run.cache)} training pictures of "
        f"{run.cache.pixels / 1e6:.1f} megapixels in all, {run.precision}"
    )
    for name, teacher in run.teachers.items():
        log.say(f"stage {name} learns from {teacher.file.path.name}: {teacher.graph.network} x{teacher.graph.scale}")
    if bicubic:
        log.say(f"bicubic: {bicubic.psnr:.2f} dB / {bicubic.ssim:.4f} on {run.validation}")
    if history and saved and saved.progress.stage == len(history) - 1 and _extended(history[-1], run.config):
        history.pop()  # the stage was finished, and its budget has grown since
    for index in range(len(history), len(stages)):
        result = StageRun(run, log, index, history=history, saved=saved).run(interrupt)
        if result is None:
            log.say("interrupted; the state is saved, --resume continues it")
            raise KeyboardInterrupt
        saved, history = result.saved, [*history, result.stage]
    return TrainResult(
        run_dir=run.folder,
        generator=run.folder / "generator.npz",
        stages=tuple(history),
        seconds=sum(stage.seconds for stage in history),
        precision=run.precision,
        validation=run.validation,
        protocol=run.protocol,
        bicubic_psnr=bicubic.psnr if bicubic else None,
        bicubic_ssim=bicubic.ssim if bicubic else None,
        strips=last_strips(run.folder / "samples"),
    )


def _extended(last: StageResult, config: Config) -> bool:
    """Whether the config gives a finished stage more steps or minutes than it had."""
    steps = next(stage.steps for stage in config.training.stages if stage.name == last.name)
    minutes = config.training.minutes
    return (steps, minutes) != tuple(last.budget) and last.steps < steps and (not minutes or minutes > last.budget[1])
