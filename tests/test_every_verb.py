"""Every verb, found from the command line's own parser, with names, files and streams as they may be.

A new verb is covered by itself: nothing here names one, but for what it must be given besides.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import click
import pytest
from helpers_cli import snpe_srgan
from test_streams import NASTY, assert_clean

from snpe_srgan.cli.root import cli

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
    if done.code:
        lines = done.err.splitlines()
        begin = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(begin) == 1, (typed, done.err)
        lines = lines[begin[0] :]
        assert len(lines) <= 3 and max(map(len, lines)) <= 1200, (typed, lines)


@every_verb
def test_names_that_forge_lines(words):
    judge(given(words, NASTY))
    judge([*given(words, NASTY), "--json"])


@every_verb
def test_every_option_with_a_value_that_forges_lines(words):
    for option in filter(takes_text, VERBS[words].params):
        judge([*given(words, "missing"), option.opts[-1], NASTY])
