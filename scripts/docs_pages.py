"""mkdocs' hook: the pages made from the code (every verb's options, the Python functions), and CONTRIBUTING.md."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import click
from mkdocs.structure.files import File
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
FUNCTIONS = (  # what a program of yours calls, in the order of the work
    "zoo.resolve:resolve", "runtimes.open:open_session", "imaging.pictures:read_picture",
    "runtimes.upscale:upscale_picture", "imaging.pictures:write_picture", "metrics.dataset:find_evaluation_set",
    "metrics.evaluate:evaluate", "stages.convert:convert_model", "stages.quantize:quantize_model",
    "report.compare:compare_pictures", "report.compare:write_page",
)  # fmt: skip


def on_files(files, config):
    pages = {
        "reference/cli.md": commands_page(),
        "reference/api.md": functions_page(),
        "contributing.md": (REPO / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "]("),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown, **_kwargs):
    return markdown.replace("](../CONTRIBUTING.md", "](contributing.md").replace("](../README.md", "](index.md")


def on_page_content(html, page, config, **_kwargs):
    """Pictures get their sizes, so that a page does not move while they load."""
    folder = (Path(config.docs_dir) / page.file.src_uri).parent

    def sized(match: re.Match[str]) -> str:
        path = folder / match[1]
        if not path.is_file():
            return match[0]
        with Image.open(path) as picture:
            return f'{match[0]} width="{picture.width}" height="{picture.height}"'

    return re.sub(r'<img [^>]*?src="([^":]+\.png)"', sized, html)


def commands_page() -> str:
    """Every verb with its usage, examples and options, as `-h` shows them."""
    from snpe_srgan.cli.root import GROUPS, cli

    root = click.Context(cli, info_name="snpe-srgan", **cli.context_settings)
    parts = ["# Commands and options", "", "Made from the program itself: what `-h` says of each verb."]
    for group, verbs in GROUPS.items():
        parts += ["", f"## {group}"]
        for verb, (module, _) in verbs.items():
            command = cli.get_command(root, verb)
            parts += ["", f"### {verb}", ""]
            examples = (importlib.import_module(f"snpe_srgan.cli.{module}").__doc__ or "").strip()
            if examples.startswith("snpe-srgan"):
                parts += ["```bash", examples, "```", ""]
            parts += help_blocks(command, verb, root)
    return "\n".join(parts) + "\n"


def help_blocks(command: click.Command, name: str, parent: click.Context) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    blocks = ["```text", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            child = command.get_command(context, inner)
            if child is not None:
                blocks += help_blocks(child, inner, context)
    return blocks


def functions_page() -> str:
    """Signature and docstring of each function."""
    parts = ["# Python", "", "What the commands call. `Args` and `Raises` are those of the code."]
    for name in FUNCTIONS:
        module, function = name.split(":")
        found = getattr(importlib.import_module(f"snpe_srgan.{module}"), function)
        text = f"from snpe_srgan.{module} import {function}\n\n{function}{inspect.signature(found)}"
        parts += ["", f"## {function}", "", "```python", text, "```", "", "```text", inspect.getdoc(found) or "", "```"]
    return "\n".join(parts) + "\n"
