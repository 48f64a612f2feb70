"""The rules of the house: the picture of the layers is the one that is checked, and functions stay short."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_LINES = 80


def test_no_function_is_over_80_lines():
    long = [
        f"{path.relative_to(ROOT)}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in sorted((ROOT / "snpe_srgan").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= MOST_LINES
    ]
    assert long == []


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_layers_in_the_docs_are_those_that_import_linter_checks():
    import tomllib

    with open(ROOT / "pyproject.toml", "rb") as file:
        contract = tomllib.load(file)["tool"]["importlinter"]["contracts"][0]
    checked = [{name.strip() for name in layer.split("|")} for layer in contract["layers"]]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    picture = text.split("do not know each other.\n\n", 1)[1].split("\n\n", 1)[0]
    drawn = [set(line[:43].split()) for line in picture.splitlines()]
    assert drawn == checked


def test_every_folder_is_in_the_table_of_where_to_start():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| folder | start reading at |", 1)[1].split("\n\n", 1)[0]
    folders = {path.parent.name for path in (ROOT / "snpe_srgan").glob("*/*.py")}
    assert [name for name in sorted(folders) if f"`{name}/`" not in table] == []
