"""The options that say what a foreign network takes and gives, the same on every command that takes one.

snpe-srgan run theirs.onnx photo.jpg --values 0..255       # kept in theirs.onnx.json: no later command needs it
snpe-srgan quantize theirs.onnx
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from snpe_srgan.console import Output
    from snpe_srgan.onnx_graphs.boundary import Said
    from snpe_srgan.zoo.resolve import ModelFile

VALUES = ["0..1", "-1..1", "0..255"]
GRAPHS = ("onnx", "dlc", "pb")  # files whose own numbers may be others than ours


def ends_options(function):
    """Adds --layout, --values, --takes, --gives and --channels; the command gets them as one `said` argument."""
    add = [
        click.option(
            "--values", type=click.Choice([*VALUES, "ours"]),
            help="Black and white of a foreign network's numbers, at input and output; found out if left out. 'ours' "
            "is 0..1 in, -1..1 out. What is said with this and the next four is kept beside the file.",
        ),
        click.option("--takes", type=click.Choice(VALUES), help="The same of its input alone."),
        click.option("--gives", type=click.Choice(VALUES), help="The same of its output alone."),
        click.option(
            "--layout", type=click.Choice(["NHWC", "NCHW"]), help="Its layout; read from its shapes if left out."
        ),
        click.option(
            "--channels", "--colour", type=click.Choice(["RGB", "BGR", "Y"]),
            help="Its channels; Y is brightness alone, and colours then go by bicubic.  [default: RGB, or Y for one]",
        ),
    ]  # fmt: skip
    for option in reversed(add):
        function = option(function)

    @functools.wraps(function)
    def wrapper(*args, values, takes, gives, layout, channels, **kwargs):
        return function(*args, said=_said(values, takes, gives, layout, channels), **kwargs)

    return wrapper


def _said(values, takes, gives, layout, channels) -> Said:
    from snpe_srgan.errors import UsageError
    from snpe_srgan.onnx_graphs.boundary import Said

    if values is not None and (takes or gives):
        raise UsageError("--values is both ends: it goes without --takes and --gives")
    both = {None: (takes, gives), "ours": ("0..1", "-1..1")}.get(values, (values, values))
    return Said(layout, *both, channels)


def keep_said(file: ModelFile, said: Said, output: Output) -> None:
    """Keeps what the user said beside a foreign file, so that no later command needs it again.

    Args:
        said: nothing is kept where it is empty or what our own networks have.
        output: takes a remark on where it is kept, or why not.

    Raises:
        UsageError: the file is one of ours, whose ends are known.
        InputError: what was said does not fit the network.
    """
    from snpe_srgan.errors import UsageError
    from snpe_srgan.onnx_graphs.boundary import Said

    if not said or said == Said(takes="0..1", gives="-1..1"):
        return
    if file.in_our_form or file.kind not in GRAPHS:
        what = "this file's ends are known" if file.in_our_form else f"a .{file.kind} says itself what it takes"
        raise UsageError(f"--values, --layout and --channels are for graphs of others: {what}", where=file.path)
    if file.kind == "pb":
        return
    from snpe_srgan.errors import InputError
    from snpe_srgan.runtimes.source import load_source
    from snpe_srgan.zoo.foreign_graph import write_foreign_card

    source = load_source(file)
    try:
        path = write_foreign_card(file, source.found, scale=source.known.scale)
    except InputError as error:
        output.warn(f"what was said of {file.path.name} is not kept for later commands: {error.what}")
    else:
        if path is not None:
            output.note(f"kept in {path}: later commands read it there")
