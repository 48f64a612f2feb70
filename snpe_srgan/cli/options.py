"""Options that mean the same on every command, and the decorator that gives a verb its `Output`.

@click.command(cls=Verb)      # an option that is given twice is an error
@common                      # --json, -q, -v; the function receives `output`
@overwrite_option
def command(output, overwrite, ...): ...
"""

from __future__ import annotations

import functools
import re

import click

from snpe_srgan.console import Output


class Size(click.ParamType):
    """`HxW` (height first, as everywhere in this project) or one number for a square; gives (height, width)."""

    name = "HxW"

    def __init__(self, *, of_input: bool = False) -> None:
        self.of_input = of_input

    def convert(self, value, param, ctx):
        if isinstance(value, tuple):
            return value
        from snpe_srgan.errors import ConfigError
        from snpe_srgan.sizes import parse_input_size, parse_size

        try:
            return parse_input_size(str(value)) if self.of_input else parse_size(str(value))
        except ConfigError as error:
            self.fail(error.what, param, ctx)


NUMBER = re.compile(r"[+-]?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?")


class Whole(click.IntRange):
    """A whole number between two bounds, in plain digits: Python's `int` would take ' 1_0 ' and other scripts' too."""

    def convert(self, value, param, ctx):
        if isinstance(value, str) and not re.fullmatch(r"-?(0|[1-9][0-9]{0,18})", value):
            self.fail(f"{value[:40]!r} is not a whole number{self._between()}", param, ctx)
        return super().convert(value, param, ctx)

    def _between(self) -> str:
        return f" between {self.min} and {self.max}" if self.max is not None else f" of at least {self.min}"


class Finite(click.FloatRange):
    """A number in a range, in plain digits; 'nan' lies in no range, though click lets it through."""

    def convert(self, value, param, ctx):
        if isinstance(value, str) and not NUMBER.fullmatch(value):
            self.fail(f"{value[:40]!r} is not a number", param, ctx)
        return super().convert(value, param, ctx)


class Verb(click.Command):
    """A command that refuses an option given twice: which of the two was meant cannot be known."""

    def make_parser(self, ctx):
        parser = super().make_parser(ctx)
        parse = parser.parse_args

        def parse_strictly(args):
            values, rest, order = parse(args)
            for option in order:
                takes_one = isinstance(option, click.Option) and not (option.multiple or option.count or option.is_flag)
                if takes_one and order.count(option) > 1:
                    raise click.UsageError(f"{option.opts[-1]} is given twice", ctx)
            return values, rest, order

        parser.parse_args = parse_strictly
        return parser


def common(function):
    """Adds --json, --quiet and --verbose; the command gets them as one `output` argument."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks.")
    @click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
    @functools.wraps(function)
    def wrapper(*args, as_json, quiet, verbose, **kwargs):
        return function(*args, output=Output(as_json=as_json, quiet=quiet, verbose=verbose), **kwargs)

    return wrapper


def output_option(help_text: str, **kwargs):
    """The option -o / --output of a command, as the parameter `out`; `kwargs` are click's."""
    return click.option("-o", "--output", "out", type=click.Path(), help=help_text, **kwargs)


def jobs_option(default: str = "1"):
    """--jobs and --cluster, both None where they are left out; `default` says what that means."""

    def add(function):
        function = click.option(
            "--cluster", metavar="CLUSTER",
            help="In place of --jobs, by Dask: local:N (N processes here), a scheduler's address, or a .yaml file for "
            "SLURM and the like. All workers read the same files by the same paths.",
        )(function)  # fmt: skip
        return click.option(
            "--jobs", type=Whole(1, 1024),
            help="Work in so many processes, each with its part of the cores and of the memory; the numbers are the "
            f"same.  [default: {default}]",
        )(function)  # fmt: skip

    return add


overwrite_option = click.option("--overwrite", is_flag=True, help="Replace files that exist already.")


def input_size_option(default: str | None = None):
    """--input-size; without a default it is what the model is fixed to, else 128x128."""
    own = "" if default else "  [default: what the model is fixed to, else 128x128]"
    text = f"Height x width of the fixed LR input of the .dlc.{own}"
    return click.option("--input-size", type=Size(of_input=True), default=default, help=text)


model_argument = click.argument("model", metavar="MODEL")
set_option = click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change one key of the config, e.g. data.crop=128."
)
