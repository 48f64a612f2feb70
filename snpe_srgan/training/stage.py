"""One stage of one run: builds its networks, runs the loop, and answers the loop's calls with files."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snpe_srgan.errors import CheckFailed, InputError
from snpe_srgan.progress import clock
from snpe_srgan.training.checkpoint import Checkpoint, Progress, config_hash, save_checkpoint
from snpe_srgan.training.input import make_batches, stage_seed
from snpe_srgan.training.interrupt import Interrupt
from snpe_srgan.training.log import RunLog
from snpe_srgan.training.loop import Every, Hooks, Position, Report, run_stage
from snpe_srgan.training.plan import Plan, stage_seconds
from snpe_srgan.training.prepare import Run
from snpe_srgan.training.result import StageResult, save_generator
from snpe_srgan.training.rundir import relevant
from snpe_srgan.training.state import StageState
from snpe_srgan.training.steps import make_step, metric_names
from snpe_srgan.training.validation import ValidationResult


@dataclass(frozen=True)
class Finished:
    """A stage that came to its end."""

    stage: StageResult
    saved: Checkpoint


class StageRun:
    """Args:
    history: the stages before.
    saved: where to go on: this stage's own checkpoint, or the last one of the stage before, or None at the very start.
    """

    def __init__(self, run: Run, log: RunLog, index: int, *, history: list[StageResult], saved: Checkpoint | None):
        self.shared, self.log, self.index, self.history = run, log, index, history
        config, self.stage = run.config, run.config.training.stages[index]
        crop = self.stage.crop or config.data.crop
        own = saved if saved and saved.progress.stage == index else None
        before = None if own or saved is None else saved.arrays
        self.batches = make_batches(
            run.cache,
            config.data,
            batch_size=self.stage.batch_size or config.data.batch_size,
            crop=crop,
            seed=stage_seed(config.seed, index),
            teacher=run.planes.get(self.stage.name),
        )
        self.state = StageState(
            run.graph,
            run.distribution,
            seed=config.seed,
            beta1=config.training.beta1,
            metrics=len(metric_names(self.stage)),
            start=_part(before, "average/") if before else run.initial,
            crop=crop,
            discriminator=config.discriminator if self.stage.loss.adversarial_weight else None,
            discriminator_start=_part(before, "discriminator/") if before else None,
            expand=config.training.expand,
            taps=[own for own, _ in self.stage.loss.distill.layers] if self.stage.loss.distill.feature_weight else (),
        )
        self.position = Position(step=0, plan=Plan(step=0, progress=0.0, end=self.stage.steps))
        self.seconds_before = run.clock.seconds
        self.best: float | None = None
        if own:
            self._restore(own)
        self.enlarge = self.state.enlarger()
        self.last_report: Report | None = None
        self.speeds: list[float] = []  # of the reports of this process
        self.waits: list[float] = []
        self.last_validation: ValidationResult | None = None
        steps = [stage.steps for stage in config.training.stages]
        minutes = config.training.minutes
        self._deadline = minutes and self.seconds_before + stage_seconds(minutes, self.seconds_before, steps, index)

    def _restore(self, saved: Checkpoint) -> None:
        progress = saved.progress
        self.state.load(saved.arrays, where=saved.path)
        plan = Plan(*progress.plan)
        if plan.end != self.stage.steps and not self.shared.config.training.minutes:
            plan = plan.extended(self.stage.steps)
        elif plan.end <= progress.step:  # ended by the clock, and there is more time now: the first report corrects it
            plan = plan.extended(max(self.stage.steps, progress.step + 1))
        self.position = Position(step=progress.step, plan=plan, logged=progress.logged)
        self.best, self.seconds_before = progress.best, progress.stage_began
        self.log.say(f"resumed {saved.path.name}: stage {self.stage.name}, step {progress.step}")

    def run(self, interrupt: Interrupt) -> Finished | None:
        """Trains to the stage's end; None when interrupted, with the state saved."""
        run, training = self.shared, self.shared.config.training
        step = make_step(
            self.state,
            self.stage,
            run.distribution,
            gradient_clip=training.gradient_clip,
            features=run.features.get(self.stage.name),
            teacher=run.teachers.get(self.stage.name),
            multiply_in=run.precision,
        )
        distribution = run.distribution
        batches = self.batches
        if distribution.workers > 1:
            batches = batches.shard(distribution.worker, distribution.workers)
        images = self.batches.batch_size
        self.log.bar(stage=self.stage.name, total=self.position.plan.end * images, done=self.position.step * images)
        hooks = Hooks(
            report=self._report,
            validate=self._validate,
            save=self._save_between,
            advance=lambda: self.log.advance(images),
            seconds_left=self._seconds_left if self._deadline else None,
        )
        every = Every(training.log_every, training.validate_every, training.checkpoint_every)
        try:
            done = run_stage(
                self.stage, self.state, step, batches, self.position,
                deal=distribution.deal, ema=training.ema, every=every, hooks=hooks, interrupt=interrupt,
            )  # fmt: skip
        finally:
            self.log.close_bar()
        if not done:
            if distribution.workers == 1:  # with more, all of them would have to stop at the same step
                self._save()
            return None
        return self._finish()

    def _seconds_left(self) -> float:
        """Until the last step, so that the final validation still fits into the budget."""
        last = self.last_validation.seconds if self.last_validation else 0.0
        return self._deadline - self.shared.clock.seconds - last

    def _total_step(self) -> int:
        return sum(stage.steps for stage in self.history) + self.position.step

    def _report(self, report: Report) -> None:
        self.last_report = report
        self.speeds.append(report.images_per_second)
        self.waits.append(report.waiting)
        values = {
            **report.losses,
            "learning_rate": report.learning_rate,
            "images_per_second": report.images_per_second,
            "waiting": report.waiting,
        }
        self.log.metrics("train", self.stage.name, report.step, self._total_step(), values)
        shown = [f"loss {report.losses['loss']:.4g}"]
        if "d_real" in report.losses:
            shown += [f"D(real) {report.losses['d_real']:.2f}", f"D(fake) {report.losses['d_fake']:.2f}"]
        self.log.retarget(self.position.plan.end * self.batches.batch_size, ", ".join(shown))
        shown += [
            f"lr {report.learning_rate:.2g}",
            f"{report.images_per_second:.0f} images/s",
            f"waiting {report.waiting:.1%}",
            f"{clock(report.seconds_left)} left",
        ]
        far = f"{self.stage.name}: {report.step} of {self.position.plan.end} steps"
        self.log.progress(", ".join((far, *shown)))

    def _validate(self) -> None:
        run, step = self.shared, self.position.step
        if run.validator is None:
            return
        name = f"{self.index:02d}-{self.stage.name}-{step:07d}"
        result = run.validator.validate(self.enlarge, strips=run.folder / "samples", name=name)
        self.last_validation = result
        bicubic = run.validator.bicubic.psnr  # of the same pictures: a level in every curve of them
        values = {"psnr": result.psnr, "ssim": result.ssim, "bicubic_psnr": bicubic, "seconds": result.seconds}
        self.log.metrics("validation", self.stage.name, step, self._total_step(), values)
        mark = ""
        if math.isfinite(result.psnr) and (self.best is None or result.psnr > self.best):
            self.best, mark = result.psnr, "  (best of this stage)"
            self._write_generator(run.folder / "checkpoints" / f"best_{self.stage.name}.npz", self._result())
        self.log.say(f"{self.stage.name} {step}  validation {result.psnr:.2f} dB / {result.ssim:.4f}{mark}")

    def _result(self) -> StageResult:
        report, validation = self.last_report, self.last_validation
        training = self.shared.config.training
        return StageResult(
            name=self.stage.name,
            steps=self.position.step,
            seconds=self.shared.clock.seconds - self.seconds_before,
            images_per_second=statistics.median(self.speeds) if self.speeds else 0.0,
            waiting=statistics.median(self.waits) if self.waits else 0.0,
            losses=report.losses if report else {},
            psnr=validation.psnr if validation else None,
            ssim=validation.ssim if validation else None,
            budget=(self.stage.steps, training.minutes),
            far_below_bicubic=self._far_below(validation),
        )

    def _far_below(self, validation: ValidationResult | None) -> bool:
        validator = self.shared.validator
        return bool(validation and validator and validator.far_below_bicubic(validation.psnr))

    def _write_generator(self, path: Path, result: StageResult) -> None:
        run = self.shared
        save_generator(
            path, run.config, run.graph, self.state.average_weights(),
            stages=[*self.history, result], teachers=run.teachers, features=run.features, precision=run.precision,
            validation=run.validation, protocol=run.protocol,
        )  # fmt: skip

    def _progress(self, history: list[StageResult]) -> Progress:
        run, position = self.shared, self.position
        plain = relevant(run.config)
        return Progress(
            stage=self.index,
            step=position.step,
            seed=run.config.seed,
            seconds=run.clock.seconds,
            stage_began=self.seconds_before,
            plan=dataclasses.astuple(position.plan),
            metrics_bytes=self.log.metrics_bytes,
            logged=position.logged,
            best=self.best,
            history=[dataclasses.asdict(stage) for stage in history],
            config=plain,
            config_hash=config_hash(plain),
            data_key=run.data_key,
            teachers={name: teacher.sha256 for name, teacher in run.teachers.items()},
        )

    def _save(self, history: list[StageResult] | None = None) -> Checkpoint:
        run = self.shared
        arrays = self.state.arrays()
        broken = next((name for name, array in arrays.items() if not np.isfinite(array).all()), None)
        if broken:  # the loss that would show it comes one step later
            raise CheckFailed(
                f"{broken} holds NaN or infinity after step {self.position.step}; the checkpoint before is kept",
                where=f"stage '{self.stage.name}'", hint="a lower learning_rate, or training.gradient_clip: 1.0",
            )  # fmt: skip
        progress = self._progress(self.history if history is None else history)
        folder = run.folder / "checkpoints"
        if not run.distribution.is_chief:
            return Checkpoint(folder, progress, arrays)
        try:
            return Checkpoint(save_checkpoint(folder, progress, arrays), progress, arrays)
        except InputError as error:
            raise InputError(
                f"step {progress.step} could not be saved ({error.what}); the checkpoint before is intact",
                where=error.where, hint="make room, then run the same command with --resume",
            ) from error  # fmt: skip

    def _save_between(self) -> None:
        self._save()

    def _finish(self) -> Finished:
        run, result = self.shared, self._result()
        if run.distribution.is_chief:
            for name in (f"generator_{self.stage.name}.npz", "generator.npz"):
                self._write_generator(run.folder / name, result)
        saved = self._save([*self.history, result])
        score = f", {result.psnr:.2f} dB / {result.ssim:.4f}" if result.psnr is not None else ""
        self.log.say(f"stage {self.stage.name} done: {result.steps} steps in {result.seconds / 60:.1f} min{score}")
        if result.far_below_bicubic and result.psnr is not None and run.validator is not None:
            self._warn_far_below(result.psnr, run.validator.bicubic.psnr)
        return Finished(result, saved)

    def _warn_far_below(self, psnr: float, bicubic: float) -> None:
        best = f"; its best was {self.best:.2f} dB" if self.best is not None and self.best > psnr + 1 else ""
        self.log.warn(
            f"stage {self.stage.name} ends at {psnr:.2f} dB on the validation pictures, far below bicubic's "
            f"{bicubic:.2f} dB{best}: it diverged, or had too few steps"
        )


def _part(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key[len(prefix) :]: array for key, array in arrays.items() if key.startswith(prefix)}
