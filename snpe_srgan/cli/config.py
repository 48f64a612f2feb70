"""Look at configs: what a file means with every default written out, and the schema of all files.

    snpe-srgan config show -c configs/mobile.yaml --set training.minutes=5
    snpe-srgan config schema > config.schema.json

An editor with a YAML language server offers keys and values, and marks mistakes, once a config's first line is
`# yaml-language-server: $schema=config.schema.json`.
"""

from __future__ import annotations

import click

from snpe_srgan.cli.options import Verb, common, set_option
from snpe_srgan.console import Output
from snpe_srgan.streams import Lines


@click.group("config", help=__doc__.split("\n\n", 1)[0])
def command() -> None:
    pass


@command.command("show", cls=Verb)
@click.option("-c", "--config", "config_path", type=click.Path(), help="YAML file; without it, the defaults.")
@set_option
@common
def show(output: Output, config_path: str | None, overrides: tuple[str, ...]) -> None:
    """Check a config and print it with every default written out."""
    from snpe_srgan.config import dump_config, load_config

    config = load_config(config_path, overrides)
    output.result(config, text=Lines(dump_config(config).rstrip()))


@command.command("schema", cls=Verb)
@common
def schema(output: Output) -> None:
    """Print the JSON Schema of config files, for editors."""
    import json

    from snpe_srgan.config import json_schema

    described = json_schema()
    output.result(described, text=Lines(json.dumps(described, indent=2)))
