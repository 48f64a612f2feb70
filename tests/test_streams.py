"""Standard output and error as they may be: the work is done, the exit code is right, no name forges a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from helpers_cli import snpe_srgan
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from snpe_srgan.report import markdown
from snpe_srgan.streams import Lines, printable

NASTY = "a\x1b[31mred\x07\r\nerror: forged\u202egnp.\x9b"


@pytest.fixture
def folder(tmp_path):
    Image.new("RGB", (8, 6), (9, 99, 200)).save(tmp_path / "a.png")
    return tmp_path


def shell(folder, line: str, **environment: str) -> subprocess.CompletedProcess:
    """The console script in a shell, where `snpe` stands for it."""
    line = f'snpe() {{ "{sys.executable}" -m snpe_srgan "$@"; }}; {line}'
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "PYTHONUTF8", "PYTHONIOENCODING")}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=kept | environment, capture_output=True)


# --- streams that are closed, full, or not read


@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "2> >(exec <&-)"])
def test_without_standard_error_the_work_is_done(folder, streams):
    done = shell(folder, f"snpe run a.png -o b.png --json {streams}")
    assert done.returncode == 0 and json.loads(done.stdout)["pictures"]
    assert Image.open(folder / "b.png").size == (32, 24)


@pytest.mark.parametrize(
    ("stream", "reason", "options"), [(">&-", "closed", ""), (">/dev/full", "No space left", "--json")]
)
def test_a_result_that_cannot_be_printed_is_an_error(folder, stream, reason, options):
    done = shell(folder, f"snpe run a.png -o b.png -q {options} {stream}")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"cannot write the result to standard output" in done.stderr and reason.encode() in done.stderr
    assert Image.open(folder / "b.png").size == (32, 24)


def test_all_streams_closed(folder):
    assert shell(folder, "snpe run a.png -o b.png <&- >&- 2>&-").returncode == 1
    assert Image.open(folder / "b.png").size == (32, 24)


@pytest.mark.parametrize("words", ["--help", "--version", "devices"])
def test_help_into_a_full_disk(folder, words):
    done = shell(folder, f"snpe {words} >/dev/full")
    assert done.returncode == 1 and b"No space left" in done.stderr and b"Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["--help", "devices"])
def test_a_reader_that_leaves(folder, words):
    done = shell(folder, f"snpe {words} | true; exit ${{PIPESTATUS[0]}}")
    assert done.returncode in (0, 1) and not done.stderr


@pytest.mark.parametrize(("words", "code"), [("inspect missing.npz", 1), ("nothing", 2)])
@pytest.mark.parametrize("streams", ["2>/dev/full", ">&- 2>&-"])
def test_an_error_that_cannot_be_printed_keeps_its_exit_code(folder, words, code, streams):
    assert shell(folder, f"snpe {words} {streams}").returncode == code


# --- encodings


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_names_in_any_encoding(folder, environment):
    names = [os.fsdecode(name) for name in (b"gr\xc3\xbc\xc3\x9fe.png", b"latin\xe9.png", "绿.png".encode())]
    for name in names:
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    done = shell(folder, "snpe run *.png -o all", **environment)
    assert done.returncode == 0 and b"Traceback" not in done.stderr, done.stderr
    assert sorted(os.listdir(folder / "all")) == sorted(name.replace(".png", "_x4.png") for name in ["a.png", *names])
    assert len(done.stdout.splitlines()) >= 4


# --- what came from outside


@given(st.text())
def test_printable_text_is_one_line_without_controls(text):
    shown = printable(text)
    assert len(shown.splitlines()) <= 1 and not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert printable(shown) == shown
    assert printable(Lines.of([text, text])) == f"{shown}\n{shown}"


def test_ordinary_text_stays_as_it_is():
    for text in ("grüße.png", "絵.png", "👩‍👩‍👧.png", "no-break\u00a0space"):
        assert printable(text) == text
    assert printable(os.fsdecode(b"latin\xe9")) == "latin\\xe9"


def assert_clean(text: str) -> None:
    assert not any(c in text for c in "\x1b\x07\r\u202e\x9b") and not any(
        line.startswith("error: forged") for line in text.splitlines()
    ), text


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", NASTY), ("run", "a.png", "--engine", NASTY), (NASTY,), ("inspect", NASTY), ("evaluate", NASTY, NASTY),
        ("devices", NASTY), ("train", "-c", NASTY), ("config", "show", "--set", f"{NASTY}={NASTY}"),
        ("config", "show", "--set", f"model.{NASTY}=1"), ("config", "show", "--set", NASTY),
        ("run", "a.png", "--tile", NASTY), ("quantize", "mobile", "--recipe", NASTY), ("data", "info", NASTY),
        ("run", "a.png", "-v", "-o", NASTY + "/x/y.nothing"),
    ],
)  # fmt: skip
def test_errors_show_what_was_typed_escaped(folder, monkeypatch, arguments):
    monkeypatch.chdir(folder)
    done = snpe_srgan(*arguments)
    assert done.code in (1, 2, 3), done
    assert_clean(done.err)
    as_json = snpe_srgan(*arguments, "--json")
    assert as_json.json["exit_code"] == done.code
    assert_clean(as_json.out)


def test_names_of_pictures_and_words_of_cards_are_shown_escaped(folder, monkeypatch):
    monkeypatch.chdir(folder)
    name = NASTY.replace("\n", "\n ") + ".png"
    (folder / name).write_bytes((folder / "a.png").read_bytes())
    (folder / f"broken{name}").write_bytes(b"no picture")
    done = snpe_srgan("run", name, f"broken{name}", "-o", "out")
    assert done.code == 1 and "\\x1b[31mred" in done.out + done.err
    assert_clean(done.out)
    assert_clean(done.err)


def test_words_of_a_card_are_shown_escaped(folder):
    from snpe_srgan.zoo.resolve import resolve

    source = resolve("mobile").path
    copy = folder / "m.npz"
    copy.write_bytes(source.read_bytes())
    card = json.loads(source.with_name(source.name + ".json").read_text())
    card["training"] = {"origin": NASTY}
    (folder / "m.npz.json").write_text(json.dumps(card))
    done = snpe_srgan("inspect", copy)
    assert done.code == 0, done.err
    assert_clean(done.out)


def test_markdown_shows_elements_as_text():
    text = markdown.table(["a"], [["<script>alert(1)</script> | \n# no heading"]])
    assert "<script>" not in text and len(text.splitlines()) == 3
    assert markdown.plain("<b>&") == "&lt;b&gt;&amp;"
