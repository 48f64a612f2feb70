"""Folder runs on Dask: the same bytes as one process, manifests, addresses, lost workers, poison, going on."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import saved_mobile
from PIL import Image

pytest.importorskip("distributed", reason="needs the extra 'cluster'")

from snpe_srgan.cluster.clusters import connect, parse_cluster
from snpe_srgan.cluster.dispatch import MOST_ITEMS, POISONED, Dispatch
from snpe_srgan.cluster.results import Record, open_results
from snpe_srgan.cluster.work_list import make_work_list
from snpe_srgan.errors import ConfigError, InputError, UsageError


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return saved_mobile(tmp_path_factory.mktemp("net") / "net.npz", width=4, depth=2)


def pictures(folder: Path, count: int = 6) -> Path:
    """Pictures of several kinds and sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    for index in range(count):
        mode, channels, suffix = [("RGB", 3, "png"), ("L", 1, "png"), ("RGBA", 4, "webp"), ("RGB", 3, "jpg")][index % 4]
        shape = (*rng.integers(5, 24, 2), channels)
        pixels = rng.integers(0, 256, shape, np.uint8)
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels, mode).save(folder / f"{index}.{suffix}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".jsonl"}


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def test_two_processes_give_the_bytes_of_one_and_a_bad_picture_stops_nobody(tmp_path, net):
    photos = pictures(tmp_path / "photos")
    (photos / "bad.png").write_text("no picture")
    alone = snpe_srgan("run", net, photos, "-o", tmp_path / "alone")
    dealt = snpe_srgan("run", net, photos, "-o", tmp_path / "dealt", "--cluster", "local:2", "--json")
    assert alone.code == dealt.code == 1
    assert contents(tmp_path / "dealt") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "alone")) == 6
    assert (dealt.json["done"], dealt.json["failed"], dealt.json["total"]) == (6, 1, 7)
    assert_error(dealt, 1, "bad.png")
    assert len({line["worker"] for line in lines(tmp_path / "dealt" / "results.jsonl")}) == 2


def test_the_same_command_goes_on_and_nothing_is_done_twice(tmp_path, net):
    photos, out = pictures(tmp_path / "photos"), tmp_path / "out"
    command = ["run", net, photos, "-o", out, "--cluster", "local:0", "--json"]
    assert snpe_srgan(*command).json["done"] == 6
    results, before = out / "results.jsonl", contents(out)
    all_lines = results.read_text().splitlines(keepends=True)
    # As a kill leaves it: three lines and half a line; one result without a line, two not there.
    results.write_text("".join(all_lines[:4]) + all_lines[4][:20])
    missing = [json.loads(line)["target"] for line in all_lines[5:]]
    for target in missing:
        os.remove(target)
    again = snpe_srgan(*command)
    assert again.code == 0
    assert [again.json[key] for key in ("before", "found", "done")] == [3, 1, 3]
    assert contents(out) == before
    targets = [line["target"] for line in lines(results)]
    assert len(targets) == len(set(targets)) == 6


def test_results_that_no_run_knows_are_kept(tmp_path, net):
    photos, out = pictures(tmp_path / "photos", 2), tmp_path / "out"
    assert snpe_srgan("run", net, photos, "-o", out).code == 0
    command = ["run", net, photos, "-o", out, "--cluster", "local:0"]
    assert_error(snpe_srgan(*command), 1, "exists already, and 1 more", "--skip-existing")
    assert not (out / "results.jsonl").exists()
    skipped = snpe_srgan(*command, "--skip-existing", "--json")
    assert (skipped.code, skipped.json["found"]) == (0, 2)
    # An output that is an input is no output, whatever flag is given.
    (photos / "1_x4.png").write_bytes((photos / "0.png").read_bytes())
    assert_error(snpe_srgan("run", net, photos, "-o", photos, "--cluster", "local:0", "--overwrite"), 1, "reads")


def test_another_network_does_not_go_on_with_the_results_of_one(tmp_path, net):
    photos, out = pictures(tmp_path / "photos", 1), tmp_path / "out"
    assert snpe_srgan("run", net, photos, "-o", out, "--cluster", "local:0").code == 0
    other = snpe_srgan("run", "mobile", photos, "-o", out, "--cluster", "local:0")
    assert_error(other, 1, "other work", "--overwrite")
    assert snpe_srgan("run", "mobile", photos, "-o", out, "--cluster", "local:0", "--overwrite").code == 0


def test_a_manifest_names_sources_and_targets_in_any_store(tmp_path, net):
    import fsspec

    photos = pictures(tmp_path / "photos", 2)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put_file(str(photos / "0.png"), "/in/far.png")
    manifest = tmp_path / "list.jsonl"
    manifest.write_text(
        '"photos/1.png"\n\n{"source": "memory://in/far.png", "target": "sub/far.png"}\n{"source": "gone.png"}\n'
    )
    results = tmp_path / "results.jsonl"
    command = ["run", net, manifest, "-o", "memory://out", "--results", results, "--cluster", "local:0", "--json"]
    outcome = snpe_srgan(*command)
    assert_error(outcome, 1, "gone.png", "no such file")
    assert (outcome.json["done"], outcome.json["failed"]) == (2, 1)
    assert sorted(memory.find("/out")) == ["/out/1_x4.png", "/out/sub/far.png"]
    assert snpe_srgan("run", net, photos / "0.png", "-o", tmp_path / "0.png").code == 0
    assert memory.cat_file("/out/sub/far.png") == (tmp_path / "0.png").read_bytes()
    results.write_text("".join(results.read_text().splitlines(keepends=True)[:1]))  # the head alone: a lost disk
    assert snpe_srgan(*command).json["found"] == 2
    folder = snpe_srgan("run", net, "memory://in", "-o", f"file://{tmp_path}/out", "--cluster", "local:0")
    assert folder.code == 0 and (tmp_path / "out" / "far_x4.png").is_file()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2"), ("[1]", "line 2"), ('{"source": ""}', "empty"), ('{"sorce": "a.png"}', "mean 'source'"),
        ('{"source": "a.png", "target": "../b.png"}', "below -o"), ('{"source": "a.png", "target": "/b.png"}', "below"),
        ('{"source": "a.png", "target": "b.xyz"}', "xyz"), ('{"source": "c.png", "target": "A.png"}', "both become"),
        ('"' + "a" * 70000 + '"', "65536"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_wrong_is_refused_with_its_line(tmp_path, line, words):
    manifest = tmp_path / "list.jsonl"
    manifest.write_text('{"source": "x.png", "target": "a.png"}\n' + line)
    with pytest.raises((InputError, UsageError)) as caught:
        make_work_list([str(manifest)], out=str(tmp_path / "out"), scale=4)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--cluster", "locl:2"], 2, "no cluster"),
        (["--cluster", "local:2", "--on", "device"], 2, "one machine's"),
        (["--results", "r.jsonl"], 2, "--cluster"),
        (["--cluster", "127.0.0.1:1111"], 1, "no Dask scheduler answers"),
        (["--cluster", "absent.yaml"], 1, "absent.yaml"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(tmp_path, net, arguments, code, words, monkeypatch):
    monkeypatch.setattr("snpe_srgan.cluster.clusters.CONNECT_SECONDS", 1)
    photos = pictures(tmp_path / "photos", 1)
    assert_error(snpe_srgan("run", net, photos, "-o", tmp_path / "out", *arguments), code, words)
    assert not contents(tmp_path / "out") if (tmp_path / "out").exists() else True


def test_manifests_and_addresses_need_a_cluster_and_memory_one_process(tmp_path, net):
    assert_error(snpe_srgan("run", net, "list.jsonl", "-o", tmp_path), 2, "--cluster")
    assert_error(snpe_srgan("run", net, "s3://bucket/a.png", "-o", tmp_path), 2, "--cluster")
    memory = snpe_srgan("run", net, "memory://a/b.png", "-o", tmp_path, "--cluster", "local:2")
    assert_error(memory, 2, "one process", "local:0")
    assert_error(snpe_srgan("run", net, "clip.mp4", "-o", tmp_path, "--cluster", "local:2"), 2, "videos")
    assert_error(snpe_srgan("run", net, "a.png", "-o", "s3://b/out", "--cluster", "local:1"), 2, "--results")


def test_without_dask_the_error_says_what_to_install(tmp_path, net, monkeypatch):
    monkeypatch.setattr("snpe_srgan.cluster.clusters.installed", lambda package: False)
    outcome = snpe_srgan("run", net, pictures(tmp_path / "p", 1), "-o", tmp_path / "out", "--cluster", "local:1")
    assert_error(outcome, 3, "snpe-srgan[cluster]")


WRONG = ["kind: slrum", "jobs: 2", "kind: slurm\njobs: 0", "kind: slurm\ncores: 2", "- 1", "a: ["]


@pytest.mark.parametrize("text", WRONG)
def test_a_cluster_file_that_is_wrong_is_refused(tmp_path, text):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError):
        parse_cluster(str(tmp_path / "c.yaml"))


def test_the_result_manifest_is_one_clients(tmp_path):
    path = tmp_path / "r.jsonl"
    first = open_results(path, {"model": "a"})
    first.add(Record("a", "b"))
    with pytest.raises(InputError, match="another run"):
        open_results(path, {"model": "a"})
    first.close()
    again = open_results(path, {"model": "a"})
    assert again.before == {"b": "done"}
    again.close()
    path.write_text("something else\n")
    with pytest.raises(InputError, match="no result manifest"):
        open_results(path, {"model": "a"})
    assert path.read_text() == "something else\n"


def square_or_die(items):
    """Work for `Dispatch`: one item kills its worker, as a decoder might."""
    if 13 in items:
        os.kill(os.getpid(), signal.SIGKILL)
    return [item * item for item in items]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_an_item_that_kills_workers_is_put_aside_and_the_others_are_done_once():
    with connect(parse_cluster("local:2")) as client:
        dispatch = Dispatch(client, square_or_die, name="squares")
        done = list(dispatch.run(range(1000)))
        assert client.cluster.scheduler.tasks == {} or len(client.cluster.scheduler.tasks) < MOST_ITEMS
    assert dispatch.lost_workers >= 3
    assert sorted(item for item, _ in done) == list(range(1000))
    assert [item for item, result in done if result is POISONED] == [13]
    assert all(result == item * item for item, result in done if item != 13)


SBATCH = """#!/bin/sh
for script; do :; done
nohup sh "$script" > "$script.log" 2>&1 &
echo $! > "$JOBS/$!"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
for job; do :; done
kill "$job"
"""


@pytest.mark.slow
def test_slurm_gets_jobs_whose_workers_enlarge(tmp_path, net, monkeypatch):
    """dask-jobqueue and its scripts are the real ones; `sbatch` and `scancel` are stand-ins that start processes."""
    pytest.importorskip("dask_jobqueue", reason="needs dask-jobqueue")
    (tmp_path / "bin").mkdir()
    (tmp_path / "jobs").mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(tmp_path / "jobs"))
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slurm.yaml").write_text(
        "kind: slurm\njobs: 2\noptions: {cores: 2, processes: 1, memory: 2GB, walltime: '00:10:00', queue: short, "
        "interface: lo}\n"
    )
    photos = pictures(tmp_path / "photos")
    outcome = snpe_srgan("run", net, photos, "-o", tmp_path / "out", "--cluster", "slurm.yaml", "--json")
    assert outcome.code == 0, outcome
    assert len(contents(tmp_path / "out")) == outcome.json["done"] == 6
    assert len(list((tmp_path / "jobs").iterdir())) == 2
