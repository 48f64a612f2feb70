"""From a config's data section to the cache that is trained on and the pairs that are validated on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from snpe_srgan.cli.output import Output
from snpe_srgan.config import Config, DataConfig
from snpe_srgan.data.cache import Cache, prepare
from snpe_srgan.data.sample import make_sample
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.metrics.dataset import Pair, PairFiles


def training_cache(config: Config, output: Output) -> Cache:
    """Decodes the training pictures once, and makes sure that every stage's crop fits into them."""
    data, scale = config.data, config.model.scale
    _ensure_sample(data, data.train, scale)
    crop = max(stage.crop or data.crop for stage in config.training.stages)
    pairs = find_pictures(data.train, root=data.root, split="train", scale=scale)
    return prepare(pairs, Path(data.root) / "cache", scale=scale, min_size=crop, progress=output.progress)


def validation_pairs(config: Config) -> list[Pair]:
    """The first `valid_limit` validation pictures, decoded; none with a limit of 0."""
    data, scale = config.data, config.model.scale
    if not data.valid_limit:
        return []
    _ensure_sample(data, data.valid, scale)
    pairs = find_pictures(data.valid, root=data.root, split="valid", scale=scale)[: data.valid_limit]
    return [PairFiles(pair.hr.stem, pair.hr, pair.lr, scale).load() for pair in pairs]


def _ensure_sample(data: DataConfig, specs: list[str], scale: int) -> None:
    """The sample set is cut on first use: it needs no network and takes a second."""
    folder = Path(data.root) / "sample"
    if "sample" in specs and not folder.exists():
        make_sample(folder)


def content_key(cache: Cache) -> str:
    """What the training pixels are, wherever they lie: 16 hexadecimal digits."""
    facts = [(p.height, p.width, p.crc) for p in cache.pictures]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def stage_seed(seed: int, stage: int) -> int:
    """The seed of a stage's batches: other crops in each stage."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)[0])
