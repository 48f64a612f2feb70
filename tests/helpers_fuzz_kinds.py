"""The kinds of file that `scripts/fuzz` knows: how a whole one is made, how it is injured, how it is read."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from pathlib import Path

import helpers_dlc
import numpy as np
from helpers_fuzz import Kind, injure_bytes, injure_json, injure_json_text, injure_protobuf
from helpers_fuzz_folders import FOLDERS
from helpers_fuzz_graphs import GRAPHS
from helpers_fuzz_pictures import PICTURES
from helpers_fuzz_tensorflow import TENSORFLOW
from helpers_fuzz_verbs import network, photo, verb

ROOT = Path(__file__).resolve().parents[1]


# .npz: a network of ours


def _zoo():
    from helpers_networks import random_weights, zoo

    graph = zoo()
    return graph, random_weights(graph, np.random.default_rng(0))


def make_npz(folder: Path) -> list[bytes]:
    from snpe_srgan.models.npz import save_npz

    networks = [network("mobile"), network("srgan"), _zoo()]
    return [
        save_npz(folder / f"{i}.npz", graph, weights).read_bytes() for i, (graph, weights) in enumerate(networks)
    ]


def injure_npz(data: bytes, rng: np.random.Generator) -> bytes:
    """The archive's bytes, one array's bytes under a right checksum, or the layers that are written down in it."""
    kind = rng.integers(0, 4)
    if kind == 0:
        return injure_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if kind == 1:
        name = list(members)[rng.integers(0, len(members))]
        members[name] = injure_bytes(members[name][:200], rng) + members[name][200:]
    else:
        name = "__architecture__.npy"
        layers = json.loads(str(np.load(io.BytesIO(members[name]))))
        text = io.BytesIO()
        np.save(text, np.array(json.dumps(injure_json(layers, rng))))
        members[name] = text.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def read_npz(path: Path) -> None:
    from snpe_srgan.models.npz import load_npz
    from snpe_srgan.onnx_graphs.from_layers import to_onnx
    from snpe_srgan.zoo.model_card import model_card

    verb("inspect", path, "--json")
    verb("inspect", path)
    graph, weights = load_npz(path)
    model_card(graph, kind="npz")
    to_onnx(graph, weights)
    verb("run", path, photo(path.parent), "-o", path.with_suffix(".png"), "--overwrite")


# .dlc


def make_dlc(folder: Path) -> list[bytes]:
    from helpers_dlc_v3 import small_network, write_v3

    files = [helpers_dlc.TINY]
    for kind in ("floats", "integers"):
        files.append(write_v3(folder / f"{kind}.dlc", small_network(quantized=kind == "integers")))
    return [file.read_bytes() for file in files]


def read_dlc(path: Path) -> None:
    helpers_dlc.read_all(path)
    verb("inspect", path, "--json")


# .onnx and .pb: read by other people's libraries


def make_onnx(folder: Path) -> list[bytes]:
    from snpe_srgan.onnx_graphs.from_layers import to_onnx

    made = [to_onnx(*network("mobile")), to_onnx(*_zoo()), to_onnx(*network("srgan"), input_size=(12, 16))]
    return [model.SerializeToString() for model in made]


def make_pb(folder: Path) -> list[bytes]:
    from snpe_srgan.models.freeze import freeze

    return [freeze(*made).SerializeToString(deterministic=True) for made in (network("mobile"), _zoo())]


def warm() -> None:
    """The libraries that read foreign models: seconds of work, once for all children."""
    import onnx  # noqa: F401
    import onnxruntime  # noqa: F401
    import openvino  # noqa: F401

    from snpe_srgan.cli import inspect, run  # noqa: F401
    from snpe_srgan.quiet import import_tensorflow
    from snpe_srgan.runtimes.openvino import OpenVinoSession  # noqa: F401

    import_tensorflow()


def read_foreign(path: Path) -> None:
    verb("inspect", path, "--json")
    verb("run", path, photo(path.parent), "-o", path.with_suffix(".png"), "--overwrite")


# .h5: weights that Keras wrote


def make_h5(folder: Path) -> list[bytes]:
    import h5py

    graph, weights = network("srgan")
    made = {"conv": "conv2d", "prelu": "p_re_lu", "batch_norm": "batch_normalization_v1"}
    arrays = {"mean": "moving_mean", "variance": "moving_variance"}
    with h5py.File(folder / "whole.h5", "w") as file:
        names = []
        for layer in graph.layers:
            if layer.kind in made:
                name = f"{made[layer.kind]}_{len(names)}"
                names.append(name)
                group, stored = file.create_group(name), []
                for key in layer.weight_shapes(graph.in_channels(layer)):
                    stored.append(f"{name}/{arrays.get(key, key)}:0")
                    group[stored[-1]] = weights[f"{layer.name}/{key}"]
                group.attrs["weight_names"] = [text.encode() for text in stored]
        file.attrs["layer_names"] = [name.encode() for name in names]
    return [(folder / "whole.h5").read_bytes()]


def injure_h5(data: bytes, rng: np.random.Generator) -> bytes:
    """Mostly among the first bytes and the names: the rest is numbers."""
    at = int(rng.integers(0, len(data) - 4096)) if rng.integers(0, 3) else 0
    return data[:at] + injure_bytes(data[at : at + 4096], rng) + data[at + 4096 :]


def _warm_h5() -> None:
    import h5py  # noqa: F401

    from snpe_srgan.cli import import_  # noqa: F401


def read_h5(path: Path) -> None:
    verb("import", path, "-o", path.with_suffix(".out.npz"), "--overwrite")


# what stands beside networks: cards, checkpoints, the pipeline's state


def make_card(folder: Path) -> list[bytes]:
    from snpe_srgan.artifacts.card import Check, Metric, card_path, write_card
    from snpe_srgan.models.npz import save_npz
    from snpe_srgan.zoo.model_card import model_card

    graph, weights = network("mobile")
    path = save_npz(folder / "damaged.npz", graph, weights)
    card = model_card(graph, kind="npz", training={"stages": [{"name": "pixel"}], "data": "a"}, checks=(
        Check("other.npz", "max |difference|", 3e-7, 1e-5),
    ))  # fmt: skip
    import dataclasses

    write_card(path, dataclasses.replace(card, metrics=(Metric("Set5", "y", 30.0, 0.9, "openvino"),)))
    return [card_path(path).read_bytes()]


def read_card(path: Path) -> None:
    model = path.with_name("damaged.npz")
    verb("inspect", model, "--json")
    verb("inspect", model)
    verb("run", model, photo(path.parent), "-o", path.with_suffix(".png"), "--overwrite")


def make_checkpoint(folder: Path) -> list[bytes]:
    from snpe_srgan.training.checkpoint import Progress, save_checkpoint

    progress = Progress(
        stage=1, step=20, seed=0, seconds=1.5, stage_began=0.5, plan=(3, 0.5, 100), metrics_bytes=10, logged=2,
        best=20.5, history=[{"name": "pixel", "psnr": 20.0}], config={"seed": 0, "model": {"name": "mobile"}},
        config_hash="abc", data_key="def", teachers={"0": "abc"},
    )  # fmt: skip
    arrays = {"generator/head/kernel": np.zeros((3, 3, 3, 8), np.float32), "step": np.array(3)}
    return [save_checkpoint(folder / "checkpoints", progress, arrays).read_bytes()]


def injure_checkpoint(data: bytes, rng: np.random.Generator) -> bytes:
    """Mostly under a right digest: one that is wrong is told before anything else is looked at."""
    from snpe_srgan.training.checkpoint import MAGIC

    if rng.integers(0, 8) == 0:
        return injure_bytes(data, rng)
    payload = data[len(MAGIC) + 65 :]
    if rng.integers(0, 2):
        payload = injure_bytes(payload, rng)
    else:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        meta = io.BytesIO()
        value = injure_json(json.loads(str(np.load(io.BytesIO(members["__meta__.npy"])))), rng)
        np.save(meta, np.array(json.dumps(value)))
        members["__meta__.npy"] = meta.getvalue()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        payload = out.getvalue()
    return MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def read_checkpoint(path: Path) -> None:
    from snpe_srgan.training.checkpoint import read_checkpoint as read

    read(path)


def make_state(folder: Path) -> list[bytes]:
    digest = "ab" * 32
    done = {"fingerprint": digest, "seconds": 1.25, "outputs": {"out.txt": digest}}
    states = ({"one": done, "two": {"started": digest}}, {"one": done, "two": done})
    return [json.dumps(state, indent=2).encode() for state in states]


def read_state(path: Path) -> None:
    from snpe_srgan.console import Output
    from snpe_srgan.pipeline.engine import STATE, Stage, run_stages

    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        (folder / STATE).write_bytes(path.read_bytes())
        stages = [
            Stage(name, name, {}, (), (out,), lambda resumed, out=out: out.touch())
            for name, out in (("one", folder / "one.txt"), ("two", folder / "two.txt"))
        ]
        run_stages(stages, folder, output=Output(quiet=True))


def make_log(folder: Path) -> list[bytes]:
    rows = [{"kind": "train", "stage": "pixel", "step": 2, "loss": 0.1, "learning_rate": 1e-3}]
    rows += [{"kind": "validation", "stage": stage, "step": 4, "psnr": 27.5, "ssim": 0.8} for stage in ("pixel", "gan")]
    return ["".join(json.dumps(row) + "\n" for row in rows).encode()]


def injure_log(data: bytes, rng: np.random.Generator) -> bytes:
    if rng.integers(0, 3) == 0:
        return injure_bytes(data, rng)
    lines = data.splitlines()
    at = rng.integers(0, len(lines))
    lines[at] = json.dumps(injure_json(json.loads(lines[at]), rng)).encode()
    return b"\n".join(lines) + b"\n"


def read_log(path: Path) -> None:
    from snpe_srgan.report.curves import training_charts
    from snpe_srgan.report.results import read_log as read

    training_charts(read(path))


# configs


def make_yaml(folder: Path) -> list[bytes]:
    return [(ROOT / "configs" / f"{name}.yaml").read_bytes() for name in ("smoke", "mobile_distill", "mobile_gan")]


def injure_yaml(data: bytes, rng: np.random.Generator) -> bytes:
    import yaml

    kind = rng.integers(0, 4)
    if kind == 0:
        return injure_bytes(data, rng)
    if kind == 1:
        return injure_yaml_text(data, rng)
    try:
        return yaml.safe_dump(injure_json(yaml.safe_load(data), rng), allow_unicode=True).encode("utf-8", "replace")
    except (yaml.YAMLError, ValueError):
        return injure_bytes(data, rng)


def injure_yaml_text(data: bytes, rng: np.random.Generator) -> bytes:
    """Puts what YAML can be made of into values and between lines: aliases, numbers of any size, repeated sections."""
    digits = "9" * int(rng.choice([3, 20, 400, 6000]))
    nasty = [
        digits, f"-{digits}", f"{digits}.5", f"1e{digits[:4]}", "010", "0x7f", "1:30", "2024-99-99", ".nan", "-.inf",
        "~", "&a [*a]", "*a", "&a {<<: *a}", "<<: *a", "[" * int(rng.integers(1, 3000)),
        "{a: " * int(rng.integers(1, 3000)),
        "!!python/name:os.system x", "!!int 010", "!!binary aGk=", "!!set {a}", "! x", "!<x> y", "? [a]", "'",
        '"\\ud800"', '"\\0"', '"\\UFFFFFFFF"', "|\n x", "%YAML 9.9", "---", "...", "\t", "\ufeff", "\u202e",
        "../../x", "x" * 50_000,
    ]  # fmt: skip
    lines = data.decode().splitlines()
    for _ in range(rng.integers(1, 4)):
        at, thing = int(rng.integers(0, len(lines))), nasty[rng.integers(0, len(nasty))]
        match rng.integers(0, 4):
            case 0:
                lines[at] = f"{lines[at].partition(':')[0]}: {thing}"
            case 1:
                lines.insert(at, thing)
            case 2:
                lines.append(lines[at])
            case _:
                key, _, value = lines[at].partition(":")
                lines[at] = f"{key}: &a {value}"
    return "\n".join(lines).encode("utf-8", "replace")


def read_yaml(path: Path) -> None:
    from snpe_srgan.config import dump_config, load_config, parse_config
    from snpe_srgan.config.yaml_text import read_yaml
    from snpe_srgan.models.registry import describe

    config = load_config(path)
    assert parse_config(read_yaml(dump_config(config))) == config
    describe(config.model.name, config.model.options, scale=config.model.scale)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("npz", ".npz", make_npz, injure_npz, read_npz),
        Kind("dlc", ".dlc", make_dlc, helpers_dlc.mutate, read_dlc, megabytes=1000),
        Kind("onnx", ".onnx", make_onnx, injure_protobuf, read_foreign, seconds=200, native=True, warm=warm),
        Kind("pb", ".pb", make_pb, injure_protobuf, read_foreign, seconds=200, native=True, warm=warm),
        Kind("h5", ".h5", make_h5, injure_h5, read_h5, seconds=100, native=True, warm=_warm_h5),
        Kind("card", ".npz.json", make_card, injure_json_text, read_card),
        Kind("checkpoint", ".ckpt", make_checkpoint, injure_checkpoint, read_checkpoint),
        Kind("pipeline.json", ".json", make_state, injure_json_text, read_state),
        Kind("metrics.jsonl", ".jsonl", make_log, injure_log, read_log),
        Kind("yaml", ".yaml", make_yaml, injure_yaml, read_yaml),
        *GRAPHS,
        *TENSORFLOW,
        *FOLDERS,
        *PICTURES,
    )
}
