"""Damaged files of folders that this program comes back to or gets from others.

Bundles, tile plans, caches, the scores in a run folder, videos, and videos that are unfinished.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from pathlib import Path
from types import ModuleType

import helpers_dlc
import numpy as np
from helpers_cli import snpe_srgan
from helpers_fuzz import Kind, injure_bytes, injure_json_text
from helpers_fuzz_verbs import verb

from snpe_srgan.errors import InputError

# bundle.json and tiles.json of `deploy`


def make_manifest(folder: Path) -> list[bytes]:
    """A bundle of three artifacts."""
    from snpe_srgan.artifacts.files import sha256
    from snpe_srgan.deploy import manifest

    bundle = folder / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "a.tflite").write_bytes(b"x" * 100)
    port = manifest.Port("lr", (1, 16, 16, 3), "uint8", 0, 255)
    about = {"bytes": 100, "sha256": sha256(bundle / "a.tflite"), "input": port, "output": port}
    shutil.copy(helpers_dlc.TINY, bundle / "a.dlc")
    dlc = {**about, "bytes": (bundle / "a.dlc").stat().st_size, "sha256": sha256(bundle / "a.dlc")}
    artifacts = (
        manifest.Artifact("a.tflite", manifest.TFLITE, "litert", **about),
        manifest.Artifact(
            "a.tflite", manifest.NPU_TFLITE, "litert", chips=("SM8650",), hexagon={"SM8650": 75}, qairt="2.45", **about
        ),
        manifest.Artifact("a.dlc", manifest.DLC, "snpe", **dlc),
    )
    source = {"artifact": "generator.npz", "sha256": "0" * 64}
    whole = manifest.Manifest("mobile", "w8a8", 4, (16, 16), 7, source, artifacts, {"snpe-srgan": "1"})
    with tempfile.TemporaryDirectory() as place:
        manifest.write_manifest(Path(place), whole)
        return [(Path(place) / manifest.NAME).read_bytes()]


def read_manifest(path: Path) -> None:
    from snpe_srgan.deploy.manifest import NAME

    shutil.copy(path, path.parent / "bundle" / NAME)
    verb("deploy", "--check", path.parent / "bundle", "--chip", "8 Gen 3", "--qairt", "2.60", "--json")


def make_tiles(folder: Path) -> list[bytes]:
    from snpe_srgan.deploy.tiles import PLAN, TileRule, write_tiles

    port = {"name": "lr", "shape": [1, 16, 16, 3], "type": "uint8", "black": 0, "white": 255}
    rule = TileRule("x", 4, (16, 16), 3, True, None, {"a.tflite": {"input": port, "output": port}})
    write_tiles(folder, rule)
    return [(folder / PLAN).read_bytes()]


def read_tiles(path: Path) -> None:
    """By the runner that goes with a bundle: its refusal is a ValueError."""
    tiles = runner(path.parent)
    try:
        rule = tiles.load(path)
        tiles.enlarge(rule, np.zeros((50, 30, 3), np.uint8), lambda tile: _repeated(tile, rule["scale"]))
    except ValueError as error:
        raise InputError(str(error)[:200]) from error


def _repeated(tile: np.ndarray, scale: int) -> np.ndarray:
    return tile.repeat(scale, 1).repeat(scale, 2)


def runner(folder: Path) -> ModuleType:
    """The module run_tiles.py, as it lies in a bundle."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("run_tiles", folder / "run_tiles.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# the picture cache's index


def make_index(folder: Path) -> list[bytes]:
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    pictures = [["a", 8, 12, 1], ["b", 4, 16, 2]]
    pixels = sum(height * width for _, height, width, _ in pictures)
    (cache / "hr.bin").write_bytes(bytes(pixels * 3))
    (cache / "lr.bin").write_bytes(bytes(pixels * 3 // 16))
    return [json.dumps({"version": 1, "key": "0123456789abcdef", "scale": 4, "pictures": pictures}).encode()]


def read_index(path: Path) -> None:
    from snpe_srgan.data.stored import open_cache, require_size

    shutil.copy(path, path.parent / "cache" / "index.json")
    cache = open_cache(path.parent / "cache")
    require_size(cache.pictures, 4)
    for index in range(len(cache)):
        height, width, _ = cache.lr(index).shape
        assert cache.hr(index).shape == (height * cache.scale, width * cache.scale, 3)


# the scores in a run folder


def make_scores(folder: Path) -> list[bytes]:
    from snpe_srgan.artifacts.plain import to_plain
    from snpe_srgan.metrics.evaluate import Distances, Evaluation, PictureScore
    from snpe_srgan.metrics.protocol import Score

    score = Score(30.0, 0.9)
    pictures = tuple(PictureScore(name, score, score, 0.1, Distances(0.1, 0.2)) for name in ("a.png", "b.png"))
    whole = Evaluation("Set5", "openvino", "y", "bicubic", 4, pictures, score, score)
    return [json.dumps({"datasets": [to_plain(whole)]}).encode()]


def read_scores(path: Path) -> None:
    from snpe_srgan.report.results import read_scores as read
    from snpe_srgan.report.run import table2

    scores = read(path)
    table2(scores, scores, recipe="w8a8")


# videos: read by FFmpeg in this process, as `run` does


def make_videos(folder: Path) -> list[bytes]:
    from helpers_video import make_clip

    clips = {"a.mp4": {"sound": 1}, "a.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"}, "a.avi": {"codec": "mpeg4"},
             "a.webm": {"codec": "libvpx-vp9"}}  # fmt: skip
    return [make_clip(folder / name, frames=3, size=(16, 16), **about).read_bytes() for name, about in clips.items()]


def injure_video(data: bytes, rng: np.random.Generator) -> bytes:
    """Anywhere, or where containers keep what they say of themselves: at the beginning and at the end."""
    at = int(rng.choice([0, 0, max(0, len(data) - 1500), int(rng.integers(0, len(data)))]))
    return data[:at] + injure_bytes(data[at : at + 1500], rng) + data[at + 1500 :]


def read_video(path: Path) -> None:
    target = path.with_name("enlarged.mkv")
    verb("run", "mobile", path, "-o", target, "--overwrite", "--restart", "--codec", "ffv1", "--to", "8f", "-q")


# what a killed `run` of a video leaves


def make_unfinished(folder: Path) -> list[bytes]:
    """state.json, journal.jsonl and two segments as one archive of names and contents."""
    from helpers_video import make_clip

    from snpe_srgan.video import enlarge
    from snpe_srgan.video.segments import place_for

    make_clip(folder / "clip.mkv", frames=6, size=(16, 16), codec="ffv1", pix_fmt="yuv420p")
    target = folder / "clip_x4.mkv"
    finish = enlarge._finish
    try:  # stopped before the segments are put together
        enlarge._finish = lambda *arguments: (_ for _ in ()).throw(InputError("stopped"))
        assert not _go_on(folder)
    finally:
        enlarge._finish = finish
    files = {p.name: p.read_bytes().decode("latin-1") for p in place_for(target).iterdir()}
    assert len(files) == 4
    return [json.dumps(files).encode()]


def _go_on(folder: Path) -> bool:
    clip, target = folder / "clip.mkv", folder / "clip_x4.mkv"
    done = snpe_srgan(
        "run", "mobile", clip, "-o", target, "--overwrite", "--codec", "ffv1", "--segment", "3", "-q"
    )
    return done.code == 0


def injure_unfinished(data: bytes, rng: np.random.Generator) -> bytes:
    """One of the files; segments mostly under a journal that says the right checksum."""
    files = {name: text.encode("latin-1") for name, text in json.loads(data).items()}
    name = sorted(files)[rng.integers(0, len(files))]
    if name.endswith("jsonl"):
        lines = files[name].splitlines()
        at = rng.integers(0, len(lines))
        lines[at] = injure_json_text(lines[at], rng)
        files[name] = b"\n".join(lines) + b"\n"
    elif name.endswith("json"):
        files[name] = injure_json_text(files[name], rng)
    else:
        files[name] = injure_bytes(files[name][:200], rng) + files[name][200:]
        lines = [json.loads(line) for line in files["journal.jsonl"].splitlines()]
        for line in lines:
            if rng.integers(0, 4) and line.get("index") == int(Path(name).stem):
                line["crc"], line["size"] = zlib.crc32(files[name]), len(files[name])
        files["journal.jsonl"] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return json.dumps({name: content.decode("latin-1") for name, content in files.items()}).encode()


def read_unfinished(path: Path) -> None:
    from snpe_srgan.video.segments import place_for

    place = place_for(path.parent / "clip_x4.mkv")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    for name, text in json.loads(path.read_bytes()).items():
        (place / name).write_bytes(text.encode("latin-1"))
    target = path.parent / "clip_x4.mkv"
    verb("run", "mobile", path.parent / "clip.mkv", "-o", target, "--overwrite", "--codec", "ffv1", "--segment", "3")


def warm_video() -> None:
    import av  # noqa: F401

    from snpe_srgan.cli import run  # noqa: F401


FOLDERS = (
    Kind("bundle.json", ".json", make_manifest, injure_json_text, read_manifest),
    Kind("tiles.json", ".json", make_tiles, injure_json_text, read_tiles),
    Kind("cache_index", ".json", make_index, injure_json_text, read_index),
    Kind("scores", ".json", make_scores, injure_json_text, read_scores),
    Kind("video", ".video", make_videos, injure_video, read_video, warm=warm_video),
    Kind("unfinished_video", ".json", make_unfinished, injure_unfinished, read_unfinished, warm=warm_video),
)
