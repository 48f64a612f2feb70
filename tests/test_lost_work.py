"""Work is never lost: outputs are whole or absent, inputs are never outputs, a killed run is tidied up by the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from helpers_cli import assert_error, snpe_srgan
from PIL import Image

from snpe_srgan.artifacts import inputs
from snpe_srgan.artifacts.files import atomic_folder, atomic_write, refuse_overwrite, write_bytes
from snpe_srgan.artifacts.locks import exclusive
from snpe_srgan.artifacts.staging import Scratch, recover, unfinished
from snpe_srgan.errors import InputError


def hidden(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.startswith(".")]


def killed(folder: Path, code: str) -> None:
    """Runs `code` in a process of its own; where it says `die()` the process is killed."""
    head = f"import os, pathlib, shutil\nfolder = pathlib.Path({str(folder)!r})\n"
    head += "def die(*args, **kwargs): os.kill(os.getpid(), 9)\n"
    head += "from snpe_srgan.artifacts import files, staging\n"
    done = subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


def test_a_file_is_never_given_the_name_of_another(tmp_path):
    """Many writers at once, without --overwrite: one succeeds, and its content is what stays."""
    outcomes = []

    def write(number):
        try:
            with atomic_write(tmp_path / "out.bin") as temporary:
                temporary.write_bytes(bytes([number]))
                barrier.wait()
            outcomes.append(number)
        except InputError as error:
            assert "exists already" in error.what

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 1
    assert (tmp_path / "out.bin").read_bytes() == bytes(outcomes)
    assert not hidden(tmp_path)


def test_longest_name_and_one_more(tmp_path):
    write_bytes(tmp_path / ("x" * 251 + ".bin"), b"1")
    for name in ("x" * 252 + ".bin", "ü" * 150, "a\0b"):
        with pytest.raises(InputError):
            write_bytes(tmp_path / name, b"1")
        with pytest.raises(InputError):
            refuse_overwrite(tmp_path / name, False)


def test_what_is_no_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(InputError, match="no file"):
        write_bytes(tmp_path / "pipe", b"1", overwrite=True)
    with pytest.raises(InputError, match="exists already"):
        write_bytes(tmp_path / "dangling", b"1")


def test_leavings_of_a_killed_write_go(tmp_path):
    killed(tmp_path, "with files.atomic_write(folder / 'a.bin') as t:\n    t.write_bytes(b'half'); die()")
    assert hidden(tmp_path)
    recover(tmp_path, again=True)
    assert not list(tmp_path.iterdir())


def test_the_folder_of_a_process_that_works_is_left_alone(tmp_path):
    with atomic_write(tmp_path / "a.bin") as temporary:
        temporary.write_bytes(b"1")
        code = f"from snpe_srgan.artifacts.staging import recover; recover({str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], check=True)
        assert temporary.exists()
    assert (tmp_path / "a.bin").read_bytes() == b"1"


def test_outputs_that_belong_together_go_together(tmp_path):
    (tmp_path / "old.json").write_text("1")
    write = (
        "files.write_bytes(folder / 'net.dlc', b'1')\n    files.write_bytes(folder / 'old.json', b'2', overwrite=True)"
    )
    killed(tmp_path, f"with staging.unfinished(folder):\n    {write}\n    die()")
    assert (tmp_path / "net.dlc").exists()
    recover(tmp_path, again=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "1"
    with pytest.raises(RuntimeError), unfinished(tmp_path):  # the same when it fails, at once
        write_bytes(tmp_path / "net.dlc", b"1")
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.json"]


def test_a_file_and_its_card_are_replaced_together(tmp_path):
    """A kill between the two, with --overwrite, brings the old pair back; so does an error."""
    write_bytes(tmp_path / "a.npz", b"old")
    write_bytes(tmp_path / "a.npz.json", b"card of old")
    twice = "files.write_bytes(folder / 'a.npz', b'new', overwrite=True)\n    " * 2
    killed(tmp_path, f"with staging.unfinished(folder):\n    {twice}die()")
    assert (tmp_path / "a.npz").read_bytes() == b"new"
    recover(tmp_path, again=True)
    assert (tmp_path / "a.npz").read_bytes() == b"old" and not hidden(tmp_path)
    with pytest.raises(RuntimeError), unfinished(tmp_path):
        write_bytes(tmp_path / "a.npz", b"new", overwrite=True)
        write_bytes(tmp_path / "a.npz.json", b"card of new", overwrite=True)
        raise RuntimeError
    assert (tmp_path / "a.npz").read_bytes() == b"old"
    assert (tmp_path / "a.npz.json").read_bytes() == b"card of old" and not hidden(tmp_path)
    with unfinished(tmp_path):
        write_bytes(tmp_path / "a.npz", b"new", overwrite=True)
    assert (tmp_path / "a.npz").read_bytes() == b"new" and not hidden(tmp_path)


def test_the_card_of_another_file_is_left_out_with_a_remark(tmp_path):
    import shutil

    from snpe_srgan.artifacts.card import read_card
    from snpe_srgan.errors import Remark
    from snpe_srgan.zoo.named import WEIGHTS

    for name in ("mobile.npz", "mobile.npz.json"):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    assert snpe_srgan("inspect", tmp_path / "mobile.npz", "--json").json["card"] is not None
    shutil.copy(WEIGHTS / "mobile-gan.npz", tmp_path / "mobile.npz")
    with pytest.warns(Remark, match="of another file"):
        assert read_card(tmp_path / "mobile.npz") is None
    for _ in range(2):  # each command says it, once
        outcome = snpe_srgan("inspect", tmp_path / "mobile.npz", "--json")
        assert outcome.code == 0 and outcome.json["card"] is None and outcome.err.count("of another file") == 1


def test_what_the_user_put_there_since_is_kept(tmp_path):
    killed(tmp_path, "with staging.unfinished(folder):\n    files.write_bytes(folder / 'a', b'1')\n    die()")
    (tmp_path / "a").write_bytes(b"the user's own")
    recover(tmp_path, again=True)
    assert (tmp_path / "a").read_bytes() == b"the user's own"


def test_a_strangers_journal_reaches_nothing(tmp_path):
    """A folder that came in an archive may hold a journal: names that lead out of it, absolute ones, rubbish."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"1")
    status = victim.stat()
    part = tmp_path / "in" / ".snpe-srgan-evil.part"
    part.mkdir(parents=True)
    mark = [status.st_ino, status.st_size, status.st_mtime_ns]
    names = ["../victim", str(victim), "..", "a\0b", 7, None]
    lines = [json.dumps({"name": name, "mark": mark}) for name in names] + ["[" * 9999, "7", "{"]
    (part / "journal").write_text("\n".join(lines))
    (part / "moving").write_text("\n".join(lines))
    recover(tmp_path / "in", again=True)
    assert victim.read_bytes() == b"1"
    assert not part.exists()


@pytest.mark.parametrize("moment", ["files.note_move", "files.os.rename", "files.shutil.rmtree"])
def test_a_folder_that_is_being_replaced(tmp_path, moment):
    """Killed before, between and after the two renames: the old or the new folder is there, whole."""
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "a").write_text("old")
    body = "with files.atomic_folder(folder / 'set', overwrite=True) as t:\n    (t / 'a').write_text('new')"
    killed(tmp_path, f"{moment} = die\n{body}")
    recover(tmp_path, again=True)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert (folder / "a").read_text() in ("old", "new")


def test_a_folder_whose_making_fails(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "set", overwrite=True) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert (tmp_path / "set" / "a").read_text() == "old"
    assert not hidden(tmp_path)


def test_an_input_is_never_an_output(tmp_path):
    """By its own name, a hard link, a symlink, another spelling; and a folder that holds it."""
    source = tmp_path / "in" / "a.npz"
    source.parent.mkdir()
    source.write_bytes(b"1")
    os.link(source, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(source)
    (tmp_path / "folder").symlink_to(source.parent)
    with inputs.watched():
        inputs.reading(tmp_path / "soft")
        for name in ("in/a.npz", "hard", "soft", "folder/a.npz", "in/../in/a.npz"):
            for attempt in (write_bytes, lambda p, data, overwrite: refuse_overwrite(p, overwrite)):
                with pytest.raises(InputError, match="reads"):
                    attempt(tmp_path / name, b"2", overwrite=True)
        for name in ("in", "folder"):
            with pytest.raises(InputError, match="read"), atomic_folder(tmp_path / name, overwrite=True):
                pass
    assert source.read_bytes() == b"1"
    write_bytes(source, b"2", overwrite=True)  # another command may


# -- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def network(tmp_path) -> Path:
    import onnx
    from helpers_onnx import mobile

    onnx.save(mobile((12, 16)), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("way", ["itself", "hard link", "symlink"])
def test_no_command_replaces_what_it_reads(network, tmp_path, monkeypatch, way):
    """The model of freeze, convert, quantize, import, inspect; the card beside it; the pictures of run and evaluate."""
    import shutil

    from snpe_srgan.zoo.named import WEIGHTS

    monkeypatch.chdir(tmp_path)
    for name in ("mobile.npz", "mobile.npz.json"):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    Path("set/HR").mkdir(parents=True)
    Image.new("RGB", (48, 48)).save("set/HR/a.png")
    make = {"itself": lambda a, b: None, "hard link": os.link, "symlink": lambda a, b: Path(b).symlink_to(a)}[way]

    def target(path: str) -> str:
        if way == "itself":
            return path
        other = f"other-{Path(path).name}"
        if not os.path.lexists(other):
            make(Path(path).absolute(), other)
        return other

    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    commands = [
        ("freeze", "mobile.npz", "-o", target("mobile.npz")),
        ("freeze", "mobile.npz", "-o", target("mobile.npz.json")),
        ("import", "mobile.npz", "-o", target("mobile.npz")),
        ("run", "mobile.npz", "set/HR/a.png", "-o", target("set/HR/a.png")),
    ]
    if way == "itself":
        Path("saved").symlink_to("set")  # saved/set/a.png is set/HR/a.png
        Path("set/set").symlink_to("HR")
        commands += [("evaluate", "bicubic", "set", "--save-images", "saved")]
    for words in commands:
        assert_error(snpe_srgan(*words, "--overwrite"), 1, "this command reads")
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("way", [os.link, lambda a, b: Path(b).symlink_to(Path(a).absolute())], ids=["hard", "soft"])
def test_an_output_that_is_a_link_to_an_input_is_refused_by_every_verb(tmp_path, monkeypatch, way):
    """The name of each output leads to the model, its card, or a picture: nothing is computed, nothing is lost."""
    import shutil

    from helpers_dlc import TINY

    from snpe_srgan.toolchains import qnn
    from snpe_srgan.zoo.named import WEIGHTS

    monkeypatch.chdir(tmp_path)
    for name in ("mobile.npz", "mobile.npz.json"):
        shutil.copy(WEIGHTS / name, tmp_path / name)
    shutil.copy(TINY, "t.dlc")
    Path("set/HR").mkdir(parents=True)
    Image.new("RGB", (48, 48)).save("set/HR/a.png")
    commands = [
        ("mobile.npz", "c/mobile.onnx", ("convert", "mobile.npz", "--onnx-only", "-o", "c")),
        ("mobile.npz.json", "d/mobile.onnx", ("convert", "mobile.npz", "--onnx-only", "-o", "d")),
        ("mobile.npz", "e/mobile_ssvd50.npz", ("compress", "mobile.npz", "--ssvd", "0.5", "-o", "e")),
        ("t.dlc", "t.onnx", ("inspect", "t.dlc", "--to-onnx", "t.onnx")),
        ("set/HR/a.png", "s/set/a.png", ("evaluate", "bicubic", "set", "--save-images", "s")),
        ("set/HR/a.png", "r/a_x4.png", ("run", "mobile.npz", "set/HR", "-o", "r")),
        ("mobile.npz", "f/f.pb", ("freeze", "mobile.npz", "-o", "f/f.pb")),
    ]
    if qnn.available() is None:
        words = ("quantize", "mobile.npz", "--calibration", "set/HR", "--count", "1", "--input-size", "12x12")
        commands.append(("mobile.npz", "q/mobile_w8a8.dlc", (*words, "-o", "q")))
        commands.append(("mobile.npz", "v/mobile.dlc", ("convert", "mobile.npz", "--input-size", "12x12", "-o", "v")))
    for source, link, _ in commands:
        Path(link).parent.mkdir(parents=True, exist_ok=True)
        way(source, link)
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    for _, link, words in commands:
        outcome = snpe_srgan(*words, "--overwrite")
        assert_error(outcome, 1, "this command reads")
        assert Path(link).name in outcome.err
    assert {p: p.read_bytes() for p in before} == before


def test_pictures_are_prepared_into_their_own_folder_and_stay_as_they_are(tmp_path):
    """The cache stands beside them: nothing of theirs is replaced, and it is not taken for pictures afterwards."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (48, 48), "red").save(photos / name)
    before = {path: path.read_bytes() for path in photos.iterdir()}
    words = ("data", "prepare", photos, "--crop", "16", "--json")
    first, second = snpe_srgan(*words, "-o", photos), snpe_srgan(*words, "-o", photos)
    assert first.code == second.code == 0, first.err + second.err
    assert first.json["pictures"] == second.json["pictures"] == 2
    assert {path: path.read_bytes() for path in before} == before
    assert_error(snpe_srgan(*words, "-o", photos / "a.png"), 1, "a.png")
    assert {path: path.read_bytes() for path in before} == before


def test_pictures_of_two_sets_of_one_name_are_not_mixed(tmp_path):
    for folder in ("a/Set", "b/Set"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (48, 48)).save(tmp_path / folder / "x.png")
    words = ("evaluate", "bicubic", tmp_path / "a/Set", tmp_path / "b/Set")
    assert_error(snpe_srgan(*words, "--save-images", tmp_path / "out"), 2, "two data sets are called 'Set'")
    assert snpe_srgan(*words).code == 0


def test_a_running_training_keeps_others_out(tmp_path):
    """Nothing is removed and nothing is written, whatever the flag, while the folder is locked."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("kept\n")
    Image.new("RGB", (48, 48)).save(tmp_path / "p.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "p.png").rename(tmp_path / "photos" / "p.png")
    config = tmp_path / "tiny.yaml"
    config.write_text(
        f"model: {{name: mobile}}\ndata: {{train: ['{tmp_path}/photos'], valid: ['{tmp_path}/photos'], crop: 32, "
        f"root: '{tmp_path}/data'}}\nevaluate: {{datasets: ['{tmp_path}/photos']}}\nrun: {{on: host}}\n"
    )
    with exclusive(tmp_path / "run", "busy"):
        for verb, more in (("train", "--overwrite"), ("train", "--resume"), ("pipeline", "--overwrite")):
            outcome = snpe_srgan(verb, "-c", config, "--run-dir", tmp_path / "run", more)
            if outcome.code != 3:  # a pipeline without the wheel ends sooner
                assert_error(outcome, 1, "at work in this run folder")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["metrics.jsonl"]
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == "kept\n"


def test_the_lock_ends_with_its_process(tmp_path):
    code = "import os,sys\nfrom snpe_srgan.artifacts import locks\nlocks.try_lock(sys.argv[1])\nos.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    with exclusive(tmp_path, "busy"):
        pass
    assert not list(tmp_path.iterdir())


VERBS = ["pipeline -c", "data sample -o", "data prepare", "data info", "train -c", "evaluate bicubic", "import",
         "freeze", "compress", "convert", "quantize", "run", "benchmark", "inspect"]  # fmt: skip


@pytest.mark.parametrize("name", ["x" * 300, "loop", "pipe/x"])
@pytest.mark.parametrize("verb", VERBS)
def test_impossible_names_are_plain_errors(tmp_path, monkeypatch, verb, name):
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    more = ("-o", "out.npz") if verb in ("freeze", "import") else ("--target", "macs=0.5") if verb == "compress" else ()
    outcome = snpe_srgan(*verb.split(), name, *more)
    assert_error(outcome, outcome.code)
    assert outcome.code in (1, 2) and "again with -v" not in outcome.err


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ("quantize.recipe=w9a9", 2, "w9a9"),
        ("convert.soc=SM1", 2, "SM1"),
        ("benchmark.chip=SM1", 2, "SM1"),
        ("evaluate.datasets.0=nowhere", 1, "nowhere"),
        ("quantize.calibration.0=nowhere", 1, "nowhere"),
        ("data.valid.0=nowhere", 1, "nowhere"),
        ("name=../../x", 2, "name"),
        ("training.stages.0.name=../x", 2, "name"),
    ],
)
def test_a_pipeline_says_at_once_what_would_stop_it_later(tmp_path, monkeypatch, change, code, word):
    pytest.importorskip("onnxruntime")
    from snpe_srgan.toolchains import qnn

    if qnn.available() is not None:
        pytest.skip(qnn.available())
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Image.new("RGB", (48, 48)).save("photos/p.png")
    Path("tiny.yaml").write_text(
        "data: {train: [photos], valid: [photos], crop: 32}\nquantize: {calibration: [photos]}\n"
        "evaluate: {datasets: [photos]}\ntraining: {stages: [{name: pixel, steps: 2}]}\n"
    )
    outcome = snpe_srgan("pipeline", "-c", "tiny.yaml", "--run-dir", "run", "--set", change)
    assert_error(outcome, code, word)
    assert not Path("run").exists()


def test_the_scratch_of_a_killed_run_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    killed(tmp_path, "scratch = staging.Scratch(); open(scratch.name + '/a', 'w'); die()")
    assert hidden(tmp_path)
    with Scratch() as ours:
        recover(tmp_path, again=True)
        assert hidden(tmp_path) == [Path(ours).name]
    assert not hidden(tmp_path)


def test_a_scratch_folder_closed_by_two_threads_closes_one_descriptor(monkeypatch):
    """A descriptor that is closed twice may belong to another file by then."""
    closed: list[int] = []
    close, scratch, together = os.close, Scratch(), threading.Barrier(2, timeout=20)
    removed = tempfile.TemporaryDirectory.cleanup

    def remove(folder):
        removed(folder)
        together.wait()

    monkeypatch.setattr(tempfile.TemporaryDirectory, "cleanup", remove)
    handle = scratch._handle
    monkeypatch.setattr(os, "close", lambda number: (closed.append(number), close(number)))
    threads = [threading.Thread(target=scratch.cleanup) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert closed.count(handle) == 1
