"""Networks, checkpoints, weights and bundles from strangers: what is impossible is said before it costs anything."""

from __future__ import annotations

import io
import itertools
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_fuzz import copies, fuzz, judge
from helpers_fuzz_kinds import KINDS
from helpers_networks import random_weights, zoo

from snpe_srgan.artifacts.arrays import ArrayFile
from snpe_srgan.confined import process
from snpe_srgan.confined.worker import MARK
from snpe_srgan.errors import InputError
from snpe_srgan.models.graph import graph_from_json
from snpe_srgan.models.npz import load_npz, save_npz

GRAPH = zoo()


def changed(layer: str, **fields) -> str:
    """The zoo network's description with other fields, or attributes, of one layer."""
    data = json.loads(GRAPH.to_json())
    item = next(item for item in data["layers"] if item["name"] == layer)
    for key, value in fields.items():
        if key in item:
            item[key] = value
        elif value is None:
            del item["attributes"][key]
        else:
            item["attributes"][key] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("layer", "fields", "words"),
    [
        ("head", {"kernel": None}, "attribute 'kernel' of a conv layer cannot be 'missing'"),
        ("head", {"kernel": 3}, "attribute 'kernel' of a conv layer cannot be"),
        ("head", {"kernel": [3, 3, 3]}, "attribute 'kernel' of a conv layer cannot be"),
        ("head", {"kernel": [3, 10**30]}, "attribute 'kernel' of a conv layer cannot be"),
        ("head", {"bias": 1}, "'bias' of a conv layer cannot be 1"),
        ("head", {"groups": 2}, "no attribute 'groups'"),
        ("head", {"channels": -8}, "-8 channels at x1 cannot be"),
        ("head", {"channels": 10**30}, "10000000000000000000 channels"),
        ("head", {"channels": True}, "damaged"),
        ("head", {"channels": "8"}, "damaged"),
        ("head", {"upscale": 2}, "cannot make 8 channels at x2"),
        ("head", {"name": "a\nb"}, "name"),
        ("head", {"inputs": [["lr"]]}, "damaged"),
        ("head", {"kind": "x" * 10_000}, "unknown kind"),
        ("inner_scale", {"factor": float("nan")}, "'factor' of a scale layer cannot be"),
        ("inner_scale", {"factor": 10**400}, "'factor' of a scale layer cannot be"),
        ("leaky", {"slope": "0.2"}, "'slope' of a leaky_relu layer cannot be"),
        ("resize", {"factor": 10**30}, "'factor' of a resize layer cannot be"),
        ("resize", {"factor": 2}, "cannot make"),
        ("gated", {"inputs": ["more", "squeeze"]}, "cannot make"),
        ("both", {"channels": 17}, "cannot make"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_by_name(layer, fields, words):
    with pytest.raises(InputError) as caught:
        graph_from_json(changed(layer, **fields), where="a.npz")
    assert words in caught.value.what and "a.npz" in str(caught.value) and len(str(caught.value)) < 400


def test_a_block_of_ten_to_the_thirty_ends_at_once():
    data = json.loads(GRAPH.to_json())
    data["layers"][1:] = [
        {"name": "up", "kind": "depth_to_space", "inputs": ["lr"], "channels": 3, "upscale": 10**30,
         "attributes": {"block": 10**30}},
    ]  # fmt: skip
    with pytest.raises(InputError, match="3 channels at x1000"):
        graph_from_json(json.dumps(data))


def test_channels_that_double_with_every_layer_have_an_end():
    data = json.loads(GRAPH.to_json())
    last, channels = "lr", 3
    layers = data["layers"][:1]
    for i in range(60):
        channels *= 2
        layers.append({"name": f"c{i}", "kind": "concat", "inputs": [last, last], "channels": channels, "upscale": 1,
                       "attributes": {}})  # fmt: skip
        last = f"c{i}"
    with pytest.raises(InputError, match="cannot be"):
        graph_from_json(json.dumps({**data, "layers": layers}))


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return out.getvalue()


def record(header: str, data: bytes = b"", magic: bytes = b"\x93NUMPY\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return magic + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (record("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"), "not as large as it says"),
        (record("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4), }", b"\0" * 16), "impossible shape"),
        (record("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), "pickled objects"),
        (record("{'descr': '<f4', 'shape': ("), "not a readable"),
        (record("(" * 5000), "not a readable"),
        (record("", magic=b"\x93NUMPY\x09\x00"), "not a readable|unknown format"),
        (b"", "not a readable"),
    ],
)
def test_an_array_is_held_against_its_record_before_it_is_read(tmp_path, content, words):
    with pytest.raises(InputError, match=words):
        ArrayFile(archive(a=content), limit=1 << 30, where="a.npz")


def test_an_archive_that_unpacks_to_hundreds_of_times_its_size_is_refused(tmp_path):
    bomb = archive(a=record("{'descr': '<f4', 'fortran_order': False, 'shape': (25000000,), }", bytes(100_000_000)))
    assert len(bomb) < 1_000_000
    with pytest.raises(InputError, match="unpacks to 100 MB from 0"):
        ArrayFile(bomb, limit=1 << 30, where="a.npz")


def test_arrays_come_back_as_they_were_written(tmp_path, rng):
    arrays = {"f": np.asfortranarray(rng.random((3, 4))), "i": np.arange(5, dtype=">i2"), "n": np.float32(3)}
    np.savez_compressed(tmp_path / "a.npz", text=np.array("héllo"), **arrays)
    with ArrayFile(tmp_path / "a.npz", limit=1 << 20) as file:
        assert file.read_text("text") == "héllo"
        for name, array in arrays.items():
            np.testing.assert_array_equal(file.read(name), array)
        with pytest.raises(InputError, match="no text"):
            file.read_text("f")
        with pytest.raises(InputError, match="no array 'x'"):
            file.read("x")
    save_npz(tmp_path / "zoo.npz", GRAPH, random_weights(GRAPH, rng))
    assert load_npz(tmp_path / "zoo.npz")[0] == graph_from_json(GRAPH.to_json())


COUNTS = {
    "checkpoint": 150, "h5": 60, "card": 40, "npz": 100, "pipeline.json": 150, "metrics.jsonl": 150, "pth": 60,
    "safetensors": 100, "keras": 100, "saved_model": 150,
    "bundle.json": 100, "tiles.json": 100, "cache_index": 100, "scores": 100,
}  # fmt: skip
IN_A_CHILD = ("video", "unfinished_video", "tflite", "ctx_onnx")  # a library that crashes must not end the tests


@pytest.mark.parametrize(("kind", "count"), COUNTS.items())
def test_damaged_copies_are_read_or_refused_in_plain_words(tmp_path, monkeypatch, kind, count):
    """A part of what `scripts/fuzz` does."""
    kind = KINDS[kind]
    if kind.native:
        monkeypatch.setenv(MARK, "1")  # one process reads all copies
    damaged = copies(kind, kind.make(tmp_path), start=0, count=count, seed=9)
    verdicts = [judge(kind, tmp_path, index, data) for index, data in damaged]
    assert [verdict for verdict in verdicts if verdict.problem] == []
    assert any(verdict.refused for verdict in verdicts)


@pytest.mark.parametrize(("seed", "index"), [(5, 137), (5, 237), (6, 185), (6, 406)])
def test_a_saved_model_whose_calls_are_damaged_is_refused(tmp_path, seed, index):
    """Copies that `scripts/fuzz` found: a function's name was read where it no longer was one."""
    kind = KINDS["saved_model"]
    ((_, data),) = copies(kind, kind.make(tmp_path), start=index, count=1, seed=seed)
    verdict = judge(kind, tmp_path, index, data)
    assert verdict.problem is None and verdict.refused


def test_hdf5_is_read_in_a_child(tmp_path, monkeypatch):
    """A damaged file keeps the library in a loop that no signal ends; a child is ended after some seconds of work."""
    import h5py

    from snpe_srgan.losses.feature_networks import vgg19
    from snpe_srgan.losses.feature_weights import read_h5
    from snpe_srgan.onnx_graphs.keras_files import check_keras, is_keras_model
    from snpe_srgan.zoo.foreign_keras import read_krasserm

    h5py.File(tmp_path / "a.h5", "w").close()

    def refuse(*_, **__):
        raise AssertionError("in this process")

    monkeypatch.setattr(h5py, "File", refuse)
    assert not is_keras_model(tmp_path / "a.h5")
    for reader in (check_keras, read_krasserm, lambda path: read_h5(vgg19(), path)):
        with pytest.raises(InputError):
            reader(tmp_path / "a.h5")


def test_a_weight_file_that_never_ends_is_ended(tmp_path, monkeypatch):
    """A copy that `scripts/fuzz` found: HDF5 1.14 turns in a circle in it, and answers no signal."""
    monkeypatch.setattr(process, "QUICK", 2.0)
    kind = KINDS["h5"]
    ((_, data),) = copies(kind, kind.make(tmp_path), start=91, count=1, seed=6)
    (tmp_path / "a.h5").write_bytes(data)
    assert_error(snpe_srgan("import", tmp_path / "a.h5", "-o", tmp_path / "a.npz"), 1, "weight file")
    assert not (tmp_path / "a.npz").exists()


def needed_for(kind: str) -> None:
    """Skips where the library is an extra that is not installed."""
    module = {"tflite": "ai_edge_litert", "video": "av", "unfinished_video": "av"}.get(kind)
    if module is not None:
        pytest.importorskip(module, reason=f"{module} is missing: it comes with an extra of the package")


@pytest.mark.parametrize("kind", IN_A_CHILD)
def test_damaged_copies_for_native_libraries_are_read_or_refused_in_plain_words(tmp_path, kind):
    needed_for(kind)
    verdicts = list(fuzz(KINDS[kind], tmp_path, count=20, seed=9))
    assert len(verdicts) == 20 and [verdict for verdict in verdicts if verdict.problem] == []


@pytest.mark.parametrize("kind", [*COUNTS, "video", "unfinished_video"])
def test_whole_files_are_read(tmp_path, kind):
    needed_for(kind)
    """Else a fuzz in which everything is refused would say nothing."""
    kind = KINDS[kind]
    for index, data in enumerate(kind.make(tmp_path)):
        verdict = judge(kind, tmp_path, index, data)
        assert verdict.problem is None and not verdict.refused, index


# unfinished work in a folder from a stranger


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_unfinished_work_that_leads_elsewhere_is_refused(tmp_path, kind):
    """Else the video's segments would be written into the file that a link names."""
    needed_for("video")
    from helpers_video import make_clip

    from snpe_srgan.artifacts.own import work_folder
    from snpe_srgan.video.segments import place_for

    make_clip(tmp_path / "a.mkv", frames=2, size=(16, 16))
    (tmp_path / "precious").write_text("kept")
    place = place_for(tmp_path / "b.mkv")
    place.mkdir()
    wrong = place / "000000.packets"
    {"link": lambda: wrong.symlink_to(tmp_path / "precious"), "pipe": lambda: os.mkfifo(wrong), "folder": wrong.mkdir}[
        kind
    ]()
    outcome = snpe_srgan("run", tmp_path / "a.mkv", "-o", tmp_path / "b.mkv")
    assert_error(outcome, 1, f"cannot go on with the unfinished work: it is a {kind}", "000000.packets")
    assert (tmp_path / "precious").read_text() == "kept"
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(InputError, match="is a link"):
        work_folder(tmp_path / "linked")


def _stands(path, kind, outside):
    """Something of this kind in the place of a run's file or folder."""
    outside.mkdir()
    target = outside / path.name
    if "." in path.name:
        target.write_text("kept")
    else:
        target.mkdir()
        (target / "00-000000001.ckpt").write_text("kept")
    make = {
        "link": lambda: path.symlink_to(target), "hard link": lambda: path.hardlink_to(target),
        "dangling link": lambda: path.symlink_to(outside / "absent"), "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/full"), "folder": path.mkdir,
    }  # fmt: skip
    make[kind]()


ODD = ["link", "dangling link", "pipe", "device"]
GROWING = [
    *itertools.product(["log.txt", "metrics.jsonl"], [*ODD, "hard link", "folder"]),
    *itertools.product(["tb", "checkpoints", "samples"], ODD),
    ("env.json", "pipe"), ("generator.npz", "device"), ("generator_pixel.npz.json", "folder"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), GROWING)
def test_a_strangers_run_folder_leads_nowhere_else(tmp_path, name, kind):
    """`train --resume` says so before it computes; and where only links that dangle are found, there is a run."""
    from snpe_srgan.training.rundir import check_claim

    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    _stands(run / name, kind, outside)
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"a link|hard link|a pipe|a device|a folder") as error:
        check_claim(run, resume=True, overwrite=False)
    assert str(error.value.where) == str(run / name)
    with pytest.raises(InputError, match="holds a run already"):
        check_claim(run, resume=False, overwrite=False)
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before
    assert not (outside / "absent").exists()


def test_to_start_over_removes_links_and_not_what_they_lead_to(tmp_path):
    from snpe_srgan.training.rundir import claim

    for number, (name, kind) in enumerate(GROWING):
        run = tmp_path / f"{number}"
        run.mkdir()
        _stands(run / name, kind, tmp_path / f"outside{number}")
        claim(run, resume=False, overwrite=True)
        assert not any(run.iterdir()), (name, kind)
        assert (tmp_path / f"outside{number}" / name).exists(), (name, kind)


@pytest.mark.parametrize("kind", [*ODD, "hard link"])
def test_what_is_appended_to_is_a_file_of_its_own(tmp_path, kind):
    """The one opener of files that grow, and the manifest of a folder run, which `--overwrite` would empty."""
    from snpe_srgan.artifacts.own import open_own
    from snpe_srgan.cluster.results import open_results

    path = tmp_path / "results.jsonl"
    _stands(path, kind, tmp_path / "outside")
    for opened in (open_own, lambda path: open_results(path, {"model": "a"}, overwrite=True)):
        with pytest.raises(InputError, match=r"link|pipe|device"):
            opened(path)
    assert (tmp_path / "outside" / "results.jsonl").read_text() == "kept"
    assert not (tmp_path / "outside" / "absent").exists()


def test_unfinished_work_with_a_second_name_is_refused(tmp_path):
    from snpe_srgan.artifacts.own import work_folder

    (tmp_path / "precious").write_text("kept")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "hr.bin").hardlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="hard link"):
        work_folder(tmp_path / "work")


@pytest.mark.parametrize("name", ["../out", "linked/out", "/tmp/out-of-it", "a\0b", ""])
def test_a_strangers_journal_leads_nowhere_else(tmp_path, name):
    """A killed run's folder comes with the data: what it says is undone within the folder only."""
    from snpe_srgan.artifacts.staging import MOVING, recover

    inside, outside = tmp_path / "data", tmp_path / "outside"
    inside.mkdir(), outside.mkdir()
    (inside / "linked").symlink_to(outside)
    left = inside / ".snpe-srgan-x.part"
    (left / "new").mkdir(parents=True)
    (left / "new" / "evil").touch()
    (left / MOVING).write_text(json.dumps({"name": name}))
    recover(inside, again=True)
    assert not left.exists() and list(outside.iterdir()) == [] and sorted(os.listdir(tmp_path)) == ["data", "outside"]


def test_a_video_killed_when_it_had_its_name_goes_on(tmp_path, monkeypatch):
    needed_for("video")
    from helpers_video import make_clip

    from snpe_srgan.console import Output
    from snpe_srgan.video.segments import place_for

    make_clip(tmp_path / "a.mkv", frames=5, size=(16, 16))
    words = ("run", tmp_path / "a.mkv", "-o", tmp_path / "b.mkv", "--segment", "2", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(Output, "result", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert snpe_srgan(*words).code == 130
    assert place_for(tmp_path / "b.mkv").is_dir() and (tmp_path / "b.mkv").is_file()
    assert_error(snpe_srgan(*words, "--restart"), 1, "exists already")
    done = snpe_srgan(*words)
    assert done.code == 0 and done.json["videos"][0]["resumed"] == 5, done.err
    assert not place_for(tmp_path / "b.mkv").exists() and sorted(os.listdir(tmp_path)) == ["a.mkv", "b.mkv"]
    assert_error(snpe_srgan(*words), 1, "exists already")
    place_for(tmp_path / "b.mkv").mkdir()
    (place_for(tmp_path / "b.mkv") / "done.json").write_text("[1, 2, 3]")
    assert_error(snpe_srgan(*words), 1, "exists already")


def test_tensorflow_is_never_asked_to_rewrite_python():
    """Its autograph writes files into the folder for temporary ones, which stay after a kill."""
    package = Path(__file__).resolve().parents[1] / "snpe_srgan"
    text = "\n".join(path.read_text() for path in package.rglob("*.py"))
    calls = [piece[:200] for piece in text.split("tf.function(")[1:]]
    assert len(calls) >= 6 and not [call for call in calls if "autograph=False" not in call]
