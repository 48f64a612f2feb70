"""Distillation: losses by their properties, the teacher's pictures made once and cut like HR, early errors."""

import dataclasses
import functools
import json

import numpy as np
import pytest
import yaml
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from helpers_training import PIXEL, arrays, config, metrics, same_weights

from snpe_srgan.console import Output
from snpe_srgan.data.batches import Batches
from snpe_srgan.data.plane import SR, build_plane, find_plane
from snpe_srgan.errors import InputError
from snpe_srgan.imaging.bicubic import upscale
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.runtimes.open import open_session
from snpe_srgan.runtimes.upscale import upscale_pixels
from snpe_srgan.training.input import teacher_plane, training_cache
from snpe_srgan.training.networks import read_networks
from snpe_srgan.training.rundir import relevant
from snpe_srgan.training.schedule import learning_rate
from snpe_srgan.zoo.resolve import resolve

QUIET = Output(quiet=True)
TEACHER = describe("mobile", {"width": 6, "depth": 3})
nearest = functools.partial(np.kron, b=np.ones((4, 4, 1), np.uint8))  # x4, a stand-in for a teacher


def save_teacher(path, *, seed=5, graph=TEACHER):
    save_npz(path, graph, random_weights(graph, np.random.default_rng(seed)), overwrite=True)
    return path


def distilled(tmp_path, *, teacher="teacher.npz", pixel_weight=1.0, steps=4, **distill):
    """A config whose stage learns from `teacher`."""
    if teacher == "teacher.npz":
        teacher = save_teacher(tmp_path / "teacher.npz")
    loss = {"pixel": "l1", "pixel_weight": pixel_weight, "distill": {"teacher": str(teacher), "weight": 1.0, **distill}}
    return config(tmp_path, stages=({**PIXEL, "steps": steps, "loss": loss},))


@pytest.fixture
def cache(tmp_path):
    return training_cache(config(tmp_path), QUIET)


# --- the teacher's pictures


def test_the_plane_is_what_the_teacher_gives(tmp_path):
    c = distilled(tmp_path)
    cache = training_cache(c, QUIET)
    plane = teacher_plane(cache, read_networks(c).teachers["pixel"], QUIET)
    with open_session(resolve(tmp_path / "teacher.npz")) as session:
        for i in range(len(cache)):
            np.testing.assert_array_equal(plane.sr(i), upscale_pixels(session, cache.lr(i)).pixels)


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_cuts_the_teachers_picture_like_hr(cache, seed):
    with_teacher = Batches(cache, batch_size=6, crop=16, seed=seed, teacher=build_plane(cache, "k", nearest))
    lr, hr, sr = with_teacher.batch(seed)
    plain = Batches(cache, batch_size=6, crop=16, seed=seed)
    for a, b in zip((lr, hr), plain.batch(seed), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(sr, [nearest(picture) for picture in lr])
    part = with_teacher.shard(1, 3).batch(seed)
    assert len(part) == 3 and np.array_equal(part[2], sr[1::3])


def test_a_killed_teacher_goes_on_where_it_was(cache):
    asked = []

    def dies_at(count):
        def enlarge(lr):
            if len(asked) == count:
                raise KeyboardInterrupt
            asked.append(lr)
            return upscale(lr, 4)

        return enlarge

    with pytest.raises(KeyboardInterrupt):
        build_plane(cache, "k", dies_at(2))
    assert find_plane(cache, "k") is None
    with open(cache.folder.parent / "teacher-k.part" / SR, "r+b") as file:
        file.write(b"\0" * 9)  # the first picture is torn: its CRC does not confirm it
    plane = build_plane(cache, "k", dies_at(9))
    assert [x.ctypes.data for x in asked[2:]] == [cache.lr(i).ctypes.data for i in (0, 2)]
    assert all(np.array_equal(plane.sr(i), upscale(cache.lr(i), 4)) for i in range(len(cache)))
    assert find_plane(cache, "k") == plane


@pytest.mark.parametrize("harm", ["short", "other"])
def test_a_damaged_plane_is_made_again(cache, harm):
    folder = build_plane(cache, "k", nearest).folder
    (folder / (SR if harm == "short" else "index.json")).write_text("{}")
    assert find_plane(cache, "k") is None
    assert np.array_equal(build_plane(cache, "k", nearest).sr(0), nearest(cache.lr(0)))


# --- the losses


@pytest.fixture(scope="module")
def tf():
    return pytest.importorskip("tensorflow")


def test_attention_maps_forget_channels_and_scale(tf, rng):
    from snpe_srgan.losses.distillation import attention_map, attention_transfer

    a = rng.normal(size=(2, 5, 4, 8)).astype(np.float32)
    for same in (a[..., rng.permutation(8)], -3 * a, 1e-4 * a, np.repeat(a, 2, axis=-1)):
        np.testing.assert_allclose(attention_map(same), attention_map(a), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.square(attention_map(a)).sum(-1), 1, rtol=1e-5)
    assert float(attention_transfer([a, a], [a, 2 * a])) == pytest.approx(0, abs=1e-9)


def test_attention_transfer_against_numpy(tf, rng):
    from snpe_srgan.losses.distillation import attention_transfer

    t, s = rng.normal(size=(2, 3, 3, 8)).astype(np.float32), rng.normal(size=(2, 3, 3, 2)).astype(np.float32)
    q = [np.square(x, dtype=np.float64).sum(-1).reshape(2, -1) for x in (t, s)]
    q = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in q]
    assert float(attention_transfer([t], [s])) == pytest.approx(np.square(q[0] - q[1]).sum(1).mean(), rel=1e-4)


def test_a_layer_of_zeros_has_a_finite_gradient(tf, rng):
    from snpe_srgan.losses.distillation import attention_transfer

    zeros = tf.zeros((1, 3, 3, 2))
    with tf.GradientTape() as tape:
        tape.watch(zeros)
        loss = attention_transfer([tf.ones((1, 3, 3, 4))], [zeros])
    assert np.isfinite(tape.gradient(loss, zeros)).all()


@pytest.mark.parametrize("name", ["srgan", "mobile"])
def test_activations_are_the_trained_networks(tf, rng, name):
    from snpe_srgan.models.activations import activations
    from snpe_srgan.models.tensorlayer_model import build, set_weights

    graph = describe(name, {"srgan": {"width": 4, "blocks": 1}, "mobile": {"width": 4, "depth": 2}}[name])
    weights, lr = random_weights(graph, rng), rng.random((2, 6, 5, 3), np.float32)
    layers = [layer.name for layer in graph.layers[1:]]
    model = build(graph, taps=layers)
    set_weights(model, graph, weights)
    for layer, a, b in zip(layers, model(lr, is_train=False)[1:], activations(graph, weights, lr, layers), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=layer)


# --- training


def train(*args, **kwargs):
    from snpe_srgan.training.run import train

    return train(*args, **kwargs)


def test_training_learns_from_the_teacher_and_says_so(tmp_path):
    c, run = distilled(tmp_path, pixel_weight=0.0), tmp_path / "run"
    train(c, run)
    lines = [m for m in metrics(run) if m["kind"] == "train"]
    assert all(m["loss"] == pytest.approx(m["distill"]) and m["distill"] > 0 for m in lines)
    said = json.loads((run / "generator.npz.json").read_text())["training"]["distill"]["pixel"]
    assert said["weight"] == 1.0 and said["sha256"] == read_networks(c).teachers["pixel"].sha256
    assert train(c, run, resume=True).stages[0].steps == 4
    save_teacher(tmp_path / "teacher.npz", seed=6)
    with pytest.raises(InputError, match="teacher of stage 'pixel' is not the file"):
        train(c, run, resume=True)


def test_a_killed_run_ends_with_the_same_weights(tmp_path, monkeypatch):
    from snpe_srgan.training import loop

    c = distilled(tmp_path, feature_weight=0.5, features=["relu1=relu2"])
    train(c, tmp_path / "whole")

    def dying(schedule, base, step, progress):
        return learning_rate(schedule, base, step, progress) if step < 3 else 1 / 0

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", dying)
        with pytest.raises(ZeroDivisionError):
            train(c, tmp_path / "killed")
    train(c, tmp_path / "killed", resume=True)
    assert same_weights(tmp_path / "killed" / "generator.npz", tmp_path / "whole" / "generator.npz")


def test_a_config_without_a_teacher_is_what_it_was(tmp_path):
    """Checkpoints from before there was distillation are resumed: what they compare knows nothing of it."""
    plain = relevant(config(tmp_path))["training"]["stages"][0]["loss"]
    assert "distill" not in plain and "distill" in relevant(distilled(tmp_path))["training"]["stages"][0]["loss"]


def test_a_network_that_is_its_own_teacher_has_nothing_to_learn(tmp_path):
    c = distilled(tmp_path, pixel_weight=0.0, steps=2)
    model = dataclasses.replace(c.model, options=dict(TEACHER.options), initial=str(tmp_path / "teacher.npz"))
    data = dataclasses.replace(c.data, crop=48, augment=False)  # whole pictures: both see the same borders
    stage = dataclasses.replace(c.training.stages[0], learning_rate=1e-9)
    training = dataclasses.replace(c.training, stages=[stage])
    train(dataclasses.replace(c, model=model, data=data, training=training), tmp_path / "run")
    losses = [m["loss"] for m in metrics(tmp_path / "run") if m["kind"] == "train"]
    assert max(losses) < 0.5 / 127.5  # the rounding to pixels is all that is left
    card = (tmp_path / "run" / "generator.npz.json").read_text()
    assert "teacher.npz" in card and str(tmp_path) not in card  # whose machine it was concerns nobody


def test_features_are_learned_and_reach_the_layers_before_them(tmp_path):
    """Only the features count: what comes after the tapped layer stays as it began, what comes before moves."""
    from snpe_srgan.models.initialize import initial_weights

    c = distilled(tmp_path, pixel_weight=0.0, weight=0.0, feature_weight=1.0, features=["relu1", "relu1=relu2"])
    train(c, tmp_path / "run")
    lines = [m for m in metrics(tmp_path / "run") if m["kind"] == "train"]
    assert all(m["loss"] == pytest.approx(m["distill_feature"]) and "distill" not in m for m in lines)
    assert 0 < lines[-1]["loss"] < 2 and not list((tmp_path / "data" / "cache").glob("teacher-*"))
    networks, after = read_networks(c), arrays(tmp_path / "run" / "generator.npz")
    before = initial_weights(networks.graph, seed=c.seed)
    moved = {key for key, array in before.items() if not np.array_equal(array, after[key])}
    assert moved == {"conv1/kernel", "conv1/bias"}


# --- errors before any work


@pytest.mark.parametrize(
    ("distill", "code", "says"),
    [
        ({"teacher": None}, 2, "distill.teacher must name a model"),
        ({"teacher": "nowhere.npz"}, 1, "no such model file"),
        ({"teacher": "teacher.onnx"}, 1, "no such model file"),
        ({"teacher": "x2.npz"}, 2, "the teacher enlarges x2, the network x4"),
        ({"weight": -1.0}, 2, "weight must not be negative"),
        ({"loss": "l2"}, 2, "did you mean 'l1'"),
        ({"wieght": 1.0}, 2, "did you mean 'weight'"),
        ({"feature_weight": 1.0}, 2, "must name a layer"),
        ({"features": ["a=b=c"]}, 2, "'layer' or 'student=teacher', not 'a=b=c'"),
        ({"feature_weight": 1.0, "features": ["rleu1"]}, 2, "did you mean 'relu1'"),
        ({"feature_weight": 1.0, "features": ["relu1=relu7"]}, 2, "the teacher has no layer 'relu7'"),
        ({"feature_weight": 1.0, "features": ["relu1=shuffle"]}, 2, "works at x1, the teacher's 'shuffle' at x4"),
    ],
)
def test_errors_come_before_the_pictures_are_decoded(tmp_path, monkeypatch, distill, code, says):
    monkeypatch.chdir(tmp_path)
    save_teacher(tmp_path / "t.npz")
    save_teacher(tmp_path / "x2.npz", graph=describe("mobile", {"width": 4, "depth": 2}, scale=2))
    plain = dataclasses.asdict(config(tmp_path))
    plain["training"]["stages"][0]["loss"]["distill"] = {"teacher": "t.npz", "weight": 1.0, **distill}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(plain))
    assert_error(snpe_srgan("train", "-c", "c.yaml", "--run-dir", "run"), code, says)
    assert not (tmp_path / "data").exists() and not (tmp_path / "run").exists()
