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

import numpy as np

from snpe_srgan.artifacts.npz import load_npz
from snpe_srgan.artifacts.resolve import resolve
from snpe_srgan.cli.output import Output
from snpe_srgan.config import Config
from snpe_srgan.errors import ConfigError, InputError
from snpe_srgan.losses.feature_networks import load_feature_network
from snpe_srgan.models.graph import Graph
from snpe_srgan.models.registry import describe
from snpe_srgan.training.checkpoint import Checkpoint, last_checkpoint
from snpe_srgan.training.engine import Distribution, make_distribution, set_determinism, set_precision
from snpe_srgan.training.input import content_key, training_cache, validation_pairs
from snpe_srgan.training.log import RunLog
from snpe_srgan.training.loop import Interrupt
from snpe_srgan.training.result import StageResult, TrainResult, validation_name
from snpe_srgan.training.rundir import check_resume, claim, describe_run, lock, relevant
from snpe_srgan.training.stage import Clock, Run, StageRun
from snpe_srgan.training.validation import PROTOCOL, Validator


def train(
    config: Config,
    run_dir: str | os.PathLike,
    *,
    resume: bool = False,
    overwrite: bool = False,
    output: Output | None = None,
) -> TrainResult:
    """Runs or continues a training.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when the state has been saved.
        SnpeSrganError: bad input, another config than the run's, a full disk, losses that are not finite.
    """
    output, folder = output or Output(quiet=True), Path(run_dir)
    _check(config)
    set_determinism(config.training.deterministic)
    distribution = make_distribution(config.training)
    precision = set_precision(config.training.precision)
    with contextlib.ExitStack() as stack:
        if distribution.is_chief:
            claim(folder, resume=resume, overwrite=overwrite)
            stack.enter_context(lock(folder))
        saved = last_checkpoint(folder / "checkpoints", warn=output.warn) if resume else None
        if saved:
            check_resume(saved.progress.config, relevant(config), saved.progress.stage, saved.progress.step, saved.path)
        run = _prepare(config, folder, distribution, precision, output, saved)
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


def _prepare(
    config: Config, folder: Path, distribution: Distribution, precision: str, output: Output, saved: Checkpoint | None
) -> Run:
    """Everything that can fail because of the user's input, before anything is trained."""
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
        protocol=PROTOCOL.describe(),
        clock=Clock(saved.progress.seconds if saved else 0.0),
    )


def _all_stages(run: Run, log: RunLog, interrupt: Interrupt, saved: Checkpoint | None) -> TrainResult:
    """Runs what is left to do; `saved` is where an earlier process stopped."""
    stages = run.config.training.stages
    history = [StageResult.from_json(entry) for entry in saved.progress.history] if saved else []
    bicubic = run.validator.bicubic() if run.validator else None
    log.say(
        f"{run.graph.network} x{run.graph.scale}, {len(run.cache)} training pictures of "
        f"{run.cache.pixels / 1e6:.1f} megapixels in all, {run.precision}"
    )
    if bicubic:
        log.say(f"bicubic: {bicubic.psnr:.2f} dB / {bicubic.ssim:.4f} on {validation_name(run.config)}")
    if history and saved.progress.stage == len(history) - 1 and _extended(history[-1], run.config):
        history.pop()  # the stage was finished, and its budget has grown since
    for index in range(len(history), len(stages)):
        result = StageRun(run, log, index, history=history, saved=saved).run(interrupt)
        if result is None:
            log.say("interrupted; the state is saved, --resume goes on with it")
            raise KeyboardInterrupt
        saved, history = result.saved, [*history, result.stage]
    return TrainResult(
        run_dir=run.folder,
        generator=run.folder / "generator.npz",
        stages=tuple(history),
        seconds=sum(stage.seconds for stage in history),
        precision=run.precision,
        validation=validation_name(run.config),
        protocol=run.protocol,
        bicubic_psnr=bicubic.psnr if bicubic else None,
        bicubic_ssim=bicubic.ssim if bicubic else None,
    )


def _extended(last: StageResult, config: Config) -> bool:
    """Whether the config gives a finished stage more steps or minutes than it had."""
    steps = next(stage.steps for stage in config.training.stages if stage.name == last.name)
    minutes = config.training.minutes
    return (steps, minutes) != tuple(last.budget) and last.steps < steps and (not minutes or minutes > last.budget[1])
