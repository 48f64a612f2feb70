"""tf.distribute by config: every way gives what one replica alone gives."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers_training import GAN, PIXEL, arrays, config, metrics

from snpe_srgan.config import dump_config
from snpe_srgan.errors import ConfigError

TWO_CPUS = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from snpe_srgan.config import load_config
from snpe_srgan.training.run import train
train(load_config(sys.argv[1]), sys.argv[2])
"""


def environment(**more):
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **more}


def start(tmp_path, c, name, *, program=None, env=None, more=()):
    file = tmp_path / f"{name}.yaml"
    file.write_text(dump_config(c))
    command = [sys.executable, "-m", "snpe_srgan", "train", "--json", "-c", str(file)]
    command += ["--run-dir", str(tmp_path / name), *more]
    if program:
        command = [sys.executable, "-c", program, str(file), str(tmp_path / name)]
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=env or environment(), **pipes)


def finish(*processes):
    """What they printed, all having succeeded."""
    printed = []
    for process in processes:
        text, errors = process.communicate(timeout=900)
        assert process.returncode == 0, errors[-3000:]
        printed.append(text)
    return printed


def close(a, b):
    x, y = arrays(a), arrays(b)
    keys = [k for k in x if not k.startswith("__")]
    assert keys and x.keys() == y.keys()
    for key in keys:
        np.testing.assert_allclose(x[key], y[key], rtol=1e-3, atol=1e-5, err_msg=key)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


SCRIPT = Path(__file__).parents[1] / "scripts" / "train_cluster"
DISTILL = {"teacher": "mobile", "weight": 0.5, "feature_weight": 0.5, "features": ["relu1"]}


def losses(run_dir, stage="pixel"):
    return [m["loss"] for m in metrics(run_dir) if m["kind"] == "train" and m["stage"] == stage]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mirrored", "multi_worker"])
def test_every_way_multiplies_in_bfloat16(tmp_path, monkeypatch, way):
    """Two replicas, each traced in a thread of its own: as near to one replica's losses as bfloat16's 8 bits allow."""
    monkeypatch.setenv("SNPE_SRGAN_BF16", "1")
    alone = start(tmp_path, config(tmp_path, stages=(PIXEL, GAN)), "alone")
    (text,) = finish(alone)
    assert json.loads(text)["precision"] == "bfloat16"
    c = config(tmp_path, stages=(PIXEL, GAN), distribution=way, deterministic=False)
    if way == "mirrored":
        finish(start(tmp_path, c, "two", program=TWO_CPUS))
    else:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
        variables = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(2)]
        workers = [
            start(tmp_path, c, ("two", "other")[i], env=environment(TF_CONFIG=json.dumps(v)))
            for i, v in enumerate(variables)
        ]
        assert {json.loads(text)["precision"] for text in finish(*workers)} == {"bfloat16"}
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "alone"), rtol=0.01)
    assert json.loads((tmp_path / "two" / "env.json").read_text())["precision"] == "bfloat16"


@pytest.mark.slow
@pytest.mark.parametrize("loss", [{"pixel": "l1"}, {"distill": DISTILL}], ids=["pixel", "distill"])
def test_mirrored_equals_one_replica(tmp_path, monkeypatch, loss):
    """Two replicas share each batch; the gradients' mean is the whole batch's (no batch norm in this network)."""
    monkeypatch.setenv("SNPE_SRGAN_BF16", "0")  # bfloat16 rounds the sum over a batch, not its halves'
    stages = ({**PIXEL, "loss": loss},)
    one = start(tmp_path, config(tmp_path, stages=stages), "one")
    finish(one)
    two = start(tmp_path, config(tmp_path, stages=stages, distribution="mirrored"), "two", program=TWO_CPUS)
    finish(two)
    close(tmp_path / "one" / "generator.npz", tmp_path / "two" / "generator.npz")


@pytest.mark.slow
def test_two_workers_end_alike_and_only_the_chief_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("SNPE_SRGAN_BF16", "0")
    c = config(tmp_path, stages=(PIXEL, GAN), distribution="multi_worker", deterministic=False)
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        tf_config = json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})
        processes.append(start(tmp_path, c, f"worker{index}", env=environment(TF_CONFIG=tf_config)))
    results = [json.loads(text) for text in finish(*processes)]
    assert results[0]["stages"][1]["losses"] == results[1]["stages"][1]["losses"]
    assert (tmp_path / "worker0" / "generator.npz").is_file() and not (tmp_path / "worker1").exists()
    alone = config(tmp_path, stages=(PIXEL,))
    finish(start(tmp_path, alone, "alone"))
    close(tmp_path / "worker0" / "generator_pixel.npz", tmp_path / "alone" / "generator.npz")
    # Each loss is a mean over both workers' halves: it can only be right while both have the right weights.
    np.testing.assert_allclose(losses(tmp_path / "worker0"), losses(tmp_path / "alone"), rtol=1e-3)


def workers_of(tmp_path, c, name, *, more=()):
    """Starts both workers with one run folder."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    tasks = [{"cluster": cluster, "task": {"type": "worker", "index": index}} for index in (0, 1)]
    return [start(tmp_path, c, name, env=environment(TF_CONFIG=json.dumps(task)), more=more) for task in tasks]


def nearest(a, b):
    """The largest difference of two files' weights."""
    x, y = arrays(a), arrays(b)
    assert x.keys() == y.keys()
    return max(float(np.abs(x[k] - y[k]).max()) for k in x if x[k].dtype.kind == "f")


@pytest.mark.slow
@pytest.mark.parametrize(("adversarial", "steps"), [("standard", 100), ("relativistic", 20)])
def test_the_adversarial_stage_on_two_workers_is_that_of_one_process(tmp_path, monkeypatch, adversarial, steps):
    """At the same global batch: the discriminator's batch norm and the relativistic pair see the whole of it."""
    monkeypatch.setenv("SNPE_SRGAN_BF16", "0")
    loss = {"adversarial_weight": 1e-3, "adversarial": adversarial, "phase_weight": 0.1}
    gan = {"name": "gan", "steps": steps, "loss": loss}
    data = {"batch_size": 4}
    common = {"stages": (PIXEL, gan), "data": data, "log_every": 1, "checkpoint_every": 50, "validate_every": 50}
    finish(start(tmp_path, config(tmp_path, **common), "alone"))
    c = config(tmp_path, **common, distribution="multi_worker", deterministic=False)
    finish(*workers_of(tmp_path, c, "worker"))
    one, two = losses(tmp_path / "alone", "gan"), losses(tmp_path / "worker", "gan")
    assert len(one) == len(two) == steps
    assert np.abs(np.subtract(one, two)).max() < 1e-6
    assert nearest(tmp_path / "alone" / "generator.npz", tmp_path / "worker" / "generator.npz") < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_ends_the_job_and_the_job_goes_on_from_the_checkpoint(tmp_path, monkeypatch, rank):
    """The other rank ends as well, scripts/train_cluster starts both again, and the weights are those of one go."""
    psutil = pytest.importorskip("psutil")
    monkeypatch.setenv("SNPE_SRGAN_BF16", "0")
    c = config(tmp_path, stages=({**GAN, "steps": 60},), distribution="multi_worker", deterministic=False)
    finish(*workers_of(tmp_path, c, "whole"))
    command = [sys.executable, str(SCRIPT), "--local", "2", "--port", str(free_ports(1)[0])]
    command += ["-c", str(tmp_path / "whole.yaml"), "--run-dir", str(tmp_path / "broken")]
    script = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    log = tmp_path / "broken" / "metrics.jsonl"
    while script.poll() is None and not (log.exists() and log.read_text().count('"train"') > 2):
        time.sleep(0.05)
    workers = sorted(psutil.Process(script.pid).children(), key=lambda child: child.pid)
    workers[rank].kill()
    _, said = script.communicate(timeout=900)
    assert script.returncode == 0 and "all start again" in said, said[-3000:]
    assert nearest(tmp_path / "whole" / "generator.npz", tmp_path / "broken" / "generator.npz") < 1e-6
    steps = [m["step"] for m in metrics(tmp_path / "broken") if m["kind"] == "train"]
    assert steps == sorted(set(steps)) and steps[-1] == 60


@pytest.mark.slow
def test_workers_that_would_go_on_from_different_places_say_so(tmp_path):
    c = config(tmp_path, stages=(PIXEL,), distribution="multi_worker", deterministic=False)
    finish(*workers_of(tmp_path, c, "shared"))
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    processes = [
        start(tmp_path, c, name, more=["--resume"],
              env=environment(TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})))
        for index, name in enumerate(("shared", "elsewhere"))
    ]  # fmt: skip
    for process in processes:
        _, said = process.communicate(timeout=900)
        assert process.returncode == 1 and "different checkpoints" in said, said[-2000:]


NOT_IN_CLUSTER = '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}'


@pytest.mark.parametrize("text", [None, "", "{", '{"cluster": {}}', NOT_IN_CLUSTER])
def test_bad_tf_config(monkeypatch, text):
    pytest.importorskip("tensorflow")
    from snpe_srgan.training.engine import make_distribution

    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="TF_CONFIG"):
        make_distribution(config_with("multi_worker"))


def config_with(distribution):
    from snpe_srgan.config import TrainingConfig

    return TrainingConfig(distribution=distribution)
