"""The commands of the pages, run in their order in a folder that holds the files they name, at their smallest.

Half a minute to three minutes a page: `scripts/test -m slow tests/test_docs_run.py`. What is not run stands in UNTRIED
with the reason; a line of another page's kind would fail here until it is run or given a reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is missing: pip install 'snpe-srgan[video]'")

from conftest import REPO
from helpers_video import make_clip
from PIL import Image
from test_docs import commands, pieces

from snpe_srgan.toolchains import qnn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(qnn.available() is not None, reason=f"no emulator: {qnn.available()}"),
]
PAGES = ("README.md", "docs/index.md", "docs/commands.md", "docs/compression.md", "docs/deploy.md", "docs/plan.md",
         "docs/quantization.md", "docs/scale.md", "docs/video.md", "docs/tutorials/deploy.md",
         "docs/tutorials/network.md", "docs/tutorials/quantize.md", "docs/tutorials/train.md",
         "docs/tutorials/video.md")  # fmt: skip

# What a user would wait for; a command that matches is run with these words added, or exchanged.
SMALL = "--set training.minutes=0 --set training.stages.0.steps=2 --set training.validate_every=2"
TINY = f"{SMALL} --set data.crop=48 --set data.batch_size=2"
PHOTOS = "--set data.train=[photos] --set data.valid=[photos]"
ADDED = (
    (r"^train .*(espcn|srcnn|mobile)\.yaml(?!.*data\.train)", f"{TINY} {PHOTOS}"),
    (r"^train ", TINY),
    (r"^pipeline .*smoke", f"{SMALL} --set training.stages.1.steps=1 --set evaluate.limit=1 --set run.limit=1 "
                           "--set quantize.count=2 --set benchmark.runs=1"),
    (r"^compress .*--finetune", f"--count 2 {TINY} {PHOTOS}"),
    (r"^(compress|quantize) .*--(?:calibration photos|target|ssvd)", "--count 2"),
    (r"^benchmark ", "--runs 1 --input-size 32x32"),
    (r"^evaluate .*clip", "--limit 2"),
)  # fmt: skip
EXCHANGED = (
    (r"--minutes 20", "--minutes 0.1"),
    (r"\bsrgan\.npz|\bsrgan\b(?![_./])", "mobile"),  # the 16 x 64 network takes ten times as long everywhere
    (r"srgan_macs50", "mobile_macs50"),
    (r"srgan_w8a8\.dlc", "quantized.dlc"),
    (r"--from 1:00 --to 1:05.5|--from 0:10 --to 0:12", "--from 0.04 --to 0.2"),
    (r"--input-size 128x128", "--input-size 32x32"),
    (r"^deploy mobile -o bundle$", "deploy mobile --target SM8650 --input-size 32x32 -o bundle"),
    (r"--target \"?8 Gen 3\"? --target SM8750", "--target SM8650 --input-size 32x32"),
    (r"deploy mobile --all", "deploy mobile --target SM8650"),
    (r"latency=0.6 --strategy prune --multiple 32", "macs=0.9 --strategy prune --multiple 4"),
    (r"latency=0\.5", "macs=0.9"),  # `mobile` is too small already to save time
    (r"local:[48]", "local:1"),
    (r"--output (1440x2560|2160x3840)", "--output 1080x1920"),
    (r"(?<=path/to/)Set14", "Set5"),
)
UNTRIED = (
    (r"^data download", "4 GB from the network"),
    (r"--toolchain snpe|--on (sdk|device)|toolchain=snpe|run\.on=device|w8a8-cle\.dlc", "the SDK, or a phone"),
    (r"^pipeline .*paper", "hours"),
    (r"^watch ", "runs until Ctrl-C; tests/test_watch.py"),
    (r"--to-stdout|^run - ", "a pipe; tests/test_video_live.py"),
    (r"tcp://|slurm\.yaml|s3://|list\.jsonl", "a cluster; tests/test_cluster.py"),
    (r"weights\.pth|mine\.npz", "needs PyTorch's file; tests/test_import_torch.py"),
    (r"saved_model_folder|\.keras|net\.h5", "needs TensorFlow's file; tests/test_import_tensorflow.py"),
    (r"--web", "needs the npm package onnxruntime-web; tests/test_web.py"),
    (r"^completion|config schema", "printed; tests/test_completion.py, tests/test_config.py"),
)  # fmt: skip

WRITES = (
    "run",
    "convert",
    "quantize",
    "compress",
    "deploy",
    "compare",
    "train",
    "evaluate",
    "inspect",
    "import",
    "pipeline",
)


def photograph(side: tuple[int, int], seed: int) -> Image.Image:
    """Shapes and grain, so that a network's loss is that of a photograph; no two are alike."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
    smooth = np.asarray(coarse.resize((side[1], side[0]), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray(np.clip(smooth + random.normal(0, 12, (*side, 3)), 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """All that the pages name and that a user would have."""
    folder = tmp_path_factory.mktemp("files")
    for name, side in {"photo.jpg": (40, 36), "phone.jpg": (40, 36), "original.png": (96, 96)}.items():
        photograph(side, len(name)).save(folder / name, quality=97)
    for name, side in {"photos": (224, 208), "others": (112, 96), "path/to/Set5": (96, 96), "Set5": (96, 96)}.items():
        (folder / name).mkdir(parents=True)
        for i in range(2):
            photograph(side, i).save(folder / name / f"p{i}.png")
    for name in ("clip.mp4", "clip.mkv"):
        make_clip(folder / name, frames=6, size=(80, 96))
    (folder / "configs").symlink_to(REPO / "configs")
    made(folder, f"train -c configs/mobile.yaml --run-dir runs/mobile {TINY} {PHOTOS}")
    shutil.copytree(folder / "runs/mobile", folder / "runs/mine")
    made(folder, "quantize mobile -o made --input-size 32x32 --count 2")
    for name, file in {"model.dlc": "mobile_w8a8.dlc", "quantized.dlc": "mobile_w8a8.dlc"}.items():
        shutil.copy(folder / "made" / file, folder / name)
    made(folder, "convert mobile -o float --input-size 32x32")
    shutil.copy(folder / "float/mobile.dlc", folder / "float.dlc")
    for name in ("good.onnx", "bad.onnx"):
        shutil.copy(folder / "made/mobile_w8a8.onnx", folder / name)
    for name in ("model.onnx", "theirs.onnx", "other.onnx"):
        shutil.copy(folder / "float/mobile.onnx", folder / name)
    return folder


def run(folder: Path, line: str | list[str]) -> subprocess.CompletedProcess:
    words = line.split() if isinstance(line, str) else line
    command = [sys.executable, "-m", "snpe_srgan", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600
    )


def made(folder: Path, line: str) -> None:
    done = run(folder, line)
    assert done.returncode == 0, done.stderr


def smallest(words: list[str]) -> list[str]:
    """The command with less work in it."""
    line = "\0".join(words)
    for pattern, other in EXCHANGED:
        line = re.sub(pattern.replace(" ", "\0").replace('"?8\0Gen\03"?', "8 Gen 3"), other.replace(" ", "\0"), line)
    words = line.split("\0")
    added = next((extra for pattern, extra in ADDED if re.search(pattern, " ".join(words))), "")
    for word in added.split():
        words.append(word)
    return words


def reason(words: list[str]) -> str | None:
    return next((why for pattern, why in UNTRIED if re.search(pattern, " ".join(words))), None)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_work(page, files, tmp_path):
    folder = tmp_path / "user"
    shutil.copytree(files, folder, symlinks=True)
    ran = 0
    for line in commands(REPO / page):
        for words in pieces(line):
            if reason(words) is not None:
                continue
            words = smallest(words)
            done = run(folder, words)
            again = done.returncode == 1 and re.search(r"exist|is there|holds a run", done.stderr)
            if again and words[0] in WRITES:
                done = run(folder, [*words, "--overwrite"])  # two lines of a page may write the same file
            expected = {1} if "exit code 1" in line else {0}
            if words[:2] == ["deploy", "--check"]:
                expected |= {1}  # the answer may be no
            if done.returncode == 3:
                assert "pip install" in done.stderr, done.stderr
                continue  # an extra that is not installed here says so
            assert done.returncode in expected, (
                f"{page}: {' '.join(words)}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
            )
            ran += 1
    assert ran or page == "docs/scale.md"
