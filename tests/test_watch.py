"""`watch`: a training's page, as a file and served on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.report.watch import watch_page
from snpe_srgan.training.validation import last_strips


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "try"
    (folder / "samples").mkdir(parents=True)
    lines = [
        {"kind": "train", "stage": "pixel", "step": 50, "loss": 0.5, "images_per_second": 20.4, "waiting": 0.01},
        {"kind": "validation", "stage": "pixel", "step": 50, "psnr": 27.25, "bicubic_psnr": 26.0},
        {"kind": "validation", "stage": "pixel", "step": 100, "psnr": 27.125, "bicubic_psnr": 26.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "train", "sta'  # being written
    (folder / "metrics.jsonl").write_text(text)
    (folder / "log.txt").write_text("".join(f"line {i}\n" for i in range(40)) + "<script>evil</script>\n")
    for name in ("00-pixel-0000050-a.png", "00-pixel-0000100-a.png", "00-pixel-0000100-b.png", "other.png"):
        Image.fromarray(np.zeros((8, 24, 3), np.uint8)).save(folder / "samples" / name)
    return folder


def test_the_page_holds_numbers_curves_pictures_and_the_log(run):
    text = watch_page(run, refresh=5)
    assert "27.12 dB" in text and "27.25 dB" in text and "1.0%" in text
    assert text.count('role="img"') == 2  # validation and loss
    assert "00-pixel-0000100-b" in text and "00-pixel-0000050-a" not in text
    assert "line 39" in text and "line 20\n" not in text and "<script>evil" not in text
    assert '<meta http-equiv="refresh" content="5">' in text


def test_a_training_that_has_ended_is_not_asked_for_again(run):
    (run / "generator.npz").touch()
    text = watch_page(run, refresh=5)
    assert "has ended" in text and 'http-equiv="refresh"' not in text


def test_a_strip_that_is_being_written_is_left_for_the_next_look(run):
    (run / "samples" / "00-pixel-0000100-b.png").write_bytes(b"\x89PNG")
    text = watch_page(run, refresh=5)
    assert "00-pixel-0000100-a" in text and "00-pixel-0000100-b" not in text


def test_strips_of_the_last_validation(run):
    assert [p.name for p in last_strips(run / "samples")] == ["00-pixel-0000100-a.png", "00-pixel-0000100-b.png"]
    assert last_strips(run / "nowhere") == ()


def test_as_a_file(run):
    page = run.parent / "watch.html"
    assert snpe_srgan("watch", run, "-o", page, "--json").json["path"] == str(page)
    assert 'http-equiv="refresh"' not in page.read_text()
    assert_error(snpe_srgan("watch", run, "-o", page), 1, "exists")


def test_a_folder_without_a_training(tmp_path):
    assert_error(snpe_srgan("watch", tmp_path), 1, "no training in this folder", "runs/mobile")
    assert_error(snpe_srgan("watch", tmp_path / "nowhere"), 1, "no training")


def test_served_on_this_machine_only(run):
    command = [sys.executable, "-m", "snpe_srgan", "watch", str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url)
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert "27.12 dB" in answer.read().decode()
            for path, headers, code in (("x", {}, 404), ("", {"Host": "evil.example"}, 403)):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    urllib.request.urlopen(urllib.request.Request(url + path, headers=headers), timeout=30)
                assert caught.value.code == code
            port = url.split(":")[-1].strip("/")
            assert_error(snpe_srgan("watch", run, "--port", port), 1, f"port {port} cannot be used", "--port")
            (run / "metrics.jsonl").write_text("{\n")
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(url, timeout=30)
            assert caught.value.code == 500 and b"damaged" in caught.value.read()
        finally:
            process.terminate()
            process.wait(30)
