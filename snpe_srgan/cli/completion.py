"""eval "$(snpe-srgan completion bash)"                                              # in ~/.bashrc
eval "$(snpe-srgan completion zsh)"                                               # in ~/.zshrc
snpe-srgan completion fish > ~/.config/fish/completions/snpe-srgan.fish
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Verb, common

SHELLS = ("bash", "zsh", "fish")
PROGRAM, VARIABLE = "snpe-srgan", "_SNPE_SRGAN_COMPLETE"  # click's name for the program, which asks it for answers


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(SHELLS))
@common
def command(shell, output):
    """Print the script by which your shell completes verbs, options and their values."""
    from snpe_srgan.streams import Lines

    script = source(shell)
    output.result({"shell": shell, "script": script}, text=Lines(script))


def source(shell: str) -> str:
    """The script of a shell that makes it ask `snpe-srgan` what could come next."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"the installed click knows no completion for {shell}")
    made = kind(click.Command(PROGRAM), {}, PROGRAM, VARIABLE)
    return made.source_template % made.source_vars()


def answer(cli: click.Command, instruction: str) -> str:
    """What could come next, as the shell's script asks for it by VARIABLE; nothing for what is no question.

    click's own answer is bytes, which the guarded standard output does not take.
    """
    from click.shell_completion import get_completion_class

    shell, _, what = instruction.partition("_")
    kind = get_completion_class(shell)
    return kind(cli, {}, PROGRAM, VARIABLE).complete() if kind is not None and what == "complete" else ""
