"""The run folder: who may write into it, what a resume may change, what it says about the machine.

runs/<name>/  config.yaml  env.json  log.txt  metrics.jsonl  tb/  checkpoints/  samples/
              generator_<stage>.npz  generator.npz     (each with its card)
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snpe_srgan import __version__
from snpe_srgan.artifacts.card import tensorflow_package, version_of
from snpe_srgan.artifacts.files import make_folder, os_error, remove, require_replaceable, write_json, write_text
from snpe_srgan.artifacts.inputs import is_input
from snpe_srgan.artifacts.own import open_own, require_own_folders
from snpe_srgan.artifacts.staging import recover
from snpe_srgan.config import Config, FeatureConfig, dump_config
from snpe_srgan.errors import ConfigError, InputError

BUSY = "another training or pipeline is at work in this run folder"
CONFIG = "config.yaml"
REPLACED, GROWING = (CONFIG, "env.json"), ("log.txt", "metrics.jsonl")
FOLDERS = ("tb", "checkpoints", "samples")
OURS = (*REPLACED, *GROWING, *FOLDERS)
FREE = ("training.minutes", "training.log_every", "training.checkpoint_every", "training.validate_every")


def claim(folder: Path, *, resume: bool, overwrite: bool, keep: Sequence[Path] = ()) -> None:
    """Makes the run folder ready.

    Args:
        resume: whether an earlier run is to be continued.
        overwrite: whether an earlier run's files may be removed; nothing else is.
        keep: files that this run reads, which must not be removed.

    Raises:
        InputError: as of `check_claim`.
    """
    existing = check_claim(folder, resume=resume, overwrite=overwrite, keep=keep)
    for path in existing if overwrite else ():
        remove(path)
    make_folder(folder)


def check_claim(folder: Path, *, resume: bool, overwrite: bool, keep: Sequence[Path] = ()) -> list[Path]:
    """What an earlier run left in the folder; changes nothing but what a kill left behind.

    Args:
        resume, overwrite, keep: as of `claim`.

    Raises:
        InputError: the folder is a file or cannot be read, holds a run that is neither continued nor replaced, or one
            of `keep` would be removed.
    """
    try:
        if folder.is_file():
            raise InputError("the run folder is a file", where=folder, hint="choose another --run-dir")
        recover(folder)
        existing = [folder / name for name in OURS if os.path.lexists(folder / name)]
        existing += sorted(folder.glob("generator*.npz*"))
        existing = [path for path in existing if not (path.name == CONFIG and is_input(path))]  # -c DIR/config.yaml
    except OSError as error:
        raise os_error(error, folder, "look into the run folder") from error
    if existing and not (resume or overwrite):
        raise InputError(
            "the run folder holds a run already",
            where=folder,
            hint="--resume continues it, --overwrite starts over, --run-dir chooses another",
        )
    if not overwrite:
        require_own_run(folder)
    gone = {path.resolve() for path in existing} if overwrite else set()
    for path in keep:
        if gone & {path.resolve(), *path.resolve().parents}:
            raise InputError(
                "--overwrite would remove a network that this run reads", where=path, hint="choose another --run-dir"
            )
    return existing


def require_own_run(folder: Path) -> None:
    """Raises where a run cannot be gone on with: a link in it that leads elsewhere, a pipe in the place of a file.

    A run folder may come from a stranger. What is in it is written in place, or replaced when hours of work are done.
    """
    for name in GROWING:
        if os.path.lexists(folder / name):
            open_own(folder / name, doing="write the logs").close()
    require_own_folders(folder / name for name in FOLDERS)
    for path in [*(folder / name for name in REPLACED), *sorted(folder.glob("generator*.npz*"))]:
        require_replaceable(path)


def describe_run(folder: Path, config: Config, *, precision: str) -> None:
    """Writes config.yaml (everything resolved) and env.json.

    Args:
        precision: that a step multiplies in.

    Raises:
        InputError: the files cannot be written.
    """
    if not is_input(folder / CONFIG):  # the user's own file, and what stands in it is this config
        write_text(folder / CONFIG, dump_config(config), overwrite=True)
    write_json(folder / "env.json", environment(precision), overwrite=True)


def environment(precision: str) -> dict[str, object]:
    """What the run's numbers depend on beside its config, for env.json: versions, CPU, how many of them, precision."""
    packages = (tensorflow_package(), "tensorlayer", "numpy", "keras", "pillow")
    return {
        "snpe-srgan": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "precision": precision,
        "packages": {name: version_of(name) for name in packages if version_of(name) != "absent"},
    }


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def relevant(config: Config) -> dict[str, object]:
    """The part of a config that the trained weights depend on, as plain data."""
    plain = dataclasses.asdict(config)
    data = {k: plain["data"][k] for k in ("train", "crop", "batch_size", "augment")}
    if plain["data"]["degradation"]["preset"] != "bicubic":
        data["degradation"] = {k: v for k, v in plain["data"]["degradation"].items() if k != "workers"}
    for stage, typed in zip(plain["training"]["stages"], config.training.stages, strict=True):
        # What changes nothing is left out: runs from before there was such a key resume.
        if not typed.loss.distill.active:
            del stage["loss"]["distill"]
        if typed.loss.adversarial == "standard":
            del stage["loss"]["adversarial"]
        for key in ("frequency_weight", "luma_weight", "phase_weight", "shift"):
            if not stage["loss"][key]:
                del stage["loss"][key]
        features, default = stage["loss"]["features"], FeatureConfig()
        for key in ("activation", "distance"):
            if features[key] == getattr(default, key):
                del features[key]
    if not config.training.expand:
        del plain["training"]["expand"]
    discriminator = {k: v for k, v in plain["discriminator"].items() if v or k != "attention"}
    return {
        "seed": plain["seed"], "model": plain["model"], "discriminator": discriminator, "data": data,
        "training": plain["training"],
    }  # fmt: skip


def check_resume(old: Mapping[str, Any], new: Mapping[str, Any], stage: int, step: int, where: Path) -> None:
    """Refuses to continue a run with a config that would give other weights.

    Free to change: minutes, the intervals of logs and checkpoints, the steps of stages that are not finished (to no
    fewer than are done), and stages added at the end.

    Args:
        old, new: the run's config and today's, as of `relevant`.
        stage, step: where the run stands: the stage's index, and the steps done in it.
        where: the place that the error names.

    Raises:
        ConfigError: something else changed; the error lists it.
    """
    before, after = _flat(old), _flat(new)
    stages = len(old["training"]["stages"])
    changed = []
    for key in sorted(before.keys() | after.keys()):
        a, b = before.get(key), after.get(key)
        if a == b or key in FREE:
            continue
        if key.startswith("training.stages."):
            index, name = key.split(".")[2:4]
            if int(index) >= stages:
                continue
            if name == "steps" and (int(index) > stage or (int(index) == stage and b is not None and b >= step)):
                continue
        changed.append(f"{key} {a!r} -> {b!r}")
    if changed:
        more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise ConfigError(
            f"the config is not the run's: {'; '.join(changed[:8])}{more}",
            where=where,
            hint="undo these changes, or start over with --overwrite or another --run-dir",
        )


def _flat(value: object, key: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = list(value.items())
    elif isinstance(value, (list, tuple)):
        items = list(enumerate(value))
    else:
        return {key: value}
    flat: dict[str, Any] = {}
    for name, item in items:
        flat |= _flat(item, f"{key}.{name}" if key else str(name))
    return flat
