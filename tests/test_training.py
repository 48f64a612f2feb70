"""Training end to end on the smallest networks: what it writes, how it resumes, how it fails."""

import dataclasses
import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers_training import GAN, PIXEL, config, metrics, same_weights

from snpe_srgan.config import ScheduleConfig, dump_config
from snpe_srgan.errors import CheckFailed, ConfigError, InputError
from snpe_srgan.models.npz import load_npz
from snpe_srgan.training.plan import Plan, stage_seconds
from snpe_srgan.training.schedule import averaging_decay, learning_rate


def train(*args, **kwargs):
    from snpe_srgan.training.run import train

    return train(*args, **kwargs)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of both stages: (config, result)."""
    folder = tmp_path_factory.mktemp("whole")
    c = config(folder, stages=(PIXEL, GAN), gradient_clip=1.0)
    return c, train(c, folder / "run")


class Stop(Exception):
    """Stands for a kill: nothing is saved after it."""


def stop_at(monkeypatch, updates):
    """The process 'dies' when it has made so many updates, in whichever stage."""
    from snpe_srgan.training import loop

    made = itertools.count()

    def dying(schedule, base, number, progress):
        if next(made) == updates:
            raise Stop
        return learning_rate(schedule, base, number, progress)

    monkeypatch.setattr(loop, "learning_rate", dying)


def test_a_run_leaves_what_it_promises(whole):
    c, result = whole
    names = {p.name for p in result.run_dir.iterdir()}
    assert names >= {"config.yaml", "env.json", "log.txt", "metrics.jsonl", "tb", "checkpoints", "samples",
                     "generator.npz", "generator_pixel.npz", "generator_gan.npz.json"}  # fmt: skip
    assert (result.run_dir / "config.yaml").read_text() == dump_config(c)
    assert len(list((result.run_dir / "checkpoints").glob("*.ckpt"))) == 2
    assert [s.steps for s in result.stages] == [6, 6] and np.isfinite(result.stages[0].psnr)
    card = json.loads((result.run_dir / "generator.npz.json").read_text())
    assert card["metrics"][0]["protocol"] == result.protocol and card["training"]["stages"][1]["name"] == "gan"


def test_metrics_tell_both_networks_apart(whole):
    _, result = whole
    lines = [m for m in metrics(result.run_dir) if m["kind"] == "train" and m["stage"] == "gan"]
    assert [m["step"] for m in lines] == [2, 4, 6]
    assert all(0 < m["d_real"] < 1 and 0 < m["d_fake"] < 1 and m["loss"] > 0 for m in lines)


@pytest.mark.parametrize(("stages", "updates"), [((PIXEL,), 1), ((PIXEL,), 3), ((PIXEL, GAN), 9)])
def test_a_killed_run_ends_with_the_same_weights(whole, tmp_path, monkeypatch, stages, updates):
    """Before the first checkpoint, between two, and in the adversarial stage."""
    run, c = tmp_path / "run", config(tmp_path, stages=stages, gradient_clip=1.0)
    with monkeypatch.context() as patch:
        stop_at(patch, updates)
        with pytest.raises(Stop):
            train(c, run)
    train(c, run, resume=True)
    reference, names = whole[1].run_dir, [stage["name"] for stage in stages]
    for name in names:
        assert same_weights(run / f"generator_{name}.npz", reference / f"generator_{name}.npz")
    wanted = [(m["kind"], m["stage"], m["step"]) for m in metrics(reference) if m["stage"] in names]
    assert [(m["kind"], m["stage"], m["step"]) for m in metrics(run)] == wanted


def test_a_killed_expanded_run_ends_with_the_same_plain_weights(tmp_path, monkeypatch):
    stages = (PIXEL, {**PIXEL, "name": "second"})
    c = config(tmp_path, stages=stages, expand=12)
    train(c, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_at(patch, 9)
        with pytest.raises(Stop):
            train(c, tmp_path / "run")
    train(c, tmp_path / "run", resume=True)
    assert same_weights(tmp_path / "whole" / "generator.npz", tmp_path / "run" / "generator.npz")
    graph, weights = load_npz(tmp_path / "run" / "generator.npz")
    assert weights.keys() == graph.weight_shapes().keys()


def test_a_finished_run_resumes_to_itself(whole):
    c, result = whole
    before = (result.run_dir / "generator.npz").read_bytes()
    assert train(c, result.run_dir, resume=True).stages == result.stages
    assert (result.run_dir / "generator.npz").read_bytes() == before


def test_resume_names_what_changed(whole):
    c, result = whole
    other = dataclasses.replace(c, seed=1, data=dataclasses.replace(c.data, batch_size=3))
    with pytest.raises(ConfigError, match=r"data.batch_size 2 -> 3; seed 0 -> 1"):
        train(other, result.run_dir, resume=True)


def test_an_existing_run_is_not_overwritten(whole):
    c, result = whole
    with pytest.raises(InputError, match="holds a run already"):
        train(c, result.run_dir)


def test_interrupt_saves_the_step(tmp_path, monkeypatch):
    from snpe_srgan.training import loop

    c, run = config(tmp_path), tmp_path / "run"

    def pressing(schedule, base, number, progress):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return base

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", pressing)
        with pytest.raises(KeyboardInterrupt):
            train(c, run)
    from snpe_srgan.training.checkpoint import last_checkpoint

    assert last_checkpoint(run / "checkpoints", warn=print).progress.step == 3
    longer = dataclasses.replace(c.training, stages=[dataclasses.replace(c.training.stages[0], steps=8)])
    assert train(dataclasses.replace(c, training=longer), run, resume=True).stages[0].steps == 8


def test_nan_names_step_and_batch(tmp_path, monkeypatch):
    from snpe_srgan.training import loop

    monkeypatch.setattr(loop, "learning_rate", lambda schedule, base, step, progress: base if step != 3 else math.nan)
    c = config(tmp_path, stages=({**PIXEL, "steps": 40},), log_every=7, checkpoint_every=50, validate_every=50)
    with pytest.raises(CheckFailed) as error:
        train(c, tmp_path / "run")
    assert "stage 'pixel' at step 4" in error.value.what and ".png@" in error.value.where
    assert "step 4 " in error.value.where and error.value.exit_code == 1


def test_a_stage_far_below_bicubic_says_so(tmp_path, capsys):
    """Finite, and of no use: on standard error, in the result, on the card and in the log."""
    wild = {**PIXEL, "learning_rate": 5.0}
    bad = train(config(tmp_path, stages=(wild,)), tmp_path / "bad")
    said = capsys.readouterr().err
    assert bad.stages[0].far_below_bicubic and bad.stages[0].psnr < bad.bicubic_psnr - 3
    for text in (said, (tmp_path / "bad" / "log.txt").read_text()):
        assert "warning: stage pixel ends at" in text and f"{bad.bicubic_psnr:.2f} dB" in text
    card = json.loads((tmp_path / "bad" / "generator.npz.json").read_text())
    assert card["training"]["stages"][0]["far_below_bicubic"] is True


def test_how_far_is_far_below_bicubic(rng):
    from types import SimpleNamespace

    from snpe_srgan.training.validation import Validator

    hr = rng.integers(0, 256, (32, 32, 3), np.uint8)
    validator = Validator([SimpleNamespace(name="a", lr=hr[::4, ::4].copy(), hr=hr, grey=False)], scale=4)
    bicubic = validator.bicubic.psnr
    asked = {bicubic + 1: False, bicubic - 2.9: False, bicubic - 3.1: True, math.nan: True, -math.inf: True}
    assert [validator.far_below_bicubic(psnr) for psnr in asked] == list(asked.values())


def test_the_card_names_the_tensorflow_that_is_installed(whole):
    from importlib import metadata

    tools = json.loads((whole[1].run_dir / "generator.npz.json").read_text())["tools"]
    names = [name for name in tools if name.startswith("tensorflow")]
    assert names and all(tools[name] == metadata.version(name) for name in names)


def test_nan_is_never_saved(tmp_path, monkeypatch):
    from snpe_srgan.training import loop
    from snpe_srgan.training.checkpoint import last_checkpoint

    monkeypatch.setattr(loop, "learning_rate", lambda schedule, base, step, progress: base if step != 3 else math.nan)
    with pytest.raises(CheckFailed, match="NaN"):
        train(config(tmp_path, checkpoint_every=1, log_every=100, validate_every=100), tmp_path / "run")
    saved = last_checkpoint(tmp_path / "run" / "checkpoints", warn=print)
    assert saved.progress.step == 3 and all(np.isfinite(a).all() for a in saved.arrays.values())


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    import errno

    from snpe_srgan.artifacts import files
    from snpe_srgan.training import checkpoint

    c, run, real = config(tmp_path, validate_every=100), tmp_path / "run", os.fsync

    def full(number):
        if checkpoint.checkpoint_paths(run / "checkpoints"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(number)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(InputError, match=r"(?s)No space left.*--resume"):
        train(c, run)
    (left,) = checkpoint.checkpoint_paths(run / "checkpoints")
    assert checkpoint.read_checkpoint(left)[0].step == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": {"train": ["nowhere"]}}, "no such picture folder"),
        ({"data": {"crop": 64}}, "smaller than"),
        ({"minutes": 1.0}, "deterministic must not"),
        ({"distribution": "multi_worker", "deterministic": False}, "TF_CONFIG"),
    ],
)
def test_bad_input(tmp_path, change, says):
    with pytest.raises((InputError, ConfigError), match=says):
        train(config(tmp_path, **change), tmp_path / "run")


def test_read_only_run_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        train(config(tmp_path), tmp_path / "file" / "run")


def test_schedules():
    cosine = ScheduleConfig(kind="cosine", warmup=4, final=0.1)
    rates = [learning_rate(cosine, 1.0, s, s / 100) for s in range(101)]
    assert rates[0] < rates[1] < rates[3] < 1 and rates[50] == pytest.approx(0.55) and rates[100] == pytest.approx(0.1)
    step = ScheduleConfig(kind="step", milestones=[5, 8], gamma=0.1)
    assert [learning_rate(step, 1.0, s, 0) for s in (4, 5, 8)] == pytest.approx([1, 0.1, 0.01])
    assert learning_rate(ScheduleConfig(), 1e-4, 7, 0.5) == 1e-4


def test_averaging_forgets_the_start():
    weight, average = 1.0, 0.0
    for step in range(200):
        average += (1 - averaging_decay(0.999, step)) * (weight - average)
    assert average > 0.99 and averaging_decay(0.999, 10**6) == 0.999 and averaging_decay(0.0, 5) == 0.0


def test_a_plan_follows_the_clock_without_jumps():
    plan = Plan(0, 0.0, 1000)
    slower = plan.corrected(100, seconds_left=30, seconds_per_step=0.1, steps=1000)
    assert slower.end == 400 and slower.at(100) == plan.at(100) and slower.at(400) == 1.0
    assert slower.at(250) == pytest.approx((0.1 + 1) / 2)
    assert plan.corrected(100, seconds_left=-1, seconds_per_step=0.1, steps=1000).end == 100
    assert plan.corrected(100, seconds_left=1e9, seconds_per_step=0.1, steps=1000).end == 1000
    assert stage_seconds(10, 60, [100, 300], 0) == pytest.approx(135)
    assert stage_seconds(10, 300, [100, 300], 1) == pytest.approx(300)


@pytest.mark.slow
def test_sigkill_at_random_moments(tmp_path):
    """Real processes, killed at any moment of either stage until one of them comes through."""
    stages = ({**PIXEL, "steps": 60}, {**GAN, "steps": 60})
    c = config(tmp_path, stages=stages, checkpoint_every=7)
    whole = train(c, tmp_path / "whole")
    (tmp_path / "c.yaml").write_text(dump_config(c))
    command = [sys.executable, "-m", "snpe_srgan", "train", "-c", str(tmp_path / "c.yaml")]
    command += ["--run-dir", str(tmp_path / "run"), "--resume", "-q"]
    rng, checkpoints = random.Random(0), tmp_path / "run" / "checkpoints"
    for _ in range(5):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        seen, deadline = set(checkpoints.glob("*.ckpt")), time.time() + 60
        while set(checkpoints.glob("*.ckpt")) == seen and process.poll() is None and time.time() < deadline:
            time.sleep(0.02)
        time.sleep(rng.random() * 0.5)
        process.kill()
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same_weights(tmp_path / "run" / "generator.npz", whole.generator)
    assert same_weights(tmp_path / "run" / "generator_pixel.npz", whole.run_dir / "generator_pixel.npz")
    keys = [(m["kind"], m["stage"], m["step"]) for m in metrics(tmp_path / "run")]
    assert keys == [(m["kind"], m["stage"], m["step"]) for m in metrics(whole.run_dir)]
