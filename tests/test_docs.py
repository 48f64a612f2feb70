"""The commands in README.md and docs/: each verb is there, and each option and choice of it. Links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from conftest import REPO

from snpe_srgan.cli.root import VERBS, cli

PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").rglob("*.md"))]


def commands(page: Path) -> list[str]:
    """Lines that start with the program in code blocks (fenced or indented), and commands within a sentence."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [m.group(1) for m in re.finditer(r"^(?: {4}|\t)?\s*\$?\s*(snpe-srgan .*)$", text, re.M)]
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    return [*lines, *re.findall(r"`(snpe-srgan [^`\n]+)`", outside)]


def pieces(line: str) -> list[list[str]]:
    """The words after `snpe-srgan` of each command of a line; none for one that leaves something out (`...`)."""
    found = []
    for part in re.split(r"&&|\|\||;|\|", line.split("`")[0]):
        part = re.sub(r"\s[<>]\s*\S+", "", part)  # redirections
        words = shlex.split(part.replace("<", "").replace(">", " "), comments=True)
        if words[:1] == ["snpe-srgan"] and not any("..." in word or word == "VERB" for word in words):
            found.append(words[1:])
    return found


def check(words: list[str]) -> None:
    """Raises what click raises for a verb, an option or a choice that is not there."""
    command: click.Command = cli
    context = click.Context(cli, info_name="snpe-srgan", help_option_names=["-h", "--help"])
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        inner = command.get_command(context, name)
        if inner is None:
            raise click.UsageError(f"no verb {name}")
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    parsed, left, order = command.make_parser(context).parse_args(args=rest)
    if left:
        raise click.UsageError(f"{left[0]} is one word too many")
    for parameter in set(order):
        value = parsed.get(parameter.name)
        if isinstance(parameter, click.Option) and isinstance(parameter.type, click.Choice):
            for one in value if isinstance(value, (list, tuple)) else [value]:
                parameter.type.convert(one, parameter, context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_every_command_parses(page):
    wrong = []
    for line in commands(page):
        for words in pieces(line):
            try:
                check(words)
            except click.ClickException as error:
                wrong.append(f"{line}: {error.format_message()}")
    assert not wrong, "\n".join(wrong)


def test_there_are_commands_to_check():
    known = {words[0] for page in PAGES for line in commands(page) for words in pieces(line)}
    assert len(known) > 12 and known <= {*VERBS, "-h", "--help", "--version"}


@pytest.mark.parametrize(
    "words",
    [
        ["runn", "a.png"],
        ["config", "show", "a.yaml"],
        ["run", "a.png", "--nonsense"],
        ["run", "a.png", "--on", "moon"],
        ["data", "upload"],
    ],
)
def test_the_check_finds_what_is_wrong(words):
    with pytest.raises(click.ClickException):
        check(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPO)))
def test_links_lead_somewhere(page):
    made = {"reference/cli.md", "reference/api.md", "contributing.md"}  # by scripts/docs_pages.py
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target and target not in made:
            assert (page.parent / target).exists(), target


def test_the_pages_made_from_the_program_name_every_verb():
    pytest.importorskip("mkdocs", reason="mkdocs is missing: pip install 'snpe-srgan[docs]'")
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_pages", REPO / "scripts" / "docs_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.commands_page()
    assert all(f"\n### {verb}\n" in text and f"Usage: snpe-srgan {verb}" in text for verb in VERBS)
    assert "## open_session" in module.functions_page()


def test_readme_is_one_screen():
    assert len((REPO / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


def test_the_table_of_networks_in_the_readme_is_that_of_the_results():
    """PSNR of the networks that ship stands in docs/results.md; the README repeats it and must not grow old."""

    def rows(page: str, heading: str) -> dict[str, str]:
        section = (REPO / page).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
        found: dict[str, str] = {}
        for match in re.finditer(r"^\| `([\w-]+)` .*$", section, re.M):
            found.setdefault(match.group(1), match.group(0))  # later tables are of other things
        return found

    known, checked = rows("docs/results.md", "The networks that ship"), 0
    for name, row in rows("README.md", "Networks").items():
        if name in known:
            for number in re.findall(r"\d\d\.\d\d", row):
                assert number in known[name], (name, number)
                checked += 1
    assert checked >= 8
