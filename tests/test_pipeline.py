"""The main job as typed: interrupted, continued, run again; what the report then holds."""

import json
import signal
import subprocess
import sys
import time

import pytest
from helpers_report import check_report

from snpe_srgan.tflite import schema
from snpe_srgan.toolchains import qnn

TINY = """
name: tiny
model: {name: mobile, options: {width: 8, depth: 2}}
discriminator: {width: 4, dense: 8}
data: {valid_limit: 1, crop: 48, batch_size: 4}
training:
  log_every: 10
  validate_every: 500
  checkpoint_every: 20
  stages:
    - {name: pixel, steps: 400, learning_rate: 1e-3, loss: {pixel: l1}}
    - {name: adversarial, steps: 2, loss: {pixel: mse, adversarial_weight: 1e-3}}
evaluate: {limit: 1}
convert: {input_size: 48x64}
quantize: {count: 2}
run: {limit: 1}
benchmark: {input_size: 24x32, runs: 1}
"""


@pytest.mark.slow
@pytest.mark.skipif(qnn.available() is not None, reason=str(qnn.available()))
def test_the_whole_way(tmp_path):
    deploy = "deploy: {targets: [8 Gen 3]}\n" if schema.available() else ""
    (tmp_path / "tiny.yaml").write_text(TINY + deploy)
    run = tmp_path / "runs" / "tiny"
    command = [sys.executable, "-m", "snpe_srgan", "pipeline", "-c", "tiny.yaml", "--json"]

    interrupted = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while interrupted.poll() is None and not list((run / "checkpoints").glob("*")):
        time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    _, errors = interrupted.communicate(timeout=120)
    assert interrupted.returncode == 130 and "Traceback" not in errors, errors
    lines = (run / "metrics.jsonl").read_text().count("\n")

    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stderr
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(steps) >= lines and 400 in steps  # went on, kept its log
    table = (run / "report.md").read_text()
    assert "Table 2" in table and "Table 3" in table and "generator_w8a8.dlc" in table
    assert not schema.available() or "generator_w8a8_SM8650.tflite" in table
    assert (run / "pictures" / "sample_0801.png").is_file() and (run / "report.html").stat().st_size > 10_000
    check_report(run, "w8a8")
    for file, key in (("evaluation_float.json", "psnr"), ("benchmark.json", "speedup"), ("metrics.jsonl", "loss")):
        text = (run / file).read_text()
        (run / file).write_text(text.replace(f'"{key}": ', f'"{key}": 1'))  # 27.3 becomes 127.3
        with pytest.raises(AssertionError):
            check_report(run, "w8a8")
        (run / file).write_text(text)
    made = {path: path.stat().st_mtime_ns for path in run.glob("generator*")}

    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert [s["name"] for s in json.loads(again.stdout)["stages"] if s["ran"]] == ["data"], again.stderr
    assert made == {path: path.stat().st_mtime_ns for path in run.glob("generator*")}

    other = subprocess.run(
        [*command, "--set", "training.stages.0.steps=3"], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert other.returncode == 1 and "--overwrite" in other.stderr  # a trained network is not thrown away in silence
    assert made == {path: path.stat().st_mtime_ns for path in run.glob("generator*")}
