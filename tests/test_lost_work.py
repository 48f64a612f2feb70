"""Work is never lost: outputs are whole or absent, inputs are never outputs, a killed run is tidied up by the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from snpe_srgan.artifacts import inputs
from snpe_srgan.artifacts.files import atomic_folder, atomic_write, refuse_overwrite, write_bytes
from snpe_srgan.artifacts.staging import recover, unfinished
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
    with pytest.raises(RuntimeError), unfinished(tmp_path):  # the same when it fails, at once
        write_bytes(tmp_path / "net.dlc", b"1")
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.json"]


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
