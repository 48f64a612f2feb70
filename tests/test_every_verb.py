"""Every verb, found from the command line's own parser, with names, files and streams as they may be.

A new verb is covered by itself: nothing here names one, but for what it must be given besides.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import click
import numpy as np
import pytest
from helpers_cli import snpe_srgan
from helpers_networks import TINY, random_weights
from PIL import Image
from test_streams import NASTY, assert_clean

from snpe_srgan.cli.options import Finite, Size, Whole
from snpe_srgan.cli.root import cli
from snpe_srgan.models.npz import save_npz
from snpe_srgan.models.registry import describe

ENDS = (0, 1, 2, 3)


def verbs(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from verbs(command, (*words, name))
        else:
            yield (*words, name), command


VERBS = dict(verbs(cli))
every_verb = pytest.mark.parametrize("words", VERBS, ids=" ".join)


def arguments(words: tuple[str, ...]) -> list[click.Argument]:
    return [p for p in VERBS[words].params if isinstance(p, click.Argument)]


def takes_text(option: click.Parameter) -> bool:
    """An option whose value is a name, a path or a number as typed."""
    return isinstance(option, click.Option) and not option.is_flag and not option.count


def given(words: tuple[str, ...], value: str) -> list[str]:
    """The verb with `value` as each of its positional arguments, and as each option that it requires."""
    typed = list(words)
    for option in VERBS[words].params:
        if isinstance(option, click.Option) and option.required:
            typed += [option.opts[-1], value]
    for argument in arguments(words):
        typed += [value] * (argument.nargs if argument.nargs > 0 else 2 if argument.required else 1)
    return typed


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """An empty folder to stand in, and nobody to ask on the network."""

    def refuse(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("HOME", str(tmp_path))


def judge(typed: list[str], *, ends: tuple[int, ...] = ENDS) -> None:
    done = snpe_srgan(*typed)
    assert done.code in ends, (typed, done)
    assert "Traceback" not in done.err and "again with -v" not in done.err, (typed, done.err)
    assert_clean(done.err)
    assert_clean(done.out)
    if "--json" in typed:
        one_object(done)
    if done.code:
        lines = done.err.splitlines()
        begin = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(begin) == 1, (typed, done.err)
        lines = lines[begin[0] :]
        assert len(lines) <= 3 and max(map(len, lines)) <= 1200, (typed, lines)


def one_object(done) -> dict:
    """What `--json` printed: one object and nothing else, with the exit code in it where that is not 0."""
    said = json.loads(done.out)
    assert isinstance(said, dict) and said["schema_version"] == 1, done
    assert not done.code or said.get("exit_code", done.code) == done.code, done
    return said


@every_verb
def test_every_verb_has_json_quiet_and_verbose(words):
    flags = {flag for option in VERBS[words].params for flag in option.opts}
    assert {"--json", "-q", "--quiet", "-v", "--verbose"} <= flags


@every_verb
def test_a_failure_is_one_object_and_quiet_says_the_error_alone(words):
    unknown = snpe_srgan(*words, "--no-such-option", "--json")
    assert unknown.code == 2 and one_object(unknown)["error"]
    for more in (["-q"], ["-q", "--json"]):
        done = snpe_srgan(*given(words, "missing"), *more)
        if "--json" in more:
            one_object(done)
        if done.code:
            beside = ("warning: ", "Usage: ", "Try ") if done.code == 2 else ("warning: ",)
            lines = [line for line in done.err.splitlines() if line and not line.startswith(beside)]
            assert lines[0].startswith("error: ") and len(lines) <= 3, done
        else:
            assert not done.err, done


# What each verb is given to succeed, in a folder with a network, four pictures, and what earlier verbs wrote.
DONE = {
    ("run",): ["a.png", "-o", "run.png"],
    ("compare",): ["mobile", "net.npz", "--picture", "a.png"],
    ("inspect",): ["net.npz"],
    ("config", "schema"): [],
    ("config", "show"): [],
    ("data", "info"): ["photos"],
    ("data", "prepare"): ["photos", "--root", "data"],
    ("data", "preview"): ["photos", "-o", "preview.png"],
    ("data", "sample"): ["-o", "sample"],
    ("evaluate",): ["net.npz", "photos"],
    ("convert",): ["net.npz", "-o", "out", "--onnx-only"],
    ("quantize",): ["net.npz", "-o", "quantized", "--onnx-only", "--calibration", "photos", "--recipe", "w8a8-plain"],
    ("benchmark",): ["net.npz", "--input-size", "16x16", "--runs", "1"],
    ("doctor",): [],
    ("completion",): ["bash"],
    ("plan",): ["mobile", "--chip", "8 Gen 2", "--output", "720x1280", "--fps", "1"],
    ("devices",): [],
}
ELSEWHERE = {
    ("pipeline",): "test_pipeline.py", ("train",): "test_training.py", ("compress",): "test_compress_cli.py",
    ("deploy",): "test_web.py, test_deploy.py", ("freeze",): "test_freeze.py", ("import",): "test_import.py",
    ("watch",): "test_watch.py", ("data", "download"): "test_download.py",
}  # fmt: skip


@pytest.mark.parametrize("words", [words for words in VERBS if words not in ELSEWHERE], ids=" ".join)
def test_a_result_is_one_object_and_quiet_says_nothing_else(words, tmp_path):
    graph = describe("mobile", TINY["mobile"])
    save_npz(tmp_path / "net.npz", graph, random_weights(graph, np.random.default_rng(0)))
    (tmp_path / "photos").mkdir()
    for name in ("a.png", *(f"photos/{i}.png" for i in range(8))):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (100, 104, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    done = snpe_srgan(*words, *DONE[words], "-q", "--json")
    assert done.code == 0, done
    one_object(done)
    assert all(line.startswith("warning: ") for line in done.err.splitlines()), done.err


@every_verb
def test_names_that_forge_lines(words):
    judge(given(words, NASTY))
    judge([*given(words, NASTY), "--json"])


@every_verb
def test_every_option_with_a_value_that_forges_lines(words):
    for option in filter(takes_text, VERBS[words].params):
        judge([*given(words, "missing"), option.opts[-1], NASTY])


# --- values of options

NEVER_A_NUMBER = (
    "", "nan", "inf", "-inf", "1" + "0" * 30, "1" + "0" * 400, "١٢", "²", "010", "1_0", " 5", "5 ", "5\n", "0x10",
    "1,5", "1e400", "--", "5px", "1/2",
)  # fmt: skip
NEVER = {
    Whole: (*NEVER_A_NUMBER, "1e9", "1.5", "-1", "+5"),
    Finite: NEVER_A_NUMBER,
    Size: ("", "0", "-1", "0x0", "1x", "x1", "128×128", "128 x 128", "128x128 ", "١٢x١٢", "012x012", "1e9", "nan",
           "100000x1", "1x" + "9" * 400, "1x1x1"),
}  # fmt: skip


def numbers() -> list[tuple[tuple[str, ...], click.Option]]:
    """Every option of every verb whose value is a number or a size."""
    text = (click.Choice, click.Path, click.types.StringParamType)
    options = ((words, p) for words, verb in VERBS.items() for p in verb.params if takes_text(p))
    return [(words, p) for words, p in options if not isinstance(p.type, text)]


def test_numbers_are_read_in_one_way():
    """Plain digits within two bounds: click's own types take other scripts' digits, nan, and numbers without end."""
    assert len(numbers()) > 40
    for words, option in numbers():
        assert type(option.type) in NEVER, (words, option.opts)
        assert isinstance(option.type, Size) or None not in (option.type.min, option.type.max), (words, option.opts)


def test_values_that_are_no_numbers_are_usage_errors():
    for words, option in numbers():
        bounds = () if isinstance(option.type, Size) else (option.type.min - 1, option.type.max + 1)
        huge = ["4097x4096", "99999x99999"] if option.name == "input_size" else []
        for value in (*NEVER[type(option.type)], *map(str, bounds), *huge):
            others = list(words) if option.required else given(words, "16")
            done = snpe_srgan(*others, f"{option.opts[-1]}={value}")
            named = "Invalid value" in done.err and option.opts[-1] in done.err
            assert done.code == 2 and named, (words, option.opts, value, done)
            assert done.err.count("error: ") == 1 and len(done.err) < 1000 and "Traceback" not in done.err, done


def test_an_option_given_twice_is_a_usage_error():
    for words, verb in VERBS.items():
        for option in filter(takes_text, verb.params):
            value = option.type.choices[0] if isinstance(option.type, click.Choice) else "5"
            if option.multiple or option.nargs != 1:
                continue
            once = [option.opts[-1], value]
            done = snpe_srgan(*words, *once, *given(words, "missing")[len(words) :], *once)
            assert done.code == 2 and f"{option.opts[-1]} is given twice" in done.err, (words, option.opts, done)


@pytest.mark.parametrize("kind", ["empty", "blank", "long", "folder", "pipe", "device"])
def test_every_option_with_an_odd_path(tmp_path, kind):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    value = {"empty": "", "blank": " ", "long": "n" * 5000, "device": "/dev/zero"}.get(kind, kind)
    for words, verb in VERBS.items():
        for option in filter(takes_text, verb.params):
            if not isinstance(option.type, click.Choice) and (words, option) not in numbers():
                judge([*given(words, "missing"), f"{option.opts[-1]}={value}"])
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "folder").is_dir()


# --- a machine without a folder for temporary files


def test_no_folder_for_temporary_files_is_said(monkeypatch, tmp_path):
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/self/no"])
    done = snpe_srgan("quantize", "mobile", "--onnx-only", "-o", tmp_path / "out")
    assert done.code == 1 and "no folder for temporary files" in done.err and "TMPDIR" in done.err, done


# --- streams

ONE_AFTER_ANOTHER = """
import json, os, socket, sys, time
from snpe_srgan.cli.root import main
def refuse(*_, **__):
    raise socket.gaierror(-2, "Name or service not known")
socket.getaddrinfo, time.sleep = refuse, lambda seconds: None
runs, streams, answers = json.loads(sys.argv[1]), json.loads(sys.argv[2]), open(sys.argv[3], "w")
for words in runs:
    child = os.fork()
    if child == 0:
        for number, name in streams.items():
            if name is None:
                os.close(int(number))
            else:
                os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), int(number))
        try:
            main(words)
        except SystemExit as end:
            os._exit(end.code or 0)
        except BaseException:
            os._exit(99)
        os._exit(98)
    _, status = os.waitpid(child, 0)
    said = open("said", errors="replace").read() if "said" in streams.values() else ""
    print(json.dumps([words, os.waitstatus_to_exitcode(status), said]), file=answers)
"""


def ends_with(folder, runs: list[list[str]], streams: dict[int, str | None]) -> list[tuple[list[str], int, str]]:
    """(words, exit code, what was said) of commands whose streams are files, or closed (None); each in a fork of a
    process that has read the command line's modules already."""
    answers = folder / "answers"
    code = [sys.executable, "-c", ONE_AFTER_ANOTHER, json.dumps(runs), json.dumps(streams), str(answers)]
    subprocess.run(code, cwd=folder, check=True, timeout=240)
    return [tuple(json.loads(line)) for line in answers.read_text().splitlines()]


def test_help_of_every_verb_into_a_full_disk(tmp_path):
    runs = [[*words, "--help"] for words in VERBS]
    for words, code, said in ends_with(tmp_path, runs, {1: "/dev/full", 2: "said"}):
        assert code == 1 and said.count("\n") == 1 and "No space left" in said, (words, code, said)


@pytest.mark.slow
def test_every_verbs_exit_code_without_streams(tmp_path, monkeypatch):
    runs = [given(words, "missing") for words in VERBS]
    (tmp_path / "usual").mkdir()
    monkeypatch.chdir(tmp_path / "usual")
    usual = {tuple(words): snpe_srgan(*words).code for words in runs}
    monkeypatch.chdir(tmp_path)
    for words, code, _ in ends_with(tmp_path, runs, {1: "/dev/null", 2: "/dev/full"}):
        assert code == usual[tuple(words)], (words, code)
    for words, code, _ in ends_with(tmp_path, runs, {0: None, 1: "/dev/null", 2: "/dev/null"}):
        assert code == usual[tuple(words)], (words, code)
    for streams in ({1: None, 2: "said"}, {0: None, 1: None, 2: None}):
        for words, code, said in ends_with(tmp_path, runs, streams):
            # A result that nobody can get is an error.
            assert code == usual[tuple(words)] or (usual[tuple(words)], code) == (0, 1), (words, code, said)
            assert not said or (said.count("error: ") == (code != 0) and "Traceback" not in said), (words, said)


# --- files that are none, and names that are odd


@every_verb
def test_files_that_are_none(words, tmp_path):
    """A pipe, a device, an empty file, a folder, a loop of links, an impossible name, in place of each positional."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe.npz").symlink_to("pipe")
    (tmp_path / "zero.onnx").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "folder.npz").mkdir()
    for name in ("empty.npz", "empty.onnx", "empty.dlc", "empty.pb", "empty.png", "empty.yaml", "empty.mp4"):
        (tmp_path / name).touch()
    there = [f"{p.name}" for p in tmp_path.iterdir()]
    odd = ["", " ", ".", "x" * 300, "x" * 5000 + ".npz", "-", "--x", "a/" * 300, "\udcff.png", "/dev/stdin"]
    for name in [*there, *odd]:
        judge(given(words, name))
