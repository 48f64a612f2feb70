"""How the scripts end: as the commands do, with one error of at most three lines and the same exit codes."""

from __future__ import annotations

import click

from snpe_srgan.console import Output
from snpe_srgan.errors import MissingToolError, SnpeSrganError


def run(command: click.Command) -> None:
    """The command, with the words of the command line."""
    try:
        command()
    except (SnpeSrganError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError):
            name = (error.name or "a module").partition(".")[0]
            if name == "snpe_srgan":  # a fault of ours
                raise
            error = MissingToolError(f"the package {name} is not installed", hint=f"pip install {name}")
        Output().error(error.lines())
        raise SystemExit(error.exit_code) from None
