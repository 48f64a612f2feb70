"""From a config's data section to what is trained on (the cache, a teacher's pictures) and validated on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from snpe_srgan.config import Config, DataConfig
from snpe_srgan.console import Output
from snpe_srgan.data.batches import Batches
from snpe_srgan.data.cache import Cache, prepare
from snpe_srgan.data.degraded import DegradedBatches
from snpe_srgan.data.plane import Plane, build_plane, find_plane
from snpe_srgan.data.sample import make_sample
from snpe_srgan.data.sources import find_pictures
from snpe_srgan.imaging.pairs import distinct_names
from snpe_srgan.metrics.dataset import Pair, PairFiles
from snpe_srgan.training.networks import Teacher


def check_pictures(config: Config) -> None:
    """`InputError` for sources of pictures that are not there; decodes nothing."""
    data, scale = config.data, config.model.scale
    halves = [("train", data.train), *([("valid", data.valid)] if data.valid_limit else [])]
    for split, specs in halves:
        _ensure_sample(data, specs, scale)
        find_pictures(specs, root=data.root, split=split, scale=scale)


def training_cache(config: Config, output: Output) -> Cache:
    """Decodes the training pictures once, and makes sure that every stage's crop fits into them."""
    data, scale = config.data, config.model.scale
    _ensure_sample(data, data.train, scale)
    crop = max(stage.crop or data.crop for stage in config.training.stages)
    pairs = find_pictures(data.train, root=data.root, split="train", scale=scale, say=output.note)
    return prepare(pairs, Path(data.root) / "cache", scale=scale, min_size=crop, say=output.say)


def validation_pairs(config: Config, output: Output) -> list[Pair]:
    """The first `valid_limit` validation pictures, decoded; none with a limit of 0."""
    data, scale = config.data, config.model.scale
    if not data.valid_limit:
        return []
    _ensure_sample(data, data.valid, scale)
    pairs = find_pictures(data.valid, root=data.root, split="valid", scale=scale, say=output.note)[: data.valid_limit]
    names = distinct_names([pair.hr for pair in pairs])
    return [PairFiles(n, pair.hr, pair.lr, scale).load() for n, pair in zip(names, pairs, strict=True)]


def _ensure_sample(data: DataConfig, specs: list[str], scale: int) -> None:
    """The sample set is cut on first use: it needs no network and takes a second."""
    folder = Path(data.root) / "sample"
    if "sample" in specs and not folder.exists():
        make_sample(folder)


def teacher_plane(cache: Cache, teacher: Teacher, output: Output) -> Plane:
    """The teacher's pictures of the cache, made on the fastest engine of this machine unless they are there already.

    Args:
        output: takes the progress, and a warning where the teacher's tiles are not exact.

    Raises:
        SnpeSrganError: the teacher cannot be run, or the disk has no room for its pictures.
    """
    key = f"{content_key(cache)}-{teacher.sha256[:16]}"
    plane = find_plane(cache, key)
    if plane is not None:
        return plane
    from snpe_srgan.runtimes.open import open_session
    from snpe_srgan.runtimes.upscale import upscale_pixels

    said: list[str] = []
    with open_session(teacher.file) as session:

        def enlarge(lr):
            done = upscale_pixels(session, lr)
            if done.plan.reason and not said:
                said.append(f"teacher {teacher.file.path.name}: {done.plan.reason}")
                output.warn(said[0])
            return done.pixels

        engine = session.description.engine
        output.note(f"teacher {teacher.file.path.name}: enlarging {len(cache)} training pictures with {engine}")
        return build_plane(cache, key, enlarge, say=output.say)


def make_batches(
    cache: Cache, data: DataConfig, *, batch_size: int, crop: int, seed: int, teacher: Plane | None
) -> Batches:
    """The sampler that a config's data section asks for.

    Args:
        batch_size: samples of one step, over all workers.
        crop: side of the HR crop in pixels, a multiple of the scale.
        seed: of the stage (`stage_seed`).
        teacher: its pictures, for a third array in each batch; None: no teacher's pictures.
    """
    degradation = data.degradation
    if degradation.preset == "bicubic":
        return Batches(cache, batch_size=batch_size, crop=crop, augment=data.augment, seed=seed, teacher=teacher)
    return DegradedBatches(
        cache, degradation, batch_size=batch_size, crop=crop, augment=data.augment, seed=seed, teacher=teacher
    )


def content_key(cache: Cache) -> str:
    """What the training pixels are, wherever they lie: 16 hexadecimal digits."""
    facts = [(p.height, p.width, p.crc) for p in cache.pictures]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def stage_seed(seed: int, stage: int) -> int:
    """The seed of a stage's batches: other crops in each stage."""
    return int(np.random.SeedSequence([seed, stage]).generate_state(1, np.uint64)[0])
